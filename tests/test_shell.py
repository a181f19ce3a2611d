"""The shell: tables that fit, progress without a terminal, help that explains, and completion."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import weakref
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import netsim
import netsim.__main__
import swing.__main__
import swing.progress
from mpi_bench.emulate.compare import agreement, summary, table
from netsim.models import MEANINGS, MODELS
from netsim.topologies.ties import TIES
from netsim.traffic.message_graph import PARTS, SYNC
from swing.algorithms import ALGORITHMS, SHIPPED
from swing.algorithms.spelling import spell
from swing.cli import invoke
from swing.progress import Progress, in_background
from swing.text_table import Column, TextTable, number

MAINS = {"swing": swing.__main__.main, "netsim": netsim.__main__.main}
WIDTHS = st.integers(40, 200)


@pytest.fixture
def run(capsys):
    """Runs a command line in this process, with so many columns: its standard output."""

    def call(columns, *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(columns))
            assert invoke(netsim.__main__.main, "netsim", [*map(str, words)]) == 0
        return capsys.readouterr().out

    return call


sizes = st.integers(1, 1023).map(lambda n: f"{n} MiB")
amounts = st.floats(1e-9, 1e9).map(number)
texts = st.lists(st.text("abcdefghij_=0123", min_size=1, max_size=30), min_size=1, max_size=6).map(
    ",".join
)


@given(WIDTHS, st.integers(0, 15), st.data())
def test_a_table_fits_its_width_and_cuts_nothing_that_it_shows(width, count, data):
    columns = [Column("size"), *(Column(f"a b{i}", 1 + i) for i in range(count)),
               Column("winner", is_text=True)]  # fmt: skip
    rows = data.draw(
        st.lists(st.tuples(sizes, *[amounts] * count, texts).map(list), min_size=1, max_size=4)
    )
    layout = TextTable(columns, rows, width)
    lines = [*layout.head(), *(line for row in rows for line in layout.row(row))]
    assert max(map(len, lines)) <= width
    shown = [i for i, column in enumerate(columns) if column.name not in layout.left_out]
    assert {0, len(columns) - 1} <= {*shown}
    # Those that matter least are left out, and only for lack of room.
    assert shown[:-1] == list(range(len(shown) - 1))
    for row in rows:
        printed = list(layout.row(row))
        assert [row[i] for i in shown[1:-1]] == printed[0].split()[2 : len(shown)]
        assert printed[0].strip().startswith(row[0])
        winner = "".join(line.split()[-1] for line in printed)
        assert winner == row[-1]


def test_a_table_without_a_limit_has_everything():
    columns = [Column("size"), *(Column(f"n{i}", 1) for i in range(90)), Column("x", is_text=True)]
    layout = TextTable(columns, [["1"] * 92], None)
    assert layout.left_out == []
    assert len(next(layout.row(["1"] * 92)).split()) == 92


@pytest.fixture(scope="module")
def winners():
    rows = netsim.sweep("torus:4x4", ["all", "auto"], [2**5, 2**20, 2**27])
    return {
        n: min((r for r in rows if r["nbytes"] == n),
               key=lambda r: (r["seconds"], r["algorithm"] == "auto"))
        for n in (2**5, 2**20, 2**27)
    }  # fmt: skip


@pytest.mark.parametrize("width", [40, 57, 80, 113, 200])
def test_every_table_of_netsim_fits_and_names_its_winners_in_full(width, run, winners):
    place = ("--topology", "torus:4x4")
    out = run(width, "sweep", *place, "--sizes", "32B,1MiB,128MiB", "--algorithm", "all",
              "--algorithm", "auto")  # fmt: skip
    assert max(map(len, out.splitlines())) <= width
    together = "".join(out.split())
    for row in winners.values():
        assert row["algorithm"] in together
        assert row["variant"] in together
    out = run(width, "compare", *place, "--sizes", "32B:128MiB:x16")
    assert max(map(len, out.splitlines())) <= width
    words = [
        json.loads(line)
        for line in run(80, "compare", *place, "--sizes", "32B:128MiB:x16", "--json").splitlines()
    ]
    lines = iter(out.splitlines())
    for row in words:
        # The winner's pieces follow each other in the lines of its row.
        pieces = [piece.rstrip(",") for piece in row["winner"].split(",")]
        for piece in pieces:
            assert any(piece in line for line in lines if line) or piece in out
        assert number(row["seconds"] * 1e6) in out
    assert "…" not in out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_tables_of_the_emulated_torus_fit(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    row = {
        "topology": "torus:4x4", "rate_mbps": "25", "nbytes": "1048576", "variant": "bandwidth",
        "algorithm": "mirrored_recursive_doubling", "ports": "4", "seconds": "1.5",
        "predicted": "1.4", "ratio": "1.07", "links_least": "0.99", "links_most": "1.01",
        "wrong": "0",
    }  # fmt: skip
    for text in (table([row] * 3), summary(agreement([row, row | {"rate_mbps": "50"}]))):
        assert max(map(len, text.splitlines())) <= width
    assert "1500.00" in table([row])


@pytest.mark.parametrize("width", [40, 80, 130, 200])
def test_tables_of_mpi_bench_fit(width, monkeypatch):
    pytest.importorskip("mpi4py")
    from mpi_bench.formats import Table
    from mpi_bench.report import MeasuredRow

    monkeypatch.setenv("COLUMNS", str(width))
    names = [*SHIPPED, "recursive_multiplying,variant=bandwidth,radices=4x1-1x4,ports=1"]
    style = Table(names, "time/mpi")
    given = {"topology": "torus:4x4", "variant": "", "ports": 1, "dtype": "float32", "op": "sum",
             "wrong": 3, "mpi": "", "cores": 2, "options": "{}", "software": ""}  # fmt: skip
    for seconds in ([1e-6], [3e-5, 123.456789]):
        import numpy as np

        rows = [MeasuredRow.timed(np.array(seconds), 4, 16, algorithm=name, ran=name, **given)
                for name in SHIPPED]  # fmt: skip
        lines = [*style.head(), *style.rows(rows)]
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        assert "0.0000 " not in text
        assert all(re.search(rf"\b{number(rows[0].time_us_median)}\b", text) for _ in rows)
    assert "GB/s" in text or width < 80


def test_numbers_keep_their_digits():
    assert [number(x) for x in (4e-5, 0.00123, 12345.67)] == ["4.000e-05", "0.001230", "12346"]
    assert number(4e-5, 3) == "4.00e-05"


SLOW_SWEEP = """
import sys, time
import netsim.search.sweep as s, swing.progress as p
from netsim.__main__ import main
from swing.cli import invoke
p.INTERVAL = 0.2
run = s._run
def slow(case, nbytes):
    time.sleep(0.15)
    return run(case, nbytes)
