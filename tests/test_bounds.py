"""What no schedule of a collective beats, under any model, on any topology."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from netsim.bounds import schedule_bound
from netsim.models import MODELS
from netsim.topologies.graph import graph
from tests.cases import digraphs, every_schedule, schedules

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
    assert netsim.lower_bound(whole, 2**20) == pytest.approx(11.1524e-6)
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
        with pytest.raises(ValueError, match=f"no collective '{name}': choose from .*barrier$"):
            netsim.lower_bound(network, 64, name)
    assert netsim.lower_bound(network, 64, "barrier") == netsim.lower_bound(network, 0)
