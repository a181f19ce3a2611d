"""Collectives on arrays of any shape: reshape, run the schedule on vectors, reshape again."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

import jax
from jax import numpy as jnp

from swing.checks import shown
from swing.integrations.jax.lowering import lower
from swing.integrations.jax.primitive import collective
from swing.integrations.jax.request import Request, axis_sizes, check_type, platform_here

Shape = tuple[int, ...]


def call(
    name: str,
    x: Any,
    axis_name: Any,
    before: Callable[[Any, int], Any],
    after: Callable[[Any, int, Shape], Any],
    *,
    algorithm: Any,
    torus: Any,
    op: str = "sum",
    **options: Any,
) -> Any:
    """Run a collective on every array of a pytree.

    Args:
        name: the collective.
        x: a pytree of arrays.
        axis_name: one or several mesh axes.
        before: makes of an array, with the number of ranks, an array whose elements in row-major
            order are what the schedule takes.
        after: makes the result from the vector that the schedule returns, the number of ranks and
            the shape of the array.
        algorithm: see `swing.integrations.jax.allreduce`, as for the rest.
        torus: the ranks.
        op: the reduction.
        options: the options of the algorithm, and ``root`` where the collective has one.
    """
    sizes = axis_sizes(axis_name)
    request = Request.of(name, algorithm, torus, sizes, op, options)

    def one(leaf: Any) -> Any:
        leaf = check_type(leaf, name, op)
        flat = before(leaf, request.torus.size).reshape(-1)
        schedule = request.resolve(request.nbytes(flat), platform_here()).schedule
        program = lower(schedule, commutes=op in ("sum", "mean"))
        vector = collective(flat, program, tuple(sizes), "sum" if op == "mean" else op)
        result = after(vector, request.torus.size, leaf.shape)
        return result / request.torus.size if op == "mean" else result

    return jax.tree.map(one, x)


def whole(x: Any, p: int) -> Any:
    """Pass in the array as it is."""
    return x


def same_shape(vector: Any, p: int, shape: Shape) -> Any:
    """Return a result of the shape of the array."""
    return vector.reshape(shape)


def by_axis(axis: int, tiled: bool) -> Callable[[Any, int], Any]:
    """Make a function that brings the pieces of an axis, one for each rank, to the front.

    Raises:
        ValueError: the function finds an axis that does not have such pieces.
    """

    def before(x: Any, p: int) -> Any:
        at = _axis(axis, x.ndim)
        if x.shape[at] % p if tiled else x.shape[at] != p:
            how = "be a multiple of" if tiled else "equal"
            raise ValueError(
                f"axis {axis} of shape {shown(x.shape)} must {how} the number of devices, {p}"
            )
        if tiled:
            x = x.reshape(*x.shape[:at], p, x.shape[at] // p, *x.shape[at + 1 :])
        return jnp.moveaxis(x, at, 0)

    return before


def one_piece(axis: int, tiled: bool) -> Callable[[Any, int, Shape], Any]:
    """Make a function that returns this rank's piece of an axis."""

    def after(vector: Any, p: int, shape: Shape) -> Any:
        at = _axis(axis, len(shape))
        middle = (shape[at] // p,) if tiled else ()
        return vector.reshape(*shape[:at], *middle, *shape[at + 1 :])

    return after


def along_axis(axis: int, tiled: bool) -> Callable[[Any, int, Shape], Any]:
    """Make a function that returns the pieces of all ranks along an axis."""

    def after(vector: Any, p: int, shape: Shape) -> Any:
        at = _axis(axis, len(shape) + (not tiled))
        pieces = jnp.moveaxis(vector.reshape(p, *shape), 0, at)
        if not tiled:
            return pieces
        return pieces.reshape(*shape[:at], p * shape[at], *shape[at + 1 :])

    return after


def exchanged(split: int, concat: int, tiled: bool) -> Callable[[Any, int, Shape], Any]:
    """Make a function that returns the pieces that all ranks sent to this one along an axis."""

    def after(vector: Any, p: int, shape: Shape) -> Any:
        piece = one_piece(split, tiled)
        ones = vector.reshape(p, -1)
        each = jax.vmap(lambda row: piece(row, p, shape))(ones)
        return along_axis(concat, tiled)(each.reshape(-1), p, each.shape[1:])

    return after


def _axis(axis: Any, ndim: int) -> int:
    try:
        axis = index(axis)
    except TypeError:
        raise TypeError(f"an axis must be a whole number, not {shown(axis)}") from None
    if not -ndim <= axis < ndim:
        raise ValueError(f"there is no axis {axis} in an array of {ndim} dimensions")
    return int(axis % ndim)
