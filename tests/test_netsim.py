"""The simulator: what must hold on any network, and the figures of the paper."""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from netsim.topologies.lines import diameter
from netsim.topologies.row import Traffic
from netsim.topologies.ties import TIES
from netsim.topologies.torus import torus
from netsim.traffic.load import link_load, phase_loads, traffic
from tests.cases import SHAPES, schedules

PAPER = Path(__file__).parent.parent / "results" / "paper" / "goodput.csv"
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3).filter(lambda d: math.prod(d) <= 40)


def bare(name, **more):
    """A network with links only."""
    return netsim.Network(netsim.topology(name), bandwidth=50e9, **more)


@given(shapes, st.booleans(), st.sampled_from(sorted(TIES)), st.integers(0, 2**32))
def test_bytes_are_conserved_on_minimal_routes(dims, wrap, ties, seed):
    rng = np.random.default_rng(seed)
    topology = netsim.topology(f"{'torus' if wrap else 'mesh'}:{'x'.join(map(str, dims))}")
    src, dst = rng.integers(0, topology.size, (2, 40))
    flow = Traffic(src, dst, rng.random(40))
    load = topology.load(flow, ties, (seed,))
    assert load.sum() == pytest.approx((flow.weight * topology.paths(src, dst)[:, 0]).sum())
    graph = topology.to_networkx()
    assert graph.number_of_edges() == topology.nlinks == len(load)
    far = dict(nx.all_pairs_shortest_path_length(graph))
    assert topology.paths(src, dst)[:, 0].tolist() == [
        far[a][b] for a, b in zip(src.tolist(), dst.tolist(), strict=True)
    ]
    assert diameter(topology.rows).hops == max(max(d.values()) for d in far.values())
    degrees = graph.out_degree(), graph.in_degree()
    nodes = range(topology.size)  # switches have other vertices
    most = tuple(max(dict(degree)[node] for node in nodes) for degree in degrees)
    assert topology.most_ports == most


@pytest.mark.theorem
@given(shapes, st.sampled_from([t for t in TIES if t != "random"]), st.booleans())
def test_lines_load_the_links_as_their_rows_do(dims, ties, wrap):
    topology = netsim.topology(f"{'torus' if wrap else 'mesh'}:{'x'.join(map(str, dims))}")
    network = replace(netsim.paper_network(topology), ties=ties)
    for schedule in schedules(swing.Torus(dims)):
        loads = {p.steps[0]: p.groups for p in phase_loads(schedule, network)}
        for s, step in enumerate(schedule):
            by_rows = topology.load(traffic(schedule, step), ties)
            assert link_load(schedule, s, network) == pytest.approx(by_rows, abs=1e-12)
            if s in loads and len(loads[s][0]) == 1:
                ((load,),) = loads[s]
                assert load.peak == pytest.approx(by_rows.max(initial=0))
                flow = traffic(schedule, step)
                far = topology.paths(flow.src, flow.dst)[:, 0].max(initial=0)
                assert load.latency == pytest.approx(network.latency(far) if len(step) else 0)
                sent = np.bincount(flow.src, flow.weight, topology.size).max()
                assert load.sent == pytest.approx(sent) or load.sent >= sent


@pytest.mark.theorem
@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_run_link_bytes_are_bytes_times_hops(dims):
    for schedule in schedules(swing.Torus(dims)):
        network = bare("torus:" + "x".join(map(str, dims)))
        run = netsim.simulate(schedule, network, 10**6)
        total = 0.0
        for step in schedule:
            flow = traffic(schedule, step)
            total += (flow.weight * network.topology.paths(flow.src, flow.dst)[:, 0]).sum() * 10**6
        assert run.link_bytes.sum() == pytest.approx(total)


# Σ over steps of the busiest link's bytes ÷ (n/D): exact fractions, to four decimals.
SWING_CONGESTION = {
    "8x8": 1.0781, "16x16": 1.1367, "32x32": 1.1689, "64x64": 1.1843, "128x128": 1.1922,
    "8x8x8": 1.0254, "16x16x16": 1.0339, "8x8x8x8": 1.0071, "64x16": 1.2207, "128x8": 1.4082,
    "256x4": 1.9512, "8": 1.1250, "16": 1.4375, "64": 2.1094,
}  # fmt: skip


