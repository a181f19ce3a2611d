"""verify: every contribution arrives exactly once, or the first thing that is wrong.

Blocks never mix, so each is proven alone, in one of two ways; neither leaves anything to chance.

*Tokens.* Every rank starts with one token, its contribution. A REDUCE takes all tokens of its
sender to a receiver that still has some; a COPY is sent by a rank that has all p, and makes p for
a rank that has none. Tokens are neither lost nor doubled on the way, so who ends with p of them
has every contribution once, from the one sum that all copies are of. Bandwidth-optimal
schedules keep to these rules, and one number for each rank and block is enough.

*Sets.* A block that breaks the rules (ranks swap partial sums, or something is wrong) runs again
with the set of contributors of every value, a bit a rank, and its tree of sums, where a + b is
b + a. Sets that overlap when they meet: a contribution is added twice. Sets that are not full in
the end: one is missing. Equal trees on all ranks: the same bits. What a rank receives in one step
is added together with its own value in ascending order of the lowest contributors, from left to
right: (x0 + x1) + x2 on every rank, whichever of the three is its own.

Deadlock needs no search: a send and its receive are the same row, and all ranks take the steps in
the same order, so a rank that posts all its messages of a step before it waits only ever waits
for ranks in earlier steps. `swing.deadlock` searches in programs that come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.schedules.blocks import BlockRange, Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Rows, Step
from swing.torus import Array

Flags = NDArray[np.bool_]

TOKENS = 2**24  # counts held at a time: 64 MB, and a few times that in passing
WORDS = 2**23  # words of contributor sets held at a time: 64 MB, and a few times that in passing


class ScheduleError(ValueError):
    """What is wrong with a schedule, and where.

    Attributes:
        step, rank, block: the place; None where the fault has no such place.
    """

    def __init__(
        self, what: str, step: int | None = None, rank: int | None = None, block: int | None = None
    ) -> None:
        place = {"step": step, "rank": rank, "block": block}
        where = ", ".join(f"{name} {i}" for name, i in place.items() if i is not None)
        super().__init__(f"{where}: {what}" if where else what)
        self.step, self.rank, self.block = step, rank, block


@dataclass(frozen=True, eq=False)
class Report:
    """What `verify` finds out about a correct schedule.

    Args:
        same_bits: whether all ranks add in the same order, up to a + b = b + a.
        contiguous: whether every message is one slice of the vector.
        nsteps: number of steps.
        messages: number of messages.
        blocks_sent: (p,) blocks that each rank sends.
        ports: the most messages that a rank sends, and that one receives, in a step.
    """

    same_bits: bool
    contiguous: bool
    nsteps: int
    messages: int
    blocks_sent: Array
    ports: tuple[int, int]

    def __str__(self) -> str:
        least, most = int(self.blocks_sent.min()), int(self.blocks_sent.max())
        return "\n".join(
            [
                "every contribution arrives exactly once",
                f"same bits on every rank: {'yes' if self.same_bits else 'no'}",
                f"{self.nsteps} steps, {self.messages} messages, "
                + ("each one slice" if self.contiguous else "not each one slice"),
                f"at most {self.ports[0]} out of a rank and {self.ports[1]} in at the same time",
                f"blocks sent by a rank: {least}" + (f" to {most}" if least < most else ""),
            ]
        )


def verify(schedule: Schedule) -> Report:
    """Prove a schedule correct, or name the first thing that is wrong.

    An allreduce brings every contribution exactly once to every rank, a reduce_scatter to the
    owner of the block; an allgather brings every block from its owner to every rank.

    Args:
        schedule: any table of messages; nothing in it is taken for granted.

    Raises:
        ScheduleError: a message that makes no sense, or a contribution that is missing or
            added twice; it names the step, rank and block.

    >>> import swing
    >>> print(verify(swing.schedule("swing", swing.Torus((2, 4)))))
    every contribution arrives exactly once
    same bits on every rank: yes
    6 steps, 192 messages, each one slice
    at most 4 out of a rank and 4 in at the same time
    blocks sent by a rank: 56
    """
    report = _read(schedule)
    p = schedule.torus.size
    few = max(1, WORDS // (p * _words(p)))
    same_bits = True
    for lo, hi in _pieces(schedule, max(1, TOKENS // p)):
        proven = _prove_by_tokens(schedule, lo, hi)
        for first in range(lo, hi, few):
            last = min(first + few, hi)
            if not proven[first - lo : last - lo].all():
                same_bits &= _prove_by_sets(schedule, first, last)
    return replace(report, same_bits=same_bits)


def _read(schedule: Schedule) -> Report:
    """Refuse rows that make no sense, and count the others."""
    p = schedule.torus.size
    if sum(schedule.parts) != schedule.nblocks:
        raise ScheduleError(f"{schedule.nblocks} blocks, and {sum(schedule.parts)} in the parts")
    if schedule.collective != "allreduce":
        owner = schedule.owner
        if owner is None or len(owner) != schedule.nblocks:
            raise ScheduleError(f"a {schedule.collective} needs an owner of every block")
        for b in np.flatnonzero((owner < 0) | (owner >= p))[:1]:
            raise ScheduleError(f"its owner {owner[b]} is none of {p} ranks", block=int(b))
    sent, messages, out, into, contiguous = np.zeros(p, dtype=np.int64), 0, 0, 0, True
    for s, step in enumerate(schedule):
        _check_rows(schedule, s, step)
        src, dst, blocks, _ = step.rows
        np.add.at(sent, src, blocks.count)
        messages += len(src)
        out = max(out, int(np.bincount(src, minlength=p).max()))
        into = max(into, int(np.bincount(dst, minlength=p).max()))
        contiguous = contiguous and _one_slice(blocks)
    return Report(True, contiguous, schedule.nsteps, messages, sent, (out, into))


def _one_slice(blocks: Blocks) -> bool:
    return isinstance(blocks, BlockRange) or all(
        (np.diff(blocks.members(i)) == 1).all() for i in range(len(blocks))
    )


def _check_rows(schedule: Schedule, s: int, step: Step) -> None:
    """Refuse what makes no sense in the columns of a step."""
    p, nparts = schedule.torus.size, len(schedule.parts)
    src, dst, blocks, part = step.rows
    columns: list[Sized] = [src, dst, blocks, part]
    if isinstance(step.op, np.ndarray):
        columns.append(step.op)
    if len({len(column) for column in columns}) > 1:
        raise ScheduleError("the columns differ in length", s)
    rules = {
        "sends, and is none of {p} ranks": (src < 0) | (src >= p),
        "sends to rank {dst}, which is none of {p} ranks": (dst < 0) | (dst >= p),
        "sends to itself": src == dst,
        "sends rank {dst} no block": blocks.count < 1,
        "sends for part {part}, which is none of {nparts} parts": (part < 0) | (part >= nparts),
    }
    if schedule.collective == "allgather":
        rules["sends rank {dst} something to reduce, in an allgather"] = step.reduces
    for rule, broken in rules.items():
        for i in np.flatnonzero(broken)[:1]:
            what = rule.format(dst=dst[i], part=part[i], p=p, nparts=nparts)
            raise ScheduleError(what, s, int(src[i]))
    if isinstance(blocks, BlockRange):
        _check_part(schedule, s, step.rows, blocks.start, blocks.start + blocks.count)


def _check_part(schedule: Schedule, s: int, rows: Rows, start: Array, stop: Array) -> None:
    """Refuse blocks ``start[i] … stop[i] - 1`` that are not all of row i's part."""
    end = np.cumsum(schedule.parts)[rows.part]
    first = end - np.array(schedule.parts)[rows.part]
    for i in np.flatnonzero((start < first) | (stop > end))[:1]:
        block = start[i] if not first[i] <= start[i] < end[i] else end[i]
        what = f"is sent to rank {rows.dst[i]} for part {rows.part[i]}"
        owns = f"which has blocks {first[i]} to {end[i] - 1}"
        raise ScheduleError(f"{what}, {owns}", s, int(rows.src[i]), int(block))


