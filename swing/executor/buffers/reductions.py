"""How two operands become one: numpy where it means the same as MPI, else `Op.Reduce_local`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.specs import type_name

Reduction: TypeAlias = Callable[..., Any]
"""``reduce(left, right, out=out)``: out = left ⊕ right. One of them may be out; the other is
scratch memory then, to be overwritten at will."""


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
    "b": {},  # numpy adds logical values, MPI does not
    "V": _FIELD | _ORDER,  # bfloat16 and the like
}


def operation(comm: MPI.Comm, op: MPI.Op | None) -> MPI.Op:
    """What to reduce with; MPI.SUM if None.

    Raises:
        TypeError, ValueError: a communicator or an operation that is none.
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
    """The reduction of an operation on elements of a type. MAX and MIN pass a NaN on.

    Args:
        op: any operation that commutes.
        dtype: the type of the elements; raw if ``datatype`` is given.
        datatype: what MPI calls it, if numpy has no such type.

    Raises:
        TypeError: the operation is not defined for the type.
    """
    if datatype is None:
        ufunc = _UFUNCS[dtype.kind].get(MPI._handleof(op))
        if ufunc is not None:
            return ufunc
        if dtype.kind == "V" or not dtype.isnative:
            raise TypeError(f"MPI has no {dtype}: only SUM, PROD, MAX and MIN work on it")
        datatype = MPI.Datatype.fromcode(dtype.char)
    if op.is_predefined:
        _try(op, dtype, datatype)
    return Local(op, datatype)


@dataclass(frozen=True)
class Local:
    """The reduction of an operation by MPI itself."""

    op: MPI.Op
    datatype: MPI.Datatype

    def __hash__(self) -> int:
        return hash((MPI._handleof(self.op), MPI._handleof(self.datatype)))

    def __call__(self, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        """See `Reduction`."""
        # MPI puts the result into the right operand.
        n, where = len(out), out.ctypes.data
        if where == left.ctypes.data:
            self.op.Reduce_local((left, n, self.datatype), (right, n, self.datatype))
            out[:] = right
            return
        if where != right.ctypes.data:
            out[:] = right
        self.op.Reduce_local((left, n, self.datatype), (out, n, self.datatype))


def _try(op: MPI.Op, dtype: np.dtype[Any], datatype: MPI.Datatype) -> None:
    """Let MPI refuse the operation on an element of our own, before anything is sent."""
    left, right = np.zeros((2, 1), dtype)
    try:
        op.Reduce_local((left, 1, datatype), (right, 1, datatype))
    except MPI.Exception:
        raise TypeError(
            f"MPI does not define this operation for {type_name(dtype, datatype)}: "
            "choose another, or make one with MPI.Op.Create"
        ) from None
