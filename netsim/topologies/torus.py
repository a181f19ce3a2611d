"""Torus and mesh: a link to each neighbour in both directions along every dimension.

The two links between the nodes of a ring of two are both there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.routes import Seed, Ways
from netsim.topologies.row import Traffic
from netsim.topologies.ties import distance, forward
from swing.torus import Array, Torus


def torus(where: Torus) -> Grid:
    """A torus, or a mesh in the dimensions that do not wrap."""
    rings = tuple(Ring(d, wrap) for d, wrap in zip(where.dims, where.wrap, strict=True))
    return Grid(where.name.partition(":")[0], where, rings)


@dataclass(frozen=True)
class Ring:
    """A ring, or a row without the link that closes it.

    Links 0, 1, … leave each node for the next, then as many leave each node for the one before.
    """

    d: int
    wrap: bool

    @property
    def _each_way(self) -> int:
        return 0 if self.d == 1 else self.d if self.wrap else self.d - 1

    @cached_property
    def ends(self) -> Array:
        """(nlinks, 2) the nodes a link leaves and reaches."""
        up = np.arange(self._each_way)
        pair = np.stack([up, (up + 1) % self.d], axis=1)
        down = pair[:, ::-1] if not self.wrap else np.roll(pair[:, ::-1], 1, axis=0)
        return np.concatenate([pair, down])

    @cached_property
    def way(self) -> Array:
        """(nlinks,) +1, then -1."""
        return np.repeat([1, -1], self._each_way)

    @cached_property
    def wire(self) -> np.ndarray:
        """(nlinks,) all alike."""
        return np.ones(2 * self._each_way)

    @property
    def router(self) -> np.ndarray:
        """(nlinks,) all alike."""
        return self.wire

    def path(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) as many wires and routers as links."""
        return np.repeat(distance(self.d, self.wrap, src, dst)[:, None], 3, axis=1)

    def load(self, n: int, row: Array, traffic: Traffic, ties: str, seed: Seed) -> np.ndarray:
        """(n, nlinks) from where messages begin and end, on a ring cut open and laid out twice."""
        carried = []
        for first, hops, share in self._sides(traffic.src, traffic.dst, ties, seed):
            at = row * (2 * self.d) + first
            weight = traffic.weight * share
            ends = np.bincount(at, weight, 2 * self.d * n)
            ends -= np.bincount(at + hops, weight, 2 * self.d * n)
            sums = np.cumsum(ends.reshape(n, 2 * self.d), axis=1)
            carried.append((sums[:, : self.d] + sums[:, self.d :])[:, : self._each_way])
        return np.maximum(np.concatenate(carried, axis=1), 0)

    def ways(self, src: Array, dst: Array, ties: str, seed: Seed) -> Ways:
        """The links of every message; two ways for a tie that is split or left open."""
        sides = list(self._sides(src, dst, ties, seed))
        message = np.concatenate([np.flatnonzero(share > 0) for _, _, share in sides])
        side = np.repeat([0, 1], [np.count_nonzero(share > 0) for _, _, share in sides])
        # The first way gets a packet that there is only one of: upwards from every other node.
        order = np.lexsort(((side + src[message]) % 2, message))
        side = side[order]
        first, hops, share = (
            np.concatenate([way[k][way[2] > 0] for way in sides])[order] for k in range(3)
        )
        ptr = np.append(0, np.cumsum(hops))
        along = np.arange(ptr[-1]) - np.repeat(ptr[:-1], hops)
        # Downwards, the i-th link on the way is the last but i of those that are passed.
        step = np.where(np.repeat(side, hops) == 0, along, np.repeat(hops, hops) - 1 - along)
        links = (np.repeat(first, hops) + step) % self.d + np.repeat(side, hops) * self._each_way
        return Ways(message[order], share, ptr, links)

    def _sides(
        self, src: Array, dst: Array, ties: str, seed: Seed
    ) -> Iterator[tuple[Array, Array, np.ndarray]]:
        """Up and down: the first of the links passed, how many, the share that takes this side.

        Links downwards are numbered by the node they reach where the row is open, by the node
        they leave where it is closed.
        """
        rng = np.random.default_rng(seed)
        share = forward(self.d, self.wrap, src, dst, ties, rng)
        yield src, (dst - src) % self.d, share
        low = (dst + 1) % self.d if self.wrap else dst
        yield low, (src - dst) % self.d, 1 - share
