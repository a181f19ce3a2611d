"""Machines in words: at the shell, in rows and in Python they are the same network."""

from __future__ import annotations

import gc
import json
import pickle
import weakref

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from netsim.__main__ import main
from netsim.machine import Machine, columns, network_of_row
from netsim.rows import KEY, read_csv, write_csv
from netsim.search.case import Case
from netsim.topologies.ties import TIES
from swing.cli import invoke

PLACE = netsim.topology("torus:4x3")
SWING = swing.schedule("swing", swing.Torus((4, 3)))
COUNTS = ("gamma", "message_overhead", "receive_overhead", "router_latency")


@pytest.fixture
def run(capsys):
    """Runs a command of netsim: exit status, standard output, standard error."""

    def call(*words):
        status = invoke(main, "netsim", list(map(str, words)))
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def rows(run):
    """Runs a command of netsim with --json: its rows."""

    def call(*words):
        status, out, err = run(*words, "--json")
        assert status == 0, err
        return [json.loads(line) for line in out.splitlines()]

    return call


links = st.sampled_from(list(map(tuple, PLACE.ends.tolist())))
rates = st.integers(1, 10_000).map(lambda n: n * 1e9 / 8)
times = st.integers(0, 10_000).map(lambda n: n / 1e9)


def one_or_each(values):
    each = st.tuples(values, values).filter(lambda pair: pair[0] != pair[1])
    return st.one_of(st.tuples(values), each)


@st.composite
def machines(draw):
    failed = draw(st.sets(links, max_size=1))
    slow = draw(st.dictionaries(links, st.integers(1, 99).map(lambda n: n / 100), max_size=3))
    others = draw(st.dictionaries(st.sampled_from(COUNTS), times, max_size=2))
    standard = dict(netsim.paper_network(PLACE).__getstate__())
    return Machine(
        draw(one_or_each(rates)),
        draw(one_or_each(times)),
        tuple(sorted((pair, left) for pair, left in slow.items() if pair not in failed)),
        tuple(failed),
        draw(st.sampled_from(sorted(TIES))),
        tuple(sorted((k, v) for k, v in others.items() if v != standard[k])),
    )


@given(machines())
def test_a_network_tells_the_machine_it_is_of_and_its_row_makes_it_again(machine):
    network = machine.network(PLACE)
    assert Machine.of(network) == machine
    again = network_of_row(columns(network))
    assert columns(again) == columns(network)
    assert np.allclose(again.bandwidths, network.bandwidths, rtol=1e-9)
    assert np.allclose(again.hop_latencies, network.hop_latencies, rtol=1e-9)
    assert again.topology.ends.tolist() == network.topology.ends.tolist()


def test_a_machine_without_words_is_the_papers_network():
    network, paper = Machine().network(PLACE), netsim.paper_network(PLACE)
    assert network.__getstate__() == paper.__getstate__()
    assert network.topology is PLACE
    assert columns(paper) == {
        "topology": "torus:4x3", "bandwidth_gbps": 400.0, "ties": "adaptive", "machine": "",
    }  # fmt: skip


@pytest.mark.parametrize("model", netsim.MODELS)
def test_one_bandwidth_or_latency_for_each_dimension_is_one_for_all(model):
    seconds = {
        netsim.simulate(SWING, Machine.parse(words, 100).network(PLACE), 2**20, model).seconds
        for words in ("latency=1us", "bandwidth=100,100 latency=1000,1us")
    }
    assert len(seconds) == 1


