"""The plain engine: bind a plan to memory and run it over mpi4py, with or without a deadline.

A plan becomes a list of Python functions, one per instruction, with all arguments bound. It can run
to the end (`bind` and `run`) or as a generator that stops where it has to wait (`play`), for
nonblocking collectives. It reduces with any operation on any type, in host or GPU memory; the
compiled engine is faster where it applies (see `swing.executor.engines.compiled`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.reductions import Reduction
from swing.executor.buffers.transport import HOST, Transport
from swing.executor.engines.messages import Awaited, Message, SendRecv, Traffic, undelivered
from swing.executor.engines.messages import wait as wait_for_messages
from swing.executor.engines.wait import Deadline, policy
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
    traffic, by_mpi = Traffic(comm, tag), deadline is None and policy().spins

    def wait(awaited: Callable[[], Awaited]) -> None:
        wait_for_messages(awaited(), traffic, deadline, by_mpi)

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
            if isinstance(call, SendRecv):
                raise undelivered(call.step, [call.recv]) from error
            raise


def play(
    plan: Plan, memory: Memory, reduce: Reduction, comm: MPI.Intracomm, tag: int
) -> Generator[Awaited]:
    """Run this rank's plan, and yield the messages that have to be delivered before it goes on.

    Every other rank of ``comm`` runs its own plan with the same tag. Closing the generator releases
    all pending requests except those that it yielded last.
    """
    traffic = Traffic(comm, tag)
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
    traffic: Traffic | Nccl,
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

    rows, by_mpi = deque(plan), isinstance(traffic, Traffic)
    while rows:
        i = rows.popleft()
        if before_message and i.do in messages:
            yield False, before_message
        if i.do == Opcode.SENDRECV:
            recv = rows.popleft()
            if sendrecv and isinstance(traffic, Traffic):
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
