"""Bruck: in step k, rank r sends rank r + 2^k all blocks whose offset has bit k.

The offset o of a block at rank r is the distance to its home, rank r + o. The block travels over
the powers of two that make up o, the smallest first. In an all-to-all every rank sends at most half
of what it holds in each of ⌈log2 p⌉ steps, whatever the number of ranks; the reduce-scatter halves
what is pending instead, and its reverse is the dissemination allgather.

Restrictions: none.

Cost: ⌈log2 p⌉ steps; an all-to-all sends at most n/2 in each of them. The distances are those of
the ranks in order, so that links of a torus are shared by many messages.

>>> import swing
>>> print(swing.schedule("bruck", swing.Torus(3), collective="alltoall"))
0 =  0→1:1  1→2:5  2→0:6
1 =  0→2:2  1→0:3  2→1:7

Source: Bruck, Ho, Kipnis, Upfal, Weathersby 1997.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from swing.algorithms.algorithm import Algorithm, always, never
from swing.build.combine import collect, over_ranks
from swing.build.pattern import RingPattern, circulant_pattern
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def bruck(torus: Torus, *, collective: str = "allreduce") -> Schedule:
    """Send all blocks whose offset has bit k to the rank 2^k further on, in step k.

    Args:
        torus: the ranks.
        collective: one of `Algorithm.collectives`.
    """
    return replace(collect(over_ranks(torus, bruck_line(torus.size)), collective), name="bruck")


def bruck_line(d: int) -> RingPattern:
    """Make the reduce-scatter of Bruck's exchange among d nodes."""
    offsets = np.arange(1, d)
    lowest = offsets & -offsets  # the lowest bit of every offset, which is its first hop
    hops = [2**k for k in range((d - 1).bit_length())]
    moves = [[(hop, offsets[lowest == hop])] for hop in hops]
    return circulant_pattern(np.arange(d), np.ones(d, dtype=np.int64), moves)


BRUCK = Algorithm(
    "bruck", bruck, source="Bruck, Ho, Kipnis, Upfal, Weathersby 1997", style=("#BCBD22", "3"),
    family=never, others=always({}), standard=True, rival=False,
)  # fmt: skip
