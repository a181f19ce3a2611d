"""Prepare plans for the compiled engine, which runs them without a Python call per instruction.

numba compiles a single loop over instructions (`swing.executor.engines.jit`), which serves every
plan and element type: it calls MPI's functions by address, and likewise the reductions, which are
numpy's own loops (see `swing.executor.engines.ufunc_loops`) or ``MPI_Reduce_local``. So the results
have the same bits as those of the plain engine.

This module fills the memory that the loop reads. It needs numba and an MPI library that
`swing.executor.mpi_abi` knows, and it supports neither deadlines nor a user's own operations;
`why_plain` gives the reason where the plain engine has to be used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.byte_cache import ByteCache
from swing.compilation import collector_paused, quiet
from swing.executor.buffers.reductions import Local, Reduction
from swing.executor.engines import abi_layout as word
from swing.executor.engines.messages import Message, abandon, undelivered
from swing.executor.engines.plain import Memory
from swing.executor.engines.ufunc_loops import loop_of
from swing.executor.engines.wait import policy
from swing.executor.mpi_abi import library
from swing.executor.plan.instruction import Opcode
from swing.executor.plan.plan import Plan
from swing.settings import ENGINE
from swing.torus import Array
from swing.waiting import Policy

_MOVE = ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0


@cache
def runner() -> Callable[..., int]:
    """The function ``run(state, send, recv, scratch, like)`` of `swing.executor.engines.jit`.

    Raises:
        ImportError: numba is missing.
    """
    if MPI.COMM_WORLD.rank:
        quiet()  # one warning about numba's cache, not one per rank
    with collector_paused():
        # numba is optional, and importing it takes half a second.
        from swing.executor.engines.jit import run
    typed_run: Callable[..., int] = run
    return typed_run


def why_plain(dtype: np.dtype[Any], reduce: Reduction) -> str:
    """The reason why the plain engine has to be used; empty if the compiled engine is possible.

    The environment variable SWING_ENGINE forces one of them, "plain" or "compiled".

    Args:
        dtype: the type of the elements.
        reduce: the reduction.

    Raises:
        ValueError: SWING_ENGINE has another value, or it is "compiled" and that is impossible.
    """
    engine = ENGINE.get()
    if engine == "plain":
        return "SWING_ENGINE says so"
    reason = _why_not_compiled(dtype, reduce)
    if reason and engine:
        raise ValueError(f"SWING_ENGINE=compiled, but {reason}: unset SWING_ENGINE")
    return reason


@lru_cache(256)
def _why_not_compiled(dtype: np.dtype[Any], reduce: Reduction) -> str:
    if isinstance(reduce, Local):
        if not reduce.op.is_predefined:
            return "the operation is the user's own"
        if reduce.comm is not None:
            return "the elements do not lie densely in memory"
    elif not isinstance(reduce, np.ufunc) or loop_of(reduce, dtype) is None:
        return f"numpy has no loop of {dtype} that can be called by address"
    if library() is None:
        return "this MPI library is of no known kind"
    try:
        with collector_paused():
            import numba
        if getattr(numba.config, "DISABLE_JIT", 0):
            return "NUMBA_DISABLE_JIT is set"
        runner()
    except ImportError:
        return "numba is missing"
    return ""


class Compiled:
    """A plan that the compiled engine can run on any memory.

    Args:
        plan: the plan of this rank.
        dtype: the type of the elements.
        reduce: the reduction; `why_plain` must be empty for it and ``dtype``.
        comm: a communicator whose error handler is ``MPI.ERRORS_RETURN``.
        tag: (1,) int64, the tag of all messages, which is read when the plan is run.
        waiting: how to wait; the policy of the process if None.

    Attributes:
        state: the address of the memory that the compiled loop reads. It is valid as long as this
            object lives.
    """

    def __init__(
        self,
        plan: Plan,
        dtype: np.dtype[Any],
        reduce: Reduction,
        comm: MPI.Intracomm,
        tag: np.ndarray,
        waiting: Policy | None = None,
    ) -> None:
        self._run, self._like = runner(), _like()
        self._code, words = _prepared.get(
            (plan, dtype, reduce), lambda: _prepare(plan, dtype, reduce)
        )
        # The arguments of a numpy loop: three operands, the count, and from word 4 on the strides,
        # which are set once here.
        self._work = np.full(8, dtype.itemsize)
        # Null requests, so that `_abandon` finds nothing pending in slots that were never used.
        self._requests = np.full(plan.slots, _handle(MPI.REQUEST_NULL), type(self._like))
        self._state, self._tag = words.copy(), tag
        for at, value in (
            (word.WORK, MPI.Get_address(self._work)),
            (word.REQUESTS, MPI.Get_address(self._requests)),
            (word.COMM, _handle(comm)),
            (word.TAG, MPI.Get_address(tag)),
            *_pause(waiting or policy()).items(),
        ):
            self._state[at] = value
        self.state: int = MPI.Get_address(self._state)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it keeps, some of which it shares with others of the same plan."""
        own = self._state.nbytes + self._work.nbytes + self._requests.nbytes
        return own + self._code.nbytes

    def place(self, memory: Memory) -> None:
        """Bind the plan to its buffers permanently; `run` then takes 0 for all three addresses.

        A plan on shared memory has more than three buffers: it can only be run this way.
        """
        self._memory = memory  # keeps it alive
        self._code = self._code.copy()
        self._state[word.CODE] = MPI.Get_address(self._code)
        starts = np.array([MPI.Get_address(each) for each in memory])
        for operand in ("a", "b", "out"):
            self._code[f"{operand}_at"] += starts[self._code[f"{operand}_buffer"]]
            self._code[f"{operand}_buffer"] = 0

    def run(self, send: int, recv: int, scratch: int) -> None:
        """Run the plan on the buffers at these addresses.

        Raises:
            RuntimeError: MPI could not deliver a message.
        """
        error = self._run(self.state, send, recv, scratch, self._like)
        if error:
            self.fail(error)

    def fail(self, error: int) -> None:
        """Release all pending requests and raise an exception for an MPI error code.

        Raises:
            MPI.Exception: the error of a reduction.
            RuntimeError: MPI could not deliver a message.
        """
        row = int(self._state[word.FAILED]) // self._code.strides[0]
        do, step, slot, length = (
            int(self._code[row][name]) for name in ("do", "step", "slot", "length")
        )
        if do == Opcode.REDUCE:
            self._abandon(row)
            raise MPI.Exception(error)
        if do == Opcode.WAIT:
            # Slots are used again by later pieces, so take the last receives before the WAIT.
            before = self._code[:row]
            is_awaited = (before["step"] == step) & (before["do"] == Opcode.IRECV)
            is_awaited &= (before["slot"] >= slot) & (before["slot"] < slot + length)
            blamed = before[is_awaited][-length:]
        else:
            # An IRECV, which may be the second row of a SENDRECV, or an operation without receives.
            blamed = self._code[row : row + (do == Opcode.IRECV)]
        self._abandon(row)
        nothing = np.empty(0, np.uint8)
        columns = zip(blamed["length"].tolist(), blamed["peer"].tolist(), strict=True)
        recvs = [Message((nothing, n, MPI.BYTE), peer) for n, peer in columns]
        raise undelivered(step, recvs) from MPI.Exception(error)

    def _abandon(self, row: int) -> None:
        """Release the requests that are pending after an error in a row of the code."""
        requests: dict[int, list[MPI.Request]] = {Opcode.IRECV: [], Opcode.ISEND: []}
        # The last operation that used each slot. Slots of completed operations hold a null request,
        # which `abandon` finds completed.
        begun = self._code[: row + 1]
        columns = zip(begun["slot"].tolist(), begun["do"].tolist(), strict=True)
        last = {slot: do for slot, do in columns if do in requests}
        if Opcode.SENDRECV in begun["do"]:  # where MPI does not wait, two requests
            last |= {0: Opcode.IRECV, 1: Opcode.ISEND} | last
        for slot, do in last.items():
            # mpi4py takes handles as unsigned numbers.
            handle = int(self._requests[slot]) % 2 ** (8 * self._requests.itemsize)
            requests[do].append(MPI.Request.fromhandle(handle))
        recvs, sends = requests[Opcode.IRECV], requests[Opcode.ISEND]
        abandon([*recvs, *sends], len(recvs))
        self._requests[:] = _handle(MPI.REQUEST_NULL)


