"""Lower a schedule to a program: number the rows of buffers, and make the tables of every step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from swing.integrations.jax.messages import Messages
from swing.integrations.jax.permutations import permutations
from swing.integrations.jax.program import ABSENT, OWN, PartStep, Program, Rows, Run, Selection
from swing.schedules.collectives import ALL, RankColumn
from swing.schedules.schedule import Schedule
from swing.torus import Array

ROLL = 4
"""Fewest equal steps that become a loop; XLA can overlap fewer with each other if written out."""


@lru_cache(maxsize=128)
def lower(schedule: Schedule, commutes: bool) -> Program:
    """Lower a schedule.

    Args:
        schedule: the schedule, which `swing.verify` accepts.
        commutes: whether two operands give the same bits in either order.

    Raises:
        ValueError: some ranks pass in, or get out, more blocks of a part than others.
    """
    messages = Messages.of(schedule)
    entry = _blocks_of(schedule, schedule.origin, schedule.home)
    exit_ = _blocks_of(schedule, schedule.home, schedule.origin)
    row_of, nrows = _number_rows(schedule, messages, [entry, exit_])
    steps: list[list[PartStep | None]] = [
        [None] * len(schedule.parts) for _ in range(schedule.nsteps)
    ]
    for step, part, each in messages.slices():
        steps[step][part] = _part_step(each, row_of, nrows[part], commutes)
    return Program(
        schedule,
        nrows,
        _runs([tuple(step) for step in steps if any(step)]),
        _selection(schedule, entry, row_of, schedule.origin, schedule.home),
        _selection(schedule, exit_, row_of, schedule.home, schedule.origin),
    )


def _runs(steps: Sequence[tuple[PartStep | None, ...]]) -> tuple[Run, ...]:
    runs = []
    for _, group in itertools.groupby(steps, lambda step: [part and part.key for part in step]):
        same = tuple(group)
        runs += [Run(same)] if len(same) >= ROLL else [Run((step,)) for step in same]
    return tuple(runs)


def _blocks_of(schedule: Schedule, mine: RankColumn, others: RankColumn) -> Array:
    """(p, n) the blocks that every rank has at its end of the collective.

    Args:
        schedule: the schedule.
        mine: the origin of the blocks for what ranks pass in, the home for what they get out.
        others: the other of the two. Blocks are sorted by its ranks, if it has several.

    Raises:
        ValueError: some ranks have more blocks of a part than others.
    """
    blocks, p = np.arange(schedule.nblocks), schedule.torus.size
    if mine.constant is not None:
        order = np.argsort(_piece_of(others), kind="stable")
        return np.broadcast_to(blocks[order], (p, len(blocks)))
    owner = np.asarray(mine)
    for part in np.split(owner, np.cumsum(schedule.parts)[:-1]):
        counts = np.bincount(part, minlength=p)
        if np.ptp(counts):
            raise ValueError(
                f"under {schedule.name} ranks have {counts.min()} to {counts.max()} blocks of a "
                "part: pass a schedule in which every rank has equally many"
            )
    return np.lexsort((blocks, _piece_of(others), owner)).reshape(p, -1)


def _piece_of(others: RankColumn) -> Array:
    """(nblocks,) the piece of the user's array that each block belongs to."""
    return np.asarray(others) if others.constant is None else np.zeros(len(others), np.int64)


def _number_rows(
    schedule: Schedule, messages: Messages, ends: Sequence[Array]
) -> tuple[Array, tuple[int, ...]]:
    """Give every block that a rank ever has a row of the rank's buffer of the block's part.

    Returns:
        (p, nblocks) the row, and for each part the number of rows.
    """
    ranks = schedule.torus.ranks
    is_used = np.zeros((len(ranks), schedule.nblocks), dtype=bool)
    for blocks in ends:
        is_used[ranks[:, None], blocks] = True
    for side in (messages.src, messages.dst):
        is_used[np.repeat(side, messages.counts), messages.block] = True
    parts = np.split(is_used, np.cumsum(schedule.parts)[:-1], axis=1)
    row_of = np.concatenate([np.cumsum(part, axis=1) - 1 for part in parts], axis=1)
    return row_of, tuple(int(part.sum(axis=1).max(initial=1)) for part in parts)


