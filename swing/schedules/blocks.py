"""Lists of blocks: those that each message of a table carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from swing.checks import shown
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of m messages: message i carries ``counts[i]`` of them, in ascending order.

    If every message carries one range of blocks, message i carries the blocks ``starts[i]`` to
    ``starts[i] + counts[i] - 1``. Otherwise ``starts`` is None, and ``find`` makes the list of a
    message on demand: a schedule of p ranks has p blocks, so storing all lists would take O(p²)
    memory per step.

    Args:
        counts: (m,) number of blocks of each message.
        starts: (m,) first block of each message, or None.
        find: maps the row number of a message to the array of its blocks, in ascending order; used
            if ``starts`` is None.
        carries: maps a block to the (m,) truth values of which messages carry it, where that is
            known without making the lists.

    >>> Blocks.ranges(np.array([4, 0]), 2)[0]
    slice(4, 6, None)
    """

    counts: Array
    starts: Array | None
    find: Callable[[int], Array] | None = None
    carries: Callable[[int], np.ndarray] | None = None

    @classmethod
    def ranges(cls, starts: Array, counts: Array | int) -> Blocks:
        """Make lists of one range each: (m,) first blocks, and (m,) lengths or one for all."""
        return cls(np.broadcast_to(counts, starts.shape), starts)

    @classmethod
    def sets(
        cls,
        counts: Array,
        find: Callable[[int], Array],
        carries: Callable[[int], np.ndarray] | None = None,
    ) -> Blocks:
        """Make lists of arbitrary blocks; ``find(i)`` returns the ``counts[i]`` blocks of row i."""
        return cls(counts, None, find, carries)

    @classmethod
    def listed(cls, sets: Sequence[slice | Array]) -> Blocks:
        """Make lists from one slice or index array per message.

        Raises:
            ValueError: a message has no blocks, or its blocks are not whole numbers.
        """
        arrays = [_members(i, blocks) for i, blocks in enumerate(sets)]
        return cls.sets(np.array([len(a) for a in arrays], dtype=np.int64), arrays.__getitem__)

    @classmethod
    def join(cls, tables: Sequence[Blocks]) -> Blocks:
        """Concatenate the lists of several tables of messages.

        >>> Blocks.join([one_block(np.array([4])), Blocks.ranges(np.array([0]), 2)])[1]
        slice(0, 2, None)
        """
        if len(tables) == 1:
            return tables[0]
        counts = np.concatenate([table.counts for table in tables] or [np.zeros(0, np.int64)])
        starts = [table.starts for table in tables if table.starts is not None]
        if len(starts) == len(tables):
            return cls(counts, np.concatenate([*starts, counts[:0]]))
        first = np.cumsum([0] + [len(table) for table in tables])

        def find(i: int) -> Array:
            t = int(np.searchsorted(first, i, side="right")) - 1
            return tables[t].members(i - int(first[t]))

        def carries(block: int) -> np.ndarray:
            return np.concatenate([table.carrying(block) for table in tables])

        return cls.sets(counts, find, carries)

    def __len__(self) -> int:
        return len(self.counts)

    def members(self, i: int) -> Array:
        """Return the (counts[i],) blocks of message i, in ascending order."""
        if self.starts is None:
            assert self.find is not None
            return self.find(i)
        return np.arange(self.starts[i], self.starts[i] + self.counts[i])

    def __getitem__(self, i: int) -> slice | Array:
        """Return the blocks of message i: a slice if they are one range, else an index array."""
        if self.starts is None:
            blocks = self.members(i)
            lo, hi = int(blocks[0]), int(blocks[-1]) + 1
            return slice(lo, hi) if hi - lo == len(blocks) else blocks
        lo = int(self.starts[i])
        return slice(lo, lo + int(self.counts[i]))

    def carrying(self, block: int) -> np.ndarray:
        """Return (m,) whether each message carries a block."""
        if self.starts is not None:
            mask: np.ndarray = (self.starts <= block) & (block < self.starts + self.counts)
            return mask
        if self.carries is not None:
            return self.carries(block)
        return np.array([block in self.members(i) for i in range(len(self))], dtype=bool)

    def take(self, rows: Array) -> Blocks:
        """Select the messages with the given row numbers."""
        if self.starts is not None:
            return Blocks(self.counts[rows], self.starts[rows])
        known = self.carries
        return Blocks.sets(
            self.counts[rows],
            lambda i: self.members(int(rows[i])),
            None if known is None else lambda block: known(block)[rows],
        )

    def shift(self, offset: Array) -> Blocks:
        """Add ``offset[i]`` to the block numbers of every message i."""
        if self.starts is None:
            return Blocks.sets(self.counts, lambda i: self.members(i) + offset[i])
        return Blocks(self.counts, self.starts + offset)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(m,) the sum of a value of each block, (nblocks,), over the blocks of every message."""
        if self.starts is None:
            sums = [values[self[i]].sum() for i in range(len(self))]
            return np.array(sums, dtype=values.dtype)
        ends = np.append(0, np.cumsum(values))
        return np.asarray(ends[self.starts + self.counts] - ends[self.starts])

    def flat(self) -> tuple[Array, Array]:
        """List every block of every message, as two columns of Σ counts entries.

        Returns:
            The row number of the message, and the block.

        >>> [column.tolist() for column in Blocks.ranges(np.array([5, 0]), 2).flat()]
        [[0, 0, 1, 1], [5, 6, 0, 1]]
        """
        row = np.repeat(np.arange(len(self)), self.counts)
        if self.starts is None:
            return row, np.concatenate([row[:0], *map(self.members, range(len(self)))])
        first = np.cumsum(self.counts) - self.counts
        return row, np.arange(len(row)) + (self.starts - first)[row]


def one_block(index: Array) -> Blocks:
    """Make lists of one block each: message i carries block ``index[i]``."""
    return Blocks(np.ones_like(index), index)


def _members(i: int, blocks: slice | Array) -> Array:
    if isinstance(blocks, slice) and None not in (blocks.start, blocks.stop):
        array = np.arange(blocks.start, blocks.stop, blocks.step)
    else:
        array = np.asarray(blocks)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(
            f"the blocks of message {i} are {shown(blocks)}: pass a slice with both ends or "
            "an array of whole numbers"
        )
    return array.astype(np.int64)
