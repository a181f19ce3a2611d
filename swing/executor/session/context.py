"""Context of a communicator: its tags, planner, cached programs and scratch memory.

Messages travel on a private communicator, see `swing.executor.session.private`.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.byte_cache import ByteCache
from swing.executor.buffers.memory import borrow, is_same
from swing.executor.buffers.reductions import Reduction
from swing.executor.buffers.transport import HOST, Transport
from swing.executor.engines.compiled import Bound, Compiled, why_plain
from swing.executor.engines.plain import Program, bind, run
from swing.executor.engines.progress import Operation, Rounds
from swing.executor.engines.wait import Deadline, policy
from swing.executor.session.call import AlgorithmSpec
from swing.executor.session.call_cache import CallKey, known_calls
from swing.executor.session.call_table import Row
from swing.executor.session.duplicate import Duplicate
from swing.executor.session.gpu_programs import GpuPrograms
from swing.executor.session.layouts import BlockLayouts
from swing.executor.session.planner import Planner
from swing.executor.session.private import Lane, Private
from swing.executor.session.windows import Windows


class Context:
    """The state that is kept for one communicator at a time, see `swing.executor.session.contexts`.

    Args:
        comm: the user's communicator.
        private: the private communicator of its ranks.
        key: what all communicators that can take it over have in common.

    Attributes:
        comm: the private communicator, which communicators of the same ranks share.
        lane: the tags of the user's communicator on it.
        was_called: whether the user's communicator has run a blocking allreduce before.
        planner: chooses and compiles plans for it.
        blocks: layouts of reduce-scatter and allgather.
        windows: the memory that `alloc` has allocated.
        gpu: makes the programs for vectors that stay in GPU memory.
        noted: rows of the call cache's table that belong to this context.
        keys: keys of the call cache's dictionary that belong to it.
        failure: why an earlier call failed, and what must stay in memory since; None if none did.
    """

    lane: Lane
    was_called: bool

    def __init__(self, comm: MPI.Intracomm, private: Private, key: Hashable) -> None:
        self.comm, self.key = private.comm, key
        self.planner = Planner(comm, private.is_one_node)
        self.blocks = BlockLayouts(self.planner)
        self._first_tag = np.zeros(1, np.int64)  # in memory that compiled code reads
        self._duplicate = Duplicate()
        self.windows = Windows(self.comm, self._first_tag, self._duplicate)
        own = self.planner, self.windows, self._duplicate
        self.gpu = GpuPrograms(self.comm, self._first_tag, *own)
        self._scratch = np.empty(0, np.uint8)
        self._compiled = ByteCache[Compiled](2**21, lambda compiled: compiled.nbytes)
        # Compiled code runs without the GIL, and meanwhile another thread's call may take its row
        # in the call cache. So the entries are kept alive here too.
        self.noted: dict[int, Row] = {}
        self.keys: set[CallKey] = set()
        self._active: set[Operation] = set()
        self._persistent = 0  # operations that can be started
        self._has_ended = False
        self.failure: tuple[str, Any] | None = None
        # MPI ignores overflow. If the user's ``np.errstate`` made it raise on one rank, the others
        # would wait for that rank.
        self._quiet = copy_context()
        self._quiet.run(np.seterr, all="ignore")

    def serve(self, comm: MPI.Intracomm, lane: Lane) -> None:
        """Take a user's communicator over, whose tags are those of ``lane``."""
        self.lane, self._first_tag[0] = lane, lane.first_tag
        self.was_called = False
        self._duplicate.user = MPI._handleof(comm)

    def program(
        self,
        spec: AlgorithmSpec,
        send: np.ndarray,
        recv: np.ndarray,
        reduce: Reduction,
        deadline: Deadline | None,
        shared: bool = False,
        transport: Transport = HOST,
    ) -> Program:
        """Return this rank's program that reduces ``send`` into ``recv``.

        The program knows the vectors' addresses but does not keep their memory alive, so that it
        can be cached for later calls on the same memory.

        Args:
            spec: the algorithm, torus and options that were asked for.
            send: (count,) this rank's vector.
            recv: (count,) the result, of the same type; the same memory to reduce in place.
            reduce: the reduction of two vectors.
            deadline: when to give up waiting for messages; None waits without a limit.
            shared: whether the vectors may be in memory of `alloc`, see `Windows.program`.
            transport: how the vectors' memory reaches the other ranks.

        Raises:
            ValueError: a torus, a schedule or an option that does not fit, or overlapping vectors.
        """
        count, dtype = len(recv), recv.dtype
        if shared and deadline is None:
            program = self.windows.program(spec, send, recv, reduce)
            if program is not None:
                return program
        if transport.on_gpu:
            return self.gpu.program(spec, send, recv, reduce, deadline, transport)
        plan = self.planner.plan(spec, count, dtype.itemsize, is_same(send, recv))
        scratch = self._scratch_bytes(plan.scratch * dtype.itemsize).view(dtype)
        if deadline is None and transport is HOST and not why_plain(dtype, reduce):
            way = policy()
            compiled = self._compiled.get(
                (plan, dtype, reduce, way),
                lambda: Compiled(plan, dtype, reduce, self.comm, self._first_tag, way),
            )
            return [Bound(compiled, *map(MPI.Get_address, (send, recv, scratch)))]
        # Arrays without an owner: holding ``send`` and ``recv`` would keep the user's memory alive.
        source, target = (borrow(MPI.Get_address(v), count, dtype) for v in (send, recv))
        memory = source, target, scratch
        staged = transport.stage(plan, dtype, is_same(send, recv))
        return bind(staged, memory, reduce, self.comm, self.lane.first_tag, deadline, transport)

    def run(self, program: Program, *buffers: Any) -> None:
        """Run this rank's program; collective.

        Args:
            program: the program.
            buffers: the objects whose memory it uses, kept alive if it fails.

        Raises:
            TimeoutError: a message was not delivered by the deadline.
            RuntimeError: MPI could not deliver a message.
        """
        try:
            self._quiet.run(run, program)
            self.was_called = True
        except BaseException as error:  # even KeyboardInterrupt: messages are under way then, too
            self.fail(error, *buffers)
            raise

    def begin(self, rounds: Rounds, keep: object) -> Operation:
        """Start an operation; ``keep`` holds the buffers that must stay in memory if it fails."""
        operation = Operation(rounds, lambda error: self.fail(error, keep))
        self._active.add(operation)
        operation.when_done(lambda: self._has_done(operation))
        operation.start()
        return operation

    def fail(self, error: BaseException, *buffers: Any) -> None:
        """Record that a call failed, after which there is an error for every further call.

        The buffers are kept alive, because messages under way may still read or write them.
        """
        if self.failure is None:
            self.failure = str(error) or type(error).__name__, (buffers, self._scratch)
        known_calls.forget(self)

    def wait(self, deadline: Deadline | None) -> None:
        """Wait until all operations have ended.

        Raises:
            TimeoutError: one had not ended by the deadline.
        """
        for operation in [*self._active]:
            with suppress(Exception):  # the ``Wait`` of its request raises it
                operation.wait(deadline)
            if isinstance(operation.error, TimeoutError):
                raise operation.error

    def tag(self, persistent: bool = False) -> int:
        """Return the tag of the next operation's messages, the same on all ranks.

        A persistent operation uses the context until `release` is called for it.
        """
        self._persistent += persistent
        return self.lane.tag(persistent)

    def release(self) -> None:
        """Let go of a persistent operation, which is not started again."""
        self._persistent -= 1
        self._free_unused()

    def leave(self) -> None:
        """Let go of the user's communicator, which is being freed.

        As in MPI, active operations go on to their end, and persistent ones can be started even
        later. After `alloc` or NCCL this is collective. After `alloc` it does not wait for other
        ranks.
        """
        self.gpu.close(self.failure is not None)
        if self.windows:
            known_calls.forget(self)  # their programs work in windows that the next one will lack
        self.windows.free()
        self._duplicate.free()

    @property
    def is_reusable(self) -> bool:
        """Whether another communicator can be served after `leave`."""
        return (
            bool(self.lane.private.ranks)
            and not self._is_in_use
            and self.failure is None
            and self.gpu.nccl is None
        )

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it keeps."""
        return len(self._scratch) + self._compiled.nbytes

    def end(self) -> None:
        """Give memory back after `leave`, and the private communicator if it is not shared."""
        known_calls.forget(self)
        self._scratch = np.empty(0, np.uint8)
        self._has_ended = True
        self._free_unused()

    def _has_done(self, operation: Operation) -> None:
        self._active.discard(operation)
        self._free_unused()

    def _free_unused(self) -> None:
        # Not left to the garbage collector: it may come after the end of a session, where MPICH
        # aborts.
        private = self.lane.private
        if self._has_ended and not self._is_in_use and not private.ranks:
            private.free()

    @property
    def _is_in_use(self) -> bool:
        return bool(self._active) or self._persistent > 0

    def _scratch_bytes(self, nbytes: int) -> np.ndarray:
        """Return (nbytes,) scratch memory, which all programs share."""
        if nbytes > len(self._scratch):
            known_calls.forget(self)  # their programs refer to the old scratch memory
            self._scratch = np.empty(nbytes, np.uint8)
        return self._scratch[:nbytes]
