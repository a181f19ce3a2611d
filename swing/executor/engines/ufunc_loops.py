"""Addresses of the inner loops of numpy's ufuncs, for compiled code to call.

The compiled engine calls the same machine code that numpy calls in the plain engine. So both
engines give the same bits, NaNs and signed zeros included, and no reduction has to be compiled.

The addresses are read from ``PyUFuncObject``, which is part of numpy's C interface. As a safeguard
against another layout, its fields are compared with the attributes that Python reports.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

_OBJECT_HEAD = object.__basicsize__


class _UFunc(ctypes.Structure):
    """``PyUFuncObject`` without the header that all objects have [numpy/ufuncobject.h]."""

    _fields_ = (
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved1", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )


class Loop(NamedTuple):
    """``void function(char **args, intp *dimensions, intp *strides, void *data)``.

    Args:
        function: its address.
        data: the address to pass as its last argument.
    """

    function: int
    data: int


def loop_of(ufunc: np.ufunc, dtype: np.dtype[Any]) -> Loop | None:
    """The loop of a binary ufunc for elements of one type; None if there is none to call."""
    # One character per operand. Loops need native byte order: numpy converts other operands first.
    signature = f"{dtype.char}{dtype.char}->{dtype.char}"
    if not isinstance(ufunc, np.ufunc) or not dtype.isnative or signature not in ufunc.types:
        return None
    fields = _UFunc.from_address(id(ufunc) + _OBJECT_HEAD)
    counts = fields.nin, fields.nout, fields.nargs, fields.ntypes
    if counts != (2, 1, 3, ufunc.ntypes) or fields.name != ufunc.__name__.encode():
        return None
    i = ufunc.types.index(signature)
    if [ord(fields.types[3 * i + j]) for j in range(3)] != [dtype.num] * 3:
        return None
    function = fields.functions[i]
    return Loop(function, fields.data[i] or 0) if function else None
