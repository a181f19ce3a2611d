"""Call cache: repeat an earlier allreduce without checking its arguments again.

For short vectors a call spends most of its time in Python code. So calls that passed all checks are
noted, and a call that is like an earlier one skips the checks. There are two tables:

- A table for compiled code. One function (``METH_FASTCALL`` of Python's C interface, see
  `swing.executor.engines.jit.look`) looks a call up and runs its plan without any Python code. It
  reads the arrays' ``PyArrayObject`` [numpy/ndarraytypes.h] to check that they are as in the
  earlier call: of the same type and count, in C order, writable, not overlapping. Their addresses
  may differ. Calls with options are not in it.
- A dictionary by the identity of the arguments, which also serves calls with options and calls
  that the plain engine runs. The arrays must be the same objects at the same addresses. In place of
  the communicator it has the context, so it knows the first call on a communicator that has taken
  over the context of another one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.memory import borrow
from swing.executor.engines.abi_layout import HEADER, ROW
from swing.executor.engines.compiled import Bound
from swing.executor.engines.plain import Program
from swing.executor.mpi_abi import library
from swing.executor.plan.shared import Shared
from swing.executor.session.call import AlgorithmSpec, CollectiveCall, Options

SIZE = 256
"""Rows of the table, a power of two, and entries of the dictionary. A new call replaces the call in
its row, and the oldest call in a full dictionary."""

CallKey = tuple[Any, tuple[int, ...], bool, Options]
"""The key of a call: its context, the addresses of its arguments, ``consistent`` and options."""

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
        head = borrow(id(array) + _HEAD, _ARRAY, np.dtype(np.uint8)).data
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
        may_be_row: whether compiled code could look the call up, but has no row for it yet.
    """

    context: Any
    program: Any
    result: ArraySignature
    source: ArraySignature | None
    kept: object
    may_be_row: bool = False


