"""Programs for vectors in GPU memory that are not staged: by MPI, NCCL or CUDA's handles."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.memory import is_same
from swing.executor.buffers.reductions import Reduction
from swing.executor.buffers.transport import Kind, Transport
from swing.executor.engines.plain import Program, bind
from swing.executor.engines.wait import Deadline
from swing.executor.gpu.nccl import Nccl
from swing.executor.plan.shared import compile_shared
from swing.executor.session.call import AlgorithmSpec
from swing.executor.session.duplicate import Duplicate
from swing.executor.session.planner import Planner
from swing.executor.session.windows import Windows


class GpuPrograms:
    """Makes the programs of one communicator, and its NCCL communicator if one is needed.

    Args:
        comm: the private communicator.
        tag: (1,) the tag of all messages.
        planner: chooses and compiles plans.
        windows: the memory that `swing.alloc` has allocated.
        duplicate: a communicator for MPI's own collectives.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        tag: np.ndarray,
        planner: Planner,
        windows: Windows,
        duplicate: Duplicate,
    ) -> None:
        self._comm, self._tag, self._planner = comm, tag, planner
        self._windows, self._duplicate = windows, duplicate
        self.nccl: Nccl | None = None

    def program(
        self,
        spec: AlgorithmSpec,
        send: np.ndarray,
        recv: np.ndarray,
        reduce: Reduction,
        deadline: Deadline | None,
        direct: Transport,
    ) -> Program:
        """Return the program that the GPU runs; for the arguments see `Context.program`."""
        comm, tag, count, dtype = self._comm, int(self._tag[0]), len(recv), recv.dtype
        if direct.kind is Kind.IPC:
            memory = self._windows.find(spec, send, recv)
            assert memory is not None
            # The piece is a whole block, so that one kernel reduces it.
            plan = compile_shared(comm.rank, comm.size, count, max(1, -(-count // comm.size)))
        else:
            # With NCCL a step is one group of whole messages on every rank, so that groups cannot
            # wait for each other.
            whole, in_place = direct.kind is Kind.NCCL, is_same(send, recv)
            plan = self._planner.plan(spec, count, dtype.itemsize, in_place, whole=whole)
            memory = [send, recv]
        memory.append(direct.scratch(plan.scratch, dtype))
        if direct.kind is not Kind.NCCL or comm.size == 1:
            return bind(plan, memory, reduce, comm, tag, deadline, direct)
        if self.nccl is None:  # collective: every rank is in its first call with NCCL
            self.nccl = Nccl(self._duplicate.get())
        return bind(plan, memory, reduce, comm, tag, deadline, direct, self.nccl)

    def close(self, has_failed: bool) -> None:
        """Close the NCCL communicator if there is one; collective."""
        if self.nccl is not None:
            with suppress(RuntimeError):
                self.nccl.close(has_failed)
