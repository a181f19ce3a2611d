"""Parse buffer specifications, as mpi4py takes them, into flat vectors of elements.

Unsuitable buffers raise errors before any message is sent.
"""

from __future__ import annotations

import operator
import sys
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from swing.checks import shown
from swing.executor.buffers.datatypes import CODES, datatype_of, number_type
from swing.executor.buffers.layout import Layout, check_committed, is_dense
from swing.executor.buffers.memory import check_writable, flat, raw
from swing.executor.buffers.vector import Vector, check_apart, check_types

NOWHERE = bytearray()
"""The memory of None and of MPI.BOTTOM, where displacements in a datatype are addresses."""


class Spec(NamedTuple):
    """The fields of a ``[buf, …]`` specification as mpi4py takes it; absent fields are None.

    The forms are ``[buf, datatype]``, ``[buf, count]``, ``[buf, count, datatype]`` and ``[buf,
    count, displacement, datatype]``. In place of the count there may be a pair of count and
    displacement. Counts and displacements are numbers of elements.
    """

    buffer: Any
    count: Any
    displacement: Any
    datatype: MPI.Datatype | None

    @classmethod
    def of(cls, buf: Any, name: str, pairs: tuple[type, ...] = (list, tuple)) -> Spec:
        """Parse a buffer or a specification.

        Args:
            buf: the user's argument.
            name: its name in error messages.
            pairs: the types of a pair of count and displacement: in `pieces`, lists are counts.

        Raises:
            TypeError: it is neither a buffer nor a specification.
        """
        if not isinstance(buf, (list, tuple)):
            return cls(buf, None, None, None)
        fields: list[Any]
        if len(buf) == 2:
            buffer, last = buf
            is_type = isinstance(last, (MPI.Datatype, str))
            fields = [buffer, None, None, last] if is_type else [buffer, last, None, None]
        elif len(buf) == 3:
            buffer, count, datatype = buf
            fields = [buffer, count, None, datatype]
        else:
            fields = [*buf] if len(buf) == 4 else [None] * 5  # five: no specification
        if len(fields) == 5 or not isinstance(fields[3], (MPI.Datatype, str, type(None))):
            raise _no_buffer(buf, name)
        if type(fields[1]) in pairs and len(fields[1]) == 2 and fields[2] is None:
            fields[1], fields[2] = fields[1]
        if fields[0] is None or fields[0] is MPI.BOTTOM:
            if fields[3] is None:
                raise TypeError(f"{name} has no memory: pass [None, datatype] for an empty buffer")
            if fields[0] is None and np.any(fields[1]):
                raise ValueError(f"{name} has no memory but {fields[1]} elements: pass a buffer")
            fields[0] = NOWHERE
        elif isinstance(fields[0], (bool, int, float, complex, str, list, tuple)):
            raise _no_buffer(buf, name)
        if isinstance(fields[3], str):
            fields[3] = MPI.Datatype.fromcode(fields[3])
        return cls(*fields)


def vectors(sendbuf: Any, recvbuf: Any, comm: MPI.Comm) -> tuple[Vector, Vector]:
    """The send and receive vector of an allreduce; in place, both are one object.

    Args:
        sendbuf: a contiguous numpy array or other buffer, a specification (see `Spec`), or
            ``MPI.IN_PLACE``.
        recvbuf: a buffer or specification, or None to reduce ``sendbuf`` in place.
        comm: the communicator of the call.

    Raises:
        TypeError: an argument is no buffer, or its elements have a type that MPI lacks.
        ValueError: memory is not contiguous or too small, or the receive buffer is read-only;
            or the buffers differ in count or type, or overlap.
    """
    if recvbuf is None or sendbuf is MPI.IN_PLACE:
        if sendbuf is MPI.IN_PLACE and recvbuf is None:
            raise ValueError("MPI.IN_PLACE goes with a receive buffer: pass recvbuf too")
        recv = vector(sendbuf if recvbuf is None else recvbuf, "the buffer", comm, writable=True)
        return recv, recv
    send = vector(sendbuf, "sendbuf", comm)
    recv = vector(recvbuf, "recvbuf", comm, writable=True)
    if len(send) != len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements and recvbuf {len(recv)}: make them equal"
        )
    check_types(send, recv)
    check_apart(send, recv)
    return send, recv


