"""Interface of a topology: directed links and their properties, and the route of every message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from netsim.checks import link_name
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Row, Traffic, ports
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx

MAX_HEADS = 12
"""Most neighbours that a message lists."""


@dataclass(frozen=True, eq=False, repr=False)
class Topology(ABC):
    """A network of nodes, and perhaps switches, with directed links between these vertices.

    A new kind of topology has to define `ends` and `routes`. Everything else follows from these
    two; a class may override it where links differ from each other, or to compute it faster.

    Args:
        name: the name in tables and figures, such as ``torus:8x8``.
        torus: the dimensions of the schedules to run. Vertices 0 … torus.size - 1 are the nodes,
            one per rank, and the vertices from torus.size on are switches.
        rows: the network of each dimension, if the topology is a product of rows
            (`netsim.topologies.grid.Grid`); otherwise empty.
        first_router: delay of the sender's router, in units of the network's router latency.
        own_bandwidth: (nlinks,) bytes per second, or NaN for links with the network's bandwidth.
            None if all links have that.
        own_latency: (nlinks,) seconds, or NaN for links with the network's link latency. None if
            all links have that.
    """

    name: str
    torus: Torus
    rows: tuple[Row, ...] = field(default=(), kw_only=True)
    first_router: float = field(default=1.0, kw_only=True)
    own_bandwidth: np.ndarray | None = field(default=None, kw_only=True)
    own_latency: np.ndarray | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.size} nodes, {self.nlinks} links>"

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, which are all that is sent to another process."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

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
        """(nlinks, 2) the vertices that each link leaves and reaches."""

    @abstractmethod
    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """Return the routes from each src to its dst; a route from a node to itself has no links.

        Args:
            src: (m,) nodes.
            dst: (m,) nodes.
            ties: a rule of `netsim.topologies.ties.TIES`, for messages with two shortest routes.
            seed: seed of random ties.
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
        """(nlinks,) delay of the router at each link's end, in units of the router latency."""
        return np.ones(self.nlinks)

    @property
    def direction(self) -> Array:
        """(nlinks,) +1 towards higher coordinates, -1 towards lower, 0 for neither."""
        return np.zeros(self.nlinks, dtype=np.int64)

    @property
    def dim(self) -> Array:
        """(nlinks,) the dimension of every link, 0 for links that belong to none."""
        return np.zeros(self.nlinks, dtype=np.int64)

    @cached_property
    def port(self) -> Array:
        """(nlinks,) the order in which routers consider their links, by dimension first."""
        tail, head = self._ends_along()
        sides = np.array(self.dims)
        order: Array = self.dim * (1 + sides.max()) + ports(tail, head, sides[self.dim])
        return order

    @cached_property
    def dateline(self) -> np.ndarray:
        """(nlinks,) whether packets from a neighbour change their virtual channel onto the link.

        These are the links along a ring that leave its coordinate 0.
        """
        wraps = np.array([wrap for _, wrap in self.torus.sides])
        leaves: np.ndarray = self._ends_along()[0] == 0
        changes: np.ndarray = leaves & (self.direction != 0) & wraps[self.dim]
        return changes

    def _ends_along(self) -> Array:
        """(2, nlinks) the ends of every link: their coordinates along it, or more for a switch."""
        coords = np.stack(np.unravel_index(np.arange(self.size), self.dims))
        ends = self.ends.T
        nodes = np.minimum(ends, self.size - 1)
        return np.where(ends < self.size, coords[self.dim, nodes], self.size)

    @property
    def whole(self) -> Topology:
        """The topology before any link failed."""
        return self

    @property
    def remote(self) -> int:
        """A node that is far from some other node. The lower bound on latency starts there."""
        return 0

    @cached_property
    def most_ports(self) -> tuple[int, int]:
        """The most links out of any node, and the most into any node."""
        out, into = most_at_a_node(self.ends, self.size)
        return out, into

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """Return the (nlinks,) total weight of the messages on every link."""
        routes = self.routes(traffic.src, traffic.dst, ties, seed)
        weight = (routes.share * traffic.weight[routes.message])[routes.per_link()]
        load: np.ndarray = np.bincount(routes.links, weight, self.nlinks)
        return load

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """Return the (m, 3) `Path` of every message; all routes of a message are equally long."""
        routes = self.routes(src, dst, "split")
        first = np.searchsorted(routes.message, np.arange(len(src)))
        return routes.paths(self.wire, self.router)[first]

    def may_cross(self, traffic: Traffic, link: int) -> np.ndarray:
        """(m,) False for messages that do not cross a link, if that is known without routes."""
        return np.ones(len(traffic.src), dtype=bool)

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """Return the links as a networkx graph: nodes have ``coords``, edges have ``dim``."""
        # Imported here because it would add a third to the time that `import netsim` takes.
        import networkx as nx

        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=self.name)
        coords = np.stack(np.unravel_index(np.arange(self.size), self.dims), axis=1).tolist()
        graph.add_nodes_from((node, {"coords": tuple(at)}) for node, at in enumerate(coords))
        for (tail, head), dim in zip(self.ends.tolist(), self.dim.tolist(), strict=True):
            graph.add_edge(tail, head, dim=dim)
        return graph


def no_link(topology: Topology, pair: object) -> ValueError:
    """Return the error that says that a link does not exist, and where such links lead."""
    tail = pair[0] if isinstance(pair, tuple) and pair else None
    heads = sorted({head for start, head in topology.ends.tolist() if start == tail})
    links = ", ".join(map(str, heads[:MAX_HEADS])) + " …" * (len(heads) > MAX_HEADS)
    remedy = f"links from {tail} lead to {links}" if heads else "name two neighbours, as in (0, 1)"
    return ValueError(f"there is no link {link_name(pair)} in {topology.name}: {remedy}")


def most_at_a_node(ends: Array, size: int, weights: np.ndarray | None = None) -> tuple[Any, Any]:
    """The most links out of any node, and the most into any node.

    Args:
        ends: (nlinks, 2) the vertices that each link leaves and reaches.
        size: number of nodes; the vertices from there up are switches.
        weights: (nlinks,) what to add up instead of counting links.
    """
    out, into = (np.bincount(v, weights)[:size].max(initial=0).item() for v in ends.T)
    return out, into
