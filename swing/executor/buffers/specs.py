"""Parse buffer specifications, as mpi4py takes them: ``[buffer, count, datatype]`` and the like."""

from __future__ import annotations

import operator
import sys
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from swing.checks import shown
from swing.executor.buffers.datatypes import CODES, datatype_of
from swing.executor.buffers.layout import Layout
from swing.executor.buffers.memory import flat

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


def element_type(buf: Any, name: str) -> MPI.Datatype | None:
    """The MPI type of a buffer's elements; None if MPI lacks it.

    Raises:
        TypeError, ValueError: see `vectors`.
    """
    spec = Spec.of(buf, name)
    return spec.datatype or datatype_of(elements_of(spec.buffer, name).dtype)


def elements_of(buffer: Any, name: str) -> np.ndarray:
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


def address_of(memory: np.ndarray, spec: Spec) -> int:
    """The address from which a specification's displacements count: 0 without memory."""
    return 0 if spec.buffer is NOWHERE else MPI.Get_address(memory)


def layout_of(
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


def index(number: Any, name: str) -> int:
    """A count or displacement of elements; None is 0."""
    try:
        return 0 if number is None else operator.index(number)
    except TypeError:
        raise TypeError(
            f"{name} has {number!r} in place of a number of elements: pass [buffer, count, "
            "datatype], or a numpy array instead of a list"
        ) from None


def each(numbers: Any, name: str, ranks: int) -> list[int]:
    """One number per rank."""
    if np.ndim(numbers) == 0:
        return [index(numbers, name)] * ranks
    if len(numbers) != ranks:
        raise ValueError(f"{name} needs {ranks} counts and displacements, one per rank")
    return [index(number, name) for number in numbers]


def _no_buffer(buf: Any, name: str) -> TypeError:
    return TypeError(
        f"{name} is a {type(buf).__name__} without a buffer: use a numpy array, "
        "or [array, datatype]"
    )
