"""Lower bounds on the time of a collective on a network, whatever the algorithm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from netsim.checks import check_size
from netsim.demand import Demand, demand_of, named_demand
from netsim.network import Network
from netsim.topologies.lines import diameter
from netsim.topologies.topology import Topology
from swing.checks import expect
from swing.schedules.collectives import ALLREDUCE, BARRIER
from swing.schedules.schedule import Schedule
from swing.torus import Array

Mask = NDArray[np.bool_]


def lower_bound(
    network: Network, nbytes: int, collective: str = "allreduce", root: int = 0
) -> float:
    """Seconds that every run of a collective takes at least.

    It is the largest of four bounds:

    - latency: a rank's result depends on the input of a rank far from it, so some chain of messages
      covers this distance and pays every fixed cost of at least one message (in a graph: over the
      quickest route between two nodes that are far apart);
    - total: each contribution and each result that has to leave its rank does so at least once. In
      an allreduce these are p - 1 contributions and p - 1 results for every element, 2n(p - 1)
      bytes in all;
    - node: what a rank holds and others need must leave it, and what it needs of others must enter
      it. In an allreduce these are n bytes each, even if the others add up their inputs first;
    - bisection: if the network is cut in two, the blocks that start on one side and must end on the
      other cross the cut. In an allreduce these are n bytes each way. Cuts across each dimension
      are tried.

    The last three bound how long some link is busy with message bytes. The first of these bytes has
    paid the fixed costs before that link, and the last has yet to pay those behind it. Together
    these are no less than the fixed costs of a message over the quickest link, which are added.
    With ``arrival="head"`` packets count when their heads arrive, so one packet per link is
    subtracted from the bytes.

    Args:
        network: topology and costs.
        nbytes: size of the vector, in bytes: what each rank of an allreduce, a reduce, a
            reduce-scatter or an all-to-all starts with; what each rank of an allgather or a
            broadcast ends with; what the root of a gather or a scatter holds.
        collective: the name of the collective, see `swing.schedules.collectives`. Its blocks are
            equal. A barrier has no bytes.
        root: the root of a broadcast, reduce, gather or scatter.

    Raises:
        ValueError: ``nbytes`` is not a whole number of bytes from 0 up, or is too large; an unknown
            collective, or a root that is not a rank.
        TypeError: ``network`` is no network.

    >>> import netsim
    >>> network = netsim.paper_network("torus:64x64")
    >>> f"{netsim.lower_bound(network, 32) * 1e6:.2f} us"
    '26.43 us'
    >>> for collective in ("allreduce", "reduce_scatter", "allgather"):
    ...     print(f"{netsim.lower_bound(network, 2**30, collective) * 1e3:.1f} ms")
    10.7 ms
    5.4 ms
    5.4 ms
    """
    expect(network, Network, "a network, such as netsim.paper_network('torus:8x8')")
    if collective == BARRIER:
        check_size(nbytes)
        nbytes, collective = 0, ALLREDUCE
    return _bound(network, nbytes, named_demand(collective, network.topology.size, root))


def schedule_bound(network: Network, nbytes: int, schedule: Schedule) -> float | None:
    """Seconds that a schedule's collective takes at least; None if what it must move is unknown."""
    demand = demand_of(schedule)
    moved = 0 if schedule.collective == BARRIER else nbytes
    return None if demand is None else _bound(network, moved, demand)


def _bound(network: Network, nbytes: int, demand: Demand) -> float:
    check_size(nbytes)
    topology = network.topology
    size, rates = topology.size, network.bandwidths
    if not demand.sent(size):
        return 0.0
    tails, heads = topology.ends.T
    # With heads, a message counts as arrived while its last packet is still on the link.
    last_packet = network.packet_bytes if network.arrival == "head" else 0

    def busy(vectors: float, links: Mask | slice) -> float:
        """Seconds that the given links take, all together, to carry so many vectors."""
        rate = float(rates[links].sum())
        return (vectors * nbytes - len(rates[links]) * last_packet) / rate

    times = [busy(demand.sent(size), slice(None))]
    for nodes, vectors in ((tails, demand.leaving(size)), (heads, demand.entering(size))):
        count, rate = (np.bincount(nodes, weights, size)[:size] for weights in (None, rates))
        times.append(float(((vectors * nbytes - count * last_packet) / rate).max()))
    for side in _sides(network):
        for here in (side, ~side):
            times.append(busy(demand.crossing(here[:size]), here[tails] & ~here[heads]))
    fixed = network.end_latency + float(network.hop_latencies.min())
    return float(max(_farthest(network, demand), fixed + max(times)))


