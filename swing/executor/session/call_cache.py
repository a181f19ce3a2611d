"""Door: from Python into the compiled engine in one step, for calls that have been made before.

A call that is like an earlier one needs no more looking at, and what takes longest then is Python
itself. So calls that were found right are noted down in a table, and a function in compiled code
(a ``METH_FASTCALL`` of Python's C interface) looks a call up there and runs its plan. It reads
``PyArrayObject`` [numpy/ndarraytypes.h] to see that both arrays are what they were: of one type
and count, in C order, writable, apart. Their addresses may be new.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable
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
from swing.executor.session.planner import AlgorithmSpec

SIZE = 256  # calls noted down; one more drives out the one that shares its place

LookupFunction = Callable[..., int]
"""``door(comm, sendbuf, recvbuf, op, algorithm, torus, consistent)``: MPI's error code, or MISS."""


class Call(NamedTuple):
    """The arguments of a call, as they were given; options are pairs of name and value."""

    comm: MPI.Comm
    sendbuf: Any
    recvbuf: Any
    op: MPI.Op | None
    algorithm: object
    torus: object
    consistent: object
    options: tuple[tuple[str, Any], ...]

    @property
    def in_place(self) -> bool:
        """Whether there is one buffer."""
        return self.recvbuf is None or self.sendbuf is MPI.IN_PLACE or self.sendbuf is self.recvbuf

    @property
    def result(self) -> Any:
        """The buffer for the result."""
        return self.sendbuf if self.recvbuf is None else self.recvbuf


class ArraySignature(NamedTuple):
    """An array as it was when a call was found right; its contents and its shape may be new.

    Args:
        head: its ``PyArrayObject``: address, type, contiguity, whether it can be written.
        before: what that said.
        size: elements.
    """

    head: memoryview
    before: bytes
    size: int

    @classmethod
    def of(cls, array: np.ndarray) -> ArraySignature:
        """An array as it is."""
        head = borrow(id(array) + _HEAD, _ARRAY, np.dtype(np.uint8)).data
        return cls(head, head.tobytes(), array.size)


class Entry(NamedTuple):
    """What carries out a call; ``kept`` are the objects that the table names by address.

    ``result`` and ``source`` are the arrays; they need not live on. In place there is no source.
    """

    context: Any
    program: Any
    result: ArraySignature
    source: ArraySignature | None
    kept: object


class _Method(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_FASTCALL = 0x80
_ARRAYS = np.ndarray, Shared
_HEAD, _ARRAY = object.__basicsize__, 52  # bytes in front of an array's own, and of these


class CallCache:
    """The calls that were noted down.

    Attributes:
        look: the function in compiled code, if there is one; it knows calls without options.
    """

    def __init__(self) -> None:
        self._words = np.zeros(HEADER + SIZE * ROW, np.int64)
        self._rows = self._words[HEADER:].reshape(SIZE, ROW)
        self._kept: dict[int, Entry] = {}
        self._bound: dict[Hashable, Entry] = {}
        self.look: LookupFunction | None = None
        self._lock = RLock()  # of those who write

    def find(
        self, comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
    ) -> Entry | None:
        """What carries out a call on the same arrays as before.

        Whatever is right or wrong with such a call follows from what is compared here, so one that
        has been found right need not be looked at again.
        """
        algorithm, torus, consistent, options = spec
        names = id(comm), id(sendbuf), id(recvbuf), id(op), id(algorithm), id(torus), consistent
        try:
            entry = self._bound.get((names, options))
        except TypeError:  # an option that can not be looked up, and is no good either
            return None
        if entry is None:
            return None
        result = sendbuf if recvbuf is None else recvbuf
        head, before, size = entry.result
        if type(result) not in _ARRAYS or head.tobytes() != before or result.size != size:
            return None
        if entry.source is not None:
            head, before, size = entry.source
            if type(sendbuf) not in _ARRAYS or head.tobytes() != before or sendbuf.size != size:
                return None
        return entry

    def note(self, call: Call, program: Program, context: object) -> None:
        """Note down a call that was found right, and the program that carries it out."""
        comm, sendbuf, recvbuf, op, algorithm, torus, consistent, options = call
        arrays = [call.result] if call.in_place else [call.result, sendbuf]
        if not (_is_array_as_expected() and all(type(array) in _ARRAYS for array in arrays)):
            return
        seen = ArraySignature.of(call.result), None if call.in_place else ArraySignature.of(sendbuf)
        names = id(comm), id(sendbuf), id(recvbuf), id(op), id(algorithm), id(torus), consistent
        dtypes = call.result.dtype, getattr(sendbuf, "dtype", None)
        kept = call._replace(sendbuf=None, recvbuf=None), dtypes
        bound = program[0] if program else None
        plain = {type(b) for b in (sendbuf, call.result)} <= {np.ndarray, type(MPI.IN_PLACE)}
        with self._lock:
            while len(self._bound) >= SIZE:
                del self._bound[next(iter(self._bound))]
            self._bound[names, options] = Entry(context, program, *seen, kept)
            if isinstance(bound, Bound) and not options and plain:
                self._note(call, Entry(context, bound.compiled, *seen, kept), bound)

    def forget(self, context: Any) -> None:
        """Strike out the calls of a context."""
        with self._lock:
            for place, entry in list(self._kept.items()):
                if entry.context is context:
                    self._rows[place] = 0
                    del self._kept[place]
            for facts, entry in list(self._bound.items()):
                if entry.context is context:
                    del self._bound[facts]
            context.noted.clear()

    def _note(self, call: Call, entry: Entry, bound: Bound) -> None:
        if self.look is None:
            self._open()
        names = call.comm, call.op, call.algorithm, call.torus, call.consistent, call.result.dtype
        memory = call.result.size, call.result.nbytes, call.in_place
        place = place_of(call)
        self._rows[place] = *map(id, names), *memory, bound.compiled.state, bound.scratch
        self._kept[place] = entry
        entry.context.noted[place] = entry

    def _open(self) -> None:
        """Compile the function."""
        from swing.executor.engines.jit import look_address

        found, api = library(), ctypes.pythonapi
        if found is None:
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
        self._method = _Method(b"look", look_address(found.handle), _FASTCALL, None)
        new = api.PyCFunction_NewEx
        new.restype = ctypes.py_object
        new.argtypes = ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
        self.look = new(ctypes.byref(self._method), self._words, None)


known_calls = CallCache()
"""Of this process."""


def place_of(call: Call) -> int:
    """Where a call is noted down."""
    some = sum(id(each) >> 4 for each in (call.comm, call.op, call.result.dtype))
    place: int = some + 31 * call.result.size + call.in_place
    return place & (SIZE - 1)


@cache
def _is_array_as_expected() -> bool:
    """Whether objects and arrays lie in memory as is believed here and in compiled code."""
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
