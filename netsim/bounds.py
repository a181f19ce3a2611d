"""Lower bounds on the time of an allreduce on a network, whatever the algorithm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from netsim.checks import check_size
from netsim.network import Network
from swing.checks import expect


def lower_bound(network: Network, nbytes: int) -> float:
    """Seconds that every allreduce of a vector takes at least.

    It is the largest of four bounds:

    - latency: the result on one node depends on the input of the node farthest from it, so some
      chain of messages covers the diameter and pays every fixed cost of at least one message
      (in a graph: over the quickest route between two nodes that are far apart);
    - total: for each element p - 1 contributions must leave their ranks, and p - 1 ranks must
      receive the result, so at least 2n(p - 1) bytes leave nodes;
    - node: a node's own n bytes must leave it, and n bytes of others must enter it;
    - bisection: if the network is cut in two, the result on each side depends on the input of the
      other side. Even if each side adds up its inputs first, one value of each element must cross
      the cut each way, n bytes. Cuts across each dimension are tried.

    The last three bound how long some link is busy with message bytes. The first of these bytes has
    paid the fixed costs before that link, and the last has yet to pay those behind it. Together
    these are no less than the fixed costs of a message over the quickest link, which are added.
    With ``arrival="head"`` packets count when their heads arrive, so one packet per link is
    subtracted from the bytes.

    Args:
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.

    Raises:
        ValueError: ``nbytes`` is not a whole number of bytes from 0 up, or is too large.
        TypeError: ``network`` is no network.

    >>> import netsim
    >>> f"{netsim.lower_bound(netsim.paper_network('torus:64x64'), 32) * 1e6:.2f} us"
    '26.43 us'
    """
    expect(network, Network, "a network, such as netsim.paper_network('torus:8x8')")
    check_size(nbytes)
    topology = network.topology
    if topology.size == 1:
        return 0.0
    rates, (tails, heads) = network.bandwidths, topology.ends.T
    size = topology.size
    # With heads, a message counts as arrived while its last packet is still on the link.
    last_packet = network.packet_bytes if network.arrival == "head" else 0

    def busy(messages: float, links: NDArray[np.bool_] | slice) -> float:
        """Seconds that the given links take, all together, to carry so many vectors."""
        rate = float(rates[links].sum())
        return (messages * nbytes - len(rates[links]) * last_packet) / rate

    times = [busy(2 * (size - 1), slice(None))]
    for nodes in (tails, heads):
        count, rate = (np.bincount(nodes, weights, size)[:size] for weights in (None, rates))
        times.append(float(((nbytes - count * last_packet) / rate).max()))
    for side in _cuts(network):
        times.append(busy(1, side[tails] & ~side[heads]))
        times.append(busy(1, side[heads] & ~side[tails]))
    fixed = network.end_latency + float(network.hop_latencies.min())
    return float(max(_farthest(network), fixed + max(times)))


def _farthest(network: Network) -> float:
    """Seconds that a message without bytes takes to a distant node, over the quickest links.

    In a product of rows this is the diameter. Elsewhere, where links may differ and any two of them
    may make a route, it is the longest of the quickest routes from ``topology.remote``.
    """
    topology = network.topology
    if topology.rows and topology.own_latency is None:
        return network.latency(*topology.diameter)
    import networkx as nx

    quickest: nx.DiGraph[int] = nx.DiGraph()
    # Of parallel links the graph keeps the one added last, so the quickest must come last.
    order = np.argsort(-network.hop_latencies)
    ends, seconds = topology.ends[order].tolist(), network.hop_latencies[order].tolist()
    quickest.add_weighted_edges_from((a, b, t) for (a, b), t in zip(ends, seconds, strict=True))
    times = nx.single_source_dijkstra_path_length(quickest, topology.remote)
    return network.end_latency + max(times[node] for node in range(topology.size))


def _cuts(network: Network) -> Iterator[NDArray[np.bool_]]:
    """Yield (vertices,) masks of one side of cuts across each dimension.

    If all links are alike, only the cut in the middle is tried. A switch goes to the side to which
    it has more bandwidth, which makes the bound tighter; either side gives a valid bound, since the
    cut separates nodes.
    """
    topology = network.topology
    tails, heads = topology.ends.T
    switches = np.arange(1 + int(topology.ends.max())) >= topology.size
    coords = np.unravel_index(np.arange(topology.size), topology.dims)
    for along, d in zip(coords, topology.dims, strict=True):
        for at in (d // 2,) * (d > 1) if network.uniform else range(1, d):
            side = np.append(along < at, switches[topology.size :])
            weight = np.where(side[heads], 1.0, -1.0) * ~switches[heads] * network.bandwidths
            yield side & ~(switches & (np.bincount(tails, weight, len(side)) < 0))
