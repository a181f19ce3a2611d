"""What no allreduce can beat on a network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from netsim.checks import check_size
from netsim.network import Network
from netsim.topologies.graph import GraphTopology


def lower_bound(network: Network, nbytes: int) -> float:
    """Seconds that every allreduce of a vector needs at least.

    The largest of four:

    - latency: the result on one node depends on the input of the node farthest from it, so some
      chain of messages covers the diameter and pays every fixed cost of at least one message
      (in a graph: the quickest way to a node far from one node);
    - total: of each element p - 1 contributions have to leave their ranks and p - 1 ranks have
      to be given the result, so at least 2n(p - 1) bytes leave nodes;
    - node: a node's own n bytes have to leave it, and n bytes of others' enter it;
    - bisection: for every way to cut the network in two, the result on one side depends on the
      other side's input. However much is added up before, one value of each element has to
      cross the cut, n bytes each way. Cuts across each dimension are tried.

    The last three tell how long some link is busy with bytes of messages. The first of these
    bytes has passed the fixed costs before that link, the last one has those behind it still
    ahead: together no less than what a message over the quickest link pays, which is added. Where
    packets count with their heads, the last one of each link is no part of this.

    Args:
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.

    >>> import netsim
    >>> f"{netsim.lower_bound(netsim.paper_network('torus:64x64'), 32) * 1e6:.2f} us"
    '26.44 us'
    """
    check_size(nbytes)
    topology = network.topology
    if topology.size == 1:
        return 0.0
    rates, (tails, heads) = network.bandwidths, topology.ends.T
    out, into = (np.bincount(at, rates, topology.size)[: topology.size] for at in (tails, heads))
    busy = max(2 * (topology.size - 1) / out.sum(), 1 / out.min(), 1 / into.min())
    for here in _cuts(network):
        leaves, enters = here[tails] & ~here[heads], here[heads] & ~here[tails]
        busy = max(busy, 1 / rates[leaves].sum(), 1 / rates[enters].sum())
    quickest = network.end_latency + float(network.hop_latencies.min())
    spared = network.packet_bytes / rates.min() if network.arrival == "head" else 0.0
    return float(max(_farthest(network), quickest + nbytes * busy - spared))


def _farthest(network: Network) -> float:
    """Seconds that a message without bytes takes to a node far away, by whichever links.

    Grids know their farthest node. In a graph of links that differ, the quickest ways are looked
    for from one of the two nodes that have most links between them.
    """
    topology = network.topology
    if not isinstance(topology, GraphTopology):
        return network.latency(*topology.diameter)
    import networkx as nx

    quickest: nx.DiGraph[int] = nx.DiGraph()
    order = np.argsort(-network.hop_latencies)  # of links between the same two, the last one stays
    ends, seconds = topology.ends[order].tolist(), network.hop_latencies[order].tolist()
    quickest.add_weighted_edges_from((a, b, t) for (a, b), t in zip(ends, seconds, strict=True))
    times = nx.single_source_dijkstra_path_length(quickest, topology.table.farthest[0])
    return network.end_latency + max(times[node] for node in range(topology.size))


def _cuts(network: Network) -> Iterator[NDArray[np.bool_]]:
    """Vertices on one side of cuts across each dimension; the middle one if links are alike.

    A switch is on the side to which it has more bandwidth. Any side would do: a cut separates the
    nodes, whatever the switches do.
    """
    topology = network.topology
    tails, heads = topology.ends.T
    switches = np.arange(1 + int(topology.ends.max())) >= topology.size
    coords = np.unravel_index(np.arange(topology.size), topology.dims)
    for along, d in zip(coords, topology.dims, strict=True):
        for at in (d // 2,) * (d > 1) if network.uniform else range(1, d):
            here = np.append(along < at, switches[topology.size :])
            weight = np.where(here[heads], 1.0, -1.0) * ~switches[heads] * network.bandwidths
            yield here & ~(switches & (np.bincount(tails, weight, len(here)) < 0))
