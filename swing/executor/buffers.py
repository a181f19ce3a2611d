"""What users pass as buffers, read as flat vectors of elements."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

_NUMBERS = frozenset(np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?")


Vectors: TypeAlias = tuple[np.ndarray, np.ndarray, MPI.Datatype | None]
"""Send and receive vector, (count,) elements of one type in the user's memory, the same one to
reduce in place; and what MPI calls an element if numpy has no such type: both are raw then."""


def vectors(sendbuf: Any, recvbuf: Any) -> Vectors:
    """The vectors that a user passes.

    Args:
        sendbuf: a contiguous numpy array or other buffer, ``[buf, datatype]``,
            ``[buf, count, datatype]``, or ``MPI.IN_PLACE``.
        recvbuf: the same, or None to reduce ``sendbuf`` in place.

    Raises:
        TypeError: an object that is no buffer, or of a type that MPI lacks.
        ValueError: memory that is not contiguous, too small, or read-only where the result
            goes; buffers of unequal count, type or order.
    """
    if recvbuf is None or sendbuf is MPI.IN_PLACE:
        if sendbuf is MPI.IN_PLACE and recvbuf is None:
            raise ValueError("MPI.IN_PLACE goes with a receive buffer: pass recvbuf too")
        recv, datatype = _vector(sendbuf if recvbuf is None else recvbuf, "the buffer")
        _check_writable(recv)
        return recv, recv, datatype
    send, datatype = _vector(sendbuf, "sendbuf")
    recv, expected = _vector(recvbuf, "recvbuf")
    _check_writable(recv)
    _check_order(sendbuf, recvbuf)
    if len(send) != len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements and recvbuf {len(recv)}: make them equal"
        )
    if send.dtype != recv.dtype or datatype != expected:
        said = type_name(send.dtype, datatype), type_name(recv.dtype, expected)
        raise ValueError(f"sendbuf holds {said[0]} and recvbuf {said[1]}: make them equal")
    return send, recv, datatype


def check_gapped(sendbuf: Any, recvbuf: Any) -> bool:
    """Whether buffers of a datatype with gaps, which MPI is to read, are one and the same.

    Raises:
        TypeError: an object that is no buffer.
        ValueError: datatypes differ, or memory is not contiguous, overlaps, or is read-only where
            the result goes.
    """
    given = recvbuf is not None and sendbuf is not MPI.IN_PLACE
    result = sendbuf if recvbuf is None else recvbuf
    recv = _memory(_bare(result), "recvbuf" if given else "the buffer")
    _check_writable(recv)
    if not given:
        return True
    if not isinstance(sendbuf, (list, tuple)) or [*sendbuf][-1:] != [result[-1]]:
        raise ValueError("recvbuf has a datatype with gaps, sendbuf not the same: make them equal")
    return is_same(_memory(_bare(sendbuf), "sendbuf"), recv)


def is_same(send: np.ndarray, recv: np.ndarray) -> bool:
    """Whether two vectors are one; ValueError if they are neither that nor apart."""
    there, here = MPI.Get_address(send), MPI.Get_address(recv)
    if there != here and max(there, here) < min(there + send.nbytes, here + recv.nbytes):
        raise ValueError("sendbuf and recvbuf overlap: pass one buffer to reduce it in place")
    return there == here


def type_name(dtype: np.dtype[Any], datatype: MPI.Datatype | None) -> str:
    """The type of a vector's elements in words."""
    return str(dtype) if datatype is None else datatype.name or "a datatype without a name"


def borrow(address: int, count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """(count,) elements at an address. They do not keep their memory alive."""
    memory = MPI.buffer.fromaddress(address, count * dtype.itemsize)
    return np.asarray(memory).view(dtype)


def has_gaps(datatype: MPI.Datatype) -> bool:
    """Whether an element is not one piece of memory, so that it can not be copied as bytes."""
    dense = datatype.is_named or datatype.size == datatype.extent
    return datatype.lb != 0 or datatype.extent <= 0 or not dense


def _vector(buffer: Any, name: str) -> tuple[np.ndarray, MPI.Datatype | None]:
    """One buffer, flat; ``name`` is what errors call it."""
    if isinstance(buffer, (list, tuple)):
        return _with_datatype(buffer, name)
    data = _memory(buffer, name)
    dtype = data.dtype
    if dtype.char not in _NUMBERS and dtype.isbuiltin != 2:  # 2: bfloat16 and the like
        raise TypeError(
            f"{name} holds {dtype}, which MPI lacks: use a numpy array of numbers, "
            "or pass [array, datatype]"
        )
    return data, None


def _with_datatype(
    spec: list[Any] | tuple[Any, ...], name: str
) -> tuple[np.ndarray, MPI.Datatype | None]:
    if not (2 <= len(spec) <= 3 and isinstance(spec[-1], (MPI.Datatype, str))):
        raise TypeError(
            f"{name} is a {type(spec).__name__} without a buffer: use a numpy array, "
            "or [array, datatype]"
        )
    datatype = MPI.Datatype.fromcode(spec[-1]) if isinstance(spec[-1], str) else spec[-1]
    if has_gaps(datatype):
        raise ValueError(f"{name} has a datatype with gaps, the other buffer none: make them equal")
    memory = _memory(_bare(spec), name)
    count = int(spec[1]) if len(spec) == 3 else memory.nbytes // datatype.extent
    nbytes = count * datatype.extent
    if not 0 <= nbytes <= memory.nbytes or (len(spec) == 2 and nbytes < memory.nbytes):
        raise ValueError(
            f"{name} has {memory.nbytes} bytes, which is not the memory of {count} elements "
            f"of {datatype.extent} bytes: pass [buffer, count, datatype] that fits"
        )
    raw = memory.view(np.uint8)[:nbytes]
    try:
        number = np.dtype(datatype.tocode())
    except ValueError:
        number = None
    if number is not None and number.char in _NUMBERS:
        return raw.view(number), None
    return raw.view(np.dtype((np.void, datatype.extent))), datatype


def _memory(buffer: Any, name: str) -> np.ndarray:
    """(count,) the memory of a buffer, in the order in which it lies there."""
    array = _array(buffer, name)
    if not array.flags.forc:
        raise ValueError(f"{name} is not contiguous: make it so first, a = np.ascontiguousarray(a)")
    return array if array.ndim == 1 else array.view(np.ndarray).reshape(-1, order="A")


def _bare(buffer: Any) -> Any:
    """The buffer of a ``[buf, …]`` specification; others stand for themselves."""
    if isinstance(buffer, (list, tuple)):
        return bytearray() if buffer[0] is None else buffer[0]
    return buffer


def _array(buffer: Any, name: str) -> np.ndarray:
    if isinstance(buffer, np.ndarray):
        return buffer
    if hasattr(buffer, "__dlpack__"):
        return np.from_dlpack(buffer)
    try:
        return np.asarray(memoryview(buffer))
    except TypeError:
        raise TypeError(
            f"{name} is a {type(buffer).__name__} without a buffer: use a numpy array"
        ) from None


def _check_order(sendbuf: Any, recvbuf: Any) -> None:
    there, here = _array(_bare(sendbuf), "sendbuf").flags, _array(_bare(recvbuf), "recvbuf").flags
    if (there.fnc and not here.f_contiguous) or (here.fnc and not there.f_contiguous):
        raise ValueError(
            "of sendbuf and recvbuf one lies in C order and one in Fortran order: make recvbuf "
            "with np.empty_like(sendbuf)"
        )


def _check_writable(recv: np.ndarray) -> None:
    if not recv.flags.writeable:
        raise ValueError("the receive buffer is read-only: pass a writable array")
