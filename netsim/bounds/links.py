"""Links as lower bounds see them, forwards and backwards in time, and the latencies on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netsim.network import Network
from netsim.topologies.row import Row
from swing.torus import Array

if TYPE_CHECKING:
    import networkx as nx


class Incoming(NamedTuple):
    """The links into some ranks.

    Args:
        rank: (m,) where each link's rank is in the list of ranks.
        tails: (m,) the vertex that each link leaves; of a grid, the number of ranks for any switch.
        rate: (m,) bytes per second.
        seconds: (m,) latency of each link, with that of the router behind it.
    """

    rank: Array
    tails: Array
    rate: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True, eq=False)
class DirectedLinks:
    """The links of a network, in one of the two directions of time.

    A schedule that runs backwards sends every message the other way, and takes as long. So what is
    a bound for a broadcast is one for a reduce on the reversed links.

    Args:
        network: topology and costs.
        backwards: whether every link leads from its head to its tail.
    """

    network: Network
    backwards: bool = False

    @property
    def reversed(self) -> DirectedLinks:
        """The links in the other direction of time."""
        return DirectedLinks(self.network, not self.backwards)

    @property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches."""
        ends = self.network.topology.ends
        return ends[:, ::-1] if self.backwards else ends

    @property
    def alike(self) -> bool:
        """Whether all links are alike, and so are all rows of a dimension."""
        return self.network.uniform and bool(self.network.topology.rows)

    @property
    def door(self) -> float | None:
        """Bytes per second from the routers to a rank; None for no limit."""
        network = self.network
        return network.injection_bandwidth if self.backwards else network.ejection_bandwidth

    def credit(self, count: Any) -> Any:
        """Bytes that may still be on so many links when all messages count as arrived.

        If messages count with the head of their last packet, this is one packet on each link.
        """
        return count * (self.network.packet_bytes if self.network.arrival == "head" else 0)

    def into(self, ranks: Array) -> Incoming:
        """The links into some ranks, which are listed in ascending order."""
        if self.alike and len(ranks) == 1:
            return self._into_of_grid(int(ranks[0]))
        heads = self.ends[:, 1]
        links = np.flatnonzero(np.isin(heads, ranks))
        rate, seconds = self.network.bandwidths[links], self.hop_seconds[links]
        return Incoming(np.searchsorted(ranks, heads[links]), self.ends[links, 0], rate, seconds)

    def _into_of_grid(self, rank: int) -> Incoming:
        """The links into a rank of a grid of equal links, whose millions need not be listed."""
        topology = self.network.topology
        tails, seconds = [], []
        for j, x in enumerate(np.unravel_index(rank, topology.dims)):
            row, step = topology.rows[j], math.prod(topology.dims[j + 1 :])
            starts, heads = row.ends.T[:: -1 if self.backwards else 1]
            links = np.flatnonzero(heads == x)
            tails.append(np.where(starts < row.d, rank + (starts - x) * step, topology.size)[links])
            seconds.append(self._row_seconds(row)[links])
        tail = np.concatenate(tails)
        rate = np.full(len(tail), self.network.bandwidth)
        return Incoming(np.zeros_like(tail), tail, rate, np.concatenate(seconds))

    def capacity_into(self, ranks: Array) -> tuple[np.ndarray, np.ndarray]:
        """The bytes per second that can enter each of some ranks, and the `credit` of the links.

        All bytes also pass the rank's door. If that is the slower one, it counts instead.
        """
        incoming = self.into(ranks)
        rate = np.bincount(incoming.rank, incoming.rate, len(ranks))
        nlinks = np.bincount(incoming.rank, minlength=len(ranks))
        door = np.inf if self.door is None else self.door
        return np.minimum(rate, door), self.credit(np.where(door < rate, 1, nlinks))

    @property
    def message_seconds(self) -> float:
        """Seconds that every message takes at its ends, whatever its size and its way."""
        network = self.network
        ends = network.injection_latency + network.ejection_latency
        ends += network.topology.first_router * network.router_latency
        return ends + network.message_overhead + network.receive_overhead

    @cached_property
    def hop_seconds(self) -> np.ndarray:
        """(nlinks,) seconds on each link and in the router behind it, without the time of a flit.

        A router that is busy with other packets until the next flit is there does not wait for it.
        """
        wires, topology = self.network.credit_latencies, self.network.topology
        return wires + topology.router * self.network.router_latency

    @cached_property
    def least(self) -> float:
        """Seconds that an empty message over the quickest link takes."""
        if self.alike:
            rows = [self._row_seconds(row) for row in self.network.topology.rows]
            quickest = min(float(row.min(initial=np.inf)) for row in rows)
        else:
            quickest = float(self.hop_seconds.min())
        return self.message_seconds + quickest

    def _row_seconds(self, row: Row) -> np.ndarray:
        """(nlinks of the row,) the `hop_seconds` of a row of equal links."""
        return row.wire * self.network.link_latency + row.router * self.network.router_latency

    def seconds_from(self, rank: int) -> np.ndarray:
        """(vertices,) seconds on the links from a rank to each vertex, without `message_seconds`.

        In a grid of equal links they are those of the routes, and only ranks are listed. Elsewhere
        they are those of the quickest links, whether or not these make up a route of the topology.
        """
        return self._grid_seconds(rank) if self.alike else self._graph_seconds(rank)

    def _grid_seconds(self, rank: int) -> np.ndarray:
        topology, network = self.network.topology, self.network
        paths = np.zeros((*topology.dims, 3))
        for j, (row, x) in enumerate(
            zip(topology.rows, np.unravel_index(rank, topology.dims), strict=True)
        ):
            here, others = np.full(row.d, x), np.arange(row.d)
            path = row.path(others, here) if self.backwards else row.path(here, others)
            paths += path.reshape([row.d if i == j else 1 for i in range(len(topology.dims))] + [3])
        units = np.array([0.0, network.link_latency, network.router_latency])
        seconds: np.ndarray = paths.reshape(-1, 3) @ units
        return seconds

    def _graph_seconds(self, rank: int) -> np.ndarray:
        import networkx as nx

        found = nx.single_source_dijkstra_path_length(self._quickest, rank)
        seconds = np.full(1 + int(self.ends.max(initial=self.network.topology.size - 1)), np.inf)
        seconds[list(found)] = list(found.values())
        return seconds

    @cached_property
    def _quickest(self) -> nx.DiGraph[int]:
        # Imported here because it would add a third to the time that `import netsim` takes.
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(self.network.topology.size))
        # Of parallel links the graph keeps the one added last, so the quickest must come last.
        order = np.argsort(-self.hop_seconds)
        pairs, seconds = self.ends[order].tolist(), self.hop_seconds[order].tolist()
        graph.add_weighted_edges_from((a, b, t) for (a, b), t in zip(pairs, seconds, strict=True))
        return graph
