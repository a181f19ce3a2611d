"""The plain engine: bind a plan to memory and run it over mpi4py, with or without a deadline.

A plan becomes a list of Python functions, one per instruction, with all arguments bound. It can run
to the end (`bind` and `run`) or as a generator that stops where it has to wait (`play`), for
nonblocking collectives. It reduces with any operation on any type, in host or GPU memory; the
compiled engine is faster where it applies (see `swing.executor.engines.compiled`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.reductions import Reduction
from swing.executor.buffers.transport import HOST, Transport
from swing.executor.engines.wait import policy, until
from swing.executor.gpu.nccl import Nccl
from swing.executor.plan.instruction import Instruction, Opcode, Place
from swing.executor.plan.plan import Plan

Memory: TypeAlias = Sequence[np.ndarray]
"""The buffers of a plan, (n,) each and of one type: send, receive and scratch.

Plans on shared memory have more of them, see `swing.executor.plan.shared`."""

Program: TypeAlias = list[Callable[[], Any]]
"""Functions to be called one after the other."""

MAX_OPERANDS = 32
"""The most operands that one GPU kernel reduces: CUDA limits a kernel's arguments to 4 KiB."""


class Deadline:
    """A point in time, given as a number of seconds from now.

    Raises:
        TypeError, ValueError: ``seconds`` is no number, or negative or NaN.
    """

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, int | float | np.number):
            raise TypeError(f"timeout must be a number of seconds, such as 5.0, not {seconds!r}")
        if not seconds >= 0:  # true for NaN, too
            raise ValueError(f"timeout must be 0 seconds or more, not {seconds}")
        self._seconds = seconds
        self._moment = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() > self._moment

    def __str__(self) -> str:
        return f"{self._seconds:g} s"


class Message(NamedTuple):
    """A message, as the first two arguments of mpi4py's Irecv and Isend."""

    buffer: tuple[np.ndarray, int, MPI.Datatype]
    peer: int


class Awaited(NamedTuple):
    """Messages that have to be delivered before a rank can go on.

    ``requests`` lists the requests of ``recvs``, then those of ``sends``, in the same order.
    """

    step: int
    requests: list[MPI.Request]
    recvs: list[Message]
    sends: list[Message]


def bind(
    plan: Iterable[Instruction],
    memory: Memory,
    reduce: Reduction,
    comm: MPI.Intracomm,
    tag: int = 0,
    deadline: Deadline | None = None,
    transport: Transport = HOST,
    nccl: Nccl | None = None,
) -> Program:
    """The program that runs this rank's plan, while every other rank of ``comm`` runs its own.

    Args:
        plan: the plan of this rank.
        memory: the buffers of the plan.
        reduce: the reduction.
        comm: a communicator with the plan's ranks.
        tag: the tag of all messages: MPI keeps messages between two ranks in order, so the order
            in which a plan begins them matches them.
        deadline: when to give up waiting for messages; None waits without a limit.
        transport: how the buffers' memory reaches the other ranks.
        nccl: sends and receives messages in place of MPI.

    Returns:
        The program, to be called by `run`. It raises TimeoutError if a message has not been
        delivered by the deadline, and RuntimeError if MPI could not deliver a message.
    """
    traffic, by_mpi = _Traffic(comm, tag), deadline is None and policy().spins

    def wait(awaited: Callable[[], Awaited]) -> None:
        _wait(awaited(), traffic, deadline, by_mpi)

    return [
        partial(wait, call) if awaits else call
        for awaits, call in _actions(plan, memory, reduce, nccl or traffic, by_mpi, transport)
    ]


def run(program: Program) -> None:
    """Call the functions of a program in order.

    Raises:
        TimeoutError, RuntimeError: see `bind`.
    """
    for call in program:
        try:
            call()
        except MPI.Exception as error:
            if isinstance(call, _SendRecv):
                raise undelivered(call.step, [call.recv]) from error
            raise


