"""View: what one rank sees of a schedule, whatever the count.

Two ranks that exchange their partial sums must compute the same bits, and an operation may tell
its operands apart: the maximum of 0.0 and -0.0 is the second one. So the operand that contains
the lowest rank's contribution comes first, on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.schedule import Op, Schedule, Turn
from swing.torus import Array

Flags = NDArray[np.bool_]


class View(NamedTuple):
    """One rank's turns, and for every message it receives: whose operand comes first.

    Args:
        schedule: an allreduce.
        turns: what the rank sends and receives, step by step.
        own_first: for each turn and message received, (blocks,) whether the left operand is
            the receiver's own.
    """

    schedule: Schedule
    turns: Sequence[Turn]
    own_first: Sequence[Sequence[Flags]]


def view(schedule: Schedule, rank: int) -> View:
    """What a rank sees of an allreduce."""
    turns = schedule.for_rank(rank)
    order = iter(_order(schedule, rank, turns))
    return View(schedule, turns, [[next(order) for _ in turn.recvs] for turn in turns])


def _order(schedule: Schedule, rank: int, turns: Sequence[Turn]) -> list[Flags]:
    if schedule.owner is not None:  # each block is added up on one rank, in an order of its own
        messages = [message for turn in turns for message in turn.recvs]
        return [np.full(_length(m.blocks), rank < m.src) for m in messages]
    lowest = np.repeat(schedule.torus.ranks[:, None], schedule.nblocks, axis=1)
    order = []
    for step in schedule:
        before = lowest.copy()
        for message in map(step.message, range(len(step))):
            theirs = before[message.src, message.blocks]
            here = message.dst, message.blocks
            if message.dst == rank:
                order.append(before[here] < theirs)
            lowest[here] = theirs if message.op is Op.COPY else np.minimum(lowest[here], theirs)
    return order


def _length(blocks: slice | Array) -> int:
    return blocks.stop - blocks.start if isinstance(blocks, slice) else len(blocks)
