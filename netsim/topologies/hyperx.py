"""HyperX: a direct link to every other node of the same row, column, and so on.

Source: Ahn et al., HyperX: Topology, Routing, and Packaging of Efficient Large-Scale Networks,
SC 2009.
"""

from __future__ import annotations

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from swing.torus import Torus


def hyperx(shape: Torus) -> Grid:
    """A HyperX of any dimensions."""
    return Grid(f"hyperx:{shape}", shape, rows=tuple(map(all_to_all, shape.dims)))


def all_to_all(d: int) -> LookupTable:
    """A row in which every node has a link to every other node."""
    pairs = [(a, b) for a in range(d) for b in range(d) if a != b]
    number = {pair: i for i, pair in enumerate(pairs)}
    routes = [[number[a, b]] if a != b else [] for a in range(d) for b in range(d)]
    ones = np.ones(len(pairs))
    return LookupTable(d, np.array(pairs, dtype=np.int64).reshape(-1, 2), routes, ones, ones)
