"""Proof that a schedule delivers every contribution exactly once, or the first error in it.

Blocks never mix, so each is proven separately, by one of two exact methods.

*Tokens.* Every contribution is one token: a block has p tokens, one on each rank, if its origin is
`ALL`, and one token, on its origin, otherwise. A REDUCE moves all tokens of its sender to a
receiver that still has some. A COPY needs a sender with all tokens and a receiver with none, which
gets as many. No REDUCE loses or doubles a token, and a COPY moves complete sums only. A rank that
ends with all tokens therefore has every contribution once, and all complete ranks have copies of
the same sum. Bandwidth-optimal schedules obey these rules, and for them one number per rank and
block suffices.

*Sets.* A block that breaks these rules (because ranks exchange partial sums, or because of an
error) is run again. Now each value has the set of its contributors, one bit per rank, and its tree
of sums, in which a + b equals b + a. A REDUCE of overlapping sets adds a contribution twice; a set
that is not full at the end lacks one; equal trees on all ranks mean the same bits. A rank adds its
own value and all values that it receives in a step from left to right, in ascending order of their
lowest contributors: (x0 + x1) + x2 on every rank, whichever of the three is the rank's own.

Deadlock needs no search: a send and its receive are the same row, and all ranks take the steps in
the same order. A rank that posts all messages of a step before it waits can therefore only wait
for ranks in earlier steps. `swing.deadlock` checks programs that do not come from a schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.checks import expect, shown
from swing.schedules.blocks import Blocks
from swing.schedules.collectives import ALL, RankColumn
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array

Flags = NDArray[np.bool_]

# Blocks are proven in batches that bound the memory: each limit is 64 MB of state, and temporary
# arrays take a few times as much.
TOKENS = 2**24  # token counts (int32) per batch
WORDS = 2**23  # 64-bit words of contributor sets per batch


class ScheduleError(ValueError):
    """An error in a schedule, and its location.

    Attributes:
        step, rank, block: the location; None for a coordinate that the error does not have.
    """

    def __init__(
        self, what: str, step: int | None = None, rank: int | None = None, block: int | None = None
    ) -> None:
        location = {"step": step, "rank": rank, "block": block}
        prefix = ", ".join(f"{name} {i}" for name, i in location.items() if i is not None)
        super().__init__(f"{prefix}: {what}" if prefix else what)
        self.step, self.rank, self.block = step, rank, block


@dataclass(frozen=True, eq=False)
class Report:
    """Properties of a schedule that `verify` has proven correct.

    Args:
        same_bits: whether all ranks add in the same order, up to a + b = b + a.
        contiguous: whether every message is one slice of the vector.
        nsteps: number of steps.
        messages: number of messages.
        blocks_sent: (p,) number of blocks that each rank sends.
        ports: largest number of messages that a rank sends, and that a rank receives, in one step.
    """

    same_bits: bool
    contiguous: bool
    nsteps: int
    messages: int
    blocks_sent: Array
    ports: tuple[int, int]

    def __str__(self) -> str:
        least, most = int(self.blocks_sent.min()), int(self.blocks_sent.max())
        slices = "each one slice" if self.contiguous else "not each one slice"
        return (
            "every contribution arrives exactly once\n"
            f"same bits on every rank: {'yes' if self.same_bits else 'no'}\n"
            f"{self.nsteps} steps, {self.messages} messages, {slices}\n"
            f"at most {self.ports[0]} out of a rank and {self.ports[1]} in at the same time\n"
            f"blocks sent by a rank: {least}" + (f" to {most}" if least < most else "")
        )


def verify(schedule: Schedule) -> Report:
    """Prove a schedule correct, or raise the first error in it.

    The contributions to every block, which come from its origin (one rank, or all), must arrive
    exactly once at its home (one rank, or all). This rule covers every collective: an allreduce
    brings the contributions of all ranks to all ranks, and an allgather brings every block from one
    rank to all.

    Args:
        schedule: any schedule; its whole table of messages is checked.

    Returns:
        The properties of the schedule.

    Raises:
        ScheduleError: an invalid message, or a contribution that is missing or added twice, with
            its step, rank and block.

    >>> import swing
    >>> print(verify(swing.schedule("swing", swing.Torus((2, 4)))))
    every contribution arrives exactly once
    same bits on every rank: yes
    6 steps, 192 messages, each one slice
    at most 4 out of a rank and 4 in at the same time
    blocks sent by a rank: 56
    """
    expect(schedule, Schedule, "a schedule, as swing.schedule makes it")
    report = _read(schedule)
    p = schedule.torus.size
    batch = max(1, WORDS // (p * _words(p)))
    same_bits = True
    for lo, hi in _pieces(schedule, max(1, TOKENS // p)):
        proven = _prove_by_tokens(schedule, lo, hi)
        for first in range(lo, hi, batch):
            last = min(first + batch, hi)
            if not proven[first - lo : last - lo].all():
                same_bits &= _prove_by_sets(schedule, first, last)
    return replace(report, same_bits=same_bits)


def _read(schedule: Schedule) -> Report:
    """Refuse invalid rows, and count steps, messages and blocks."""
    p = schedule.torus.size
    if sum(schedule.parts) != schedule.nblocks:
        raise ScheduleError(f"{schedule.nblocks} blocks, but {sum(schedule.parts)} in the parts")
    if schedule.is_traffic:
        raise ScheduleError("traffic has only the sizes of its messages, so nothing can be proven")
    _check_column("origin", schedule.origin, schedule)
    _check_column("home", schedule.home, schedule)
    sent, messages, out, into, contiguous = np.zeros(p, dtype=np.int64), 0, 0, 0, True
    for s, step in enumerate(schedule):
        _check_rows(schedule, s, step)
        np.add.at(sent, step.src, step.blocks.counts)
        messages += len(step)
        out = max(out, int(np.bincount(step.src, minlength=p).max()))
        into = max(into, int(np.bincount(step.dst, minlength=p).max()))
        contiguous = contiguous and _one_slice(step.blocks)
    return Report(True, contiguous, schedule.nsteps, messages, sent, (out, into))


def _check_column(name: str, column: RankColumn, schedule: Schedule) -> None:
    """Refuse a column that does not have `ALL` or one of the ranks for every block."""
    p, nblocks = schedule.torus.size, schedule.nblocks
    if len(column) != nblocks:
        raise ScheduleError(f"{name} has {len(column)} entries for {nblocks} blocks")
    for lo in range(0, 1 if column.constant is not None else nblocks, TOKENS):
        ranks = column[lo : lo + TOKENS]
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
    # Arbitrary sets of blocks are checked in `_members`, which has to list them anyway.
    if blocks.starts is not None:
        _check_part(schedule, s, step, blocks.starts, blocks.starts + blocks.counts)


def _check_part(schedule: Schedule, s: int, step: Step, start: Array, stop: Array) -> None:
    """Refuse blocks ``start[i] … stop[i] - 1`` that are not all in row i's part."""
    end = np.cumsum(schedule.parts)[step.part]
    first = end - np.array(schedule.parts)[step.part]
    for i in np.flatnonzero((start < first) | (stop > end))[:1]:
        block = start[i] if not first[i] <= start[i] < end[i] else end[i]
        message = f"is sent to rank {step.dst[i]} for part {step.part[i]}"
        rule = f"which has blocks {first[i]} to {end[i] - 1}"
        raise ScheduleError(f"{message}, {rule}", s, int(step.src[i]), int(block))


