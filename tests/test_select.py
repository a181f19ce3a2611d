import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import netsim
import swing
from netsim.__main__ import main
from netsim.rows import write_csv
from netsim.search.case import Case
from netsim.search.explore import Search, explore
from netsim.search.sweep import processes
from swing.algorithms import make
from swing.algorithms.spelling import parse
from swing.cli import invoke
from swing.schedules.blocks import one_block
from swing.schedules.step import Step
from swing.select.candidates import family, published, shortlist, spelled
from swing.select.choose import OVERHEAD, MachineModel
from swing.select.choose import PAPER as PAPER_MODEL
from swing.select.estimate import figures, seconds
from swing.select.fluid import drained
from swing.select.table import Candidate, Entry, SelectionTable, shipped
from swing.sizes import format_size, parse_size

TEXT = str(
    SelectionTable(
        {"machine": "none"},
        {
            "torus:2x3": Entry(
                (8, 64),
                (
                    Candidate("swing", (("variant", "latency"),), (1e-6, 4e-6)),
                    Candidate("ring", (("ways", (1, (2, 3))),), (2e-6, None)),
                ),
            )
        },
    )
)


@pytest.mark.parametrize("dims", [(8,), (4, 4), (8, 8), (16, 4), (4, 4, 4), (2, 2), (64, 64)])
@pytest.mark.parametrize("name", ["swing", "bucket", "mirrored_recursive_doubling"])
def test_an_estimate_is_the_analytic_model_on_powers_of_two(dims, name):
    torus = swing.Torus(dims)
    network = replace(netsim.paper_network(torus.name, ties="split"), post_gap=0.0)
    schedule = swing.schedule(name, torus)
    for n in (32, 2**16, 2**26):
        run = netsim.simulate(schedule, network, n)
        assert seconds(figures(schedule), network, n) == pytest.approx(run.seconds, rel=1e-9)


@pytest.mark.parametrize(("name", "options"), [("windows", {}), ("bucket", {"segments": 1})])
def test_parts_that_run_on_their_own_are_estimated_to_meet_as_in_lockstep(name, options):
    errors = []
    for dims in [(3, 7), (12, 5), (16, 3), (4, 8), (2, 6), (3, 4, 5), (2, 3, 3)]:
        network = netsim.paper_network(swing.Torus(dims).name)
        schedule = swing.schedule(name, swing.Torus(dims), **options)
        ours = seconds(figures(schedule), network, 2**29)
        analytic, flow = (
            netsim.simulate(schedule, network, 2**29, model).seconds
            for model in ("analytic", "flow")
        )
        errors.append([abs(ours / flow - 1), abs(analytic / flow - 1)])
    assert np.max(errors, axis=0)[0] <= 0.3
    assert np.mean(errors, axis=0)[0] <= 0.85 * np.mean(errors, axis=0)[1]


@pytest.mark.parametrize("dims", [(7,), (6, 10), (3, 5), (5, 5, 5), (1, 4)])
def test_an_estimate_is_near_a_simulation_elsewhere(dims):
    torus = swing.Torus(dims)
    network = netsim.paper_network(torus.name, ties="split")
    for name, options in shortlist(torus):
        schedule = swing.schedule(name, torus, **dict(options))
        # To the analytic model segments do not overlap, and an estimate does not know how long they
        # wait for each other's links.
        model, least = ("flow", 0.6) if "segments" in dict(options) else ("analytic", 0.85)
        run = netsim.simulate(schedule, network, 2**16, model)
        assert least < seconds(figures(schedule), network, 2**16) / run.seconds < 1.35


@pytest.mark.parametrize("nbytes", [-1, 2**62 + 1, 2**2000, 1.5, "8"])
@pytest.mark.parametrize("collective", ["allreduce", "gather"])
def test_sizes_that_no_vector_has_are_refused_in_one_line(nbytes, collective):
    with pytest.raises(ValueError, match="whole number from 0 to 2\\^62") as refused:
        swing.choose(swing.Torus((2, 3)), nbytes, collective=collective)
    assert len(str(refused.value)) <= 300


