"""Windows of a communicator: the memory of `swing.alloc`, and the programs that reduce in it."""

from __future__ import annotations

import math
import operator
import sys
from functools import cached_property
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.byte_cache import ByteCache
from swing.checks import shown
from swing.executor.buffers.memory import borrow
from swing.executor.buffers.reductions import Reduction
from swing.executor.engines.compiled import Bound, Compiled, why_plain
from swing.executor.engines.plain import Program, bind
from swing.executor.gpu.device import empty
from swing.executor.gpu.ipc import open_window
from swing.executor.plan.shared import MIN_PIECE, PIECE, Open, compile_shared, find, open_shared
from swing.executor.session.call import AlgorithmSpec
from swing.executor.session.duplicate import Duplicate


def _nbytes(program: Program | None) -> int:
    return sum(call.compiled.nbytes if isinstance(call, Bound) else 512 for call in program or ())


def check_array(comm: MPI.Intracomm, shape: Any, dtype: Any) -> tuple[tuple[int, ...], Any]:
    """Check what one rank asks of `swing.alloc`, before it waits for the others.

    Returns:
        The shape as a tuple, and the type as numpy's.

    Raises:
        TypeError: a shape without integers, or a type that numpy lacks or that holds objects.
        ValueError: a negative length, or more bytes than there are addresses.
    """
    try:
        lengths = tuple(map(operator.index, shape if np.ndim(shape) else [shape]))
    except TypeError:
        raise TypeError(f"pass shape= as integers from 0 up, not {shown(shape)}") from None
    if min(lengths, default=0) < 0:
        raise ValueError(f"pass shape= as integers from 0 up, not {shown(shape)}")
    numbers = np.dtype(dtype)
    if numbers.hasobject:
        raise TypeError(f"other ranks cannot read {numbers} elements: pass dtype= of numbers")
    if math.prod(lengths) * numbers.itemsize * comm.size > sys.maxsize // 2:
        raise ValueError(f"no memory can hold shape={shown(shape)}: ask for fewer elements")
    return lengths, numbers


class Windows:
    """The memory that `swing.alloc` has allocated on one communicator.

    Args:
        comm: the private communicator.
        tag: (1,) the tag of the messages by which ranks synchronize.
        duplicate: a communicator for MPI's own collectives.
    """

    def __init__(self, comm: MPI.Intracomm, tag: np.ndarray, duplicate: Duplicate) -> None:
        self._comm, self._tag, self._duplicate = comm, tag, duplicate
        self._windows: list[Open] = []
        self._programs = ByteCache[Program | None](2**22, _nbytes)

    def __len__(self) -> int:
        return len(self._windows)

    def alloc(self, shape: tuple[int, ...], dtype: np.dtype[Any], gpu: bool) -> Any:
        """Allocate an array that the other ranks can read and write; collective.

        For the arguments see `check_array`, which has checked them.
        """
        window: Open | None = None
        if self._comm.size > 1 and self._is_one_node:
            nbytes = math.prod(shape) * dtype.itemsize
            window = (open_window if gpu else open_shared)(self._duplicate.get(), nbytes)
        if window is None:
            return empty(shape, dtype) if gpu else np.empty(shape, dtype)
        self._windows.append(window)
        # Drop the results by which these addresses are in no window: ordinary memory may have been
        # there before.
        self._programs.clear()
        return window.array(shape, dtype)

    @cached_property
    def _is_one_node(self) -> bool:
        """Whether all ranks are on one node; the first call is collective."""
        node = self._duplicate.get().Split_type(MPI.COMM_TYPE_SHARED)
        is_only = node.size == self._comm.size
        node.Free()
        return is_only

    def program(
        self, spec: AlgorithmSpec, send: np.ndarray, recv: np.ndarray, reduce: Reduction
    ) -> Program | None:
        """Return the program for vectors in windows, or None if messages are to be used.

        All ranks must decide alike, so the decision depends only on facts that they share.
        """
        if spec[0] != "auto" or not isinstance(reduce, np.ufunc) or recv.nbytes < MIN_PIECE:
            return None
        key = MPI.Get_address(send), MPI.Get_address(recv), len(recv), recv.dtype, reduce
        return self._programs.get(key, lambda: self._program(*key))

    def _program(
        self, send: int, recv: int, count: int, dtype: np.dtype[Any], reduce: Reduction
    ) -> Program | None:
        """Return the program for vectors at two addresses; see `program`."""
        memory = find(self._windows, *(borrow(address, count, dtype) for address in (send, recv)))
        if memory is None:
            return None
        rank, ranks = self._comm.rank, self._comm.size
        plan = compile_shared(rank, ranks, count, max(1, PIECE // dtype.itemsize))
        memory.append(np.empty(plan.scratch, dtype))
        if why_plain(dtype, reduce):
            return bind(plan, memory, reduce, self._comm, int(self._tag[0]))
        compiled = Compiled(plan, dtype, reduce, self._comm, self._tag)
        compiled.place(memory)
        return [Bound(compiled, 0, 0, 0)]

    def find(self, spec: AlgorithmSpec, send: np.ndarray, recv: np.ndarray) -> Any:
        """Return all ranks' vectors if they are to be reduced where they lie, else None."""
        return find(self._windows, send, recv) if spec[0] == "auto" else None

    def places(self, *vectors: np.ndarray) -> str:
        """Describe the positions of vectors in the windows."""
        positions = (
            f"array {i} of swing.alloc from byte {offset} on"
            for vector in vectors
            for i, window in enumerate(self._windows)
            if (offset := window.offset(vector)) is not None
        )
        return ", ".join(positions)

    def free(self) -> None:
        """Free all windows; local, like freeing a communicator."""
        self._programs.clear()
        while self._windows:
            self._windows.pop().free()