def _words(p: int) -> int:
    """64-bit words of a set of ranks."""
    return -(-p // 64)


def _pieces(schedule: Schedule, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most ``size`` blocks; where there are several, each is of one part."""
    ends = np.cumsum((0, *schedule.parts)).tolist()
    for lo, hi in pairwise(ends if schedule.nblocks > size else (0, schedule.nblocks)):
        for first in range(lo, hi, size):
            yield first, min(first + size, hi)


class _Move(NamedTuple):
    """What a step does in a range of blocks: an entry for every block of every message.

    Rank r's value of block b is cell ``r * width + b - lo`` of a range that starts with lo.
    """

    op: Op
    source: Array
    target: Array


def _moves(schedule: Schedule, lo: int, hi: int) -> Iterator[tuple[int, list[_Move]]]:
    """The moves of every step in the blocks lo … hi - 1: its copies, then its reductions."""
    end = np.cumsum(schedule.parts)
    near = (end > lo) & (end - schedule.parts < hi)
    for s, step in enumerate(schedule):
        moves = []
        for op in (Op.COPY, Op.REDUCE):
            some = np.flatnonzero((step.reduces == (op == Op.REDUCE)) & near[step.part])
            if len(some):
                src, dst = step.src[some], step.dst[some]
                rows = Rows(src, dst, step.blocks.take(some), step.part[some])
                row, block = _members(schedule, s, rows, lo, hi)
                source, target = ((rank * (hi - lo) - lo)[row] + block for rank in (src, dst))
                moves.append(_Move(op, source, target))
        yield s, moves


def _members(schedule: Schedule, s: int, rows: Rows, lo: int, hi: int) -> tuple[Array, Array]:
    """The blocks of the rows that are among lo … hi - 1, and the row each comes from."""
    blocks = rows.blocks
    if isinstance(blocks, BlockRange):
        start = np.clip(blocks.start, lo, hi)
        count = np.clip(blocks.start + blocks.count, lo, hi) - start
        row = np.repeat(np.arange(len(count)), count)
        return row, np.arange(len(row)) + (start - np.cumsum(count) + count)[row]
    sets = [blocks.members(i) for i in range(len(blocks))]
    row = np.repeat(np.arange(len(sets)), [len(found) for found in sets])
    block = np.concatenate(sets)
    wrong = np.bincount(row, minlength=len(sets)) != blocks.count
    wrong[row[1:][(np.diff(block) <= 0) & (np.diff(row) == 0)]] = True
    for i in np.flatnonzero(wrong)[:1]:
        what = f"names {sets[i].tolist()}, not {blocks.count[i]} blocks in ascending order"
        raise ScheduleError(what, s, int(rows.src[i]))
    last = np.cumsum(blocks.count) - 1
    _check_part(schedule, s, rows, block[last - blocks.count + 1], block[last] + 1)
    inside = (block >= lo) & (block < hi)
    return row[inside], block[inside]


def _wanted(schedule: Schedule, lo: int, hi: int) -> Flags:
    """(p, hi - lo) whose contributions make a value complete; an allgather has one to a block."""
    if schedule.collective == "allgather" and schedule.owner is not None:
        return np.equal(schedule.owner[lo:hi], schedule.torus.ranks[:, None])
    return np.ones((schedule.torus.size, hi - lo), dtype=bool)


def _ends(schedule: Schedule, lo: int, hi: int) -> tuple[Array, Array]:
    """Where values must be complete in the end: two indices into (rank, block) arrays."""
    block = np.arange(hi - lo)
    if schedule.collective == "reduce_scatter" and schedule.owner is not None:
        return schedule.owner[None, lo:hi], block
    return schedule.torus.ranks[:, None], block


def _prove_by_tokens(schedule: Schedule, lo: int, hi: int) -> Flags:
    """Which of the blocks lo … hi - 1 keep to the rules of tokens and end complete."""
    held = _wanted(schedule, lo, hi).astype(np.int32)
    total = held[:, 0].sum()
    cells = held.reshape(-1)
    proven = np.ones(hi - lo, dtype=bool)
    for _, moves in _moves(schedule, lo, hi):
        for op, source, target in moves:
            given = cells[source]
            if op is Op.REDUCE:
                np.subtract.at(cells, source, given)  # what is given twice leaves a debt
                broken = (given <= 0) | (cells[target] <= 0)
            else:
                broken = (given != total) | (cells[target] != 0)
            np.add.at(cells, target, given)
            proven[source[broken] % (hi - lo)] = False
        if not proven.any():
            return proven
    # A debt is never paid back, and more than all never becomes less: neither ever was.
    proven &= (held.min(axis=0) >= 0) & (held.max(axis=0) <= total)
    proven &= (held[_ends(schedule, lo, hi)] == total).all(axis=0)
    return proven


def _prove_by_sets(schedule: Schedule, lo: int, hi: int) -> bool:
    """Prove the blocks lo … hi - 1, or raise. Whether all ranks have the same tree of sums."""
    p, width, rank = schedule.torus.size, hi - lo, schedule.torus.ranks
    word, bit = rank // 64, np.uint64(1) << (rank % 64).astype(np.uint64)
    held = np.zeros((p, width, _words(p)), dtype=np.uint64)
    held[rank, :, word] = bit[:, None] * _wanted(schedule, lo, hi)
    full = np.bitwise_or.reduce(held)
    tree = np.repeat(rank[:, None], width, axis=1)
    sets, trees, sums = held.reshape(p * width, -1), tree.reshape(-1), np.zeros(0, dtype=np.int64)
    lowest = trees.copy()  # the lowest contributor of every value
    partial: dict[int, ScheduleError] = {}  # the first copy of each block that is not complete

    def fault(what: str, s: int, cell: int) -> ScheduleError:
        return ScheduleError(what, s, int(cell // width), int(lo + cell % width))

    def contributor(some: np.ndarray) -> str:
        return f"the contribution of rank {np.flatnonzero(some[word] & bit)[0]}"

    for s, moves in _moves(schedule, lo, hi):
        before = [(sets[source], trees[source], lowest[source]) for _, source, _ in moves]
        for (op, source, target), (given, terms, first) in zip(moves, before, strict=True):
            if op is Op.COPY:
                for cell in _crossed(target, moves)[:1]:
                    raise fault("is overwritten, and received once more in the same step", s, cell)
                sets[target], trees[target], lowest[target] = given, terms, first
                lacks = full[source % width] & ~given
                short = np.flatnonzero(lacks.any(axis=1))
                for i in short[np.unique(source[short] % width, return_index=True)[1]]:
                    what = f"is copied on without {contributor(lacks[i])}"
                    partial.setdefault(int(source[i] % width), fault(what, s, source[i]))
                continue
            for rows in _one_by_one(target):
                cells = target[rows]
                both = sets[cells] & given[rows]
                for i in np.flatnonzero(both.any(axis=1))[:1]:
                    raise fault(f"receives {contributor(both[i])} a second time", s, cells[i])
                sets[cells] |= given[rows]
            sums = _reduce_in_order(sums, trees, lowest, target, terms, first, p)

    ends = _ends(schedule, lo, hi)
    wrong = (held[ends] != full).any(axis=2)
    for block, error in partial.items():
        if wrong[:, block].any():
            raise error
    for cell in (ends[0] * width + ends[1])[wrong][:1]:
        lacks = full[cell % width] & ~sets[cell]
        raise fault(f"ends without {contributor(lacks)}", schedule.nsteps - 1, cell)
    return bool((tree[ends] == tree[ends][0]).all())


def _crossed(copied: Array, moves: list[_Move]) -> Array:
    """The values that are copied to and change once more in the same step."""
    cell, count = np.unique(np.concatenate([move.target for move in moves]), return_counts=True)
    return np.intersect1d(copied, cell[count > 1])


def _one_by_one(target: Array) -> Iterator[Array]:
    """The rows in order, in groups without two of the same target."""
    rest = np.arange(len(target))
    while len(rest):
        first = np.unique(target[rest], return_index=True)[1]
        yield rest[first]
        rest = np.delete(rest, first)


def _reduce_in_order(
    sums: Array, trees: Array, lowest: Array, target: Array, terms: Array, first: Array, p: int
) -> Array:
    """Reduce what every cell receives in a step into its tree; the table of sums with the new ones.

    A cell's own value and all that it receives are added from left to right in ascending order of
    their lowest contributors, as the executor does.
    """
    cells = np.unique(target)
    cell = np.concatenate([cells, target])
    term, low = np.concatenate([trees[cells], terms]), np.concatenate([lowest[cells], first])
    order = np.lexsort((low, cell))
    cell, term = cell[order], term[order]
    start = np.unique(cell, return_index=True)[1]
    lowest[cells] = low[order[start]]
    trees[cells] = term[start]
    length = np.diff(np.append(start, len(cell)))
    for i in range(1, int(length.max(initial=0))):
        some = np.flatnonzero(length > i)
        sums, trees[cells[some]] = _add(sums, trees[cells[some]], term[start[some] + i], p)
    return sums


def _add(sums: Array, a: Array, b: Array, p: int) -> tuple[Array, Array]:
    """Number the trees a + b, equal trees alike, and extend the table of sums by the new ones.

    Tree r < p is rank r's contribution, tree p + i the sum of the two trees in ``sums[i]``.
    """
    keys = np.concatenate([sums, np.minimum(a, b) << 32 | np.maximum(a, b)])
    _, first, key = np.unique(keys, return_index=True, return_inverse=True)
    order = np.sort(first)  # sums that are known come first, and keep their numbers
    return keys[order], p + np.searchsorted(order, first)[key[len(sums) :]]
