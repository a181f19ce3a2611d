"""Moves: which rank's value of which block each message of a step takes where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.checks import shown
from swing.schedules.collectives import ALL, RankColumn
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array
from swing.verification.outcome import ScheduleError
from swing.verification.rows import check_part

Flags = NDArray[np.bool_]


class Move(NamedTuple):
    """The blocks of a step's messages within a range of blocks: one entry per block and message.

    Rank r's value of block b is cell ``r * width + b - lo``, where the range has ``width`` blocks
    from ``lo`` on.
    """

    reduces: bool
    source: Array
    target: Array


def moves_of(schedule: Schedule, lo: int, hi: int) -> Iterator[tuple[int, list[Move]]]:
    """Yield the moves of each step in the blocks lo … hi - 1: its copies, then its reductions."""
    end = np.cumsum(schedule.parts)
    overlaps = (end > lo) & (end - schedule.parts < hi)  # parts with blocks in the range
    for s, step in enumerate(schedule):
        moves = []
        for reduces in (False, True):
            index = np.flatnonzero((step.reduces == reduces) & overlaps[step.part])
            if len(index):
                sent = step if len(index) == len(step) else step.take(index)
                row, block = members_of(schedule, s, sent, lo, hi)
                source, target = ((r * (hi - lo) - lo)[row] + block for r in (sent.src, sent.dst))
                moves.append(Move(reduces, source, target))
        yield s, moves


def members_of(schedule: Schedule, s: int, step: Step, lo: int, hi: int) -> tuple[Array, Array]:
    """Return the row number and the block of each block of the rows that is in lo … hi - 1."""
    blocks = step.blocks
    if blocks.starts is not None:
        start = np.clip(blocks.starts, lo, hi)
        count = np.clip(blocks.starts + blocks.counts, lo, hi) - start
        row = np.repeat(np.arange(len(count)), count)
        return row, np.arange(len(row)) + (start - np.cumsum(count) + count)[row]
    sets = [blocks.members(i) for i in range(len(blocks))]
    row = np.repeat(np.arange(len(sets)), [len(members) for members in sets])
    block = np.concatenate(sets)
    wrong = np.bincount(row, minlength=len(sets)) != blocks.counts
    wrong[row[1:][(np.diff(block) <= 0) & (np.diff(row) == 0)]] = True
    for i in np.flatnonzero(wrong)[:1]:
        fault = f"names {shown(sets[i].tolist())}, not {blocks.counts[i]} blocks in ascending order"
        raise ScheduleError(fault, s, int(step.src[i]))
    last = np.cumsum(blocks.counts) - 1
    check_part(schedule, s, step, block[last - blocks.counts + 1], block[last] + 1)
    inside = (block >= lo) & (block < hi)
    return row[inside], block[inside]


def ranks_of(column: RankColumn, schedule: Schedule, lo: int, hi: int) -> Flags:
    """(p, hi - lo) whether each rank is among those that the column has for each block."""
    ranks = column[lo:hi]
    flags: Flags = np.equal(ranks, schedule.torus.ranks[:, None]) | (ranks == ALL)
    return flags
