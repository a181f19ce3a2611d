"""View the memory of any buffer object as a numpy array, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers import dlpack


def array_of(buffer: Any, name: str) -> np.ndarray:
    """A numpy array over the memory of a buffer.

    Args:
        buffer: an array, an object with Python's buffer protocol or DLPack, or one that offers
            ``__cuda_array_interface__`` although its memory is host memory (see
            `swing.executor.gpu.device.is_device_memory`).
        name: the name of the buffer in error messages.

    Raises:
        TypeError: the object has no buffer, or its elements have a type that numpy lacks.
    """
    if isinstance(buffer, np.ndarray):
        return buffer
    try:
        return np.asarray(memoryview(buffer))
    except TypeError:
        pass
    if hasattr(buffer, "__dlpack__"):
        return dlpack.read(buffer, name)
    if hasattr(buffer, "__cuda_array_interface__"):
        return np.asarray(_Interface(buffer.__cuda_array_interface__))
    raise TypeError(f"{name} is a {type(buffer).__name__} without a buffer: use a numpy array")


def flat(buffer: Any, name: str) -> np.ndarray:
    """(n,) all elements of a buffer in memory order; for the arguments see `array_of`.

    Raises:
        TypeError: see `array_of`.
        ValueError: the memory is not contiguous.
    """
    array = array_of(buffer, name)
    if not array.flags.forc:
        raise ValueError(f"{name} is not contiguous: make it so first, a = np.ascontiguousarray(a)")
    # A subclass such as np.matrix may not become one-dimensional: take its base class.
    return array if array.ndim == 1 else array.view(np.ndarray).reshape(-1, order="A")


def raw(buffer: Any, name: str) -> np.ndarray:
    """(nbytes,) the bytes of a buffer with elements of any type; errors are those of `flat`."""
    # mpi4py reads the bytes of DLPack objects with elements of any type, even one that numpy lacks.
    if hasattr(buffer, "__dlpack__") and not isinstance(buffer, np.ndarray):
        return dlpack.read_bytes(buffer, name)
    return flat(buffer, name).view(np.uint8)


def check_writable(array: np.ndarray) -> None:
    """Check that an array is writable.

    Raises:
        ValueError: it is read-only.
    """
    if not array.flags.writeable:
        raise ValueError("the receive buffer is read-only: pass a writable array")


def is_same(send: np.ndarray, recv: np.ndarray) -> bool:
    """Whether two vectors begin at the same address, so that the call is in place."""
    return MPI.Get_address(send) == MPI.Get_address(recv)


def borrow(address: int, count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """(count,) elements at an address; the array does not keep the memory alive."""
    memory = MPI.buffer.fromaddress(address, count * dtype.itemsize)
    return np.asarray(memory).view(dtype)


class _Interface:
    """An object that offers numpy the memory of a ``__cuda_array_interface__``."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = {**interface, "version": 3}
