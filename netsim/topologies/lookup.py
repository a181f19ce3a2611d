"""Table: a row, or a whole topology, whose ways are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netsim.topologies.routes import Seed, Ways
from netsim.topologies.row import Traffic
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Links, and for every pair of nodes the links between them.

    Args:
        d: nodes; vertices from d on are switches.
        ends: (nlinks, 2) the vertices a link leaves and reaches.
        routes: (d·d) the links from src to dst, at src·d + dst.
        wire, router: (nlinks,) relative length of the link, delay of the router it leads to.
    """

    d: int
    ends: Array
    routes: Sequence[Sequence[int]]
    wire: np.ndarray
    router: np.ndarray

    @property
    def way(self) -> Array:
        """(nlinks,) no direction."""
        return np.zeros(len(self.ends), dtype=np.int64)

    @cached_property
    def _all(self) -> Ways:
        hops = np.array([len(route) for route in self.routes])
        links = np.array([link for route in self.routes for link in route], dtype=np.int64)
        return Ways.single(hops, links)

    def ways(self, src: Array, dst: Array, ties: str, seed: Seed) -> Ways:
        """One way for each message."""
        return self._all.take(src * self.d + dst)

    def load(self, n: int, row: Array, traffic: Traffic, ties: str, seed: Seed) -> np.ndarray:
        """(n, nlinks) the weight on the links of n equal rows; ``row`` is each message's."""
        ways, nlinks = self.ways(traffic.src, traffic.dst, ties, seed), len(self.ends)
        message = ways.message[ways.per_link()]
        at = row[message] * nlinks + ways.links
        return np.bincount(at, traffic.weight[message], n * nlinks).reshape(n, nlinks)

    @cached_property
    def _paths(self) -> np.ndarray:
        ways, m = self._all, self.d * self.d
        on = ways.per_link()
        sums = [
            np.bincount(on, v[ways.links], m)
            for v in (np.ones(len(self.ends)), self.wire, self.router)
        ]
        return np.stack(sums, axis=1)

    @property
    def farthest(self) -> tuple[int, int]:
        """Two nodes that have most links between them."""
        src, dst = divmod(int(self._paths[:, 0].argmax()), self.d)
        return src, dst

    def path(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
        found: np.ndarray = self._paths[src * self.d + dst]
        return found
