"""Read the buffers of a call: as flat vectors of elements, or as one piece per rank.

Unsuitable buffers raise errors before any message is sent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import bytes_type, datatype_of, number_type
from swing.executor.buffers.layout import check_committed, is_dense
from swing.executor.buffers.memory import check_writable, raw
from swing.executor.buffers.specs import Spec, address_of, each, elements_of, index, layout_of
from swing.executor.buffers.vector import Vector, check_apart, check_types


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
        elements = elements_of(spec.buffer, name)
        if writable:
            check_writable(elements)
        elements = _part(elements, spec, len(elements), 1, name, blocks)
        return Vector(elements, datatype_of(elements.dtype))
    datatype, memory = spec.datatype, raw(spec.buffer, name)
    check_committed(datatype, name, comm)
    if writable:
        check_writable(memory)
    if is_dense(datatype):
        part = _part(memory, spec, len(memory), datatype.extent, name, blocks)
        number = number_type(datatype) or bytes_type(datatype.extent)
        return Vector(part.view(number), datatype)
    return _scattered(memory, spec, datatype, name, comm, blocks)


def _scattered(
    memory: np.ndarray, spec: Spec, datatype: MPI.Datatype, name: str, comm: MPI.Comm, blocks: int
) -> Vector:
    """The elements of a datatype that do not lie densely in memory."""
    extent, size = datatype.extent, datatype.size
    start = index(spec.displacement, name) * extent
    if spec.count is not None:
        count = index(spec.count, name) * blocks
    elif extent > 0 and (len(memory) - start) % extent == 0:
        count = (len(memory) - start) // extent
    else:
        raise ValueError(
            f"{name} has {len(memory)} bytes, not a number of elements with an extent of {extent} "
            "bytes: pass [buffer, count, datatype]"
        )
    layout = layout_of(memory, spec, start, [count], [0], name, comm)
    elements = np.empty(count * size, np.uint8).view(bytes_type(size or 1))
    return Vector(elements, datatype, layout, address_of(memory, spec) + start, memory)


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
    memory = elements_of(spec.buffer, name) if datatype is None else raw(spec.buffer, name)
    if datatype is not None:
        check_committed(datatype, name, comm)
    check_writable(memory)
    extent = memory.itemsize if datatype is None else datatype.extent
    memory = memory.view(np.uint8)
    if spec.count is None:
        quotient, remainder = divmod(len(memory) // max(extent, 1), ranks)
        counts = [quotient + (r < remainder) for r in range(ranks)]
    else:
        counts = each(spec.count, name, ranks)
    if spec.displacement is None:
        starts = [sum(counts[:r]) for r in range(ranks)]
    elif np.ndim(spec.displacement) == 0:
        starts = [index(spec.displacement, name) * r for r in range(ranks)]
    else:
        starts = each(spec.displacement, name, ranks)
    # As in MPI, an empty piece may start anywhere.
    starts = [start if n else 0 for start, n in zip(starts, counts, strict=True)]
    if min(counts) < 0:
        raise ValueError(f"{name} has pieces of {counts} elements: a count must not be negative")
    if datatype is not None and not is_dense(datatype):
        layout = layout_of(memory, spec, 0, counts, starts, name, comm)
        lengths = [n * datatype.size for n in counts]
        dense = np.empty(sum(lengths), np.uint8)
        whole = Vector(dense, datatype, layout, address_of(memory, spec), memory)
        return whole, lengths, [sum(lengths[:r]) for r in range(ranks)]
    ends = [(s + n) * extent for s, n in zip(starts, counts, strict=True)]
    if min(starts) < 0 or max(ends) > len(memory):
        raise ValueError(
            f"{name} has {len(memory)} bytes, which do not hold pieces of {counts} elements of "
            f"{extent} bytes at {starts}: pass [buffer, counts, displacements, datatype] that agree"
        )
    return Vector(memory, MPI.BYTE), [n * extent for n in counts], [s * extent for s in starts]


def _part(
    memory: np.ndarray, spec: Spec, length: int, extent: int, name: str, blocks: int
) -> np.ndarray:
    """The part of ``memory`` that a specification's displacement and count select.

    ``memory`` has ``length`` items, and each element takes ``extent`` of them: the items are either
    bytes or the elements themselves.
    """
    start = index(spec.displacement, name) * extent
    if spec.count is None:
        count, remainder = divmod(length - start, extent)
    else:
        count, remainder = index(spec.count, name) * blocks, 0
    stop = start + count * extent
    if not 0 <= start <= stop <= length or remainder:
        raise ValueError(
            f"{name} has {memory.nbytes} bytes, which do not fit {count} elements of "
            f"{extent * memory.itemsize} bytes: pass [buffer, count, datatype] that agree"
        )
    return memory[start:stop]