def _words(p: int) -> int:
    """Return the number of 64-bit words in a set of ranks."""
    return -(-p // 64)


def _pieces(schedule: Schedule, size: int) -> Iterator[tuple[int, int]]:
    """Split the blocks into ranges of at most ``size``; if several, each is within one part."""
    ends = np.cumsum((0, *schedule.parts)).tolist()
    for lo, hi in pairwise(ends if schedule.nblocks > size else (0, schedule.nblocks)):
        for first in range(lo, hi, size):
            yield first, min(first + size, hi)


class _Move(NamedTuple):
    """The blocks of a step's messages within a range of blocks: one entry per block and message.

    Rank r's value of block b is cell ``r * width + b - lo``, where the range has ``width`` blocks
    from ``lo`` on.
    """

    reduces: bool
    source: Array
    target: Array


def _moves(schedule: Schedule, lo: int, hi: int) -> Iterator[tuple[int, list[_Move]]]:
    """Yield the moves of each step in the blocks lo … hi - 1: its copies, then its reductions."""
    end = np.cumsum(schedule.parts)
    overlaps = (end > lo) & (end - schedule.parts < hi)  # parts with blocks in the range
    for s, step in enumerate(schedule):
        moves = []
        for reduces in (False, True):
            index = np.flatnonzero((step.reduces == reduces) & overlaps[step.part])
            if len(index):
                sent = step if len(index) == len(step) else step.take(index)
                row, block = _members(schedule, s, sent, lo, hi)
                source, target = ((r * (hi - lo) - lo)[row] + block for r in (sent.src, sent.dst))
                moves.append(_Move(reduces, source, target))
        yield s, moves


def _members(schedule: Schedule, s: int, step: Step, lo: int, hi: int) -> tuple[Array, Array]:
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
    _check_part(schedule, s, step, block[last - blocks.counts + 1], block[last] + 1)
    inside = (block >= lo) & (block < hi)
    return row[inside], block[inside]


def _ranks_of(column: RankColumn, schedule: Schedule, lo: int, hi: int) -> Flags:
    """(p, hi - lo) whether each rank is among those that the column has for each block."""
    ranks = column[lo:hi]
    flags: Flags = np.equal(ranks, schedule.torus.ranks[:, None]) | (ranks == ALL)
    return flags


def _prove_by_tokens(schedule: Schedule, lo: int, hi: int) -> Flags:
    """(hi - lo,) whether tokens prove each of the blocks lo … hi - 1."""
    tokens = _ranks_of(schedule.origin, schedule, lo, hi).astype(np.int32)
    total = np.where(schedule.origin[lo:hi] == ALL, schedule.torus.size, 1)
    alike = bool((total == total[0]).all())  # if so, no message needs a look-up of its total
    cells = tokens.reshape(-1)
    proven = np.ones(hi - lo, dtype=bool)
    for _, moves in _moves(schedule, lo, hi):
        for reduces, source, target in moves:
            sent = cells[source]
            if reduces:
                # A cell that is sent twice in a step is subtracted twice, so its count falls
                # below 0.
                np.subtract.at(cells, source, sent)
                broken = (sent <= 0) | (cells[target] <= 0)
            else:
                full = total[0] if alike else total[source % (hi - lo)]
                broken = (sent != full) | (cells[target] != 0)
            np.add.at(cells, target, sent)
            proven[source[broken] % (hi - lo)] = False
        if not proven.any():
            return proven
    # A count below 0 or above the total never recovers, so checking the final counts suffices.
    proven &= (tokens.min(axis=0) >= 0) & (tokens.max(axis=0) <= total)
    incomplete = (tokens != total) & _ranks_of(schedule.home, schedule, lo, hi)
    proven &= ~incomplete.any(axis=0)
    return proven


def _prove_by_sets(schedule: Schedule, lo: int, hi: int) -> bool:
    """Prove the blocks lo … hi - 1, or raise; return whether all ranks have equal trees of sums."""
    p, width, rank = schedule.torus.size, hi - lo, schedule.torus.ranks
    word, bit = rank // 64, np.uint64(1) << (rank % 64).astype(np.uint64)
    # `sets`, `trees` and `lowest` have one entry per cell; `by_rank` and `tree` are views of the
    # first two with axes (rank, block).
    by_rank = np.zeros((p, width, _words(p)), dtype=np.uint64)
    by_rank[rank, :, word] = bit[:, None] * _ranks_of(schedule.origin, schedule, lo, hi)
    full = np.bitwise_or.reduce(by_rank)
    tree = np.repeat(rank[:, None], width, axis=1)
    sets, trees = by_rank.reshape(p * width, -1), tree.reshape(-1)
    lowest = trees.copy()  # the lowest contributor of each value
    sums = np.zeros(0, dtype=np.int64)  # the table of trees, see `_add`
    partial: dict[int, ScheduleError] = {}  # for each block, the first copy of an incomplete value

    def fault(what: str, s: int, cell: int) -> ScheduleError:
        return ScheduleError(what, s, int(cell // width), int(lo + cell % width))

    def first_of(contributors: np.ndarray) -> str:
        return f"the contribution of rank {np.flatnonzero(contributors[word] & bit)[0]}"

    for s, moves in _moves(schedule, lo, hi):
        # All messages of a step carry the values from before it, so read these before any write.
        before = [(sets[source], trees[source], lowest[source]) for _, source, _ in moves]
        for (reduces, source, target), (sent, terms, keys) in zip(moves, before, strict=True):
            if not reduces:
                for cell in _written_twice(target, moves)[:1]:
                    raise fault("is overwritten and received again in the same step", s, cell)
                sets[target], trees[target], lowest[target] = sent, terms, keys
                lacking = full[source % width] & ~sent
                short = np.flatnonzero(lacking.any(axis=1))
                for i in short[np.unique(source[short] % width, return_index=True)[1]]:
                    # The copy of a partial sum is an error only if the block ends incomplete.
                    what = f"is copied on without {first_of(lacking[i])}"
                    partial.setdefault(int(source[i] % width), fault(what, s, source[i]))
                continue
            for cell in source[~sent.any(axis=1)][:1]:
                raise fault("sends a message to reduce, but has no value of the block", s, cell)
            for cell in target[~sets[target].any(axis=1)][:1]:
                raise fault("receives a message to reduce, but has nothing to add it to", s, cell)
            for rows in _distinct_targets(target):
                cells = target[rows]
                both = sets[cells] & sent[rows]
                for i in np.flatnonzero(both.any(axis=1))[:1]:
                    raise fault(f"receives {first_of(both[i])} a second time", s, cells[i])
                sets[cells] |= sent[rows]
            sums = _reduce_in_order(sums, trees, lowest, target, terms, keys, p)

    homes = _ranks_of(schedule.home, schedule, lo, hi)
    wrong = (by_rank != full).any(axis=2) & homes
    # If a partial sum was copied, that copy explains more than the incomplete end does.
    for block, error in partial.items():
        if wrong[:, block].any():
            raise error
    for cell in np.flatnonzero(wrong)[:1]:
        lacking = full[cell % width] & ~sets[cell]
        raise fault(f"ends without {first_of(lacking)}", schedule.nsteps - 1, cell)
    first_home = tree[homes.argmax(axis=0), np.arange(width)]
    return bool(((tree == first_home) | ~homes).all())


def _written_twice(copied: Array, moves: list[_Move]) -> Array:
    """Return the cells that are copied to and written once more in the same step."""
    cell, count = np.unique(np.concatenate([move.target for move in moves]), return_counts=True)
    return np.intersect1d(copied, cell[count > 1])


def _distinct_targets(target: Array) -> Iterator[Array]:
    """Split the rows, in order, into groups in which no target occurs twice."""
    remaining = np.arange(len(target))
    while len(remaining):
        first = np.unique(target[remaining], return_index=True)[1]
        yield remaining[first]
        remaining = np.delete(remaining, first)


def _reduce_in_order(
    sums: Array, trees: Array, lowest: Array, target: Array, terms: Array, keys: Array, p: int
) -> Array:
    """Reduce the values received in a step into the trees, in place; return the extended ``sums``.

    A cell's own value and all values that it receives are added from left to right in ascending
    order of their lowest contributors (``lowest`` and ``keys``), as the executor does.
    """
    cells = np.unique(target)
    cell = np.concatenate([cells, target])
    term, key = np.concatenate([trees[cells], terms]), np.concatenate([lowest[cells], keys])
    order = np.lexsort((key, cell))
    cell, term = cell[order], term[order]
    start = np.unique(cell, return_index=True)[1]
    lowest[cells] = key[order[start]]
    trees[cells] = term[start]
    length = np.diff(np.append(start, len(cell)))
    for i in range(1, int(length.max(initial=0))):
        longer = np.flatnonzero(length > i)  # cells that have an i-th further term
        sums, trees[cells[longer]] = _add(sums, trees[cells[longer]], term[start[longer] + i], p)
    return sums


def _add(sums: Array, a: Array, b: Array, p: int) -> tuple[Array, Array]:
    """Number the trees a + b so that equal trees have equal numbers; return the extended ``sums``.

    Tree r < p is rank r's contribution; tree p + i is the sum of the two trees in ``sums[i]``, the
    smaller number in the upper 32 bits.
    """
    keys = np.concatenate([sums, np.minimum(a, b) << 32 | np.maximum(a, b)])
    _, first, key = np.unique(keys, return_index=True, return_inverse=True)
    order = np.sort(first)  # the sums already in the table come first and keep their numbers
    return keys[order], p + np.searchsorted(order, first)[key[len(sums) :]]