@pytest.mark.parametrize("model", netsim.MODELS)
def test_turning_the_torus_turns_its_bandwidths_and_latencies(model):
    """A message between neighbours takes the links of one dimension only."""
    times = {}
    for dims, words in (
        ((4, 3), "bandwidth=400,100 latency=50,500"),
        ((3, 4), "bandwidth=100,400 latency=500,50"),
    ):
        torus = swing.Torus(dims)
        network = Machine.parse(words).network(netsim.topology(torus.name))
        assert network.bandwidth == 12.5e9  # of the slowest links, which estimates use
        for j, d in enumerate(dims):
            src, dst = (torus.rank_at(np.eye(2, dtype=int)[j] * at) for at in (0, 1))
            hop = swing.Step([False], [src], [dst], [slice(0, 1)])
            schedule = swing.Schedule("hop", torus, 1, 1, lambda s, hop=hop: hop)
            times.setdefault(d, set()).add(netsim.simulate(schedule, network, 2**20, model).seconds)
    assert all(len(seconds) == 1 for seconds in times.values())
    assert max(times[4]) < min(times[3]) / 3


@pytest.mark.parametrize("name", ["torus:4x2", "mesh:4x4", "hx2mesh:4x8", "hyperx:3x4"])
def test_links_of_a_dimension_are_as_in_a_network_that_is_alike_everywhere(name):
    """Traces on a board stay shorter than cables."""
    place = netsim.topology(name)
    mixed = Machine.parse("bandwidth=200,400 latency=100,500").network(place)
    for j, words in enumerate(["bandwidth=200 latency=100", "bandwidth=400 latency=500"]):
        alike, links = Machine.parse(words).network(place), place.dim == j
        assert mixed.bandwidths[links].tolist() == alike.bandwidths[links].tolist()
        assert mixed.credit_latencies[links].tolist() == alike.credit_latencies[links].tolist()
    assert Machine.of(mixed).latency == (1e-7, 5e-7)
    assert columns(network_of_row(columns(mixed))) == columns(mixed)


def test_links_that_are_slow_in_one_dimension_are_a_dimension_with_less_bandwidth():
    network = Machine.parse("bandwidth=400,100").network(PLACE)
    slow = {tuple(pair): 0.25 for pair in PLACE.ends[PLACE.dim == 1].tolist()}
    other = Machine(slow=tuple(slow.items())).network(PLACE)
    assert network.bandwidths.tolist() == other.bandwidths.tolist()
    assert network.bandwidths.min() == 12.5e9


OPTIONS = ("--topology", "torus:3x3", "--bandwidth", "200,100", "--latency", "0.5us", "--slow",
           "0-1=0.25", "--fail", "1→2")  # fmt: skip


def test_every_command_takes_a_machine_and_has_its_words(rows, tmp_path):
    """All of them simulate the same network: packets, since tune and compare use these."""
    rules = ("--model", "packet", "--sync", "local", "--parts", "free")
    named = ("--algorithm", "ring")
    (one,) = rows("simulate", *OPTIONS, *named, "--size", "1KiB", *rules)
    assert one["machine"] == "bandwidth=200,100 latency=500ns slow=0-1=0.25 fail=1→2"
    assert (one["topology"], one["bandwidth_gbps"]) == ("torus:3x3", 100.0)
    (swept,) = rows("sweep", *OPTIONS, *named, "--sizes", "1KiB", *rules, "--jobs", 1)
    assert swept == {key: one[key] for key in swept}
    out = tmp_path / "report.html"
    (reported,) = rows(
        "report", *OPTIONS, *named, "--size", "1KiB", "--sizes", "1KiB", "--out", out
    )
    assert reported["machine"] == one["machine"]
    search = ("--sizes", "1KiB", "--most", 1, "--keep", 1, "--jobs", 1)
    table = tmp_path / "table.json"
    (tuned,) = rows("tune", *OPTIONS, *search, "--out", table)
    (compared,) = rows("compare", *OPTIONS, *search)
    assert tuned["seconds"] == compared["seconds"]
    assert compared["machine"] == one["machine"]
    made = json.loads(table.read_text())["made"]["machine"]
    assert made.endswith("200,100 Gb/s a link, latency=500ns slow=0-1=0.25 fail=1→2")
    again = Case(
        Machine.parse(one["machine"]).network(netsim.topology("torus:3x3")),
        tuned["algorithm"],
        tuple((k, tuple(map(tuple, v)) if isinstance(v, list) else v)
              for k, v in tuned["options"].items()),
        run_options=(("sync", "local"), ("parts", "free")),
    )  # fmt: skip
    assert again.run(1024, "packet")["seconds"] == tuned["seconds"]


