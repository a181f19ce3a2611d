"""Graphs: all shortest routes; a graph that is a torus gives the times of the torus."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given

import netsim
import swing
from netsim.models import MODELS
from netsim.topologies.shortest import MAX_ROUTES, distances
from netsim.topologies.ties import TIES
from tests.cases import digraphs

PLACES = [
    "torus:6", "torus:2", "torus:3x5", "torus:2x4", "torus:4x4", "torus:2x2x2", "mesh:3x4",
    "hyperx:4x3", "mesh:5", "torus:4x4:wrap=1,0", "torus:8x8", "torus:4x4x4", "torus:6x1x2",
]  # fmt: skip


def as_graph(topology):
    """The links of a topology as a graph, with its dimensions."""
    return netsim.graph(topology.to_networkx(), topology.dims)


def assert_same_times(network, other, every, models=MODELS):
    for schedule in every:
        for model in models:
            one, two = (
                netsim.simulate(schedule, net, 2**16, model, fold=False).seconds
                for net in (network, other)
            )
            assert two == pytest.approx(one, rel=1e-9), (schedule, model)


@pytest.mark.theorem
@pytest.mark.parametrize("ties", [rule for rule in TIES if rule != "random"])
@pytest.mark.parametrize("place", PLACES)
def test_a_graph_that_is_a_torus_has_its_routes(place, ties):
    """The routes of all pairs, their shares and their order, so all models give the same times."""
    topology = netsim.topology(place)
    graph = as_graph(topology)
    src, dst = np.divmod(np.arange(topology.size**2), topology.size)
    one, two = (place.routes(src, dst, ties) for place in (topology, graph))
    assert two.message.tolist() == one.message.tolist()
    assert two.share.tolist() == one.share.tolist()
    assert two.ptr.tolist() == one.ptr.tolist()
    assert graph.ends[two.links].tolist() == topology.ends[one.links].tolist()
    # Of parallel links, every route takes another one.
    used, of_graph = (np.bincount(routes.links, minlength=graph.nlinks) for routes in (one, two))
    assert of_graph.tolist() == used[_numbers(graph, topology)].tolist()


def _numbers(graph, topology):
    """For each link of a graph its number in the topology; parallel links are in order."""
    order = [np.lexsort(place.ends.T) for place in (graph, topology)]
    numbers = np.empty(graph.nlinks, dtype=int)
    numbers[order[0]] = order[1]
    return numbers


@pytest.mark.theorem
@pytest.mark.parametrize("place", PLACES[:8])
@pytest.mark.parametrize("name", ["swing", "recursive_doubling", "ring"])
def test_a_graph_that_is_a_torus_gives_its_times(place, name):
    topology = netsim.topology(place)
    network = netsim.paper_network(topology)
    schedule = swing.schedule(name, topology.torus, ports=1)
    assert_same_times(network, replace(network, topology=as_graph(topology)), [schedule])


def test_the_time_of_recursive_doubling_on_a_grid_of_networkx():
    grid = nx.grid_2d_graph(8, 8, periodic=True)
    network = netsim.paper_network(netsim.graph(grid, (8, 8)))
    schedule = swing.schedule("recursive_doubling", swing.Torus((8, 8)), ports=1)
    for model in ("analytic", "flow"):
        run = netsim.simulate(schedule, network, 2**21, model)
        assert run.seconds * 1e6 == pytest.approx(119.7, abs=0.05)


def test_a_hamming_mesh_whose_links_have_latencies_of_their_own():
    topology = netsim.topology("hx2mesh:4x4")
    links = topology.to_networkx()
    nx.set_node_attributes(links, {v: True for v in range(topology.size, len(links))}, "switch")
    seconds = topology.wire * 100e-9 + topology.router * 300e-9
    numbers = Counter()
    for (tail, head), latency in zip(topology.ends.tolist(), seconds.tolist(), strict=True):
        links.edges[tail, head, numbers[tail, head]]["latency"] = latency
        numbers[tail, head] += 1
    mesh = netsim.Network(topology, 50e9, link_latency=100e-9, router_latency=300e-9)
    graph = netsim.Network(netsim.graph(links, topology.dims), 50e9)
    for name in ("swing", "ring"):
        assert_same_times(mesh, graph, [swing.schedule(name, topology.torus, ports=1)])


def star(switches, rate=450e9, p=4):
    """Ranks that have one link to each of several switches."""
    links = nx.Graph()
    links.add_nodes_from(range(p))
    links.add_nodes_from(range(p, p + switches), switch=True)
    links.add_edges_from((r, p + s) for r in range(p) for s in range(switches))
    nx.set_edge_attributes(links, rate, "bandwidth")
    return links


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("switches", [2, 4, 18])
def test_several_switches_give_several_times_the_rate_of_one(switches, model):
    one, several = (
        netsim.Network(netsim.graph(star(n)), 50e9, packet_bytes=1024) for n in (1, switches)
    )
    nbytes = 1024 * 4 * 36 * switches  # whole packets for every route
    for name in ("ring", "swing", "recursive_doubling"):
        schedule = swing.schedule(name, swing.Torus(4), ports=1)
        alone, shared = (
            netsim.simulate(schedule, net, nbytes, model).seconds for net in (one, several)
        )
        # The packet model adds the time of one packet on each of two links in every step.
        slack = schedule.nsteps * 1024 / 450e9 if model == "packet" else 0
        assert shared * switches == pytest.approx(alone, abs=switches * slack + 1e-12)
    bounds = [netsim.lower_bound(net, nbytes) for net in (one, several)]
    assert bounds[0] == pytest.approx(switches * bounds[1])


@pytest.mark.parametrize("model", MODELS)
def test_parallel_links_share_messages(model):
    cycle = nx.MultiGraph(nx.cycle_graph(6))
    double = nx.MultiGraph(cycle)
    double.add_edges_from(cycle.edges(keys=False))
    schedule = swing.schedule("ring", swing.Torus(6))
    one, two = (
        netsim.simulate(schedule, netsim.Network(netsim.graph(g), 1e9), 6 * 2**16, model).seconds
        for g in (cycle, double)
    )
    assert two == pytest.approx(one / 2)


@pytest.mark.theorem
@given(digraphs())
def test_routes_are_all_the_shortest_paths(case):
    links, p = case
    topology = netsim.graph(links)
    far = dict(nx.all_pairs_shortest_path_length(links))
    src, dst = np.divmod(np.arange(p * p), p)
    assert topology.paths(src, dst)[:, 0].tolist() == [
        far[a][b] for a, b in zip(src.tolist(), dst.tolist(), strict=True)
    ]
    for ties in TIES:
        routes = topology.routes(src, dst, ties, (1,))
        assert np.bincount(routes.message, routes.share, p * p) == pytest.approx(1)
        found = [tuple(routes.links[a:b].tolist()) for a, b in pairwise(routes.ptr.tolist())]
        for message, links_of_route in zip(routes.message.tolist(), found, strict=True):
            path = topology.ends[list(links_of_route)].reshape(-1, 2)
            a, b = divmod(message, p)
            assert [a, *path[:, 1]] == [*path[:, 0], b]
            assert len(path) == far[a][b]
        if ties == "split":
            each = Counter(routes.message.tolist())
            for message in range(p * p):
                a, b = divmod(message, p)
                paths = nx.all_shortest_paths(nx.DiGraph(links), a, b)
                ways = sum(
                    int(np.prod([links.number_of_edges(*pair) for pair in pairwise(path)]))
                    for path in paths
                )
                assert each[message] == ways or (ways > MAX_ROUTES >= each[message] > 1)
            assert len(set(zip(routes.message.tolist(), found, strict=True))) == len(found)
        elif ties != "adaptive":
            assert (routes.message == np.arange(p * p)).all()


@given(digraphs())
def test_distances_are_those_of_networkx(case):
    links, p = case
    ends = np.array(list(links.edges(keys=False)), dtype=np.int64).reshape(-1, 2)
    far = dict(nx.all_pairs_shortest_path_length(links))
    vertices = max(p, 1 + int(ends.max(initial=0)))
    assert distances(ends, p).tolist() == [[far[a][b] for b in range(p)] for a in range(vertices)]


def test_more_switches_than_routes_are_used_as_far_as_routes_go():
    topology = netsim.graph(star(100))
    routes = topology.routes(np.array([0, 1]), np.array([1, 2]), "split")
    assert np.bincount(routes.message).tolist() == [MAX_ROUTES, MAX_ROUTES]
    assert len(np.unique(routes.links[::2])) == 2 * MAX_ROUTES


def test_a_large_graph_takes_seconds():
    grid = netsim.graph(nx.grid_2d_graph(32, 32, periodic=True), (32, 32))
    network, torus = netsim.paper_network(grid), netsim.paper_network("torus:32x32")
    schedule = swing.schedule("swing", grid.torus)
    times = [netsim.simulate(schedule, net, 2**21).seconds for net in (network, torus)]
    assert times[0] == pytest.approx(times[1])


@pytest.mark.parametrize("ties", ["split", "positive"])
def test_links_fail_alike_on_a_graph_and_on_its_torus(ties):
    topology = netsim.topology("torus:4x4")
    broken = [
        netsim.without(whole, [(0, 1), (1, 0), (5, 9)]) for whole in (topology, as_graph(topology))
    ]
    network = netsim.paper_network(broken[0], ties=ties)
    every = [swing.schedule(name, topology.torus) for name in ("swing", "ring")]
    assert_same_times(network, replace(network, topology=broken[1]), every)


def test_detours_share_all_the_shortest_ways():
    broken = netsim.without(netsim.topology("torus:5x5"), [(0, 1)])
    routes = broken.routes(np.array([0]), np.array([1]), "split")
    paths = [broken.ends[routes.links[a:b]].tolist() for a, b in pairwise(routes.ptr)]
    assert sorted(paths) == [[[0, 5], [5, 6], [6, 1]], [[0, 20], [20, 21], [21, 1]]]
    assert routes.share.tolist() == [0.5, 0.5]


def test_nodes_keep_their_labels_and_may_be_ordered():
    links = nx.cycle_graph(["d", "a", "c", "b"])
    assert netsim.graph(links).labels == ("d", "a", "c", "b")
    ordered = netsim.graph(links, order=["a", "b", "c", "d"])
    assert ordered.labels == ("a", "b", "c", "d")
    hops = ordered.paths(np.zeros(4, dtype=int), np.arange(4))[:, 0]
    assert hops.tolist() == [0, 2, 1, 1]
    mixed = nx.star_graph(3)  # the hub is 0, so the ranks are not 0 … p - 1
    mixed.nodes[0]["switch"] = True
    assert netsim.graph(mixed).labels == (1, 2, 3, 0)
    for order in (["a", "b"], ["a", "b", "c", "c"], ["a", "b", "c", "x"]):
        with pytest.raises(ValueError, match="order must list each of the 4 nodes"):
            netsim.graph(links, order=order)


def test_routes_too_long_to_count_are_refused(monkeypatch):
    monkeypatch.setattr("netsim.topologies.shortest._UNREACHED", 5)
    for longest in (3, 4, 5, 6, 9):
        chain = np.array([[v, v + 1] for v in range(longest)])[:, ::-1]
        if longest < 5:
            assert distances(chain, 1)[:, 0].tolist() == [*range(longest + 1)]
        else:
            with pytest.raises(ValueError, match="a shortest route has more than 4 links"):
                distances(chain, 1)


@pytest.mark.parametrize("order", [5, 1.5, [[0], 1, 2], [({},), 1, 2], [0, 1]])
def test_what_is_no_order_of_the_nodes_is_refused_in_one_line(order):
    with pytest.raises((TypeError, ValueError), match=r"order (must list|a list of nodes)"):
        netsim.graph(nx.cycle_graph(3), order=order)


def test_what_is_no_list_of_links_or_no_name_is_refused_in_one_line():
    for failed in (5, None, 0.5):
        with pytest.raises(TypeError, match="pass the failed links, such as"):
            netsim.without(netsim.topology("torus:4"), failed)
    for kind in (["x"], None, 4):
        with pytest.raises(TypeError, match="pass the kind of device, such as 'TPU v4'"):
            netsim.tpu_network(kind, "torus:4")
