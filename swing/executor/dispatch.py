"""The calls behind `swing.executor`: everything that needs MPI to be there."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor import collectives, explanation
from swing.executor.buffers.memory import is_same
from swing.executor.buffers.reductions import Reduction, operation, reduction
from swing.executor.buffers.specs import vectors
from swing.executor.collectives import delegated, leave_to_mpi
from swing.executor.engines.plain import Deadline
from swing.executor.engines.progress import wait_for
from swing.executor.explanation import Explanation
from swing.executor.gpu import device
from swing.executor.gpu.device import Copies
from swing.executor.gpu.gpu_aware import DIRECT, Direct, is_gpu_aware
from swing.executor.gpu.ipc import IPC
from swing.executor.gpu.nccl import NCCL, is_wanted
from swing.executor.plan.shared import PIECE, Shared
from swing.executor.session.argument_check import ON, refuse
from swing.executor.session.argument_check import context as agree
from swing.executor.session.call_cache import Call, known_calls, place_of
from swing.executor.session.context import Context, contexts
from swing.executor.session.planner import AlgorithmSpec, check_types


def allreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    spec: AlgorithmSpec,
    timeout: float | None,
) -> Any:
    """See `swing.executor.allreduce`."""
    if not (device.is_on_device(sendbuf) or device.is_on_device(recvbuf)):
        return _allreduce(comm, sendbuf, recvbuf, op, spec, timeout)
    result = sendbuf if recvbuf is None else recvbuf
    in_place = recvbuf is None or sendbuf is MPI.IN_PLACE
    source = result if in_place else sendbuf
    try:
        copies = on_device(comm, source, result, op, spec, timeout)
    except (TypeError, ValueError) as error:
        refuse(comm, error)
        raise
    try:
        given = copies.source, None if in_place else copies.target
        with copies.gpu() if isinstance(copies, Direct) else nullcontext():
            _allreduce(comm, *given, op, spec, timeout, copies)
    finally:
        if isinstance(copies, Copies):
            copies.finish()
    return result


def on_device(
    comm: MPI.Comm,
    source: Any,
    target: Any,
    op: MPI.Op | None,
    spec: AlgorithmSpec,
    timeout: float | None = None,
) -> Direct | Copies:
    """How to reduce buffers of which one or both are GPU memory.

    Raises:
        ImportError, ValueError: see `Direct`.
    """
    there = device.is_on_device(source) and device.is_on_device(target)
    joint = timeout is None and isinstance(comm, MPI.Intracomm)  # what takes all ranks' GPUs
    context = contexts.get(MPI._handleof(comm)) if joint else None
    opened = context if context is not None and context.has_windows else None
    by_nccl = there and joint and is_wanted()
    aware = there and is_gpu_aware()
    if there and (opened or by_nccl or aware):
        direct = Direct(source, target)
        sent = MPI.IN_PLACE if direct.source is direct.target else direct.source
        with suppress(TypeError, ValueError):  # told when it is reduced
            send, recv, datatype = vectors(sent, direct.target)
            if Direct.can(reduction(operation(comm, op), recv.dtype, datatype), recv.dtype):
                if opened and opened.holds(spec, send, recv):
                    direct.way = IPC
                elif by_nccl:
                    direct.way = NCCL
                if direct.one_gpu and (aware or direct.way != DIRECT):
                    return direct
    return Copies(source, target)


def _allreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    spec: AlgorithmSpec,
    timeout: float | None,
    copies: Copies | Direct | None = None,
) -> Any:
    """The same for buffers in host memory, which may stand for others."""
    asked = Call(comm, sendbuf, recvbuf, op, *spec)
    op = operation(comm, op)
    check_types(spec)
    result = sendbuf if recvbuf is None else recvbuf
    deadline = None if timeout is None else Deadline(timeout)
    try:
        reason = delegated(comm, result, op)
        if reason:
            in_place = leave_to_mpi(comm, sendbuf, recvbuf, op, spec, reason, deadline)
            if in_place and comm.is_inter:
                raise ValueError("an intercommunicator reduces nothing in place: pass recvbuf too")
        else:
            send, recv, datatype = vectors(sendbuf, recvbuf)
            reduce = reduction(op, recv.dtype, datatype)
            is_same(send, recv)
    except (TypeError, ValueError) as error:
        refuse(comm, error)
        raise
    if reason:
        sent = MPI.IN_PLACE if in_place else sendbuf
        if isinstance(copies, Direct):
            copies.ready()
        elif copies is not None:
            copies.start()
            copies.finish()
        if deadline is None:
            MPI.Comm.Allreduce(comm, sent, result, op)
        else:
            wait_for(MPI.Comm.Iallreduce(comm, sent, result, op), deadline, "MPI_Iallreduce")
        if isinstance(copies, Copies):
            copies.put_all()
        return result
    assert isinstance(comm, MPI.Intracomm)
    shape = len(recv), recv.dtype, datatype
    shared = deadline is None and copies is None and _are_shared(sendbuf, result)
    memory = _memory(comm, spec, send, recv, reduce, shared, copies) if ON else ""
    context = agree(comm, "Allreduce", *shape, op, spec, deadline, memory)
    if isinstance(copies, Copies):
        copies.start()
    program = context.program(spec, send, recv, reduce, deadline, shared, copies)
    if deadline is None and op.is_predefined and not ON and copies is None:
        known_calls.note(asked, program, context)
    context.run(program, sendbuf, result, copies)
    return result


def _memory(
    comm: MPI.Intracomm,
    spec: AlgorithmSpec,
    send: np.ndarray,
    recv: np.ndarray,
    reduce: Reduction,
    shared: bool,
    copies: Copies | Direct | None,
) -> str:
    """What of the memory of a call all ranks must have alike, in words."""
    context = contexts.get(MPI._handleof(comm))
    way = copies.way if isinstance(copies, Direct) else ""
    if way == NCCL:
        return "a GPU's, by NCCL"
    if context is not None and (
        way == IPC or (shared and context.in_window(spec, send, recv, reduce) is not None)
    ):
        return context.places(send, recv)
    return "its own"


def explain(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
) -> Explanation:
    """See `swing.executor.explain`."""
    op = operation(comm, op)
    found = explanation.explain(
        collectives.allreduce, "Allreduce", comm, spec, sendbuf, recvbuf, op
    )
    if found.staging and found.engine:
        result = sendbuf if recvbuf is None else recvbuf
        source = result if sendbuf is MPI.IN_PLACE else sendbuf
        direct = on_device(comm, source, result, op, spec)
        if isinstance(direct, Direct):
            found = replace(found, staging=direct.way, engine="plain: kernels of CuPy's")
            if direct.way == IPC:
                block = -(-vectors(MPI.IN_PLACE, direct.target)[1].nbytes // comm.size)
                return replace(found, **_in_window(block))
            return found
    elif found.engine and _are_shared(sendbuf, sendbuf if recvbuf is None else recvbuf):
        assert isinstance(comm, MPI.Intracomm)
        send, recv, datatype = vectors(sendbuf, recvbuf)
        given = spec, send, recv, reduction(op, recv.dtype, datatype)
        if Context.of(comm).in_window(*given) is not None:
            return replace(found, **_in_window(PIECE))
    return found


def _in_window(scratch: int) -> dict[str, Any]:
    """What `Explanation` says of an allreduce where the vectors lie."""
    why = "all buffers come from swing.alloc: every rank adds up a block of all vectors"
    return {"algorithm": "shared memory", "variant": "", "ports": 0, "torus": None,
            "scratch": scratch, "why": why}  # fmt: skip


def _are_shared(sendbuf: Any, result: Any) -> bool:
    return all(isinstance(b, Shared) for b in (sendbuf, result) if b is not MPI.IN_PLACE)


def meet(comm: MPI.Intracomm, spec: AlgorithmSpec, deadline: Deadline | None) -> None:
    """Have all ranks do together what a first call has to wait for."""
    context = Context.of(comm, deadline)
    if spec[0] == "auto":
        context.planner.machine  # noqa: B018  found out once


def alloc(comm: MPI.Intracomm, shape: Any, dtype: Any, gpu: bool) -> Any:
    """See `swing.executor.alloc`."""
    return Context.of(comm).alloc(shape, np.dtype(dtype), gpu)


def again(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
) -> bool:
    """Make a call again that is like an earlier one; false if there was none."""
    algorithm, torus, consistent, options = spec
    if known_calls.look is not None and not options:
        error = known_calls.look(comm, sendbuf, recvbuf, op, algorithm, torus, consistent)
        if not error:
            return True
        if error > 0:
            # Another thread's call may have taken this one's place in the table meanwhile.
            context = contexts[MPI._handleof(comm)]
            entry = context.noted[place_of(Call(comm, sendbuf, recvbuf, op, *spec))]
            context.run([partial(entry.program.fail, error)], sendbuf, recvbuf)
    found = known_calls.find(comm, sendbuf, recvbuf, op, spec)
    if found is None:
        return False
    found.context.run(found.program, sendbuf, recvbuf)
    return True
