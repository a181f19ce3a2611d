"""Loops: the machine code with which numpy reduces, by address.

The compiled engine calls the loops of numpy's own ufuncs, which the plain engine calls through
numpy. So both give the same bits, NaNs and signed zeros included, and nothing is compiled.

``PyUFuncObject`` is part of numpy's C interface; it is read with care all the same: what it says
has to agree with what Python says of the ufunc.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

_OBJECT_HEAD = object.__basicsize__


class _UFunc(ctypes.Structure):
    """``PyUFuncObject`` after the head of every object [numpy/ufuncobject.h]."""

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
    """``void function(char **args, intp *dimensions, intp *strides, void *data)``."""

    function: int
    data: int


def loop_of(ufunc: np.ufunc, dtype: np.dtype[Any]) -> Loop | None:
    """The loop of a ufunc of two operands for elements of a type; None if it can not be had."""
    signature = f"{dtype.char}{dtype.char}->{dtype.char}"
    if not isinstance(ufunc, np.ufunc) or not dtype.isnative or signature not in ufunc.types:
        return None
    found = _UFunc.from_address(id(ufunc) + _OBJECT_HEAD)
    said = found.nin, found.nout, found.nargs, found.ntypes
    if said != (2, 1, 3, ufunc.ntypes) or found.name != ufunc.__name__.encode():
        return None
    i = ufunc.types.index(signature)
    if [ord(found.types[3 * i + j]) for j in range(3)] != [dtype.num] * 3:
        return None
    function = found.functions[i]
    return Loop(function, found.data[i] or 0) if function else None
