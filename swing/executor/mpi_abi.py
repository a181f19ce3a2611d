"""Binary interface of the MPI library that mpi4py has loaded: function addresses, handle width.

Compiled code cannot go through mpi4py, so it calls the library's C functions by address and passes
handles as integers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from mpi4py import MPI

NAMES = (
    "MPI_Isend", "MPI_Irecv", "MPI_Sendrecv", "MPI_Waitall", "MPI_Testall", "MPI_Reduce_local"
)  # fmt: skip

# MPICH's handles are 4 bytes wide, Open MPI's are 8.
EAGER = 7168 if MPI._sizeof(MPI.Comm) == 4 else 3584
"""Bytes of the longest message that the library sends eagerly over shared memory, that is, whether
or not the receiver is ready. Measured: with its header, a message of 8 KiB is too long for MPICH,
and one of 4 KiB for Open MPI."""


class Library(NamedTuple):
    """The properties of an MPI library that compiled code needs.

    Args:
        functions: addresses of `NAMES`.
        handle: bytes of a handle: 4 where it is an integer (MPICH), 8 where it is a pointer.
        ignore: MPI_STATUS_IGNORE.
    """

    functions: tuple[int, ...]
    handle: int
    ignore: int


@cache
def library() -> Library | None:
    """Return the library that mpi4py runs on, or None if compiled code cannot call it."""
    handle = MPI._sizeof(MPI.Comm)
    kinds = [MPI.Datatype, MPI.Op, MPI.Request]
    if handle not in (4, 8) or any(MPI._sizeof(kind) != handle for kind in kinds):
        return None
    for loaded in _loaded():
        with suppress(AttributeError):  # this shared object lacks a function
            functions = tuple(_address(loaded, name) for name in NAMES)
            # MPI_STATUS_IGNORE is the pointer 1 where handles are integers (MPICH and its
            # derivatives), and a null pointer elsewhere.
            return Library(functions, handle, 1 if handle == 4 else 0)
    return None


@cache
def knows_gpus() -> bool:
    """Whether the library reports that it can access the memory of CUDA or ROCm devices."""
    names = "MPIX_Query_cuda_support", "MPIX_Query_rocm_support"
    for loaded in _loaded():
        queries = [getattr(loaded, name) for name in names if hasattr(loaded, name)]
        if queries:
            return any(query() == 1 for query in queries)
    return False


def _loaded() -> Iterator[ctypes.CDLL]:
    """Open the shared objects through which functions of mpi4py's MPI library may be found."""
    for name in (MPI.__file__, None):  # None: all symbols of the process
        with suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(name)
            # The process may have loaded another MPI library as well, whose functions would not
            # understand this library's handles.
            if _version(loaded) == MPI.Get_library_version():
                yield loaded


def _address(loaded: ctypes.CDLL, name: str) -> int:
    address = ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value
    if not address:
        raise AttributeError(name)
    return address


def _version(loaded: ctypes.CDLL) -> str:
    # MPI_MAX_LIBRARY_VERSION_STRING is 8192 bytes in MPICH, and less in Open MPI.
    text, length = ctypes.create_string_buffer(2**14), ctypes.c_int()
    loaded.MPI_Get_library_version(text, ctypes.byref(length))
    return text.raw[: length.value].decode(errors="replace")
