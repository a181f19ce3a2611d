"""Topologies in which some links have failed; messages are routed around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from netsim.topologies.graph import GraphTopology
from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Path, Traffic
from swing.torus import Array

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class WithoutLinks(GraphTopology):
    """A topology some of whose links have failed.

    A message whose routes avoid the failed links keeps them. If only some of the routes that tie
    for a message avoid them, these carry all of it, whatever the rule for ties. A message that has
    no such route takes one with the fewest links.

    Args:
        whole: the topology before the failures.
        kept: (nlinks,) the numbers that the remaining links have in ``whole``, ascending.
    """

    whole: Grid | GraphTopology
    kept: Array

    @property
    def first_router(self) -> float:
        """Delay of the sender's router, in units of the network's router latency."""
        return self.whole.first_router

    @property
    def direction(self) -> Array:
        """(nlinks,) direction of every link, as in the whole topology."""
        return self.whole.direction[self.kept]

    @property
    def dim(self) -> Array:
        """(nlinks,) dimension of every link, as in the whole topology."""
        return self.whole.dim[self.kept]

    @cached_property
    def diameter(self) -> Path:
        """The largest hops, wire and routers of any `Path`, each over all pairs of nodes."""
        nodes = np.arange(self.size)
        hops, wire, routers = self.paths(
            np.repeat(nodes, self.size), np.tile(nodes, self.size)
        ).max(axis=0)
        return Path(int(hops), float(wire), float(routers))

    @property
    def farthest(self) -> tuple[int, int]:
        """Node 0 and a node that is the most links away from it."""
        distance = self._links_from(0)
        return 0, max(range(self.size), key=lambda node: len(distance[node]))

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The routes from each src to its dst that avoid the failed links."""
        number = np.full(self.whole.nlinks, -1)
        number[self.kept] = np.arange(len(self.kept))
        found = self._surviving(self.whole.routes(src, dst, ties, seed), number)
        lost = np.flatnonzero(np.bincount(found.message, found.share, len(src)) < 1 - 1e-9)
        if not len(lost):
            return found
        # Whatever the rule for ties, all routes that tie and survive share the message.
        others = self._surviving(self.whole.routes(src[lost], dst[lost], "split", seed), number)
        share = np.bincount(others.message, others.share, len(lost))
        cut = np.flatnonzero(share == 0)
        links = [self._links_from(int(src[i]))[int(dst[i])] for i in lost[cut]]
        hops = np.array([len(detour) for detour in links], dtype=np.int64)
        detours = Routes.single(hops, np.array([n for d in links for n in d], dtype=np.int64))
        parts = [
            _only(found, ~np.isin(found.message, lost)),
            others._replace(
                message=lost[others.message], share=others.share / share[others.message]
            ),
            detours._replace(message=lost[cut]),
        ]
        return _ordered(parts)

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
        route = routes.per_link()
        values = (np.ones(self.nlinks), self.wire, self.router)
        sums = [np.bincount(route, v[routes.links], len(routes.share)) for v in values]
        return np.stack(sums, axis=1)[first]

    def _surviving(self, routes: Routes, number: Array) -> Routes:
        """The routes without failed links; ``number`` (whole.nlinks,) is -1 for failed links."""
        links = number[routes.links]
        broken = np.bincount(routes.per_link(), links < 0, len(routes.share)) > 0
        return _only(routes._replace(links=links), ~broken)

    def _links_from(self, src: int) -> list[list[int]]:
        """The links of one shortest route from a node to each node, in order."""
        if src not in self._known:
            import networkx as nx

            paths = nx.single_source_shortest_path(self._graph, src)
            first = self._first
            self._known[src] = [
                [first[pair] for pair in pairwise(paths[dst])] for dst in range(self.size)
            ]
        return self._known[src]

    @cached_property
    def _known(self) -> dict[int, list[list[int]]]:
        return {}

    @cached_property
    def _first(self) -> dict[tuple[int, int], int]:
        """The number of the first link from one vertex to another, by (tail, head)."""
        return {(a, b): i for i, (a, b) in reversed(list(enumerate(self.ends.tolist())))}

    @cached_property
    def _graph(self) -> nx.DiGraph[int]:
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph(list(self._first))
        graph.add_nodes_from(range(self.size))
        return graph


def _only(routes: Routes, keep: np.ndarray) -> Routes:
    """Some of the routes; messages keep their numbers."""
    hops = np.diff(routes.ptr)
    return Routes(
        routes.message[keep], routes.share[keep], np.append(0, np.cumsum(hops[keep])),
        routes.links[np.repeat(keep, hops)],
    )  # fmt: skip


def _ordered(tables: list[Routes]) -> Routes:
    """The routes of several tables, ordered by message."""
    message = np.concatenate([t.message for t in tables])
    hops = np.concatenate([np.diff(t.ptr) for t in tables])
    order = np.argsort(message, kind="stable")
    joined = Routes(
        np.arange(len(message)),
        np.concatenate([t.share for t in tables]),
        np.append(0, np.cumsum(hops)),
        np.concatenate([t.links for t in tables]),
    ).take(order)
    return joined._replace(message=message[order])


def without(
    topology: Grid | GraphTopology, failed: Iterable[tuple[int, int]]
) -> Grid | GraphTopology:
    """A topology without its failed links; messages that used them are routed around them.

    The other links keep their bandwidths and latencies, and all routes that use only them stay.

    Args:
        topology: the topology before the failures.
        failed: (tail, head) of each failed link. Parallel links fail together; those in the other
            direction stay.

    Raises:
        ValueError: a link that does not exist, or nodes that cannot reach each other any more.
    """
    import networkx as nx

    removed = {tuple(np.ravel(pair).tolist()) for pair in failed}
    if not removed:
        return topology
    pairs = list(map(tuple, topology.ends.tolist()))
    for pair in removed - set(pairs):
        raise ValueError(f"there is no link {'→'.join(map(str, pair))} in {topology.name}")
    kept = np.array([i for i, pair in enumerate(pairs) if pair not in removed], dtype=np.int64)
    graph: nx.DiGraph[int] = nx.DiGraph([pairs[i] for i in kept])
    graph.add_nodes_from(range(topology.size))
    onward, back = nx.descendants(graph, 0), nx.ancestors(graph, 0)
    for node in range(1, topology.size):
        if node not in onward:
            raise ValueError(f"node {node} cannot be reached from node 0")
        if node not in back:
            raise ValueError(f"node 0 cannot be reached from node {node}")
    bandwidth, latency = (
        getattr(topology, name)[kept]
        if isinstance(topology, GraphTopology)
        else np.full(len(kept), np.nan)
        for name in ("bandwidth", "latency")
    )
    ends, wire, router = (v[kept] for v in (topology.ends, topology.wire, topology.router))
    table = LookupTable(topology.size, ends, (), wire, router)
    name = f"{topology.name} without {len(removed)} link{'s' * (len(removed) > 1)}"
    return WithoutLinks(name, topology.torus, table, bandwidth, latency, topology, kept)
