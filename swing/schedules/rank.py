"""One rank's messages, all steps at once.

A step tells what all ranks do at one time; to run a schedule a rank wants to know what it does
itself at all times. That is a filter of the same table, and `rank_messages` can always make it. But
a ring of thousands of ranks has as many steps, each with as many rows: so where an algorithm knows
a rank's messages without those of the others, its steps are `Steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.schedules.blocks import BlockRange, Blocks, join
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array


class MessageTable(NamedTuple):
    """What one rank sends, or what it receives: a row a message, in the order of steps.

    Args:
        step: (m,) when.
        peer: (m,) to whom, or from whom.
        reduce: (m,) whether the receiver reduces it.
        blocks: of every message.
        mine, theirs: (m,) in what order a receiver takes its own value and what it gets in a step:
            ascending. Ranks that add up the same values take them in the same order.
    """

    step: Array
    peer: Array
    reduce: NDArray[np.bool_]
    blocks: Blocks
    mine: Array
    theirs: Array

    @classmethod
    def to_reduce(
        cls, step: Array, peer: Array, blocks: Blocks, mine: Array, theirs: Array
    ) -> MessageTable:
        """Messages that receivers reduce."""
        return cls(step, peer, np.ones(len(step), dtype=bool), blocks, mine, theirs)

    def take(self, rows: Array) -> MessageTable:
        """Some of the messages."""
        step, peer, reduce, blocks, mine, theirs = self
        return MessageTable(
            step[rows], peer[rows], reduce[rows], blocks.take(rows), mine[rows], theirs[rows]
        )

    def later(self, steps: int) -> MessageTable:
        """The same messages, so many steps later."""
        return self._replace(step=self.step + steps)

    def shift(self, offset: int) -> MessageTable:
        """The same messages, their blocks renumbered by an offset."""
        return self._replace(blocks=self.blocks.shift(offset))


class RankMessages(NamedTuple):
    """All that one rank sends and receives."""

    sends: MessageTable
    recvs: MessageTable

    def reversed(self, nsteps: int) -> RankMessages:
        """Every message sent back, to be copied, the last of so many steps first."""

        def back(some: MessageTable) -> MessageTable:
            step = nsteps - 1 - some.step
            order = np.argsort(step, kind="stable")
            copied = some._replace(step=step, reduce=np.zeros(len(step), dtype=bool))
            return copied.take(order)

        return RankMessages(back(self.recvs), back(self.sends))


class Steps:
    """The steps of a schedule, and a rank's own messages in them.

    Args:
        step: the step of an index.
        own: a rank's messages, the same ones; of each two ranks in the same order.
    """

    def __init__(self, step: Callable[[int], Step], own: Callable[[int], RankMessages]) -> None:
        self._step = step
        self.own = lru_cache(maxsize=1)(own)  # an allreduce is a reduce-scatter, and that again

    def __call__(self, s: int) -> Step:
        """The step of an index."""
        return self._step(s)


def rank_messages(schedule: Schedule, rank: int) -> RankMessages:
    """What one rank sends and receives.

    >>> import swing
    >>> ring = swing.schedule("ring", swing.Torus(4), collective="reduce_scatter")
    >>> mine = rank_messages(ring, 0)
    >>> mine.sends.blocks.start.tolist(), mine.recvs.blocks.start.tolist()
    ([3, 2, 1], [2, 1, 0])
    """
    if isinstance(schedule.step, Steps):
        return schedule.step.own(rank)
    return filtered(schedule, rank)


def filtered(schedule: Schedule, rank: int) -> RankMessages:
    """The same, out of the whole table."""
    sends: list[MessageTable] = []
    recvs: list[MessageTable] = []
    for s, step in enumerate(schedule):
        src, dst, blocks, _ = step.rows
        for side, here, there in ((sends, src, dst), (recvs, dst, src)):
            some = np.flatnonzero(here == rank)
            if len(some):
                when, peer, me = np.full_like(some, s), there[some], np.full_like(some, rank)
                adds = step.reduces[some]
                side.append(MessageTable(when, peer, adds, blocks.take(some), me, peer))
    return RankMessages(stack(sends), stack(recvs))


def stack(tables: Sequence[MessageTable]) -> MessageTable:
    """The messages of several tables in the order of steps, those of a step table by table."""
    if not tables:
        none = np.zeros(0, dtype=np.int64)
        return MessageTable.to_reduce(none, none, BlockRange(none, none), none, none)
    if len(tables) == 1:
        return tables[0]
    step, peer, reduce, blocks, mine, theirs = zip(*tables, strict=True)
    columns = map(np.concatenate, (step, peer, reduce, mine, theirs))
    steps, peers, reduces, own, other = columns
    every = MessageTable(steps, peers, reduces, join(blocks), own, other)
    order = np.argsort(steps, kind="stable")
    return every if (order[1:] > order[:-1]).all() else every.take(order)


def with_rank_view(
    step: Callable[[int], Step],
    parts: Sequence[Schedule],
    own: Callable[[Sequence[RankMessages]], RankMessages],
) -> Callable[[int], Step]:
    """Steps made of those of other schedules; `Steps`, if all of these are."""
    known = [part.step for part in parts if isinstance(part.step, Steps)]
    if len(known) < len(parts):
        return step
    return Steps(step, lambda rank: own([each.own(rank) for each in known]))
