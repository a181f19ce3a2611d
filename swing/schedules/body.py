"""The messages of a schedule in two views: all ranks in one step, or one rank in all steps.

`Body.step` lists the messages of all ranks in one step, for proofs and simulations; `Body.rank`
lists those of one rank in all steps, for execution. Both views contain the same messages, and list
the messages of a rank within a step in the same order. A new kind of body has to define ``nsteps``
and `Body.step`; it may override the other methods with faster ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from swing.schedules.rank import RankMessages, filtered
from swing.schedules.step import LineRows, Step
from swing.schedules.translates import Translates


class Body(ABC):
    """The messages of a schedule, without its name, torus, blocks and collective.

    Attributes:
        nsteps: number of steps.
    """

    nsteps: int

    @abstractmethod
    def step(self, s: int) -> Step:
        """Return the messages of all ranks in step ``s``."""

    def rank(self, rank: int) -> RankMessages:
        """Return the messages of one rank in all steps.

        This default reads every step, and returns no reduction keys, since these depend on what all
        other ranks have reduced before.
        """
        found = filtered(map(self.step, range(self.nsteps)), rank)
        return RankMessages(rank, found.sends._replace(keys=None), found.recvs._replace(keys=None))

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        """Return the traffic of a step in compact form; None if it has no such form."""
        return None

    def unreduced_lines(self, s: int) -> tuple[LineRows, ...] | None:
        """Return `lines` for messages that carry the contributions themselves, not their sums."""
        return None

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        """Return the messages of a step as translates; None if ranks are not known to be alike."""
        return None

    def signature(self, s: int) -> Hashable:
        """Return a key that steps share if they move the same bytes between the same ranks."""
        return s

    def sync_phase(self, s: int) -> Hashable:
        """Return the key of a step. The parts synchronise where the key changes."""
        return s

    def phase_lengths(self) -> list[int]:
        """Return the number of steps of each synchronisation phase."""
        return run_lengths(map(self.sync_phase, range(self.nsteps)))

    def part(self, j: int) -> Body:
        """Return the messages of part ``j``; they keep their blocks' numbers in the vector."""
        return OnePart(self, j)

    def reversed(self) -> Body | None:
        """Return the messages turned round, where they consist of schedules that can be reversed.

        None if every message has to be turned round by itself.
        """
        return None


def run_lengths(keys: Iterable[Hashable]) -> list[int]:
    """Return the lengths of the runs of equal keys.

    >>> run_lengths("aabccc")
    [2, 1, 3]
    """
    return [sum(1 for _ in run) for _, run in groupby(keys)]


@dataclass(frozen=True, eq=False)
class Function(Body):
    """The messages that a function lists, step by step.

    Args:
        nsteps: number of steps.
        function: maps an index in ``range(nsteps)`` to a Step.
        key: maps an index to the step's signature; the index itself if None.
    """

    nsteps: int
    function: Callable[[int], Step]
    key: Callable[[int], Hashable] | None = None

    def step(self, s: int) -> Step:
        return self.function(s)

    def signature(self, s: int) -> Hashable:
        return self.key(s) if self.key else s


@dataclass(frozen=True, eq=False)
class OnePart(Body):
    """The messages of part ``j``, selected from those of all parts.

    Args:
        whole: the messages of all parts.
        j: index of the part.
    """

    whole: Body
    j: int

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.whole.nsteps

    def step(self, s: int) -> Step:
        step = self.whole.step(s)
        return step.take(np.flatnonzero(step.part == self.j))

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        lines = self.whole.lines(s)
        return lines and tuple(line for line in lines if line.part == self.j)

    def signature(self, s: int) -> Hashable:
        return self.whole.signature(s)

    def sync_phase(self, s: int) -> Hashable:
        return self.whole.sync_phase(s)
