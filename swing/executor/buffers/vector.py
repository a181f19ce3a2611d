"""Vectors: the elements of a buffer as messages and reductions see them, dense in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers import memory
from swing.executor.buffers.datatypes import type_name
from swing.executor.buffers.layout import Layout

_PADDED = np.finfo(np.longdouble).nmant == 63
"""Whether a long double has 10 bytes of data, as on x86; the other bytes are padding."""


@dataclass(frozen=True, eq=False)
class Vector:
    """The elements of one buffer.

    Args:
        elements: (count,) the elements: in the user's memory if they are dense there, else a copy.
            If numpy lacks their type, they are raw bytes (numpy.void).
        datatype: their MPI type; None if MPI lacks it.
        layout: how they lie in the user's memory; None if they are dense there.
        address: the address of displacement 0 of the layout.
        owner: the user's memory, which is kept alive.
    """

    elements: np.ndarray
    datatype: MPI.Datatype | None
    layout: Layout | None = None
    address: int = 0
    owner: Any = None

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def type_name(self) -> str:
        """The name of the elements' type."""
        return type_name(self.elements.dtype, self.datatype)

    def head(self, count: int) -> Vector:
        """The first elements."""
        elements = self.elements[:count]
        if self.layout is None or self.datatype is None:
            return Vector(elements, self.datatype)
        layout = Layout(self.datatype, [count], [0], self.layout.comm)
        return Vector(elements, self.datatype, layout, self.address, self.owner)

    def before(self) -> list[Callable[[], None]]:
        """What has to be called before the elements are read."""
        if self.layout is None:
            return []
        return [partial(self.layout.pack, self.address, self.elements)]

    def after(self) -> list[Callable[[], None]]:
        """What has to be called after a reduction has written the elements.

        The calls do not keep the user's memory alive.
        """
        if self.layout is not None:
            return [partial(self.layout.unpack, self.elements, self.address)]
        dtype = self.elements.dtype
        if dtype.char in "gG" and _PADDED:
            # The padding is what happened to be in memory: on all ranks it shall be the same.
            address = MPI.Get_address(self.elements)
            elements = memory.borrow(address, len(self.elements), dtype)
            return [partial(_clear, elements.view(np.uint8).reshape(-1, 16)[:, 10:])]
        return []


def _clear(padding: np.ndarray) -> None:
    padding[:] = 0


def check_types(send: Vector, recv: Vector) -> None:
    """Check that the send vector and the receive vector have elements of the same type.

    Raises:
        ValueError: the types differ.
    """
    types = send.elements.dtype, recv.elements.dtype
    numbers = all(dtype.kind != "V" or dtype.isbuiltin == 2 for dtype in types)
    if not (types[0] == types[1] if numbers else send.datatype == recv.datatype):
        raise ValueError(
            f"sendbuf holds {send.type_name} and recvbuf {recv.type_name}: make them equal"
        )


def check_apart(send: Vector, recv: Vector) -> None:
    """Check that two vectors share no memory.

    Raises:
        ValueError: they overlap.
    """
    bounds = [_bounds(vector) for vector in (send, recv)]
    first, last = max(start for start, _ in bounds), min(end for _, end in bounds)
    if first < last and np.logical_and(*(_used(v, first, last) for v in (send, recv))).any():
        raise ValueError(
            "sendbuf and recvbuf overlap: pass one buffer, or MPI.IN_PLACE as sendbuf, to work in "
            "place"
        )


def _bounds(vector: Vector) -> tuple[int, int]:
    """The addresses of the first byte of a vector in the user's memory and of the end."""
    if vector.layout is None:
        start = MPI.Get_address(vector.elements)
        return start, start + vector.elements.nbytes
    low, end = vector.layout.bounds()
    return vector.address + low, vector.address + end


def _used(vector: Vector, first: int, last: int) -> np.ndarray:
    """Whether each byte between two addresses within the bounds is a vector's data."""
    if vector.layout is None:
        return np.ones(last - first, bool)
    start, _ = _bounds(vector)
    return vector.layout.bytes_used()[first - start : last - start]
