"""Arbitrary topologies: any networkx graph.

Messages take all routes with the fewest links, see `netsim.topologies.shortest`. The distances
between all pairs of nodes are listed, so this is for networks of some ten thousand nodes at most.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from netsim.checks import check_number, link_name
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.shortest import ShortestRoutes, check_connected
from netsim.topologies.topology import Topology
from swing.checks import expect, shown
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False, repr=False)
class GraphTopology(Topology):
    """A topology of any shape, with all shortest routes (fewest links) between every two nodes.

    Args:
        links: (nlinks, 2) the vertices that each link leaves and reaches.
        labels: (vertices) the nodes of the networkx graph: the ranks in order, then the switches.
            The rest is as in `Topology`.
    """

    links: Array
    labels: tuple[Hashable, ...]

    @property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches."""
        return self.links

    @cached_property
    def _shortest(self) -> ShortestRoutes:
        return ShortestRoutes(self.links, self.torus)

    @cached_property
    def remote(self) -> int:
        """The first of two nodes with the most links between them."""
        return int(self._shortest.distance[: self.size].argmax()) // self.size

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The routes from each src to its dst."""
        return self._shortest.routes(src, dst, ties, seed)

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message: as many wires and routers as links."""
        hops = self._shortest.distance[src, dst].astype(float)
        return np.repeat(hops[:, None], 3, axis=1)


def graph(
    links: nx.Graph[Any],
    dims: Sequence[int] | int | None = None,
    name: str = "graph",
    order: Sequence[Hashable] | None = None,
) -> GraphTopology:
    """Turn any networkx graph into a topology.

    If a rank has links to several switches, or there are parallel links, messages use all of those
    that begin shortest routes.

    Args:
        links: a directed graph, or an undirected one whose edges become two links each. Edges may
            have ``bandwidth`` (bytes/s) and ``latency`` (s). Nodes with ``switch=True`` hold no
            rank.
        dims: dimensions of the schedules to run on it, row-major over the ranks; None for one
            dimension.
        name: for tables and figures.
        order: the nodes that hold ranks, in the order of their ranks. By default, if they are the
            numbers 0 … p - 1, each is its own rank; otherwise ranks are numbered in the graph's own
            order (``list(links)``).

    Raises:
        ValueError: a node cannot reach another one, the number of nodes is not that of ``dims``,
            an edge has a bandwidth that is not above 0 or a negative latency, or ``order`` does not
            list every node that holds a rank once.
        TypeError: ``links`` is not a graph, or ``order`` is no list.

    >>> import netsim, networkx
    >>> ring = netsim.graph(networkx.cycle_graph("abcd"), order="acbd")
    >>> ring.labels, ring.paths([0, 0], [1, 2])[:, 0].tolist()
    (('a', 'c', 'b', 'd'), [2.0, 1.0])
    """
    # Imported here because networkx would add a third to the time that `import netsim` takes.
    import networkx as nx

    expect(links, nx.Graph, "a networkx graph")
    expect(order, (Iterable, type(None)), "as order a list of nodes")
    switches = [v for v in links if links.nodes[v].get("switch")]
    ranks = _in_order([v for v in links if not links.nodes[v].get("switch")], order)
    torus = Torus(len(ranks) if dims is None else dims)
    if torus.size != len(ranks):
        raise ValueError(f"the graph has {len(ranks)} nodes but {torus} has {torus.size}")
    for a, b, data in links.edges(data=True):
        for key in {"bandwidth", "latency"} & data.keys():
            what = f"{key} of the link {link_name((a, b))}"
            check_number(what, data[key], key == "bandwidth")
    labels = (*ranks, *switches)
    number = {v: i for i, v in enumerate(labels)}
    edges = [(number[a], number[b], data) for a, b, data in links.edges(data=True)]
    if not links.is_directed():
        edges += [(b, a, data) for a, b, data in edges]
    ends = np.array([(a, b) for a, b, _ in edges], dtype=np.int64).reshape(-1, 2)
    check_connected(ends, ranks)
    bandwidth = np.array([data.get("bandwidth", np.nan) for _, _, data in edges])
    latency = np.array([data.get("latency", np.nan) for _, _, data in edges])
    return GraphTopology(name, torus, ends, labels, own_bandwidth=bandwidth, own_latency=latency)


def _in_order(ranks: list[Hashable], order: Sequence[Hashable] | None) -> list[Hashable]:
    """The nodes that hold ranks, in the order of their ranks."""
    if order is not None:
        chosen = list(order)
        try:
            each_once = len(chosen) == len(ranks) and set(chosen) == set(ranks)
        except TypeError:  # what cannot be hashed, such as a list, is no node of a graph
            each_once = False
        if not each_once:
            raise ValueError(
                f"order must list each of the {len(ranks)} nodes that hold a rank once, "
                f"not {shown(order)}"
            )
        return chosen
    numbers = list(range(len(ranks)))
    are_ranks = all(type(v) is int for v in ranks) and set(ranks) == set(numbers)
    return [*numbers] if are_ranks else ranks
