"""Parts side by side: several schedules at once, each on its own share of the vector."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index

import numpy as np
from numpy.typing import ArrayLike

from swing.build.reversal import reverse
from swing.checks import shown
from swing.schedules.blocks import Blocks
from swing.schedules.body import Body
from swing.schedules.collectives import RankColumn
from swing.schedules.rank import RankMessages
from swing.schedules.schedule import Schedule, expect_schedule
from swing.schedules.step import LineRows, Step


@dataclass(frozen=True, eq=False)
class Placed(Body):
    """A schedule as part ``j`` of a longer vector, in which its blocks begin at ``first_block``.

    Args:
        schedule: the schedule of a vector of its own.
        j: index of the part.
        first_block: number of its first block in the longer vector.
    """

    schedule: Schedule
    j: int
    first_block: int

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.schedule.nsteps

    def step(self, s: int) -> Step:
        return Parallel((self,)).step(s)

    def rank(self, rank: int) -> RankMessages:
        return self.schedule.rank(rank).place(self.j, self.first_block)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        lines = self.schedule.lines(s) if s < self.nsteps else ()
        return lines and tuple(line._replace(part=self.j) for line in lines)

    def signature(self, s: int) -> Hashable:
        return self.schedule.signature(s)

    def sync_phase(self, s: int) -> Hashable:
        return self.schedule.sync_phase(s)


@dataclass(frozen=True, eq=False)
class Parallel(Body):
    """Parts side by side, each on its own range of blocks.

    Args:
        parts: the parts, in the order of their blocks.
    """

    parts: tuple[Placed, ...]

    @cached_property
    def nsteps(self) -> int:  # type: ignore[override]
        return max(part.nsteps for part in self.parts)

    def _active(self, s: int) -> list[Placed]:
        """The parts that have not ended before step s."""
        return [part for part in self.parts if s < part.nsteps]

    def step(self, s: int) -> Step:
        active = self._active(s)
        if not active:
            return Step.empty()
        steps = [part.schedule.step(s) for part in active]
        lengths = [len(step) for step in steps]
        return Step(
            np.concatenate([step.reduces for step in steps]),
            np.concatenate([step.src for step in steps]),
            np.concatenate([step.dst for step in steps]),
            Blocks.join([step.blocks for step in steps]).shift(
                np.repeat([part.first_block for part in active], lengths)
            ),
            np.repeat([part.j for part in active], lengths),
        )

    def rank(self, rank: int) -> RankMessages:
        return RankMessages.merge([part.rank(rank) for part in self.parts])

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        each = [part.lines(s) for part in self._active(s)]
        described = [lines for lines in each if lines is not None]
        # Lines must describe all traffic of a step or none of it.
        return sum(described, ()) if len(described) == len(each) else None

    def signature(self, s: int) -> Hashable:
        return tuple(part.signature(s) for part in self._active(s))

    def sync_phase(self, s: int) -> Hashable:
        return self._active(s)[0].sync_phase(s)

    def part(self, j: int) -> Body:
        return self.parts[j]

    def reversed(self) -> Body:
        return Parallel(tuple(replace(p, schedule=reverse(p.schedule)) for p in self.parts))


def parallel(parts: Sequence[Schedule], weights: Sequence[float] | None = None) -> Schedule:
    """Run parts side by side in lockstep, each on its own share of the vector.

    Args:
        parts: schedules of the same torus.
        weights: relative size of each part's share; if None, all blocks have the same size.

    Raises:
        TypeError: a part is not a schedule.
        ValueError: there are no parts, their tori differ, or the weights are not one finite number
            from 0 up for each part with a sum above 0.
    """
    parts = list(parts)
    for part in parts:
        expect_schedule(part)
    if not parts:
        raise ValueError("parallel needs at least one schedule")
    first = parts[0]
    for part in parts[1:]:
        if part.torus != first.torus:
            raise ValueError(
                f"parts side by side need one torus, not {first.torus} and {part.torus}"
            )
    if len(parts) == 1:
        return first
    offsets = np.cumsum([0] + [part.nblocks for part in parts]).tolist()
    shares = None
    if weights is not None:
        sizes = _checked(weights, len(parts))
        fractions = sizes * first.vectors / sizes.sum()
        shares = np.concatenate(
            [np.full(p.nblocks, w / p.nblocks) for p, w in zip(parts, fractions, strict=True)]
        )
    placed = (Placed(part, j, offsets[j]) for j, part in enumerate(parts))
    return replace(
        first,
        nblocks=offsets[-1],
        body=Parallel(tuple(placed)),
        origin=RankColumn.join([part.origin for part in parts]),
        home=RankColumn.join([part.home for part in parts]),
        parts=tuple(part.nblocks for part in parts),
        shares=shares,
        phases=None,
    )


def _checked(weights: ArrayLike, nparts: int) -> np.ndarray:
    """Return the weights of parts as fractions of the largest.

    Raises:
        ValueError: they are not one finite number from 0 up for each part with a sum above 0.
    """
    sizes = relative(weights, (nparts,))
    if sizes is None:
        raise ValueError(
            f"pass one weight for each of the {nparts} parts, finite numbers from 0 up that are "
            f"not all 0, not {shown(weights)}"
        )
    return sizes


def relative(sizes: ArrayLike, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return sizes as fractions of the largest; None if they are no sizes of this shape.

    Sizes are finite numbers from 0 up that are not all 0. Fractions of the largest can be added
    without an overflow.
    """
    try:
        table = np.asarray(sizes)
    except ValueError:  # rows of different lengths
        return None
    if table.dtype.kind not in "biuf" or table.shape != shape:
        return None
    table = table.astype(float)
    if not np.isfinite(table).all() or (table < 0).any() or not table.any():
        return None
    fractions: np.ndarray = table / table.max()
    return fractions


GROWTH = 1.3
"""Ratio of the sizes of successive segments of a part.

Segments of equal size would keep step with each other: all of them would wait for latencies, and
change dimension, at the same time.
"""
MAX_SEGMENTS = 1024
"""Limit on the segments of a part: the largest is then 1e116 times as large as the smallest."""


def segmented(
    parts: Sequence[Schedule], segments: int | Sequence[int], weights: Sequence[float] | None = None
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
    each = np.ones(len(parts)) if weights is None else _checked(weights, len(parts))
    pieces, shares = [], []
    for i, (part, weight) in enumerate(zip(parts, each, strict=True)):
        sizes = GROWTH ** np.arange(counts[i % len(counts)])
        pieces += [part] * len(sizes)
        shares += (weight * sizes / sizes.sum()).tolist()
    return replace(parallel(pieces, shares), phases=lambda s: 0)
