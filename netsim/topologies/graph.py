"""Graph: any networkx graph as a topology; and a topology with links taken out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from netsim.checks import check_number
from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from netsim.topologies.routes import Seed, Ways
from netsim.topologies.row import Path, Traffic
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class GraphTopology:
    """Links of any shape, one shortest way (fewest links) between any two nodes.

    Args:
        name: any.
        torus: the dimensions that schedules have; the first vertices are its nodes.
        table: links and ways.
        bandwidth: (nlinks,) bytes per second, NaN where it is the network's.
        latency: (nlinks,) seconds, NaN where it is the network's.
    """

    name: str
    torus: Torus
    table: LookupTable
    bandwidth: np.ndarray
    latency: np.ndarray

    @property
    def dims(self) -> tuple[int, ...]:
        """Nodes along each dimension."""
        return self.torus.dims

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.torus.size

    @property
    def first_router(self) -> float:
        """Delay of the router at the sender, in units of the network's."""
        return 1.0

    @property
    def ndim(self) -> int:
        """D: dimensions longer than 1."""
        return len(self.torus.active)

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        return len(self.ends)

    @property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices every link leaves and reaches."""
        return self.table.ends

    @property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, in units of the network's."""
        return self.table.wire

    @property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router every link leads to."""
        return self.table.router

    @property
    def way(self) -> Array:
        """(nlinks,) no direction."""
        return self.table.way

    @property
    def dim(self) -> Array:
        """(nlinks,) no dimension: 0."""
        return self.table.way

    @cached_property
    def least_ports(self) -> int:
        """Links that leave the node that has the fewest."""
        return int(np.bincount(self.ends[:, 0], minlength=self.size)[: self.size].min())

    @cached_property
    def diameter(self) -> Path:
        """What the two nodes that are farthest apart have between them."""
        far = self.table._paths.max(axis=0)
        return Path(int(far[0]), float(far[1]), float(far[2]))

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """(nlinks,) the weight every link carries."""
        zero = np.zeros_like(traffic.src)
        (carried,) = self.table.load(1, zero, traffic, ties, seed)
        return np.asarray(carried)

    def ways(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Ways:
        """The links between nodes."""
        return self.table.ways(src, dst, ties, seed)

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
        return self.table.path(src, dst)


def graph(
    links: nx.Graph[Any], dims: Sequence[int] | int | None = None, name: str = "graph"
) -> GraphTopology:
    """Any networkx graph as a topology.

    Args:
        links: directed, or each edge both ways. Edges may have ``bandwidth`` (bytes/s) and
            ``latency`` (s); nodes that have ``switch=True`` hold no rank.
        dims: of the schedules to run on it, row-major over the nodes in order; one dimension
            if None.
        name: for tables and figures.

    Raises:
        ValueError: nodes that cannot reach each other, another number of nodes than ``dims``, an
            edge whose bandwidth is not above 0 or whose latency is negative.
    """
    import networkx as nx

    order = sorted(links, key=lambda v: bool(links.nodes[v].get("switch")))
    size = sum(not links.nodes[v].get("switch") for v in order)
    torus = Torus(size if dims is None else dims)
    if torus.size != size:
        raise ValueError(f"the graph has {size} nodes but {torus} has {torus.size}")
    for a, b, data in links.edges(data=True):
        for key in {"bandwidth", "latency"} & data.keys():
            check_number(f"{key} of the link {a}→{b}", data[key], key == "bandwidth")
    number = {v: i for i, v in enumerate(order)}
    edges = [(number[a], number[b], data) for a, b, data in links.edges(data=True)]
    if not links.is_directed():
        edges += [(b, a, data) for a, b, data in edges]
    first = {(a, b): i for i, (a, b, _) in reversed(list(enumerate(edges)))}
    plain: nx.DiGraph[int] = nx.DiGraph(list(first))
    plain.add_nodes_from(range(size))
    routes: list[list[int]] = []
    for src in range(size):
        found = nx.single_source_shortest_path(plain, src)
        for dst in range(size):
            if dst not in found:
                raise ValueError(f"node {order[dst]} cannot be reached from node {order[src]}")
            way = found[dst]
            routes.append([first[pair] for pair in pairwise(way)])
    ends = np.array([(a, b) for a, b, _ in edges], dtype=np.int64).reshape(-1, 2)
    ones = np.ones(len(edges))
    given = [[data.get(key, np.nan) for _, _, data in edges] for key in ("bandwidth", "latency")]
    return GraphTopology(
        name, torus, LookupTable(size, ends, routes, ones, ones), *map(np.array, given)
    )


def without(topology: Grid | GraphTopology, failed: Iterable[tuple[int, int]]) -> GraphTopology:
    """A topology without the links from one node to another; messages go round them.

    Raises:
        ValueError: there is no such link, or nodes that are cut off.
    """
    import networkx as nx

    gone = {tuple(np.ravel(pair).tolist()) for pair in failed}
    for pair in gone - set(map(tuple, topology.ends.tolist())):
        raise ValueError(f"there is no link {'→'.join(map(str, pair))} in {topology.name}")
    rest: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    rest.add_nodes_from(range(topology.size))
    rest.add_nodes_from(range(topology.size, 1 + int(topology.ends.max())), switch=True)
    rest.add_edges_from(pair for pair in map(tuple, topology.ends.tolist()) if pair not in gone)
    return graph(rest, topology.dims, f"{topology.name} without {len(gone)} links")
