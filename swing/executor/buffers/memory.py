"""Objects that hold memory, as numpy arrays over that very memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI


def array_of(buffer: Any, name: str) -> np.ndarray:
    """The numpy array of an object; ``name`` is what errors call it.

    It may be an array, offer Python's buffer protocol or DLPack, or claim to be a GPU's by
    ``__cuda_array_interface__`` and yet be host memory (see `swing.executor.gpu.device`).

    Raises:
        TypeError: an object without a buffer, or elements that numpy lacks.
    """
    if isinstance(buffer, np.ndarray):
        return buffer
    try:
        return np.asarray(memoryview(buffer))
    except TypeError:
        pass
    if hasattr(buffer, "__dlpack__"):
        return _from_dlpack(buffer)
    if hasattr(buffer, "__cuda_array_interface__"):
        return np.asarray(_Interface(buffer.__cuda_array_interface__))
    raise TypeError(f"{name} is a {type(buffer).__name__} without a buffer: use a numpy array")


def flat(buffer: Any, name: str) -> np.ndarray:
    """(n,) all elements of an object in the order in which they lie in memory.

    Raises:
        ValueError: memory that is not contiguous.
    """
    array = array_of(buffer, name)
    if not array.flags.forc:
        raise ValueError(f"{name} is not contiguous: make it so first, a = np.ascontiguousarray(a)")
    return array if array.ndim == 1 else array.view(np.ndarray).reshape(-1, order="A")


def raw(buffer: Any, name: str) -> np.ndarray:
    """(nbytes,) the bytes of an object, whatever its elements are; ValueError as in `flat`."""
    if hasattr(buffer, "__dlpack__") and not isinstance(buffer, np.ndarray):
        try:
            return _bytes(buffer)
        except BufferError as error:
            raise ValueError(f"{name}: {error}") from None
    return flat(buffer, name).view(np.uint8)


def check_writable(array: np.ndarray) -> None:
    """Raise ValueError if an array is read-only."""
    if not array.flags.writeable:
        raise ValueError("the receive buffer is read-only: pass a writable array")


def is_same(send: np.ndarray, recv: np.ndarray) -> bool:
    """Whether two vectors are one; ValueError if they are neither that nor apart."""
    there, here = MPI.Get_address(send), MPI.Get_address(recv)
    if there != here and max(there, here) < min(there + send.nbytes, here + recv.nbytes):
        raise ValueError("sendbuf and recvbuf overlap: pass one buffer to reduce it in place")
    return there == here


def check_apart(send: np.ndarray, recv: np.ndarray) -> None:
    """Raise ValueError if two vectors share memory."""
    there, here = MPI.Get_address(send), MPI.Get_address(recv)
    if max(there, here) < min(there + send.nbytes, here + recv.nbytes):
        raise ValueError("sendbuf and recvbuf overlap: pass MPI.IN_PLACE as sendbuf")


def borrow(address: int, count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """(count,) elements at an address. They do not keep their memory alive."""
    memory = MPI.buffer.fromaddress(address, count * dtype.itemsize)
    return np.asarray(memory).view(dtype)


class _Interface:
    """What numpy reads as memory of the host."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = {**interface, "version": 3}


def _from_dlpack(buffer: Any) -> np.ndarray:
    """The array of a DLPack object.

    Before DLPack 1.0 nobody could say whether memory is read-only, and numpy takes it to be.
    mpi4py does not: so neither do we.
    """
    array = np.from_dlpack(buffer)
    if array.flags.writeable or not array.flags.forc:
        return array
    memory = _bytes(buffer)
    return np.ndarray(array.shape, array.dtype, memory, strides=array.strides)


def _bytes(buffer: Any) -> np.ndarray:
    try:
        memory = MPI.buffer.frombuffer(buffer)
    except BufferError:
        memory = MPI.buffer.frombuffer(buffer, readonly=True)
    return np.asarray(memory)
