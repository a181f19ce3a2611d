"""Products of ring patterns on a torus: the messages of a reduce-scatter and of an exchange.

A product takes one ring pattern per dimension and interleaves their steps in any order. A block b
has a label b_j in each dimension j. In a step along dimension ω, the pattern maps the rank's
coordinate to a peer and a set of labels. The rank sends this peer the blocks whose label b_ω is in
the set and whose other labels b_j are pending: the rank's coordinate r_j has not passed them on in
the steps so far along dimension j. A contribution follows the in-tree of each dimension
independently of the others, so every such product is a correct reduce-scatter, in which each rank
sends every block except its own once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import numpy as np

from swing.build.pattern import (
    NodeMessages,
    PatternStep,
    RingPattern,
    contributions,
    pending_offsets,
    translates,
)
from swing.ring import distance
from swing.schedules.blocks import Blocks
from swing.schedules.body import Body
from swing.schedules.rank import MessageTable, RankMessages, ReductionKeys, filtered
from swing.schedules.step import LineRows, Step
from swing.schedules.translates import Translates
from swing.torus import Array, Torus


@dataclass(frozen=True, eq=False)
class Product(Body):
    """The reduce-scatter that consists of the first ``nsteps`` steps of an order.

    Args:
        torus: the ranks.
        patterns: one ring pattern per dimension.
        order: the dimensions that act in each step; none in an idle step.
        nsteps: number of steps, at most those of ``order``.
    """

    torus: Torus
    patterns: tuple[RingPattern, ...]
    order: tuple[tuple[int, ...], ...]
    nsteps: int

    @property
    def nblocks(self) -> int:
        """Number of blocks: one per combination of labels."""
        return int(np.prod([pattern.nblocks for pattern in self.patterns]))

    @cached_property
    def taken(self) -> list[list[int]]:
        """(steps + 1, dimensions) number of steps taken along each dimension before each step."""
        taken = [[0] * len(self.patterns)]
        for dims in self.order:
            taken.append([t + (j in dims) for j, t in enumerate(taken[-1])])
        return taken

    @cached_property
    def _digits(self) -> list[tuple[int, int, int, int]]:
        """The digits of block numbers, most significant first: dimension, radix, stride, size.

        Block numbers are mixed-radix numbers with one digit per step, and the first step has the
        most significant digit. Blocks that the first step separates are then far apart, and the
        blocks of a message are often contiguous. The stride is the weight of the digit in the
        block's number, and the size is its weight in the label.
        """
        digits = []
        size = [pattern.nblocks for pattern in self.patterns]
        next_radix = [iter(pattern.radices) for pattern in self.patterns]
        stride = self.nblocks
        for dim in itertools.chain(*self.order):
            radix = next(next_radix[dim])
            stride //= radix
            size[dim] //= radix
            if radix > 1:
                digits.append((dim, radix, stride, size[dim]))
        return digits

    @cached_property
    def numbering(self) -> list[Array]:
        """For each dimension, the amount that each label adds to a block's number."""
        numbering = [np.zeros(pattern.nblocks, dtype=np.int64) for pattern in self.patterns]
        for dim, radix, stride, size in self._digits:
            numbering[dim] += np.arange(len(numbering[dim])) // size % radix * stride
        return numbering

    def home(self, blocks: Array) -> Array:
        """Return the (n,) ranks that n blocks belong to."""
        labels = [np.zeros_like(blocks) for _ in self.patterns]
        for dim, radix, stride, size in self._digits:
            labels[dim] += blocks // stride % radix * size
        coords = (
            pattern.owner[label] for pattern, label in zip(self.patterns, labels, strict=True)
        )
        return self.torus.grid[tuple(coords)]

    def _pending(self, s: int) -> list[Blocks]:
        """For each dimension, the labels that its coordinates have not passed on before step s."""
        return list(itertools.starmap(self._kept, enumerate(self.taken[s])))

    @cached_property
    def _kept(self) -> Callable[[int, int], Blocks]:
        # While one dimension acts, the others keep their labels, so remember the last ones.
        return lru_cache(maxsize=2 * len(self.patterns))(lambda j, t: self.patterns[j].pending(t))

    def _moves(self, s: int) -> dict[int, PatternStep]:
        """The pattern steps of the dimensions that act in step s."""
        return {j: self.patterns[j].step(self.taken[s][j]) for j in self.order[s]}

    def step(self, s: int) -> Step:
        kept = {j: self._kept(j, self.taken[s + 1][j]) for j in self.order[s]}
        return product_step(self.torus, self._moves(s), kept, self._pending(s), self.numbering)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        return _lines(self._moves(s), self._pending(s))

    def unreduced_lines(self, s: int) -> tuple[LineRows, ...] | None:
        lines, taken = self.lines(s), self.taken[s]
        if lines is None:
            return None
        held = tuple(counts[t][1] for counts, t in zip(self._contributions, taken, strict=True))
        return tuple(
            line._replace(
                sent=self._contributions[line.dim][taken[line.dim]][0], pending=held, reduces=False
            )
            for line in lines
        )

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        taken, dims = self.taken[s], self.order[s]
        pending = [pending_offsets(*each) for each in zip(self.patterns, taken, strict=True)]
        held = [offsets for offsets in pending if offsets is not None]
        moves = [(j, translates(self.patterns[j], taken[j])) for j in dims]
        if len(held) < len(pending) or len(moves) > 1:
            return None
        rows = []
        for j, messages in moves:
            if messages is None:
                return None
            for ahead, offsets in messages:
                shift = np.zeros(len(held), dtype=np.int64)
                shift[j] = ahead
                grid = np.meshgrid(*held[:j], offsets, *held[j + 1 :], indexing="ij")
                home = np.stack(grid, axis=-1).reshape(-1, len(held))
                rows.append(Translates(self.torus, 0, True, shift, None, home))
        return tuple(rows)

    @cached_property
    def _contributions(self) -> list[list[tuple[Array, Array]]]:
        return [contributions(pattern) for pattern in self.patterns]

    def signature(self, s: int) -> Hashable:
        return self._signatures[s]

    @cached_property
    def _signatures(self) -> list[Hashable]:
        signatures: list[Hashable] = []
        for dims, taken in zip(self.order, self.taken, strict=False):
            # The traffic also depends on the labels pending along the dimensions that do not act.
            acting = [(j, self.patterns[j].signature(taken[j])) for j in dims]
            signatures.append((*acting, *(t for j, t in enumerate(taken) if j not in dims)))
        return signatures

    def rank(self, rank: int) -> RankMessages:
        if not self.acts_alone:
            return filtered(map(self.step, range(self.nsteps)), rank)
        taken = np.array(self.taken)
        coords = self.torus.coords[rank].tolist()
        sides: tuple[list[MessageTable], list[MessageTable]] = [], []
        for j, pattern in enumerate(self.patterns):
            steps = np.flatnonzero(np.diff(taken[: self.nsteps + 1, j]))
            both = pattern.messages_of(coords[j], len(steps))
            for tables, messages in zip(sides, both, strict=True):
                step = steps[messages.step]
                moved = messages._replace(step=step)
                tables.append(self.messages_along(j, rank, moved, taken[step]))
        return RankMessages(rank, *map(MessageTable.merge, sides))

    @property
    def acts_alone(self) -> bool:
        """Whether every step acts along at most one dimension."""
        return all(len(dims) < 2 for dims in self.order)

    def messages_along(
        self,
        dim: int,
        rank: int,
        along: NodeMessages,
        pending: Array,
        keys: ReductionKeys | None = None,
    ) -> MessageTable:
        """Multiply the messages of one coordinate by the labels pending in the other dimensions.

        Args:
            dim: the dimension along which the messages go.
            rank: the rank whose messages these are.
            along: messages of the rank's coordinate, with the step indices of the product.
            pending: (m, dimensions) the number of steps of each dimension that determines which of
                its labels are pending for each message.
            keys: the reduction keys; the ranks themselves if None.
        """
        coords = self.torus.coords[rank].tolist()
        sets = []
        for i, pattern in enumerate(self.patterns):
            if i == dim:
                sets.append(along.sent)
            else:
                # Few different counts of steps occur, so compute the pending set once for each.
                counts, which = np.unique(pending[:, i], return_inverse=True)
                node = np.array([coords[i]])
                at_node = [pattern.pending(count).take(node) for count in counts.tolist()]
                sets.append(Blocks.join(at_node).take(which))
        count = np.prod([each.counts for each in sets], axis=0, dtype=np.int64)
        peer = self.torus.grid[tuple(along.peer if i == dim else x for i, x in enumerate(coords))]
        rows = np.flatnonzero((count > 0) & (peer != rank))
        sets = [each.take(rows) for each in sets]

        def find(i: int) -> Array:
            return _numbers([each.members(i) for each in sets], self.numbering)

        blocks = _ranges(sets, self.numbering, count[rows], _elementwise)
        if blocks is None:
            blocks = Blocks.sets(count[rows], list(map(find, range(len(rows)))).__getitem__)
        mine, theirs = keys or (np.full(len(peer), rank), peer)
        ones = np.ones(len(rows), dtype=bool)
        return MessageTable(
            along.step[rows], peer[rows], ones, blocks, np.zeros(len(rows), dtype=np.int64),
            ReductionKeys(mine[rows], theirs[rows]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Exchange(Body):
    """The steps after the reduce-scatter of a product, from the last to the first, as an exchange.

    Each message carries all blocks that are pending at its sender after the reduce-scatter.

    Args:
        product: the reduce-scatter; ``product.order`` also lists the steps of the exchange.
    """

    product: Product

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return len(self.product.order) - self.product.nsteps

    def _step(self, s: int) -> tuple[dict[int, PatternStep], list[Blocks]]:
        """The pattern steps of the dimensions that act in step s, and all pending labels."""
        pending = self.product._pending(self.product.nsteps)
        t = len(self.product.order) - 1 - s
        moves = {}
        for j in self.product.order[t]:
            src, dst = self._ends(j, t)
            moves[j] = PatternStep(src, dst, pending[j].take(src))
        return moves, pending

    def _ends(self, j: int, t: int) -> tuple[Array, Array]:
        """The messages of dimension j in step t of the product, turned round."""
        # A node receives from the nodes it would send its blocks to.
        dst, src, _ = self.product.patterns[j].step(self.product.taken[t][j])
        by_sender = np.argsort(src, kind="stable")
        return src[by_sender], dst[by_sender]

    def step(self, s: int) -> Step:
        moves, pending = self._step(s)
        kept = dict(enumerate(pending))
        return product_step(self.product.torus, moves, kept, pending, self.product.numbering)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        return _lines(*self._step(s))

    def rank(self, rank: int) -> RankMessages:
        """Return the messages of one rank in all steps.

        The sort key of a partial sum is the lowest coordinate, along the step's dimension, of the
        nodes whose values it contains; with these keys all ranks add in the same order.
        """
        if not self.product.acts_alone:
            return super().rank(rank)
        taken, split = np.array(self.product.taken), self.product.nsteps
        last = len(self.product.order) - 1
        coords = self.product.torus.coords[rank].tolist()
        sides: tuple[list[MessageTable], list[MessageTable]] = [], []
        for j, pattern in enumerate(self.product.patterns):
            whole, lowest = pattern.pending(int(taken[split, j])), np.arange(pattern.d)
            columns: tuple[list[Array], list[Array]] = [], []
            for t in reversed(np.flatnonzero(np.diff(taken[:, j]))[taken[split, j] :].tolist()):
                src, dst = self._ends(j, t)
                for rows_of, ends, peers in zip(columns, (src, dst), (dst, src), strict=True):
                    rows = np.flatnonzero(ends == coords[j])
                    peer, mine = peers[rows], np.full(len(rows), lowest[coords[j]])
                    step = np.full(len(rows), last - t)
                    rows_of.append(np.stack([step, peer, src[rows], mine, lowest[peer]]))
                # All messages of a step carry the values from before it, so update a copy.
                merged = lowest.copy()
                np.minimum.at(merged, dst, lowest[src])
                lowest = merged
            for tables, rows_of in zip(sides, columns, strict=True):
                empty = np.zeros((5, 0), int)  # np.concatenate refuses an empty list
                step, peer, sender, *keys = np.concatenate([*rows_of, empty], axis=1)
                pending = np.broadcast_to(taken[split], (len(step), len(coords)))
                along = NodeMessages(step, peer, whole.take(sender))
                tables.append(
                    self.product.messages_along(j, rank, along, pending, ReductionKeys(*keys))
                )
        return RankMessages(rank, *map(MessageTable.merge, sides))


def _lines(moves: dict[int, PatternStep], pending: Sequence[Blocks]) -> tuple[LineRows, ...] | None:
    if len(moves) > 1:
        return None
    counts = [sets.counts for sets in pending]
    return tuple(
        LineRows(0, dim, src, dst, sent.counts, (*counts[:dim], sent.counts, *counts[dim + 1 :]))
        for dim, (src, dst, sent) in moves.items()
    )


def product_step(
    torus: Torus,
    moves: dict[int, PatternStep],
    kept: dict[int, Blocks],
    pending: Sequence[Blocks],
    numbering: Sequence[Array],
) -> Step:
    """Make a step in which some dimensions act; each message carries a product of sets of labels.

    Args:
        torus: the ranks.
        moves: the pattern step of each acting dimension.
        kept: for each acting dimension, the sets that its coordinates keep in this step. Where
            several dimensions act, a message may move along some of them only.
        pending: for every dimension, the sets that its coordinates hold before this step.
        numbering: for each dimension, the amount that each label adds to a block's number.
    """
    if not moves:
        return Step.empty()
    src = [np.arange(d) for d in torus.dims]
    dst, sets = list(src), list(pending)
    for j, (tail, head, sent) in moves.items():
        src[j], dst[j], sets[j] = tail, head, sent
        if len(moves) > 1:  # add the choice of not moving along dimension j
            nodes = np.arange(torus.dims[j])
            src[j], dst[j] = np.append(tail, nodes), np.append(head, nodes)
            sets[j] = Blocks.join([sent, kept[j]])
    count = outer(np.multiply, [each.counts for each in sets]).ravel()
    tails, heads = (torus.grid[np.ix_(*ends)].ravel() for ends in (src, dst))
    sent_rows = np.flatnonzero((count > 0) & (tails != heads))
    if len(moves) > 1:
        # A rank sends its messages in the order of the rows, so put those that travel furthest
        # first.
        ends = zip(torus.dims, torus.wrap, src, dst, strict=True)
        hops = outer(np.add, [distance(*each) for each in ends])
        sent_rows = sent_rows[np.argsort(-hops.ravel()[sent_rows], kind="stable")]
    shape = [len(each) for each in sets]
    # Messages of a row or a column carry the same labels in one dimension.
    members = [lru_cache(maxsize=128)(each.members) for each in sets]

    def find(i: int) -> Array:
        index = zip(members, np.unravel_index(i, shape), strict=True)
        return _numbers([of(int(x)) for of, x in index], numbering)

    def carries(block: int) -> np.ndarray:
        labels = np.argwhere(outer(np.add, numbering) == block)[0].tolist()
        masks = [each.carrying(label) for each, label in zip(sets, labels, strict=True)]
        return outer(np.logical_and, masks).ravel()

    blocks = _ranges(sets, numbering, count, outer) or Blocks.sets(count, find, carries)
    return Step(True, tails[sent_rows], heads[sent_rows], blocks.take(sent_rows))


def _ranges(
    sets: Sequence[Blocks],
    numbering: Sequence[Array],
    count: Array,
    combine: Callable[[Callable[..., Array], Sequence[Array]], Array],
) -> Blocks | None:
    """Number the blocks of products of label sets, one set per dimension.

    Args:
        sets: for each dimension, the sets of labels.
        numbering: for each dimension, the amount that each label adds to a block's number.
        count: number of blocks of each product.
        combine: which sets are multiplied: `outer` for all combinations, in row-major order, or
            `_elementwise` for the i-th sets of all dimensions.

    Returns:
        None if some product is not one range of blocks.
    """
    starts = [each.starts for each in sets if each.starts is not None]
    if len(starts) < len(sets):
        return None
    ends = [
        np.maximum(start + each.counts - 1, 0) for start, each in zip(starts, sets, strict=True)
    ]
    lo, hi = (
        combine(np.add, [n[labels] for n, labels in zip(numbering, side, strict=True)]).ravel()
        for side in (starts, ends)
    )
    # Block numbers rise with labels, so lo and hi are the extremes of `count` distinct numbers.
    return Blocks(count, lo) if ((hi - lo + 1 == count) | (count == 0)).all() else None


def _numbers(labels: Sequence[Array], numbering: Sequence[Array]) -> Array:
    """Return the blocks with the given labels in each dimension, in ascending order."""
    amounts = [n[members] for n, members in zip(numbering, labels, strict=True)]
    return np.sort(outer(np.add, amounts).ravel())


def outer(op: Callable[..., Array], axes: Sequence[Array]) -> Array:
    """Combine one entry of each array with ``op``; the result has one axis per array."""
    return reduce(lambda a, b: op(a[..., None], b), axes)


def _elementwise(op: Callable[..., Array], columns: Sequence[Array]) -> Array:
    """Combine the i-th entries of all arrays with ``op``."""
    return reduce(op, columns)
