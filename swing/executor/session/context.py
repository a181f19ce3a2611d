"""What is kept with a communicator: a private duplicate of it, plans, and bound programs.

The duplicate keeps our messages and the user's apart: a pending ``Irecv(ANY_SOURCE, ANY_TAG)``
on the user's communicator would take ours. It is an attribute of the communicator and is freed
with it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import copy_context
from functools import cache, lru_cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.memory import borrow, is_same
from swing.executor.buffers.reductions import Reduction
from swing.executor.engines.compiled import Bound, Compiled, why_plain
from swing.executor.engines.plain import Deadline, Program, bind, run
from swing.executor.engines.progress import Operation, Rounds
from swing.executor.gpu.device import STAGED_BYTES, Copies, empty
from swing.executor.gpu.gpu_aware import Direct
from swing.executor.gpu.ipc import IPC, open_window
from swing.executor.gpu.nccl import NCCL, Nccl
from swing.executor.gpu.staging import stage
from swing.executor.plan.plan import Plan
from swing.executor.plan.shared import MIN_PIECE, PIECE, Open, Window, compile_shared, find
from swing.executor.session.call_cache import Entry, known_calls
from swing.executor.session.layouts import BlockLayouts
from swing.executor.session.planner import AlgorithmSpec, Planner

_PROGRAMS = 64  # compiled; the least recently used one is dropped


class Context:
    """One communicator's private duplicate, and what was made for it."""

    def __init__(self, comm: MPI.Intracomm, deadline: Deadline | None = None) -> None:
        self.comm = _duplicate(comm, deadline)
        self.comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.planner = Planner(self.comm)
        self.blocks = BlockLayouts(self.planner, self.comm.rank)
        self._scratch = np.empty(0, np.uint8)
        self.compiled = lru_cache(_PROGRAMS)(self._compiled)
        self.shared = lru_cache(_PROGRAMS)(self._shared)
        # Compiled code runs without the GIL, while another thread's call may take its place in
        # the table of calls: what it runs on is kept here too.
        self.noted: dict[int, Entry] = {}
        self._under_way: set[Operation] = set()
        self._windows: list[Open] = []
        self._nccl: Nccl | None = None
        self._failure: tuple[str, Any] | None = None
        self._numbers = [0, 0]
        self._tags = (int(self.comm.Get_attr(MPI.TAG_UB) or 2**15 - 1) - 1) // 2
        # In MPI no overflow raises an error, and one rank that raises would hang the others.
        self._quiet = copy_context()
        self._quiet.run(np.seterr, all="ignore")

    @classmethod
    def of(cls, comm: MPI.Intracomm, deadline: Deadline | None = None) -> Context:
        """The context of a communicator; collective the first time.

        Raises:
            TimeoutError: some ranks have not come by the deadline.
            RuntimeError: an earlier call has failed half-way.
        """
        context = contexts.get(MPI._handleof(comm))
        if context is None:
            context = cls(comm, deadline)
            comm.Set_attr(_keyval(), context)
            contexts[MPI._handleof(comm)] = context
        if context._failure is not None:
            raise RuntimeError(
                f"an earlier allreduce failed on this communicator ({context._failure[0]}) and "
                "its messages may still arrive: go on with a new communicator, comm.Dup()"
            )
        return context

    def program(
        self,
        spec: AlgorithmSpec,
        send: np.ndarray,
        recv: np.ndarray,
        reduce: Reduction,
        deadline: Deadline | None,
        shared: bool = False,
        copies: Copies | Direct | None = None,
    ) -> Program:
        """The program that reduces ``send`` into ``recv``, both (count,) of one type.

        It knows where their memory is and does not keep it alive, so that it can be kept for
        later calls on the same memory. If they are ``shared``, and "auto" is wanted, all ranks
        reduce there. If they stand for a GPU's, ``copies`` are made along the way, or all is
        done there.

        Raises:
            ValueError: what is wanted does not fit, or the vectors overlap.
        """
        count, dtype = len(recv), recv.dtype
        if shared and deadline is None:
            found = self.in_window(spec, send, recv, reduce)
            if found is not None:
                return found
        if isinstance(copies, Direct):
            return self._on_gpu(spec, send, recv, reduce, deadline, copies)
        plan = self.planner.plan(spec, count, dtype.itemsize, is_same(send, recv))
        scratch = self._room(plan.scratch * dtype.itemsize).view(dtype)
        if deadline is None and copies is None and not why_plain(dtype, reduce):
            compiled = self.compiled(plan, dtype, reduce)
            return [Bound(compiled, *map(MPI.Get_address, (send, recv, scratch)))]
        there, here = (borrow(MPI.Get_address(v), count, dtype) for v in (send, recv))
        memory = there, here, scratch
        if copies is None:
            return bind(plan, memory, reduce, self.comm, deadline)
        staged = stage(plan, max(1, STAGED_BYTES // dtype.itemsize), is_same(send, recv))
        return bind(staged, memory, reduce, self.comm, deadline, copies)

    def in_window(
        self, spec: AlgorithmSpec, send: np.ndarray, recv: np.ndarray, reduce: Reduction
    ) -> Program | None:
        """The program for vectors in memory that all ranks share; None if they are not to."""
        if spec[0] != "auto" or not isinstance(reduce, np.ufunc) or recv.nbytes < MIN_PIECE:
            return None
        at = MPI.Get_address(send), MPI.Get_address(recv)
        return self.shared(*at, len(recv), recv.dtype, reduce)

    @property
    def has_windows(self) -> bool:
        """Whether there is memory that all ranks have open."""
        return bool(self._windows)

    def holds(self, spec: AlgorithmSpec, send: np.ndarray, recv: np.ndarray) -> bool:
        """Whether all ranks are to reduce where these vectors lie, in memory they have open."""
        return spec[0] == "auto" and find(self._windows, send, recv) is not None

    def places(self, *vectors: np.ndarray) -> str:
        """Where in memory that all ranks have open vectors lie, in words."""
        found = (
            f"array {i} of swing.alloc from byte {offset} on"
            for vector in vectors
            for i, window in enumerate(self._windows)
            if (offset := window.offset(vector)) is not None
        )
        return ", ".join(found)

    def _on_gpu(
        self,
        spec: AlgorithmSpec,
        send: np.ndarray,
        recv: np.ndarray,
        reduce: Reduction,
        deadline: Deadline | None,
        direct: Direct,
    ) -> Program:
        """The program for vectors in GPU memory that stay there."""
        count, dtype, ranks = len(recv), recv.dtype, self.comm.size
        if direct.way == IPC:
            memory = find(self._windows, send, recv)
            assert memory is not None
            # A kernel takes a whole block.
            plan = compile_shared(self.comm.rank, ranks, count, max(1, -(-count // ranks)))
        else:
            given = spec, count, dtype.itemsize, is_same(send, recv)
            plan = self.planner.plan(*given, whole=direct.way == NCCL)
            memory = [send, recv]
        memory.append(direct.scratch(plan.scratch, dtype))
        if direct.way != NCCL or ranks == 1:
            return bind(plan, memory, reduce, self.comm, deadline, direct)
        if self._nccl is None:
            self._nccl = Nccl(self.comm)
        return bind(plan, memory, reduce, self.comm, deadline, direct, self._nccl)

    def _compiled(self, plan: Plan, dtype: np.dtype[Any], reduce: Reduction) -> Compiled:
        return Compiled(plan, dtype, reduce, self.comm)

    def _shared(
        self, send: int, recv: int, count: int, dtype: np.dtype[Any], reduce: Reduction
    ) -> Program | None:
        """The program for vectors at some addresses; None if they are in no window."""
        memory = find(self._windows, *(borrow(at, count, dtype) for at in (send, recv)))
        if memory is None:
            return None
        rank, ranks = self.comm.rank, self.comm.size
        plan = compile_shared(rank, ranks, count, max(1, PIECE // dtype.itemsize))
        memory.append(np.empty(plan.scratch, dtype))
        if why_plain(dtype, reduce):
            return bind(plan, memory, reduce, self.comm)
        compiled = Compiled(plan, dtype, reduce, self.comm)
        compiled.place(memory)
        return [Bound(compiled, 0, 0, 0)]

    def alloc(self, shape: Any, dtype: np.dtype[Any], gpu: bool) -> Any:
        """An array that other ranks of the node can read and write; collective."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        alone = self.comm.size == 1 or not self.planner.is_one_node
        make = open_window if gpu else Window
        window = None if alone else make(self.comm, nbytes)
        if window is None:
            return empty(shape, dtype) if gpu else np.empty(shape, dtype)
        self._windows.append(window)
        self.shared.cache_clear()  # there may have been ordinary memory where the window is now
        known_calls.forget(self)
        return window.array(shape, dtype)

    def run(self, program: Program, *buffers: Any) -> None:
        """Run a program that works on some buffers, while all other ranks run theirs.

        Raises:
            TimeoutError: a message has not been delivered by the deadline.
            RuntimeError: MPI could not deliver a message.
        """
        try:
            self._quiet.run(run, program)
        except BaseException as error:
            self.fail(error, *buffers)
            raise

    def begin(self, rounds: Rounds, keep: object) -> Operation:
        """Start an operation; ``keep`` is what has to stay in memory if it fails."""
        operation = Operation(rounds, lambda error: self.fail(error, keep))
        self._under_way.add(operation)
        operation.when_done(lambda: self._under_way.discard(operation))
        operation.start()
        return operation

    def fail(self, error: BaseException, *buffers: Any) -> None:
        """Take note that a call has failed; its messages under way may still need their memory."""
        if self._failure is None:
            self._failure = str(error) or type(error).__name__, (buffers, self._scratch)
        known_calls.forget(self)

    def tag(self, persistent: bool = False) -> int:
        """The tag of the next operation's messages, the same on all ranks.

        Blocking allreduces have 0.

        Persistent operations last, so that they count on their own and do not meet the others'
        numbers when those come round.
        """
        self._numbers[persistent] += 1
        return 1 + persistent + 2 * (self._numbers[persistent] % self._tags)

    def close(self) -> None:
        """Free the duplicate and the scratch memory, once all is over; collective."""
        known_calls.forget(self)
        for operation in [*self._under_way]:
            with suppress(Exception):  # told to whoever waits for it
                operation.wait()
        if self._nccl is not None:
            with suppress(RuntimeError):
                self._nccl.close(self._failure is not None)
        for window in self._windows:
            if self.comm.allreduce(window.in_use, MPI.LOR):
                _lasting.append(window)
            else:
                window.free()
        self.comm.Free()
        self._scratch = np.empty(0, np.uint8)

    def _room(self, nbytes: int) -> np.ndarray:
        """(nbytes,) scratch memory, the same for all programs."""
        if nbytes > len(self._scratch):
            known_calls.forget(self)  # programs hold on to the smaller one
            self._scratch = np.empty(nbytes, np.uint8)
        return self._scratch[:nbytes]


_lasting: list[Open] = []
"""Windows of freed communicators that are still in use somewhere: as long as the process."""

contexts: dict[int, Context] = {}
"""By communicator handle: five times faster to read than the attribute that takes it out again."""


@cache
def _keyval() -> int:
    """The attribute of a communicator that ends its context when it is freed."""

    def delete(comm: MPI.Comm, keyval: int, context: Context | None) -> None:
        contexts.pop(MPI._handleof(comm), None)
        _unmet.pop(MPI._handleof(comm), None)
        if context is not None:
            context.close()

    return MPI.Comm.Create_keyval(delete_fn=delete)


_unmet: dict[int, tuple[MPI.Intracomm, MPI.Request]] = {}
"""Duplicates that were begun, by communicator handle, and that not all ranks have come to."""


def _duplicate(comm: MPI.Intracomm, deadline: Deadline | None) -> MPI.Intracomm:
    """A duplicate; what is given up at the deadline goes on with the next call."""
    handle = MPI._handleof(comm)
    begun = _unmet.pop(handle) if handle in _unmet else MPI.Intracomm(comm).Idup()
    duplicate, request = begun
    if deadline is None:
        request.Wait()
    while not request.Test():
        if deadline is not None and deadline.passed:
            comm.Set_attr(_keyval(), None)  # forget it if the communicator is freed
            _unmet[handle] = begun
            raise TimeoutError(f"not all ranks have come to their first call within {deadline}")
        time.sleep(0)
    return duplicate