class _SendRecv(partial[Any]):
    """A call of mpi4py's Sendrecv, and the step and receive that an error message names.

    Calling a partial object runs no Python code, unlike a function that catches the error itself.
    """

    step: int
    recv: Message


def play(
    plan: Plan, memory: Memory, reduce: Reduction, comm: MPI.Intracomm, tag: int
) -> Generator[Awaited]:
    """Run this rank's plan, and yield the messages that have to be delivered before it goes on.

    Every other rank of ``comm`` runs its own plan with the same tag. Closing the generator releases
    all pending requests except those that it yielded last.
    """
    traffic = _Traffic(comm, tag)
    try:
        for awaits, call in _actions(plan, memory, reduce, traffic, sendrecv=False):
            if awaits:
                yield call()
            else:
                call()
    finally:
        traffic.abandon()


def _actions(
    plan: Iterable[Instruction],
    memory: Memory,
    reduce: Reduction,
    traffic: _Traffic | Nccl,
    sendrecv: bool,
    transport: Transport = HOST,
) -> Iterator[tuple[bool, Callable[[], Any]]]:
    """The functions to call for each instruction, and whether each returns messages to wait for.

    ``sendrecv`` is whether a SENDRECV may be a single blocking MPI call. With deadlines, with a
    policy that does not spin, and in nonblocking collectives it must not: it becomes a receive, a
    send and a wait.
    """
    copy, chains = transport.copy, transport.chains(reduce)
    before_message, messages = transport.before_message(), (
        Opcode.ISEND, Opcode.IRECV, Opcode.SENDRECV
    )  # fmt: skip
    reduce, sendrecv = transport.reduction(reduce), sendrecv and not transport.on_gpu

    def at(place: Place, count: int) -> np.ndarray:
        return memory[place.buffer][place.at : place.at + count]

    def message(i: Instruction) -> Message:
        data = at(i.a, i.length)
        return Message((data, data.nbytes, MPI.BYTE), i.peer)

    rows, by_mpi = deque(plan), isinstance(traffic, _Traffic)
    while rows:
        i = rows.popleft()
        if before_message and i.do in messages:
            yield False, before_message
        if i.do == Opcode.SENDRECV:
            recv = rows.popleft()
            if sendrecv and isinstance(traffic, _Traffic):
                yield False, traffic.sendrecv(i.step, message(recv), message(i))
            else:
                yield False, partial(traffic.irecv, i.step, 0, message(recv))
                yield False, partial(traffic.isend, i.step, 1, message(i))
                yield by_mpi, partial(traffic.take, i.step, range(2))
        elif i.do == Opcode.IRECV:
            yield False, partial(traffic.irecv, i.step, i.slot, message(i))
        elif i.do == Opcode.ISEND:
            yield False, partial(traffic.isend, i.step, i.slot, message(i))
        elif i.do == Opcode.WAIT:
            yield by_mpi, partial(traffic.take, i.step, range(i.slot, i.slot + i.length))
        elif i.do == Opcode.COPY:
            yield False, partial(copy, at(i.out, i.length), at(i.a, i.length))
        elif i.do in (Opcode.COPY_TO_HOST, Opcode.COPY_TO_DEVICE):
            move = transport.fetch if i.do == Opcode.COPY_TO_HOST else transport.put
            yield False, partial(move, at(i.a, i.length))
        else:
            # Fuse (x0 + x1) + x2 + … into one kernel: every launch costs microseconds.
            operands = [i.a, i.b]
            while chains and rows and len(operands) < MAX_OPERANDS and _continues(i, rows[0]):
                i = rows.popleft()
                operands.append(i.b)
            *values, out = (at(place, i.length) for place in (*operands, i.out))
            yield False, partial(reduce, *values, out=out)


def _continues(i: Instruction, following: Instruction) -> bool:
    """Whether the next instruction reduces the result of this one further, with equal length.

    That result is used nowhere else in a plan, so a fused kernel need not store it.
    """
    return following[:5] == i[:5] and following.a == i.out


