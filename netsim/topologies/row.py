"""A row: the network of one dimension of a grid."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from netsim.topologies.routes import Seed, Ways
from swing.torus import Array


class Traffic(NamedTuple):
    """Directed messages between nodes, each a weight (a fraction of the vector, or bytes)."""

    src: Array
    dst: Array
    weight: np.ndarray


class Path(NamedTuple):
    """What a message passes: links, and how long its wires and routers are in units of one."""

    hops: int
    wire: float
    routers: float


class Row(Protocol):
    """The network of one dimension: d nodes, perhaps switches, directed links.

    Attributes:
        d: nodes.
        ends: (nlinks, 2) the vertices a link leaves and reaches; switches count from d on.
        way: (nlinks,) +1 towards higher nodes, -1 towards lower, 0 neither.
        wire, router: (nlinks,) length of the link and delay of the router it leads to, relative
            to the network's.
    """

    @property
    def d(self) -> int: ...  # noqa: D102  the attributes above
    @property
    def ends(self) -> Array: ...  # noqa: D102
    @property
    def way(self) -> Array: ...  # noqa: D102
    @property
    def wire(self) -> np.ndarray: ...  # noqa: D102
    @property
    def router(self) -> np.ndarray: ...  # noqa: D102

    def ways(self, src: Array, dst: Array, ties: str, seed: Seed) -> Ways:
        """The links between nodes."""

    def load(self, n: int, row: Array, traffic: Traffic, ties: str, seed: Seed) -> np.ndarray:
        """(n, nlinks) the weight on the links of n equal rows; ``row`` is each message's."""

    def path(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
