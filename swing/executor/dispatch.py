"""Blocking allreduce: choose between host, GPU and MPI paths, prepare the call, and run it.

These are the functions behind `swing.executor`, which imports this module at the first call, so
that importing `swing` needs no MPI. `run_cached` looks a call up in the call cache and runs it at
once if an earlier call was like it. All other calls are checked and prepared by `allreduce`, which
adds them to the cache if possible.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor import collectives, explanation
from swing.executor.buffers.reading import vectors
from swing.executor.buffers.reductions import Reduction, operation, reduction
from swing.executor.buffers.transport import HOST, Kind, Transport
from swing.executor.engines.progress import wait_for
from swing.executor.engines.wait import Deadline
from swing.executor.explanation import Explanation
from swing.executor.gpu import device
from swing.executor.gpu.device import Staged
from swing.executor.gpu.gpu_aware import Direct, is_gpu_aware
from swing.executor.gpu.nccl import is_wanted
from swing.executor.plan.shared import PIECE, Shared
from swing.executor.session.argument_check import ON, refuse
from swing.executor.session.argument_check import context as agree
from swing.executor.session.call import AlgorithmSpec, CollectiveCall
from swing.executor.session.call_cache import known_calls
from swing.executor.session.contexts import context_of, contexts, likely_context
from swing.executor.session.private import NoCommunicatorError
from swing.executor.session.windows import check_array
from swing.executor.tasks import check_delegated, check_spec, why_delegated, with_remedy


def allreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    spec: AlgorithmSpec,
    timeout: float | None,
) -> Any:
    """Run `swing.executor.allreduce` on arguments that the call cache does not know."""
    call = CollectiveCall("Allreduce", comm, sendbuf, recvbuf, op, spec)
    try:
        transport = transport_of(call, timeout)
    except (TypeError, ValueError) as error:
        refuse(comm, error)
        raise
    if transport is HOST:
        return _allreduce(call, timeout)
    in_place = recvbuf is None or sendbuf is MPI.IN_PLACE
    try:
        target = None if in_place else transport.target
        with transport.active():
            _allreduce(replace(call, sendbuf=transport.source, recvbuf=target), timeout, transport)
    finally:
        # Wait for the copies, also after an error: their memory ends with this call.
        transport.finish()
    return call.result


def transport_of(call: CollectiveCall, timeout: float | None = None) -> Transport:
    """Choose how the vectors of a blocking allreduce reach the other ranks, for it and `explain`.

    Every rank chooses for itself. This is the only place that chooses; a call that the call cache
    knows has been chosen `HOST` before and does not come here.

    Returns:
        `HOST` for host memory. For GPU memory, `Direct` if both vectors can stay on one GPU, else
        `Staged` through host memory. Data moves between GPUs by the first of these that applies:
        CUDA's interprocess handles (buffers of `swing.alloc`), NCCL, a GPU-aware MPI library.

    Raises:
        ImportError, ValueError: as `Direct` and `Staged`.
    """
    comm, target = call.comm, call.result
    source = target if call.sendbuf is MPI.IN_PLACE else call.sendbuf
    if not (device.is_on_device(source) or device.is_on_device(target)):
        return HOST
    both = device.is_on_device(source) and device.is_on_device(target)
    # CUDA's handles and NCCL involve all ranks' GPUs and have no deadline.
    joint = timeout is None and isinstance(comm, MPI.Intracomm)
    context = contexts.get(MPI._handleof(comm)) if joint else None
    windows = context.windows if context is not None else ()
    by_nccl = both and joint and is_wanted()
    aware = both and is_gpu_aware()
    if both and (windows or by_nccl or aware):
        direct = Direct(source, target)
        sent = MPI.IN_PLACE if direct.source is direct.target else direct.source
        with suppress(TypeError, ValueError):  # `_allreduce` raises them again, see `refuse`
            vector, result = vectors(sent, direct.target, comm)
            send, recv = vector.elements, result.elements
            if Direct.can(reduction(operation(comm, call.op), result), recv.dtype):
                if windows and windows.find(call.spec, send, recv) is not None:
                    direct.kind = Kind.IPC
                elif by_nccl:
                    direct.kind = Kind.NCCL
                if direct.one_gpu and (aware or direct.kind is not Kind.GPU_AWARE):
                    return direct
    return Staged(source, target)


def _allreduce(given: CollectiveCall, timeout: float | None, transport: Transport = HOST) -> Any:
    """Reduce buffers in host memory, or the stand-ins for others that ``transport`` made."""
    op = operation(given.comm, given.op)
    given.spec.check()
    deadline = None if timeout is None else Deadline(timeout)
    call = replace(given, op=op, deadline=deadline)
    try:
        reason = why_delegated(call)
        if reason:
            in_place = check_delegated(call, reason)
            if in_place and call.comm.is_inter:
                raise ValueError("an intercommunicator cannot reduce in place: pass recvbuf too")
        else:
            source, target = vectors(call.sendbuf, call.recvbuf, call.comm)
            reduce = reduction(op, target)
            in_place = source is target
    except (TypeError, ValueError) as error:
        refuse(call.comm, error)
        raise
    if reason:
        return _by_mpi(call, in_place, transport)
    send, recv = source.elements, target.elements
    shared = deadline is None and transport is HOST and _are_shared(call)
    memory = _memory(call, send, recv, reduce, shared, transport) if ON else ""
    try:
        context = agree(call, len(recv), recv.dtype, target.datatype, memory)
    except NoCommunicatorError:
        check_spec(call)
        return _by_mpi(call, in_place, transport)
    transport.start()
    program = context.program(call.spec, send, recv, reduce, deadline, shared, transport)
    program = [*source.before(), *program, *target.after()]
    # Not cached: a user's operation, which the user may free; a call under SWING_CHECK=1, which
    # compares every call; a program with a deadline or with copies of this call's buffers.
    if deadline is None and op.is_predefined and not ON and transport is HOST:
        known_calls.note(given, program, context)
    context.run(program, call.sendbuf, call.result, transport, source, target)
    return call.result


def _by_mpi(call: CollectiveCall, in_place: bool, transport: Transport) -> Any:
    """Leave an allreduce to the MPI library."""
    transport.before_mpi()
    sent, op = MPI.IN_PLACE if in_place else call.sendbuf, call.op or MPI.SUM
    arguments = call.comm, sent, call.result, op
    # Call the methods of mpi4py's class: `swing.Comm` overrides them and would come back here.
    with with_remedy(call.result):
        if call.deadline is None:
            MPI.Comm.Allreduce(*arguments)
        else:
            wait_for(MPI.Comm.Iallreduce(*arguments), call.deadline, "MPI_Iallreduce")
    transport.after_mpi()
    return call.result


def _memory(
    call: CollectiveCall,
    send: np.ndarray,
    recv: np.ndarray,
    reduce: Reduction,
    shared: bool,
    transport: Transport,
) -> str:
    """Describe the part of a call's memory that all ranks must have in common, for SWING_CHECK."""
    context = contexts.get(MPI._handleof(call.comm))
    if transport.kind is Kind.NCCL:
        return "a GPU's, by NCCL"
    if context is not None and (
        transport.kind is Kind.IPC
        or (shared and context.windows.program(call.spec, send, recv, reduce) is not None)
    ):
        return context.windows.places(send, recv)
    return "its own"


