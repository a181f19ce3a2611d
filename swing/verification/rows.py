"""Rows of a schedule: refuse those that name no rank, part or block of it, and count them."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from swing.schedules.blocks import Blocks
from swing.schedules.collectives import ALL, RankColumn
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array
from swing.verification.outcome import Report, ScheduleError

CHUNK = 2**24
"""Entries of a column that are checked at a time."""


def read(schedule: Schedule) -> Report:
    """Refuse invalid rows, and count steps, messages and blocks."""
    p = schedule.torus.size
    if sum(schedule.parts) != schedule.nblocks:
        raise ScheduleError(f"{schedule.nblocks} blocks, but {sum(schedule.parts)} in the parts")
    if schedule.is_traffic:
        raise ScheduleError("traffic has only the sizes of its messages, so nothing can be proven")
    sent, messages, out, into, contiguous = np.zeros(p, dtype=np.int64), 0, 0, 0, True
    for s, step in enumerate(schedule):
        _check_rows(schedule, s, step)
        np.add.at(sent, step.src, step.blocks.counts)
        messages += len(step)
        out = max(out, int(np.bincount(step.src, minlength=p).max()))
        into = max(into, int(np.bincount(step.dst, minlength=p).max()))
        contiguous = contiguous and _one_slice(step.blocks)
    return Report(True, contiguous, schedule.nsteps, messages, sent, (out, into))


def check_columns(schedule: Schedule) -> None:
    """Refuse an origin or a home that does not have `ALL` or one of the ranks for every block."""
    _check_column("origin", schedule.origin, schedule)
    _check_column("home", schedule.home, schedule)


def _check_column(name: str, column: RankColumn, schedule: Schedule) -> None:
    """Refuse a column that does not have `ALL` or one of the ranks for every block."""
    p, nblocks = schedule.torus.size, schedule.nblocks
    if len(column) != nblocks:
        raise ScheduleError(f"{name} has {len(column)} entries for {nblocks} blocks")
    for lo in range(0, 1 if column.constant is not None else nblocks, CHUNK):
        ranks = column[lo : lo + CHUNK]
        for b in np.flatnonzero((ranks != ALL) & ((ranks < 0) | (ranks >= p)))[:1]:
            what = f"its {name} {ranks[b]} is not one of the {p} ranks"
            raise ScheduleError(what, block=int(lo + b))


def _one_slice(blocks: Blocks) -> bool:
    return blocks.starts is not None or all(
        (np.diff(blocks.members(i)) == 1).all() for i in range(len(blocks))
    )


def _check_rows(schedule: Schedule, s: int, step: Step) -> None:
    """Refuse invalid entries in the columns of a step."""
    p, nparts = schedule.torus.size, len(schedule.parts)
    src, dst, blocks, part = step.src, step.dst, step.blocks, step.part
    for name, column in (("src", src), ("dst", dst), ("part", part)):
        if column.ndim != 1 or column.dtype.kind not in "iu":
            raise ScheduleError(f"{name} must be one column of whole numbers", s)
    columns: list[Sized] = [src, dst, blocks, part, step.reduces]
    if len({len(column) for column in columns}) > 1:
        raise ScheduleError("the columns differ in length", s)
    rules = {
        "sends, but is not one of the {p} ranks": (src < 0) | (src >= p),
        "sends to rank {dst}, which is not one of the {p} ranks": (dst < 0) | (dst >= p),
        "sends to itself": src == dst,
        "sends no block to rank {dst}": blocks.counts < 1,
        "sends for part {part}, which is not one of the {nparts} parts": (part < 0)
        | (part >= nparts),
    }
    for rule, broken in rules.items():
        for i in np.flatnonzero(broken)[:1]:
            fault = rule.format(dst=dst[i], part=part[i], p=p, nparts=nparts)
            raise ScheduleError(fault, s, int(src[i]))
    # Arbitrary sets of blocks are checked in `members_of`, which has to list them anyway.
    if blocks.starts is not None:
        check_part(schedule, s, step, blocks.starts, blocks.starts + blocks.counts)


def check_part(schedule: Schedule, s: int, step: Step, start: Array, stop: Array) -> None:
    """Refuse blocks ``start[i] … stop[i] - 1`` that are not all in row i's part."""
    end = np.cumsum(schedule.parts)[step.part]
    first = end - np.array(schedule.parts)[step.part]
    for i in np.flatnonzero((start < first) | (stop > end))[:1]:
        block = start[i] if not first[i] <= start[i] < end[i] else end[i]
        message = f"is sent to rank {step.dst[i]} for part {step.part[i]}"
        rule = f"which has blocks {first[i]} to {end[i] - 1}"
        raise ScheduleError(f"{message}, {rule}", s, int(step.src[i]), int(block))
