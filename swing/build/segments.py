"""Segments: the parts of a schedule cut into pieces that take the same route independently.

While one segment waits for a latency, or is in a dimension in which it has little left to send,
another one uses the link. So the time for a large vector approaches the larger of the latencies and
the bytes, instead of their sum. Neither the segments nor the parts wait for each other. The
segments of a part grow by `GROWTH`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from operator import index

import numpy as np
from numpy.typing import ArrayLike

from swing.build.parallel import checked_weights, parallel, parts_of, some_wait
from swing.checks import shown
from swing.ring import distance
from swing.schedules.schedule import Schedule

GROWTH = 1.3
"""Ratio of the sizes of successive segments of a part.

Segments of equal size would keep step with each other: all of them would wait for latencies, and
change dimension, at the same time.
"""
MAX_SEGMENTS = 1024
"""Limit on the segments of a part: the largest is then 1e116 times as large as the smallest."""


def cut(schedule: Schedule, segments: int | Sequence[int]) -> Schedule:
    """Cut the parts of a schedule into segments.

    Args:
        schedule: the schedule.
        segments: as in `segmented`. Where parts start in different dimensions, a sequence has one
            number for each dimension.

    Raises:
        ValueError: as `segmented` raises it.

    >>> import swing
    >>> ring = swing.schedule("ring", swing.Torus(3), ports=1, collective="reduce_scatter")
    >>> print(cut(ring, 2))
    0 +  0→1:2  1→2:0  2→0:1  0→1:5  1→2:3  2→0:4
    1 +  0→1:1  1→2:2  2→0:0  0→1:4  1→2:5  2→0:3
    >>> cut(ring, 2).part_shares.round(3).tolist()
    [0.435, 0.565]
    """
    parts = parts_of(schedule)
    pieces = segmented(parts, segments, balanced(parts) if some_wait(schedule) else None)
    return replace(pieces, name=schedule.name, variant=schedule.variant)


def segmented(
    parts: Sequence[Schedule], segments: int | Sequence[int], weights: ArrayLike | None = None
) -> Schedule:
    """Run parts side by side, each cut into segments that never wait for each other.

    Args:
        parts: schedules of the same torus.
        segments: number of segments of each part; one number for all, or a sequence that is
            repeated if it is shorter than ``parts``.
        weights: relative size of each part's share; equal if None.

    Raises:
        ValueError: segments that are not whole numbers from 1 to `MAX_SEGMENTS`, a sequence whose
            length does not divide the number of parts, or as `parallel` raises it.
    """
    try:
        counts = [index(count) for count in np.atleast_1d(segments)]
    except (TypeError, ValueError):
        counts = []
    if (
        not counts
        or len(parts) % len(counts)
        or not 1 <= min(counts) <= max(counts) <= MAX_SEGMENTS
    ):
        raise ValueError(
            f"segments must be a whole number from 1 to {MAX_SEGMENTS}, or one for each dimension, "
            f"not {shown(segments)}"
        )
    each = np.ones(len(parts)) if weights is None else checked_weights(weights, len(parts))
    pieces, shares = [], []
    for i, (part, weight) in enumerate(zip(parts, each, strict=True)):
        sizes = GROWTH ** np.arange(counts[i % len(counts)])
        pieces += [part] * len(sizes)
        shares += (weight * sizes / sizes.sum()).tolist()
    return parallel(pieces, shares, lockstep=False)


def balanced(parts: Sequence[Schedule]) -> np.ndarray | None:
    """Return the (parts,) shares of the vector that load the links of all dimensions equally.

    Parts that act in every step share no link, and keep equal shares. But where in lockstep a part
    waits for one whose dimension is longer, equal shares would load the long dimension most.

    Returns:
        None, for equal shares, if no shares from 0 up are balanced, or if the parts do not describe
        their traffic by lines.

    >>> import swing
    >>> for dims in (8, 8), (128, 8), (256, 4):
    ...     print(balanced(parts_of(swing.schedule("bucket", swing.Torus(dims), ports=2))).round(3))
    [0.5 0.5]
    [0.433 0.567]
    [0.335 0.665]
    """
    torus = parts[0].torus
    each = [_link_loads(part) for part in parts]
    known = [loads for loads in each if loads is not None]
    if len(known) < len(parts):
        return None
    # Solve for the shares and for the load that all dimensions get.
    loads = np.stack(known, axis=1)[list(torus.active)]
    equations = np.block([[loads, -np.ones((len(loads), 1))], [np.ones(len(parts)), 0]])
    wanted = np.append(np.zeros(len(loads)), 1)
    solution: np.ndarray = np.linalg.lstsq(equations, wanted)[0]
    shares = solution[:-1]
    solved = np.allclose(equations @ solution, wanted, atol=1e-9) and shares.min() > -1e-12
    return shares.clip(0) if solved else None


def _link_loads(part: Schedule) -> np.ndarray | None:
    """Return for each dimension the mean load of its links, as a fraction of the part's vector."""
    torus = part.torus
    loads = np.zeros(len(torus.dims))
    alike: dict[Hashable, list[int]] = {}  # the steps that move the same bytes
    for s in range(part.nsteps):
        alike.setdefault(part.signature(s), []).append(s)
    for steps in alike.values():
        lines = part.lines(steps[0])
        if lines is None:
            return None
        for line in lines:
            d, wrap = torus.sides[line.dim]
            hops = distance(d, wrap, line.src, line.dst) @ line.sent
            others = np.prod([h.sum() for j, h in enumerate(line.pending) if j != line.dim])
            links = torus.size // d * (d if wrap else d - 1)
            loads[line.dim] += len(steps) * hops * float(others) / links / part.nblocks
    return loads