def explain(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op | None,
    spec: AlgorithmSpec,
    timeout: float | None = None,
) -> Explanation:
    """Explain an allreduce; see `swing.executor.explain`."""
    op = operation(comm, op)
    call = CollectiveCall("Allreduce", comm, sendbuf, recvbuf, op, spec)
    answer = explanation.explain(collectives.allreduce, call)
    transport = transport_of(call, timeout) if answer.engine else HOST
    if transport is not HOST:
        engine = "with CuPy's kernels" if transport.on_gpu else "because the vectors are staged"
        engine = explanation.engine_of(f"plain, {engine}")
        answer = replace(answer, staging=transport.staging, engine=engine)
        if transport.kind is Kind.IPC:
            # The scratch memory is one rank's block, rounded up.
            target, _ = vectors(MPI.IN_PLACE, transport.target, comm)
            block = -(-target.elements.nbytes // comm.size)
            return replace(answer, **_in_window(block))
    elif timeout is not None and answer.engine == "compiled":
        engine = explanation.engine_of("plain, because the call has a timeout")
        return replace(answer, engine=engine)
    elif timeout is None and answer.engine and _are_shared(call):
        source, target = vectors(sendbuf, recvbuf, comm)
        send, recv, reduce = source.elements, target.elements, reduction(op, target)
        if context_of(call.intracomm).windows.program(spec, send, recv, reduce) is not None:
            return replace(answer, **_in_window(PIECE))
    return answer


def _in_window(scratch: int) -> dict[str, Any]:
    """Return the fields of `Explanation` for an allreduce in memory of `swing.alloc`."""
    why = "all buffers come from swing.alloc: every rank reduces one block of all vectors"
    return {"algorithm": "shared memory", "variant": "", "ports": 0, "options": (),
            "torus": None, "scratch": scratch, "why": why}  # fmt: skip


def _are_shared(call: CollectiveCall) -> bool:
    buffers = call.sendbuf, call.result
    return all(isinstance(b, Shared) for b in buffers if b is not MPI.IN_PLACE)


def set_up(comm: MPI.Intracomm, deadline: Deadline | None) -> None:
    """Set up a communicator, so that later calls need not wait for other ranks; collective."""
    with suppress(NoCommunicatorError):  # then MPI runs the calls
        context_of(comm, deadline)


def alloc(comm: MPI.Intracomm, shape: Any, dtype: Any, gpu: bool) -> Any:
    """Allocate an array in shared memory; see `swing.executor.alloc`."""
    lengths, numbers = check_array(comm, shape, dtype)
    context = context_of(comm)
    known_calls.forget(context)  # their memory may have become part of a window
    return context.windows.alloc(lengths, numbers, gpu)


def run_cached(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
) -> bool:
    """Run a call if the cache has an earlier one like it; return whether it did."""
    algorithm, torus, consistent, options = spec
    if known_calls.table.look is not None and not options:
        error = known_calls.table.look(comm, sendbuf, recvbuf, op, algorithm, torus, consistent)
        if not error:
            return True
        if error > 0:  # an MPI error code; a call that is not in the table gives MISS, -1
            context = contexts[MPI._handleof(comm)]
            call = CollectiveCall("Allreduce", comm, sendbuf, recvbuf, op, AlgorithmSpec(*spec))
            fail = known_calls.table.found(context, call).program[0].compiled.fail
            context.run([partial(fail, error)], sendbuf, recvbuf)
    if not isinstance(comm, MPI.Intracomm):
        return False
    earlier = contexts.get(MPI._handleof(comm))
    likely = earlier or likely_context(comm)
    known = known_calls.find(likely, sendbuf, recvbuf, op, spec)
    if known is None or (earlier is None and context_of(comm, likely=likely) is not likely):
        return False
    if known.may_be_row and known.context.was_called:
        call = CollectiveCall("Allreduce", comm, sendbuf, recvbuf, op, AlgorithmSpec(*spec))
        known_calls.add_row(call, known)
    known.context.run(known.program, sendbuf, recvbuf)
    return True
