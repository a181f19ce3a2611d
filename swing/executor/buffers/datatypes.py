"""Facts about MPI datatypes: the kind of their numbers, their numpy types and signatures."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI

CODES = frozenset(np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?")
"""The codes of numpy's types of numbers."""

_KINDS = {  # as the MPI standard groups them for its operations, see `reductions`
    "integer": "SIGNED_CHAR UNSIGNED_CHAR SHORT UNSIGNED_SHORT INT UNSIGNED LONG UNSIGNED_LONG "
    "LONG_LONG UNSIGNED_LONG_LONG INT8_T INT16_T INT32_T INT64_T UINT8_T UINT16_T UINT32_T "
    "UINT64_T AINT OFFSET COUNT",
    "Fortran integer": "INTEGER INTEGER1 INTEGER2 INTEGER4 INTEGER8 INTEGER16",
    "float": "FLOAT DOUBLE LONG_DOUBLE FLOAT16_T REAL DOUBLE_PRECISION REAL2 REAL4 REAL8 REAL16",
    "complex": "C_FLOAT_COMPLEX C_DOUBLE_COMPLEX C_LONG_DOUBLE_COMPLEX CXX_FLOAT_COMPLEX "
    "CXX_DOUBLE_COMPLEX CXX_LONG_DOUBLE_COMPLEX COMPLEX DOUBLE_COMPLEX COMPLEX4 COMPLEX8 "
    "COMPLEX16 COMPLEX32",
    "logical": "C_BOOL CXX_BOOL LOGICAL LOGICAL1 LOGICAL2 LOGICAL4 LOGICAL8 LOGICAL16",
    "byte": "BYTE",
    "pair": "FLOAT_INT DOUBLE_INT LONG_INT TWOINT SHORT_INT LONG_DOUBLE_INT",
}
# numpy's 16-byte floating-point number is C's long double, Fortran's is IEEE's binary128, and
# mpi4py gives both the same code.
_NOT_NUMPYS = frozenset(["INTEGER16", "REAL2", "REAL16", "COMPLEX4", "COMPLEX32"])


@cache
def _tables() -> tuple[dict[int, str], dict[int, np.dtype[Any]]]:
    """The kind of each type of numbers, and its numpy type if numpy has one, by handle."""
    kinds, numbers = {}, {}
    for kind, names in _KINDS.items():
        for name in names.split():
            datatype = getattr(MPI, name, MPI.DATATYPE_NULL)
            if not datatype or not datatype.size:  # the library has no such type
                continue
            handle = MPI._handleof(datatype)
            kinds[handle] = kind
            if kind not in ("logical", "byte", "pair") and name not in _NOT_NUMPYS:
                with suppress(ValueError):  # mpi4py: without MPI_Init, Fortran's types have no code
                    numbers[handle] = np.dtype(datatype.tocode())
    return kinds, numbers


def kind_of(datatype: MPI.Datatype) -> str:
    """The kind of a predefined type of numbers; empty for any other type."""
    return _tables()[0].get(MPI._handleof(datatype), "")


def number_type(datatype: MPI.Datatype) -> np.dtype[Any] | None:
    """The numpy type of the same numbers, with the same arithmetic; None for any other type."""
    return _tables()[1].get(MPI._handleof(datatype))


def datatype_of(dtype: np.dtype[Any]) -> MPI.Datatype | None:
    """The MPI type of a numpy type's elements; None if MPI lacks it."""
    # mpi4py takes arrays of single characters, too.
    characters: dict[str, MPI.Datatype] = {"S1": MPI.CHAR, "U1": MPI.WCHAR}
    if not dtype.isnative or dtype.isbuiltin != 1 or dtype.char not in CODES:
        return characters.get(dtype.str[1:]) if dtype.isnative else None
    with suppress(KeyError):  # an older mpi4py has no float16
        return MPI.Datatype.fromcode(dtype.char) or None
    return None


MAX_ELEMENT = 2**31 - 1
"""Bytes of the largest element for which numpy has a type. Larger ones can only be moved."""


def bytes_type(nbytes: int) -> np.dtype[Any]:
    """A numpy type for elements of so many bytes; for parts of elements that are too large."""
    return np.dtype((np.void, nbytes if nbytes <= MAX_ELEMENT else math.gcd(nbytes, 2**30)))


def type_name(dtype: np.dtype[Any], datatype: MPI.Datatype | None) -> str:
    """The name of an element type: the same for all types with the same signature."""
    if datatype is None or number_type(datatype) is not None:
        return str(dtype)
    parts: list[list[Any]] = []
    for name, count in _signature(datatype):
        if parts and parts[-1][0] == name:
            parts[-1][1] += count
        else:
            parts.append([name, count])
    return " + ".join(f"{n} {name}" if n != 1 else name for name, n in parts) or "nothing"


def _signature(datatype: MPI.Datatype) -> list[tuple[str, int]]:
    """The type signature of a datatype, as names and counts of predefined types."""
    if datatype.is_predefined:
        number = number_type(datatype)
        return [(datatype.name if number is None else str(number), 1)]
    with decoded(datatype) as (base, _, fields):
        if "datatypes" in fields:  # a struct
            blocks = zip(fields["datatypes"], fields["blocklengths"], strict=True)
            return [part for each, n in blocks if n for part in _repeated(each, n)]
        return _repeated(base, datatype.size // base.size if base.size else 0)


@contextmanager
def decoded(datatype: MPI.Datatype) -> Iterator[tuple[MPI.Datatype, str, dict[str, Any]]]:
    """What a derived datatype is made from: its base, its combiner and the combiner's arguments.

    MPI makes new handles of the datatypes in it, which end with the ``with`` statement.
    """
    base, combiner, fields = datatype.decode()
    try:
        yield base, combiner, fields
    finally:
        for each in fields.get("datatypes", [base]):
            if not each.is_predefined:
                each.Free()


def _repeated(datatype: MPI.Datatype, count: int) -> list[tuple[str, int]]:
    parts = _signature(datatype)
    if len(parts) == 1:
        ((name, n),) = parts
        return [(name, n * count)]
    return parts * count


def kept(datatype: MPI.Datatype) -> MPI.Datatype:
    """The same datatype, which stays valid if the user frees it as long as the result lives.

    MPI keeps a datatype as long as another one is made from it. A duplicate would not do: a user's
    operation is told the datatype that the caller passed.
    """
    if datatype.is_predefined:
        return datatype
    same = _Kept(MPI.Datatype.fromhandle(MPI._handleof(datatype)))
    weakref.finalize(same, free, datatype.Create_contiguous(1)).atexit = False
    return same


class _Kept(MPI.Datatype):
    """A datatype of the user's; unlike mpi4py's own class, this one takes weak references."""


def free(datatype: MPI.Datatype) -> None:
    """Free a datatype of ours, unless MPI has ended.

    The garbage collector may ask for this after the end of a session, where MPICH aborts, so in a
    program with sessions only it has no effect.
    """
    if MPI.Is_initialized() and not MPI.Is_finalized():
        datatype.Free()