s._run = slow
sys.exit(invoke(main, "netsim", sys.argv[1:]))
"""


def test_a_long_sweep_says_how_far_it_is_and_how_long_it_will_take_without_a_terminal():
    words = ["sweep", "--topology", "torus:4", "--algorithm", "swing", "--sizes", "32B:1MiB:x4"]
    done = subprocess.run(
        [sys.executable, "-c", SLOW_SWEEP, *words, "--json"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    pattern = r"simulating: (\d+) of 16, \d+ s so far(, about \d+ s left)?"
    counts = [int(re.fullmatch(pattern, line)[1]) for line in lines]
    assert len(counts) > 3
    assert counts == sorted(counts)
    assert any("about" in line for line in lines)
    assert all(json.loads(line) for line in done.stdout.splitlines())


SLOW_RUN = """
import sys, swing.progress as p
import netsim.cli.simulate_command as c
from netsim.__main__ import main
from numba import njit
from swing.cli import invoke
p.INTERVAL = 0.1
@njit(nogil=True)
def busy(n):
    x = 0.0
    for i in range(n):
        x += i ** 0.5
    return x
busy(1)
simulate = c.simulate
c.simulate = lambda *a, **k: busy(400_000_000) and simulate(*a, **k)
sys.exit(invoke(main, "netsim", sys.argv[1:]))
"""


def test_a_long_simulation_says_that_it_goes_on_while_compiled_code_runs():
    words = ["simulate", "--topology", "torus:4", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", SLOW_RUN, *words], capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    assert len(lines) > 1
    assert all(re.fullmatch(r"simulating, \d+ s so far", line) for line in lines)
    assert json.loads(done.stdout)["topology"] == "torus:4"


def test_compiled_models_let_progress_be_shown():
    from netsim.models import events, flow

    assert events.run.targetoptions["nogil"]
    assert flow._run.targetoptions["nogil"]


def test_an_error_in_the_background_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0)
    assert in_background(lambda: 5) == 5


def test_a_proof_says_how_many_blocks_it_has_proven(monkeypatch):
    monkeypatch.setattr("swing.verification.proof.TOKENS", 8 * 5)
    seen = []
    swing.verify(swing.schedule("swing", swing.Torus(8)), lambda *now: seen.append(now))
    assert seen == [("proving blocks", n, 16) for n in (5, 8, 13, 16)]


def test_progress_estimates_the_time_left(monkeypatch, capsys):
    now = iter([0, 0, 30])
    monkeypatch.setattr(swing.progress, "monotonic", lambda: next(now))
    progress = Progress("torus:4")
    progress.show("simulating", 3, 12)
    assert progress.line() == "torus:4: simulating: 3 of 12, 30 s so far, about 90 s left"
    monkeypatch.undo()
    with progress:
        assert list(progress.count("counting", "abc", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_a_command_that_fails_leaves_no_timer(monkeypatch, tmp_path):
    """Even while somebody holds the error, and with it all frames of the command."""
    monkeypatch.setattr("netsim.cli.report_command.simulate", lambda *_: 1 // 0)
    before = signal.getsignal(signal.SIGALRM)
    words = ["report", "--topology", "torus:2", "--out", str(tmp_path / "report.html")]
    with pytest.raises(ZeroDivisionError) as held:
        invoke(netsim.__main__.main, "netsim", words)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before
    assert held.traceback


def test_an_error_in_the_background_frees_what_its_frames_hold():
    class Held:
        pass

    def fail():
        held = Held()
        alive.append(weakref.ref(held))
        raise ValueError(held)

    alive = []
    gc.disable()
    try:
        with pytest.raises(ValueError, match="Held"):
            in_background(fail)
        deadline = time.monotonic() + 5  # the thread may end a moment later
        while alive[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert alive[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("closed", ["1", "2"])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("netsim simulate --topology torus:4", 0),
        ("netsim sweep --topology torus:4 --algorithm ring --sizes 1KiB", 0),
        ("swing show --topology torus:4", 0),
        ("swing show --topology none", 2),
    ],
)
def test_a_command_runs_without_standard_output_or_standard_error(words, status, closed):
    command = f"{sys.executable} -m {words} {closed}>&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    if (status, closed) == (2, "2"):
        assert done.stdout == ""


def test_a_measurement_is_not_disturbed_by_its_progress(monkeypatch, capsys):
    monkeypatch.setattr(swing.progress, "INTERVAL", 0.01)
    with Progress(disturbs=False) as progress:
        progress.show("measuring", 0, 2)
        time.sleep(0.1)
        assert capsys.readouterr().err == ""
        progress.show("measuring", 1, 2)
    assert re.fullmatch(r"measuring: 1 of 2, 0 s so far, about 0 s left\n", capsys.readouterr().err)


def commands():
    return [(name, main.commands[word]) for name, main in MAINS.items() for word in main.commands]


@pytest.mark.parametrize(("program", "command"), commands(), ids=lambda c: getattr(c, "name", c))
def test_help_explains_how_the_values_of_each_option_are_written(program, command):
    text = CliRunner().invoke(MAINS[program], [command.name, "-h"], prog_name=program).output
    together = " ".join(text.split())
    names = {param.name for param in command.params}
    for params, words in (
        ({"topologies", "topology", "torus"}, ["Topologies:", "torus:4x8:wrap=1,0"]),
        ({"algorithm", "names"}, ["Algorithms:", "radices=8x1-1x8", *ALGORITHMS]),
        ({"sizes", "size", "nbytes"}, ["Sizes:", "32B:128MiB:x4"]),
        ({"sync"}, SYNC.values()),
        ({"parts"}, PARTS.values()),
        ({"ties"}, TIES.values()),
        ({"model"}, MEANINGS.values()),
        ({"slow"}, ["Links:", "0-1 is the cable"]),
    ):
        for word in words if names & params and command.name != "plot" else ():
            assert word in together
    assert max(map(len, text.splitlines())) <= 80


def test_every_model_has_a_meaning():
    assert list(MEANINGS) == list(MODELS)


def completed(program, *words):
    """What the shell offers for the last word."""
    main, name = MAINS[program], f"_{program.upper()}_COMPLETE"
    environment = {
        name: "bash_complete", "COMP_WORDS": " ".join([program, *words]),
        "COMP_CWORD": str(len(words)),
    }  # fmt: skip
    done = CliRunner().invoke(main, [], prog_name=program, env=environment, complete_var=name)
    return [line.partition(",")[2] for line in done.output.splitlines()]


def test_all_is_completed_where_several_algorithms_are_meant():
    assert completed("netsim", "sweep", "--algorithm", "al") == ["all"]
    assert completed("netsim", "simulate", "--algorithm", "a") == ["auto"]
    assert completed("netsim", "report", "--algorithm", "a") == ["auto"]


def test_the_shell_completes_commands_algorithms_and_rules():
    assert completed("netsim", "sw") == ["sweep"]
    assert completed("netsim", "simulate", "--algorithm", "rec") == [
        name for name in ALGORITHMS if name.startswith("rec")
    ]
    assert completed("netsim", "simulate", "--sync", "re") == ["receives"]
    assert "torus:" in completed("netsim", "simulate", "--topology", "t")


def test_a_sweep_simulates_what_auto_chooses_at_each_size(run):
    words = ("sweep", "--topology", "torus:4x4", "--sizes", "32B,32MiB", "--json")
    auto = [json.loads(line) for line in run(80, *words, "--algorithm", "auto").splitlines()]
    assert {row["algorithm"] for row in auto} == {"auto"}
    network = netsim.paper_network("torus:4x4")
    for row in auto:
        chosen = swing.choose(swing.Torus((4, 4)), row["nbytes"], network)
        run_ = netsim.simulate(chosen.schedule(swing.Torus((4, 4))), network, row["nbytes"])
        assert row["seconds"] == run_.seconds
    named = swing.choose(swing.Torus((4, 4)), 32, network)
    words = [*words[:3], "--sizes", "32B", "--algorithm", "auto"]
    winner = spell(named.algorithm, named.options)
    both = run(200, *words, "--algorithm", winner)
    (row,) = (line for line in both.splitlines() if line.lstrip().startswith("32 B"))
    printed = row.split()[-1]  # of two that are equally fast
    assert sorted(printed.split(",")) == sorted(winner.split(","))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", MAINS)
def test_what_the_page_says_of_completion_gives_a_script(program, shell):
    page = (Path(__file__).parent.parent / "docs" / "shell.md").read_text()
    variable = f"_{program.upper()}_COMPLETE"
    assert f"_NETSIM_COMPLETE={shell}_source netsim" in page
    assert variable in page
    script = Path(sysconfig.get_path("scripts")) / program
    environment = os.environ | {variable: f"{shell}_source"}
    done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert f"{variable}={shell}_complete" in done.stdout


@pytest.mark.parametrize("command", ["sweep --topology torus:2x2", "tune --topology torus:4"])
@pytest.mark.parametrize("jobs", ["0", "4097", "1" * 30])
def test_jobs_are_a_number_of_processes_that_a_machine_can_have(command, jobs, capsys):
    words = [*command.split(), "--sizes", "1KiB", "--jobs", jobs]
    assert invoke(netsim.__main__.main, "netsim", words) == 2
    assert "1<=x<=4096" in capsys.readouterr().err
