"""Multilevel nearest-neighbour reduction ("windows"): towards a window's middle in short hops.

For each block, the nodes around its owner form windows of r neighbours. In q steps of distance 1,
from the two ends of each window inwards, all contributions reach the window's middle. The middles
are then a ring of their own and do the same at distance r, and so on. Each node sends to both sides
at the same time, so messages travel shorter distances than Swing's, in as many steps or fewer.

Restrictions: none. Powers of two, other even sizes and odd sizes are treated alike. On a torus of
unequal sizes the parts do not run in lockstep.

Cost: with ⌈log2 d⌉ steps per dimension Λ = 2, Ψ = 1, Ξ ~ 1.12 / 1.14 / 1.13 on 16x16 / 64x64 /
128x128, and 1 on 5x5, 7x7 and 9x9. More steps lower Ξ; with (d - 1)/2 steps the pattern is a ring
in both directions. `plan` chooses the widths and steps of the windows for the lowest Ξ.

>>> import swing
>>> print(swing.schedule("windows", swing.Torus(5), ports=1, collective="reduce_scatter"))
0 +  0→1:2  1→2:3  2→3:4  3→4:0  4→0:1  0→4:3  1→0:4  2→1:0  3→2:1  4→3:2
1 +  0→1:1  1→2:2  2→3:3  3→4:4  4→0:0  0→4:4  1→0:0  2→1:1  3→2:2  4→3:3
>>> plan(64, steps=6), plan(64, steps=6, ndim=2)
([(2, 5), (2, 2), (2, 2)], [(4, 7), (1, 3), (1, 2)])

Source: our own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm
from swing.build.combine import collect, product
from swing.build.pattern import RingPattern, circulant_pattern
from swing.build.variants import by_ports
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus

MAX_EXTRA = 64
"""Most extra steps in option sets of `family`: a plan of more steps takes seconds to find."""


def windows(
    torus: Torus, *, extra: int = 0, ports: int | None = None, collective: str = "allreduce"
) -> Schedule:
    """Reduce towards the middle of windows of neighbours, then among the middles, and so on.

    Args:
        torus: the ranks.
        extra: number of steps per dimension beyond ⌈log2 d⌉. If it is negative there are fewer
            steps, but not fewer than the pattern needs.
        ports: number of parts that run side by side, 1 … 2D; 2D if None. Each part sends in both
            directions.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: an option out of range, with the range.
    """
    ndim = len(torus.active)
    steps = [max(1, (d - 1).bit_length() + extra) for d in torus.dims]

    levels = [plan(d, s, ndim) for d, s in zip(torus.dims, steps, strict=True)]
    distances = [_distances(level) for level in levels]

    def part(start: int, mirrored: bool) -> Schedule:
        rings = zip(torus.dims, levels, strict=True)
        lines = [windows_line(d, level, mirrored) for d, level in rings]
        # The dimension with the shortest next hop goes first; if hops are equal, dimensions take
        # turns. Messages shrink from step to step, so the longest hops carry the smallest ones.
        turn = [(start + i) % len(lines) for i in range(len(lines))]
        order = sorted(
            (hop, s, turn.index(j), j) for j in turn for s, hop in enumerate(distances[j])
        )
        return collect(product(torus, lines, [j for *_, j in order]), collective)

    square = len({torus.dims[j] for j in torus.active}) < 2
    return by_ports("windows", torus, part, "", ports, lockstep=square)


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: one step fewer than ⌈log2 d⌉, and more, up to a ring.

    Beyond 8 more steps, one step makes little difference, so the numbers grow by an eighth.

    >>> [options["extra"] for options in family(Torus((64, 64)))]
    [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 27]
    """
    longest = max(torus.dims)
    # A ring in both directions takes longest // 2 steps; more steps gain nothing.
    most = min(max(longest // 2 - (longest - 1).bit_length(), 0) + 1, MAX_EXTRA)
    extras = [-1, 0]
    while extras[-1] < most:
        extras.append(min(extras[-1] + max(1, extras[-1] // 8), most))
    return [{"extra": extra} for extra in extras]


def _shortlist(torus: Torus) -> list[dict[str, Any]]:
    # Other numbers of steps help few ranks, and each takes time to plan on many.
    few = [{"extra": -1}, *({"extra": extra, "segments": 4} for extra in (-1, 2))]
    return [{}, {"segments": 4}, *(few if torus.size <= 512 else [])]


def _distances(levels: list[tuple[int, int]]) -> list[int]:
    """Return the hop distance of each step."""
    units = np.cumprod([1] + [r for _, r in levels])
    return [int(unit) for (q, _), unit in zip(levels, units, strict=False) for _ in range(q)]


def windows_line(d: int, levels: list[tuple[int, int]], mirrored: bool = False) -> RingPattern:
    """Make the reduce-scatter on one ring of any size; each level is (q steps, window width r)."""
    kept = np.arange(d) - (d - 1) // 2  # the offset d/2 of even sizes counts on one side only
    unit, moves = 1, []
    for q, r in levels:
        away = _away(kept // unit, q, r)
        for distance in range(q, 0, -1):
            sent = [(side * unit, kept[away == side * distance]) for side in (1, -1)]
            moves.append([(delta, offsets) for delta, offsets in sent if len(offsets)])
        kept, unit = kept[away == 0], unit * r
    return circulant_pattern(np.arange(d), np.full(d, -1 if mirrored else 1), moves)


def _away(offsets: Array, q: int, r: int) -> Array:
    """Return how far each offset is from the middle of its window.

    The middles are multiples of r. There are so many of them that each end is at most q away from
    the nearest one.
    """
    low, high = (-(-max(0, end - q) // r) for end in (-offsets[0], offsets[-1]))
    return offsets - r * np.clip((offsets + r // 2) // r, -low, high)


def plan(d: int, steps: int, ndim: int = 1) -> list[tuple[int, int]]:
    """Find the levels of windows with the lowest Ξ on a torus of ``ndim`` dimensions.

    Each level is (q steps, window width r). All levels together take at most ``steps`` steps, or
    the smallest possible number if that is not enough.

    In step s a node sends the blocks that it does not keep over a distance of δ hops. The blocks
    that are pending in the other dimensions multiply their number and shrink in the same way, so
    Ξ ~ Σ δ·(kept_s^ndim - kept_(s+1)^ndim).
    """
    while True:
        cost, levels = _plan((d - 1) // 2, d // 2, steps, ndim)
        if cost < np.inf:
            return list(levels)
        steps += 1


@cache
def _plan(low: int, high: int, steps: int, ndim: int) -> tuple[float, tuple[tuple[int, int], ...]]:
    """Return the lowest cost for offsets -low … high in up to ``steps`` steps, and its levels."""
    if not high:
        return 0.0, ()
    best: tuple[float, tuple[tuple[int, int], ...]] = (np.inf, ())
    for q in range(1, min(steps, high) + 1):
        for furthest, r, inner_low, inner_high, cost in _outer_windows(low, high, q, ndim):
            inner, levels = _plan(inner_low, inner_high, steps - furthest, ndim)
            best = min(best, (cost + r * inner, ((furthest, r), *levels)))
    return best


@cache
def _outer_windows(
    low: int, high: int, q: int, ndim: int
) -> tuple[tuple[int, int, int, int, float], ...]:
    """List the windows whose ends are up to q steps from their middles, for offsets -low … high.

    Returns:
        The steps from the farthest end to its middle, the width r, the offsets of the outermost
        middles in units of r, and the cost of these steps.
    """
    windows = []
    for r in range(2, 2 * q + 2):
        # As in `_away`, the middles are multiples of r, and the last one on either side is the one
        # of the outermost offset.
        below, above = (-(-max(0, end - q) // r) for end in (low, high))
        inner_low = -max(-below, min((r // 2 - low) // r, above))
        inner_high = max(-below, min((r // 2 + high) // r, above))
        between = r // 2 if inner_low + inner_high else 0  # halfway from one middle to the next
        furthest = max(abs(low - r * inner_low), abs(high - r * inner_high), between)
        # Skip windows with an end too far from its middle, or with a middle that is no offset.
        if furthest > q or r * inner_low > low or r * inner_high > high:
            continue
        middles = inner_low + inner_high + 1
        cost = float(low + high + 1) ** ndim - float(middles) ** ndim
        windows.append((furthest, r, inner_low, inner_high, cost))
    return tuple(windows)


def _others(torus: Torus) -> list[dict[str, Any]]:
    # With d // 2 steps no block takes a detour, which an all-to-all needs.
    return [{}, {"extra": max(torus.dims)}, {"chunks": 1}]


WINDOWS = Algorithm(
    "windows", windows, source="our own", style=("#882255", "d"), family=family,
    shortlist=_shortlist, others=_others,
)  # fmt: skip
