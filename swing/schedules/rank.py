"""The messages of one rank in all steps of a schedule.

A `Step` lists the messages of all ranks; to run a schedule, a rank needs only its own messages, but
in all steps. `rank_messages` can always select them from the steps, but that reads every row: on a
ring, p rows in each of p - 1 steps. An algorithm that can compute one rank's messages directly
therefore wraps its step function in `Steps`.
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
    """The messages that one rank sends, or those it receives: one row per message, ordered by step.

    Args:
        step: (m,) index of the step.
        peer: (m,) rank at the other end.
        reduce: (m,) whether the receiver reduces the message; otherwise it copies it.
        blocks: the blocks of each message.
        mine, theirs: (m,) sort keys of the receiver's own value and of the received one. Within a
            step, the receiver reduces its own value and all received values in ascending order of
            key. Ranks that reduce the same values see them in the same order of keys, so they get
            the same bits. The keys of sent messages are not used.
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
        """Make a table in which every message is reduced by its receiver."""
        return cls(step, peer, np.ones(len(step), dtype=bool), blocks, mine, theirs)

    def take(self, rows: Array) -> MessageTable:
        """Select the messages with the given row numbers."""
        step, peer, reduce, blocks, mine, theirs = self
        return MessageTable(
            step[rows], peer[rows], reduce[rows], blocks.take(rows), mine[rows], theirs[rows]
        )

    def later(self, steps: int) -> MessageTable:
        """Delay every message by a number of steps."""
        return self._replace(step=self.step + steps)

    def shift(self, offset: int) -> MessageTable:
        """Add an offset to every block number."""
        return self._replace(blocks=self.blocks.shift(offset))


class RankMessages(NamedTuple):
    """All messages that one rank sends and receives."""

    sends: MessageTable
    recvs: MessageTable

    def reversed(self, nsteps: int) -> RankMessages:
        """Send every message back, to be copied, in ``nsteps`` steps that run in reverse order."""

        def back(table: MessageTable) -> MessageTable:
            step = nsteps - 1 - table.step
            order = np.argsort(step, kind="stable")
            copied = table._replace(step=step, reduce=np.zeros(len(step), dtype=bool))
            return copied.take(order)

        return RankMessages(back(self.recvs), back(self.sends))


class Steps:
    """A step function that can also compute one rank's messages directly.

    Args:
        step: maps an index to a Step.
        own: maps a rank to its messages: exactly those that the steps list for it. Messages
            between the same two ranks in one step keep their order, because MPI matches them in
            order.
    """

    def __init__(self, step: Callable[[int], Step], own: Callable[[int], RankMessages]) -> None:
        self._step = step
        # An allreduce asks for its reduce-scatter's messages twice: forwards, then reversed.
        self.own = lru_cache(maxsize=1)(own)

    def __call__(self, s: int) -> Step:
        """Return the step with index ``s``."""
        return self._step(s)


def rank_messages(schedule: Schedule, rank: int) -> RankMessages:
    """Return the messages that one rank sends and receives.

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
    """Select the messages of one rank from every step; this reads the whole schedule."""
    sends: list[MessageTable] = []
    recvs: list[MessageTable] = []
    for s, step in enumerate(schedule):
        src, dst, blocks, _ = step.rows
        for tables, ends, peers in ((sends, src, dst), (recvs, dst, src)):
            rows = np.flatnonzero(ends == rank)
            if len(rows):
                when, peer, me = np.full_like(rows, s), peers[rows], np.full_like(rows, rank)
                reduce = step.reduces[rows]
                tables.append(MessageTable(when, peer, reduce, blocks.take(rows), me, peer))
    return RankMessages(stack(sends), stack(recvs))


def stack(tables: Sequence[MessageTable]) -> MessageTable:
    """Merge tables, ordered by step; within a step, messages keep the order of the tables."""
    if not tables:
        none = np.zeros(0, dtype=np.int64)
        return MessageTable.to_reduce(none, none, BlockRange(none, none), none, none)
    if len(tables) == 1:
        return tables[0]
    step, peer, reduce, blocks, mine, theirs = zip(*tables, strict=True)
    columns = map(np.concatenate, (step, peer, reduce, mine, theirs))
    steps, peers, reduces, own, other = columns
    merged = MessageTable(steps, peers, reduces, join(blocks), own, other)
    order = np.argsort(steps, kind="stable")
    # `take` makes arbitrary block sets slower to read, so skip it if the rows are in order.
    return merged if (order[1:] > order[:-1]).all() else merged.take(order)


def with_rank_view(
    step: Callable[[int], Step],
    parts: Sequence[Schedule],
    own: Callable[[Sequence[RankMessages]], RankMessages],
) -> Callable[[int], Step]:
    """Wrap a combined step function in `Steps` if all its parts are `Steps` too.

    Args:
        step: the step function of the combined schedule.
        parts: the schedules that it combines.
        own: combines one rank's messages in each of the parts into its messages in all of them.
    """
    direct = [part.step for part in parts if isinstance(part.step, Steps)]
    if len(direct) < len(parts):
        return step
    return Steps(step, lambda rank: own([steps.own(rank) for steps in direct]))
