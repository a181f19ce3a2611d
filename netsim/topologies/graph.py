"""Arbitrary topologies: any networkx graph.

Messages take one shortest path, counted in links. All p² routes are listed, so this is for
networks of a few thousand nodes at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from netsim.checks import check_number
from netsim.topologies.lookup import LookupTable
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Path, Traffic
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class GraphTopology:
    """A topology of any shape, with one shortest route (fewest links) between every two nodes.

    Args:
        name: for tables and figures.
        torus: the dimensions of the schedules to run; vertices 0 … torus.size - 1 are its nodes.
        table: links and routes.
        bandwidth: (nlinks,) bytes per second; NaN means the network's bandwidth.
        latency: (nlinks,) seconds; NaN means the network's link latency.
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
        """Delay of the sender's router, in units of the network's router latency."""
        return 1.0

    @property
    def ndim(self) -> int:
        """D, the number of dimensions longer than 1."""
        return len(self.torus.active)

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        return len(self.ends)

    @property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches."""
        return self.table.ends

    @property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, in units of the network's link latency."""
        return self.table.wire

    @property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router that each link leads to, in units of the network's."""
        return self.table.router

    @property
    def direction(self) -> Array:
        """(nlinks,) 0: links have no direction along an axis."""
        return self.table.direction

    @property
    def dim(self) -> Array:
        """(nlinks,) 0: links belong to no dimension."""
        return np.zeros(self.nlinks, dtype=np.int64)

    @property
    def d(self) -> int:
        """Number of nodes, for code that treats the whole graph as one row."""
        return self.size

    @property
    def farthest(self) -> tuple[int, int]:
        """A pair of nodes with the most links between them."""
        return self.table.farthest

    @cached_property
    def diameter(self) -> Path:
        """The largest hops, wire and routers of any `Path`, each over all pairs of nodes."""
        hops, wire, routers = self.table.all_paths.max(axis=0).tolist()
        return Path(int(hops), wire, routers)

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """(nlinks,) the total weight of the messages on every link."""
        row = np.zeros_like(traffic.src)
        (weights,) = self.table.load(1, row, traffic, ties, seed)
        return np.asarray(weights)

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The route from each src to its dst."""
        return self.table.routes(src, dst, ties, seed)

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
        return self.table.path(src, dst)


def graph(
    links: nx.Graph[Any], dims: Sequence[int] | int | None = None, name: str = "graph"
) -> GraphTopology:
    """Turn any networkx graph into a topology.

    Args:
        links: a directed graph, or an undirected one whose edges become two links each. Edges may
            have ``bandwidth`` (bytes/s) and ``latency`` (s). Nodes with ``switch=True`` hold no
            rank.
            If the labels of the others are the numbers 0 … p - 1, each is its rank; otherwise
            ranks are numbered in the graph's own order (``list(links)``).
        dims: dimensions of the schedules to run on it, row-major over the ranks; None for one
            dimension.
        name: for tables and figures.

    Raises:
        ValueError: a node cannot reach another one, the number of nodes is not that of ``dims``,
            or an edge has a bandwidth that is not above 0 or a negative latency.
    """
    import networkx as nx

    # The sort is stable: ranks keep the graph's order, and switches move behind them.
    order = sorted(links, key=lambda v: bool(links.nodes[v].get("switch")))
    ranks = [v for v in order if not links.nodes[v].get("switch")]
    if all(type(v) is int for v in ranks) and set(ranks) == set(range(len(ranks))):
        order[: len(ranks)] = range(len(ranks))  # labels that are ranks mean these ranks
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
    # Of parallel edges the routes use the first; the reversed order makes it overwrite the others.
    first = {(a, b): i for i, (a, b, _) in reversed(list(enumerate(edges)))}
    plain: nx.DiGraph[int] = nx.DiGraph(list(first))
    plain.add_nodes_from(range(size))
    links_between: list[list[int]] = []
    for src in range(size):
        paths = nx.single_source_shortest_path(plain, src)
        for dst in range(size):
            if dst not in paths:
                raise ValueError(f"node {order[dst]} cannot be reached from node {order[src]}")
            links_between.append([first[pair] for pair in pairwise(paths[dst])])
    ends = np.array([(a, b) for a, b, _ in edges], dtype=np.int64).reshape(-1, 2)
    ones = np.ones(len(edges))
    bandwidth = np.array([data.get("bandwidth", np.nan) for _, _, data in edges])
    latency = np.array([data.get("latency", np.nan) for _, _, data in edges])
    table = LookupTable(size, ends, links_between, ones, ones)
    return GraphTopology(name, torus, table, bandwidth, latency)