def test_a_torus_may_wrap_in_some_dimensions(rows):
    words = ("--size", "1MiB", "--model", "flow")
    (named,) = rows("simulate", "--topology", "torus:4x4:wrap=1,0", *words)
    (asked,) = rows("simulate", "--topology", "torus:4x4", "--wrap", "1,0", *words)
    assert named == asked
    (mesh,) = rows("simulate", "--topology", "torus:4x4", "--wrap", "0,0", *words)
    assert mesh["topology"] == "mesh:4x4"


def test_rows_keep_machines_apart_in_a_file_and_when_it_is_resumed(rows, tmp_path):
    path = tmp_path / "rows.csv"
    words = ("sweep", "--topology", "torus:4", "--algorithm", "ring", "--sizes", "1KiB", "--csv",
             path, "--resume")  # fmt: skip
    (plain,) = rows(*words)
    both = rows(*words, "--slow", "0-1=0.5")
    assert [r["machine"] for r in both] == ["", "slow=0-1=0.5"]
    assert both[0] == plain
    assert both[1]["seconds"] > plain["seconds"]
    every = rows(*words, "--latency", "100", "--latency", "200")
    assert [r["machine"] for r in every] == ["", "latency=200ns", "slow=0-1=0.5"]
    assert len({tuple(str(r[k]) for k in KEY) for r in every}) == 3


def test_rows_of_older_files_are_of_the_plain_machine(rows, tmp_path):
    path = tmp_path / "rows.csv"
    words = ("sweep", "--topology", "torus:4", "--algorithm", "ring", "--csv", path, "--resume")
    new = rows(*words, "--sizes", "1KiB")
    write_csv(path, [{k: v for k, v in r.items() if k != "machine"} for r in read_csv(path, KEY)])
    assert rows(*words, "--sizes", "1KiB,2KiB")[:1] == new


WRONG = {
    "links from 0 lead to 1, 2, 3, 6": ("--slow", "0-4=0.5"),
    "there is no link 8→9": ("--fail", "8-9"),
    "as in 0-1=0.25": ("--slow", "0-1"),
    "slow link 0→1 must be at most 1, not 4": ("--slow", "0-1=4"),
    "link 0→1 is slow twice": ("--slow", "0-1=0.5", "--slow", "0->1=0.25"),
    "a link is written 0-1": ("--fail", "0,1"),
    "above 0": ("--bandwidth", "400,0"),
    "3 values of bandwidth": ("--bandwidth", "1,2,3"),
    "from 0 up": ("--latency", "-1"),
    "a unit as in 0.5us": ("--latency", "1 year"),
    "one for each, as in 1,1": ("--wrap", "1"),
    "as in 1,1,0": ("--wrap", "yes,no"),
    "leave links": tuple(w for b in (1, 2, 3, 6) for w in ("--fail", f"0-{b}")),
}


@pytest.mark.parametrize("remedy", WRONG)
@pytest.mark.parametrize("command", ["simulate", "sweep", "compare", "report", "tune"])
def test_a_wrong_machine_is_one_line_and_nothing_is_written(command, remedy, run, tmp_path):
    out = ("--out", tmp_path / "out") if command in ("report", "tune") else ()
    status, printed, err = run(command, "--topology", "torus:3x3", *WRONG[remedy], *out)
    assert (status, printed, len(err.splitlines())) == (2, "", 1)
    assert remedy in err
    assert len(err) <= 300
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["mesh:3x3", "hyperx:3x3", "torus:3x3:wrap=1,0"])
def test_only_a_torus_takes_wrap(place, run):
    status, _, err = run("simulate", "--topology", place, "--wrap", "1,1")
    assert status == 2
    assert "name torus:3x3" in err


