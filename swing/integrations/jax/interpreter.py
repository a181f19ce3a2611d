"""Run a program inside ``jax.shard_map``: every device runs this code on its own rows.

All functions are traced by JAX; whatever they ask in Python is known at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from swing.integrations.jax.program import ABSENT, PartStep, Program, Rows

if TYPE_CHECKING:
    from jax import Array

AxisNames = tuple[Any, ...]
Reduction = Callable[[Any, Any], Any]
Pairs = Sequence[tuple[int, int]]
Permute = Callable[[Any, Pairs], Any]

REDUCTIONS: dict[str, Reduction] = {"sum": lax.add, "max": lax.max, "min": lax.min}


def rounded(reduction: Reduction) -> Reduction:
    """Make a reduction round each result to the type of its operands.

    XLA may keep the sum of two 16-bit numbers in 32 bits until it stores it, which would make the
    result depend on what it fuses.
    """
    return lambda a, b: _narrow(reduction(a, b))


def _narrow(x: Array) -> Array:
    """Round a number of at most 16 bits to its type, if XLA has kept it in more."""
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize > 2:
        return x
    kind = jnp.finfo(x.dtype)
    return lax.reduce_precision(x, kind.nexp, kind.nmant)


def as_rounded(x: Array, rank: Array, p: int) -> Array:
    """Return x so that whoever adds it adds the number that would be stored.

    If x is a product, XLA may compute it again where it is added, and the processor may then do
    both with one rounding. So a device would add another number than it sends, and devices would
    get different bits. A factor of 1 makes the last product exact; to XLA it is an unknown number,
    read from a table that has a 0 behind the entries of the p ranks.
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.complex(as_rounded(x.real, rank, p), as_rounded(x.imag, rank, p))
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if x.dtype.itemsize <= 2:
        return _narrow(x)
    return x * read(np.append(np.ones(p), 0), rank).astype(x.dtype)


def run(program: Program, buffers: list[Array], axes: AxisNames, op: str) -> list[Array]:
    """Run all steps of a program.

    Args:
        program: the program.
        buffers: for each part, (nrows, L) the rows of this device.
        axes: names of the mesh axes over which the ranks lie.
        op: a key of `REDUCTIONS`.

    Returns:
        The buffers after the last step.
    """
    rank, reduction = lax.axis_index(axes), rounded(REDUCTIONS[op])
    permute = _permute(axes)

    def step(parts: Sequence[PartStep | None], buffers: list[Array], mine: Any) -> list[Array]:
        return [
            buffer if part is None else _step(part, buffer, table, permute, rank, reduction)
            for part, buffer, table in zip(parts, buffers, mine, strict=True)
        ]

    for each in program.runs:
        # A table has the axes (steps, ranks, …): take this rank's entries.
        mine = [
            [read(table, rank, axis=1) for table in each.tables(j)] for j in range(len(buffers))
        ]
        if len(each.steps) == 1:
            buffers = step(each.parts, buffers, jax.tree.map(lambda table: table[0], mine))
        else:

            def body(carry: list[Array], tables: Any, parts: Any = each.parts) -> Any:
                return step(parts, carry, tables), None

            buffers, _ = lax.scan(body, buffers, mine)
    return buffers


def _step(
    step: PartStep, buffer: Array, tables: Sequence[Array], permute: Permute, rank: Array,
    reduction: Reduction,
) -> Array:  # fmt: skip
    *sources, target = tables
    # All messages carry the values from before the step, so send them before any row changes.
    messages = [
        permute(take(buffer, rows, source), pairs)
        for rows, source, pairs in zip(step.sent, sources, step.pairs, strict=True)
    ]
    own = take(buffer, step.target, target)
    return put(buffer, step.target, target, _reduce(step.operands, own, messages, rank, reduction))


def _permute(axes: AxisNames) -> Permute:
    """Make ``lax.ppermute`` over mesh axes, with pairs of ranks.

    A rank is numbered by ``lax.axis_index(axes)``, which follows the order of ``axes``. But
    ``lax.ppermute`` numbers devices in the order of the mesh, whatever the order of ``axes``.
    """
    in_order = [axis for axis in jax.sharding.get_abstract_mesh().axis_names if axis in axes]
    sizes = [lax.axis_size(axis) for axis in in_order]
    grid = np.arange(np.prod(sizes)).reshape(sizes)
    device = grid.transpose([in_order.index(axis) for axis in axes]).ravel().tolist()

    def permute(x: Array, pairs: Pairs) -> Array:
        return lax.ppermute(x, axes, [(device[src], device[dst]) for src, dst in pairs])

    return permute


def _reduce(
    operands: np.ndarray, own: Array, messages: list[Array], rank: Array, reduction: Reduction
) -> Array:
    """Reduce the operands of every row in their order."""
    choose = _choose_message if operands.ndim == 2 else _choose_rows
    values = [own, *messages]
    total = choose(operands[..., 0], values, rank)
    for q in range(1, operands.shape[-1]):
        column = operands[..., q]
        more = reduction(total, choose(column, values, rank))
        if (column == ABSENT).any():
            is_there = read(column != ABSENT, rank)
            more = jnp.where(is_there[:, None] if column.ndim == 2 else is_there, more, total)
        total = more
    return total


def _choose_message(column: np.ndarray, values: list[Array], rank: Array) -> Array:
    """Choose one of several values of equal shape; ``column[r]`` is the choice of rank r."""
    column = np.maximum(column, 0)
    if (column == column[0]).all():
        return values[column[0]]
    which = read(column, rank)
    return lax.select_n(which if len(values) > 2 else which > 0, *values)


def _choose_rows(column: np.ndarray, values: list[Array], rank: Array) -> Array:
    """Choose rows from several values; ``column[r]`` lists those of rank r."""
    rows = read(np.maximum(column, 0), rank)
    return jnp.concatenate(values).at[rows].get(mode="clip")


def take(buffer: Array, rows: Rows, mine: Array) -> Array:
    """Read rows of a buffer; rows beyond the buffer have any value."""
    if mine.ndim == 0:
        return lax.dynamic_slice_in_dim(buffer, mine, rows.length)
    return buffer.at[mine].get(mode="clip")


def put(buffer: Array, rows: Rows, mine: Array, values: Array) -> Array:
    """Replace rows of a buffer; values for rows beyond the buffer are dropped."""
    if mine.ndim == 0:
        return lax.dynamic_update_slice_in_dim(buffer, values, mine, 0)
    return buffer.at[mine].set(values, mode="drop", unique_indices=True)


def read(table: np.ndarray, rank: Array, axis: int = 0) -> Array:
    """Read the entries of this rank in a table of all ranks."""
    if table.dtype.kind == "i":
        table = table.astype(np.int32)
    return lax.dynamic_index_in_dim(jnp.asarray(table), rank, axis, keepdims=False)
