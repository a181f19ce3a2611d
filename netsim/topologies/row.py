"""Interface of a row: the network that joins the nodes of one dimension of a grid."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from netsim.topologies.routes import Routes, Seed
from swing.torus import Array


class Traffic(NamedTuple):
    """Directed messages between nodes.

    Args:
        src, dst: (m,) nodes.
        weight: (m,) size of each message, as a fraction of the vector or in bytes.
    """

    src: Array
    dst: Array
    weight: np.ndarray


class Path(NamedTuple):
    """The delays that a message meets between two nodes.

    Args:
        hops: number of links.
        wire: their total length, in units of the network's link latency.
        routers: total delay of the routers, in units of the network's router latency.
    """

    hops: int
    wire: float
    routers: float


def ports(tail: Array, head: Array, d: int | Array) -> Array:
    """(n,) the order in which the routers at the ends of a row's links consider their links.

    Links of nodes come first, by how far up the row they lead, then those of switches. So all nodes
    of a ring agree, whatever their numbers.
    """
    return np.where((tail < d) & (head < d), (head - tail) % d, d)


class Row(Protocol):
    """The network of one dimension: d nodes, perhaps switches, and directed links.

    Attributes:
        d: number of nodes.
        ends: (nlinks, 2) the vertices that each link leaves and reaches; switches count from d up.
        direction: (nlinks,) +1 towards higher nodes, -1 towards lower, 0 for neither.
        wire: (nlinks,) length of each link, in units of the network's link latency.
        router: (nlinks,) delay of the router that each link leads to, in units of the network's.
    """

    @property
    def d(self) -> int: ...  # noqa: D102  the attributes above
    @property
    def ends(self) -> Array: ...  # noqa: D102
    @property
    def direction(self) -> Array: ...  # noqa: D102
    @property
    def wire(self) -> np.ndarray: ...  # noqa: D102
    @property
    def router(self) -> np.ndarray: ...  # noqa: D102

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed) -> Routes:
        """The routes from each src to its dst."""

    def load(self, n: int, row: Array, traffic: Traffic, ties: str, seed: Seed) -> np.ndarray:
        """(n, nlinks) the weight on the links of n equal rows; ``row`` (m,) is each message's."""

    def tie_share(self, ties: str) -> np.ndarray | None:
        """(d,) the fraction of a message to half a ring away that goes up, by sender.

        None unless routes go the shorter way along the row, in which case this is all that is left
        to say about them.
        """

    def path(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
