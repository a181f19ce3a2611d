"""The command lines: what they print, and one clear line for bad input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import netsim.__main__
import swing
import swing.__main__
from netsim.rows import read_csv, write_csv
from swing.cli import invoke
from swing.text_table import number

MAINS = {"swing": swing.__main__.main, "netsim": netsim.__main__.main}


@pytest.fixture
def run(capsys):
    """Runs a command line in this process: exit status, standard output, standard error."""

    def call(program, *words):
        status = invoke(MAINS[program], f"python -m {program}", [*map(str, words)])
        return SimpleNamespace(returncode=status, **capsys.readouterr()._asdict())

    return call


@pytest.fixture
def rows(run):
    """Runs a command line with --json: its rows."""

    def call(*words):
        done = run(*words, "--json")
        assert done.returncode == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    return call


@pytest.mark.parametrize("program", MAINS)
def test_programs_run_from_the_shell(program):
    for word, status in (("--help", 0), ("nonsense", 2)):
        done = subprocess.run([sys.executable, "-m", program, word], capture_output=True, text=True)
        assert done.returncode == status
        assert bool(done.stdout) == (status == 0)


def test_show_prints_the_messages(run, rows):
    done = run("swing", "show", "--topology", "torus:4", "--ports", 1)
    assert done.out.splitlines()[1] == "  0 +  0→1:2-3  1→0:0-1  2→3:0-1  3→2:2-3"
    some = rows("swing", "show", "--topology", "torus:6", "--rank", 2)
    assert some
    assert all(2 in (row["src"], row["dst"]) for row in some)


def test_verify_proves_a_schedule(rows):
    (row,) = rows("swing", "verify", "--topology", "torus:3x4x5", "--algorithm", "swing")
    assert row["same_bits"] is True


def test_simulate_and_sweep_agree(rows):
    (row,) = rows("netsim", "simulate", "--topology", "torus:8x8", "--size", "2MiB")
    table = rows("netsim", "sweep", "--topology", "torus:8x8", "--sizes", "512KiB:2MiB:x4")
    (same,) = [
        r for r in table
        if (r["algorithm"], r["variant"], r["nbytes"]) == ("swing", "bandwidth", 2**21)
    ]  # fmt: skip
    assert row | same == row
    keys = {"topology", "algorithm", "variant", "nbytes", "seconds", "goodput_gbps", "model"}
    assert keys <= set(same)
    assert same["goodput_gbps"] == pytest.approx(2**24 / same["seconds"] / 1e9)


@pytest.mark.parametrize("asked", [(), ("--size", "32B"), ("--collective", "barrier")])
@pytest.mark.parametrize("model", ["analytic", "packet"])
def test_simulate_says_what_of_the_time_is_latency(asked, model, rows, run):
    words = "netsim", "simulate", "--topology", "torus:8x8", "--model", model, *asked
    (row,) = rows(*words)
    assert row["latency_s"] + row["bytes_s"] == pytest.approx(row["seconds"], rel=1e-12)
    assert row["bytes_s"] >= 0  # a few bytes fit into the flit that an empty message has, too
    assert asked or row["bytes_s"] > 0
    said = [line for line in run(*words).out.splitlines() if line.startswith("latency")]
    if "barrier" in asked:
        assert not said  # all of it
        return
    share = round(100 * row["latency_s"] / row["seconds"])
    added = f"the bytes add {number(row['bytes_s'] * 1e6)} us"
    assert said == [f"latency     {row['latency_s'] * 1e6:.3f} us, {share} % of the time; {added}"]


@pytest.mark.parametrize(
    ("fits", "other", "words", "why"),
    [
        ("torus:4x4", "torus:16", ("--algorithm", "swing,ports=4"), "uses 1 to 2 ports, not 4"),
        ("torus:4x4", "torus:4x4x2", ("--algorithm", "recursive_multiplying,radices=4x4"),
         "radices needs 3 whole numbers"),
        ("torus:4x4", "torus:2x2", ("--algorithm", "ring", "--collective", "broadcast",
         "--root", 9), "root must be a rank from 0 to 3, not 9"),
    ],
)  # fmt: skip
def test_a_sweep_leaves_out_what_runs_on_other_topologies_only(fits, other, words, why, rows, run):
    sweep = ("netsim", "sweep", "--sizes", "1KiB")
    places = ("--topology", other, "--topology", fits, "--bandwidth", 100, "--bandwidth", 400)
    done = run(*sweep, *places, *words, "--json")
    assert done.returncode == 0
    (line,) = done.err.splitlines()  # one for both machines
    assert line.startswith(f"left out: {words[1]} on {other}: ")
    assert why in line
    alone = [rows(*sweep, *places[2:4], "--bandwidth", gbps, *words) for gbps in (100, 400)]
    found = sorted(map(json.loads, done.out.splitlines()), key=str)
    assert found == sorted((row for part in alone for row in part), key=str)
    done = run(*sweep, *places, *words)
    assert other not in done.out  # nor has it an empty table
    done = run(*sweep, "--topology", other, "--topology", other, *words)
    assert (done.returncode, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1


def test_sweep_names_the_winner_of_every_size(run):
    names = ("--algorithm", "swing", "--algorithm", "bucket")
    done = run("netsim", "sweep", "--topology", "torus:8x8", "--sizes", "32B,512MiB", *names)
    small, large = (line for line in done.out.splitlines() if " B " in line or "MiB" in line)
    assert "swing,variant=latency" in small
    assert "bucket" in large


@pytest.mark.parametrize(
    ("name", "model", "noted"),
    [
        ("bucket,segments=6", "analytic", True),
        ("hamiltonian,segments=2", "analytic", True),
        ("auto", "analytic", True),
        ("bucket", "analytic", False),
        ("bucket,segments=6", "flow", False),
    ],
)
def test_a_sweep_says_that_the_analytic_model_shows_no_gain_from_segments(run, name, model, noted):
    words = ("--topology", "torus:4x4", "--sizes", "1MiB", "--algorithm", name, "--model", model)
    out = run("netsim", "sweep", *words, "--jobs", 1).out
    assert ("does not let segments overlap" in out) == noted


@pytest.mark.parametrize(
    ("name", "topology", "note"),
    [
        ("ring", "torus:3x3", "ring: 1 of 4 ports (on all: hamiltonian)"),
        ("recursive_doubling", "torus:2x4x4", "1 of 6 ports (on all: mirrored recursive doubling)"),
        ("ring", "torus:5", "ring: 1 of 2 ports"),
        ("ring,ports=2", "torus:3x3", ""),
        ("hamiltonian", "torus:3x3", ""),
        ("swing", "torus:3x3", ""),
    ],
)
def test_a_sweep_says_which_columns_use_one_port(run, name, topology, note):
    words = ("--topology", topology, "--sizes", "1KiB", "--algorithm", name)
    out = run("netsim", "sweep", *words).out
    assert note in out
    assert ("ports (on" in out) == bool(note)


def test_a_sweep_says_how_many_rows_it_replaces(run, tmp_path):
    path = tmp_path / "rows.csv"
    words = ("sweep", "--topology", "torus:4", "--algorithm", "swing", "--csv", path, "--sizes")
    assert "replaced" not in run("netsim", *words, "1KiB,2KiB").err
    assert "replaced 4 rows of" in run("netsim", *words, "1KiB").err
    assert "replaced" not in run("netsim", *words, "2KiB", "--resume").err
    assert "replaced 4 rows of" in run("netsim", *words, "4KiB").err


def test_plot_draws_sweeps_and_links(run, tmp_path):
    sweep, links = tmp_path / "sweep.csv", tmp_path / "links.csv"
    run("netsim", "sweep", "--topology", "torus:4x4", "--sizes", "1KiB,1MiB", "--csv", sweep)
    count = {"torus:4x4": 64, "torus:2x2x2": 48, "hx2mesh:4x4": 96, "hyperx:4x4": 96, "mesh:1x5": 8}
    for place, nlinks in count.items():
        run("netsim", "simulate", "--topology", place, "--links", links)
        with open(links, newline="") as file:
            assert len(list(csv.DictReader(file))) == nlinks
        for path in (sweep, links):
            done = run("netsim", "plot", path, "--out", tmp_path / "figures")
            assert done.returncode == 0, done.err
    names = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert names == ["links.png", "links.svg", "sweep.png", "sweep.svg"]


@pytest.mark.parametrize(
    ("topology", "name"),
    [("torus:4x4", "swing"), ("torus:8", "recursive_doubling"), ("mesh:4", "linear")],
)
def test_a_barrier_has_neither_size_nor_goodput(run, rows, topology, name):
    words = ("--topology", topology, "--algorithm", name, "--collective", "barrier")
    said = run("netsim", "simulate", *words).out
    assert said.startswith(f"barrier {name} on ")
    assert "no barrier under" in said
    assert "goodput" not in said
    assert "MiB" not in said
    (row,) = rows("netsim", "simulate", *words)
    assert (row["collective"], row["nbytes"], row["goodput_gbps"]) == ("barrier", 0, None)
    assert row["lower_bound_s"] == netsim.lower_bound(netsim.paper_network(topology), 0, "barrier")
    for swept in rows("netsim", "sweep", *words, "--sizes", "1KiB"):
        assert (swept["collective"], swept["goodput_gbps"]) == ("barrier", None)
        assert swept["seconds"] == pytest.approx(row["seconds"])
    assert "time in us" in run("netsim", "sweep", *words, "--sizes", "1KiB").out


@pytest.mark.parametrize(
    "words", [("netsim", "simulate"), ("netsim", "report", "--out", "x"), ("swing", "export")]
)
def test_auto_with_options_says_that_it_chooses_them(run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ("--format", "steps") if "export" in words else ()
    done = run(*words, "--topology", "torus:4", "--algorithm", "auto,variant=latency", *more)
    assert done.returncode == 2
    assert done.err.startswith("error: algorithm 'auto' chooses variant itself")
    assert run(*words, "--topology", "torus:4", "--algorithm", "auto", *more).returncode == 0


def test_resumed_rows_are_like_new_ones_and_not_simulated_again(run, rows, tmp_path):
    path = tmp_path / "rows.csv"
    words = "netsim", "sweep", "--topology", "torus:4", "--csv", path, "--resume"
    rows(*words, "--sizes", "1KiB")
    again = rows(*words, "--sizes", "1KiB,2KiB")
    assert again == rows("netsim", "sweep", "--topology", "torus:4", "--sizes", "1KiB,2KiB")
    write_csv(path, [row | {"seconds": "1.5"} for row in read_csv(path, ["seconds"])])
    kept = rows(*words, "--sizes", "1KiB,2KiB,4KiB")
    assert len(kept) == 1.5 * len(again)
    assert all((row["seconds"] == 1.5) == (row["nbytes"] < 4096) for row in kept)


def test_a_sweep_leaves_out_what_blocks_itself():
    whole = netsim.paper_network("torus:11")
    network = replace(whole, buffer_bytes=8192, virtual_channels=1)
    left_out = []
    rows = netsim.sweep(
        network, "recursive_multiplying", [2**10, 2**14], model="packet", jobs=1,
        tell=left_out.append,
    )  # fmt: skip
    assert len(rows) + len(left_out) == 4
    assert any(
        line.startswith("recursive_multiplying,variant=latency on torus:11, 16384 bytes: deadlock")
        for line in left_out
    )
    assert len(netsim.sweep(whole, "recursive_multiplying", [2**14], model="packet", jobs=1)) == 2


def test_plot_says_what_it_can_not_draw(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = "--topology", "torus:4"
    run("netsim", "sweep", *place, "--algorithm", "swing", "--sizes", "1KiB", "--csv", "rows.csv")
    run("netsim", "sweep", "--topology", "torus:1", "--sizes", "1KiB", "--csv", "none.csv")
    run("netsim", "simulate", *place, "--links", "links.csv")
    lines = (tmp_path / "links.csv").read_text().splitlines(keepends=True)
    (tmp_path / "some.csv").write_text("".join(lines[:5]))
    (tmp_path / "many.csv").write_text("".join(lines).replace("torus:4", "torus:999x999x999"))
    (tmp_path / "cut.csv").write_text("".join(lines).rpartition(",")[0])
    for said, *words in [
        ("no column 'src'", "rows.csv", "--kind", "links"),
        ("no column 'seconds'", "links.csv", "--kind", "goodput"),
        ("no column 'seconds'", "rows.csv", "links.csv"),
        ("with another algorithm", "rows.csv", "--kind", "gain"),
        ("nothing to draw", "none.csv"),
        ("4 rows are not the 8 links", "some.csv"),
        ("not all links", "many.csv"),
        ("row 8 is not whole", "cut.csv"),
    ]:
        done = run("netsim", "plot", *words)
        assert (done.returncode, len(done.err.splitlines())) == (2, 1)
        assert said in done.err


def test_traces_of_more_ranks_are_not_mixed_with_new_ones(run, tmp_path):
    words = "swing", "export", "--format", "chakra", "--out", tmp_path / "run", "--topology"
    assert run(*words, "torus:4").returncode == 0
    assert "remove it first" in run(*words, "torus:2").err
    assert run(*words, "torus:4").returncode == 0


def test_report_is_one_page_with_the_numbers_of_simulate(run, rows, tmp_path):
    out = tmp_path / "report.html"
    words = ("--topology", "torus:4x4", "--algorithm", "swing,ports=1")
    done = run("netsim", "report", *words, "--out", out, "--sizes", "1KiB,1MiB")
    assert done.returncode == 0, done.err
    assert out.read_text().startswith("<!doctype html>")
    (told,) = rows("netsim", "report", *words, "--out", out)
    (same,) = rows("netsim", "simulate", *words[:2], "--ports", 1, "--model", "packet")
    assert told["report"] == str(out)
    own = ("latency_s", "bytes_s", "lower_bound_s", "lower_bound_by")
    assert told | same == told | {key: same[key] for key in own}


@pytest.mark.parametrize(
    "place", ["torus:2x4", "torus:4x4", "torus:2x2x2", "torus:4x8", "torus:10x10"]
)
def test_what_compare_prints_as_a_winner_is_taken_by_every_command(place, run, rows, tmp_path):
    torus = swing.Torus.parse(place)
    compared = rows("netsim", "compare", "--topology", place)
    winners = {row["winner"]: row for row in compared}
    assert len(winners) > 3
    on_place = "--topology", place
    for winner, row in winners.items():
        words = *on_place, "--algorithm", winner
        (proof,) = rows("swing", "verify", *words)
        assert proof["same_bits"]
        assert rows("swing", "show", *words, "--rank", 0)
        assert rows("swing", "export", *words, "--out", tmp_path / "schedule.json")
        size = min(row["nbytes"], 2**15)
        rules = "--model", "packet"
        (simulated,) = rows("netsim", "simulate", *words, "--size", size, *rules)
        (swept,) = rows("netsim", "sweep", *words, "--sizes", size, *rules)
        assert swept["seconds"] == simulated["seconds"]
        if size == row["nbytes"]:
            assert simulated["seconds"] == pytest.approx(row["seconds"], rel=1e-9)
    chosen = [word for winner in winners for word in ("--algorithm", winner)]
    out = "--model", "analytic", "--out", tmp_path / "report.html"
    done = run("netsim", "report", *on_place, *chosen, *out)
    assert done.returncode == 0, done.err
    pytest.importorskip("mpi4py")
    from mpi_bench.methods import methods

    assert len(methods(list(winners), torus, None)) == 1 + len(winners)


def test_a_sweep_prints_winners_as_the_same_command_takes_them(run):
    def winner_in(text):
        (row,) = (line for line in text.splitlines() if line.startswith("1 KiB"))
        return row.split()[-1]

    for collective in ("barrier", "broadcast", "alltoall"):
        words = ("netsim", "sweep", "--topology", "torus:2x2", "--sizes", "1KiB", "--collective",
                 collective, "--jobs", 1)  # fmt: skip
        winner = winner_in(run(*words).out)
        again = run(*words, "--algorithm", winner)
        assert again.returncode == 0, again.err
        assert winner_in(again.out) == winner


def test_a_sweep_of_one_winner_is_resumed_and_printed_as_it_was_asked_for(run, rows, tmp_path):
    words = "netsim", "sweep", "--topology", "torus:4x4", "--csv", tmp_path / "rows.csv"
    asked = [
        word for name in ("bucket,segments=6", "swing,ports=1") for word in ("--algorithm", name)
    ]
    first = rows(*words, *asked, "--sizes", "32B")
    assert {row["algorithm"] for row in first} == {"bucket,segments=6", "swing,ports=1"}
    both = rows(*words, *asked, "--sizes", "32B,512MiB", "--resume")
    assert len(both) == 4
    printed = run(*words, *asked, "--sizes", "512MiB", "--resume").out
    (row,) = (line for line in printed.splitlines() if line.startswith("512 MiB"))
    assert "bucket,segments=6" in row


@pytest.mark.parametrize("size", ["2MiB", "2 mib", "2Mi", "2097152", "2097152B"])
def test_every_command_takes_a_size_in_every_spelling(size, rows, tmp_path):
    place = "--topology", "torus:4"
    (simulated,) = rows("netsim", "simulate", *place, "--size", size)
    (swept,) = rows("netsim", "sweep", *place, "--algorithm", "ring", "--sizes", size)
    assert simulated["nbytes"] == swept["nbytes"] == 2**21
    (text,) = rows("swing", "export", *place, "--format", "steps", "--nbytes", size)
    assert text == rows("swing", "export", *place, "--format", "steps", "--nbytes", "2MiB")[0]


TRACE = """num_ranks 4
rank 0 {
l1: send 1000b to 1 tag 0
}
rank 1 {
l1: recv 1000b from 0 tag 0
}
rank 2 {
}
rank 3 {
}
"""


def test_a_trace_has_its_own_bytes_unless_a_size_is_given(rows, run, tmp_path):
    """One message of 1000 B to a neighbour: 913.68 ns and 1000 B at 50 GB/s, 0.93368 us."""
    trace = tmp_path / "one.goal"
    trace.write_text(TRACE)
    source = "--from", trace
    for place in ((), ("--topology", "torus:4")):
        (row,) = rows("netsim", "simulate", *source, *place)
        assert (row["nbytes"], row["seconds"]) == (1000, pytest.approx(0.93368e-6))
    (scaled,) = rows("netsim", "simulate", *source, "--size", "2MiB")
    assert scaled["seconds"] == pytest.approx(42.85672e-6)
    out = "--topology", "torus:4", "--model", "analytic", "--out", tmp_path / "report.html"
    (told,) = rows("netsim", "report", *source, *out)
    assert told["seconds"] == row["seconds"]
    other = tmp_path / "other.goal"
    other.write_text(TRACE.replace("1000b", "500b"))
    done = run("netsim", "report", *source, "--from", other, *out)
    assert (done.returncode, len(done.err.splitlines())) == (2, 1)
    assert "give --size" in done.err


def test_every_command_that_reads_a_trace_takes_an_eager_limit(rows, run, tmp_path):
    """Three ranks send 100 B to the right and then receive: 1 step, or 2 if sends wait."""
    trace = tmp_path / "shift.ti"
    moves = "0 send 1 0 100", "1 send 2 0 100", "1 recv 0 0 100", "2 recv 1 0 100"
    lines = [f"{r} {word}" for word in ("init", "", "finalize") for r in range(3) if word]
    trace.write_text("\n".join([*lines[:3], *moves, *lines[3:]]))
    source = "--from", trace
    place = "--topology", "torus:3"
    out = *place, "--model", "analytic", "--out", tmp_path / "report.html"
    for limit, nsteps in (((), 1), (("--eager-limit", "100"), 1), (("--eager-limit", "64B"), 2)):
        (row,) = rows("netsim", "simulate", *source, *limit)
        assert row["seconds"] == pytest.approx(nsteps * 915.68e-9)
        (same,) = rows("netsim", "report", *source, *limit, *out)
        assert same["seconds"] == row["seconds"]
        assert len(run("swing", "show", *source, *limit).out.splitlines()) == 1 + nsteps
        (text,) = rows("swing", "export", *source, *limit, "--format", "steps")
        assert text["text"].splitlines()[-1] == ("0 1 2 100" if nsteps == 1 else "1 0 1 100")
    for words in (
        ("swing", "show", *place),
        ("netsim", "simulate", *place),
        ("netsim", "report", *out),
    ):
        done = run(*words, "--eager-limit", "64")
        assert (done.returncode, len(done.err.splitlines())) == (2, 1)
        assert "name the trace by --from" in done.err


BAD = [
    ("too many to list", "swing", "show", "--topology", "torus:100000000"),
    ("too many to list", "swing", "verify", "--topology", "torus:10000x10000"),
    ("too many to list", "swing", "export", "--topology", "torus:99999999", "--format", "json"),
    ("65536 ranks at most", "netsim", "report", "--topology", "torus:100000000"),
    ("choose from swing", "swing", "show", "--topology", "torus:4", "--algorithm", "swyng"),
    ("torus:8x8", "swing", "show", "--topology", "torus:4x"),
    ("1 to 4 ports", "swing", "verify", "--topology", "torus:4x4", "--ports", 9),
    ("ranks 0 to 3", "swing", "show", "--topology", "torus:4", "--rank", 4),
    ("use bucket", "netsim", "sweep", "--topology", "torus:2x2x2", "--algorithm", "hamiltonian"),
    ("not a size", "netsim", "sweep", "--topology", "torus:4", "--sizes", "foo"),
    ("not a size", "netsim", "simulate", "--topology", "torus:4", "--size", "-3"),
    ("torus:8x8", "netsim", "simulate", "--topology", "klein:4"),
    ("--topology", "netsim", "simulate"),
    ("above 0", "netsim", "simulate", "--topology", "torus:4", "--bandwidth", -1),
    ("from 0 to", "netsim", "simulate", "--topology", "torus:4", "--links", "x", "--step", 99),
    ("swing,ports=1", "netsim", "report", "--topology", "torus:4", "--algorithm", "swing,ports"),
    ("whole number", "netsim", "report", "--topology", "torus:4", "--algorithm", "swing,k=x"),
    ("no option", "netsim", "report", "--topology", "torus:4", "--algorithm", "ring,variant=x"),
    *(
        (f"no option {key!r}", program, *words, "--topology", "torus:4", "--algorithm", word)
        for key in ("name", "torus", "nbytes", "machine", "algorithm", "self")
        for word in (f"swing,{key}=4", f"auto,{key}=4", f"none,{key}=4")
        for program, *words in (("netsim", "sweep"), ("netsim", "simulate"), ("swing", "show"))
    ),
    ("leave out --retime", "netsim", "tune", "--retime", "--out", "none.json"),
    ("'k' twice", "netsim", "simulate", "--topology", "torus:4", "--algorithm", "swing,k=1,k=2"),
    (
        "given twice",
        "swing",
        "show",
        "--topology",
        "torus:4",
        "--algorithm",
        "swing,ports=1",
        "--ports",
        2,
    ),
    ("no option 'k'", "swing", "show", "--topology", "torus:4", "--algorithm", "ring,k=1"),
    ("ties", "netsim", "report", "--topology", "torus:4", "--ties", "random"),
    ("cannot write", "netsim", "report", "--topology", "torus:4", "--out", "none/report.html"),
    ("No such command", "netsim", "simulat"),
    ("at most 60", "swing", "verify", "--topology", f"torus:{'1x' * 63}2"),
    ("not a finite", "netsim", "compare", "--topology", "torus:5", "--keep", "nan"),
    ("not a finite", "netsim", "sweep", "--topology", "torus:5", "--prune", "nan"),
    ("above 0", "netsim", "simulate", "--topology", "torus:4", "--bandwidth", "1e-310"),
    ("on the size", "swing", "show", "--topology", "torus:4", "--algorithm", "auto"),
    ("No such file", "swing", "export", "--topology", "torus:4", "--out", "none/x.json"),
    ("No such file", "netsim", "plot", "missing.csv"),
]


LONG = "x" * 10**5


@pytest.mark.parametrize(
    "args",
    [
        ("swing", "show", "--topology", LONG),
        ("swing", "show", "--topology", "torus:4", "--algorithm", LONG),
        ("swing", "show", "--topology", "torus:4", "--algorithm", f"swing,{LONG}=3"),
        ("swing", "export", "--topology", "torus:4", "--format", LONG),
        ("netsim", "simulate", "--topology", LONG),
        ("netsim", "simulate", "--topology", "torus:4", "--size", LONG),
        ("netsim", "sweep", "--topology", "torus:4", "--sizes", LONG),
        ("netsim", "simulate", "--topology", "torus:4", "--model", LONG),
    ],
    ids=lambda args: " ".join(args)[:40],
)
def test_an_error_does_not_repeat_all_that_was_typed(args, run):
    done = run(*args)
    printed = done.err
    assert done.returncode == 2
    assert printed.count("\n") == 1
    assert len(printed) <= 300


@pytest.mark.parametrize("case", BAD, ids=lambda c: " ".join(map(str, c[1:])))
def test_bad_input_is_one_line_and_status_2(case, run, tmp_path, monkeypatch):
    remedy, *words = case
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.returncode == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert remedy in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_torus_that_wraps_in_some_dimensions_is_simulated_from_its_name_and_its_file(
    run, rows, tmp_path
):
    """4x4 that wraps in the first dimension only lies between the mesh and the torus."""
    name, path = "torus:4x4:wrap=1,0", tmp_path / "partly.json"
    times = {}
    for place in ("torus:4x4", name, "mesh:4x4"):
        (row,) = rows("netsim", "simulate", "--topology", place)
        times[place] = row["seconds"]
        assert row["topology"] == place
    assert sorted(times, key=times.__getitem__) == ["torus:4x4", name, "mesh:4x4"]
    assert run("swing", "export", "--topology", name, "--out", path).returncode == 0
    (read,) = rows("netsim", "simulate", "--from", path)
    assert (read["topology"], read["seconds"]) == (name, times[name])
    (proof,) = rows("swing", "verify", "--from", path)
    assert proof["topology"] == name
    for wrong in (
        "mesh:4x4:wrap=1,0",
        "hyperx:4x4:wrap=1,0",
        "torus:4x4:wrap=1",
        "torus:4x4:wrap=2,0",
    ):
        done = run("netsim", "simulate", "--topology", wrong)
        assert (done.returncode, len(done.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("program", ["swing", "netsim", "mpi-bench"])
def test_programs_are_installed_and_tell_their_version(program):
    path = Path(sysconfig.get_path("scripts")) / program
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"torus-swing {swing.__version__}"
    done = subprocess.run([path, "-h"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: {program} ")


@pytest.mark.parametrize(
    "words", [("--retime",), ("--collective", "allgather"), ("--root", 1), ("--root", 0)]
)
def test_tune_refuses_what_measured_times_do_not_have(run, words, tmp_path):
    (tmp_path / "times.csv").write_text("")
    done = run("netsim", "tune", "--measured", tmp_path / "times.csv", *words, "--out",
               tmp_path / "out.json")  # fmt: skip
    assert done.returncode == 2
    assert done.err.startswith("error: --measured has times of allreduces: no --retime")
    assert not (tmp_path / "out.json").exists()
