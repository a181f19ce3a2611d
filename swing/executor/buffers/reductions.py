"""Reductions of two vectors: numpy ufuncs where they agree with MPI, else ``MPI_Reduce_local``.

numpy also serves types that MPI lacks, such as float16 and bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import type_name

Reduction: TypeAlias = Callable[..., Any]
"""``reduce(left, right, out=out)`` computes out = left ⊕ right. ``out`` may be one of the operands;
then the other operand must be scratch memory, because the reduction may overwrite it."""


def _table(*pairs: tuple[MPI.Op, np.ufunc]) -> dict[int, np.ufunc]:
    return {MPI._handleof(op): ufunc for op, ufunc in pairs}


_FIELD = _table((MPI.SUM, np.add), (MPI.PROD, np.multiply))
_ORDER = _table((MPI.MAX, np.maximum), (MPI.MIN, np.minimum))
_BITS = _table((MPI.BAND, np.bitwise_and), (MPI.BOR, np.bitwise_or), (MPI.BXOR, np.bitwise_xor))
_UFUNCS = {
    "i": _FIELD | _ORDER | _BITS,
    "u": _FIELD | _ORDER | _BITS,
    "f": _FIELD | _ORDER,
    "c": _FIELD,
    "b": {},  # numpy defines SUM and other operations for logical values, MPI does not
    "V": _FIELD | _ORDER,  # types of ml_dtypes, such as bfloat16
}


def operation(comm: MPI.Comm, op: MPI.Op | None) -> MPI.Op:
    """Check the communicator and the operation of a call.

    Returns:
        The operation; MPI.SUM if ``op`` is None.

    Raises:
        TypeError: ``comm`` is no communicator, or ``op`` is no operation.
        ValueError: one of them is a null handle.
    """
    if not isinstance(comm, MPI.Comm):
        raise TypeError(f"comm is a {type(comm).__name__}: pass a communicator of mpi4py")
    if not comm:
        raise ValueError("comm is MPI.COMM_NULL: call allreduce on the communicator's ranks only")
    if op is None:
        return MPI.SUM
    if not isinstance(op, MPI.Op):
        raise TypeError(
            f"op is a {type(op).__name__}, not an MPI operation: "
            "make one with MPI.Op.Create(function, commute=True)"
        )
    if not op:
        raise ValueError("op is MPI.OP_NULL: pass an operation, such as MPI.SUM")
    return op


def reduction(op: MPI.Op, dtype: np.dtype[Any], datatype: MPI.Datatype | None) -> Reduction:
    """The reduction that applies an operation to elements of a type.

    Where numpy carries out MAX and MIN, they propagate NaN.

    Args:
        op: a commutative operation.
        dtype: the numpy type of the elements, or raw bytes (void) if ``datatype`` is given.
        datatype: the MPI type of the elements if numpy has no such type, else None.

    Raises:
        TypeError: the operation is not defined for the type.
    """
    if datatype is None:
        ufunc = _UFUNCS[dtype.kind].get(MPI._handleof(op))
        if ufunc is not None:
            return ufunc
        if dtype.kind == "V" or not dtype.isnative:
            raise TypeError(
                f"this operation does not work on {dtype}, which MPI lacks: choose another, "
                "such as MPI.SUM"
            )
        datatype = MPI.Datatype.fromcode(dtype.char)
    if op.is_predefined:
        _try(op, dtype, datatype)
    return Local(op, datatype)


@dataclass(frozen=True)
class Local:
    """A reduction by ``MPI_Reduce_local``, for operations and types without a numpy ufunc."""

    op: MPI.Op
    datatype: MPI.Datatype

    def __hash__(self) -> int:  # mpi4py's objects compare by handle but cannot be hashed
        return hash((MPI._handleof(self.op), MPI._handleof(self.datatype)))

    def __call__(self, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        """Compute out = left ⊕ right; see `Reduction`."""
        # MPI puts the result into the right operand: let that be ``out`` if possible.
        n, out_at = len(out), out.ctypes.data
        if out_at == left.ctypes.data:
            # The operands must not be exchanged, even though the operation commutes: their order
            # can decide the bits (the maximum of 0.0 and -0.0). So overwrite ``right``, then copy.
            self.op.Reduce_local((left, n, self.datatype), (right, n, self.datatype))
            out[:] = right
            return
        if out_at != right.ctypes.data:
            out[:] = right
        self.op.Reduce_local((left, n, self.datatype), (out, n, self.datatype))


def _try(op: MPI.Op, dtype: np.dtype[Any], datatype: MPI.Datatype) -> None:
    """Apply the operation to one element, so that MPI refuses it before any message is sent."""
    left, right = np.zeros((2, 1), dtype)
    try:
        op.Reduce_local((left, 1, datatype), (right, 1, datatype))
    except MPI.Exception:
        raise TypeError(
            f"MPI does not define this operation for {type_name(dtype, datatype)}: "
            "choose another, or make one with MPI.Op.Create"
        ) from None
