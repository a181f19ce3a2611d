"""Shared-memory allreduce: buffers that all ranks of a node can access, and a plan that uses them.

The buffers are host memory in this module and GPU memory in `swing.executor.gpu.ipc`. No message
carries data, and no schedule or torus is involved. Every rank owns one block of the vector: it
reduces that block of all ranks' vectors, piece by piece, and writes the result to all ranks'
receive vectors. Barriers of empty messages synchronize the ranks: all send vectors are ready before
any is read, and all results are written before any rank returns.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from mmap import PAGESIZE, mmap
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.byte_cache import ByteCache
from swing.executor.buffers.memory import borrow
from swing.executor.plan.instruction import Instruction, Opcode, Place
from swing.executor.plan.plan import Plan

PIECE = 2**15
"""Bytes that are reduced at a time, so that this piece of all ranks' vectors fits in the cache."""

MIN_PIECE = 2**17
"""Bytes of the shortest vector for which shared memory was measured to be faster than messages."""


class Shared(np.ndarray):
    """An array in memory that the ranks of a node share, or a view of such an array."""


class Open(ABC):
    """A window: one range of memory per rank, all of which every rank can read and write.

    Args:
        starts: the address of each rank's memory in the address space of this process.
        nbytes: the number of bytes per rank.
        rank: this rank.
    """

    def __init__(self, starts: Sequence[int], nbytes: int, rank: int) -> None:
        self._starts, self._nbytes, self._rank = starts, nbytes, rank

    @abstractmethod
    def array(self, shape: Any, dtype: np.dtype[Any]) -> Any:
        """This rank's memory as an array."""

    @abstractmethod
    def free(self) -> None:
        """Free the memory as soon as no rank uses it; local, like freeing a communicator."""

    def offset(self, mine: np.ndarray) -> int | None:
        """The offset of this rank's vector in the window, in bytes; None if it is not inside."""
        offset = MPI.Get_address(mine) - self._starts[self._rank]
        return offset if 0 <= offset <= self._nbytes - mine.nbytes else None

    def vectors(self, mine: np.ndarray) -> list[np.ndarray] | None:
        """Every rank's vector at the offset of this rank's; None if it is not in the window.

        Equal offsets on all ranks are assumed, not checked.
        """
        offset = self.offset(mine)
        if offset is None:
            return None
        return [borrow(start + offset, len(mine), mine.dtype) for start in self._starts]


class Window(Open):
    """A window in host memory; made by `open_shared`.

    All ranks map one file that has no name any more, so that the system frees the memory when the
    last rank has neither the window nor an array in it.
    """

    def __init__(self, memory: mmap, stride: int, nbytes: int, comm: MPI.Intracomm) -> None:
        self._memory = np.frombuffer(memory, np.uint8)
        start = MPI.Get_address(self._memory)
        super().__init__([start + stride * r for r in range(comm.size)], nbytes, comm.rank)

    def array(self, shape: Any, dtype: np.dtype[Any]) -> Shared:
        """This rank's memory as an array."""
        first = self._starts[self._rank] - self._starts[0]
        mine = self._memory[first : first + self._nbytes]
        return mine.view(dtype).reshape(shape).view(Shared)

    def free(self) -> None:
        """Give up this rank's claim to the memory."""
        del self._memory


def open_shared(comm: MPI.Intracomm, nbytes: int) -> Window | None:
    """Allocate a window in host memory; collective.

    Args:
        comm: a communicator whose ranks are on one node.
        nbytes: the number of bytes per rank.

    Returns:
        The window; None on every rank if the ranks see no common folder or have too little memory.
    """
    # One page at least, so that every rank's memory has an address and pages of its own.
    stride = max(-(-nbytes // PAGESIZE), 1) * PAGESIZE
    path, memory = "", None
    if comm.rank == 0:
        folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with suppress(OSError):
            file, path = tempfile.mkstemp(prefix="swing-", dir=folder)
            with os.fdopen(file, "r+b") as opened:
                opened.truncate(stride * comm.size)
    path = comm.bcast(path)
    with suppress(OSError, ValueError), open(path, "r+b") as opened:
        if hasattr(os, "posix_fallocate"):  # else want of memory ends the process at its use
            os.posix_fallocate(opened.fileno(), stride * comm.rank, stride)
        memory = mmap(opened.fileno(), stride * comm.size)
    everyone_has_it: bool = comm.allreduce(memory is not None, MPI.LAND)
    if comm.rank == 0 and path:
        os.unlink(path)
    return Window(memory, stride, nbytes, comm) if memory and everyone_has_it else None


_plans = ByteCache[Plan](2**22, lambda plan: plan.code.nbytes)


def compile_shared(rank: int, ranks: int, count: int, piece: int) -> Plan:
    """The plan of one rank for an allreduce in memory that all ranks can access.

    Buffer q is the send vector of rank q, buffer ``ranks + q`` its receive vector, and the last
    buffer is scratch. The operands are always taken in rank order. With two ranks in place both
    operands are users' vectors, so the reduction must write nothing but its result. numpy's ufuncs
    satisfy this; reductions by ``MPI_Reduce_local`` do not.

    Args:
        rank: the rank whose plan it is.
        ranks: the number of ranks, at least two.
        count: the number of elements of the vector.
        piece: the number of elements that are reduced at a time.
    """
    key = rank, ranks, count, piece
    return _plans.get(key, lambda: _compile(*key))


def _compile(rank: int, ranks: int, count: int, piece: int) -> Plan:
    first, last = rank * count // ranks, (rank + 1) * count // ranks
    code = [*_meet(0, rank, ranks)]
    scratch = Place(2 * ranks, 0)
    for start in range(first, last, piece):
        length = min(piece, last - start)
        home = Place(ranks + rank, start)
        sum_ = Place(0, start)
        for q in range(1, ranks):
            # Partial sums stay in scratch: in place, ``home`` may be a vector still to be read.
            out = home if q == ranks - 1 else scratch
            code.append(Instruction(Opcode.REDUCE, 1, 0, 0, length, sum_, Place(q, start), out))
            sum_ = out
        for q in range(ranks):
            if q != rank:
                to = Place(ranks + q, start)
                code.append(Instruction(Opcode.COPY, 1, 0, 0, length, home, out=to))
    return Plan.of([*code, *_meet(2, rank, ranks)], count, min(piece, count), 2)


def _meet(step: int, rank: int, ranks: int) -> Iterator[Instruction]:
    """A dissemination barrier in ⌈log₂ ranks⌉ rounds [Hensgen, Finkel and Manber 1988].

    After round k a rank knows that the 2ᵏ ranks up to and including itself have arrived.
    """
    distance = 1
    while distance < ranks:
        yield Instruction(Opcode.SENDRECV, step, (rank + distance) % ranks)
        yield Instruction(Opcode.IRECV, step, (rank - distance) % ranks)
        distance *= 2


def find(windows: Sequence[Open], send: np.ndarray, recv: np.ndarray) -> list[np.ndarray] | None:
    """All ranks' send and receive vectors, as `compile_shared` numbers them, without the scratch.

    Returns:
        None if ``send`` or ``recv`` is in none of the windows.
    """
    buffers = []
    for vector in (send, recv):
        vectors = next(filter(None, (window.vectors(vector) for window in windows)), None)
        if vectors is None:
            return None
        buffers += vectors
    return buffers