def vector(buf: Any, name: str, comm: MPI.Comm, blocks: int = 1, writable: bool = False) -> Vector:
    """The elements of one buffer.

    Args:
        buf: a buffer or specification.
        name: its name in error messages.
        comm: the communicator of the call.
        blocks: a factor for the count of a specification: the number of pieces, where the count is
            that of one piece.
        writable: whether the call writes to it.

    Raises:
        TypeError, ValueError: see `vectors`.
    """
    spec = Spec.of(buf, name)
    if spec.datatype is None:
        elements = _elements(spec.buffer, name)
        if writable:
            check_writable(elements)
        elements = _part(elements, spec, len(elements), 1, name, blocks)
        return Vector(elements, datatype_of(elements.dtype))
    datatype, memory = spec.datatype, raw(spec.buffer, name)
    check_committed(datatype, name, comm)
    if writable:
        check_writable(memory)
    if is_dense(datatype, comm):
        part = _part(memory, spec, len(memory), datatype.extent, name, blocks)
        number = number_type(datatype) or np.dtype((np.void, datatype.extent))
        return Vector(part.view(number), datatype)
    return _scattered(memory, spec, datatype, name, comm, blocks)


def _scattered(
    memory: np.ndarray, spec: Spec, datatype: MPI.Datatype, name: str, comm: MPI.Comm, blocks: int
) -> Vector:
    """The elements of a datatype that do not lie densely in memory."""
    extent, size = datatype.extent, datatype.size
    start = _index(spec.displacement, name) * extent
    if spec.count is not None:
        count = _index(spec.count, name) * blocks
    elif extent > 0 and (len(memory) - start) % extent == 0:
        count = (len(memory) - start) // extent
    else:
        raise ValueError(
            f"{name} has {len(memory)} bytes, not a number of elements with an extent of {extent} "
            "bytes: pass [buffer, count, datatype]"
        )
    layout = _layout(memory, spec, start, [count], [0], name, comm)
    elements = np.empty(count if size else 0, np.dtype((np.void, size or 1)))
    return Vector(elements, datatype, layout, _address(memory, spec) + start, memory)