def test_a_case_takes_its_network_along_and_keeps_it_there():
    network = Machine.parse("slow=0-1=0.5 fail=1-2").network(PLACE)
    cases = [Case(network, name, (), "flow") for name in ("swing", "ring", "auto")]
    sent = [pickle.loads(pickle.dumps(case)) for case in cases]
    assert len({case.network for case in sent}) == 1
    for before, after in zip(cases, sent, strict=True):
        assert after.run(2**16) == before.run(2**16)
        assert after.key(2**16) == before.key(2**16)


def test_a_python_sweep_warns_of_what_runs_on_other_networks_only():
    with pytest.warns(UserWarning, match="swing,ports=4 on torus:8: swing on 8 uses 1 to 2 ports"):
        rows = netsim.sweep(["torus:4x4", "torus:8"], ["swing,ports=4", "ring"], [2**10])
    assert {(row["topology"], row["algorithm"]) for row in rows} == {
        ("torus:4x4", "swing,ports=4"), ("torus:4x4", "ring"), ("torus:8", "ring"),
    }  # fmt: skip
    with pytest.raises(ValueError, match="1 to 2 ports, not 4"):
        netsim.sweep(["torus:4", "torus:8"], ["swing,ports=4", "ring"], [2**10])


def test_python_sweeps_networks_of_any_kind():
    graph = netsim.graph(nx.cycle_graph(6), name="six")
    own = netsim.Network(graph, 1e9, link_latency=1e-6, gamma=1e-10)
    failed = netsim.without(netsim.topology("torus:6"), [(0, 1)])
    for jobs in (1, 2):
        rows = netsim.sweep([own, failed, "torus:6"], ["swing,ports=2", "auto"], [2**16],
                            model="flow", jobs=jobs)  # fmt: skip
        assert len(rows) == 6
        seconds = {(r["topology"], r["machine"]): r["seconds"] for r in rows
                   if r["algorithm"] == "swing,ports=2"}  # fmt: skip
        schedule = swing.schedule("swing", swing.Torus(6), ports=2)
        for network in (own, netsim.paper_network(failed), netsim.paper_network("torus:6")):
            where = columns(network)
            run = netsim.simulate(schedule, network, 2**16, "flow")
            assert seconds[where["topology"], where["machine"]] == run.seconds


def test_python_tunes_a_network_for_which_choose_then_finds_the_fastest():
    network = Machine.parse("latency=5us").network(netsim.topology("torus:4"))
    table = netsim.tune(network, [2**6, 2**22], search=netsim.Search(most=2))
    assert table.made["machine"].endswith("400 Gb/s a link, latency=5000ns")
    for n in (2**6, 2**22):
        chosen = swing.choose(swing.Torus(4), n, table)
        case = Case(network, chosen.algorithm, tuple(chosen.options.items()),
                    run_options=(("sync", "local"), ("parts", "free")))  # fmt: skip
        assert case.run(n, "packet")["seconds"] == chosen.seconds


@pytest.mark.parametrize(
    ("networks", "rule"),
    [
        (["torus:4", "torus:4"], "name each once"),
        ([netsim.graph(nx.cycle_graph(4)), netsim.graph(nx.cycle_graph(4))], "name="),
        ([], "name a network"),
    ],
)
def test_networks_that_rows_cannot_tell_apart_are_refused(networks, rule):
    with pytest.raises(ValueError, match=rule):
        netsim.sweep(networks, "ring", [64])


