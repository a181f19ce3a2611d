"""What users pass as buffers, read as flat vectors of elements."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.memory import array_of, check_writable, flat, is_same, raw

_NUMBERS = frozenset(np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?")

Typed: TypeAlias = tuple[np.ndarray, MPI.Datatype | None]
"""(count,) elements in the user's memory; and what MPI calls an element if numpy has no such
type: they are raw then."""

Vectors: TypeAlias = tuple[np.ndarray, np.ndarray, MPI.Datatype | None]
"""Send and receive vector, (count,) elements of one type in the user's memory, the same one to
reduce in place; and the type as in `Typed`."""


class Spec(NamedTuple):
    """A ``[buf, …]`` specification as mpi4py takes it; what is not given is None.

    ``[buf, datatype]``, ``[buf, count]``, ``[buf, count, datatype]`` or ``[buf, count,
    displacement, datatype]``; a pair of count and displacement may stand for the count.
    """

    buffer: Any
    count: Any
    displacement: Any
    datatype: MPI.Datatype | None

    @classmethod
    def of(cls, given: Any, name: str, pairs: tuple[type, ...] = (list, tuple)) -> Spec:
        """Read what a user passes; ``name`` is what errors call it, ``pairs`` are pairs' types."""
        if not isinstance(given, (list, tuple)):
            return cls(given, None, None, None)
        fields: list[Any]
        if len(given) == 2:
            buffer, last = given
            is_type = isinstance(last, (MPI.Datatype, str))
            fields = [buffer, None, None, last] if is_type else [buffer, last, None, None]
        elif len(given) == 3:
            buffer, count, datatype = given
            fields = [buffer, count, None, datatype]
        else:
            fields = [*given] if len(given) == 4 else [None] * 5
        if len(fields) == 5 or not isinstance(fields[3], (MPI.Datatype, str, type(None))):
            raise _no_buffer(given, name)
        if type(fields[1]) in pairs and len(fields[1]) == 2 and fields[2] is None:
            fields[1], fields[2] = fields[1]
        if fields[0] is None or fields[0] is MPI.BOTTOM:
            if fields[3] is None:
                raise TypeError(f"{name} has no memory: say [None, datatype] for none at all")
            fields[0] = bytearray()
        elif isinstance(fields[0], (bool, int, float, complex, str, list, tuple)):
            raise _no_buffer(given, name)
        if isinstance(fields[3], str):
            fields[3] = MPI.Datatype.fromcode(fields[3])
        return cls(*fields)


def vectors(sendbuf: Any, recvbuf: Any) -> Vectors:
    """The vectors that a user passes to an allreduce.

    Args:
        sendbuf: a contiguous numpy array or other buffer, a specification as in `Spec`, or
            ``MPI.IN_PLACE``.
        recvbuf: the same, or None to reduce ``sendbuf`` in place.

    Raises:
        TypeError: an object that is no buffer, or of a type that MPI lacks.
        ValueError: memory that is not contiguous, too small, or read-only where the result
            goes; buffers of unequal count, type or order.
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
    _check_order(sendbuf, recvbuf)
    if len(send) != len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements and recvbuf {len(recv)}: make them equal"
        )
    check_types((send, datatype), (recv, expected))
    return send, recv, datatype


def vector(given: Any, name: str, blocks: int = 1) -> Typed:
    """One buffer as a vector, of ``blocks`` times as many elements as its count says if it does.

    Raises:
        TypeError, ValueError: as `vectors`.
    """
    spec = Spec.of(given, name)
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


def pieces(given: Any, name: str, ranks: int) -> tuple[np.ndarray, list[int], list[int]]:
    """A buffer for pieces of all ranks: its bytes, and of each piece how many and where they start.

    Args:
        given: a buffer or specification; counts and displacements are one number for all ranks or
            one each, without counts the pieces are as equal as can be, without displacements they
            follow each other.
        name: what errors call it.
        ranks: how many pieces there are.

    Raises:
        TypeError, ValueError: as `vectors`, or pieces that the buffer does not hold.
    """
    spec = Spec.of(given, name, pairs=(tuple,))
    datatype = spec.datatype
    extent = datatype.extent if datatype else _numbers(spec.buffer, name).itemsize
    memory = raw(spec.buffer, name)
    if spec.count is None:
        whole, more = divmod(len(memory) // extent, ranks)
        counts = [whole + (r < more) for r in range(ranks)]
    else:
        counts = _each(spec.count, name, ranks)
    if spec.displacement is None:
        starts = [sum(counts[:r]) for r in range(ranks)]
    elif np.ndim(spec.displacement) == 0:
        starts = [_index(spec.displacement, name) * r for r in range(ranks)]
    else:
        starts = _each(spec.displacement, name, ranks)
    ends = [(s + n) * extent for s, n in zip(starts, counts, strict=True) if n]
    if min(counts) < 0 or min(starts) < 0 or max(ends, default=0) > len(memory):
        raise ValueError(
            f"{name} has {len(memory)} bytes, which do not hold the pieces of {counts} elements "
            f"of {extent} bytes from {starts} on: pass [buffer, counts, displacements, datatype]"
        )
    return memory, [n * extent for n in counts], [s * extent for s in starts]


def check_types(one: Typed, other: Typed) -> None:
    """Raise ValueError unless send and receive vector hold elements of one type."""
    if one[0].dtype != other[0].dtype or one[1] != other[1]:
        said = type_name(one[0].dtype, one[1]), type_name(other[0].dtype, other[1])
        raise ValueError(f"sendbuf holds {said[0]} and recvbuf {said[1]}: make them equal")


def check_gapped(sendbuf: Any, recvbuf: Any) -> bool:
    """Whether buffers of a datatype with gaps, which MPI is to read, are one and the same.

    Raises:
        TypeError: an object that is no buffer.
        ValueError: datatypes differ, or memory is not contiguous, overlaps, or is read-only where
            the result goes.
    """
    given = recvbuf is not None and sendbuf is not MPI.IN_PLACE
    result = sendbuf if recvbuf is None else recvbuf
    recv = raw(Spec.of(result, "recvbuf").buffer, "recvbuf" if given else "the buffer")
    check_writable(recv)
    if not given:
        return True
    if not isinstance(sendbuf, (list, tuple)) or [*sendbuf][-1:] != [result[-1]]:
        raise ValueError("recvbuf has a datatype with gaps, sendbuf not the same: make them equal")
    return is_same(raw(Spec.of(sendbuf, "sendbuf").buffer, "sendbuf"), recv)


def type_name(dtype: np.dtype[Any], datatype: MPI.Datatype | None) -> str:
    """The type of a vector's elements in words."""
    return str(dtype) if datatype is None else datatype.name or "a datatype without a name"