class _Traffic:
    """The pending messages of a plan on a communicator, by the slots of their requests."""

    def __init__(self, comm: MPI.Intracomm, tag: int) -> None:
        self._comm, self._tag = comm, tag
        self._recvs: dict[int, tuple[MPI.Request, Message]] = {}
        self._sends: dict[int, tuple[MPI.Request, Message]] = {}

    def irecv(self, step: int, slot: int, message: Message) -> None:
        try:
            self._recvs[slot] = self._comm.Irecv(*message, self._tag), message
        except MPI.Exception as error:
            self.abandon()
            raise undelivered(step, [message]) from error

    def isend(self, step: int, slot: int, message: Message) -> None:
        try:
            self._sends[slot] = self._comm.Isend(*message, self._tag), message
        except MPI.Exception as error:
            self.abandon()
            raise undelivered(step, []) from error

    def sendrecv(self, step: int, recv: Message, send: Message) -> _SendRecv:
        call = _SendRecv(self._comm.Sendrecv, *send, self._tag, *recv, self._tag)
        call.step, call.recv = step, recv
        return call

    def take(self, step: int, slots: Iterable[int]) -> Awaited:
        """Remove the messages in these slots, to be waited for."""
        recvs = [self._recvs.pop(slot) for slot in slots if slot in self._recvs]
        sends = [self._sends.pop(slot) for slot in slots if slot in self._sends]
        requests = [request for request, _ in recvs + sends]
        return Awaited(step, requests, [m for _, m in recvs], [m for _, m in sends])

    def abandon(self) -> None:
        """Release all pending requests."""
        requests = [r for pending in (self._recvs, self._sends) for r, _ in pending.values()]
        abandon(requests, len(self._recvs))
        self._recvs.clear()
        self._sends.clear()


def _wait(awaited: Awaited, traffic: _Traffic, deadline: Deadline | None, by_mpi: bool) -> None:
    step, requests, recvs, sends = awaited
    try:
        if by_mpi:
            MPI.Request.Waitall(requests)
            return
        while not until(lambda: MPI.Request.Testall(requests), deadline):
            pending = late(requests, recvs, sends)
            if pending:  # else all were delivered between the two tests
                raise TimeoutError(f"step {step}: no {pending} within {deadline}")
    except BaseException as error:  # even KeyboardInterrupt: MPI must not write to freed memory
        abandon(requests, len(recvs))
        traffic.abandon()
        if isinstance(error, MPI.Exception):
            raise undelivered(step, recvs) from error
        raise


def undelivered(step: int, recvs: list[Message]) -> RuntimeError:
    """The error to raise if MPI fails to receive ``recvs``, or to send if there are none."""
    names = ", ".join(f"{m.buffer[1]} bytes from rank {m.peer}" for m in recvs) or "what was sent"
    return RuntimeError(
        f"step {step}: MPI could not deliver {names}: pass equal counts and options on all ranks"
    )


def late(requests: list[MPI.Request], recvs: list[Message], sends: list[Message]) -> str:
    """The pending messages, in words for an error message; empty if all have been delivered.

    ``requests`` are those of ``recvs`` and then of ``sends``.
    """
    names = [f"{m.buffer[1]} bytes from rank {m.peer}" for m in recvs]
    names += [f"{m.buffer[1]} bytes to rank {m.peer}" for m in sends]
    return ", no ".join(n for n, r in zip(names, requests, strict=True) if not r.Test())


def abandon(requests: list[MPI.Request], nrecvs: int) -> None:
    """Release pending requests: cancel the first ``nrecvs``, the receives, and free the sends.

    Sends are not cancelled: MPI-4 deprecates it and MPICH 5 crashes. MPI may still read the memory
    of a send that was freed while pending, so keep that memory until the communicator is freed.
    """
    for request in requests[:nrecvs]:
        with suppress(MPI.Exception):  # a request that failed is complete as well
            if not request.Test():
                request.Cancel()
                request.Wait()
    for request in requests[nrecvs:]:
        with suppress(MPI.Exception):
            if not request.Test():
                request.Free()