def _selection(
    schedule: Schedule, blocks: Array, row_of: Array, mine: RankColumn, others: RankColumn
) -> Selection:
    rows = np.take_along_axis(row_of, blocks, axis=1)
    part_of = np.repeat(np.arange(len(schedule.parts)), schedule.parts)
    masks = [part_of[blocks] == j for j in range(len(schedule.parts))]
    by_part = tuple(rows[mask].reshape(len(rows), -1) for mask in masks)
    pieces = 1 if others.constant is not None else len(rows)
    only = mine.constant if mine.constant not in (None, ALL) else None
    return Selection(pieces, by_part, only)


def _part_step(messages: Messages, row_of: Array, nrows: int, commutes: bool) -> PartStep:
    """Make the tables of the messages of one part in one step."""
    permutation = permutations(messages.src, messages.dst)
    npermutes = int(permutation.max()) + 1
    together = _bring_the_same(messages)
    count = int(messages.counts.max())
    sent, pairs = [], []
    for k in range(npermutes):
        each = messages.take(np.flatnonzero(permutation == k))
        rows = row_of[np.repeat(each.src, each.counts), each.block]
        longest = count if together else int(each.counts.max())
        sent.append(_rows(each.src, each.counts, rows, longest, row_of, nrows))
        pairs.append(tuple(zip(each.src.tolist(), each.dst.tolist(), strict=True)))
    if together:
        # One message of each receiver says which blocks come, and in which order to reduce.
        _, first = np.unique(messages.dst, return_index=True)
        each = messages.take(first)
        rows = row_of[np.repeat(each.dst, each.counts), each.block]
        target = _rows(each.dst, each.counts, rows, count, row_of, nrows)
        cell = np.cumsum(messages.counts) - messages.counts  # the first block of each message
        operands = _operands(
            len(row_of), messages.dst, messages.reduces, messages.mine[cell],
            messages.theirs[cell], permutation + 1, np.full(len(row_of), OWN), commutes,
        )  # fmt: skip
        return PartStep(tuple(pairs), tuple(sent), target, operands)
    return _mixed_step(messages, permutation, pairs, sent, row_of, nrows, commutes)


def _mixed_step(
    messages: Messages,
    permutation: Array,
    pairs: Sequence[tuple[tuple[int, int], ...]],
    sent: Sequence[Rows],
    row_of: Array,
    nrows: int,
    commutes: bool,
) -> PartStep:
    """Make a step in which the messages to a rank bring different blocks."""
    p, nblocks = row_of.shape
    of_message = np.repeat(np.arange(len(messages.src)), messages.counts)
    dst = messages.dst[of_message]
    # The rows of each rank's target are the blocks that it receives, in ascending order.
    keys, cell = np.unique(dst * nblocks + messages.block, return_inverse=True)
    rank, block = keys // nblocks, keys % nblocks
    counts = np.bincount(rank, minlength=p)
    count = int(counts.max())
    receivers = np.unique(rank)
    target = _rows(receivers, counts[receivers], row_of[rank, block], count, row_of, nrows)
    if target.table.ndim == 1:
        target = target._replace(table=target.table[:, None] + np.arange(count))
    position = np.arange(len(keys)) - np.searchsorted(rank, rank)
    offsets = count + np.cumsum([0, *(each.length for each in sent)])
    nth = np.arange(len(cell)) - np.repeat(
        np.cumsum(messages.counts) - messages.counts, messages.counts
    )
    operands = _operands(
        p * count, (rank * count + position)[cell], messages.reduces[of_message], messages.mine,
        messages.theirs, offsets[permutation[of_message]] + nth,
        np.tile(np.arange(count), p), commutes,
    )  # fmt: skip
    return PartStep(tuple(pairs), tuple(sent), target, operands.reshape(p, count, -1))


