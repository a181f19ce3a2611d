"""An interrupted command ends at once and keeps what it has finished."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import netsim.search.tune
from mpi_bench.launcher import command
from netsim.__main__ import main
from netsim.rows import CsvFile, read_csv
from swing.cli import invoke
from swing.select.table import Candidate, Entry, SelectionTable


def interrupted(argv, path, whole_group):
    """Run a command, press Ctrl-C once it has written a file: status, standard error, rows."""
    job = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts something in the background has it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        end = time.monotonic() + 120
        while not path.exists() and time.monotonic() < end and job.poll() is None:
            time.sleep(0.05)
        assert job.poll() is None, job.communicate()
        (os.killpg if whole_group else os.kill)(job.pid, signal.SIGINT)
        _, error = job.communicate(timeout=30)  # all rows would take minutes
    finally:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    return job.returncode, error, read_csv(path, ["algorithm", "nbytes", "seconds"])


@pytest.mark.parametrize("whole_group", [False, True], ids=["kill", "terminal"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_keeps_its_rows(tmp_path, jobs, whole_group):
    path = tmp_path / "rows.csv"
    code = (
        "import sys, netsim.__main__ as n, netsim.cli.sweep_command as c; c.SAVE_SECONDS = 0.0;"
        "from swing.cli import invoke; sys.exit(invoke(n.main, 'python -m netsim', sys.argv[1:]))"
    )
    words = ["sweep", "--topology", "torus:64x64", "--model", "packet", "--jobs", str(jobs)]
    argv = [sys.executable, "-c", code, *words, "--csv", str(path)]
    status, error, rows = interrupted(argv, path, whole_group)
    assert status == 2
    assert error.splitlines()[-1].startswith(f"error: interrupted after {len(rows)} of ")
    assert "Traceback" not in error
    assert all(float(r["seconds"]) > 0 for r in rows)


def test_a_benchmark_keeps_its_rows(tmp_path):
    pytest.importorskip("mpi4py")
    path = tmp_path / "rows.csv"
    argv, environment = command(2, [sys.executable, "-m", "mpi_bench"])
    words = ["--sizes", "32B:512MiB:x2", "--algorithm", "mpi", "--csv", str(path)]
    argv = ["env", *(f"{k}={v}" for k, v in environment.items()), *argv, *words]
    _, _, rows = interrupted(argv, path, whole_group=True)
    assert 0 < len(rows) < 25


def test_tune_keeps_the_times_it_has_found(tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.json"
    words = ["tune", "--topology", "torus:2x2", "--sizes", "32B,1MiB", "--out", str(out)]
    search = netsim.search.tune.explore

    def first_half(cases, *more):
        search(cases, *more)
        raise KeyboardInterrupt

    monkeypatch.setattr(netsim.search.tune, "explore", first_half)
    assert invoke(main, "netsim", words) == 2
    error = capsys.readouterr().err
    assert "the same command goes on" in error
    assert len(error.splitlines()) == 1
    table = SelectionTable.read(out.read_text())
    partial = table.entries["torus:2x2"]
    # Twice the time that a simulation finds: it shows what is simulated again.
    kept = {c[:2]: tuple(t and 2 * t for t in c.seconds) for c in partial.candidates}
    twice = Entry(partial.sizes, tuple(Candidate(*named, kept[named]) for named in kept))
    out.write_text(str(SelectionTable(table.made, {"torus:2x2": twice})))
    monkeypatch.setattr(netsim.search.tune, "explore", search)
    assert invoke(main, "netsim", words) == 0
    whole = SelectionTable.read(out.read_text()).entries["torus:2x2"]
    found = {c[:2]: c.seconds for c in whole.candidates}
    # Times twice as long may not be among the fastest, which the table keeps.
    still = kept.keys() & found.keys()
    assert len(still) > len(kept) / 2
    for named in still:
        assert all(t in (None, now) for t, now in zip(kept[named], found[named], strict=True))
    assert found.keys() - kept.keys()


def test_rows_are_added_to_a_file_and_follow_each_other_in_a_pipe(tmp_path):
    rows = [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    file, fifo = tmp_path / "rows.csv", tmp_path / "fifo"
    file.write_text("older")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    for path in (file, fifo):
        table = CsvFile(path)
        for r in rows:
            table.add([r])
    assert file.read_text() == "a,b\n1,2\n3,4\n"
    assert os.read(reader, 100) == b"a,b\n1,2\n3,4\n"
    os.close(reader)


def _killed(case, *_):
    """Stands for a process that the operating system ends when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("where", ["explore", "sweep"])
def test_a_process_that_is_killed_is_told_in_one_line(tmp_path, monkeypatch, capsys, where):
    module = importlib.import_module(f"netsim.search.{where}")
    name = {"explore": "_seconds", "sweep": "_run"}[where]
    monkeypatch.setattr(module, name, _killed)
    verb = {"explore": "tune", "sweep": "sweep"}[where]
    file = {"explore": "--out", "sweep": "--csv"}[where]
    words = ["--topology", "torus:2x2", "--sizes", "32B,1MiB", file, str(tmp_path / "out")]
    words += ["--jobs", "2"]
    assert invoke(main, "netsim", [verb, *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "a process ended abruptly, as when memory runs out" in error
