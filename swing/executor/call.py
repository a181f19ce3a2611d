"""The calls behind `swing.executor`: everything that needs MPI to be there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor import device
from swing.executor.buffers import check_gapped, is_gapped, vectors
from swing.executor.context import Context, contexts
from swing.executor.memory import is_same
from swing.executor.ops import reduction
from swing.executor.planner import Wanted, check_types
from swing.executor.run import Deadline
from swing.schedule import Schedule
from swing.torus import Torus


def allreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    wanted: Wanted,
    timeout: float | None,
) -> Any:
    """See `swing.executor.allreduce`."""
    op = _operation(comm, op)
    check_types(wanted)
    result = sendbuf if recvbuf is None else recvbuf
    key = None if timeout is not None else _facts(sendbuf, result, op, wanted)
    if key is not None:
        known = contexts.get(MPI._handleof(comm))
        if known is not None and known.again(key, sendbuf, result):
            return result
    deadline = None if timeout is None else Deadline(timeout)
    if device.is_on_device(sendbuf) or device.is_on_device(recvbuf):
        device.check_writable(result)
        send = device.to_host(sendbuf)
        recv = device.to_host(recvbuf, read=sendbuf is MPI.IN_PLACE)
        allreduce(comm, send, recv, op, wanted, timeout)
        device.to_device(send if recvbuf is None else recv, result)
        return result
    reason = _delegated(comm, op, result)
    if reason:
        if timeout is not None:
            raise ValueError(f"MPI_Allreduce would run, without timeout=: {reason}")
        in_place = _check(comm, sendbuf, recvbuf, op, wanted)
        if in_place and comm.is_inter:
            raise ValueError("an intercommunicator reduces nothing in place: pass recvbuf too")
        comm.Allreduce(MPI.IN_PLACE if in_place else sendbuf, result, op)
        return result
    assert isinstance(comm, MPI.Intracomm)
    send, recv, datatype = vectors(sendbuf, recvbuf)
    reduce = reduction(op, recv.dtype, datatype)
    context = Context.of(comm, deadline)
    program = context.program(wanted, send, recv, reduce, deadline)
    if key is not None and op.is_predefined:
        context.keep(key, program)
    context.run(program, sendbuf, result)
    return result


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


@dataclass(frozen=True)
class Explanation:
    """What `swing.allreduce` would do; ``str()`` says it in a few lines.

    Args:
        algorithm, variant, ports: of the schedule; "MPI_Allreduce" where MPI does it.
        torus: the ranks as the schedule sees them, and where that comes from.
        why: the reason for the algorithm.
        staging: how a device buffer reaches MPI; empty for host memory.
        scratch: bytes of scratch memory on this rank, staging not counted. It is kept until the
            communicator is freed, for all calls on it.
    """

    algorithm: str
    variant: str
    ports: int
    torus: Torus | None
    torus_from: str
    why: str
    staging: str
    scratch: int

    def __str__(self) -> str:
        lines = [f"algorithm: {' '.join(filter(None, (self.algorithm, self.variant)))}"]
        if self.torus is not None:
            lines[0] += f", {self.ports} port{'s' * (self.ports > 1)}"
        lines.append(f"why: {self.why}")
        if self.torus is not None:
            lines.append(f"torus: {self.torus}, from {self.torus_from}")
        if self.staging:
            lines.append(f"staging: {self.staging}")
        return "\n".join([*lines, f"scratch memory: {self.scratch} bytes"])


def explain(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    wanted: Wanted,
) -> Explanation:
    """See `swing.executor.explain`."""
    op = _operation(comm, op)
    check_types(wanted)
    staging = ""
    if device.is_on_device(sendbuf) or device.is_on_device(recvbuf):
        staging = device.STAGING
        sendbuf, recvbuf = (device.to_host(buf, read=False) for buf in (sendbuf, recvbuf))
    reason = _delegated(comm, op, sendbuf if recvbuf is None else recvbuf)
    if reason:
        _check(comm, sendbuf, recvbuf, op, wanted)
        return Explanation("MPI_Allreduce", "", 0, None, "", reason, staging, 0)
    assert isinstance(comm, MPI.Intracomm)
    send, recv, datatype = vectors(sendbuf, recvbuf)
    reduction(op, recv.dtype, datatype)
    planner = Context.of(comm).planner
    chosen, why = planner.choose(wanted, recv.nbytes)
    schedule = planner.view(chosen).schedule
    plan = planner.plan(chosen, len(recv), recv.itemsize, is_same(send, recv))
    given = "the schedule" if isinstance(wanted[0], Schedule) else wanted[1] and "torus="
    return Explanation(
        schedule.name,
        schedule.variant,
        len(schedule.parts),
        schedule.torus,
        given or planner.origin,
        why,
        staging,
        plan.scratch * recv.itemsize,
    )


def _operation(comm: MPI.Comm, op: MPI.Op | None) -> MPI.Op:
    if not isinstance(comm, MPI.Comm):
        raise TypeError(f"comm is a {type(comm).__name__}: pass a communicator of mpi4py")
    if not comm:
        raise ValueError("comm is MPI.COMM_NULL: call allreduce on the communicator's ranks only")
    if op is None:
        return MPI.SUM
    if not isinstance(op, MPI.Op):
        raise TypeError(
            f"op is a {type(op).__name__}, not an MPI operation: "
            "make one with MPI.Op.Create(function, commute=True)"
        )
    if not op:
        raise ValueError("op is MPI.OP_NULL: pass an operation, such as MPI.SUM")
    return op


def _delegated(comm: MPI.Comm, op: MPI.Op, buffer: Any) -> str:
    """Why MPI's own Allreduce does it; empty if a schedule of ours can."""
    if comm.is_inter:
        return "an intercommunicator joins two groups, not one torus"
    if not op.Is_commutative():
        return "the operation does not commute: MPI reduces in rank order"
    if is_gapped(buffer):
        return "the datatype has gaps, which must stay as they are"
    return ""


def _check(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: MPI.Op, wanted: Wanted) -> bool:
    """Refuse from MPI's own Allreduce what a schedule would refuse; whether it is in place."""
    if is_gapped(sendbuf if recvbuf is None else recvbuf):
        in_place = check_gapped(sendbuf, recvbuf)
    else:
        send, recv, datatype = vectors(sendbuf, recvbuf)
        reduction(op, recv.dtype, datatype)
        in_place = is_same(send, recv)
    if isinstance(comm, MPI.Intracomm):
        Context.of(comm).planner.check(wanted)
    return in_place
