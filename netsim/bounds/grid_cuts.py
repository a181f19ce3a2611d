"""Cuts across the dimensions of a network's ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from netsim.bounds.cuts import Cuts, Mask
from netsim.bounds.demand import Demand
from netsim.bounds.links import DirectedLinks
from swing.torus import Array


class Plane(NamedTuple):
    """A cut that separates ranks by one of their coordinates.

    Args:
        side: (p,) the ranks that the links lead away from.
        rate: bytes per second of all links of the cut.
        nlinks: number of these links.
    """

    side: Mask
    rate: float
    nlinks: int


def across_dimensions(links: DirectedLinks, demand: Demand, start: int | None) -> Iterator[Cuts]:
    """Yield cuts across each dimension, in both directions.

    If all bytes on their way over a cut depend on one rank's input, and some rank beyond needs all
    of them, they take at least as long as a message between these two.

    Args:
        links: the links.
        demand: what the ranks need.
        start: the rank on whose input alone everything depends, if there is one.
    """
    needing = np.ones(links.network.topology.size) if demand.home is None else demand.home
    needs_all = demand.home is None or demand.reversed.root is not None
    seconds = links.seconds_from(start) if start is not None and needs_all else None
    for side, rate, nlinks in _planes(links):
        if vectors := demand.crossing(side):
            latency = links.least
            if seconds is not None and side[start]:
                latency = (
                    links.message_seconds + seconds[np.flatnonzero(~side & (needing > 0))].max()
                )
            row = vectors, latency, rate, links.credit(nlinks)
            yield Cuts.single(*np.array(row, dtype=float)[:, None])


def _planes(links: DirectedLinks) -> Iterator[Plane]:
    """Yield the planes between any two coordinates.

    If all links are alike, only those at the ends and in the middle are tried, and the links of one
    row stand for those of all rows.
    """
    topology = links.network.topology
    coords = np.unravel_index(np.arange(topology.size), topology.dims)
    for j, (along, d) in enumerate(zip(coords, topology.dims, strict=True)):
        every = sorted({1, d // 2, d - 1} - {0, d}) if links.alike else range(1, d)
        for at, up in itertools.product(every, (True, False)):
            here = (along < at) == up
            if links.alike:
                ends = topology.rows[j].ends[:, :: -1 if links.backwards else 1]
                for side in _with_switches(ends, (np.arange(d) < at) == up):
                    nlinks = len(leaving(ends, side)) * (topology.size // d)
                    yield Plane(here, nlinks * links.network.bandwidth, nlinks)
            else:
                for side in _with_switches(links.ends, here):
                    cut = leaving(links.ends, side)
                    yield Plane(here, float(links.network.bandwidths[cut].sum()), len(cut))


def leaving(ends: Array, side: Mask) -> Array:
    """The links that lead from vertices of one side, a (vertices,) mask, to the others."""
    return np.flatnonzero(side[ends[:, 0]] & ~side[ends[:, 1]])


def _with_switches(ends: Array, side: Mask) -> Iterator[Mask]:
    """Yield (vertices,) masks that extend a mask of the first vertices, the nodes, to the switches.

    Either side is right for a switch, since the cut separates nodes. It goes to the side to which
    more of its links lead, which makes the bound tighter; where there is no such side, both are
    tried. Bandwidths do not count here, for otherwise a slower link could lower the bound.
    """
    tails, heads = ends.T
    vertices = 1 + int(ends.max())
    lean: Array = np.zeros(vertices, dtype=np.int64)
    lean[: len(side)] = np.where(side, 1, -1)
    # Switches that no node is next to follow their neighbours, one ring of switches after another.
    while (undecided := lean == 0).any():
        pull = np.sign(np.bincount(tails, lean[heads], vertices)).astype(np.int64)
        if not pull[undecided].any():
            break
        lean[undecided] = pull[undecided]
    yield lean > 0
    if (lean == 0).any():
        yield lean >= 0
