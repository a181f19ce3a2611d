"""Arbitrary topologies: any networkx graph.

Messages take one shortest path, counted in links. All p² routes are listed, so this is for
networks of a few thousand nodes at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netsim.checks import check_number
from netsim.topologies.lookup import LookupTable
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.topology import Topology
from swing.checks import expect
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class GraphTopology(Topology):
    """A topology of any shape, with one shortest route (fewest links) between every two nodes.

    Args:
        table: links and routes; the rest is as in `Topology`.
    """

    table: LookupTable

    @property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches."""
        return self.table.ends

    @property
    def remote(self) -> int:
        """The first of two nodes with the most links between them."""
        return int(self.table.all_paths[:, 0].argmax()) // self.size

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
        TypeError: ``links`` is not a graph.
    """
    # Imported here because networkx would add a third to the time that `import netsim` takes.
    import networkx as nx

    from netsim.topologies.shortest import ShortestRoutes

    expect(links, nx.Graph, "a networkx graph")
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
    ends = [(a, b) for a, b, _ in edges]
    shortest = ShortestRoutes(ends, size)
    links_between: list[list[int]] = []
    for src in range(size):
        routes = shortest.links_from(src)
        for dst in range(size):
            if dst not in routes:
                raise ValueError(f"node {order[dst]} cannot be reached from node {order[src]}")
            links_between.append(routes[dst])
    ones = np.ones(len(edges))
    bandwidth = np.array([data.get("bandwidth", np.nan) for _, _, data in edges])
    latency = np.array([data.get("latency", np.nan) for _, _, data in edges])
    pairs = np.array(ends, dtype=np.int64).reshape(-1, 2)
    table = LookupTable(size, pairs, links_between, ones, ones)
    return GraphTopology(name, torus, table, own_bandwidth=bandwidth, own_latency=latency)
