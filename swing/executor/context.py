"""What is kept with a communicator: a private duplicate of it, plans, and bound programs.

The duplicate keeps our messages and the user's apart: a pending ``Irecv(ANY_SOURCE, ANY_TAG)``
on the user's communicator would take ours. It is an attribute of the communicator and is freed
with it.
"""

from __future__ import annotations

import time
from contextvars import copy_context
from functools import cache, lru_cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers import borrow
from swing.executor.ops import Reduction
from swing.executor.plan import Plan
from swing.executor.planner import Planner, Wanted
from swing.executor.run import Deadline, Program, bind, run

_PROGRAMS = 32  # kept; the least recently used one is dropped


class Context:
    """One communicator's private duplicate, and what was made for it."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm.Dup()
        self.comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.planner = Planner(self.comm)
        self._scratch = np.empty(0, np.uint8)
        self._program = lru_cache(_PROGRAMS)(self._bind)
        self._failure: tuple[str, Any] | None = None
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
        context = comm.Get_attr(_keyval())
        if not isinstance(context, cls):
            if deadline is not None:
                _meet(comm, deadline)
            context = cls(comm)
            comm.Set_attr(_keyval(), context)
        if context._failure is not None:
            raise RuntimeError(
                f"an earlier allreduce failed on this communicator ({context._failure[0]}) and "
                "its messages may still arrive: go on with a new communicator, comm.Dup()"
            )
        return context

    def execute(
        self,
        wanted: Wanted,
        send: np.ndarray,
        recv: np.ndarray,
        reduce: Reduction,
        deadline: Deadline | None,
    ) -> None:
        """Reduce ``send`` into ``recv``, both (count,) of one type, while all other ranks do.

        Raises:
            ValueError: what is wanted does not fit, or the vectors overlap; nothing is sent.
            TimeoutError: a message has not been delivered by the deadline.
        """
        there, here = MPI.Get_address(send), MPI.Get_address(recv)
        if deadline is None and isinstance(reduce, np.ufunc):
            program = self._program(wanted, there, here, len(recv), recv.dtype, reduce)
        else:
            program = self._bind(wanted, there, here, len(recv), recv.dtype, reduce, deadline)
        try:
            self._quiet.run(run, program)
        except BaseException as error:
            # Messages under way may still need the memory.
            self._failure = str(error) or type(error).__name__, (send, recv)
            raise

    def close(self) -> None:
        """Free the duplicate and the scratch memory; collective."""
        self.comm.Free()
        self._program.cache_clear()
        self._scratch = np.empty(0, np.uint8)

    def _bind(
        self,
        wanted: Wanted,
        there: int,
        here: int,
        count: int,
        dtype: np.dtype[Any],
        reduce: Reduction,
        deadline: Deadline | None = None,
    ) -> Program:
        """The program for vectors at two addresses. It does not keep their memory alive.

        A later call on the same memory runs it again. So nothing but the numbers that tell
        where the memory is may be kept: it can be gone between the calls.
        """
        in_place = there == here
        if 0 < abs(there - here) < count * dtype.itemsize:
            raise ValueError("sendbuf and recvbuf overlap: pass one buffer to reduce it in place")
        plan = self.planner.plan(wanted, count, dtype.itemsize, in_place)
        memory = borrow(there, count, dtype), borrow(here, count, dtype), self._room(plan, dtype)
        return bind(plan, memory, reduce, self.comm, deadline)

    def _room(self, plan: Plan, dtype: np.dtype[Any]) -> np.ndarray:
        """(plan.scratch,) memory, the same for all plans."""
        nbytes = plan.scratch * dtype.itemsize
        if nbytes > len(self._scratch):
            self._program.cache_clear()  # the programs hold on to the smaller one
            self._scratch = np.empty(nbytes, np.uint8)
        return self._scratch[:nbytes].view(dtype)


@cache
def _keyval() -> int:
    """The attribute under which communicators keep their context."""

    def delete(comm: MPI.Comm, keyval: int, context: Context) -> None:
        context.close()

    return MPI.Comm.Create_keyval(delete_fn=delete)


def _meet(comm: MPI.Intracomm, deadline: Deadline) -> None:
    """Wait until all ranks have come, because what follows can not be given up."""
    request = comm.Ibarrier()
    while not request.Test():
        if deadline.passed:
            raise TimeoutError(f"not all ranks have called allreduce within {deadline}")
        time.sleep(0)
