"""Topologies in which some links have failed; messages are routed around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netsim.topologies.routes import Routes, Seed
from netsim.topologies.shortest import ShortestRoutes, check_connected
from netsim.topologies.topology import Topology, no_link
from swing.checks import counted, expect
from swing.torus import Array


@dataclass(frozen=True, eq=False, repr=False)
class WithoutLinks(Topology):
    """A topology some of whose links have failed.

    A message whose routes avoid the failed links keeps them. If only some of the routes that tie
    for a message avoid them, these carry all of it, whatever the rule for ties. A message that has
    no such route takes those with the fewest links, see `netsim.topologies.shortest`.

    Args:
        before: the topology before these failures.
        kept: (nlinks,) the numbers that the remaining links have in ``before``, ascending; the
            rest is as in `Topology`.
    """

    before: Topology
    kept: Array

    @property
    def whole(self) -> Topology:
        """The topology before any link failed."""
        return self.before.whole

    @cached_property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches."""
        return self.before.ends[self.kept]

    @cached_property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, in units of the network's link latency."""
        return self.before.wire[self.kept]

    @cached_property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router that each link leads to, in units of the network's."""
        return self.before.router[self.kept]

    @property
    def direction(self) -> Array:
        """(nlinks,) direction of every link, as before."""
        return self.before.direction[self.kept]

    @property
    def dim(self) -> Array:
        """(nlinks,) dimension of every link, as before."""
        return self.before.dim[self.kept]

    @property
    def remote(self) -> int:
        """The node that was far from some other node before."""
        return self.before.remote

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The routes from each src to its dst that avoid the failed links."""
        number = np.full(self.before.nlinks, -1)
        number[self.kept] = np.arange(len(self.kept))
        found = self._surviving(self.before.routes(src, dst, ties, seed), number)
        lost = np.flatnonzero(np.bincount(found.message, found.share, len(src)) < 1 - 1e-9)
        if not len(lost):
            return found
        # Whatever the rule for ties, all routes that tie and survive share the message.
        others = self._surviving(self.before.routes(src[lost], dst[lost], "split", seed), number)
        share = np.bincount(others.message, others.share, len(lost))
        cut = lost[share == 0]
        detours = self._shortest.routes(src[cut], dst[cut], ties, seed)
        parts = [
            found.select(np.flatnonzero(~np.isin(found.message, lost))),
            others._replace(
                message=lost[others.message], share=others.share / share[others.message]
            ),
            detours._replace(message=cut[detours.message]),
        ]
        routes = Routes.concatenate(parts)
        return routes.select(np.argsort(routes.message, kind="stable"))

    def _surviving(self, routes: Routes, number: Array) -> Routes:
        """The routes without failed links; ``number`` (before.nlinks,) is -1 for failed links."""
        links = number[routes.links]
        broken = np.bincount(routes.per_link(), links < 0, len(routes.share)) > 0
        return routes._replace(links=links).select(np.flatnonzero(~broken))

    @cached_property
    def _shortest(self) -> ShortestRoutes:
        return ShortestRoutes(self.ends, self.torus)


def without(topology: Topology, failed: Iterable[tuple[int, int]]) -> Topology:
    """A topology without its failed links; messages that used them are routed around them.

    The other links keep their bandwidths and latencies, and all routes that use only them stay.

    Args:
        topology: the topology before the failures.
        failed: (tail, head) of each failed link. Parallel links fail together; those in the other
            direction stay.

    Raises:
        ValueError: a link that does not exist, or nodes that cannot reach each other any more.
        TypeError: ``topology`` is not a topology, or ``failed`` is no list.
    """
    expect(topology, Topology, "a topology, such as netsim.topology('torus:8x8')")
    expect(failed, Iterable, "the failed links, such as [(0, 1)]")
    removed = {tuple(np.ravel(pair).tolist()) for pair in failed}
    if not removed:
        return topology
    pairs = list(map(tuple, topology.ends.tolist()))
    for pair in sorted(removed - set(pairs), key=str):
        raise no_link(topology, pair)
    kept = np.array([i for i, pair in enumerate(pairs) if pair not in removed], dtype=np.int64)
    check_connected(topology.ends[kept], range(topology.size))
    bandwidth, latency = (
        np.full(len(kept), np.nan) if own is None else own[kept]
        for own in (topology.own_bandwidth, topology.own_latency)
    )
    missing = topology.whole.nlinks - len(kept)
    name = f"{topology.whole.name} without {counted(missing, 'link')}"
    return WithoutLinks(
        name, topology.torus, topology, kept, first_router=topology.first_router,
        own_bandwidth=bandwidth, own_latency=latency,
    )  # fmt: skip


def failed_links(topology: Topology) -> tuple[tuple[int, int], ...]:
    """Return the (tail, head) of each link that has failed, ascending.

    >>> import netsim
    >>> failed_links(without(netsim.topology("torus:4"), [(1, 0), (0, 1)]))
    ((0, 1), (1, 0))
    """
    if topology.whole is topology:
        return ()
    before, after = (set(map(tuple, t.ends.tolist())) for t in (topology.whole, topology))
    return tuple(sorted(before - after))
