"""What no schedule of a collective beats, under any model, on any topology."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import netsim
import swing
from netsim.bounds import ARGUMENTS, schedule_bound, schedule_bounds, tightest
from netsim.bounds.max_flow import FlowNetwork
from netsim.models import MODELS
from netsim.topologies.graph import graph
from swing.schedules.collectives import COLLECTIVES
from tests.cases import digraphs, every_schedule, schedules
from tests.test_every_collective import random_case

PLACES = ["torus:3x3", "torus:5", "torus:2x3", "mesh:6", "hx2mesh:2x4", "hyperx:3x3"]


def on(name):
    network = netsim.paper_network(name)
    torus = swing.Torus(network.topology.dims)
    return network, [*schedules(torus), swing.schedule("bucket", torus, segments=3)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("model", MODELS)
def test_no_schedule_beats_the_lower_bound(place, model):
    network, every = on(place)
    for schedule in every:
        for nbytes in (1, 2**20):
            bound = netsim.lower_bound(network, nbytes)
            assert netsim.simulate(schedule, network, nbytes, model).seconds >= bound * (1 - 1e-9)


@pytest.mark.theorem
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("collective", ["reduce_scatter", "allgather"])
def test_no_schedule_of_another_collective_beats_its_own(place, collective):
    network = netsim.paper_network(place)
    less = netsim.lower_bound(network, 2**20, collective)
    assert less < netsim.lower_bound(network, 2**20)
    for schedule in every_schedule(network.topology.torus):
        if schedule.collective != collective:
            continue
        for nbytes in (1, 2**20):
            bound = schedule_bound(network, nbytes, schedule)
            assert bound == pytest.approx(netsim.lower_bound(network, nbytes, collective))
            for model in MODELS:
                run = netsim.simulate(schedule, network, nbytes, model)
                assert run.seconds >= bound * (1 - 1e-9)


@pytest.mark.parametrize(
    ("place", "collective", "root", "microseconds"),
    [
        # n = 8 MB at 1 GB/s: what a rank sends or receives, over its links.
        ("torus:4", "allreduce", 0, 2 * 3 / 8 * 8000),  # all links busy with 2n(p - 1) bytes
        ("torus:4", "reduce_scatter", 0, 3 / 8 * 8000),
        ("torus:4", "allgather", 0, 3 / 8 * 8000),
        ("torus:8x8", "allgather", 0, 63 / 64 * 8000 / 4),
        ("mesh:5", "reduce_scatter", 0, 4 / 5 * 8000),
        ("mesh:5", "broadcast", 2, 8000),
        ("mesh:5", "gather", 2, 4 / 5 / 2 * 8000),
        ("torus:8x8", "broadcast", 5, 8000 / 4),
        ("torus:8x8", "reduce", 5, 8000 / 4),
        ("torus:8x8", "alltoall", 0, 8000),  # n·d / 8 through the cut in the middle
        ("torus:7", "alltoall", 0, 48 / 56 * 8000),
        ("torus:4x16", "alltoall", 0, 2 * 8000),
    ],
)
def test_closed_forms_without_latency(place, collective, root, microseconds):
    network = netsim.Network(netsim.topology(place), 1e9)
    bound = netsim.lower_bound(network, 8 * 10**6, collective, root)
    assert bound * 1e6 == pytest.approx(microseconds)


def test_a_root_pays_the_latency_of_the_rank_that_is_farthest_from_it():
    mesh = netsim.Network(netsim.topology("mesh:7x3"), 1e9, link_latency=1e-6)
    for root, hops in ((0, 8), (10, 4), (19, 7)):
        for collective in ("broadcast", "reduce", "gather", "scatter"):
            assert netsim.lower_bound(mesh, 0, collective, root) == pytest.approx(hops * 1e-6)
    chain = nx.DiGraph([(0, 1), (1, 2), (2, 0)])  # 1 → 0 takes two links, 0 → 1 takes one
    network = netsim.Network(netsim.graph(chain), 1e9, link_latency=1e-6)
    chain.add_edge(1, 0)
    shorter = replace(network, topology=netsim.graph(chain))
    for collective, before, after in (("broadcast", 2, 2), ("reduce", 2, 1)):
        assert netsim.lower_bound(network, 0, collective) == pytest.approx(before * 1e-6)
        assert netsim.lower_bound(shorter, 0, collective) == pytest.approx(after * 1e-6)


def test_blocks_that_are_not_equal_count_as_they_are():
    copy = swing.Step(swing.Op.COPY, src=[0, 0, 0], dst=[1, 1, 2], blocks=[[0], [1], [2]])
    uneven = swing.Schedule(
        "uneven", swing.Torus(4), 4, 1, lambda s: copy, origin=0, home=np.array([1, 1, 2, 0])
    )
    network = netsim.Network(netsim.topology("torus:4"), 1e9)
    assert schedule_bound(network, 8 * 10**6, uneven) == pytest.approx(3e-3)
    assert netsim.lower_bound(network, 8 * 10**6, "scatter") == pytest.approx(3e-3)
    weighted = replace(uneven, shares=np.array([0.7, 0.1, 0.1, 0.1]))
    assert schedule_bound(network, 8 * 10**6, weighted) == pytest.approx(0.9 * 4e-3)
    trace = swing.Schedule("trace", swing.Torus(4), 4, 1, lambda s: copy, collective="traffic")
    assert schedule_bound(network, 8 * 10**6, trace) is None


@pytest.mark.parametrize(
    ("collective", "root"), [("allsum", 0), ("traffic", 0), ("broadcast", 8), ("reduce", "x")]
)
def test_what_is_no_collective_or_no_root_is_refused(collective, root):
    with pytest.raises(ValueError, match=r"must be|no collective"):
        netsim.lower_bound(netsim.paper_network("torus:8"), 1, collective, root)


@pytest.mark.theorem
@pytest.mark.parametrize("model", MODELS)
def test_nor_with_slow_links_or_on_a_graph(model):
    torus, every = on("torus:3x4")
    slow = replace(torus, slow={(0, 1): 0.01, (5, 9): 0.1})
    bridge = nx.barbell_graph(3, 0).to_directed()
    narrow = netsim.Network(graph(bridge, (6,)), bandwidth=1e9, link_latency=1e-6)
    cases = [(slow, every), (narrow, [*schedules(swing.Torus(6))])]
    for network, some in cases:
        bound = netsim.lower_bound(network, 2**20) * (1 - 1e-9)
        for schedule in some:
            assert netsim.simulate(schedule, network, 2**20, model).seconds >= bound


@pytest.mark.theorem
@pytest.mark.parametrize("model", MODELS)
def test_nor_where_links_say_how_late_they_are(model):
    ring = nx.cycle_graph(16)
    nx.set_edge_attributes(ring, 1e-9, "latency")
    network = netsim.paper_network(graph(ring))
    bound = netsim.lower_bound(network, 32)
    plain = netsim.lower_bound(netsim.paper_network("torus:16"), 32)
    assert bound == pytest.approx(plain - 8 * 99e-9)
    for schedule in schedules(swing.Torus(16)):
        assert netsim.simulate(schedule, network, 32, model).seconds >= bound * (1 - 1e-9)


def test_a_bridge_has_to_carry_the_whole_vector_each_way():
    bridge = nx.barbell_graph(3, 0).to_directed()
    network = netsim.Network(graph(bridge, (6,)), bandwidth=1e9)
    assert netsim.lower_bound(network, 10**9) == pytest.approx(1.0)
    assert netsim.lower_bound(replace(network, slow={(3, 2): 0.25}), 10**9) == pytest.approx(4.0)


def test_segmented_bucket_comes_near_it():
    network = netsim.paper_network("torus:16x16")
    schedule = swing.schedule("bucket", swing.Torus((16, 16)), segments=4)
    nbytes = 2**27
    run = netsim.simulate(schedule, network, nbytes, "flow")
    assert run.seconds <= 1.02 * netsim.lower_bound(network, nbytes)


@pytest.mark.parametrize(
    "place", ["torus:8x16", "torus:4x4", "mesh:3x5", "hx2mesh:4x4", "torus:2x3x4"]
)
def test_the_bound_never_falls_when_a_link_slows_or_a_latency_grows(place):
    rng = np.random.default_rng(0)
    network = netsim.paper_network(place)
    ends = list(map(tuple, network.topology.ends.tolist()))
    for nbytes in (100, 10**5, 2**20, 2**24):
        slow: dict[tuple[int, int], float] = {}
        least = netsim.lower_bound(network, nbytes)
        for _ in range(8):
            pair = ends[int(rng.integers(len(ends)))]
            slow[pair] = min(slow.get(pair, 1.0), float(rng.choice([0.9, 0.5, 0.25, 0.01])))
            bound = netsim.lower_bound(replace(network, slow=dict(slow)), nbytes)
            assert bound >= least * (1 - 1e-12)
            least = bound
        for name in ("link_latency", "router_latency", "injection_latency"):
            later = replace(network, **{name: 2 * getattr(network, name)})
            assert netsim.lower_bound(later, nbytes) >= netsim.lower_bound(network, nbytes)


@pytest.mark.theorem
@given(digraphs(), st.data())
def test_the_bound_of_any_network_is_monotone_in_every_rate_and_latency(case, data):
    links, p = case
    topology = netsim.graph(links)
    kinds = ["allreduce", "reduce_scatter", "allgather", "broadcast", "gather", "alltoall"]
    asked = (
        data.draw(st.sampled_from([0, 100, 10**5, 10**8])),
        data.draw(st.sampled_from(kinds)),
        data.draw(st.integers(0, p - 1)),
    )
    rate, seconds = st.floats(1e8, 1e11), st.floats(0, 1e-5)
    size = topology.nlinks
    rates, latencies = (
        np.array(data.draw(st.lists(each, min_size=size, max_size=size)))
        for each in (rate, seconds)
    )
    changed = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)
    slower, later = data.draw(st.floats(1e-3, 1)), data.draw(seconds)
    head = data.draw(st.booleans())
    plain = netsim.Network(
        topology, data.draw(rate), link_latency=data.draw(seconds), flit_bytes=64,
        arrival="head" if head else "tail", router_latency=data.draw(seconds), packet_bytes=1024,
    )  # fmt: skip
    own = replace(plain, topology=replace(topology, own_bandwidth=rates, own_latency=latencies))
    slow = {
        tuple(pair): slower
        for pair, each in zip(topology.ends.tolist(), changed, strict=True)
        if each
    }
    worse_rates, worse_latencies = rates.copy(), latencies.copy()
    worse_rates[changed] *= slower
    worse_latencies[changed] += later
    pairs = [
        (plain, replace(plain, slow=slow)),
        (own, replace(own, slow=slow)),
        (own, replace(own, topology=replace(own.topology, own_bandwidth=worse_rates))),
        (own, replace(own, topology=replace(own.topology, own_latency=worse_latencies))),
    ]
    for name in ("link_latency", "router_latency", "injection_latency", "ejection_latency"):
        pairs.append((plain, replace(plain, **{name: getattr(plain, name) + later})))
    pairs.append((plain, replace(plain, bandwidth=plain.bandwidth * slower)))
    for better, worse in pairs:
        least = netsim.lower_bound(better, *asked)
        assert netsim.lower_bound(worse, *asked) >= least * (1 - 1e-12)


def test_the_bound_of_a_slow_link_pair():
    whole = netsim.paper_network("torus:8x16")
    slow = replace(whole, slow={(0, 1): 0.25, (1, 0): 0.25})
    assert netsim.lower_bound(whole, 2**20) == pytest.approx(11.146e-6)
    assert netsim.lower_bound(slow, 2**20) > netsim.lower_bound(whole, 2**20)


def test_own_latencies_and_rates_of_a_torus_count():
    grid = netsim.topology("torus:8")
    quick = replace(grid, own_latency=np.zeros(grid.nlinks))
    network = replace(
        netsim.paper_network(quick), router_latency=0.0, injection_latency=0.0, ejection_latency=0.0
    )
    for name in ("swing", "ring"):
        schedule = swing.schedule(name, grid.torus)
        for model in netsim.MODELS:
            assert (
                netsim.lower_bound(network, 32)
                <= netsim.simulate(schedule, network, 32, model).seconds
            )
    wide = netsim.paper_network(replace(grid, own_bandwidth=np.full(grid.nlinks, 500e9)))
    assert wide.injection_bandwidth == netsim.paper_network(grid, 500e9).injection_bandwidth
    assert wide.buffer_bytes == netsim.paper_network(grid, 500e9).buffer_bytes


@pytest.mark.parametrize("place", ["torus:4", "mesh:3x3", "hx2mesh:2x4"])
def test_nothing_to_move_takes_no_time(place):
    network = netsim.paper_network(place)
    torus = network.topology.torus
    for origin, home in ((0, 0), (2, 2)):
        still = swing.Schedule(
            "still", torus, 1, 0, lambda s: swing.Step.empty(), origin=origin, home=home
        )
        assert schedule_bound(network, 2**20, still) == 0
        assert netsim.simulate(still, network, 2**20).seconds == 0


def test_an_unknown_collective_is_refused_with_those_that_there_are():
    network = netsim.paper_network("torus:4")
    for name in ("transfer", "traffic", "all_reduce"):
        with pytest.raises(ValueError, match=f"no collective '{name}'.*: choose from .*barrier$"):
            netsim.lower_bound(network, 64, name)
    assert netsim.lower_bound(network, 64, "barrier") == netsim.lower_bound(network, 0)


@pytest.mark.parametrize(
    ("place", "nbytes", "collective", "name", "microseconds"),
    [
        # n = 8 MB at 1 GB/s a link, 10 us a link; nothing else costs anything.
        ("mesh:5", 8, "allreduce", "rank", 4 * 10 + 8000),  # the whole vector into a corner
        ("torus:5", 8, "broadcast", "rank", 10 * 2.5 + 4000),  # 2 hops, or 3
        ("torus:8x8", 8, "reduce", "rank", 8 * 10 + 2000),
        # From L links on, 2(4 - L) + 1 blocks of 1 MB come over two links.
        ("torus:8", 8, "allgather", "rank", 10 + 7 * 500),
        ("torus:8", 0.016, "allgather", "rank", 4 * 10 + 1),
        ("torus:8", 0.16, "reduce_scatter", "rank", 10 + 7 * 10),
        ("torus:8x8", 8, "alltoall", "cut", 10 + 8000),  # n·d / 8
        ("mesh:4x2", 8, "allreduce", "links", 10 + 2 * 7 * 8000 / 20),
        ("hyperx:4", 8, "scatter", "rank", 10 + 3 / 4 * 8000 / 3),
    ],
)  # fmt: skip
def test_closed_forms_with_latency(place, nbytes, collective, name, microseconds):
    network = netsim.Network(netsim.topology(place), 1e9, link_latency=10e-6)
    bounds = netsim.lower_bounds(network, int(nbytes * 10**6), collective)
    assert bounds[name] * 1e6 == pytest.approx(microseconds)
    assert list(bounds) == list(ARGUMENTS)
    assert max(bounds.values()) == netsim.lower_bound(network, int(nbytes * 10**6), collective)


def test_the_joint_bound_on_the_papers_network():
    # 64 links of 400 ns, a router of 300 ns and ends of 100 and 106 ns; four ports at 50 GB/s, and
    # one packet of 8 KiB on each of them need not have left it.
    network = netsim.paper_network("torus:64x64")
    latency = 506e-9 + 64 * 400e-9
    for nbytes in (32, 2**14, 2**17, 2**19, 2**21):
        joint = latency + max(0, nbytes - 4 * 8192) / 200e9
        bounds = netsim.lower_bounds(network, nbytes)
        assert bounds["rank"] == pytest.approx(joint)
        assert tightest(bounds) == ("latency" if nbytes <= 4 * 8192 else "rank", bounds["rank"])


def test_a_cut_counts_with_the_latency_of_those_that_it_separates():
    # Two triangles, and a bridge of half the rate from 2 to 3.
    links = nx.barbell_graph(3, 0).to_directed()
    nx.set_edge_attributes(links, {(2, 3): {"bandwidth": 0.5e9}, (3, 2): {"bandwidth": 0.5e9}})
    network = netsim.Network(netsim.graph(links), 1e9, link_latency=1e-6)
    for collective, vectors, hops in (
        ("allreduce", 1, 3),
        ("broadcast", 1, 3),
        ("allgather", 0.5, 1),
    ):
        cut = netsim.lower_bounds(network, 10**6, collective)["cut"]
        assert cut * 1e6 == pytest.approx(hops + vectors * 2000)
    # All of the vector leaves 0 over two links, and enters 5 over two links.
    assert netsim.lower_bounds(network, 10**6, "reduce", 5)["rank"] * 1e6 == pytest.approx(503.5)


def test_which_cut_is_the_tightest_depends_on_the_size():
    # Two ranks at the ends of a row of switches.
    links = nx.MultiDiGraph()
    links.add_nodes_from(range(2, 7), switch=True)
    row = [0, 2, 3, 4, 5, 6, 1]
    between = [(1, 1000.0), (2, 9.7), (9, 9.2), (1, 10.0), (4, 9.4), (1, 1000.0)]
    for (count, rate), a, b in zip(between, row, row[1:], strict=False):
        links.add_edges_from([(a, b)] * count, bandwidth=rate / count)
        links.add_edge(b, a, bandwidth=1000.0)
    network = netsim.Network(netsim.graph(links), 1.0, packet_bytes=1, arrival="head")
    cases = ((20, 19 / 10), (50, 48 / 9.7), (117, 113 / 9.4), (10**4, (10**4 - 9) / 9.2))
    for nbytes, seconds in cases:
        assert netsim.lower_bounds(network, nbytes, "broadcast")["cut"] == pytest.approx(seconds)


def test_a_flow_can_be_taken_back():
    # The shortest path 0 2 3 4 5 1 is part of no largest flow.
    arcs = np.array(
        [*pairwise([0, 2, 3, 4, 5, 1]), *pairwise([0, 6, 7, 8, 9, 10, 5]), (9, 3), (4, 13),
         *pairwise([2, 11, 12, 13, 14]), (14, 1), (14, 1)]
    )  # fmt: skip
    side = FlowNetwork(arcs, 15).near_side(np.ones(len(arcs), dtype=np.int64), 0, 1)
    assert np.count_nonzero(side[arcs[:, 0]] & ~side[arcs[:, 1]]) == 2


def test_a_limited_door_and_the_cost_of_a_message_count():
    network = netsim.Network(
        netsim.topology("torus:4x4"), 1e9, link_latency=1e-6, message_overhead=5e-6,
        receive_overhead=2e-6, ejection_bandwidth=2e9,
    )  # fmt: skip
    assert netsim.lower_bound(network, 0) == pytest.approx(11e-6)
    assert netsim.lower_bounds(network, 8 * 10**6)["rank"] == pytest.approx(11e-6 + 4e-3)
    assert netsim.lower_bounds(network, 8 * 10**6, "broadcast")["rank"] == pytest.approx(4.011e-3)
    plain = replace(network, ejection_bandwidth=None, injection_bandwidth=2e9)
    assert netsim.lower_bounds(plain, 8 * 10**6, "reduce")["rank"] == pytest.approx(4.011e-3)


@given(digraphs(), st.data())
def test_no_set_of_ranks_bounds_an_allgather_or_a_broadcast_more_than_the_smallest_cut(case, data):
    links, p = case
    topology = netsim.graph(links)
    rates = np.array(data.draw(st.lists(
        st.sampled_from([1.0, 2.0, 5.0]), min_size=topology.nlinks, max_size=topology.nlinks
    )))  # fmt: skip
    topology = replace(topology, own_bandwidth=rates)
    packet = data.draw(st.integers(1, 3))
    network = netsim.Network(
        topology, 1.0, packet_bytes=packet, arrival=data.draw(st.sampled_from(["head", "tail"]))
    )
    root, nbytes = data.draw(st.integers(0, p - 1)), data.draw(st.sampled_from([1, 12, 10**6]))
    bonus = packet if network.arrival == "head" else 0
    most = {"broadcast": 0.0, "allgather": 0.0, "allreduce": 0.0}
    tails, heads = topology.ends.T
    vertices = len(topology.labels)
    for number in range(1, 2**vertices - 1):
        side = np.array([number >> v & 1 for v in range(vertices)], dtype=bool)
        ranks = np.count_nonzero(side[:p])
        cut = side[tails] & ~side[heads]
        if not 0 < ranks < p:
            continue
        for collective, vectors in (
            ("broadcast", float(side[root])), ("allgather", ranks / p), ("allreduce", 1.0),
        ):  # fmt: skip
            if vectors:
                seconds = (nbytes * vectors - cut.sum() * bonus) / rates[cut].sum()
                most[collective] = max(most[collective], seconds)
    for collective, seconds in most.items():
        bounds = netsim.lower_bounds(network, nbytes, collective, root)
        # Cuts around single ranks are among those that are tried on their own.
        assert max(bounds["cut"], bounds["rank"]) == pytest.approx(seconds, rel=1e-9, abs=1e-12)


@given(digraphs(), st.data())
def test_the_smallest_cut_is_that_of_networkx(case, data):
    links, p = case
    assume(p > 1)
    ends = netsim.graph(links).ends
    vertices = 1 + int(ends.max())
    capacity = np.array(
        data.draw(st.lists(st.integers(0, 9), min_size=len(ends), max_size=len(ends)))
    )
    known = nx.DiGraph()
    known.add_nodes_from(range(vertices))
    for (a, b), c in zip(ends.tolist(), capacity.tolist(), strict=True):
        known.add_edge(
            a, b, capacity=c + (known.edges[a, b]["capacity"] if (a, b) in known.edges else 0)
        )
    side = FlowNetwork(ends, vertices).near_side(capacity, 0, p - 1)
    assert side[0]
    assert not side[p - 1]
    value = capacity[side[ends[:, 0]] & ~side[ends[:, 1]]].sum()
    assert value == nx.minimum_cut_value(known, 0, p - 1)


SIZES = [0, 1, 32, 1000, 8192, 8193, 2**15, 2**17, 2**19, 2**21, 2**23]


def random_network(rng, torus):
    """A network for the schedules of a torus, of any kind and with any costs."""
    name = str(torus)
    kind = rng.choice(["torus", "graph", "slow", "failed", "hyperx", "hx2mesh"])
    topology = netsim.topology(torus.name)
    closed = all(torus.wrap)
    if kind == "hyperx" and closed:
        topology = netsim.topology(f"hyperx:{name}")
    elif kind == "hx2mesh" and closed and all(d == 1 or d % 2 == 0 for d in torus.dims):
        topology = netsim.topology(f"hx2mesh:{name}")
    elif kind == "graph" and torus.size > 1:
        around = rng.sample(range(torus.size), torus.size)
        links = nx.MultiDiGraph((a, around[i - 1]) for i, a in enumerate(around))
        links.add_edges_from(
            (a, b, {"bandwidth": rng.choice([1e9, 1e11]), "latency": rng.choice([0, 1e-6])})
            for a, b in (rng.sample(range(torus.size), 2) for _ in range(torus.size))
        )
        topology = netsim.graph(links, torus.dims)
    pairs = list(map(tuple, topology.ends.tolist()))
    if kind == "failed" and torus.size > 2:
        with contextlib.suppress(ValueError):  # the links hold the network together
            topology = netsim.without(topology, [rng.choice(pairs)])
    slow = {rng.choice(pairs): rng.choice([0.5, 0.01])} if kind == "slow" and pairs else {}
    costs = {
        "arrival": ["head", "tail"], "message_overhead": [0.0, 0.0, 5e-7],
        "receive_overhead": [0.0, 0.0, 1e-7], "ejection_bandwidth": [None, 2e10],
        "injection_bandwidth": [None, 2e10], "router_latency": [0.0, 3e-7],
    }  # fmt: skip
    changed = {key: rng.choice(values) for key, values in costs.items() if rng.random() < 0.4}
    return replace(netsim.paper_network(topology), slow=slow, **changed)


@pytest.mark.theorem
@pytest.mark.parametrize("seed", range(6))
def test_no_random_schedule_of_any_collective_beats_any_bound_of_any_network(seed):
    rng = random.Random(seed)
    for _ in range(25):
        torus, name, options, schedule = random_case(rng)
        network = random_network(rng, torus)
        least = 0.0
        for nbytes in sorted(rng.sample(SIZES, 3)):
            bounds = schedule_bounds(network, nbytes, schedule)
            if bounds is None:
                break  # it is unknown what must be moved
            argument, bound = tightest(bounds)
            assert bound >= least, (argument, nbytes)
            least = bound
            for model in MODELS:
                run = netsim.simulate(schedule, network, nbytes, model)
                assert run.seconds >= bound * (1 - 1e-9), (argument, name, options, torus, seed)


@pytest.mark.theorem
@given(digraphs(), st.data())
def test_every_bound_is_monotone_in_the_size(case, data):
    links, p = case
    network = netsim.paper_network(netsim.graph(links))
    collective = data.draw(st.sampled_from(COLLECTIVES))
    root = data.draw(st.integers(0, p - 1))
    sizes = sorted(data.draw(st.lists(st.integers(0, 2**26), min_size=2, max_size=5)))
    bounds = [list(netsim.lower_bounds(network, n, collective, root).values()) for n in sizes]
    assert np.diff(bounds, axis=0).min() >= 0


@pytest.mark.parametrize("place", ["torus:4x6", "mesh:3x4", "hx2mesh:4x4", "hyperx:3x4", "torus:5"])
@pytest.mark.parametrize(
    ("collective", "reverse"),
    [("broadcast", "reduce"), ("gather", "scatter"), ("allgather", "reduce_scatter")],
)
def test_a_collective_and_its_reverse_have_the_same_bounds(place, collective, reverse):
    network = netsim.paper_network(place)
    for nbytes in (0, 2**15, 2**20):
        there, back = (netsim.lower_bounds(network, nbytes, c, 2) for c in (collective, reverse))
        assert there == pytest.approx(back)


@pytest.mark.parametrize(("place", "seconds"), [("torus:64x64", 0.05), ("torus:100x100x100", 2.0)])
def test_the_bound_of_a_large_torus_is_computed_at_once(place, seconds):
    network = netsim.paper_network(place)
    begin = time.process_time()
    assert netsim.lower_bound(network, 2**21) > 0
    assert time.process_time() - begin <= seconds