_prepared = ByteCache[tuple[np.ndarray, Array]](2**22, lambda value: 2 * value[0].nbytes)
"""The results of `_prepare`, counted with the plans, which are kept alive as keys."""


def _prepare(plan: Plan, dtype: np.dtype[Any], reduce: Reduction) -> tuple[np.ndarray, Array]:
    """The code of a plan as compiled code reads it, and the words of its state but for four.

    These four belong to a communicator or to memory: WORK, REQUESTS, COMM and TAG.
    """
    mpi = library()
    assert mpi is not None
    code = plan.code.copy()
    # Compiled code adds byte offsets to addresses: convert the positions of the three operands, and
    # the lengths. The length of a WAIT stays as it is, a number of requests.
    for name in ("a_at", "b_at", "out_at"):
        code[name] *= dtype.itemsize
    code["length"][code["do"] != Opcode.WAIT] *= dtype.itemsize
    words = {
        word.CODE: MPI.Get_address(code),
        word.ROWS: len(code),
        word.BYTE: _handle(MPI.BYTE),
        word.MOVE: _MOVE,
        word.IGNORE: mpi.ignore,
    }
    names = (
        word.ISEND, word.IRECV, word.SENDRECV, word.WAITALL, word.TESTALL, word.REDUCE_LOCAL
    )  # fmt: skip
    words |= dict(zip(names, mpi.functions, strict=True))
    if isinstance(reduce, Local):
        words[word.DATATYPE] = _handle(reduce.datatype)
        words[word.OPERATION] = _handle(reduce.op)
    elif isinstance(reduce, np.ufunc) and (loop := loop_of(reduce, dtype)):
        words[word.LOOP], words[word.LOOP_DATA] = loop
    state = np.zeros(word.STATE, np.int64)
    for at, value in words.items():
        state[at] = value
    return code, state