def test_a_table_reads_what_it_writes():
    assert str(SelectionTable.read(TEXT)) == TEXT
    assert SelectionTable.read(TEXT).entries["torus:2x3"].candidates[1].options == (
        ("ways", (1, (2, 3))),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ('"version": 1', '"version": 1, "version": 1'),
        ("[8, 64]", "[64, 8]"),
        ("[8, 64]", "[8, 64, 128]"),
        ("[8, 64]", "[true, 64]"),
        ("1e-06", "NaN"),
        ("1e-06", "-1"),
        ("1e-06", "1e999"),
        ("1e-06", '"fast"'),
        ('"variant": "latency"', '"variant": {}'),
        ('"swing"', "7"),
        ("{", "{" * 10**5),
        (TEXT, "[" * 10**5),
        (TEXT, ""),
        (TEXT, "null"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(old, new):
    assert old in TEXT
    with pytest.raises(ValueError, match=r"^no selection table: [^\n]*$"):
        SelectionTable.read(TEXT.replace(old, new))


def test_tables_obey_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    from importlib import resources

    schema = json.loads((resources.files("swing.select") / "tables" / "schema.json").read_text())
    for table in (TEXT, str(shipped())):
        jsonschema.validate(json.loads(table), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(TEXT.replace("[8, 64]", "[0, 64]")), schema)


def test_shipped_candidates_can_be_made_have_a_rival_at_every_size_and_the_fastest_is_chosen():
    assert len(shipped().entries) > 10
    for name, entry in shipped().entries.items():
        torus = swing.Torus.parse(name)
        for c in entry.candidates:
            assert len(swing.schedule(c.algorithm, torus, **dict(c.options))) > 0
        rivals = published(torus)
        for n in entry.sizes:
            ranked = entry.ranked(n)
            assert any((c.algorithm, c.options) in rivals for _, c in ranked), (name, n)
            choice, (seconds, fastest) = swing.choose(torus, n), ranked[0]
            assert seconds == min(t for t, _ in ranked)
            assert (choice.seconds, choice.algorithm) == (seconds, fastest.algorithm)
            assert choice.options == dict(fastest.options)


@pytest.mark.parametrize("name", shipped().entries)
def test_a_sample_of_the_shipped_times_is_what_a_simulation_says_today(name):
    """The fastest at some sizes, under the conditions that the table states."""
    made, entry = shipped().made, shipped().entries[name]
    assert made["model"] == "packet up to 8 MiB, flow above"
    sizes = (512, 2**21, 2**27) if swing.Torus.parse(name).size <= 256 else (512, 2**15)
    for n in sizes:
        seconds, winner = entry.ranked(n)[0]
        model = "packet" if n <= 2**23 else "flow"
        network = netsim.paper_network(name)
        case = Case(network, winner.algorithm, winner.options)
        fresh = case.run(n, model)
        assert fresh["seconds"] == pytest.approx(seconds, rel=1e-9), (n, winner)


COSTLY = shipped("allreduce", "messages")


@pytest.mark.parametrize("name", COSTLY.entries)
def test_the_table_of_costly_messages_is_what_a_simulation_says_and_beats_the_published(name):
    torus, entry = swing.Torus.parse(name), COSTLY.entries[name]
    network = replace(netsim.paper_network(name), message_overhead=OVERHEAD)
    seconds, winner = entry.ranked(512)[0]
    fresh = Case(network, winner.algorithm, winner.options).run(512, "packet")
    assert fresh["seconds"] == pytest.approx(seconds, rel=1e-9)
    rivals = published(torus)
    for n in entry.sizes:
        ranked = entry.ranked(n)
        theirs = [t for t, c in ranked if (c.algorithm, c.options) in rivals]
        assert netsim.lower_bound(network, n) * (1 - 1e-9) <= ranked[0][0] <= min(theirs)
        assert swing.choose(torus, n, "messages").seconds == ranked[0][0]


@pytest.mark.parametrize(
    ("words", "table"), [([], shipped()), (["500ns"], COSTLY), (["0.5us"], COSTLY)]
)
def test_compare_reads_shipped_times_instead_of_searching(words, table, monkeypatch, capsys):
    monkeypatch.setattr("netsim.cli.compare_command.find", None)
    costs = [f"--message-overhead={text}" for text in words]
    line = ["compare", "--topology", "torus:8x8", "--sizes", "512", "--json", *costs]
    assert invoke(main, "netsim", line) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["seconds"] == table.entries["torus:8x8"].ranked(512)[0][0]


@pytest.mark.parametrize("name", shipped().entries)
def test_no_shipped_time_is_less_than_a_lower_bound(name):
    entry, network = shipped().entries[name], netsim.paper_network(name)
    for n in entry.sizes:
        bound = netsim.lower_bound(network, n)
        assert all(seconds >= bound * (1 - 1e-9) for seconds, _ in entry.ranked(n)), n


def winners(least, most):
    for name, entry in shipped().entries.items():
        torus = swing.Torus.parse(name)
        if least <= torus.size <= most:
            for c in {entry.ranked(n)[0][1] for n in entry.sizes}:
                yield swing.schedule(c.algorithm, torus, **dict(c.options))


def test_what_auto_runs_on_shipped_tori_is_correct_with_the_same_bits():
    assert all(swing.verify(schedule).same_bits for schedule in winners(2, 64))


@pytest.mark.nightly
def test_what_auto_runs_on_larger_shipped_tori_is_correct_too():
    assert all(swing.verify(schedule).same_bits for schedule in winners(65, 4096))


def test_choose_takes_the_least_time_of_a_table(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(TEXT)
    torus = swing.Torus((2, 3))
    choice = swing.choose(torus, 36, str(path))
    assert (choice.algorithm, choice.options) == ("swing", {"variant": "latency"})
    assert choice.seconds == pytest.approx(2.5e-6)
    with pytest.raises(ValueError, match="no torus:3x3"):
        swing.choose(swing.Torus((3, 3)), 36, str(path))


@pytest.mark.parametrize("asked", [(3, 2), (6,), (4, 4)])
@pytest.mark.parametrize("more", [0, 500])
def test_a_torus_that_no_table_has_is_refused_with_the_remedy(asked, more):
    small = SelectionTable.read(TEXT)
    (entry,) = small.entries.values()
    others = {f"torus:{n}": entry for n in range(100, 100 + more)}
    table = SelectionTable(small.made, small.entries | others)
    with pytest.raises(ValueError, match=r"only torus:2x3.*as torus=") as error:
        swing.choose(swing.Torus(asked), 1024, table)
    assert len(str(error.value)) <= 250  # SWING_MACHINE's name comes before it


def test_the_shipped_table_serves_every_bandwidth_that_leaves_the_papers_latencies():
    for name in shipped().entries:
        torus = swing.Torus.parse(name)
        for factor in (1 / 2, 2, 8):
            network = netsim.paper_network(name, bandwidth=factor * 50e9)
            for n in (2**11, 2**20, 2**29):
                found = swing.choose(torus, round(factor * n), network).seconds
                assert found == swing.choose(torus, n).seconds


def test_a_choice_says_which_table_it_is_by_and_how_far_the_nearest_one_is():
    torus = swing.Torus((8, 8))
    paper = netsim.paper_network("torus:8x8")
    slow = netsim.paper_network("torus:8x8", bandwidth=1e9)  # a flit alone takes 256 ns
    for network, table in ((paper, "paper"), (replace(paper, message_overhead=5e-7), "messages")):
        for machine in (network, table):
            why = swing.choose(torus, 2**20, machine).why
            assert why.startswith(f"by the table of machine '{table}': ")
    for network, far in (
        (slow, "'paper', is for messages whose costs differ up to 1.58-fold: "),
        (replace(paper, message_overhead=2e-7), "'messages', is for messages whose costs differ"),
        (replace(paper, message_overhead=2e-6), "'messages', is for messages whose costs differ"),
    ):
        why = swing.choose(torus, 2**20, network).why
        assert why.startswith("estimated, since the nearest table, of machine ")
        assert far in why
    assert swing.choose(swing.Torus((3, 2)), 2**20, slow).why.startswith("estimated: ")


def test_machines_without_latencies_or_overheads_are_compared_too():
    torus = swing.Torus((8, 8))
    assert "whose costs differ: " in swing.choose(torus, 1000, MachineModel(0, 0, 1e9)).why
    unknown = SimpleNamespace(bandwidth=5e10, latency=PAPER_MODEL.latency, message_overhead=None)
    assert swing.choose(torus, 1000, unknown) == swing.choose(torus, 1000)


def test_an_estimate_follows_the_slowest_part_of_a_table_of_steps():
    """Part 0 sends once, part 1 along a chain of three."""
    rows = [[(0, 1, 0), (0, 1, 1)], [(1, 2, 1)], [(2, 3, 1)]]  # sender, receiver, part and block

    def step(s):
        src, dst, part = map(np.array, zip(*rows[s], strict=True))
        return Step(True, src, dst, one_block(part), part)

    schedule = swing.Schedule(
        "two parts", swing.Torus(4), 2, 3, step, parts=(1, 1), sync_phase=lambda s: 0
    )
    (phase,) = figures(schedule)
    assert (phase.steps, phase.hops) == (3, 3)


@pytest.mark.parametrize("name", ["torus:4x6", "torus:5x7", "torus:2x3x4", "torus:9", "mesh:3x4"])
def test_an_estimate_counts_the_messages_of_the_busiest_sender(name):
    network = replace(netsim.paper_network(name), message_overhead=5e-7)
    for (algorithm, options), schedule in shortlist(network.topology.torus).items():
        # In the analytic model segments wait for each other; in the flow model they do not, and the
        # first bytes of a step travel while its last messages are still being sent.
        models = ["analytic", "flow"] if "segments" in dict(options) else ["analytic"]
        times = [netsim.simulate(schedule, network, 2**14, model).seconds for model in models]
        estimated = seconds(figures(schedule), network, 2**14)
        assert 0.9 * min(times) <= estimated <= 1.1 * max(times), algorithm


@pytest.mark.parametrize("name", ["torus:3x7", "torus:12x5", "torus:2x3x3", "torus:4x4x8"])
@pytest.mark.parametrize("algorithm", ["bucket", "windows", "hamiltonian"])
def test_large_segments_on_rectangles_take_what_the_flow_model_says(name, algorithm):
    """Their parts drift apart, so that links are idle, by up to a third of the time on 3x7."""
    network = netsim.paper_network(name)
    schedule = swing.schedule(algorithm, network.topology.torus, segments=4)
    exact = netsim.simulate(schedule, network, 2**30, "flow").seconds
    assert seconds(figures(schedule), network, 2**30) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("name", ["torus:4x4", "torus:3x5", "torus:6", "mesh:3x4", "torus:2x2x3"])
def test_every_schedule_of_the_family_is_correct(name):
    torus = swing.Torus.parse(name)
    for algorithm, options in {*family(torus), *shortlist(torus)}:
        schedule = swing.schedule(algorithm, torus, **dict(options))
        assert swing.verify(schedule).same_bits, (algorithm, options)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        *(("most", value) for value in (0, -1, 1.5, True, "8")),
        *(("keep", value) for value in (0.5, math.nan, math.inf, "a")),
        *(("packets", value) for value in (-1, 0, 2**51, 1e6)),
        *(("leaders", value) for value in (-1, 1.5, "3")),
        *(("jobs", value) for value in (0, 5000, True, None)),
        *(("enough", value) for value in (-1, math.nan, "a")),
    ],
)
def test_the_limits_of_a_search_are_those_of_the_command(limit, value):
    with pytest.raises(ValueError, match=limit):
        Search(**{limit: value})


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_whole_numbers_of_any_kind_are_taken(kind):
    assert Search(most=kind(3), packets=kind(64), jobs=kind(1)) == Search(most=3, packets=64)
    assert processes(kind(2), "packet") == 2
    with pytest.raises(ValueError, match="from 1 to 4096, not True"):
        processes(True, "packet")


def test_tune_finds_the_fastest_of_all():
    place, sizes = "torus:2x2", [32, 2**20]
    network = netsim.paper_network(place)
    named = family(swing.Torus((2, 2)))
    cases = [Case(network, *each) for each in named]
    found = explore(cases, sizes, Search(keep=4))
    for n in sizes:
        best = min(case.run(n, "packet")["seconds"] for case in cases)
        least = min(t[n] for t in found.values() if n in t)
        assert least == best or least <= 1.002 * netsim.lower_bound(network, n)


def test_tune_writes_a_table_that_compare_and_choose_read(tmp_path, capsys):
    out = tmp_path / "table.json"
    words = ["tune", "--topology", "torus:2x4", "--sizes", "32B,64KiB", "--out", str(out)]
    assert invoke(main, "netsim", [*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    torus = swing.Torus((2, 4))
    assert [swing.choose(torus, r["nbytes"], str(out)).seconds for r in rows] == [
        r["seconds"] for r in rows
    ]
    before = out.read_text()
    assert invoke(main, "netsim", words) == 0
    assert out.read_text() == before
    assert invoke(main, "netsim", [*words, "--bandwidth", "100"]) == 2
    assert "made otherwise" in capsys.readouterr().err


def test_retime_simulates_what_a_table_holds_and_nothing_else(tmp_path, capsys):
    out = tmp_path / "table.json"
    words = ["tune", "--out", str(out)]
    place = ["--topology", "torus:2x4", "--sizes", "32B,64KiB"]
    assert invoke(main, "netsim", [*words, *place]) == 0
    right = SelectionTable.read(out.read_text())
    stale = Entry(
        right.entries["torus:2x4"].sizes,
        tuple(
            c._replace(seconds=tuple(t and t / (i + 2) for t in c.seconds))
            for i, c in enumerate(right.entries["torus:2x4"].candidates)
        ),
    )
    out.write_text(str(SelectionTable(right.made, {"torus:2x4": stale})))
    assert invoke(main, "netsim", [*words, "--retime"]) == 0
    assert out.read_text() == str(right)
    assert invoke(main, "netsim", [*words, "--retime", "--topology", "torus:5"]) == 2
    assert "has no torus:5" in capsys.readouterr().err


MEASURED = {
    "topology": "torus:2x3", "algorithm": "swing", "nbytes": "64", "seconds": "2e-6", "wrong": "0",
    "dtype": "float32", "op": "sum", "mpi": "MPI", "cores": "6",
    "options": '{"variant": "hybrid", "k": 1}',
}  # fmt: skip
MULTIPLYING = {"algorithm": "recursive_multiplying", "options": '{"radices": [[2, 3]]}'}


def test_a_table_of_measured_times(tmp_path, capsys):
    rows, out = tmp_path / "rows.csv", tmp_path / "table.json"
    again = [MEASURED | {"seconds": t} for t in ("9e-6", "3e-6")]  # 3e-6 is the median
    other = [MEASURED | MULTIPLYING | {"nbytes": n, "seconds": "4e-6"} for n in ("8", "64")]
    mpi = MEASURED | {"algorithm": "mpi", "options": "{}", "seconds": "1e-9"}
    write_csv(rows, [MEASURED, *again, *other, mpi])
    words = ["tune", "--measured", str(rows), "--out", str(out)]
    assert invoke(main, "netsim", [*words, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["nbytes"], r["seconds"]) for r in told] == [(8, 4e-6), (64, 3e-6)]
    torus = swing.Torus((2, 3))
    assert swing.choose(torus, 8, str(out)).options == {"radices": ((2, 3),)}
    assert swing.choose(torus, 64, str(out)).options == {"variant": "hybrid", "k": 1}


BAD_ROWS = {
    "wrong answers": {"wrong": "3"},
    "no row of mpi_bench: swing has no option": {"options": '{"speed": 9}'},
    "is no row of mpi_bench": {"options": "[1]"},
    "no algorithm": {"algorithm": "magic"},
    "no schedule was measured": {"algorithm": "auto"},
    "written like torus:8x8": {"topology": "ring"},
    "0 bytes in": {"nbytes": "0"},
    "in nan s": {"seconds": "nan"},
}


@pytest.mark.parametrize("rule", BAD_ROWS)
def test_rows_that_measured_nothing_of_use_are_refused(rule, tmp_path, capsys):
    rows, out = tmp_path / "rows.csv", tmp_path / "table.json"
    write_csv(rows, [MEASURED | BAD_ROWS[rule]])
    assert invoke(main, "netsim", ["tune", "--measured", str(rows), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert rule in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_tune_simulates_a_topology_or_reads_what_was_measured(tmp_path, capsys):
    for words in ([], ["--topology", "torus:4", "--measured", "rows.csv"]):
        assert invoke(main, "netsim", ["tune", *words, "--out", str(tmp_path / "table.json")]) == 2
        assert "name a --topology to simulate, or" in capsys.readouterr().err


def test_every_shipped_torus_was_compared_with_what_came_later():
    for entry in shipped().entries.values():
        assert any(c.algorithm == "trivance" for c in entry.candidates)


def test_one_rank_has_a_table_too(capsys):
    assert invoke(main, "netsim", ["compare", "--topology", "torus:1", "--sizes", "32B"]) == 0
    assert "torus:1" in capsys.readouterr().out


@pytest.mark.parametrize("nbytes", [2**10, 2**20, 2**25])
@pytest.mark.parametrize("packets", ["8MiB", "1KiB", "64MiB"])
def test_compare_names_its_models_and_has_their_times(packets, nbytes, capsys):
    """The shipped table, which is made with 8 MiB, does not stand in for other models."""
    words = ["compare", "--topology", "torus:4x4", "--sizes", str(nbytes), "--packets", packets]
    assert invoke(main, "netsim", [*words, "--json", "--most", "2"]) == 0
    row = json.loads(capsys.readouterr().out)
    model = "packet" if nbytes <= parse_size(packets) else "flow"
    sync = {"packet": "receives", "flow": "local"}[model]
    assert (row["model"], row["sync"], row["parts"]) == (model, sync, "schedule")
    name, options = parse(row["winner"])
    schedule = swing.schedule(name, swing.Torus((4, 4)), **options)
    rules = {"sync": row["sync"], "parts": row["parts"]}
    run = netsim.simulate(schedule, netsim.paper_network("torus:4x4"), nbytes, model, **rules)
    assert row["seconds"] == pytest.approx(run.seconds, rel=1e-12)
    assert invoke(main, "netsim", [*words, "--most", "2"]) == 0
    title = capsys.readouterr().out.split("-----")[0]
    assert f"packet up to {format_size(parse_size(packets))}, flow above" in title


def test_compare_never_finds_a_published_schedule_faster(capsys):
    words = ["compare", "--topology", "torus:3x3", "--sizes", "32B,1MiB,32MiB", "--json"]
    assert invoke(main, "netsim", words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["nbytes"] for row in rows] == [32, 2**20, 2**25]
    for row in rows:
        assert row["lower_bound_s"] <= row["seconds"] * (1 + 1e-9)
        assert row["seconds"] <= row["published_s"]


def test_messages_in_order_let_a_long_part_hold_up_a_short_one():
    """In turn with long messages, two short ones take as long as two long ones."""
    long, short, last = (2, np.array([3.0, 0])), (2, np.array([1.0, 0])), (1, np.array([0, 6.0]))
    parts = [[long], [short, last]]
    assert drained(parts) == pytest.approx(4 + 6)
    assert drained(parts, in_order=True) == pytest.approx(8 + 6)


@pytest.mark.parametrize("in_order", [False, True])
def test_parts_on_links_of_their_own_do_not_wait(in_order):
    parts = [[(3, np.eye(4)[i])] for i in range(4)]
    assert drained(parts, in_order) == pytest.approx(3)
    assert drained([*parts, *parts], in_order) == pytest.approx(6)


def test_parts_without_bytes_need_no_time():
    assert drained([]) == drained([[], [(3, np.zeros(2))]]) == 0


@pytest.mark.parametrize("collective", ["broadcast", "reduce"])
@pytest.mark.parametrize("dims", [(6, 6), (3, 2, 4), (9,), (5, 2)])
def test_what_a_choice_leaves_out_is_slower_at_any_size(dims, collective):
    """The rings that `shortlist` drops lose against what it keeps, from bytes to gigabytes."""
    torus = swing.Torus(dims)
    kept = shortlist(torus, collective)
    listed = {
        named: make(named[0], torus, **dict(named[1]), **spelled(collective))
        for named in published(torus, collective)
    }
    dropped = [each for named, each in listed.items() if named not in kept]
    assert dropped
    for nbytes in 4 ** np.arange(2, 16):
        best = min(seconds(figures(each), PAPER_MODEL, int(nbytes)) for each in kept.values())
        assert all(seconds(figures(each), PAPER_MODEL, int(nbytes)) >= best for each in dropped)


@pytest.mark.parametrize("collective", ["gather", "reduce"])
@pytest.mark.parametrize("dims", [(7, 5), (6, 6), (2, 3, 4)])
def test_messages_to_a_root_arrive_while_those_from_far_are_on_their_way(dims, collective):
    """The estimate of messages straight to the root is below latency plus bytes, and above each."""
    options = {"chunks": 1} if collective == "reduce" else {}
    schedule = make("linear", swing.Torus(dims), collective=collective, **options)
    (phase,) = figures(schedule)
    nbytes = 2**13 if options else 2**18
    in_order = seconds([phase], PAPER_MODEL, nbytes, in_order=1)
    equal = seconds([phase], PAPER_MODEL, nbytes)
    assert phase.total * nbytes / PAPER_MODEL.bandwidth < in_order < equal
    assert PAPER_MODEL.latency(phase.hops) < in_order
    simulated = netsim.simulate(
        schedule, netsim.paper_network("torus:" + "x".join(map(str, dims))), nbytes, "packet"
    ).seconds
    assert abs(in_order - simulated) < abs(equal - simulated)