def _farthest(network: Network, demand: Demand) -> float:
    """Seconds that a message without bytes takes to a distant rank that needs something from afar.

    If all links are alike and every rank needs something from every other one, this is the diameter
    of a product of rows. Otherwise it is the longest of the quickest routes from one rank, or to
    one.
    """
    topology = network.topology
    ranks = np.arange(topology.size)
    starts, ends = (ranks if x is None else np.flatnonzero(x) for x in demand)
    if not (len(starts) and len(ends)):
        return 0.0
    if topology.rows and network.uniform and len(starts) == len(ends) == topology.size:
        return network.latency(*diameter(topology.rows))
    far = topology.remote
    first = far if far in starts else int(starts[0])
    last = far if far in ends else int(ends[0])
    from_first = _seconds(network, first)[ends]
    to_last = _seconds(network, last, towards=True)[starts]
    return max(float(from_first.max()), float(to_last.max()))


def _seconds(network: Network, rank: int, towards: bool = False) -> np.ndarray:
    """(p,) seconds that a message without bytes takes from a rank to each one, or from each to it.

    It takes the quickest links, whether or not they make up a route of the topology.
    """
    topology = network.topology
    if topology.rows and network.uniform:
        ends = np.full(topology.size, rank), np.arange(topology.size)
        paths, of_each = np.unique(
            topology.paths(*(ends[::-1] if towards else ends)), axis=0, return_inverse=True
        )
        times = np.array([network.latency(*path) for path in paths.tolist()])[of_each.ravel()]
    else:
        import networkx as nx

        quickest: nx.DiGraph[int] = nx.DiGraph()
        # Of parallel links the graph keeps the one added last, so the quickest must come last.
        order = np.argsort(-network.hop_latencies)
        pairs = topology.ends[order][:, ::-1] if towards else topology.ends[order]
        seconds = network.hop_latencies[order].tolist()
        quickest.add_weighted_edges_from(
            (a, b, t) for (a, b), t in zip(pairs.tolist(), seconds, strict=True)
        )
        found = nx.single_source_dijkstra_path_length(quickest, rank)
        times = network.end_latency + np.array([found[node] for node in range(topology.size)])
    times[rank] = 0.0  # a rank sends nothing to itself
    return times


def _sides(network: Network) -> Iterator[Mask]:
    """Yield (vertices,) masks of one side of cuts across each dimension.

    If all links are alike, only cuts at the ends and in the middle are tried.
    """
    topology = network.topology
    coords = np.unravel_index(np.arange(topology.size), topology.dims)
    for along, d in zip(coords, topology.dims, strict=True):
        for at in sorted({1, d // 2, d - 1} - {0, d}) if network.uniform else range(1, d):
            yield from _with_switches(topology, along < at)


def _with_switches(topology: Topology, side: Mask) -> Iterator[Mask]:
    """Yield (vertices,) masks that extend a (p,) mask of nodes to the switches.

    Either side is right for a switch, since the cut separates nodes. It goes to the side to which
    more of its links lead, which makes the bound tighter; where there is no such side, both are
    tried. Bandwidths do not count here, for otherwise a slower link could lower the bound.
    """
    tails, heads = topology.ends.T
    vertices = 1 + int(topology.ends.max())
    lean: Array = np.zeros(vertices, dtype=np.int64)
    lean[: topology.size] = np.where(side, 1, -1)
    # Switches that no node is next to follow their neighbours, one ring of switches after another.
    while (undecided := lean == 0).any():
        pull = np.sign(np.bincount(tails, lean[heads], vertices)).astype(np.int64)
        if not pull[undecided].any():
            break
        lean[undecided] = pull[undecided]
    yield lean > 0
    if (lean == 0).any():
        yield lean >= 0
