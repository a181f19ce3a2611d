"""Copy vectors into the rows of a program's buffers, and results out of them.

A block is cut out exactly as `swing.executor` does it, since the order in which an element is
reduced depends on its block. Rows have the length of the longest block of their part; the ends of
shorter blocks' rows hold values that nothing reads.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from swing.integrations.jax.interpreter import read
from swing.integrations.jax.program import Program

if TYPE_CHECKING:
    from jax import Array


def pack(program: Program, x: Array, rank: Array) -> list[Array]:
    """Make the buffers of all parts from what a rank passes in.

    Args:
        program: the program.
        x: (pieces · m,) what this rank passes in.
        rank: this rank.

    Returns:
        For each part, (nrows, L) the rows.
    """
    side = program.entry
    pieces = x.reshape(side.pieces, -1)
    buffers = []
    for ends, table, nrows in zip(
        _cuts(program, pieces.shape[1]), side.rows, program.nrows, strict=True
    ):
        rows = _split(pieces, ends)
        rows = rows.reshape(-1, rows.shape[-1])
        if _is_whole(table, nrows):
            order = np.argsort(table[0])
            buffers.append(rows if _ascends(order) else rows[order])
        else:
            empty = zeros((nrows, rows.shape[1]), x)
            buffers.append(empty.at[read(table, rank)].set(rows, unique_indices=True))
    return buffers


def unpack(program: Program, buffers: list[Array], m: int, rank: Array) -> Array:
    """Copy what a rank gets out of the buffers of all parts.

    Args:
        program: the program.
        buffers: for each part, (nrows, L) the rows.
        m: number of elements of a piece.
        rank: this rank.

    Returns:
        (pieces · m,) what this rank gets; zeros if another rank alone gets anything.
    """
    side = program.exit
    columns = []
    for ends, table, buffer in zip(_cuts(program, m), side.rows, buffers, strict=True):
        if not (_is_whole(table, len(buffer)) and _ascends(table[0])):
            buffer = buffer[table[0] if _is_constant(table) else read(table, rank)]
        columns.append(_join(buffer.reshape(side.pieces, len(ends) - 1, -1), ends))
    result = jnp.concatenate(columns, axis=1).reshape(-1)
    return result if side.only is None else jnp.where(rank == side.only, result, 0)


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Make an array of zeros that varies over the mesh axes over which another array varies."""
    made = jnp.zeros(shape, like.dtype)
    varying = tuple(jax.typeof(like).mat.varying)
    return lax.pcast(made, varying, to="varying") if varying else made


def _cuts(program: Program, m: int) -> list[np.ndarray]:
    """For each part, the ends of its blocks in a piece of m elements."""
    schedule, side = program.schedule, program.entry
    sizes = [table.shape[1] // side.pieces for table in side.rows]
    if schedule.origin.constant is not None and schedule.home.constant is not None:
        ends = schedule.ends(m)
    else:
        ends = np.arange(sum(sizes) + 1) * m // sum(sizes)
    return [ends[lo : hi + 1] for lo, hi in pairwise(np.cumsum([0, *sizes]).tolist())]


def _split(pieces: Array, ends: np.ndarray) -> Array:
    """Cut blocks out of (n, m) pieces: (n, k, L), where L is the length of the longest block."""
    size = np.diff(ends)
    longest = max(1, int(size.max()))  # some parts of short vectors have no elements
    if (size == longest).all():
        return pieces[:, ends[0] : ends[-1]].reshape(len(pieces), len(size), longest)
    padded = jnp.pad(pieces, ((0, 0), (0, longest)))

    def block(start: Array) -> Array:
        return lax.dynamic_slice_in_dim(padded, start, longest, axis=1)

    return lax.map(block, jnp.asarray(ends[:-1].astype(np.int32))).swapaxes(0, 1)


def _join(blocks: Array, ends: np.ndarray) -> Array:
    """Join (n, k, L) blocks to (n, m) pieces: the inverse of `_split`."""
    size, length = np.diff(ends), int(ends[-1] - ends[0])
    longest = max(1, int(size.max()))  # some parts of short vectors have no elements
    if (size == longest).all():
        return blocks.reshape(len(blocks), length)
    starts = jnp.asarray((ends[:-1] - ends[0]).astype(np.int32))

    def write(i: Array, joined: Array) -> Array:
        # In ascending order, so that each block replaces the end of the row before it.
        block = lax.dynamic_index_in_dim(blocks, i, axis=1, keepdims=False)
        return lax.dynamic_update_slice_in_dim(joined, block, starts[i], 1)

    joined = zeros((len(blocks), length + longest), blocks)
    return lax.fori_loop(0, len(size), write, joined)[:, :length]


def _is_constant(table: np.ndarray) -> bool:
    """Return whether all ranks have the same rows."""
    return bool((table == table[0]).all())


def _is_whole(table: np.ndarray, nrows: int) -> bool:
    """Return whether the rows of every rank are the whole buffer, in the same order."""
    return table.shape[1] == nrows and _is_constant(table)


def _ascends(rows: np.ndarray) -> bool:
    return bool((rows[1:] > rows[:-1]).all())
