"""Compiled: a plan made ready for the compiled engine, for elements of a type and an operation.

numba compiles one loop over the instructions, for any plan, type and operation: reductions are
numpy's own loops (see `swing.executor.engines.ufunc_loops`) or MPI's, called by address like MPI's
functions. So the bits are the plain engine's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.compilation import quiet
from swing.executor.buffers.reductions import Local, Reduction
from swing.executor.engines import abi_layout as word
from swing.executor.engines.plain import Memory, Message, abandon, undelivered
from swing.executor.engines.ufunc_loops import loop_of
from swing.executor.mpi_abi import library
from swing.executor.plan.instruction import Opcode
from swing.executor.plan.plan import Plan

_MOVE = ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0


@cache
def runner() -> Callable[..., int]:
    """The compiled loop: ``run(state, send, recv, scratch, like)``; ImportError without numba."""
    if MPI.COMM_WORLD.rank:
        quiet()
    from swing.executor.engines.jit import run

    found: Callable[..., int] = run
    return found


def why_plain(dtype: np.dtype[Any], reduce: Reduction) -> str:
    """Why the plain engine has to do it; empty if the compiled one can.

    The environment variable SWING_ENGINE=plain or =compiled forces one of them.

    Raises:
        ValueError: SWING_ENGINE is neither, or it is "compiled" and that can not be.
    """
    spec = os.environ.get("SWING_ENGINE", "")
    if spec not in ("", "plain", "compiled"):
        raise ValueError(f"SWING_ENGINE is {spec!r}: set it to plain or compiled, or not at all")
    if spec == "plain":
        return "SWING_ENGINE says so"
    reason = _why_not(dtype, reduce)
    if reason and spec:
        raise ValueError(f"SWING_ENGINE=compiled, but {reason}: unset SWING_ENGINE")
    return reason


def _why_not(dtype: np.dtype[Any], reduce: Reduction) -> str:
    if isinstance(reduce, Local):
        if not reduce.op.is_predefined:
            return "the operation is the user's own"
    elif not isinstance(reduce, np.ufunc) or loop_of(reduce, dtype) is None:
        return f"numpy has no loop of {dtype} that can be called by address"
    found = library()
    if found is None:
        return "this MPI library is of no known kind"
    try:
        runner()
    except ImportError:
        return "numba is missing"
    return ""


class Compiled:
    """A plan that the compiled engine can run on any memory.

    Args:
        plan: of this rank.
        dtype, reduce: for which `why_plain` has no reason.
        comm: errors are returned on it.
    """

    def __init__(
        self, plan: Plan, dtype: np.dtype[Any], reduce: Reduction, comm: MPI.Intracomm
    ) -> None:
        found = library()
        assert found is not None
        self._run = runner()
        self._like = np.int32(0) if found.handle == 4 else np.int64(0)
        self._code = plan.code.copy()
        bytes_ = self._code[:, 6::2]  # where elements are
        bytes_ *= dtype.itemsize
        self._code[self._code[:, 0] != Opcode.WAIT, 4] *= dtype.itemsize
        self._work = np.full(8, dtype.itemsize)
        kind = np.int32 if found.handle == 4 else np.int64
        self._requests = np.full(plan.slots, _handle(MPI.REQUEST_NULL), kind)
        self._state = np.zeros(word.STATE, np.int64)
        words = {
            word.CODE: self._code.ctypes.data,
            word.ROWS: len(self._code),
            word.WORK: self._work.ctypes.data,
            word.REQUESTS: self._requests.ctypes.data,
            word.COMM: _handle(comm),
            word.BYTE: _handle(MPI.BYTE),
            word.MOVE: _MOVE,
            word.IGNORE: found.ignore,
        }
        names = word.ISEND, word.IRECV, word.SENDRECV, word.WAITALL, word.REDUCE_LOCAL
        words |= dict(zip(names, found.functions, strict=True))
        if isinstance(reduce, Local):
            words[word.DATATYPE] = _handle(reduce.datatype)
            words[word.OPERATION] = _handle(reduce.op)
        elif isinstance(reduce, np.ufunc) and (loop := loop_of(reduce, dtype)):
            words[word.LOOP], words[word.LOOP_DATA] = loop
        for at, value in words.items():
            self._state[at] = value
        self.state: int = self._state.ctypes.data

    def place(self, memory: Memory) -> None:
        """Put the plan's buffers there for good: it is to be run with 0 for all addresses."""
        self._memory = memory
        starts = np.array([MPI.Get_address(each) for each in memory])
        for column in (5, 7, 9):
            self._code[:, column + 1] += starts[self._code[:, column]]
            self._code[:, column] = 0

    def run(self, send: int, recv: int, scratch: int) -> None:
        """Carry it out on memory at some addresses.

        Raises:
            RuntimeError: MPI could not deliver a message.
        """
        error = self._run(self.state, send, recv, scratch, self._like)
        if error:
            self.fail(error)

    def fail(self, error: int) -> None:
        """Leave no request behind, and raise what went wrong."""
        row = int(self._state[word.FAILED]) // self._code.strides[0]
        do, step, _, slot, length = self._code[row, :5].tolist()
        if do == Opcode.SENDRECV:
            blamed = self._code[row + 1 : row + 2]
        elif do == Opcode.WAIT:
            before = self._code[:row]
            some = (before[:, 1] == step) & (before[:, 0] == Opcode.IRECV)
            some &= (before[:, 3] >= slot) & (before[:, 3] < slot + length)
            blamed = before[some][-length:]
        else:
            blamed = self._code[row : row + (do == Opcode.IRECV)]
        self._abandon(row)
        nothing = np.empty(0, np.uint8)
        recvs = [Message((nothing, n, MPI.BYTE), peer) for _, _, peer, _, n, *_ in blamed.tolist()]
        raise undelivered(step, recvs) from MPI.Exception(error)

    def _abandon(self, row: int) -> None:
        """Leave no request behind, after an error in some row."""
        under_way: dict[int, list[MPI.Request]] = {Opcode.IRECV: [], Opcode.ISEND: []}
        last = {
            slot: do for do, _, _, slot, *_ in self._code[: row + 1].tolist() if do in under_way
        }
        for slot, do in last.items():
            under_way[do].append(MPI.Request.fromhandle(int(self._requests[slot])))
        abandon([*under_way[Opcode.IRECV], *under_way[Opcode.ISEND]], len(under_way[Opcode.IRECV]))
        self._requests[:] = _handle(MPI.REQUEST_NULL)


@dataclass(frozen=True)
class Bound:
    """A plan and addresses to run it on."""

    compiled: Compiled
    send: int
    recv: int
    scratch: int

    def __call__(self) -> None:
        """Run it."""
        self.compiled.run(self.send, self.recv, self.scratch)


def _handle(of: MPI.Datatype | MPI.Op | MPI.Comm | MPI.Request) -> int:
    """A handle as a signed word."""
    return ctypes.c_int64(MPI._handleof(of)).value
