"""Shared: buffers that all ranks of a node can read and write, and an allreduce in them.

They are host memory here, and a GPU's in `swing.executor.gpu.ipc`. No message carries data, and no
schedule is run. Every rank owns one block: it adds up that block of all ranks' vectors, piece by
piece, and writes the sum to all of them. Messages without contents keep the ranks together: all
vectors are ready before the first is read, and all sums are written before a rank goes on. This is
for the ranks of one node, and no allreduce on a torus.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.memory import borrow
from swing.executor.plan.instruction import Instruction, Opcode, Place
from swing.executor.plan.plan import Plan

PIECE = 2**15
"""Bytes that are added up at a time: what all ranks have of it is in the cache together."""

MIN_PIECE = 2**17
"""Bytes of a vector from which on this has been measured to be faster than messages."""


class Shared(np.ndarray):
    """An array in memory that the ranks of a node share, or a view of one."""


class Open(ABC):
    """Memory of all ranks that lies open to all of them.

    Args:
        starts: its addresses, by rank, as this rank sees them.
        nbytes: of every rank.
        rank: whose array is made here.
    """

    def __init__(self, starts: Sequence[int], nbytes: int, rank: int) -> None:
        self._starts, self._nbytes, self._rank = starts, nbytes, rank
        self._root: weakref.ref[Any] | None = None

    @abstractmethod
    def array(self, shape: Any, dtype: np.dtype[Any]) -> Any:
        """This rank's memory; once."""

    @abstractmethod
    def free(self) -> None:
        """Give the memory back; collective."""

    @property
    def in_use(self) -> bool:
        """Whether this rank's array or a view of it is still there."""
        return self._root is not None and self._root() is not None

    def offset(self, mine: np.ndarray) -> int | None:
        """Where in here a vector of this rank begins, in bytes; None if it is not in here."""
        offset = MPI.Get_address(mine) - self._starts[self._rank]
        return offset if 0 <= offset <= self._nbytes - mine.nbytes else None

    def vectors(self, mine: np.ndarray) -> list[np.ndarray] | None:
        """What all ranks have where this rank has a vector; None if it is not in here."""
        offset = self.offset(mine)
        if offset is None:
            return None
        return [borrow(start + offset, len(mine), mine.dtype) for start in self._starts]


class Window(Open):
    """The same in host memory; collective.

    Args:
        comm: its ranks share memory.
        nbytes: of every rank.
    """

    def __init__(self, comm: MPI.Intracomm, nbytes: int) -> None:
        self._window = MPI.Win.Allocate_shared(max(nbytes, 1), 1, comm=comm)
        self._window.Lock_all(MPI.MODE_NOCHECK)
        memory = [self._window.Shared_query(rank)[0] for rank in range(comm.size)]
        super().__init__([memory_.address for memory_ in memory], nbytes, comm.rank)

    def array(self, shape: Any, dtype: np.dtype[Any]) -> Shared:
        """This rank's memory."""
        root = borrow(self._starts[self._rank], self._nbytes, np.dtype(np.uint8)).base
        assert isinstance(root, np.ndarray)
        self._root = weakref.ref(root)  # the base of all views, however they were made
        return root.view(dtype).reshape(shape).view(Shared)

    def free(self) -> None:
        """Give the memory back; collective."""
        self._window.Unlock_all()
        self._window.Free()


@lru_cache(64)
def compile_shared(rank: int, ranks: int, count: int, piece: int) -> Plan:
    """The plan of one rank; every rank has the same buffers.

    Buffer q is rank q's vector, buffer ``ranks + q`` where its sum goes, the last one scratch.

    Args:
        rank: whose plan.
        ranks: how many there are, at least two.
        count: elements of the vector.
        piece: elements that are added up at a time.
    """
    first, last = rank * count // ranks, (rank + 1) * count // ranks
    code = [*_meet(0, rank, ranks)]
    scratch = Place(2 * ranks, 0)
    for start in range(first, last, piece):
        length = min(piece, last - start)
        home = Place(ranks + rank, start)
        sum_ = Place(0, start)
        for q in range(1, ranks):
            out = home if q == ranks - 1 else scratch
            code.append(Instruction(Opcode.REDUCE, 1, 0, 0, length, sum_, Place(q, start), out))
            sum_ = out
        for q in range(ranks):
            if q != rank:
                to = Place(ranks + q, start)
                code.append(Instruction(Opcode.COPY, 1, 0, 0, length, home, out=to))
    return Plan.of([*code, *_meet(2, rank, ranks)], count, min(piece, count), 2)


def _meet(step: int, rank: int, ranks: int) -> Iterator[Instruction]:
    """Wait for all ranks: who has heard of 2ᵏ of them tells the 2ᵏ-th next one."""
    distance = 1
    while distance < ranks:
        yield Instruction(Opcode.SENDRECV, step, (rank + distance) % ranks)
        yield Instruction(Opcode.IRECV, step, (rank - distance) % ranks)
        distance *= 2


def find(windows: Sequence[Open], send: np.ndarray, recv: np.ndarray) -> list[np.ndarray] | None:
    """The buffers of a plan, scratch aside, for vectors in these windows; None if they are not."""
    found = []
    for vector in (send, recv):
        vectors = next(filter(None, (window.vectors(vector) for window in windows)), None)
        if vectors is None:
            return None
        found += vectors
    return found
