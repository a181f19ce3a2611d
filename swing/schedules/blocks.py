"""Block lists of messages: one contiguous range per message, or arbitrary sets of blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from swing.torus import Array


@dataclass(frozen=True, eq=False)
class BlockRange:
    """Contiguous blocks: message i carries blocks ``start[i] … start[i] + count[i] - 1``."""

    start: Array
    count: Array

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, i: int) -> slice:
        start = int(self.start[i])
        return slice(start, start + int(self.count[i]))

    def take(self, rows: Array) -> BlockRange:
        """Select the messages with the given row numbers."""
        return BlockRange(self.start[rows], self.count[rows])

    def shift(self, offset: int) -> BlockRange:
        """Add an offset to every block number."""
        return BlockRange(self.start + offset, self.count) if offset else self


@dataclass(frozen=True, eq=False)
class BlockSets:
    """Arbitrary sets of blocks: message i carries the ``count[i]`` blocks ``members(i)``.

    The lists (distinct, ascending) are made on demand, because a schedule of p ranks has p blocks
    and keeping all lists would take O(p²) memory per step.
    """

    count: Array
    members: Callable[[int], Array]

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, i: int) -> slice | Array:
        blocks = self.members(i)
        lo, hi = int(blocks[0]), int(blocks[-1]) + 1
        return slice(lo, hi) if hi - lo == len(blocks) else blocks

    def take(self, rows: Array) -> BlockSets:
        """Select the messages with the given row numbers."""
        return BlockSets(self.count[rows], lambda i: self.members(int(rows[i])))

    def shift(self, offset: int) -> BlockSets:
        """Add an offset to every block number."""
        return BlockSets(self.count, lambda i: self.members(i) + offset) if offset else self


Blocks = BlockRange | BlockSets


def one_block(index: Array) -> BlockRange:
    """Make the list for messages of one block each: message i carries block ``index[i]``."""
    return BlockRange(index, np.ones_like(index))


def listed(sets: Sequence[slice | Array]) -> BlockSets:
    """The blocks of messages that are given one by one, as slices or index arrays.

    Raises:
        ValueError: a message with no blocks, or whose blocks are not whole numbers.
    """
    arrays = []
    for i, blocks in enumerate(sets):
        if isinstance(blocks, slice) and None not in (blocks.start, blocks.stop):
            array = np.arange(blocks.start, blocks.stop, blocks.step)
        else:
            array = np.asarray(blocks)
        if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
            raise ValueError(
                f"the blocks of message {i} are {str(blocks)[:40]}: pass a slice with both ends or "
                "an array of whole numbers"
            )
        arrays.append(array.astype(np.int64))
    return BlockSets(np.array([len(a) for a in arrays], dtype=np.int64), arrays.__getitem__)


def join(tables: Sequence[Blocks]) -> Blocks:
    """Concatenate several block lists."""
    if len(tables) == 1:
        return tables[0]
    count = np.concatenate([t.count for t in tables])
    if all(isinstance(t, BlockRange) for t in tables):
        return BlockRange(np.concatenate([t.start for t in tables]), count)  # type: ignore[union-attr]
    first = np.cumsum([0] + [len(t) for t in tables])

    def members(i: int) -> Array:
        t = int(np.searchsorted(first, i, side="right")) - 1
        blocks = tables[t][i - int(first[t])]
        return np.arange(blocks.start, blocks.stop) if isinstance(blocks, slice) else blocks

    return BlockSets(count, members)
