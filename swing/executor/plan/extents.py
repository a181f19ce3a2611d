"""Runs: elements of the vector that lie in a row and are treated alike.

Messages are lists of blocks; memory is elements. All that a rank sends or receives, in all steps,
is one table of *cells*, a block of a message each, and one of *runs*, as few as can be.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swing.executor.plan.order import members
from swing.schedules.blocks import Blocks
from swing.torus import Array

Flags: TypeAlias = NDArray[np.bool_]


class Cells(NamedTuple):
    """Blocks of messages, message by message; none is empty.

    Args:
        row: (c,) the message.
        block: (c,) the block.
        offset: (c,) elements of the message before it.
        length: (messages,) elements of each message.
        kept: (blocks of all messages,) which of them are not empty.
    """

    row: Array
    block: Array
    offset: Array
    length: Array
    kept: Flags

    @classmethod
    def of(cls, blocks: Blocks, ends: Array) -> Cells:
        """The blocks of some messages; for ``ends`` see `Schedule.ends`."""
        row, block = members(blocks)
        size = ends[block + 1] - ends[block]
        total = np.append(0, np.cumsum(size))
        last = np.cumsum(blocks.count)
        first = last - blocks.count
        offset = total[:-1] - total[first][row]
        kept = size > 0
        return cls(row[kept], block[kept], offset[kept], total[last] - total[first], kept)


class Extents(NamedTuple):
    """Elements of the vector in a row.

    Args:
        cell: (r,) the first cell of each.
        start: (r,) its first element.
        length: (r,) elements.
    """

    cell: Array
    start: Array
    length: Array


def extents(block: Array, ends: Array, *alike: Array | Flags) -> Extents:
    """Cells that lie in a row and agree in some columns, together."""
    start, stop = ends[block], ends[block + 1]
    cut = start[1:] != stop[:-1]
    for column in alike:
        cut |= column[1:] != column[:-1]
    first = np.flatnonzero(np.append(True, cut))[: len(block)]
    last = np.append(first[1:], len(block))[: len(first)] - 1
    return Extents(first, start[first], stop[last] - start[first])


class Pieces(NamedTuple):
    """Runs of messages cut where their pieces are.

    Args:
        row: (n,) the run.
        number: (n,) of the piece.
        offset: (n,) its first element, counted from the beginning of the message.
        length: (n,) elements.
    """

    row: Array
    number: Array
    offset: Array
    length: Array


def cut(offset: Array, length: Array, piece: Array) -> Pieces:
    """Cut what begins at an offset of a message into pieces of a size; empty ones vanish."""
    first = offset // piece
    count = np.where(length > 0, (offset + length - 1) // piece - first + 1, 0)
    row = np.repeat(np.arange(len(offset)), count)
    number = first[row] + np.arange(len(row)) - (np.cumsum(count) - count)[row]
    begin = np.maximum(offset[row], number * piece[row])
    end = np.minimum((offset + length)[row], (number + 1) * piece[row])
    return Pieces(row, number, begin, end - begin)


def repeated(keys: Array) -> Flags:
    """(n,) which keys are there more than once."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    found = np.zeros(len(keys), dtype=bool)
    found[order[1:][same]] = found[order[:-1][same]] = True
    return found