@pytest.mark.parametrize(("dims", "congestion"), SWING_CONGESTION.items())
def test_swing_has_the_congestion_of_the_paper(dims, congestion):
    torus = swing.Torus.parse(dims)
    run = netsim.simulate(swing.schedule("swing", torus), bare(f"torus:{dims}"), 2**21)
    assert round(run.congestion, 4) == congestion


# The same over (p - 1)/p: bytes against the best that 2D ports allow.
RIVAL_CONGESTION = [
    ("bucket", "64x16", 1.047), ("bucket", "128x8", 1.117), ("bucket", "256x4", 1.246),
    ("bucket", "8x8", 1.0), ("bucket", "8x8x8", 1.0), ("hamiltonian", "8x8", 1.0),
    ("recursive_doubling", "8x8", 4.952), ("recursive_doubling", "16x16", 5.459),
    ("mirrored_recursive_doubling", "4x4", 1.200), ("mirrored_recursive_doubling", "8x8", 1.333),
    ("mirrored_recursive_doubling", "16x16", 1.412),
    ("mirrored_recursive_doubling", "32x32", 1.455),
    ("mirrored_recursive_doubling", "8x8x8", 1.151), ("swing", "8x8", 1.095),
    ("swing", "10x10", 1.364),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dims", "over_best"), RIVAL_CONGESTION)
def test_rivals_have_the_congestion_of_the_paper(name, dims, over_best):
    torus = swing.Torus.parse(dims)
    run = netsim.simulate(swing.schedule(name, torus), bare(f"torus:{dims}"), 2**21)
    assert round(run.congestion * torus.size / (torus.size - 1), 3) == over_best


def paper_runtimes():
    with open(PAPER, newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["nbytes"] == "32"]
    return [r for r in rows if r["topology"].startswith("torus")]


@pytest.mark.parametrize("row", paper_runtimes(), ids=lambda r: f"{r['topology']}-{r['algorithm']}")
def test_32_bytes_take_what_the_paper_says(row):
    network = netsim.paper_network(row["topology"])
    best = min(
        netsim.simulate(
            swing.schedule(
                row["algorithm"], network.topology.torus, **({"variant": v} if v else {})
            ),
            network,
            32,
        ).seconds
        for v in swing.ALGORITHMS[row["algorithm"]].variants
    )
    assert best == pytest.approx(float(row["seconds"]), rel=0.01)


@pytest.mark.parametrize("p", [2, 3, 8, 15])
def test_a_ring_takes_its_closed_form(p):
    alpha, n = 1e-6, 3 * 10**6
    network = bare(f"torus:{p}", link_latency=alpha)
    run = netsim.simulate(swing.schedule("ring", swing.Torus(p), ports=2), network, n)
    assert run.seconds == pytest.approx(2 * (p - 1) * (alpha + n / (2 * p) / 50e9))


@pytest.mark.theorem
@given(shapes, st.integers(0, 2**30))
def test_nothing_beats_the_lower_bound(dims, nbytes):
    for network in (
        netsim.paper_network("torus:" + "x".join(map(str, dims))),
        bare("mesh:" + "x".join(map(str, dims)), link_latency=1e-7),
    ):
        bound = netsim.lower_bound(network, nbytes)
        for schedule in schedules(swing.Torus(dims)):
            assert netsim.simulate(schedule, network, nbytes).seconds >= bound * (1 - 1e-9)


@pytest.mark.theorem
@given(shapes.filter(lambda d: math.prod(d) > 1), st.integers(1, 2**30))
def test_more_of_anything_is_never_slower(dims, nbytes):
    network = netsim.paper_network("torus:" + "x".join(map(str, dims)))
    costly = replace(network, gamma=1e-12, message_overhead=1e-8)
    for schedule in schedules(swing.Torus(dims)):
        time = netsim.simulate(schedule, network, nbytes).seconds
        faster = replace(network, bandwidth=2 * network.bandwidth)
        assert netsim.simulate(schedule, faster, nbytes).seconds < time
        assert netsim.simulate(schedule, network, nbytes + 1).seconds > time
        assert netsim.simulate(schedule, costly, nbytes).seconds > time
        narrow = replace(network, injection_bandwidth=network.bandwidth / 100)
        assert netsim.simulate(schedule, narrow, nbytes).seconds > time


@pytest.mark.theorem
def test_a_mesh_costs_more_than_its_torus():
    for dims in [(8, 8), (5, 7), (4, 4, 4), (9,)]:
        name = "x".join(map(str, dims))
        for schedule in schedules(swing.Torus(dims)):
            open_, closed = (
                netsim.simulate(schedule, netsim.paper_network(f"{kind}:{name}"), 2**20).seconds
                for kind in ("mesh", "torus")
            )
            assert open_ >= closed
            assert open_ > closed or schedule.name != "swing"


def test_wraparound_may_differ_by_dimension():
    mixed = torus(swing.Torus((4, 4), wrap=(True, False)))
    assert mixed.nlinks == 2 * (16 + 12)
    assert diameter(mixed.rows).hops == 2 + 3


def test_ties_go_as_their_names_say():
    ring = netsim.topology("torus:4")
    flow = Traffic(np.array([0, 2]), np.array([2, 0]), np.ones(2))
    plus = {ties: ring.load(flow, ties)[ring.direction > 0].sum() for ties in TIES}
    assert plus["split"] == plus["adaptive"] == 2
    assert plus["positive"] == 4
    assert plus["simgrid"] == 2  # node d/2 goes the other way
    drawn = {
        float(ring.load(flow, "random", (seed,))[ring.direction > 0].sum()) for seed in range(30)
    }
    assert drawn == {0.0, 2.0, 4.0}
    run, again = (
        netsim.simulate(
            swing.schedule("recursive_doubling", swing.Torus(16)),
            replace(netsim.paper_network("torus:16"), ties="random"),
            2**20,
            seed=7,
        )
        for _ in range(2)
    )
    assert run.seconds == again.seconds


def test_both_links_of_a_ring_of_two_are_there():
    ring = netsim.topology("torus:2")
    assert ring.nlinks == 4
    flow = Traffic(np.array([0]), np.array([1]), np.ones(1))
    assert ring.load(flow, "split").max() == 0.5


def test_the_bottleneck_names_the_messages_on_the_link():
    network = bare("torus:8")
    schedule = swing.schedule("swing", swing.Torus(8), ports=1)
    run = netsim.simulate(schedule, network, 8000)
    found = run.bottleneck
    assert found.step == int(run.step_seconds.argmax())
    src, dst = found.link
    assert (src - dst) % 8 in (1, 7)
    (link,) = np.flatnonzero((network.topology.ends == found.link).all(axis=1))
    direct = [
        m
        for m in (schedule[found.step].message(i) for i in range(8))
        if network.topology.load(
            Traffic(np.array([m.src]), np.array([m.dst]), np.ones(1)), "split"
        )[link]
    ]
    assert [str(m) for m in found.messages] == [str(m) for m in direct]


def test_a_million_ranks_are_simulated():
    dims = (64, 128, 128)
    schedule = swing.schedule("swing", swing.Torus(dims))
    run = netsim.simulate(schedule, netsim.paper_network("torus:64x128x128"), 2**30)
    assert 1.03 < run.congestion < 1.04  # 1.037 in three dimensions
    assert len(run.step_seconds) == 2 * (6 + 7 + 7)


def test_random_rank_order_changes_the_time_of_a_ring_but_not_the_bytes_sent():
    dims, rng = (4, 4), np.random.default_rng(3)
    plain = swing.Torus(dims)
    mapped = swing.Torus(dims, coords=plain.coords[rng.permutation(16)])
    network = netsim.paper_network("torus:4x4")

    def run(name, torus):
        return netsim.simulate(swing.schedule(name, torus), network, 2**20)

    def sent(run):
        schedule = run.schedule
        return sum(np.bincount(s.src, schedule.share(s), 16) for s in schedule)

    near, far = run("ring", plain), run("ring", mapped)
    assert far.seconds > 1.2 * near.seconds
    assert far.link_bytes.sum() > 1.2 * near.link_bytes.sum()  # the same bytes go farther
    assert sent(far) == pytest.approx(sent(near))
    # Swing's neighbours are the torus's, whatever the ranks are called.
    assert run("swing", mapped).seconds == run("swing", plain).seconds


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: netsim.topology("cube:4"), "write torus:8x8"),
        (lambda: netsim.topology("torus:4y4"), "torus:8x8"),
        (lambda: netsim.topology("torus:0x4"), "torus:8x8"),
        (lambda: bare("torus:4", link_latency=-1.0), "link_latency"),
        (lambda: netsim.Network(netsim.topology("torus:4"), bandwidth=0), "above 0"),
        (lambda: bare("torus:4", ties="left"), "ties must be one of"),
        (lambda: bare("torus:4", gamma=math.nan), "gamma"),
        (
            lambda: netsim.simulate(swing.schedule("ring", swing.Torus(4)), bare("torus:2x2"), 8),
            "same dimensions",
        ),
        (
            lambda: netsim.simulate(swing.schedule("ring", swing.Torus(4)), bare("torus:4"), -1),
            "0 up",
        ),
        (
            lambda: netsim.simulate(
                swing.schedule("ring", swing.Torus(4)), bare("torus:4"), 8, model="guess"
            ),
            "choose from analytic",
        ),
    ],
)
def test_bad_input_is_a_value_error_that_names_the_mend(call, remedy):
    with pytest.raises(ValueError, match=remedy):
        call()


