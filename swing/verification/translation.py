"""Proof by translation: one rank's messages stand for all, and a block's offsets for its name.

If a shift of all ranks over the torus turns the table into itself, then what happens to a block
happens to all its translates. So one block of each part is proven if all ranks contribute to it or
all need it, and in an all-to-all one block for each offset from an origin to a home. Among p ranks
these are p blocks instead of p². They make a schedule of their own, which is proven like any other.

That all ranks are alike is checked: `Body.translates` compares the coordinates of each ring, and
here every row of the table has to be the translate of a row of rank 0, by its ends and its number
of blocks, and the blocks that rank 0 sends and receives have to be those that the translates name.
Each block of a reduce-scatter or an allgather is among these, but rank 0's own, and in an
all-to-all each that begins or ends there. That the origin and the home of all other blocks go with
these is checked for every block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swing.schedules.blocks import one_block
from swing.schedules.collectives import ALL
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.schedules.translates import Translates, node_at

Rows = Sequence[Translates]
CELLS = 2**18
"""Blocks whose origin and home are compared at once, few enough for a processor's cache."""


def representatives(schedule: Schedule) -> Schedule | None:
    """Return the schedule of the blocks that stand for all others; None if ranks are not alike.

    In each part these are the block of the first node, or in an all-to-all its blocks for each of
    the nodes: what `schedule` does to all blocks, the result does to these.

    >>> import swing
    >>> pairwise = swing.schedule("pairwise", swing.Torus(3), collective="alltoall")
    >>> print(pairwise, representatives(pairwise), sep=chr(10))
    0 =  0→1:1  1→2:5  2→0:6
    1 =  0→2:2  1→0:3  2→1:7
    0 =  0→1:1
    1 =  0→2:2
    """
    steps = [schedule.body.translates(s) for s in range(schedule.nsteps)]
    known = [rows for rows in steps if rows is not None]
    first = next((row for rows in known for row in rows), None)
    if first is None or len(known) < len(steps):
        return None
    torus, ends = first.torus, (first.origin, first.home)
    named = [column is not None for column in ends]
    size = torus.size ** sum(named)
    if (
        named != [column.constant != ALL for column in (schedule.origin, schedule.home)]
        or any(count != size for count in schedule.parts)
        or not _are_numbered(schedule, torus.size, all(named))
        or not all(_describe(rows, schedule, s) for s, rows in enumerate(known))
    ):
        return None
    nparts = len(schedule.parts)
    names = torus.size if all(named) else 1
    at = int(torus.rank_of[0])
    each = np.tile(torus.rank_of, nparts) if all(named) else at
    return Schedule(
        schedule.name, schedule.torus, names * nparts, len(known), lambda s: _step(known[s], names),
        origin=at if named[0] else ALL, home=each if named[1] else ALL, parts=(names,) * nparts,
    )  # fmt: skip


def _are_numbered(schedule: Schedule, p: int, pairs: bool) -> bool:
    """Whether each part has a block for every rank, or for every pair in order of one of its ends.

    The blocks of an all-to-all are numbered by their origin, then by their home, or in a reversed
    one the other way round.
    """
    for part, count in enumerate(schedule.parts):
        first = part * count
        ends = [schedule.origin, schedule.home]
        if ends[1].constant == ALL or ends[1][first] == ends[1][first + p - 1]:
            ends.reverse()
        order = ends[1][first : first + p]
        if (np.sort(order) != np.arange(p)).any():
            return False
        batch = max(1, CELLS // p)
        for lo in range(0, p if pairs else 0, batch):
            hi = min(lo + batch, p)
            blocks = slice(first + lo * p, first + hi * p)
            one, other = (column[blocks].reshape(-1, p) for column in ends)
            if (one != np.arange(lo, hi)[:, None]).any() or (other != order).any():
                return False
    return True


def _describe(rows: Rows, schedule: Schedule, s: int) -> bool:
    """Whether translates describe all rows of a step."""
    step = schedule.step(s)
    if not rows:
        return len(step) == 0
    torus = rows[0].torus
    p, order = torus.size, np.argsort([_key(row) for row in rows])
    rows = [rows[i] for i in order]
    keys = np.array([_key(row) for row in rows])
    shift = node_at(torus, torus.coords[step.dst] - torus.coords[step.src])
    key = (step.part * 2 + step.reduces) * p + shift
    index = np.searchsorted(keys, key)
    counts = np.array([row.nblocks for row in rows])
    if (
        len(step) != len(rows) * p
        or not np.isin(key, keys).all()
        or (np.bincount(index * p + step.src) != 1).any()  # one row of each sender
        or (counts[index] != step.blocks.counts).any()
    ):
        return False
    for i in np.flatnonzero((step.src == 0) | (step.dst == 0)).tolist():
        row, block, at = rows[index[i]], step.blocks.members(i), torus.coords[step.src[i]]
        pairs = [(schedule.origin, row.origin), (schedule.home, row.home)]
        ends = [(c.find(block), torus.rank_at(at + x)) for c, x in pairs if x is not None]
        table, expected = (np.stack(ranks) for ranks in zip(*ends, strict=True))
        if (table[:, np.lexsort(table)] != expected[:, np.lexsort(expected)]).any():
            return False
    return True


def _key(row: Translates) -> int:
    """Number the messages of a step that a rank sends, by part, operation and receiver."""
    shift = int(node_at(row.torus, row.shift[None])[0])
    return (row.part * 2 + row.reduces) * row.torus.size + shift


def _step(rows: Rows, names: int) -> Step:
    """Make the step of the blocks that stand for all, from the messages of a step.

    Rank x sends the block whose origin is at x + u, so the rank at -u sends that of the first node.
    """
    src, dst, blocks, parts, reduces = ([np.zeros(0, dtype=np.int64)] for _ in range(5))
    for row in rows:
        torus, offsets = row.torus, row.home if row.origin is None else row.origin
        assert offsets is not None
        name = np.zeros(len(offsets), dtype=np.int64)
        if row.origin is not None and row.home is not None:
            name = node_at(torus, row.home - row.origin)
        src.append(torus.rank_of[node_at(torus, -offsets)])
        dst.append(torus.rank_of[node_at(torus, row.shift - offsets)])
        blocks.append(row.part * names + name)
        parts.append(np.full(len(name), row.part))
        reduces.append(np.full(len(name), row.reduces))
    columns = map(np.concatenate, (reduces, src, dst, blocks, parts))
    flags, tails, heads, numbers, part = columns
    return Step(flags.astype(bool), tails, heads, one_block(numbers), part)
