"""Reversal: a schedule whose messages are turned round and run from the last step to the first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from swing.schedules.body import Body
from swing.schedules.collectives import ALL
from swing.schedules.rank import RankMessages
from swing.schedules.schedule import Schedule, expect_schedule
from swing.schedules.step import LineRows, Step
from swing.schedules.translates import Translates


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

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        rows = self.forward.body.translates(self.nsteps - 1 - s)
        return rows and tuple(row.reversed(self.flip) for row in rows)

    def signature(self, s: int) -> Hashable:
        return "back", self.forward.signature(self.nsteps - 1 - s)

    def sync_phase(self, s: int) -> Hashable:
        return "back", self.forward.sync_phase(self.nsteps - 1 - s)

    def phase_lengths(self) -> list[int]:
        return self.forward.phase_lengths()[::-1]

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
    expect_schedule(schedule)
    if schedule.body.reversed() is None:
        _check_reversible(schedule)
    return turned(schedule)


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


def turned(schedule: Schedule) -> Schedule:
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