def number_type(datatype: MPI.Datatype) -> np.dtype[Any] | None:
    """What numpy calls MPI's numbers; None for all else."""
    try:
        number = np.dtype(datatype.tocode())
    except ValueError:
        return None
    return number if number.char in _NUMBERS else None


def has_gaps(datatype: MPI.Datatype) -> bool:
    """Whether an element is not one piece of memory, so that it can not be copied as bytes."""
    dense = datatype.is_named or datatype.size == datatype.extent
    return datatype.lb != 0 or datatype.extent <= 0 or not dense


def is_gapped(given: Any) -> bool:
    """Whether a user's buffer has a datatype with gaps."""
    datatype = given[-1] if isinstance(given, (list, tuple)) and given else None
    return isinstance(datatype, MPI.Datatype) and has_gaps(datatype)


def _numbers(buffer: Any, name: str) -> np.ndarray:
    data = flat(buffer, name)
    dtype = data.dtype
    if dtype.char not in _NUMBERS and dtype.isbuiltin != 2:  # 2: bfloat16 and the like
        raise TypeError(
            f"{name} holds {dtype}, which MPI lacks: use a numpy array of numbers, "
            "or pass [array, datatype]"
        )
    return data


def _part(
    memory: np.ndarray, spec: Spec, length: int, extent: int, name: str, blocks: int
) -> np.ndarray:
    """What displacement and count leave of some memory."""
    start = _index(spec.displacement, name) * extent
    if spec.count is None:
        count, rest = divmod(length - start, extent)
    else:
        count, rest = _index(spec.count, name) * blocks, 0
    stop = start + count * extent
    if not 0 <= start <= stop <= length or rest:
        raise ValueError(
            f"{name} has {memory.nbytes} bytes, which is not the memory of {count} elements "
            f"of {extent * memory.itemsize} bytes: pass [buffer, count, datatype] that fits"
        )
    return memory[start:stop]


def _index(number: Any, name: str) -> int:
    try:
        return 0 if number is None else operator.index(number)
    except TypeError:
        raise TypeError(
            f"{name} says {number!r} where a number of elements belongs: pass [buffer, count, "
            "datatype], or a numpy array in place of a list"
        ) from None


def _each(numbers: Any, name: str, ranks: int) -> list[int]:
    """One number a rank."""
    if np.ndim(numbers) == 0:
        return [_index(numbers, name)] * ranks
    if len(numbers) != ranks:
        raise ValueError(f"{name} needs {ranks} counts and displacements, one a rank")
    return [_index(number, name) for number in numbers]


def _no_buffer(given: Any, name: str) -> TypeError:
    return TypeError(
        f"{name} is a {type(given).__name__} without a buffer: use a numpy array, "
        "or [array, datatype]"
    )


def _check_order(sendbuf: Any, recvbuf: Any) -> None:
    """Raise ValueError if one array lies in C order and the other one in Fortran order."""
    arrays = [_array(sendbuf, "sendbuf"), _array(recvbuf, "recvbuf")]
    for one, other in (arrays, arrays[::-1]):
        if one is None or other is None:
            return
        if one.flags.fnc and not other.flags.f_contiguous:
            raise ValueError(
                "of sendbuf and recvbuf one lies in C order and one in Fortran order: make "
                "recvbuf with np.empty_like(sendbuf)"
            )


def _array(given: Any, name: str) -> np.ndarray | None:
    """The array a user passes; None for other objects with a datatype of their own."""
    if isinstance(given, (list, tuple)):
        return given[0] if isinstance(given[0], np.ndarray) else None
    return array_of(given, name)
