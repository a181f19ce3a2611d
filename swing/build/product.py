"""Seat: what one rank does in a product of lines, without all others.

Along a dimension a rank does what its coordinate does on the line, with the products of those
labels and what its other coordinates hold.
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
    """A product in which every step is along one dimension.

    Args:
        torus: the ranks.
        lines: one line a dimension.
        order: the dimension of every step, or None for a step of rest.
        place: of each dimension the amount every label adds to a block's number.
    """

    torus: Torus
    lines: Sequence[RingPattern]
    order: Sequence[int | None]
    place: Sequence[Array]

    def scatter(self, rank: int, split: int) -> RankMessages:
        """A rank's messages in the first steps, ``split`` of them: a reduce-scatter."""
        taken = self._taken(split)
        at = self.torus.coords[rank].tolist()
        sides: tuple[list[MessageTable], list[MessageTable]] = [], []
        for j, line in enumerate(self.lines):
            when = np.flatnonzero(np.diff(taken[:, j]))
            for side, walk in zip(sides, line.walk(at[j], len(when)), strict=True):
                step = when[walk.step]
                side.append(self._messages(rank, j, walk._replace(step=step), taken[step]))
        return RankMessages(*map(stack, sides))

    def exchange(self, rank: int, split: int) -> RankMessages:
        """A rank's messages in the steps after these, from the last to the first: all it holds.

        A rank adds up what others had when the exchange began. So that all add in the same order
        they go by the lowest coordinates at which that lay.
        """
        taken, last = self._taken(len(self.order)), len(self.order) - 1
        at = self.torus.coords[rank].tolist()
        sides: tuple[list[MessageTable], list[MessageTable]] = [], []
        for j, line in enumerate(self.lines):
            whole, lowest = line.pending(int(taken[split, j])), np.arange(line.d)
            columns: tuple[list[Array], list[Array]] = [], []
            for t in reversed(np.flatnonzero(np.diff(taken[:, j]))[taken[split, j] :].tolist()):
                dst, src, _ = line.step(int(taken[t, j]))  # it is sent back
                by_sender = np.argsort(src, kind="stable")
                src, dst = src[by_sender], dst[by_sender]
                for rows_of, here, there in zip(columns, (src, dst), (dst, src), strict=True):
                    rows = np.flatnonzero(here == at[j])
                    peer, mine = there[rows], np.full(len(rows), lowest[at[j]])
                    step = np.full(len(rows), last - t)
                    rows_of.append(np.stack([step, peer, src[rows], mine, lowest[peer]]))
                low = lowest.copy()
                np.minimum.at(low, dst, lowest[src])
                lowest = low
            for side, found in zip(sides, columns, strict=True):
                step, peer, sender, *lead = np.concatenate([*found, np.zeros((5, 0), int)], axis=1)
                pending = np.broadcast_to(taken[split], (len(step), len(at)))
                walk = NodeMessages(step, peer, whole.take(sender))
                side.append(self._messages(rank, j, walk, pending, lead))
        return RankMessages(*map(stack, sides))

    def _messages(
        self,
        rank: int,
        dim: int,
        walk: NodeMessages,
        pending: Array,
        lead: Sequence[Array] | None = None,
    ) -> MessageTable:
        """Messages along a dimension.

        Args:
            rank: whose they are.
            dim: the dimension.
            walk: what the rank's coordinate does, and in which steps of the product.
            pending: (m, dimensions) which of each line's sets the other coordinates hold.
            lead: mine and theirs, if the messages are not to go by ranks.
        """
        at = self.torus.coords[rank].tolist()
        sets = []
        for i, line in enumerate(self.lines):
            if i == dim:
                sets.append(walk.sent)
            else:
                which, of = np.unique(pending[:, i], return_inverse=True)
                here = np.array([at[i]])
                sets.append(
                    Sets.joined([line.pending(u).take(here) for u in which.tolist()]).take(of)
                )
        count = np.prod([each.count for each in sets], axis=0, dtype=np.int64)
        peer = self.torus.grid[tuple(walk.peer if i == dim else x for i, x in enumerate(at))]
        some = np.flatnonzero((count > 0) & (peer != rank))
        blocks = blocks_of([each.take(some) for each in sets], self.place, count[some])
        mine, theirs = lead or (np.full(len(peer), rank), peer)
        return MessageTable.to_reduce(walk.step[some], peer[some], blocks, mine[some], theirs[some])

    def _taken(self, nsteps: int) -> Array:
        """(nsteps + 1, dimensions) steps along each dimension before each step."""
        dims = range(len(self.lines))
        acts = np.array([[j == i for i in dims] for j in self.order[:nsteps]], dtype=np.int64)
        taken: Array = np.cumsum(np.vstack([np.zeros((1, len(dims)), int), *acts]), axis=0)
        return taken


def blocks_of(sets: Sequence[Sets], place: Sequence[Array], count: Array) -> Blocks:
    """(m,) products of the m-th set of every family, as blocks."""
    starts = [each.start for each in sets if each.start is not None]
    if len(starts) == len(sets):
        ends = [np.maximum(s.start + s.count - 1, 0) for s in sets]  # type: ignore[operator]
        lo = reduce(np.add, [p[s] for p, s in zip(place, starts, strict=True)])
        hi = reduce(np.add, [p[s] for p, s in zip(place, ends, strict=True)])
        if (hi - lo + 1 == count).all():
            return BlockRange(lo, count)
    found = list(_products(sets, place, len(count)))
    return BlockSets(count, found.__getitem__)


def _products(sets: Sequence[Sets], place: Sequence[Array], n: int) -> Iterator[Array]:
    for i in range(n):
        labels = [each.members(i) for each in sets]
        yield np.sort(outer(np.add, [p[m] for p, m in zip(place, labels, strict=True)]).ravel())


def outer(op: Callable[..., Array], axes: Sequence[Array]) -> Array:
    """op over one entry of every axis: an array with an axis each."""
    return reduce(lambda a, b: op(a[..., None], b), axes)
