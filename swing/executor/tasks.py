"""What a prepared collective is: a task that runs a schedule, or a call left to the MPI library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

from mpi4py import MPI

from swing.algorithms import check_name
from swing.executor.buffers.datatypes import MAX_ELEMENT
from swing.executor.buffers.reading import vectors
from swing.executor.buffers.reductions import UndefinedOperation, is_defined, reduction
from swing.executor.buffers.specs import element_type
from swing.executor.engines.progress import Operation, Rounds
from swing.executor.gpu import device
from swing.executor.session import argument_check
from swing.executor.session.call import CollectiveCall, Options
from swing.executor.session.context import Context
from swing.executor.session.contexts import context_of
from swing.executor.session.layouts import BlockLayouts
from swing.executor.session.planner import Planner
from swing.executor.session.private import NoCommunicatorError
from swing.schedules.schedule import Schedule


@dataclass(frozen=True)
class Task:
    """A collective that is ready to start.

    Args:
        context: the communicator's context.
        rounds: returns the generator that runs the operation with a message tag.
        schedule: the schedule to run.
        options: the options that the schedule was made with.
        why: the reason for this schedule.
        scratch: bytes of scratch memory.
        keep: the buffers, which must stay in memory if the operation fails.
        engine: the engine that runs it in a blocking call, and why if it is not the compiled one.
    """

    context: Context
    rounds: Callable[[int], Rounds]
    schedule: Schedule
    options: Options
    why: str
    scratch: int
    keep: Any
    engine: str = "plain, the only engine for this collective"

    def start(self, tag: int) -> Operation:
        """Start the operation; all ranks start it with the same tag."""
        return self.context.begin(self.rounds(tag), self.keep)


@dataclass(frozen=True)
class Delegated:
    """A collective that the MPI library has to run, and the reason."""

    why: str


Prepared = Task | Delegated
Prepare = Callable[[CollectiveCall], Prepared]
"""A function of `swing.executor.collectives`."""


def or_delegate(prepare: Prepare) -> Prepare:
    """Leave a call to the MPI library if it cannot make a private communicator for it."""

    @wraps(prepare)
    def prepared(call: CollectiveCall) -> Prepared:
        try:
            return prepare(call)
        except NoCommunicatorError as error:
            check_spec(call)
            return Delegated(str(error))

    return prepared


def staged(prepare: Prepare, call: CollectiveCall) -> Prepared:
    """Prepare a collective whose buffers may be in GPU memory, by staging these on the host.

    They are copied as a whole before and after the collective. A blocking `swing.allreduce`
    overlaps the copies with its messages instead.

    Raises:
        TypeError: GPU memory in a collective that the MPI library has to run.
        TypeError, ValueError, TimeoutError: as ``prepare``.
    """
    sendbuf, recvbuf = call.sendbuf, call.recvbuf
    if not (device.is_on_device(sendbuf) or device.is_on_device(recvbuf)):
        return prepare(call)
    device.check_writable(recvbuf)
    send, recv = device.host_for(sendbuf), device.host_for(recvbuf)
    task = prepare(replace(call, sendbuf=send, recvbuf=recv))
    if isinstance(task, Delegated):
        raise TypeError(
            f"the MPI library has to run this collective ({task.why}), which takes no GPU memory "
            "here: copy the buffers to the host"
        )
    # The receive buffer holds data too: the vector in place, and the gaps between pieces.
    fetch = [partial(device.fetch, sendbuf, send), partial(device.fetch, recvbuf, recv)]
    rounds = surrounded(fetch, task.rounds, [partial(device.put, recv, recvbuf)])
    return Task(
        task.context, rounds, task.schedule, task.options, task.why, task.scratch, task.keep
    )


def surrounded(
    before: Iterable[Callable[[], object]],
    rounds: Callable[[int], Rounds],
    after: Iterable[Callable[[], object]],
) -> Callable[[int], Rounds]:
    """Make rounds that begin and end with calls, such as copies between buffers."""

    def all_rounds(tag: int) -> Rounds:
        for call in before:
            call()
        yield from rounds(tag)
        for call in after:
            call()

    return all_rounds


def why_delegated(call: CollectiveCall) -> str:
    """Return why the MPI library has to run a collective; empty if a schedule can."""
    if call.comm.is_inter:
        return "an intercommunicator joins two groups, not one torus"
    if call.op is None:
        return ""
    if not call.op.Is_commutative():
        return "the operation does not commute: MPI reduces in rank order"
    datatype = element_type(call.result, "the buffer")
    if not is_defined(call.op, datatype):
        return "the MPI standard does not define the operation for this type"
    if datatype is not None and datatype.size > MAX_ELEMENT:
        return f"numpy has no type for elements of {datatype.size} bytes"
    return ""


def check_delegated(call: CollectiveCall, why: str) -> bool:
    """Check the arguments of an allreduce that the MPI library runs, as strictly as for a schedule.

    Returns:
        Whether the call is in place.

    Raises:
        TypeError, ValueError: as `swing.allreduce`. Nothing has been sent.
    """
    assert call.op is not None
    send, recv = vectors(call.sendbuf, call.recvbuf, call.comm)
    reduction(call.op, recv)
    delegate(call, why)
    if isinstance(call.comm, MPI.Intracomm):
        # MPI's call cannot be made again after a timeout, but the wait for the other ranks' first
        # call on the communicator can.
        with suppress(NoCommunicatorError):
            context_of(call.comm, call.deadline)
    return send is recv


def delegate(call: CollectiveCall, why: str) -> Delegated:
    """Leave a call to the MPI library, on all ranks.

    Raises:
        ValueError: see `check_spec`.
    """
    check_spec(call)
    with suppress(NoCommunicatorError):  # then ranks cannot compare their arguments
        argument_check.leave(call, why)
    return Delegated(why)


@contextmanager
def with_remedy(result: Any) -> Iterator[None]:
    """Add the remedy to MPI's error for an operation that it does not define.

    Args:
        result: the receive buffer of the call that is left to MPI.
    """
    try:
        yield
    except MPI.Exception as error:
        if error.Get_error_class() != MPI.ERR_OP:
            raise
        undefined = UndefinedOperation(error.Get_error_code())
        datatype = element_type(result, "the buffer")
        if datatype is not None:
            undefined.type_name = datatype.name or "a derived datatype"
        raise undefined from error


def check_spec(call: CollectiveCall) -> None:
    """Check what was asked for in a call that the MPI library runs, as if a schedule ran it.

    Raises:
        ValueError: an algorithm, a torus or an option that does not fit.
    """
    if not isinstance(call.comm, MPI.Intracomm):  # the ranks of two groups have no torus
        if isinstance(call.spec.algorithm, str) and call.spec.algorithm != "auto":
            check_name(call.spec.algorithm)
        return
    planner = Planner(call.comm, is_one_node=False)
    if call.kind == "Allreduce":
        planner.check(call.spec)
    else:
        BlockLayouts(planner).check(call.kind.lower(), call.spec)
