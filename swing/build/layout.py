"""Block numbers and single steps of products of ring patterns.

In a product, a block has one label per dimension. Its number is the sum of one amount per label. A
*numbering* has these amounts: for each dimension, the amount that each label adds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from swing.build.pattern import PatternStep, RingPattern, Sets
from swing.build.product import outer
from swing.schedules.blocks import BlockRange, BlockSets
from swing.schedules.step import LineRows, Op, Rows, Step
from swing.torus import Array, Torus


def block_numbering(lines: Sequence[RingPattern], steps: Sequence[tuple[int, ...]]) -> list[Array]:
    """Return, for each dimension, the amount that each label adds to a block's number.

    Block numbers are mixed-radix numbers with one digit per step, the first step's digit most
    significant. Blocks that the first step separates are then far apart, and the blocks of a
    message are often contiguous.
    """
    numbering = [np.zeros(line.nblocks, dtype=np.int64) for line in lines]
    size = [line.nblocks for line in lines]  # labels that share the digits so far
    taken = [0] * len(lines)
    stride = int(np.prod(size))
    for dim in itertools.chain(*steps):
        radix = lines[dim].radices[taken[dim]]
        taken[dim] += 1
        stride //= radix
        size[dim] //= radix
        numbering[dim] += np.arange(lines[dim].nblocks) // size[dim] % radix * stride
    return numbering


def product_step(
    torus: Torus,
    moves: dict[int, PatternStep],
    kept: dict[int, Sets],
    pending: Sequence[Sets],
    numbering: Sequence[Array],
) -> Step:
    """Make the step in which some dimensions act; a message carries a product of sets.

    Args:
        torus: the ranks.
        moves: the pattern step of each acting dimension.
        kept: for each acting dimension, the sets that its coordinates keep in this step. Where
            several dimensions act, a message may move along some of them only.
        pending: for every dimension, the sets that its coordinates have before this step.
        numbering: for each dimension, the amount that each label adds to a block's number.
    """
    if not moves:
        return idle_step()
    src = [np.arange(d) for d in torus.dims]
    dst, sets = list(src), list(pending)
    for j, (tail, head, sent) in moves.items():
        src[j], dst[j], sets[j] = tail, head, sent
        if len(moves) > 1:  # add the choice of not moving along dimension j
            nodes = np.arange(torus.dims[j])
            src[j], dst[j] = np.append(tail, nodes), np.append(head, nodes)
            sets[j] = Sets.joined([sent, kept[j]])
    counts = [s.count for s in sets]

    def rows() -> Rows:
        count = outer(np.multiply, counts).ravel()
        shape = [len(c) for c in counts]
        tails, heads = (torus.grid[np.ix_(*ends)].ravel() for ends in (src, dst))
        sent = np.flatnonzero((count > 0) & (tails != heads))
        if len(moves) > 1:
            # Ranks send in the order of rows: the messages that travel furthest start first.
            hops = outer(np.add, [_hops(torus, j, src[j], dst[j]) for j in range(len(src))])
            sent = sent[np.argsort(-hops.ravel()[sent], kind="stable")]
        blocks = _blocks(sets, numbering, count, shape).take(sent)
        return Rows(tails[sent], heads[sent], blocks, np.zeros(len(sent), dtype=np.int64))

    if len(moves) > 1:
        return Step.lazy(Op.REDUCE, rows, ())
    (dim,) = moves
    line = LineRows(0, dim, src[dim], dst[dim], counts[dim], tuple(counts))
    return Step.lazy(Op.REDUCE, rows, (line,))


def _hops(torus: Torus, dim: int, src: Array, dst: Array) -> Array:
    d = torus.dims[dim]
    return np.minimum((dst - src) % d, (src - dst) % d) if torus.wrap[dim] else abs(dst - src)


def _blocks(
    sets: Sequence[Sets], numbering: Sequence[Array], count: Array, shape: Sequence[int]
) -> BlockRange | BlockSets:
    """Number the blocks of all products of one set per dimension, in row-major order."""
    starts = [s.start for s in sets]
    if all(start is not None for start in starts):
        last = [np.maximum(s.start + s.count - 1, 0) for s in sets]  # type: ignore[operator]
        lo = outer(np.add, [n[s] for n, s in zip(numbering, starts, strict=True)]).ravel()
        hi = outer(np.add, [n[s] for n, s in zip(numbering, last, strict=True)]).ravel()
        # Numbers rise with labels, so lo and hi are the extremes of `count` distinct numbers.
        if ((hi - lo + 1 == count) | (count == 0)).all():
            return BlockRange(lo, count)

    def members(i: int) -> Array:
        index = np.unravel_index(i, shape)
        labels = [s.members(int(x)) for s, x in zip(sets, index, strict=True)]
        return np.sort(
            outer(np.add, [n[m] for n, m in zip(numbering, labels, strict=True)]).ravel()
        )

    return BlockSets(count, members)


def idle_step() -> Step:
    """Make a step without messages."""
    none = np.zeros(0, dtype=np.int64)
    return Step(Op.REDUCE, none, none, BlockRange(none, none))
