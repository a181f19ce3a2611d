"""View: what one rank sees of a schedule, whatever the count.

Ranks that exchange their partial sums must compute the same bits, and an operation may tell its
operands apart: the maximum of 0.0 and -0.0 is the second one. So all that a rank receives in one
step is reduced together with its own value in one order that every rank finds: that of their
*leaders*, which are the same wherever the same contributions have been added up: the lowest rank
among them, or another number if the schedule knows one (see `swing.schedules.rank.Messages`).
`swing.verification.proof` proves that all ranks get the same bits so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swing.schedules.blocks import BlockRange, Blocks
from swing.schedules.rank import RankMessages, Steps, rank_messages
from swing.schedules.schedule import Schedule
from swing.torus import Array


class ReductionKeys(NamedTuple):
    """Of every block of every message received: the receiver's leader, and the sender's."""

    mine: Array
    theirs: Array


class RankOrder(NamedTuple):
    """One rank's messages, and the order in which it reduces what it receives.

    Args:
        schedule: an allreduce.
        own: what the rank sends and receives.
        leaders: of what it receives.
    """

    schedule: Schedule
    messages: RankMessages
    keys: ReductionKeys


def rank_order(schedule: Schedule, rank: int) -> RankOrder:
    """What a rank sees of an allreduce."""
    seen = rank_messages(schedule, rank)
    if schedule.owner is None and not isinstance(schedule.step, Steps):
        return RankOrder(schedule, seen, _lowest(schedule, rank))
    # Each block is added up on one rank, in an order that is always the same; or they know it.
    count = seen.recvs.blocks.count
    return RankOrder(
        schedule,
        seen,
        ReductionKeys(np.repeat(seen.recvs.mine, count), np.repeat(seen.recvs.theirs, count)),
    )


def _lowest(schedule: Schedule, rank: int) -> ReductionKeys:
    """The lowest ranks: the whole schedule is run through."""
    lowest = np.repeat(schedule.torus.ranks[:, None], schedule.nblocks, axis=1)
    found = [ReductionKeys(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for step in schedule:
        row, block = members(step.blocks)
        theirs, dst = lowest[step.src[row], block], step.dst[row]
        here = dst == rank
        found.append(ReductionKeys(lowest[rank, block[here]], theirs[here]))
        added = step.reduces[row]
        copied = ~added
        lowest[dst[copied], block[copied]] = theirs[copied]
        np.minimum.at(lowest, (dst[added], block[added]), theirs[added])
    return ReductionKeys(*map(np.concatenate, zip(*found, strict=True)))


def members(blocks: Blocks) -> tuple[Array, Array]:
    """Every block of every message: the message, and the block."""
    row = np.repeat(np.arange(len(blocks)), blocks.count)
    if isinstance(blocks, BlockRange):
        first = np.cumsum(blocks.count) - blocks.count
        return row, np.arange(len(row)) + (blocks.start - first)[row]
    found = [blocks.members(i) for i in range(len(blocks))]
    return row, np.concatenate(found) if found else row
