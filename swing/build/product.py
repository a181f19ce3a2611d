"""One rank's messages in a product of ring patterns, computed without those of other ranks.

Along a dimension, a rank sends and receives when its coordinate does so in that dimension's
pattern. A message carries the products of the labels that the pattern sends and the labels that
are pending at the rank's other coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from swing.build.pattern import NodeMessages, RingPattern, Sets
from swing.schedules.blocks import BlockRange, Blocks, BlockSets
from swing.schedules.rank import MessageTable, RankMessages, stack
from swing.torus import Array, Torus


class RankProduct(NamedTuple):
    """A product of ring patterns in which every step acts along at most one dimension.

    Args:
        torus: the ranks.
        patterns: one RingPattern per dimension.
        order: the dimension of each step, or None for an idle step.
        numbering: for each dimension, the amount that each label adds to a block's number.
    """

    torus: Torus
    patterns: Sequence[RingPattern]
    order: Sequence[int | None]
    numbering: Sequence[Array]

    def scatter(self, rank: int, split: int) -> RankMessages:
        """Return a rank's messages in the first ``split`` steps, which are a reduce-scatter."""
        taken = self._taken(split)
        coords = self.torus.coords[rank].tolist()
        sides: tuple[list[MessageTable], list[MessageTable]] = [], []
        for j, pattern in enumerate(self.patterns):
            steps = np.flatnonzero(np.diff(taken[:, j]))  # steps of the product along dimension j
            both = pattern.messages_of(coords[j], len(steps))
            for tables, messages in zip(sides, both, strict=True):
                step = steps[messages.step]
                moved = messages._replace(step=step)
                tables.append(self._messages(rank, j, moved, taken[step]))
        return RankMessages(*map(stack, sides))

    def exchange(self, rank: int, split: int) -> RankMessages:
        """Return a rank's messages in the steps from ``split`` on, run from the last to the first.

        Each message carries all blocks that are pending at its sender before step ``split``. The
        sort key of a partial sum is the lowest coordinate, along the step's dimension, of the
        nodes whose values it contains; with these keys all ranks add in the same order.
        """
        taken, last = self._taken(len(self.order)), len(self.order) - 1
        coords = self.torus.coords[rank].tolist()
        sides: tuple[list[MessageTable], list[MessageTable]] = [], []
        for j, pattern in enumerate(self.patterns):
            whole, lowest = pattern.pending(int(taken[split, j])), np.arange(pattern.d)
            columns: tuple[list[Array], list[Array]] = [], []
            for t in reversed(np.flatnonzero(np.diff(taken[:, j]))[taken[split, j] :].tolist()):
                # The messages of step t run backwards, as in `combine.product`.
                dst, src, _ = pattern.step(int(taken[t, j]))
                by_sender = np.argsort(src, kind="stable")
                src, dst = src[by_sender], dst[by_sender]
                for rows_of, ends, peers in zip(columns, (src, dst), (dst, src), strict=True):
                    rows = np.flatnonzero(ends == coords[j])
                    peer, mine = peers[rows], np.full(len(rows), lowest[coords[j]])
                    step = np.full(len(rows), last - t)
                    rows_of.append(np.stack([step, peer, src[rows], mine, lowest[peer]]))
                # All messages of a step carry the state before it, so update a copy.
                merged = lowest.copy()
                np.minimum.at(merged, dst, lowest[src])
                lowest = merged
            for tables, rows_of in zip(sides, columns, strict=True):
                empty = np.zeros((5, 0), int)  # np.concatenate refuses an empty list
                step, peer, sender, *keys = np.concatenate([*rows_of, empty], axis=1)
                pending = np.broadcast_to(taken[split], (len(step), len(coords)))
                messages = NodeMessages(step, peer, whole.take(sender))
                tables.append(self._messages(rank, j, messages, pending, keys))
        return RankMessages(*map(stack, sides))

    def _messages(
        self,
        rank: int,
        dim: int,
        along: NodeMessages,
        pending: Array,
        keys: Sequence[Array] | None = None,
    ) -> MessageTable:
        """Multiply the messages of one coordinate with the labels pending in other dimensions.

        Args:
            rank: the rank whose messages these are.
            dim: the dimension along which they go.
            along: messages of the rank's coordinate, with the step indices of the product.
            pending: (m, dimensions) how many steps each dimension has taken before each message.
            keys: the columns ``mine`` and ``theirs``; the ranks themselves if None.
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
                sets.append(Sets.joined(at_node).take(which))
        count = np.prod([each.count for each in sets], axis=0, dtype=np.int64)
        peer = self.torus.grid[tuple(along.peer if i == dim else x for i, x in enumerate(coords))]
        rows = np.flatnonzero((count > 0) & (peer != rank))
        blocks = _blocks([each.take(rows) for each in sets], self.numbering, count[rows])
        mine, theirs = keys or (np.full(len(peer), rank), peer)
        return MessageTable.to_reduce(
            along.step[rows], peer[rows], blocks, mine[rows], theirs[rows]
        )

    def _taken(self, nsteps: int) -> Array:
        """(nsteps + 1, dimensions) number of steps along each dimension before each step."""
        dims = range(len(self.patterns))
        acts = np.array([[j == i for i in dims] for j in self.order[:nsteps]], dtype=np.int64)
        taken: Array = np.cumsum(np.vstack([np.zeros((1, len(dims)), int), *acts]), axis=0)
        return taken


def _blocks(sets: Sequence[Sets], numbering: Sequence[Array], count: Array) -> Blocks:
    """Number the blocks of each message i: the product of the i-th sets of all dimensions."""
    starts = [each.start for each in sets if each.start is not None]
    if len(starts) == len(sets):
        ends = [np.maximum(s.start + s.count - 1, 0) for s in sets]  # type: ignore[operator]
        lo = reduce(np.add, [n[s] for n, s in zip(numbering, starts, strict=True)])
        hi = reduce(np.add, [n[s] for n, s in zip(numbering, ends, strict=True)])
        # Numbers rise with labels, so lo and hi are the extremes of `count` distinct numbers.
        if (hi - lo + 1 == count).all():
            return BlockRange(lo, count)
    products = list(_products(sets, numbering, len(count)))
    return BlockSets(count, products.__getitem__)


def _products(sets: Sequence[Sets], numbering: Sequence[Array], n: int) -> Iterator[Array]:
    for i in range(n):
        labels = [each.members(i) for each in sets]
        yield np.sort(outer(np.add, [n[m] for n, m in zip(numbering, labels, strict=True)]).ravel())


def outer(op: Callable[..., Array], axes: Sequence[Array]) -> Array:
    """Combine one entry of each array with ``op``; the result has one axis per array."""
    return reduce(lambda a, b: op(a[..., None], b), axes)
