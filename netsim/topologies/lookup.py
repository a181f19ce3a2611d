"""Lookup table: a row whose routes are listed for every pair of nodes.

It needs memory for d² routes; where routes follow a rule, as on a ring, they are computed instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Traffic
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Links, and one fixed route between every two nodes.

    Args:
        d: number of nodes; vertices from d up are switches.
        ends: (nlinks, 2) the vertices that each link leaves and reaches.
        links_between: (d·d) the links from src to dst in order, at index src·d + dst.
        wire: (nlinks,) length of each link, in units of the network's link latency.
        router: (nlinks,) delay of the router that each link leads to, in units of the network's.
    """

    d: int
    ends: Array
    links_between: Sequence[Sequence[int]]
    wire: np.ndarray
    router: np.ndarray

    @property
    def direction(self) -> Array:
        """(nlinks,) 0: links have no direction along an axis."""
        return np.zeros(len(self.ends), dtype=np.int64)

    @cached_property
    def _all(self) -> Routes:
        hops = np.array([len(links) for links in self.links_between])
        flat = np.array([link for links in self.links_between for link in links], dtype=np.int64)
        return Routes.single(hops, flat)

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed) -> Routes:
        """One route per message; there are no ties here to break."""
        return self._all.take(src * self.d + dst)

    def load(self, n: int, row: Array, traffic: Traffic, ties: str, seed: Seed) -> np.ndarray:
        """(n, nlinks) the weight on the links of n equal rows; ``row`` (m,) is each message's."""
        routes, nlinks = self.routes(traffic.src, traffic.dst, ties, seed), len(self.ends)
        message = routes.message[routes.per_link()]
        link = row[message] * nlinks + routes.links
        return np.bincount(link, traffic.weight[message], n * nlinks).reshape(n, nlinks)

    @cached_property
    def all_paths(self) -> np.ndarray:
        """(d·d, 3) the `Path` from src to dst, at index src·d + dst."""
        return self._all.paths(self.wire, self.router)

    def tie_share(self, ties: str) -> None:
        """None: routes follow no rule."""

    def path(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
        paths: np.ndarray = self.all_paths[src * self.d + dst]
        return paths
