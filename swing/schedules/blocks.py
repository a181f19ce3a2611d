"""The blocks that messages carry: ranges of them, or any sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from swing.torus import Array


@dataclass(frozen=True, eq=False)
class BlockRange:
    """The blocks ``start[i] … start[i] + count[i] - 1`` of each message i: contiguous."""

    start: Array
    count: Array

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, i: int) -> slice:
        start = int(self.start[i])
        return slice(start, start + int(self.count[i]))

    def take(self, rows: Array) -> BlockRange:
        """The blocks of some of the messages."""
        return BlockRange(self.start[rows], self.count[rows])

    def shift(self, offset: int) -> BlockRange:
        """The same blocks, renumbered by an offset."""
        return BlockRange(self.start + offset, self.count) if offset else self


@dataclass(frozen=True, eq=False)
class BlockSets:
    """Any blocks: ``count[i]`` at hand, ``members(i)`` (distinct, ascending) on demand."""

    count: Array
    members: Callable[[int], Array]

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, i: int) -> slice | Array:
        found = self.members(i)
        lo, hi = int(found[0]), int(found[-1]) + 1
        return slice(lo, hi) if hi - lo == len(found) else found

    def take(self, rows: Array) -> BlockSets:
        """The blocks of some of the messages."""
        return BlockSets(self.count[rows], lambda i: self.members(int(rows[i])))

    def shift(self, offset: int) -> BlockSets:
        """The same blocks, renumbered by an offset."""
        return BlockSets(self.count, lambda i: self.members(i) + offset) if offset else self


Blocks = BlockRange | BlockSets


def one_block(index: Array) -> BlockRange:
    """Message i carries the single block ``index[i]``."""
    return BlockRange(index, np.ones_like(index))


def join(tables: Sequence[Blocks]) -> Blocks:
    """The blocks of several tables, one below the other."""
    if len(tables) == 1:
        return tables[0]
    count = np.concatenate([t.count for t in tables])
    if all(isinstance(t, BlockRange) for t in tables):
        return BlockRange(np.concatenate([t.start for t in tables]), count)  # type: ignore[union-attr]
    first = np.cumsum([0] + [len(t) for t in tables])

    def members(i: int) -> Array:
        t = int(np.searchsorted(first, i, side="right")) - 1
        found = tables[t][i - int(first[t])]
        return np.arange(found.start, found.stop) if isinstance(found, slice) else found

    return BlockSets(count, members)