def _pause(way: Policy) -> dict[int, int]:
    """The words of the state that say how to wait; none if MPI does the waiting."""
    if way.spins:
        return {}
    pause = "usleep" if way.nap else "sched_yield"  # the latter ignores its argument
    addresses = (
        ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
        for name in (pause, "clock_gettime")
    )
    words = dict(zip((word.PAUSE, word.CLOCK), addresses, strict=True))
    spin = round(min(way.spin * 1e9, 2.0**62))
    return words | {word.NAP: round(way.nap * 1e6), word.SPIN: spin}


@cache
def _like() -> np.signedinteger[Any]:
    """A zero as wide as a handle."""
    mpi = library()
    assert mpi is not None
    return np.int32(0) if mpi.handle == 4 else np.int64(0)


@dataclass(frozen=True)
class Bound:
    """A compiled plan and the addresses of its buffers; call it to run the plan."""

    compiled: Compiled
    send: int
    recv: int
    scratch: int

    def __call__(self) -> None:
        """Run the plan; raises RuntimeError as `Compiled.run` does."""
        self.compiled.run(self.send, self.recv, self.scratch)


def _handle(of: MPI.Datatype | MPI.Op | MPI.Comm | MPI.Request) -> int:
    """An MPI handle as a signed 64-bit word; mpi4py returns it unsigned."""
    return ctypes.c_int64(MPI._handleof(of)).value
