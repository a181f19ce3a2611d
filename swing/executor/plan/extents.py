"""Extents: the contiguous ranges of vector elements that messages consist of.

A message is a list of blocks, but memory is copied and reduced by elements. All messages that a
rank sends (or receives), in all steps, become one table of *cells*, each one block of one message,
and adjacent cells are merged into one table of *extents*, so that a plan needs few instructions.
The tables are numpy columns, and every function works on whole columns at once.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swing.schedules.blocks import Blocks
from swing.torus import Array

Flags: TypeAlias = NDArray[np.bool_]


class Cells(NamedTuple):
    """The blocks of messages, message by message, without empty blocks.

    Args:
        row: (c,) the index of the message.
        block: (c,) the index of the block.
        offset: (c,) the number of elements of the message in front of the block.
        length: (messages,) the number of elements of each message, which can be 0.
        kept: (blocks of all messages,) whether a block has elements and so became a cell.
    """

    row: Array
    block: Array
    offset: Array
    length: Array
    kept: Flags

    @classmethod
    def of(cls, blocks: Blocks, ends: Array) -> Cells:
        """The cells of the messages that carry ``blocks``; for ``ends`` see `Schedule.ends`."""
        row, block = blocks.flat()
        size = ends[block + 1] - ends[block]
        total = np.append(0, np.cumsum(size))
        last = np.cumsum(blocks.counts)
        first = last - blocks.counts
        offset = total[:-1] - total[first][row]
        kept = size > 0
        return cls(row[kept], block[kept], offset[kept], total[last] - total[first], kept)


class Extents(NamedTuple):
    """Contiguous ranges of the vector.

    Args:
        cell: (r,) the index of the first cell of each range.
        start: (r,) the index of its first element in the vector.
        length: (r,) the number of elements.
    """

    cell: Array
    start: Array
    length: Array


def extents(block: Array, ends: Array, *alike: Array | Flags) -> Extents:
    """Merge consecutive cells that are adjacent in the vector and agree in the columns ``alike``.

    Args:
        block: (c,) the block of each cell.
        ends: (nblocks + 1,) see `Schedule.ends`.
        alike: (c,) each; all cells of an extent have equal values in every one of these columns.
    """
    start, stop = ends[block], ends[block + 1]
    is_boundary = start[1:] != stop[:-1]
    for column in alike:
        is_boundary |= column[1:] != column[:-1]
    # The first cell always begins an extent. The slice removes that extent if there are no cells.
    first = np.flatnonzero(np.append(True, is_boundary))[: len(block)]
    last = np.append(first[1:], len(block))[: len(first)] - 1
    return Extents(first, start[first], stop[last] - start[first])


class Pieces(NamedTuple):
    """Parts of extents, each within one piece of its message.

    Args:
        row: (n,) the index of the extent.
        number: (n,) the number of the piece in its message: 0, 1, ….
        offset: (n,) the first element, counted from the beginning of the message.
        length: (n,) the number of elements.
    """

    row: Array
    number: Array
    offset: Array
    length: Array


def cut(offset: Array, length: Array, piece: Array) -> Pieces:
    """Cut extents at the multiples of ``piece``, counted from the beginning of their message.

    Args:
        offset: (r,) where each extent begins in its message.
        length: (r,) its number of elements; an extent of length 0 gives no piece.
        piece: (r,) the number of elements per piece.

    >>> cut(np.array([3]), np.array([6]), np.array([4])).offset.tolist()
    [3, 4, 8]
    """
    first = offset // piece
    count = np.where(length > 0, (offset + length - 1) // piece - first + 1, 0)
    row = np.repeat(np.arange(len(offset)), count)
    # The position of a row within its extent, plus the number of the extent's first piece.
    number = first[row] + np.arange(len(row)) - (np.cumsum(count) - count)[row]
    begin = np.maximum(offset[row], number * piece[row])
    end = np.minimum((offset + length)[row], (number + 1) * piece[row])
    return Pieces(row, number, begin, end - begin)


def repeated(keys: Array) -> Flags:
    """(n,) whether each key occurs more than once."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    is_repeated = np.zeros(len(keys), dtype=bool)
    is_repeated[order[1:][same]] = is_repeated[order[:-1][same]] = True
    return is_repeated
