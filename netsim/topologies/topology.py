"""Interface of a topology: directed links, the route of every message, and what links are like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Path, Row, Traffic
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class Topology(ABC):
    """Nodes, perhaps switches, and directed links between these vertices.

    `ends` and `routes` are enough to make one; what else it says of its links and paths follows
    from these two, unless a class knows better or computes it faster.

    Args:
        name: for tables and figures; where `netsim.topology` accepts it, other commands do too.
        torus: the dimensions of the schedules to run; vertices 0 … torus.size - 1 are its nodes,
            those from torus.size up are switches.
        rows: the network of each dimension, if the topology is a product of rows
            (`netsim.topologies.grid.Grid`); otherwise empty.
        first_router: delay of the sender's router, in units of the network's router latency.
        own_bandwidth: (nlinks,) bytes per second; NaN means the network's bandwidth. None if all
            links have that.
        own_latency: (nlinks,) seconds; NaN means the network's link latency. None likewise.
    """

    name: str
    torus: Torus
    rows: tuple[Row, ...] = field(default=(), kw_only=True)
    first_router: float = field(default=1.0, kw_only=True)
    own_bandwidth: np.ndarray | None = field(default=None, kw_only=True)
    own_latency: np.ndarray | None = field(default=None, kw_only=True)

    @property
    def dims(self) -> tuple[int, ...]:
        """Nodes along each dimension."""
        return self.torus.dims

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.torus.size

    @property
    def ndim(self) -> int:
        """D, the number of dimensions longer than 1."""
        return len(self.torus.active)

    @property
    @abstractmethod
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches; switches follow the nodes."""

    @abstractmethod
    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The routes from each src to its dst.

        Args:
            src: (m,) nodes.
            dst: (m,) nodes.
            ties: a rule of `netsim.topologies.ties.TIES`, where routes tie.
            seed: for random ties.
        """

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        return len(self.ends)

    @property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, in units of the network's link latency."""
        return np.ones(self.nlinks)

    @property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router that each link leads to, in units of the network's."""
        return np.ones(self.nlinks)

    @property
    def direction(self) -> Array:
        """(nlinks,) +1 towards higher coordinates, -1 towards lower, 0 for neither."""
        return np.zeros(self.nlinks, dtype=np.int64)

    @property
    def dim(self) -> Array:
        """(nlinks,) the dimension of every link, 0 for links that belong to none."""
        return np.zeros(self.nlinks, dtype=np.int64)

    @property
    def whole(self) -> Topology:
        """The topology before any link failed."""
        return self

    @property
    def remote(self) -> int:
        """A node that is far from some other one. The lower bound starts there."""
        return 0

    @cached_property
    def diameter(self) -> Path:
        """The largest hops, wire and routers of any `Path`, each over all pairs of nodes."""
        nodes = np.arange(self.size)
        paths = self.paths(np.repeat(nodes, self.size), np.tile(nodes, self.size))
        hops, wire, routers = paths.max(axis=0).tolist()
        return Path(int(hops), wire, routers)

    @cached_property
    def most_ports(self) -> tuple[int, int]:
        """The most links out of any node, and the most into any node."""
        out, into = most_at_a_node(self.ends, self.size)
        return out, into

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """(nlinks,) the total weight of the messages on every link."""
        routes = self.routes(traffic.src, traffic.dst, ties, seed)
        weight = (routes.share * traffic.weight[routes.message])[routes.per_link()]
        load: np.ndarray = np.bincount(routes.links, weight, self.nlinks)
        return load

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message; routes that tie are equally long."""
        routes = self.routes(src, dst, "split")
        first = np.searchsorted(routes.message, np.arange(len(src)))
        return routes.paths(self.wire, self.router)[first]

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """The links as a networkx graph: nodes have ``coords``, edges have ``dim``."""
        # Imported here because it would add a third to the time that `import netsim` takes.
        import networkx as nx

        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=self.name)
        coords = np.stack(np.unravel_index(np.arange(self.size), self.dims), axis=1).tolist()
        graph.add_nodes_from((node, {"coords": tuple(at)}) for node, at in enumerate(coords))
        for (tail, head), dim in zip(self.ends.tolist(), self.dim.tolist(), strict=True):
            graph.add_edge(tail, head, dim=dim)
        return graph


def most_at_a_node(ends: Array, size: int, weights: np.ndarray | None = None) -> tuple[Any, Any]:
    """The most links out of any node, and the most into any node.

    Args:
        ends: (nlinks, 2) the vertices that each link leaves and reaches.
        size: number of nodes; the vertices from there up are switches.
        weights: (nlinks,) what to add up instead of counting links.
    """
    out, into = (np.bincount(v, weights)[:size].max(initial=0).item() for v in ends.T)
    return out, into
