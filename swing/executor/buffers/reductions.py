"""Reductions of two vectors: numpy ufuncs where they agree with MPI, else ``MPI_Reduce_local``.

numpy also serves types that MPI lacks, such as float16 and bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import kept, kind_of, number_type
from swing.executor.buffers.layout import Layout
from swing.executor.buffers.vector import Vector

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
    # numpy's loop of complex products rounds an element in one way or another, depending on how
    # many there are.
    "c": _table((MPI.SUM, np.add)),
}
_UFUNCS_WITHOUT_MPI = _FIELD | _ORDER  # for types that MPI lacks, such as bfloat16

# The operations that the MPI standard defines, by kind of type (MPI 4.1, section 6.9.2).
_DEFINED = {
    "integer": "MAX MIN SUM PROD LAND LOR LXOR BAND BOR BXOR",
    "Fortran integer": "MAX MIN SUM PROD BAND BOR BXOR",
    "float": "MAX MIN SUM PROD",
    "complex": "SUM PROD",
    "logical": "LAND LOR LXOR",
    "byte": "BAND BOR BXOR",
    "pair": "MAXLOC MINLOC",
}
_OPS = {
    kind: {MPI._handleof(getattr(MPI, name)) for name in names.split()}
    for kind, names in _DEFINED.items()
}


class UndefinedOperation(MPI.Exception, TypeError):
    """MPI's error for an operation that it does not define for a type, with the remedy."""

    type_name = "this type"

    def __str__(self) -> str:
        return (
            f"MPI does not define this operation for {self.type_name}: choose another, or make one "
            "with MPI.Op.Create"
        )


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
            "pass one such as MPI.SUM, or make one with MPI.Op.Create(function, commute=True)"
        )
    if not op:
        raise ValueError("op is MPI.OP_NULL: pass an operation, such as MPI.SUM")
    return op


def is_defined(op: MPI.Op, datatype: MPI.Datatype | None) -> bool:
    """Whether the MPI standard defines an operation for a type; a user's own are for any type.

    What else a library accepts, and with which result, is its own affair.
    """
    if datatype is None or not op.is_predefined:
        return True
    return MPI._handleof(op) in _OPS.get(kind_of(datatype), ())


def reduction(op: MPI.Op, vector: Vector) -> Reduction:
    """The reduction that applies an operation to the elements of a vector.

    Where numpy carries out MAX and MIN, they propagate NaN.

    Args:
        op: a commutative operation, for which `is_defined` holds.
        vector: a vector with elements of the type.

    Raises:
        TypeError: MPI lacks the type, and the operation is none of numpy's for it.
    """
    datatype, handle = vector.datatype, MPI._handleof(op)
    if datatype is None:
        dtype = vector.elements.dtype
        ufuncs = _UFUNCS.get(dtype.kind, _UFUNCS_WITHOUT_MPI)
        if handle not in ufuncs:
            raise TypeError(
                f"this operation does not work on {dtype}, which MPI lacks: choose another, "
                "such as MPI.SUM"
            )
        return ufuncs[handle]
    number = number_type(datatype)
    if number is not None and handle in _UFUNCS[number.kind]:
        return _UFUNCS[number.kind][handle]
    return Local(op, kept(datatype), None if vector.layout is None else vector.layout.comm)


@dataclass(frozen=True)
class Local:
    """A reduction by ``MPI_Reduce_local``, for operations and types without a numpy ufunc.

    Args:
        op: the operation.
        datatype: the type of the elements, as the user passed it.
        comm: the communicator by which elements are packed; None if they lie densely in memory.
    """

    op: MPI.Op
    datatype: MPI.Datatype
    comm: MPI.Comm | None = None

    def __hash__(self) -> int:  # mpi4py's objects compare by handle but cannot be hashed
        return hash((MPI._handleof(self.op), MPI._handleof(self.datatype)))

    def __call__(self, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        """Compute out = left ⊕ right; see `Reduction`."""
        if self.comm is not None:
            self._unpacked(left, right, out, Layout(self.datatype, [len(out)], [0], self.comm))
            return
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

    def _unpacked(
        self, left: np.ndarray, right: np.ndarray, out: np.ndarray, layout: Layout
    ) -> None:
        """Reduce in memory that has the layout of the datatype."""
        n, (low, end), extent = len(out), layout.bounds(), self.datatype.extent
        # A user's operation may read all that n extents cover.
        low, end = min(low, n * extent, 0), max(end, n * extent, 0)
        memory = np.zeros((2, end - low), np.uint8)
        operands = []
        for dense, place in zip((left, right), memory, strict=True):
            address = MPI.Get_address(place) - low
            layout.unpack(dense, address)
            operands.append((MPI.buffer.fromaddress(address, 1), n, self.datatype))
        self.op.Reduce_local(*operands)
        layout.pack(MPI.Get_address(memory[1]) - low, out)
