"""Shortest routes in a graph, counted in links: all of them, with the rules for ties of a torus.

A message may take any route with the fewest links. Where the ranks have coordinates, it crosses the
dimensions in order, as on a torus: at each vertex it takes no link along a higher dimension if one
along a lower dimension begins a shortest route too. The links that are left, parallel ones
included, tie. The rule for ties takes one of them, or all in equal shares (equal-cost multipath).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from netsim.checks import check_choice
from netsim.topologies.routes import Routes, Seed, count_up
from netsim.topologies.ties import TIES
from swing.checks import shown
from swing.torus import Array, Torus

MAX_ROUTES = 32
"""The most routes of one message. Where ties would make more, each route takes only some of the
links that tie, and others than its neighbours."""
_UNREACHED = np.iinfo(np.int16).max
_BLOCK = 2**12
"""Destinations that `distances` works on at a time, to bound its memory."""


@dataclass(frozen=True, eq=False)
class ShortestRoutes:
    """The routes with the fewest links between the nodes of a graph.

    Args:
        ends: (nlinks, 2) the vertices that each link leaves and reaches.
        torus: the coordinates of the nodes. Vertices from torus.size on are switches.
    """

    ends: Array
    torus: Torus

    @cached_property
    def distance(self) -> np.ndarray:
        """(vertices, p) number of links from each vertex to each node."""
        return distances(self.ends, self.torus.size)

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The routes from each src to its dst.

        Args:
            src: (m,) nodes.
            dst: (m,) nodes.
            ties: a rule of `netsim.topologies.ties.TIES`.
            seed: seed of random ties.
        """
        check_choice("ties", ties, TIES)
        rng = np.random.default_rng(seed)
        message, at, share = np.arange(len(src)), np.asarray(src), np.ones(len(src))
        hops: list[tuple[Array, Array]] = []
        while (self.distance[at, dst[message]] > 0).any():
            route, link = self._take(self._tied(at, dst[message]), message, at, ties, rng)
            share = (share / np.bincount(route))[route]
            message = message[route]
            at = np.where(link < 0, at[route], self.ends[link, 1])
            hops.append((route, link))
        length: Array = self.distance[src, dst][message].astype(np.int64)
        ptr = np.append(0, np.cumsum(length))
        links = np.empty(ptr[-1], dtype=np.int64)
        route = np.arange(len(message))
        for hop in reversed(range(len(hops))):  # from the ends of the routes back to their starts
            before, link = hops[hop]
            moves = link[route] >= 0
            links[ptr[:-1][moves] + hop] = link[route[moves]]
            route = before[route]
        return Routes(message, share, ptr, links)

    def _tied(self, at: Array, dst: Array) -> tuple[Array, Array]:
        """The links that tie as the next ones of routes that have come ``at`` a vertex.

        Returns:
            For each link the number of the route, ascending, and its own number. A route that has
            arrived gets -1 instead of links.
        """
        table, left = self._links, self.distance[at, dst]
        degree = np.diff(table.ptr)[at]
        route = np.repeat(np.arange(len(at)), degree)
        link = table.leaving[np.repeat(table.ptr[at], degree) + count_up(degree)]
        nearer = self.distance[self.ends[link, 1], dst[route]] < left[route]
        route, link = route[nearer], link[nearer]
        dim, ndim = table.dim[link], len(self.torus.dims)
        lowest = np.full(len(at), ndim)
        np.minimum.at(lowest, route, dim)
        tied = (dim == lowest[route]) | (dim == ndim)
        arrived = np.flatnonzero(left == 0)
        route = np.append(route[tied], arrived)
        order = np.argsort(route, kind="stable")
        return route[order], np.append(link[tied], np.full_like(arrived, -1))[order]

    def _take(
        self, tied: tuple[Array, Array], message: Array, at: Array, ties: str,
        rng: np.random.Generator,
    ) -> tuple[Array, Array]:  # fmt: skip
        """The links that routes take of those that `_tied` has found, in its form.

        Args:
            tied: the links.
            message: (r,) the message of each route, ascending.
            at: (r,) the vertex that each route has come to.
            ties: the rule for ties.
            rng: draws links at random.
        """
        route, link = tied
        count = np.bincount(route)
        dim = self._links.dim[link[np.cumsum(count) - count]]
        x = self._links.coords[dim, at]
        limit = np.ones_like(x)
        if ties == "positive":
            first = np.zeros_like(x)
        elif ties == "simgrid":
            first = (2 * x == self._links.dims[dim]).astype(np.int64)
        elif ties == "random":
            first = rng.integers(0, count)
        else:
            limit = np.maximum(MAX_ROUTES // np.bincount(message), 1)[message]
            number = np.arange(len(message)) - np.searchsorted(message, message)
            # The packet model gives an odd packet to the first route. Neighbours begin with
            # different links, so that such packets load all links alike.
            first = np.where(limit < count, x + number, x)
        position = (count_up(count) - first[route]) % count[route]
        taken = position < limit[route]
        order = np.lexsort((position[taken], route[taken]))
        return route[taken][order], link[taken][order]

    @cached_property
    def _links(self) -> _LinkTable:
        return _link_table(self.ends, self.torus)


class _LinkTable(NamedTuple):
    """The links by the vertex that they leave, and the dimensions along which they go.

    Args:
        ptr: (vertices + 1,) vertex v has the links leaving[ptr[v]] … leaving[ptr[v + 1] - 1].
        leaving: (nlinks,) links; out of one vertex along lower dimensions first, and in a dimension
            those that go up by fewer coordinates first, with wraparound.
        dim: (nlinks,) the only dimension in which the ranks at the ends of a link differ, where a
            switch stands for all ranks next to it; ndim, the number of dimensions, if there is no
            such dimension.
        coords: (ndim + 1, vertices) coordinates of the nodes. Switches, and in the last row all
            vertices, have their number instead.
        dims: (ndim + 1,) the size of each dimension, then 1.
    """

    ptr: Array
    leaving: Array
    dim: Array
    coords: Array
    dims: Array


def _link_table(ends: Array, torus: Torus) -> _LinkTable:
    size, ndim, vertices = torus.size, len(torus.dims), _vertices(ends, torus.size)
    tails, heads = ends.T
    dims = np.array([*torus.dims, 1])
    coords = np.tile(np.arange(vertices), (ndim + 1, 1))
    coords[:ndim, :size] = np.unravel_index(np.arange(size), torus.dims)
    # The lowest and highest coordinates of the ranks at a vertex; a switch begins without ranks.
    low, high = coords[:ndim].copy(), coords[:ndim].copy()
    low[:, size:], high[:, size:] = size, -1
    for vertex, rank in ((tails, heads), (heads, tails)):
        beside = (vertex >= size) & (rank < size)
        for j in range(ndim):
            np.minimum.at(low[j], vertex[beside], coords[j, rank[beside]])
            np.maximum.at(high[j], vertex[beside], coords[j, rank[beside]])
    differs = np.maximum(high[:, tails], high[:, heads]) > np.minimum(low[:, tails], low[:, heads])
    no_ranks = np.any(high < low, axis=0)
    differs |= no_ranks[tails] | no_ranks[heads]
    dim = np.where(differs.sum(axis=0) == 1, differs.argmax(axis=0), ndim)
    up = (coords[dim, heads] - coords[dim, tails]) % dims[dim]
    leaving = np.lexsort((up, dim, tails))
    ptr = np.append(0, np.cumsum(np.bincount(tails, minlength=vertices)))
    return _LinkTable(ptr, leaving, dim, coords, dims)


def check_connected(ends: Array, nodes: Sequence[Hashable]) -> None:
    """Check that every node can reach every other one.

    Args:
        ends: (nlinks, 2) the vertices that each link leaves and reaches.
        nodes: names of the nodes, for the message; vertices from len(nodes) on are switches.

    Raises:
        ValueError: a node cannot reach another one.
    """
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph(ends.tolist())
    graph.add_nodes_from(range(len(nodes)))
    onward, back = nx.descendants(graph, 0), nx.ancestors(graph, 0)
    for node in range(1, len(nodes)):
        for reached, a, b in ((onward, 0, node), (back, node, 0)):
            if node not in reached:
                raise ValueError(
                    f"node {shown(nodes[b])} cannot be reached from node {shown(nodes[a])}: "
                    "leave links from every node to every other"
                )


def _vertices(ends: Array, size: int) -> int:
    return max(size, 1 + int(ends.max(initial=-1)))


def distances(ends: Array, size: int) -> np.ndarray:
    """(vertices, size) the number of links from each vertex to each node.

    The vertices from which a node is at most k + 1 links away are those from which it is at most k
    away, and the tails of links that lead to them. The nodes that a vertex reaches are bits of its
    row, so that one operation serves many nodes.

    Args:
        ends: (nlinks, 2) the vertices that each link leaves and reaches.
        size: number of nodes; the vertices from there up are switches.

    Raises:
        ValueError: a shortest route has more links than 16 bits count.
    """
    vertices = _vertices(ends, size)
    (tails, heads), degree = ends.T, np.bincount(ends[:, 0], minlength=vertices)
    leaving, first = np.argsort(tails, kind="stable"), np.cumsum(degree) - degree
    # The n-th link of every vertex that has so many: the vertices, and the heads of these links.
    nth_links = []
    for n in range(degree.max(initial=0)):
        vertex = np.flatnonzero(degree > n)
        nth_links.append((vertex, heads[leaving[first[vertex] + n]]))
    distance = np.full((vertices, size), _UNREACHED, dtype=np.int16)
    for start in range(0, size, _BLOCK):
        nodes = np.arange(start, min(start + _BLOCK, size))
        reached = np.zeros((vertices, -(-len(nodes) // 64)), dtype=np.uint64)
        bit = nodes - start
        reached[nodes, bit // 64] = np.uint64(1) << (bit % 64).astype(np.uint64)
        distance[nodes, nodes] = links = 0
        while len(nodes):
            links += 1
            wider = reached.copy()
            for vertex, head in nth_links:
                wider[vertex] |= reached[head]
            added = wider ^ reached
            words = np.flatnonzero(added)
            if links >= _UNREACHED and len(words):
                raise ValueError(f"a shortest route has more than {_UNREACHED - 1} links: too many")
            word, bit = np.nonzero(np.unpackbits(
                added.ravel()[words, None].view(np.uint8), axis=1, bitorder="little"
            ))  # fmt: skip
            vertex, column = np.divmod(words[word], added.shape[1])
            nodes = start + 64 * column + bit
            distance[vertex, nodes] = links
            reached = wider
    return distance