@pytest.mark.parametrize("dims", ["8x8", "8x8x8"])
def test_the_selector_is_near_the_simulators_best(dims):
    torus, network = swing.Torus.parse(dims), netsim.paper_network(f"torus:{dims}")
    every = [
        swing.schedule(name, torus, **({"variant": v} if v else {}))
        for name in ("swing", "bucket", "recursive_doubling", "mirrored_recursive_doubling")
        for v in swing.ALGORITHMS[name].variants
    ]

    def seconds(schedule, nbytes):  # as the table was made
        model = "packet" if nbytes <= 2**23 else "flow"
        run = netsim.simulate(schedule, network, nbytes, model, sync="local", parts="free")
        return run.seconds

    for nbytes, machine in itertools.product((2**k for k in range(5, 31, 10)), ("paper", network)):
        chosen = swing.schedule("auto", torus, nbytes=nbytes, machine=machine)
        assert seconds(chosen, nbytes) <= 1.05 * min(seconds(s, nbytes) for s in every)


def test_labels_of_a_graph_that_are_ranks_are_these_ranks():
    """Edges in any order: node 3 is rank 3; other labels are numbered in the graph's order."""
    cycle = nx.Graph([(3, 0), (2, 3), (1, 2), (0, 1)])
    switch = nx.Graph([("s", 2), ("s", 0), ("s", 1)])
    switch.nodes["s"]["switch"] = True
    assert sorted(map(tuple, netsim.graph(cycle).ends.tolist()))[:2] == [(0, 1), (0, 3)]
    star = netsim.graph(switch)
    assert star.size == 3
    assert all(3 in pair for pair in star.ends.tolist())  # the switch comes behind the ranks
    named = nx.Graph([("b", "a"), ("a", "c")])
    assert sorted(map(tuple, netsim.graph(named).ends.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]


@pytest.mark.parametrize("model", ["analytic", "flow", "packet"])
def test_a_slow_rank_delays_each_step_in_which_it_receives(model):
    """Swing on 4x4 has eight steps; a rank that is slow by 1 ms in each takes 8 ms more."""
    network, schedule = (
        netsim.paper_network("torus:4x4"),
        swing.schedule("swing", swing.Torus((4, 4))),
    )
    plain = netsim.simulate(schedule, network, 1024, model).seconds
    slow = netsim.simulate(schedule, network, 1024, model, delay=dict.fromkeys(range(16), 1e-3))
    assert slow.seconds - plain == pytest.approx(8e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "link"),
        ({"buffer_bytes": 8192}, "buffer"),
        ({"injection_bandwidth": 25e9}, "door"),
        ({"ejection_bandwidth": 25e9}, "door"),
        ({"message_overhead": 1e-3}, "rank"),
        ({"gamma": 1e-9}, "rank"),
    ],
)
def test_the_bottleneck_says_what_holds_the_step_up(change, kind):
    network = replace(netsim.paper_network("torus:4x4"), **change)
    run = netsim.simulate(swing.schedule("swing", swing.Torus((4, 4))), network, 2**21, "packet")
    assert run.bottleneck.kind == kind
    late = netsim.simulate(run.schedule, network, 2**21, "packet", delay={3: 1.0})
    assert late.bottleneck.kind in ("rank", "buffer")


def test_an_unknown_algorithm_is_refused_also_if_it_is_named_twice():
    with pytest.raises(ValueError, match="no algorithm 'swng'"):
        netsim.sweep(["torus:4"], ["swng", "swng"], [64])
