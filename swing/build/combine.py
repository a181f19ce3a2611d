"""Combinations of schedules: products of ring patterns, and schedules one after the other.

Schedules are reversed by `swing.build.reversal`, and run side by side by `swing.build.parallel`.
Each function returns a `Schedule` whose body is an instance of a small frozen class.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from swing.build.pattern import RingPattern
from swing.build.product import Exchange, Product
from swing.build.reversal import reverse, turned
from swing.checks import shown
from swing.deprecated import moved
from swing.schedules.body import Body
from swing.schedules.rank import RankMessages
from swing.schedules.schedule import Schedule, expect_schedule
from swing.schedules.step import LineRows, Step
from swing.schedules.translates import Translates
from swing.torus import Torus

Order = Sequence[int | tuple[int, ...]]
"""For each step: a dimension, or a tuple of dimensions that act at once."""


def product(
    torus: Torus, lines: Sequence[RingPattern], order: Order, k: int | None = None
) -> Schedule:
    """Multiply ring patterns into one part: a reduce-scatter, or an allreduce in three phases.

    The allreduce does k steps of reduce-scatter, then the remaining steps as an exchange of all
    pending blocks, then k steps of allgather.

    Args:
        torus: the ranks.
        lines: one pattern per dimension.
        order: the dimension of each step, or a tuple of dimensions that act at once. Where
            dimensions act at once, a rank exchanges messages directly with every rank that it
            would otherwise reach in up to one step along each of them.
        k: number of reduce-scatter steps. If None, the result is a reduce-scatter of all steps.
            Otherwise the steps after the k-th run in reverse order, long hops first, and partners
            exchange all blocks that are pending. Each partial sum then runs over one of the nested
            sets of the reduce-scatter, so all ranks add in the same tree and get the same bits.
    """
    steps = [(at,) if isinstance(at, int) else tuple(at) for at in order]
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
    return chain(scatter, exchange, turned(scatter))


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

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        return self.row.body.translates(s)  # ranks in order are alike, whatever their coordinates

    def signature(self, s: int) -> Hashable:
        return self.row.signature(s)


def over_ranks(torus: Torus, line: RingPattern) -> Schedule:
    """Make the reduce-scatter of one pattern among all ranks of a torus, in order."""
    row = product(Torus(torus.size), [line], [0] * line.nsteps)
    return replace(row, torus=torus, body=OverRanks(row))


@dataclass(frozen=True, eq=False)
class Chain(Body):
    """Schedules of the same blocks, one after the other.

    Args:
        links: the schedules, in order.
    """

    links: tuple[Schedule, ...]

    @cached_property
    def nsteps(self) -> int:  # type: ignore[override]
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        """The step in which each schedule begins, and at last the number of steps."""
        return list(itertools.accumulate((link.nsteps for link in self.links), initial=0))

    def _locate(self, s: int) -> tuple[int, Schedule, int]:
        """The schedule that step s belongs to, with its index, and the step's index in it."""
        if not 0 <= s < self.nsteps:
            raise IndexError(f"the schedules have {self.nsteps} steps in all")
        i = bisect_right(self._starts, s) - 1
        return i, self.links[i], s - self._starts[i]

    def step(self, s: int) -> Step:
        _, link, t = self._locate(s)
        return link.step(t)

    def rank(self, rank: int) -> RankMessages:
        each = zip(self.links, self._starts, strict=False)
        return RankMessages.merge([link.rank(rank).later(start) for link, start in each])

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        _, link, t = self._locate(s)
        return link.lines(t)

    def signature(self, s: int) -> Hashable:
        i, link, t = self._locate(s)
        return i, link.signature(t)

    def sync_phase(self, s: int) -> Hashable:
        i, link, t = self._locate(s)
        return i, link.sync_phase(t)

    def phase_lengths(self) -> list[int]:
        return list(itertools.chain(*(link.phase_lengths() for link in self.links)))

    def part(self, j: int) -> Body:
        return Chain(tuple(replace(link, body=link.part(j)) for link in self.links))

    def reversed(self) -> Body:
        return Chain(tuple(reverse(link) for link in self.links[::-1]))


def chain(*schedules: Schedule) -> Schedule:
    """Run schedules of the same torus and blocks one after the other.

    The homes are those of the last schedule; everything else, such as the name, the parts and the
    origins, is that of the first.

    Raises:
        TypeError: one is not a schedule.
        ValueError: there are none.
    """
    if not schedules:
        raise ValueError("chain needs at least one schedule")
    for schedule in schedules:
        expect_schedule(schedule)
    first, last = schedules[0], schedules[-1]
    return replace(first, body=Chain(schedules), home=last.home, phases=None)


def with_allgather(reduce_scatter: Schedule) -> Schedule:
    """Make the bandwidth-optimal allreduce: a reduce-scatter, followed by its reverse."""
    expect_schedule(reduce_scatter)
    return chain(reduce_scatter, turned(reduce_scatter))


COLLECT: dict[str, Callable[[Schedule], Schedule]] = {
    "allreduce": with_allgather,
    "reduce_scatter": lambda reduce_scatter: reduce_scatter,
    "allgather": turned,
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


__getattr__ = moved(__name__, "swing.build.parallel")