class _Method(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_FASTCALL = 0x80  # METH_FASTCALL
_ARRAYS = np.ndarray, Shared
# An array object is the header of any object and then PyArrayObject, up to and including its flags.
_HEAD, _ARRAY = object.__basicsize__, 52  # bytes


class CallCache:
    """The calls that were noted in this process.

    Attributes:
        look: the compiled function; None until a call is noted that it can run.
    """

    def __init__(self) -> None:
        # Compiled code reads this memory, laid out as `swing.executor.engines.abi_layout` says.
        self._words = np.zeros(HEADER + SIZE * ROW, np.int64)
        self._rows = self._words[HEADER:].reshape(SIZE, ROW)
        self._by_row: dict[int, Entry] = {}
        self._by_arguments: dict[CallKey, Entry] = {}
        self.look: LookupFunction | None = None
        self._lock = RLock()  # for writers only: readers hold the GIL

    def find(
        self, context: Any, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
    ) -> Entry | None:
        """Find an earlier call with the same arguments on the same arrays.

        All checks of a call depend only on the facts compared here, so a call that is found needs
        no further check. It may have been made on a communicator whose context another one has
        taken over since.
        """
        try:
            entry = self._by_arguments.get(_key(context, sendbuf, recvbuf, op, spec))
        except TypeError:  # an option that cannot be hashed, which `check_types` refuses
            return None
        if entry is None:
            return None
        result = sendbuf if recvbuf is None else recvbuf
        # The earlier arrays may be gone, and other objects may have taken their ids. So the type is
        # tested first: only an array's memory is read.
        head, before, size = entry.result
        if type(result) not in _ARRAYS or head.tobytes() != before or result.size != size:
            return None
        if entry.source is not None:
            head, before, size = entry.source
            if type(sendbuf) not in _ARRAYS or head.tobytes() != before or sendbuf.size != size:
                return None
        return entry

    def note(self, call: CollectiveCall, program: Program, context: Any) -> None:
        """Note a call that passed all checks, and the program that runs it."""
        sendbuf, op = call.sendbuf, call.op
        arrays = [call.result] if call.in_place else [call.result, sendbuf]
        if not (_is_array_as_expected() and all(type(array) in _ARRAYS for array in arrays)):
            return
        signatures = (
            ArraySignature.of(call.result),
            None if call.in_place else ArraySignature.of(sendbuf),
        )
        key = _key(context, sendbuf, call.recvbuf, op, call.spec)
        # The arrays are not kept alive, so that the user can free their memory.
        kept = op, call.spec, call.result.dtype, getattr(sendbuf, "dtype", None)
        # Compiled code runs one plan, and accepts arrays of the exact type ndarray.
        plain = {type(b) for b in (sendbuf, call.result)} <= {np.ndarray, type(MPI.IN_PLACE)}
        may_be_row = _is_bound(program) and not call.spec.options and plain
        entry = Entry(context, program, *signatures, kept, may_be_row)
        with self._lock:
            while len(self._by_arguments) >= SIZE:  # the oldest one is first
                oldest = next(iter(self._by_arguments))
                self._by_arguments.pop(oldest).context.keys.discard(oldest)
            self._by_arguments[key] = entry
            context.keys.add(key)
        # Many a communicator is freed after a single call.
        if may_be_row and context.was_called:
            self.add_row(call, entry)

    def add_row(self, call: CollectiveCall, entry: Entry) -> None:
        """Let compiled code look a noted call up from now on."""
        with self._lock:
            entry.may_be_row = False
            if self.look is None:
                self._open()
            bound = entry.program[0]
            objects = call.comm, call.op, *call.spec[:3], call.result.dtype
            memory = call.result.size, call.result.nbytes, call.in_place
            row = row_of(call)
            # The columns are those of `swing.executor.engines.abi_layout`, in order.
            self._rows[row] = *map(id, objects), *memory, bound.compiled.state, bound.scratch
            # ``objects`` are kept alive by the row: the communicator too, which the call need not.
            self._by_row[row] = entry.context.noted[row] = replace(entry, kept=objects)

    def retire(self, context: Any) -> None:
        """Keep only those calls of a context that another communicator can repeat."""
        with self._lock:
            self._forget_rows(context)
            for key in [*context.keys]:
                *_, options = key
                entry = self._by_arguments[key]
                if _is_bound(entry.program):  # its tags are those of the context
                    entry.may_be_row = not options
                else:
                    del self._by_arguments[key]
                    context.keys.discard(key)

    def forget(self, context: Any) -> None:
        """Remove the calls of a context."""
        with self._lock:
            self._forget_rows(context)
            for key in context.keys:
                self._by_arguments.pop(key, None)
            context.keys.clear()

    def _forget_rows(self, context: Any) -> None:
        for row in context.noted:
            if row in self._by_row and self._by_row[row].context is context:
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


known_calls = CallCache()
"""The cache of this process, shared by all communicators."""


def _key(
    context: Any, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
) -> CallKey:
    algorithm, torus, consistent, options = spec
    ids = id(sendbuf), id(recvbuf), id(op), id(algorithm), id(torus)
    return context, ids, consistent, options


def _is_bound(program: Program) -> bool:
    """Whether a program is a compiled plan, which takes its tags from the context."""
    return len(program) == 1 and isinstance(program[0], Bound)


def row_of(call: CollectiveCall) -> int:
    """Return the row of a call in the table, as `swing.executor.engines.jit.look` computes it."""
    # Objects are aligned to 16 bytes, so the low 4 bits of an address are the same for all.
    addresses = sum(id(key) >> 4 for key in (call.comm, call.op, call.result.dtype))
    number: int = addresses + 31 * call.result.size + call.in_place
    return number & (SIZE - 1)


@cache
def _is_array_as_expected() -> bool:
    """Whether this Python and numpy lay out array objects in memory as compiled code assumes."""
    array = np.zeros((3, 5))
    words = (ctypes.c_int64 * 9).from_address(id(array))
    first = _HEAD // 8
    return (
        _HEAD == 16
        and words[first - 1] == id(np.ndarray)
        and words[first] == MPI.Get_address(array)
        and words[first + 1] & 0xFFFFFFFF == 2
        and list((ctypes.c_int64 * 2).from_address(words[first + 2])) == [3, 5]
        and words[first + 5] == id(array.dtype)
        and words[first + 6] & 0xFFFFFFFF == array.flags.num
    )


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