@pytest.mark.parametrize("model", netsim.MODELS)
def test_a_dimension_without_links_does_not_count(model):
    """4x1, 1x4 and 1x4x1 are one ring: the values of the other dimensions change nothing."""
    plain = Machine().network(netsim.topology("torus:4"))
    swing_4 = swing.schedule("swing", swing.Torus(4))
    expected = netsim.simulate(swing_4, plain, 2**16, model).seconds
    for name, words in (
        ("torus:4x1", "bandwidth=400,100 latency=100,900"),
        ("torus:1x4", "bandwidth=100,400 latency=900,100"),
        ("torus:1x4x1", "bandwidth=100,400,200 latency=0,100,200"),
    ):
        network = Machine.parse(words).network(netsim.topology(name))
        where = columns(network)
        assert (where["bandwidth_gbps"], where["machine"]) == (400, "")
        schedule = swing.schedule("swing", network.topology.torus)
        assert netsim.simulate(schedule, network, 2**16, model).seconds == expected
        chosen = swing.choose(network.topology.torus, 2**16, network)
        assert chosen.algorithm == swing.choose(swing.Torus(4), 2**16, plain).algorithm


def test_dimensions_with_links_keep_their_values_beside_one_without():
    network = Machine.parse("bandwidth=400,100,200").network(netsim.topology("torus:2x1x4"))
    assert network.bandwidth == 25e9
    assert columns(network)["machine"] == "bandwidth=400,200,200"
    assert columns(network_of_row(columns(network))) == columns(network)


def test_the_links_of_a_graph_that_agree_are_what_rows_and_titles_say():
    """The bandwidth of the network, which no link has, is in neither."""
    ring = nx.cycle_graph(4, create_using=nx.DiGraph)
    ring.add_edges_from([(b, a) for a, b in list(ring.edges)])
    nx.set_edge_attributes(ring, 10e9, "bandwidth")
    network = netsim.paper_network(netsim.graph(ring))
    assert columns(network)["bandwidth_gbps"] == 80
    assert Machine.of(network).title.startswith("80 Gb/s")
    assert "80 Gb/s" in network._repr_html_()


def test_the_columns_of_a_network_are_the_callers_own_and_end_with_it():
    network = Machine().network(PLACE)
    columns(network)["machine"] = "slow=0-1=0.25"
    assert columns(network)["machine"] == ""
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


TUNE = ("tune", "--sizes", "1KiB", "--most", 1, "--keep", 1, "--jobs", 1)


def test_the_same_command_goes_on_where_a_dimension_has_no_links(rows, tmp_path):
    places = ("--topology", "torus:2x2", "--topology", "torus:2x1", "--bandwidth", "100,400")
    command = (*TUNE, *places, "--out", tmp_path / "table.json")
    assert rows(*command) == rows(*command)
    one, two = (Machine.parse("bandwidth=100,400").network(netsim.topology(f"torus:{dims}"))
                for dims in ("2x1", "2x2"))  # fmt: skip
    table = netsim.tune([one, two], [2**10], search=netsim.Search(most=1))
    assert table.made["machine"].endswith("100,400 Gb/s a link")


def test_a_table_has_the_times_of_one_root(rows, run, tmp_path):
    """On a mesh, a corner takes longer than the middle."""
    command = (*TUNE, "--topology", "mesh:8", "--collective", "broadcast")
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    (corner,) = rows(*command, "--root", 0, "--out", first)
    (middle,) = rows(*command, "--root", 3, "--out", second)
    assert middle["seconds"] < corner["seconds"]
    assert "root" not in json.loads(first.read_text())["made"]
    assert json.loads(second.read_text())["made"]["root"] == "3"
    for path, root in ((first, 3), (second, 0)):
        status, _, err = run(*command, "--root", root, "--out", path)
        assert status == 2
        assert "was made otherwise" in err


def test_there_must_be_times_to_simulate_again(run, tmp_path):
    out = tmp_path / "new.json"
    for places in ((), ("--topology", "torus:2")):
        status, printed, err = run(*TUNE, *places, "--retime", "--out", out)
        assert (status, printed) == (2, "")
        assert "leave out --retime" in err
        assert not out.exists()


def test_a_table_is_of_one_machine():
    paper = netsim.paper_network
    with pytest.raises(ValueError, match="made otherwise"):
        netsim.tune([paper("torus:2"), paper("torus:4", 1e9)], [64])
    with pytest.raises(ValueError, match="not hx2mesh:4x4"):
        netsim.tune("hx2mesh:4x4", [64])
