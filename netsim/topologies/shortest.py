"""Shortest routes in a graph, counted in links: one from each vertex to each other one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import networkx as nx


class ShortestRoutes:
    """One route with the fewest links between every two vertices.

    Args:
        ends: the vertices that each link leaves and reaches; of parallel links the first is used.
        size: number of nodes, which are there even if they have no links.
    """

    def __init__(self, ends: Iterable[Iterable[int]], size: int) -> None:
        # The reversed order makes the first of parallel links overwrite the others.
        self._number = {(a, b): i for i, (a, b) in reversed(list(enumerate(ends)))}
        self._graph: nx.DiGraph[int] = nx.DiGraph(list(self._number))
        self._graph.add_nodes_from(range(size))
        self._known: dict[int, dict[int, list[int]]] = {}

    def links_from(self, src: int) -> dict[int, list[int]]:
        """The links of the route from a vertex to each one that it reaches, in order."""
        if src not in self._known:
            paths = nx.single_source_shortest_path(self._graph, src)
            self._known[src] = {
                dst: [self._number[pair] for pair in pairwise(path)] for dst, path in paths.items()
            }
        return self._known[src]
