"""Injection and ejection limits bind in every model, however many links a node has."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from netsim.models import MODELS
from swing.schedules.blocks import one_block


def microseconds(schedule, network, nbytes, model):
    return netsim.simulate(schedule, network, nbytes, model).seconds * 1e6


def scatter(torus, src, dsts):
    """Return a schedule of one step, in which a node sends a vector to each of several others."""
    dst = np.array(dsts)
    step = swing.Step(swing.Op.COPY, np.full_like(dst, src), dst, one_block(np.zeros_like(dst)))
    return swing.Schedule("scatter", torus, 1, 1, lambda s: step, collective="traffic")


def gather(torus, srcs, dst):
    src = np.array(srcs)
    step = swing.Step(swing.Op.COPY, src, np.full_like(src, dst), one_block(np.zeros_like(src)))
    return swing.Schedule("gather", torus, 1, 1, lambda s: step, collective="traffic")


@pytest.mark.parametrize("model", MODELS)
def test_a_limit_below_a_links_rate_binds_on_a_star(model):
    star = nx.star_graph(4)
    star.nodes[0]["switch"] = True
    nx.set_edge_attributes(star, 450e9, "bandwidth")
    network = netsim.Network(netsim.graph(star), 50e9, injection_bandwidth=100e9)
    ring = swing.schedule("ring", swing.Torus(4))
    assert microseconds(ring, network, 2**24, model) == pytest.approx(251.66, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("limit", [None, 5e9, 10e9, 15e9, 20e9, 40e9])
def test_a_node_with_two_links_sends_and_receives_at_its_limit(model, limit):
    """mesh:3: only the middle node has two links; each carries 10 GB/s."""
    mesh = netsim.topology("mesh:3")
    rate = min(20e9, limit or 20e9)
    for schedule, name in (
        (scatter(mesh.torus, 1, [0, 2]), "injection_bandwidth"),
        (gather(mesh.torus, [0, 2], 1), "ejection_bandwidth"),
    ):
        network = netsim.Network(mesh, 10e9, **{name: limit})
        expected = 2 * 1e6 / rate * 1e6
        found = microseconds(schedule, network, 10**6, model)
        assert found == pytest.approx(expected, rel=0.01 if model == "packet" else 1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_one_end_without_a_limit_has_none(model):
    """None means no limit, even if there is one at the other end."""
    mesh = netsim.topology("mesh:3")
    network = netsim.Network(mesh, 10e9, ejection_bandwidth=9e9)
    found = microseconds(scatter(mesh.torus, 1, [0, 2]), network, 10**6, model)
    assert found == pytest.approx(1e6 / 9e9 * 1e6, rel=0.01 if model == "packet" else 1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gbytes", [450e9, 25e9])
def test_the_papers_network_takes_the_rates_of_a_graphs_edges(model, gbytes):
    cycle = nx.cycle_graph(4)
    nx.set_edge_attributes(cycle, gbytes, "bandwidth")
    network = netsim.paper_network(netsim.graph(cycle))
    torus = netsim.paper_network("torus:4", bandwidth=gbytes)
    swing4 = swing.schedule("swing", swing.Torus(4))
    # On a graph a message to the opposite node takes one of two routes; Swing sends none there.
    expected = microseconds(swing4, torus, 2**26, model)
    assert microseconds(swing4, network, 2**26, model) == pytest.approx(expected, rel=1e-6)
    if gbytes == 450e9:
        assert expected == pytest.approx(115.52 if model == "packet" else 115.48, abs=0.01)


def fast_and_slow_edges():
    """Return a graph without parallel links, whose edges have rates of their own."""
    links = nx.circulant_graph(7, [1, 2])
    for i, edge in enumerate(links.edges):
        links.edges[edge]["bandwidth"] = 1e9 * (1 + i % 3)
    return netsim.graph(links)


@pytest.mark.theorem
@pytest.mark.parametrize("place", ["torus:5", "torus:3x4", "mesh:3x3", "hyperx:2x3", "graph"])
@given(st.data())
def test_one_message_a_port_takes_as_long_as_its_busiest_end(place, data):
    """Equal messages, one on each of some links: the time is that of the busiest link or node.

    Every flow has a bottleneck on which none is faster, so its rate is at least that link's rate
    over the number of flows on it, and none takes longer than the busiest one allows.
    """
    topology = fast_and_slow_edges() if place == "graph" else netsim.topology(place)
    limit = st.one_of(st.none(), st.floats(3e8, 8e9))
    network = netsim.Network(
        topology, 1e9, link_latency=1e-6, packet_bytes=1000,
        injection_bandwidth=data.draw(limit), ejection_bandwidth=data.draw(limit),
    )  # fmt: skip
    used = sorted(data.draw(st.sets(st.integers(0, topology.nlinks - 1), min_size=1)))
    src, dst = topology.ends[used].T
    step = swing.Step(swing.Op.COPY, src, dst, one_block(np.zeros_like(src)))
    one = swing.Schedule("one", topology.torus, 1, 1, lambda s: step, collective="traffic")
    busy = [10**6 / network.bandwidths[used].min()]
    for nodes, rate in ((src, network.injection_bandwidth), (dst, network.ejection_bandwidth)):
        busy.append(np.bincount(nodes).max() * 10**6 / rate if rate else 0.0)
    expected = 1 + max(busy) * 1e6
    for model in MODELS:
        tolerance = 0.02 if model == "packet" else 1e-9
        assert microseconds(one, network, 10**6, model) == pytest.approx(expected, rel=tolerance)
