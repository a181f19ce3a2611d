"""Torus and mesh: every node has a link in each direction of each dimension.

In a dimension of two nodes both neighbours are the same node, and the two links to it both exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Traffic
from netsim.topologies.ties import forward
from swing.ring import distance, ring_load
from swing.torus import Array, Torus


def torus(shape: Torus) -> Grid:
    """A torus; dimensions that do not wrap are those of a mesh."""
    return Grid(shape.name, shape, rows=tuple(Ring(d, wrap) for d, wrap in shape.sides))


@dataclass(frozen=True)
class Ring:
    """A ring of d nodes, or a row without wraparound.

    Upward links come first, ordered by the node that they leave, then as many downward links. The
    downward ones are ordered by the node they leave on a ring, and by the node they reach on a row
    without wraparound.

    Args:
        d: number of nodes.
        wrap: whether the last node has links to the first and back.
    """

    d: int
    wrap: bool

    @property
    def _per_direction(self) -> int:
        return 0 if self.d == 1 else self.d if self.wrap else self.d - 1

    @cached_property
    def ends(self) -> Array:
        """(nlinks, 2) the nodes that each link leaves and reaches."""
        up = np.arange(self._per_direction)
        pair = np.stack([up, (up + 1) % self.d], axis=1)
        down = pair[:, ::-1] if not self.wrap else np.roll(pair[:, ::-1], 1, axis=0)
        return np.concatenate([pair, down])

    @cached_property
    def direction(self) -> Array:
        """(nlinks,) +1 for the upward links, then -1 for the downward ones."""
        return np.repeat([1, -1], self._per_direction)

    @cached_property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, 1 in units of the network's link latency."""
        return np.ones(2 * self._per_direction)

    @property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router that each link leads to, 1 in units of the network's."""
        return self.wire

    def path(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message: as many wires and routers as links."""
        return np.repeat(distance(self.d, self.wrap, src, dst)[:, None], 3, axis=1)

    def tie_share(self, ties: str) -> np.ndarray:
        """(d,) the fraction of a message from each node that goes up, to one half a ring away.

        Nothing else is left to say about the routes; 0 where no node is half a ring away.
        """
        nodes = np.arange(self.d)
        if not self.wrap or self.d % 2:
            return np.zeros(self.d)
        opposite = (nodes + self.d // 2) % self.d
        return forward(self.d, True, nodes, opposite, ties, np.random.default_rng(0))

    def load(self, n: int, row: Array, traffic: Traffic, ties: str, seed: Seed) -> np.ndarray:
        """(n, nlinks) the weight on the links of n equal rows; ``row`` (m,) is each message's."""
        loads = []
        for first, hops, share in self._sides(traffic.src, traffic.dst, ties, seed):
            at, weight = row * (2 * self.d) + first, traffic.weight * share
            changes = np.bincount(at, weight, 2 * self.d * n)
            changes -= np.bincount(at + hops, weight, 2 * self.d * n)
            loads.append(ring_load(changes.reshape(n, 2 * self.d))[:, : self._per_direction])
        # Rounding may leave a tiny negative number where the loads cancel.
        return np.maximum(np.concatenate(loads, axis=1), 0)

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed) -> Routes:
        """The routes of every message: two for a tie that is split or adaptive, else one."""
        sides = list(self._sides(src, dst, ties, seed))
        message = np.concatenate([np.flatnonzero(share > 0) for _, _, share in sides])
        side = np.repeat([0, 1], [np.count_nonzero(share > 0) for _, _, share in sides])
        # The packet model gives an odd packet to the first route. Nodes alternate in which
        # direction comes first, so that such packets load both directions alike.
        order = np.lexsort(((side + src[message]) % 2, message))
        side = side[order]
        first, hops, share = (
            np.concatenate([column[k][column[2] > 0] for column in sides])[order] for k in range(3)
        )
        ptr = np.append(0, np.cumsum(hops))
        along = np.arange(ptr[-1]) - np.repeat(ptr[:-1], hops)
        # Of a downward message `first` is the lowest link, which it crosses last.
        step = np.where(np.repeat(side, hops) == 0, along, np.repeat(hops, hops) - 1 - along)
        links = (np.repeat(first, hops) + step) % self.d
        links += np.repeat(side, hops) * self._per_direction
        return Routes(message[order], share, ptr, links)

    def _sides(
        self, src: Array, dst: Array, ties: str, seed: Seed
    ) -> Iterator[tuple[Array, Array, np.ndarray]]:
        """For upward, then downward traffic: lowest link crossed, number of links, share.

        The link is counted within its direction, and ``share`` is the fraction of each message
        that goes in this direction. The class describes the order of the downward links.
        """
        rng = np.random.default_rng(seed)
        share = forward(self.d, self.wrap, src, dst, ties, rng)
        yield src, (dst - src) % self.d, share
        low = (dst + 1) % self.d if self.wrap else dst
        yield low, (src - dst) % self.d, 1 - share
