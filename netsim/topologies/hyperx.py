"""HyperX: a direct link to every other node of the same row, column, and so on."""

from __future__ import annotations

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from swing.torus import Torus


def hyperx(where: Torus) -> Grid:
    """A HyperX of any dimensions [Ahn et al. 2009]."""
    return Grid("hyperx", where, tuple(map(everyone, where.dims)))


def everyone(d: int) -> LookupTable:
    """A row in which each node has a link to each other one."""
    pairs = [(a, b) for a in range(d) for b in range(d) if a != b]
    number = {pair: i for i, pair in enumerate(pairs)}
    routes = [[number[a, b]] if a != b else [] for a in range(d) for b in range(d)]
    ones = np.ones(len(pairs))
    return LookupTable(d, np.array(pairs, dtype=np.int64).reshape(-1, 2), routes, ones, ones)
