"""Door: from Python into the compiled engine in one step, for calls that have been made before.

A call that is like an earlier one needs no more looking at, and what takes longest then is Python
itself. So calls that were found right are noted down in a table, and a function in compiled code
(a ``METH_FASTCALL`` of Python's C interface) looks a call up there and runs its plan. It reads
``PyArrayObject`` [numpy/ndarraytypes.h] to see that both arrays are what they were: of one type
and count, in C order, writable, apart. Their addresses may be new.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from swing.executor.compiled import Compiled
from swing.executor.library import library
from swing.executor.words import HEADER, MISS, ROW

SIZE = 256  # calls noted down; one more drives out the one that shares its place

Door = Callable[..., int]
"""``door(comm, sendbuf, recvbuf, op, algorithm, torus, consistent)``: MPI's error code, or MISS."""


class Call(NamedTuple):
    """The arguments of a call, as they were given; ``wanted``: algorithm, torus, consistent."""

    comm: MPI.Comm
    sendbuf: Any
    recvbuf: Any
    op: MPI.Op | None
    wanted: tuple[object, object, object]

    @property
    def in_place(self) -> bool:
        """Whether there is one buffer."""
        return self.recvbuf is None or self.sendbuf is MPI.IN_PLACE or self.sendbuf is self.recvbuf


class Entry(NamedTuple):
    """What carries out a call; ``kept`` are the objects that the table names by address."""

    context: Any
    compiled: Compiled
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


def _miss(*call: object) -> int:
    return MISS


class Table:
    """The calls that were noted down, and the function that looks there."""

    def __init__(self) -> None:
        self._words = np.zeros(HEADER + SIZE * ROW, np.int64)
        self._rows = self._words[HEADER:].reshape(SIZE, ROW)
        self._kept: dict[int, Entry] = {}
        self.look: Door = _miss

    def _open(self) -> None:
        """Compile the function, if arrays lie in memory as it expects them."""
        from swing.executor.native import look_address

        found, api = library(), ctypes.pythonapi
        if found is None or not _is_array_as_expected():
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

    def note(self, call: Call, compiled: Compiled, scratch: int, context: object) -> None:
        """Note down a call that was found right, and how to carry it out."""
        if self.look is _miss:
            self._open()
        array = call.sendbuf if call.recvbuf is None else call.recvbuf
        place = _place(call)
        self._rows[place] = (
            *map(id, (call.comm, call.op, *call.wanted, array.dtype)),
            array.size,
            array.nbytes,
            call.in_place,
            compiled.state,
            scratch,
        )
        kept = call._replace(sendbuf=None, recvbuf=None), array.dtype
        self._kept[place] = Entry(context, compiled, kept)

    def entry(self, call: Call) -> Entry:
        """What carries out a call that `look` has found."""
        return self._kept[_place(call)]

    def forget(self, context: object) -> None:
        """Strike out the calls of a context."""
        for place in [place for place, entry in self._kept.items() if entry.context is context]:
            self._rows[place] = 0
            del self._kept[place]


table = Table()
"""Of this process."""


def _place(call: Call) -> int:
    array = call.sendbuf if call.recvbuf is None else call.recvbuf
    some = sum(id(each) >> 4 for each in (call.comm, call.op, array.dtype))
    place: int = some + 31 * array.size + call.in_place
    return place & (SIZE - 1)


def _is_array_as_expected() -> bool:
    """Whether objects and arrays lie in memory as the compiled code believes."""
    array, head = np.zeros((3, 5)), object.__basicsize__
    words = (ctypes.c_int64 * 9).from_address(id(array))
    first = head // 8
    return (
        head == 16
        and words[first - 1] == id(np.ndarray)
        and words[first] == MPI.Get_address(array)
        and words[first + 1] & 0xFFFFFFFF == 2
        and list((ctypes.c_int64 * 2).from_address(words[first + 2])) == [3, 5]
        and words[first + 5] == id(array.dtype)
        and words[first + 6] & 0xFFFFFFFF == array.flags.num
    )


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
