"""A schedule as one operation of JAX, with rules for types, derivatives and batches.

The operation takes (…, n) vectors and runs the schedule along the last axis. Its result is linear
if the reduction is a sum, and the transpose of a schedule is its reverse. An allreduce is its own
transpose; where JAX knows that the result is the same on all devices, nothing has to be sent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from swing.build.reversal import reverse
from swing.integrations.jax.interpreter import AxisNames, as_rounded, run
from swing.integrations.jax.layout import pack, unpack
from swing.integrations.jax.lowering import lower
from swing.integrations.jax.program import Program
from swing.schedules.collectives import ALL

collective_p: Any = Primitive("swing_collective")  # JAX gives its methods no types


def collective(x: Any, program: Program, axes: AxisNames, op: str) -> Any:
    """Run a program.

    Args:
        x: (…, pieces · m) what this device passes in.
        program: the program.
        axes: names of the mesh axes over which the ranks lie.
        op: a key of `swing.integrations.jax.interpreter.REDUCTIONS`.

    Returns:
        (…, pieces · m) what this device gets. It is marked as equal on all devices if it is the
        result of an allreduce or a broadcast.
    """
    return collective_p.bind(varying(x, axes), program=program, axes=axes, op=op)


def varying(x: Any, axes: AxisNames) -> Any:
    """Mark a value as one that may differ between devices along mesh axes."""
    missing = tuple(axis for axis in axes if axis not in jax.typeof(x).mat.varying)
    return lax.pcast(x, missing, to="varying") if missing else x


def _is_invariant(program: Program) -> bool:
    """Return whether the result is marked as equal on all devices, as that of ``lax.psum``."""
    return program.schedule.home.constant == ALL and program.schedule.origin.constant is not None


def _type(x: Any, *, program: Program, axes: AxisNames, op: str) -> Any:
    n = x.shape[-1] // program.entry.pieces * program.exit.pieces
    mat = x.mat
    if _is_invariant(program):
        mat = mat.update(varying=mat.varying - frozenset(axes))
    return x.update(shape=(*x.shape[:-1], n), manual_axis_type=mat)


def _run(x: Any, *, program: Program, axes: AxisNames, op: str) -> Any:
    rank = lax.axis_index(axes)

    def one(vector: Any) -> Any:
        buffers = run(program, pack(program, vector, rank), axes, op)
        return unpack(program, buffers, len(vector) // program.entry.pieces, rank)

    for _ in x.shape[:-1]:
        one = jax.vmap(one)
    return one(as_rounded(x, rank, program.schedule.torus.size))


def _batch(args: Any, dims: Any, *, program: Program, axes: AxisNames, op: str) -> Any:
    (x,), (dim,) = args, dims
    x = jnp.moveaxis(x, dim, 0)
    return collective_p.bind(x, program=program, axes=axes, op=op), 0


def _jvp(primals: Any, tangents: Any, *, program: Program, axes: AxisNames, op: str) -> Any:
    (x,), (tangent,) = primals, tangents
    result = collective_p.bind(x, program=program, axes=axes, op=op)
    if isinstance(tangent, ad.Zero):
        return result, ad.Zero.from_primal_value(result)
    if op != "sum":
        raise ValueError(f"op={op!r} has no derivative here: use op='sum' or 'mean'")
    return result, collective_p.bind(tangent, program=program, axes=axes, op=op)


def _transpose(ct: Any, x: Any, *, program: Program, axes: AxisNames, op: str) -> Any:
    if isinstance(ct, ad.Zero):
        return [ad.Zero(x.aval)]
    if _is_invariant(program) and set(axes) <= x.aval.mat.varying:
        # JAX counts a value that is equal on all devices once, so nothing has to be added up.
        mine, root = varying(ct, axes), program.entry.only
        return [mine if root is None else jnp.where(lax.axis_index(axes) == root, mine, 0)]
    result = collective_p.bind(varying(ct, axes), program=transposed(program), axes=axes, op=op)
    return [varying(result, axes)]


@lru_cache(maxsize=128)
def transposed(program: Program) -> Program:
    """Return the program of the transpose of a sum."""
    schedule = program.schedule
    return program if schedule.is_allreduce else lower(reverse(schedule), True)


collective_p.def_abstract_eval(_type)
mlir.register_lowering(collective_p, mlir.lower_fun(_run, multiple_results=False))
batching.primitive_batchers[collective_p] = _batch
ad.primitive_jvps[collective_p] = _jvp
ad.primitive_transposes[collective_p] = _transpose