def _bring_the_same(messages: Messages) -> bool:
    """Return whether all messages to a rank bring the same blocks, under the same keys."""
    if len(np.unique(messages.dst)) == len(messages.dst):
        return _has_one_key(messages)
    contents: dict[int, tuple[bytes, bool]] = {}
    ends = np.cumsum(messages.counts)
    for dst, reduces, lo, hi in zip(
        messages.dst.tolist(), messages.reduces.tolist(), (ends - messages.counts).tolist(),
        ends.tolist(), strict=True,
    ):  # fmt: skip
        content = messages.block[lo:hi].tobytes(), reduces
        if contents.setdefault(dst, content) != content:
            return False
    return _has_one_key(messages)


def _has_one_key(messages: Messages) -> bool:
    """Return whether the order of the operands is the same for all blocks of a message."""
    row = np.repeat(np.arange(len(messages.counts)), messages.counts)
    same = row[1:] == row[:-1]
    columns = (messages.mine, messages.theirs)
    return all((column[1:] == column[:-1])[same].all() for column in columns)


def _rows(rank: Array, count: Array, rows: Array, longest: int, row_of: Array, nrows: int) -> Rows:
    """Make the table of the rows of some ranks: a range for each if possible, else a list.

    Args:
        rank: (n,) the ranks that have rows, each once.
        count: (n,) the number of rows of each.
        rows: (Σ count,) the rows, in ascending order for each rank.
        longest: the number of rows in the table.
        row_of: (p, …) an array with an entry for each rank.
        nrows: number of rows of the buffer.
    """
    first = np.cumsum(count) - count
    lo, hi = rows[first], rows[first + count - 1]
    if (count == longest).all() and (hi - lo + 1 == longest).all():
        starts = np.zeros(len(row_of), dtype=np.int32)
        starts[rank] = lo
        return Rows(longest, starts)
    # Different numbers beyond the buffer, so that no number occurs twice.
    table = np.tile(nrows + np.arange(longest, dtype=np.int32), (len(row_of), 1))
    nth = np.arange(len(rows)) - np.repeat(first, count)
    table[np.repeat(rank, count), nth] = rows
    return Rows(longest, table)


def _operands(
    ncells: int, cell: Array, reduces: np.ndarray, mine: Array, theirs: Array, operand: Array,
    own: Array, commutes: bool,
) -> np.ndarray:  # fmt: skip
    """List the operands of every cell in the order of their keys.

    A cell is a rank, or a row of a rank's target. Where messages are reduced, or none arrives, the
    own value is an operand.

    Args:
        ncells: number of cells.
        cell: (m,) the cell of each received value.
        reduces: (m,) whether it is reduced.
        mine: (m,) the key of the cell's own value.
        theirs: (m,) the key of the received value.
        operand: (m,) the received value as an operand.
        own: (ncells,) the own value as an operand.
        commutes: whether two operands may be exchanged.

    Returns:
        (ncells, n) operands, and `ABSENT` behind the last one.
    """
    takes_own = np.ones(ncells, dtype=bool)
    takes_own[cell[~reduces]] = False
    own_key = np.zeros(ncells, dtype=np.int64)
    own_key[cell] = mine
    with_own = np.flatnonzero(takes_own)
    cells = np.concatenate([with_own, cell])
    keys = np.concatenate([own_key[with_own], theirs])
    values = np.concatenate([own[with_own], operand])
    counts = np.bincount(cells, minlength=ncells)
    if commutes and counts.max() <= 2:
        keys[: len(with_own)] = min(int(keys.min()), 0) - 1  # the own value first, on every rank
    order = np.lexsort((keys, cells))
    nth = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((ncells, int(counts.max())), ABSENT, dtype=np.int32)
    table[cells[order], nth] = values[order]
    return table
