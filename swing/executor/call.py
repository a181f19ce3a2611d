"""The calls behind `swing.executor`: everything that needs MPI to be there."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor import device, explanation, tasks
from swing.executor.agreement import ON, leave, refuse
from swing.executor.agreement import context as agree
from swing.executor.buffers import vectors
from swing.executor.context import contexts
from swing.executor.door import Call, table
from swing.executor.explanation import Explanation
from swing.executor.memory import is_same
from swing.executor.ops import operation, reduction
from swing.executor.planner import Wanted, check_types
from swing.executor.progress import wait_for
from swing.executor.run import Deadline
from swing.executor.tasks import check_for_mpi, delegated


def allreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    wanted: Wanted,
    timeout: float | None,
) -> Any:
    """See `swing.executor.allreduce`."""
    asked = Call(comm, sendbuf, recvbuf, op, wanted[:3])
    op = operation(comm, op)
    check_types(wanted)
    result = sendbuf if recvbuf is None else recvbuf
    key = None if timeout is not None or ON else _facts(sendbuf, result, op, wanted)
    if key is not None:
        known = contexts.get(MPI._handleof(comm))
        if known is not None and known.again(key, sendbuf, result):
            return result
    deadline = None if timeout is None else Deadline(timeout)
    if device.is_on_device(sendbuf) or device.is_on_device(recvbuf):
        device.check_writable(result)
        send, recv = device.host_for(sendbuf), device.host_for(recvbuf)
        device.fetch(sendbuf, send)
        if sendbuf is MPI.IN_PLACE:
            device.fetch(recvbuf, recv)
        allreduce(comm, send, recv, op, wanted, timeout)
        device.put(send if recvbuf is None else recv, result)
        return result
    try:
        reason = delegated(comm, result, op)
        if reason:
            in_place = check_for_mpi(comm, sendbuf, recvbuf, op, wanted)
            if in_place and comm.is_inter:
                raise ValueError("an intercommunicator reduces nothing in place: pass recvbuf too")
            leave(comm, "Allreduce", reason, op)
        else:
            send, recv, datatype = vectors(sendbuf, recvbuf)
            reduce = reduction(op, recv.dtype, datatype)
            is_same(send, recv)
    except (TypeError, ValueError) as error:
        refuse(comm, error)
        raise
    if reason:
        sent = MPI.IN_PLACE if in_place else sendbuf
        if deadline is None:
            MPI.Comm.Allreduce(comm, sent, result, op)
        else:
            wait_for(MPI.Comm.Iallreduce(comm, sent, result, op), deadline, "MPI_Iallreduce")
        return result
    assert isinstance(comm, MPI.Intracomm)
    shape = len(recv), recv.dtype, datatype
    context = agree(comm, "Allreduce", *shape, op, wanted, deadline)
    program = context.program(wanted, send, recv, reduce, deadline)
    if key is not None and op.is_predefined:
        context.keep(key, program, None if wanted[3] else asked)
    context.run(program, sendbuf, result)
    return result


def explain(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, wanted: Wanted
) -> Explanation:
    """See `swing.executor.explain`."""
    op = operation(comm, op)
    return explanation.explain(tasks.allreduce, "Allreduce", comm, wanted, sendbuf, recvbuf, op)


def again(*given: Any) -> bool:
    """Make a call again that is like an earlier one; false if there was none.

    Args:
        given: ``(comm, sendbuf, recvbuf, op, algorithm, torus, consistent)``.
    """
    error = table.look(*given)
    if error > 0:
        comm, sendbuf, recvbuf, op, *wanted = given
        context, compiled, _ = table.entry(Call(comm, sendbuf, recvbuf, op, tuple(wanted)))
        context.run([partial(compiled.fail, error)], sendbuf, recvbuf)
    return error == 0


def _facts(sendbuf: Any, recvbuf: Any, op: MPI.Op, wanted: Wanted) -> Hashable:
    """All that a call on numpy arrays depends on; None for other buffers.

    Whatever is right or wrong with such a call follows from these, so one that has been found
    right need not be looked at again.
    """
    if type(sendbuf) is not np.ndarray or type(recvbuf) is not np.ndarray:
        return None
    try:
        there, here = MPI.Get_address(sendbuf), MPI.Get_address(recvbuf)
    except BufferError:  # not contiguous
        return None
    return (
        wanted,
        MPI._handleof(op),
        there,
        sendbuf.size,
        sendbuf.dtype,
        sendbuf.flags.num,
        here,
        recvbuf.size,
        recvbuf.dtype,
        recvbuf.flags.num,
    )
