"""Combinations of schedules: products of ring patterns, reversal, sequence, and parts side by side.

Each function returns a `Schedule` whose body is an instance of one of the small frozen classes in
this module or in `swing.build.product`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index

import numpy as np
from numpy.typing import ArrayLike

from swing.build.pattern import RingPattern
from swing.build.product import Exchange, Product
from swing.checks import expect, shown
from swing.schedules.blocks import Blocks
from swing.schedules.body import Body
from swing.schedules.collectives import ALL, RankColumn
from swing.schedules.rank import RankMessages
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Step
from swing.torus import Torus

Order = Sequence[int | tuple[int, ...] | None]
"""For each step: a dimension, a tuple of dimensions that act at once, or None for an idle step."""


def product(
    torus: Torus, lines: Sequence[RingPattern], order: Order, k: int | None = None
) -> Schedule:
    """Multiply ring patterns into one part: a reduce-scatter, or an allreduce in three phases.

    The allreduce does k steps of reduce-scatter, then the remaining steps as an exchange of all
    pending blocks, then k steps of allgather.

    Args:
        torus: the ranks.
        lines: one pattern per dimension.
        order: the dimension of each step, a tuple of dimensions that act at once, or None for a
            step in which the part is idle. Where dimensions act at once, a rank exchanges
            messages directly with every rank that it would otherwise reach in up to one step
            along each of them.
        k: number of reduce-scatter steps. If None, the result is a reduce-scatter of all steps.
            Otherwise the steps after the k-th run in reverse order, long hops first, and partners
            exchange all blocks that are pending. Each partial sum then runs over one of the nested
            sets of the reduce-scatter, so all ranks add in the same tree and get the same bits.
    """
    steps = [() if at is None else (at,) if isinstance(at, int) else tuple(at) for at in order]
    split = len(steps) if k is None else k
    if split < len(steps):
        # Blocks that no reduce-scatter step separates always travel together: make them one block.
        taken = [sum(j in dims for dims in steps[:split]) for j in range(len(lines))]
        lines = [line.coarse(t) for line, t in zip(lines, taken, strict=True)]
    body = Product(torus, tuple(lines), tuple(steps), split)
    scatter = Schedule("product", torus, body.nblocks, body=body, home=body.home)
    if k is None:
        return scatter
    exchange = Schedule("exchange", torus, body.nblocks, body=Exchange(body))
    return chain(scatter, exchange, _turned(scatter))


@dataclass(frozen=True, eq=False)
class OverRanks(Body):
    """A schedule of ranks in order, on a torus of other dimensions.

    Args:
        row: the schedule, whose torus is a row of all ranks.
    """

    row: Schedule

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.row.nsteps

    def step(self, s: int) -> Step:
        return self.row.step(s)

    def rank(self, rank: int) -> RankMessages:
        return self.row.rank(rank)

    def signature(self, s: int) -> Hashable:
        return self.row.signature(s)


def over_ranks(torus: Torus, line: RingPattern) -> Schedule:
    """Make the reduce-scatter of one pattern among all ranks of a torus, in order."""
    row = product(Torus(torus.size), [line], [0] * line.nsteps)
    return replace(row, torus=torus, body=OverRanks(row))


@dataclass(frozen=True, eq=False)
class Reversed(Body):
    """The messages of a schedule, turned round, from the last step to the first.

    Args:
        forward: the schedule.
    """

    forward: Schedule

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.forward.nsteps

    @property
    def flip(self) -> bool:
        """Whether messages that were reduced are copied, and those that were copied reduced.

        If neither origin nor home is `ALL`, one rank has a block and one rank needs it, so it is
        copied in both directions.
        """
        return ALL in (self.forward.origin.constant, self.forward.home.constant)

    def step(self, s: int) -> Step:
        return self.forward.step(self.nsteps - 1 - s).reversed(self.flip)

    def rank(self, rank: int) -> RankMessages:
        return self.forward.rank(rank).reversed(self.nsteps, self.flip)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        lines = self.forward.lines(self.nsteps - 1 - s)
        return lines and tuple(
            line._replace(src=line.dst, dst=line.src, reduces=line.reduces ^ self.flip)
            for line in lines
        )

    def signature(self, s: int) -> Hashable:
        return "back", self.forward.signature(self.nsteps - 1 - s)

    def sync_phase(self, s: int) -> Hashable:
        return "back", self.forward.sync_phase(self.nsteps - 1 - s)

    def part(self, j: int) -> Body:
        return Reversed(replace(self.forward, body=self.forward.part(j)))

    def reversed(self) -> Body:
        return self.forward.body


def reverse(schedule: Schedule) -> Schedule:
    """Turn every message round, and run the steps from the last to the first.

    Origin and home change places. If one of them is `ALL`, messages that were reduced are copied,
    and those that were copied are reduced. So the reverse of a reduce-scatter is an allgather, that
    of a broadcast is a reduce to the broadcast's root, that of a scatter is a gather, and vice
    versa. Schedules that run one after the other or side by side are each reversed by their own
    origin and home, so a scatter before an allgather becomes a gather after a reduce-scatter.
    `swing.verify` proves the result.

    Raises:
        ValueError: an allreduce that is not a chain of such schedules: where ranks exchange partial
            sums, reductions would have to remain reductions. Or an origin or home that is `ALL` for
            some blocks only.

    >>> import swing
    >>> scatter = swing.schedule("ring", swing.Torus(3), collective="reduce_scatter")
    >>> print(scatter, reverse(scatter), sep=chr(10))
    0 +  0→1:2  1→2:0  2→0:1
    1 +  0→1:1  1→2:2  2→0:0
    0 =  1→0:1  2→1:2  0→2:0
    1 =  1→0:2  2→1:0  0→2:1
    """
    _expect_schedule(schedule)
    if schedule.body.reversed() is None:
        _check_reversible(schedule)
    return _turned(schedule)


def _expect_schedule(schedule: object) -> None:
    expect(schedule, Schedule, "a schedule, such as swing.schedule('ring', torus)")


def _check_reversible(schedule: Schedule) -> None:
    """Raise ValueError unless every reduction becomes a copy in the reverse, or none does."""
    for name, column in (("origin", schedule.origin), ("home", schedule.home)):
        if column.constant is None and (column[:] == ALL).any():
            raise ValueError(
                f"the {name} is ALL for some blocks and a rank for others: reverse a schedule of "
                "each kind, and join them with parallel"
            )
    if schedule.is_allreduce:
        raise ValueError(
            "an allreduce in which ranks exchange partial sums cannot be reversed: reverse a "
            "reduce-scatter, an allgather or a chain of them"
        )


def _turned(schedule: Schedule) -> Schedule:
    """Reverse a schedule without a check, which would compute its origin and home."""
    body, phases = schedule.body.reversed(), None
    if body is None:
        body = Reversed(schedule)  # which mirrors the phases, too
    elif schedule.phases:
        phases = mirrored(schedule.phases, schedule.nsteps)
    elif isinstance(schedule.body, Reversed):
        phases = schedule.body.forward.phases
    return replace(schedule, body=body, origin=schedule.home, home=schedule.origin, phases=phases)


def mirrored(phases: Callable[[int], Hashable], nsteps: int) -> Callable[[int], Hashable]:
    """Return the phases of ``nsteps`` steps that run from the last to the first."""
    return lambda s: ("back", phases(nsteps - 1 - s))


@dataclass(frozen=True, eq=False)
class Chain(Body):
    """Schedules of the same blocks, one after the other.

    Args:
        links: the schedules, in order.
    """

    links: tuple[Schedule, ...]

    @cached_property
    def nsteps(self) -> int:  # type: ignore[override]
        return sum(link.nsteps for link in self.links)

    def _locate(self, s: int) -> tuple[int, Schedule, int]:
        """The schedule that step s belongs to, with its index, and the step's index in it."""
        for i, link in enumerate(self.links):
            if s < link.nsteps:
                return i, link, s
            s -= link.nsteps
        raise IndexError(f"the schedules have {self.nsteps} steps in all")

    def step(self, s: int) -> Step:
        _, link, t = self._locate(s)
        return link.step(t)

    def rank(self, rank: int) -> RankMessages:
        delays = np.cumsum([0] + [link.nsteps for link in self.links]).tolist()
        return RankMessages.merge(
            [link.rank(rank).later(n) for link, n in zip(self.links, delays, strict=False)]
        )

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        _, link, t = self._locate(s)
        return link.lines(t)

    def signature(self, s: int) -> Hashable:
        i, link, t = self._locate(s)
        return i, link.signature(t)

    def sync_phase(self, s: int) -> Hashable:
        i, link, t = self._locate(s)
        return i, link.sync_phase(t)

    def part(self, j: int) -> Body:
        return Chain(tuple(replace(link, body=link.part(j)) for link in self.links))

    def reversed(self) -> Body:
        return Chain(tuple(reverse(link) for link in self.links[::-1]))


