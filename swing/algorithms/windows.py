"""Windows: short ways to the middle of a window, then the middles are a smaller ring.

The nodes around the owner of a block form windows of r. In q steps of distance 1, from the
window's two ends inwards, everything comes to its middle; then the middles do the same at
distance r, and so on. Each node sends to both sides at a time: in as many steps as Swing's, or
fewer, messages go shorter ways.

Restrictions: none. Powers of two, other even sizes and odd sizes are alike. On rectangles the
parts do not run in lockstep.

Cost: with ⌈log2 d⌉ steps a dimension Λ = 2, Ψ = 1, Ξ ~ 1.12 / 1.14 / 1.13 on 16x16 / 64x64 /
128x128, 1 on 5x5, 7x7 and 9x9; with more steps Ξ falls, with (d - 1)/2 it is a ring both ways
round. Widths and steps of the windows are those of least Ξ.

>>> import swing
>>> print(swing.schedule("windows", swing.Torus(5), ports=1, collective="reduce_scatter"))
0 +  0→1:2  1→2:3  2→3:4  3→4:0  4→0:1  0→4:3  1→0:4  2→1:0  3→2:1  4→3:2
1 +  0→1:1  1→2:2  2→3:3  3→4:4  4→0:0  0→4:4  1→0:0  2→1:1  3→2:2  4→3:3
>>> plan(64, steps=6), plan(64, steps=6, ndim=2)
([(2, 5), (2, 2), (2, 2)], [(4, 7), (1, 3), (1, 2)])

Source: our own.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from swing.build.combine import by_ports, collect, product
from swing.build.pattern import RingPattern, circulant_pattern
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus


def windows(
    torus: Torus,
    *,
    extra: int = 0,
    ports: int | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Windows on any torus.

    Args:
        torus: the ranks.
        extra: steps a dimension beyond ⌈log2 d⌉; fewer if negative, as far as that goes.
        ports: parts that run side by side, 1 … 2D, each sending both ways; 2D if None.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: an option out of range, with the range.
    """
    ndim = len(torus.active)
    steps = [max(1, (d - 1).bit_length() + extra) for d in torus.dims]

    levels = [plan(d, s, ndim) for d, s in zip(torus.dims, steps, strict=True)]
    ways = [_distances(level) for level in levels]

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [
            windows_line(d, level, mirrored) for d, level in zip(torus.dims, levels, strict=True)
        ]
        # Dimensions in turn, or on a rectangle the one with the shortest way ahead.
        turn = [(start + i) % len(lines) for i in range(len(lines))]
        order = sorted((way, s, turn.index(j), j) for j in turn for s, way in enumerate(ways[j]))
        return collect(product(torus, lines, [j for *_, j in order]), collective)

    every = by_ports("windows", torus, part, "", ports)
    alike = len({torus.dims[j] for j in torus.active}) < 2
    return every if alike else replace(every, sync_phase=lambda s: 0)


def family(torus: Torus) -> list[dict[str, Any]]:
    """What is worth a thought on a torus: fewer steps and more.

    >>> family(Torus((4, 4)))
    [{'extra': -1}, {'extra': 0}, {'extra': 1}]
    """
    longest = max(torus.dims)
    most = longest // 2 - (longest - 1).bit_length()  # as many steps as a ring both ways round
    return [{"extra": extra} for extra in (-1, 0, 1, 2, 4, 8) if extra <= max(most, 0) + 1]


def _distances(levels: list[tuple[int, int]]) -> list[int]:
    """Of every step."""
    units = np.cumprod([1] + [r for _, r in levels])
    return [int(unit) for (q, _), unit in zip(levels, units, strict=False) for _ in range(q)]


def windows_line(d: int, levels: list[tuple[int, int]], mirrored: bool = False) -> RingPattern:
    """The reduce-scatter on one ring of any size, in levels of q steps and windows r apart."""
    kept = np.arange(d) - (d - 1) // 2  # the offset d/2 of even sizes counts on one side only
    unit, moves = 1, []
    for q, r in levels:
        away = _away(kept // unit, q, r)
        for far in range(q, 0, -1):
            sent = [(way * unit, kept[away == way * far]) for way in (1, -1)]
            moves.append([(delta, offsets) for delta, offsets in sent if len(offsets)])
        kept, unit = kept[away == 0], unit * r
    return circulant_pattern(np.arange(d), np.full(d, -1 if mirrored else 1), moves)


def _away(offsets: Array, q: int, r: int) -> Array:
    """How far each offset is from the middle of its window.

    Middles are multiples of r, so many that the ends are no further than q away from one.
    """
    low, high = (-(-max(0, end - q) // r) for end in (-offsets[0], offsets[-1]))
    return offsets - r * np.clip((offsets + r // 2) // r, -low, high)


def plan(d: int, steps: int, ndim: int = 1) -> list[tuple[int, int]]:
    """The levels of windows, (q, r) each, of least Ξ on a torus of so many dimensions.

    They take no more than the given steps, or the fewest there can be if that is too few.
    In step s a node sends what it then no longer keeps over a distance δ. Other dimensions'
    blocks multiply that, and they become fewer likewise: Ξ ~ Σ δ·(kept_s^ndim - kept_(s+1)^ndim).
    """
    while True:
        cost, levels = _plan((d - 1) // 2, d // 2, steps, ndim)
        if cost < np.inf:
            return list(levels)
        steps += 1


@cache
def _plan(low: int, high: int, steps: int, ndim: int) -> tuple[float, tuple[tuple[int, int], ...]]:
    """The least cost for offsets -low … high in so many steps, and its levels."""
    if not high:
        return 0.0, ()
    best: tuple[float, tuple[tuple[int, int], ...]] = (np.inf, ())
    offsets = np.arange(-low, high + 1)
    for q in range(1, min(steps, high) + 1):
        for r in range(2, 2 * q + 2):
            away = _away(offsets, q, r)
            middles = (offsets - away) // r
            away = np.abs(away)
            far = int(away.max())
            if far > q or (away == 0).sum() <= middles[-1] - middles[0]:
                continue  # an end is too far from a middle, or a middle is not there
            inner, levels = _plan(-int(middles[0]), int(middles[-1]), steps - far, ndim)
            kept = np.append(np.cumsum(np.bincount(away)), 0).astype(float)
            cost = kept[far] ** ndim - kept[0] ** ndim + r * inner
            best = min(best, (cost, ((far, r), *levels)))
    return best