def pieces(buf: Any, name: str, comm: MPI.Comm) -> tuple[Vector, list[int], list[int]]:
    """A receive buffer that holds one piece per rank.

    Args:
        buf: a buffer or specification. Counts and displacements are one number for all ranks or a
            list with one number per rank; a displacement for all ranks is the distance between
            pieces. Without counts the pieces have equal lengths, or the first ones have one
            element more than the others. Without displacements they are adjacent.
        name: the name of the buffer in error messages.
        comm: the communicator of the call.

    Returns:
        The buffer as a vector of bytes, and for each piece its length and its start, both in bytes.

    Raises:
        TypeError: see `vectors`.
        ValueError: see `vectors`; or a piece is not within the buffer.
    """
    spec = Spec.of(buf, name, pairs=(tuple,))
    datatype, ranks = spec.datatype, comm.size
    memory = _elements(spec.buffer, name) if datatype is None else raw(spec.buffer, name)
    if datatype is not None:
        check_committed(datatype, name, comm)
    check_writable(memory)
    extent = memory.itemsize if datatype is None else datatype.extent
    memory = memory.view(np.uint8)
    if spec.count is None:
        quotient, remainder = divmod(len(memory) // max(extent, 1), ranks)
        counts = [quotient + (r < remainder) for r in range(ranks)]
    else:
        counts = _each(spec.count, name, ranks)
    if spec.displacement is None:
        starts = [sum(counts[:r]) for r in range(ranks)]
    elif np.ndim(spec.displacement) == 0:
        starts = [_index(spec.displacement, name) * r for r in range(ranks)]
    else:
        starts = _each(spec.displacement, name, ranks)
    # As in MPI, an empty piece may start anywhere.
    starts = [start if n else 0 for start, n in zip(starts, counts, strict=True)]
    if min(counts) < 0:
        raise ValueError(f"{name} has pieces of {counts} elements: a count must not be negative")
    if datatype is not None and not is_dense(datatype, comm):
        layout = _layout(memory, spec, 0, counts, starts, name, comm)
        lengths = [n * datatype.size for n in counts]
        dense = np.empty(sum(lengths), np.uint8)
        whole = Vector(dense, datatype, layout, _address(memory, spec), memory)
        return whole, lengths, [sum(lengths[:r]) for r in range(ranks)]
    ends = [(s + n) * extent for s, n in zip(starts, counts, strict=True)]
    if min(starts) < 0 or max(ends) > len(memory):
        raise ValueError(
            f"{name} has {len(memory)} bytes, which do not hold pieces of {counts} elements of "
            f"{extent} bytes at {starts}: pass [buffer, counts, displacements, datatype] that agree"
        )
    return Vector(memory, MPI.BYTE), [n * extent for n in counts], [s * extent for s in starts]


def element_type(buf: Any, name: str) -> MPI.Datatype | None:
    """The MPI type of a buffer's elements; None if MPI lacks it.

    Raises:
        TypeError, ValueError: see `vectors`.
    """
    spec = Spec.of(buf, name)
    return spec.datatype or datatype_of(_elements(spec.buffer, name).dtype)


def _elements(buffer: Any, name: str) -> np.ndarray:
    """(n,) the elements of a buffer; TypeError if neither MPI nor numpy has their type."""
    data = flat(buffer, name)
    dtype = data.dtype
    # numpy's own numbers in the other byte order are reduced by numpy, as are user-defined types
    # (2) such as bfloat16.
    if dtype.char not in CODES and dtype.isbuiltin != 2 and datatype_of(dtype) is None:
        raise TypeError(
            f"{name} holds {dtype}, which MPI lacks: use a numpy array of numbers, "
            "or pass [array, datatype]"
        )
    return data


def _address(memory: np.ndarray, spec: Spec) -> int:
    return 0 if spec.buffer is NOWHERE else MPI.Get_address(memory)


def _layout(
    memory: np.ndarray,
    spec: Spec,
    start: int,
    counts: list[int],
    starts: list[int],
    name: str,
    comm: MPI.Comm,
) -> Layout:
    """The layout of pieces of elements, which end within the buffer from byte ``start`` on.

    They may begin in front of it: a negative lower bound says that the caller knows that memory.
    """
    assert spec.datatype is not None
    extent = max(abs(spec.datatype.extent), spec.datatype.size, 1)
    furthest = max(map(abs, [start // extent, *starts])) + sum(map(abs, counts))
    if min(counts) < 0 or furthest * extent > sys.maxsize:
        numbers = shown(counts[0] if len(counts) == 1 else counts)
        raise ValueError(
            f"{name} has {len(memory)} bytes, not {numbers} elements of {extent} bytes at the "
            "given displacement: pass [buffer, count, datatype] that agree"
        )
    layout = Layout(spec.datatype, counts, starts, comm)
    low, end = layout.bounds()
    if low == end:  # no data, which may be anywhere
        return layout
    if spec.buffer is not NOWHERE and (start < 0 or start + end > len(memory)):
        raise ValueError(
            f"{name} has {len(memory)} bytes, but its elements end at byte {start + end}: "
            "pass [buffer, count, datatype] that agree"
        )
    return layout


def _part(
    memory: np.ndarray, spec: Spec, length: int, extent: int, name: str, blocks: int
) -> np.ndarray:
    """The part of ``memory`` that a specification's displacement and count select.

    ``memory`` has ``length`` items, and each element takes ``extent`` of them: the items are either
    bytes or the elements themselves.
    """
    start = _index(spec.displacement, name) * extent
    if spec.count is None:
        count, remainder = divmod(length - start, extent)
    else:
        count, remainder = _index(spec.count, name) * blocks, 0
    stop = start + count * extent
    if not 0 <= start <= stop <= length or remainder:
        raise ValueError(
            f"{name} has {memory.nbytes} bytes, which do not fit {count} elements of "
            f"{extent * memory.itemsize} bytes: pass [buffer, count, datatype] that agree"
        )
    return memory[start:stop]


def _index(number: Any, name: str) -> int:
    try:
        return 0 if number is None else operator.index(number)
    except TypeError:
        raise TypeError(
            f"{name} has {number!r} in place of a number of elements: pass [buffer, count, "
            "datatype], or a numpy array instead of a list"
        ) from None


def _each(numbers: Any, name: str, ranks: int) -> list[int]:
    """One number per rank."""
    if np.ndim(numbers) == 0:
        return [_index(numbers, name)] * ranks
    if len(numbers) != ranks:
        raise ValueError(f"{name} needs {ranks} counts and displacements, one per rank")
    return [_index(number, name) for number in numbers]


def _no_buffer(buf: Any, name: str) -> TypeError:
    return TypeError(
        f"{name} is a {type(buf).__name__} without a buffer: use a numpy array, "
        "or [array, datatype]"
    )
