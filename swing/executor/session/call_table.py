"""Table of calls for compiled code, which looks a call up and runs its plan without Python code.

The lookup is `swing.executor.engines.jit.look`, a function of Python's C interface
(``METH_FASTCALL``). It reads the arrays' ``PyArrayObject`` [numpy/ndarraytypes.h] to check that
they are as in the earlier call: of the same type and count, in C order, writable, not overlapping.
Their addresses may differ.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike

from swing.executor.buffers.memory import borrow
from swing.executor.engines.abi_layout import HEADER, ROW, SPREAD, SPREAD_SHIFT
from swing.executor.mpi_abi import library
from swing.executor.session.call import CollectiveCall

SIZE = 256
"""Rows of the table, a power of two. In each pair of rows, a new call replaces the older one."""

LookupFunction = Callable[..., int]
"""``look(comm, sendbuf, recvbuf, op, algorithm, torus, consistent)``: MPI's error code, or MISS."""


class ArraySignature(NamedTuple):
    """An array's header in memory and its value at an earlier call.

    If both are equal, the array has the address, type and flags of that call. Its contents may have
    changed, and so may its shape, to one with the same number of elements.

    Args:
        head: the array's ``PyArrayObject`` as it is now.
        before: the header's bytes at the earlier call.
        size: the number of elements at the earlier call.
    """

    head: memoryview
    before: bytes
    size: int

    @classmethod
    def of(cls, array: np.ndarray) -> ArraySignature:
        """Record an array as it is now."""
        head = borrow(id(array) + HEAD, _ARRAY, np.dtype(np.uint8)).data
        return cls(head, head.tobytes(), array.size)


@dataclass(slots=True, eq=False)
class Entry:
    """A noted call.

    Args:
        context: the communicator's context.
        program: the program that runs the call.
        result: the signature of the receive buffer, which may be gone by now.
        source: the signature of the send buffer; None in place.
        kept: the objects that the tables identify by address. While they are alive, no other object
            can have the same address.
        may_be_row: whether compiled code could look the call up, but has no row for it now.
    """

    context: Any
    program: Any
    result: ArraySignature
    source: ArraySignature | None
    kept: object
    may_be_row: bool = False


class Row(NamedTuple):
    """A row of the table.

    Args:
        entry: the call.
        kept: the objects that the row identifies by address. The communicator is among them, which
            the entry need not keep.
    """

    entry: Entry
    kept: tuple[Any, ...]


class _Method(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_FASTCALL = 0x80  # METH_FASTCALL
# An array object is the header of any object and then PyArrayObject, up to and including its flags.
HEAD, _ARRAY = object.__basicsize__, 52  # bytes


class CallTable:
    """The table; its writers hold the lock of `swing.executor.session.call_cache`.

    Attributes:
        look: the compiled function; None until a call is in the table.
    """

    def __init__(self) -> None:
        # Compiled code reads this memory, laid out as `swing.executor.engines.abi_layout` says.
        self._words = np.zeros(HEADER + SIZE * ROW, np.int64)
        self._rows = self._words[HEADER:].reshape(SIZE, ROW)
        self._by_row: dict[int, Row] = {}
        self.look: LookupFunction | None = None

    def add(self, call: CollectiveCall, entry: Entry) -> None:
        """Let compiled code look a noted call up from now on.

        The latest call of a pair of rows is in the first one, and the one before it in the second.
        """
        if self.look is None:
            self._open()
        bound, objects = entry.program[0], _objects(call)
        memory = call.result.size, call.result.nbytes, call.in_place
        first, second = rows_of(call)
        if first in self._by_row:
            self._put(second, self._by_row.pop(first), self._rows[first])
        # The columns are those of `swing.executor.engines.abi_layout`, in order.
        words = *map(id, objects), *memory, bound.compiled.state, bound.scratch
        self._put(first, Row(entry, objects), words)

    def _put(self, at: int, row: Row, words: ArrayLike) -> None:
        if at in self._by_row:
            self._by_row[at].entry.may_be_row = True  # it gets a row when it is made again
        row.entry.may_be_row = False
        self._rows[at] = words
        self._by_row[at] = row.entry.context.noted[at] = row

    def found(self, context: Any, call: CollectiveCall) -> Entry:
        """Return the call of a context that compiled code has just run.

        Meanwhile another thread's call may have taken its row, so the context is asked.
        """
        rows: list[Row] = [context.noted[row] for row in rows_of(call) if row in context.noted]
        return next(
            row.entry
            for row in rows
            if all(map(operator.is_, row.kept, _objects(call)))
            and row.entry.result.size == call.result.size
            and (row.entry.source is None) == call.in_place
        )

    def forget(self, context: Any) -> None:
        """Remove the calls of a context."""
        for row in context.noted:
            if row in self._by_row and self._by_row[row].entry.context is context:
                self._rows[row] = 0
                del self._by_row[row]
        context.noted.clear()

    def _open(self) -> None:
        """Compile the lookup function and make it callable from Python."""
        from swing.executor.engines.jit import look_address  # imports numba, which takes long

        mpi, api = library(), ctypes.pythonapi
        if mpi is None:
            return
        self._words[:HEADER] = [
            SIZE - 1,
            id(np.ndarray),
            id(None),
            id(MPI.IN_PLACE),
            _address(api.PyEval_SaveThread),
            _address(api.PyEval_RestoreThread),
            _address(api.PyLong_FromLongLong),
        ]
        # Python keeps a pointer to this structure for as long as the function exists.
        self._method = _Method(b"look", look_address(mpi.handle), _FASTCALL, None)
        new = api.PyCFunction_NewEx
        new.restype = ctypes.py_object
        new.argtypes = ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
        self.look = new(ctypes.byref(self._method), self._words, None)


def _objects(call: CollectiveCall) -> tuple[Any, ...]:
    """The objects that a row identifies by address, in the order of its columns."""
    return call.comm, call.op, *call.spec[:3], call.result.dtype


def rows_of(call: CollectiveCall) -> tuple[int, int]:
    """Return the two rows in which `swing.executor.engines.jit.look` looks for a call."""
    # Objects are aligned to 16 bytes, so the low 4 bits of an address are the same for all.
    objects = call.comm, call.op, call.result.dtype, call.spec.algorithm, call.spec.torus
    number = sum(id(key) >> 4 for key in objects) + 31 * call.result.size + call.in_place
    first = number * SPREAD >> SPREAD_SHIFT & (SIZE - 1)
    return first, first ^ 1


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
