"""View: what one rank sees of a schedule, whatever the count.

Ranks that exchange their partial sums must compute the same bits, and an operation may tell its
operands apart: the maximum of 0.0 and -0.0 is the second one. So all that a rank receives in one
step is reduced together with its own value in one order that every rank finds: that of their
*leaders*, the lowest rank whose contribution each contains. `swing.correctness` proves that all
ranks get the same bits so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.schedule import BlockRange, Blocks, Op, Schedule, Turn
from swing.torus import Array

Flags = NDArray[np.bool_]


class Leaders(NamedTuple):
    """Of a message's blocks, (blocks,) the leaders of the receiver's and of the sender's value."""

    mine: Array
    theirs: Array


class View(NamedTuple):
    """One rank's turns, and the order in which it reduces what it receives.

    Args:
        schedule: an allreduce.
        turns: what the rank sends and receives, step by step.
        leaders: for each turn, those of every message received.
    """

    schedule: Schedule
    turns: Sequence[Turn]
    leaders: Sequence[Sequence[Leaders]]


def view(schedule: Schedule, rank: int) -> View:
    """What a rank sees of an allreduce."""
    turns = schedule.for_rank(rank)
    if schedule.owner is None:
        return View(schedule, turns, _leaders(schedule, rank, turns))
    # Each block is added up on one rank: any order will do if it is always the same.
    return View(
        schedule,
        turns,
        [[_by_rank(rank, m.src, _length(m.blocks)) for m in turn.recvs] for turn in turns],
    )


def _by_rank(rank: int, src: int, length: int) -> Leaders:
    return Leaders(np.full(length, rank), np.full(length, src))


def _leaders(schedule: Schedule, rank: int, turns: Sequence[Turn]) -> list[list[Leaders]]:
    lowest = np.repeat(schedule.torus.ranks[:, None], schedule.nblocks, axis=1)
    found: dict[int, list[Leaders]] = {}
    for s, step in enumerate(schedule):
        row, block = _members(step.blocks)
        theirs, dst = lowest[step.src[row], block], step.dst[row]
        mine = lowest[dst, block]
        ends = np.cumsum(np.append(0, step.blocks.count)).tolist()
        for i in np.flatnonzero(step.dst == rank).tolist():
            some = slice(ends[i], ends[i + 1])
            found.setdefault(s, []).append(Leaders(mine[some], theirs[some]))
        op = np.full(len(row), step.op) if isinstance(step.op, Op) else step.op[row]
        copied, added = op == Op.COPY, op == Op.REDUCE
        lowest[dst[copied], block[copied]] = theirs[copied]
        np.minimum.at(lowest, (dst[added], block[added]), theirs[added])
    return [found.get(turn.step, []) for turn in turns]


def _members(blocks: Blocks) -> tuple[Array, Array]:
    """Every block of every message: the message, and the block."""
    row = np.repeat(np.arange(len(blocks)), blocks.count)
    if isinstance(blocks, BlockRange):
        first = np.cumsum(blocks.count) - blocks.count
        return row, np.arange(len(row)) + (blocks.start - first)[row]
    members = [blocks.members(i) for i in range(len(blocks))]
    return row, np.concatenate(members) if members else row


def _length(blocks: slice | Array) -> int:
    return blocks.stop - blocks.start if isinstance(blocks, slice) else len(blocks)
