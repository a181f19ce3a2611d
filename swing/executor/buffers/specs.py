"""Parse buffer specifications, as mpi4py takes them, into flat vectors of elements.

Unsuitable buffers raise errors here or in `swing.executor.buffers.memory`, before any message is
sent.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import NUMBERS, has_gaps, number_type, type_name
from swing.executor.buffers.memory import check_writable, flat, is_same, raw

Typed: TypeAlias = tuple[np.ndarray, MPI.Datatype | None]
"""(count,) elements in the user's memory, and None. If numpy lacks their type, the array has raw
bytes (numpy.void) as elements, and the second item is the MPI type of an element."""

Vectors: TypeAlias = tuple[np.ndarray, np.ndarray, MPI.Datatype | None]
"""Send and receive vector, (count,) elements of one type in the user's memory, and their MPI type
as in `Typed`. In place, both are the same vector."""


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
            pairs: the types that can be a pair of count and displacement. `pieces` excludes lists,
                because there [3, 4] is two ranks' counts.

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
            fields[0] = bytearray()
        elif isinstance(fields[0], (bool, int, float, complex, str, list, tuple)):
            raise _no_buffer(buf, name)
        if isinstance(fields[3], str):
            fields[3] = MPI.Datatype.fromcode(fields[3])
        return cls(*fields)


def vectors(sendbuf: Any, recvbuf: Any) -> Vectors:
    """The send and receive vector of an allreduce.

    Args:
        sendbuf: a contiguous numpy array or other buffer, a specification (see `Spec`), or
            ``MPI.IN_PLACE``.
        recvbuf: a buffer or specification, or None to reduce ``sendbuf`` in place.

    Raises:
        TypeError: an argument is no buffer, or its elements have a type that MPI lacks.
        ValueError: memory is not contiguous or too small, or the receive buffer is read-only;
            or the buffers differ in count or type.
    """
    if recvbuf is None or sendbuf is MPI.IN_PLACE:
        if sendbuf is MPI.IN_PLACE and recvbuf is None:
            raise ValueError("MPI.IN_PLACE goes with a receive buffer: pass recvbuf too")
        recv, datatype = vector(sendbuf if recvbuf is None else recvbuf, "the buffer")
        check_writable(recv)
        return recv, recv, datatype
    send, datatype = vector(sendbuf, "sendbuf")
    recv, expected = vector(recvbuf, "recvbuf")
    check_writable(recv)
    if len(send) != len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements and recvbuf {len(recv)}: make them equal"
        )
    check_types((send, datatype), (recv, expected))
    return send, recv, datatype


def vector(buf: Any, name: str, blocks: int = 1) -> Typed:
    """The elements of one buffer.

    Args:
        buf: a buffer or specification.
        name: its name in error messages.
        blocks: a factor for the count of a specification: the number of pieces, where the count is
            that of one piece.

    Raises:
        TypeError, ValueError: see `vectors`.
    """
    spec = Spec.of(buf, name)
    if spec.datatype is None:
        elements = _numbers(spec.buffer, name)
        return _part(elements, spec, len(elements), 1, name, blocks), None
    datatype = spec.datatype
    if has_gaps(datatype):
        raise ValueError(f"{name} has a datatype with gaps, the other buffer none: make them equal")
    memory = raw(spec.buffer, name)
    memory = _part(memory, spec, len(memory), datatype.extent, name, blocks)
    number = number_type(datatype)
    if number is not None:
        return memory.view(number), None
    return memory.view(np.dtype((np.void, datatype.extent))), datatype


def pieces(buf: Any, name: str, ranks: int) -> tuple[np.ndarray, list[int], list[int]]:
    """A buffer that holds one piece per rank.

    Args:
        buf: a buffer or specification. Counts and displacements are one number for all ranks or a
            list with one number per rank; a displacement for all ranks is the distance between
            pieces. Without counts the pieces have equal lengths, or the first ones have one
            element more than the others. Without displacements they are adjacent.
        name: the name of the buffer in error messages.
        ranks: the number of pieces.

    Returns:
        (nbytes,) the memory of the buffer as bytes, and for each piece its length and its start,
        both in bytes.

    Raises:
        TypeError: see `vectors`.
        ValueError: see `vectors`; or a piece is not within the buffer.
    """
    spec = Spec.of(buf, name, pairs=(tuple,))
    datatype = spec.datatype
    extent = datatype.extent if datatype else _numbers(spec.buffer, name).itemsize
    memory = raw(spec.buffer, name)
    if spec.count is None:
        quotient, remainder = divmod(len(memory) // extent, ranks)
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
    ends = [(s + n) * extent for s, n in zip(starts, counts, strict=True) if n]
    if min(counts) < 0 or min(starts) < 0 or max(ends, default=0) > len(memory):
        raise ValueError(
            f"{name} has {len(memory)} bytes, which do not hold pieces of {counts} elements of "
            f"{extent} bytes at {starts}: pass [buffer, counts, displacements, datatype] that agree"
        )
    return memory, [n * extent for n in counts], [s * extent for s in starts]


def check_types(one: Typed, other: Typed) -> None:
    """Check that the send vector and the receive vector have elements of the same type.

    Raises:
        ValueError: the types differ.
    """
    if one[0].dtype != other[0].dtype or one[1] != other[1]:
        names = type_name(one[0].dtype, one[1]), type_name(other[0].dtype, other[1])
        raise ValueError(f"sendbuf holds {names[0]} and recvbuf {names[1]}: make them equal")


def check_gapped(sendbuf: Any, recvbuf: Any) -> bool:
    """Check buffers whose datatype has gaps; the MPI library itself will read and write them.

    Returns:
        Whether the call is in place.

    Raises:
        TypeError: an argument is no buffer.
        ValueError: the datatypes differ, memory is not contiguous, the buffers overlap, or the
            receive buffer is read-only.
    """
    two_buffers = recvbuf is not None and sendbuf is not MPI.IN_PLACE
    result = sendbuf if recvbuf is None else recvbuf
    recv = raw(Spec.of(result, "recvbuf").buffer, "recvbuf" if two_buffers else "the buffer")
    check_writable(recv)
    if not two_buffers:
        return True
    if not isinstance(sendbuf, (list, tuple)) or [*sendbuf][-1:] != [result[-1]]:
        raise ValueError(
            "recvbuf has a datatype with gaps and sendbuf another datatype: make them equal"
        )
    return is_same(raw(Spec.of(sendbuf, "sendbuf").buffer, "sendbuf"), recv)


def _numbers(buffer: Any, name: str) -> np.ndarray:
    """(n,) the elements of a buffer; TypeError if they are not of a numeric type."""
    data = flat(buffer, name)
    dtype = data.dtype
    if dtype.char not in NUMBERS and dtype.isbuiltin != 2:  # 2: user-defined, as bfloat16 is
        raise TypeError(
            f"{name} holds {dtype}, which MPI lacks: use a numpy array of numbers, "
            "or pass [array, datatype]"
        )
    return data


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
