"""Library: functions of the MPI library that mpi4py has loaded, by address."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from mpi4py import MPI

NAMES = "MPI_Isend", "MPI_Irecv", "MPI_Sendrecv", "MPI_Waitall", "MPI_Reduce_local"

EAGER = 7168 if MPI._sizeof(MPI.Comm) == 4 else 3584
"""Bytes of a message that the library sends at once over shared memory, whether or not the receiver
is ready. Measured: with their headers messages of 8 KiB are too long for MPICH, and of 4 KiB for
Open MPI."""


class Library(NamedTuple):
    """What compiled code needs to know of an MPI library.

    Args:
        functions: addresses of `NAMES`.
        handle: bytes of a handle: 4 where it is a number (MPICH), 8 where it is a pointer.
        ignore: MPI_STATUS_IGNORE.
    """

    functions: tuple[int, ...]
    handle: int
    ignore: int


@cache
def library() -> Library | None:
    """The library that mpi4py runs on; None if it is of no known kind."""
    handle = MPI._sizeof(MPI.Comm)
    kinds = [MPI.Datatype, MPI.Op, MPI.Request]
    if handle not in (4, 8) or any(MPI._sizeof(kind) != handle for kind in kinds):
        return None
    for loaded in _loaded():
        with suppress(AttributeError):
            functions = tuple(_address(loaded, name) for name in NAMES)
            # In all that have numbers for handles, MPICH's kin, it is 1; elsewhere a null pointer.
            return Library(functions, handle, 1 if handle == 4 else 0)
    return None


@cache
def knows_gpus() -> bool:
    """Whether the library says of itself that it takes the memory of CUDA or ROCm."""
    names = "MPIX_Query_cuda_support", "MPIX_Query_rocm_support"
    for loaded in _loaded():
        found = [getattr(loaded, name) for name in names if hasattr(loaded, name)]
        if found:
            return any(ask() == 1 for ask in found)
    return False


def _loaded() -> Iterator[ctypes.CDLL]:
    """Where functions of the library may be found."""
    for name in (MPI.__file__, None):  # None: what the whole process sees
        with suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(name)
            if _version(loaded) == MPI.Get_library_version():
                yield loaded


def _address(loaded: ctypes.CDLL, name: str) -> int:
    address = ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value
    if not address:
        raise AttributeError(name)
    return address


def _version(loaded: ctypes.CDLL) -> str:
    text, length = ctypes.create_string_buffer(2**14), ctypes.c_int()
    loaded.MPI_Get_library_version(text, ctypes.byref(length))
    return text.raw[: length.value].decode(errors="replace")


def asked(variable: str) -> bool | None:
    """What an environment variable says, 1 or 0; None if it is not set.

    Raises:
        ValueError: it says something else.
    """
    said = os.environ.get(variable, "")
    if said not in ("", "0", "1"):
        raise ValueError(f"{variable} must be 0 or 1, not {said!r}")
    return said == "1" if said else None
