"""Parts side by side: several schedules at once, each on its own share of the vector."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike

from swing.build.reversal import reverse
from swing.checks import shown
from swing.deprecated import moved
from swing.schedules.blocks import Blocks
from swing.schedules.body import Body
from swing.schedules.collectives import RankColumn
from swing.schedules.rank import RankMessages
from swing.schedules.schedule import Schedule, expect_schedule
from swing.schedules.step import LineRows, Step
from swing.schedules.translates import Translates
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Placed(Body):
    """A schedule as part ``j`` of a longer vector, in which its blocks begin at ``first_block``.

    Args:
        schedule: the schedule of a vector of its own.
        j: index of the part.
        first_block: number of its first block in the longer vector.
        when: (steps,) for each step of the schedule, the step of the whole at which it takes place.
    """

    schedule: Schedule
    j: int
    first_block: int
    when: Array

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return int(self.when[-1]) + 1 if len(self.when) else 0

    @cached_property
    def _index(self) -> dict[int, int]:
        """The step of the schedule for each step of the whole; none where the part is idle."""
        return {at: s for s, at in enumerate(self.when.tolist())}

    def acts(self, s: int) -> bool:
        """Whether the part is not idle in step s of the whole."""
        return s in self._index

    def own_step(self, s: int) -> int | None:
        """Return the step of the schedule in step s of the whole; None if the part is idle."""
        return self._index.get(s)

    def step(self, s: int) -> Step:
        if not self.acts(s):
            return Step.empty()
        step = self.schedule.step(self._index[s])
        first, part = (np.full(len(step), value) for value in (self.first_block, self.j))
        return Step(step.reduces, step.src, step.dst, step.blocks.shift(first), part)

    def rank(self, rank: int) -> RankMessages:
        return self.schedule.rank(rank).at(self.when).place(self.j, self.first_block)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        lines = self.schedule.lines(self._index[s]) if self.acts(s) else ()
        return lines and tuple(line._replace(part=self.j) for line in lines)

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        rows = self.schedule.body.translates(self._index[s]) if self.acts(s) else ()
        return rows and tuple(row._replace(part=self.j) for row in rows)

    def signature(self, s: int) -> Hashable:
        return self.schedule.signature(self._index[s]) if self.acts(s) else None

    def sync_phase(self, s: int) -> Hashable:
        # An idle part waits in the phase of its last step.
        before = int(np.searchsorted(self.when, s, side="right")) - 1
        return self.schedule.sync_phase(max(before, 0))


@dataclass(frozen=True, eq=False)
class Parallel(Body):
    """Parts side by side, each on its own range of blocks.

    Parts in lockstep synchronise: the i-th phase of all parts begins in the same step, and a part
    whose phase is shorter is idle until the next one. Other parts never wait for each other.

    Args:
        schedules: the parts, in the order of their blocks.
        lockstep: whether the parts synchronise.
    """

    schedules: tuple[Schedule, ...]
    lockstep: bool = True

    @cached_property
    def parts(self) -> tuple[Placed, ...]:
        """The parts in their places."""
        first = np.cumsum([0] + [schedule.nblocks for schedule in self.schedules]).tolist()
        each = zip(self.schedules, first, self._when, strict=False)
        return tuple(Placed(part, j, block, when) for j, (part, block, when) in enumerate(each))

    @cached_property
    def _starts(self) -> Array:
        """(phases,) the step in which each phase begins."""
        each = zip_longest(*(each.phase_lengths() for each in self.schedules), fillvalue=0)
        longest = [max(lengths) for lengths in each]
        return np.cumsum([0, *longest[:-1]])

    @property
    def _when(self) -> list[Array]:
        """For each part, the step of the whole at which each of its steps takes place."""
        if not self.lockstep:
            return [np.arange(schedule.nsteps) for schedule in self.schedules]
        each = []
        for schedule in self.schedules:
            lengths = schedule.phase_lengths()
            begins = np.cumsum([0, *lengths])[:-1]
            waits = self._starts[: len(lengths)] - begins
            each.append(np.arange(schedule.nsteps) + np.repeat(waits, lengths))
        return each

    @cached_property
    def _distinct(self) -> list[Placed]:
        """The parts without those of the same schedule, which act in the same steps."""
        return list({id(part.schedule): part for part in reversed(self.parts)}.values())

    @cached_property
    def nsteps(self) -> int:  # type: ignore[override]
        return max(part.nsteps for part in self.parts)

    def _active(self, s: int) -> list[Placed]:
        return [part for part in self.parts if part.acts(s)]

    def step(self, s: int) -> Step:
        steps = [part.step(s) for part in self._active(s)]
        if not steps:
            return Step.empty()
        return Step(
            np.concatenate([step.reduces for step in steps]),
            np.concatenate([step.src for step in steps]),
            np.concatenate([step.dst for step in steps]),
            Blocks.join([step.blocks for step in steps]),
            np.concatenate([step.part for step in steps]),
        )

    def rank(self, rank: int) -> RankMessages:
        return RankMessages.merge([part.rank(rank) for part in self.parts])

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        each = [part.lines(s) for part in self._active(s)]
        described = [lines for lines in each if lines is not None]
        # Lines must describe all traffic of a step or none of it.
        return sum(described, ()) if len(described) == len(each) else None

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        each = [part.translates(s) for part in self._active(s)]
        known = [rows for rows in each if rows is not None]
        return sum(known, ()) if len(known) == len(each) else None

    def signature(self, s: int) -> Hashable:
        return tuple(part.signature(s) for part in self._distinct)

    def sync_phase(self, s: int) -> Hashable:
        return int(np.searchsorted(self._starts, s, side="right")) if self.lockstep else 0

    def part(self, j: int) -> Body:
        return self.parts[j]

    def reversed(self) -> Body:
        return Parallel(tuple(map(reverse, self.schedules)), self.lockstep)


def parts_of(schedule: Schedule) -> list[Schedule]:
    """Return the parts of a schedule, each for a vector of its own."""
    return list(schedule.body.schedules) if isinstance(schedule.body, Parallel) else [schedule]


def originals(schedule: Schedule) -> list[int]:
    """Return for each part the first part that has the same messages, for a share of its own."""
    if not isinstance(schedule.body, Parallel):
        return list(range(len(schedule.parts)))
    first: dict[int, int] = {}
    return [first.setdefault(id(each), j) for j, each in enumerate(schedule.body.schedules)]


def in_lockstep(schedule: Schedule) -> bool:
    """Return whether the parts of a schedule synchronise."""
    return not isinstance(schedule.body, Parallel) or schedule.body.lockstep


def some_wait(schedule: Schedule) -> bool:
    """Return whether parts in lockstep are idle in some steps, in which they wait for others."""
    body = schedule.body
    if not isinstance(body, Parallel) or not body.lockstep:
        return False
    return any(len(part.when) < body.nsteps for part in body.parts)


def parallel(
    parts: Sequence[Schedule], weights: ArrayLike | None = None, *, lockstep: bool = True
) -> Schedule:
    """Run parts side by side, each on its own share of the vector.

    Args:
        parts: schedules of the same torus.
        weights: relative size of each part's share; if None, all blocks have the same size.
        lockstep: whether the i-th phases of all parts begin together; otherwise the parts never
            wait for each other.

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
    if len(parts) == 1 and lockstep:
        return first
    shares = first.shares if len(parts) == 1 else None
    if weights is not None and len(parts) > 1:
        sizes = checked_weights(weights, len(parts))
        fractions = sizes * first.vectors / sizes.sum()
        shares = np.concatenate(
            [np.full(p.nblocks, w / p.nblocks) for p, w in zip(parts, fractions, strict=True)]
        )
    return replace(
        first,
        nblocks=sum(part.nblocks for part in parts),
        body=Parallel(tuple(parts), lockstep),
        origin=RankColumn.join([part.origin for part in parts]),
        home=RankColumn.join([part.home for part in parts]),
        parts=tuple(part.nblocks for part in parts),
        shares=shares,
        phases=None,
    )


def checked_weights(weights: ArrayLike, nparts: int) -> np.ndarray:
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


__getattr__ = moved(__name__, "swing.build.segments")