def chain(*schedules: Schedule) -> Schedule:
    """Run schedules of the same torus and blocks one after the other.

    The homes are those of the last schedule; everything else, such as the name, the parts and the
    origins, is that of the first.
    """
    for schedule in schedules:
        _expect_schedule(schedule)
    first, last = schedules[0], schedules[-1]
    return replace(first, body=Chain(schedules), home=last.home, phases=None)


def with_allgather(reduce_scatter: Schedule) -> Schedule:
    """Make the bandwidth-optimal allreduce: a reduce-scatter, followed by its reverse."""
    _expect_schedule(reduce_scatter)
    return chain(reduce_scatter, _turned(reduce_scatter))


COLLECT: dict[str, Callable[[Schedule], Schedule]] = {
    "allreduce": with_allgather,
    "reduce_scatter": lambda reduce_scatter: reduce_scatter,
    "allgather": _turned,
}
"""How the schedule of each collective follows from a reduce-scatter."""


def collect(reduce_scatter: Schedule, collective: str) -> Schedule:
    """Make the schedule of a collective from a reduce-scatter.

    Args:
        reduce_scatter: a reduce-scatter, such as `product` makes.
        collective: a key of `COLLECT`.

    Raises:
        ValueError: another collective.
    """
    if collective not in COLLECT:
        *others, last = COLLECT
        names = f"{', '.join(others)} or {last}"
        raise ValueError(f"collective must be {names}, not {shown(collective)}")
    return COLLECT[collective](reduce_scatter)


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
        _expect_schedule(part)
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
        sizes = relative(weights, (len(parts),))
        if sizes is None:
            raise ValueError(
                f"pass one weight for each of the {len(parts)} parts, finite numbers from 0 up "
                f"that are not all 0, not {shown(weights)}"
            )
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
        ValueError: segments that are not whole numbers from 1 up, or a sequence whose length does
            not divide the number of parts.
    """
    try:
        counts = [index(count) for count in np.atleast_1d(segments)]
    except (TypeError, ValueError):
        counts = []
    if not counts or len(parts) % len(counts) or min(counts) < 1:
        raise ValueError(
            f"segments must be a whole number from 1 up, or one for each dimension, "
            f"not {shown(segments)}"
        )
    pieces, shares = [], []
    for i, (part, weight) in enumerate(zip(parts, weights or [1] * len(parts), strict=True)):
        sizes = GROWTH ** np.arange(counts[i % len(counts)])
        pieces += [part] * len(sizes)
        shares += (weight * sizes / sizes.sum()).tolist()
    return replace(parallel(pieces, shares), phases=lambda s: 0)
