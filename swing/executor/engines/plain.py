"""Bind a plan to memory, and carry it out over mpi4py, with or without a deadline."""

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
from swing.executor.gpu.device import Copies
from swing.executor.gpu.gpu_aware import Direct
from swing.executor.gpu.nccl import Nccl
from swing.executor.plan.instruction import Instruction, Opcode, Place
from swing.executor.plan.plan import Plan

Memory: TypeAlias = Sequence[np.ndarray]
"""The buffers of a plan, each (n,) of one type: to send, to receive, and scratch."""

Program: TypeAlias = list[Callable[[], Any]]
"""Functions to be called one after the other."""

MAX_PENDING = 32
"""Vectors that one kernel reduces; it takes no more than 4 KiB of arguments."""

_TAG = 0  # messages between two ranks never overtake each other: their order tells them apart


class Deadline:
    """A number of seconds from now."""

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, int | float | np.number):
            raise TypeError(f"timeout must be a number of seconds, such as 5.0, not {seconds!r}")
        if not seconds >= 0:
            raise ValueError(f"timeout must be 0 seconds or more, not {seconds}")
        self._seconds = seconds
        self._moment = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() > self._moment

    def __str__(self) -> str:
        return f"{self._seconds:g} s"


class Message(NamedTuple):
    """The first arguments of Irecv and Isend."""

    buffer: tuple[np.ndarray, int, MPI.Datatype]
    peer: int


class Awaited(NamedTuple):
    """Messages that have to be delivered before a rank goes on; receives come first."""

    step: int
    requests: list[MPI.Request]
    recvs: list[Message]
    sends: list[Message]


def bind(
    plan: Iterable[Instruction],
    memory: Memory,
    reduce: Reduction,
    comm: MPI.Intracomm,
    deadline: Deadline | None = None,
    copies: Copies | Direct | None = None,
    nccl: Nccl | None = None,
) -> Program:
    """The program that carries out this rank's plan; every other rank of ``comm`` has its own.

    Args:
        plan: of this rank.
        memory: of one type; on a GPU if ``copies`` is `Direct`.
        reduce: of numpy's.
        comm: ranks, numbered as in the plan.
        deadline: for all messages.
        copies: to and from a GPU, or what is done there.
        nccl: what moves messages instead of MPI.

    Run it with `run`. It raises TimeoutError where a message is not delivered by ``deadline``, and
    RuntimeError where MPI can not deliver it.
    """
    traffic = _Traffic(comm, _TAG)

    def wait(awaited: Callable[[], Awaited]) -> None:
        _wait(awaited(), traffic, deadline)

    return [
        partial(wait, call) if awaits else call
        for awaits, call in _actions(
            plan, memory, reduce, nccl or traffic, deadline is None, copies
        )
    ]


def run(program: Program) -> None:
    """Call everything in a program, in order."""
    for call in program:
        try:
            call()
        except MPI.Exception as error:
            if isinstance(call, _Swap):
                raise undelivered(call.step, [call.recv]) from error
            raise


class _Swap(partial[Any]):
    """A send and a receive at the same time: nothing but MPI's own function is called."""

    step: int
    recv: Message


def play(
    plan: Plan, memory: Memory, reduce: Reduction, comm: MPI.Intracomm, tag: int
) -> Generator[Awaited]:
    """Carry out this rank's plan; whenever messages have to be awaited, say which.

    Every other rank of ``comm`` has its own plan, under the same tag.
    """
    traffic = _Traffic(comm, tag)
    try:
        for awaits, call in _actions(plan, memory, reduce, traffic, swap=False):
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
    swap: bool,
    copies: Copies | Direct | None = None,
) -> Iterator[tuple[bool, Callable[[], Any]]]:
    """What to call for each instruction, and whether it says what to await."""
    copy: Callable[..., Any] = np.copyto
    direct = copies if isinstance(copies, Direct) else None
    chains = direct is not None and direct.chains(reduce)
    if direct is not None:
        copy, reduce, swap = direct.copy, direct.reduction(reduce), False

    def at(place: Place, count: int) -> np.ndarray:
        return memory[place.buffer][place.at : place.at + count]

    def message(i: Instruction) -> Message:
        data = at(i.a, i.length)
        return Message((data, data.nbytes, MPI.BYTE), i.peer)

    rows, by_mpi = deque(plan), isinstance(traffic, _Traffic)
    while rows:
        i = rows.popleft()
        if direct is not None and by_mpi and i.do in (Opcode.ISEND, Opcode.IRECV, Opcode.SENDRECV):
            yield False, direct.ready
        if i.do == Opcode.SENDRECV:
            recv = rows.popleft()
            if swap and isinstance(traffic, _Traffic):
                yield False, traffic.swap(i.step, message(recv), message(i))
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
            assert isinstance(copies, Copies)
            move = copies.fetch if i.do == Opcode.COPY_TO_HOST else copies.put
            yield False, partial(move, at(i.a, i.length))
        else:
            operands = [i.a, i.b]
            while chains and rows and len(operands) < MAX_PENDING and _goes_on(i, rows[0]):
                i = rows.popleft()
                operands.append(i.b)
            *values, out = (at(place, i.length) for place in (*operands, i.out))
            yield False, partial(reduce, *values, out=out)


def _goes_on(i: Instruction, following: Instruction) -> bool:
    """Whether a reduction is followed by one that reduces what came of it, which is used up."""
    return following[:5] == i[:5] and following.a == i.out


class _Traffic:
    """Messages under way on a communicator, by the slots of their requests."""

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

    def swap(self, step: int, recv: Message, send: Message) -> _Swap:
        found = _Swap(self._comm.Sendrecv, *send, self._tag, *recv, self._tag)
        found.step, found.recv = step, recv
        return found

    def take(self, step: int, slots: Iterable[int]) -> Awaited:
        """What is in some slots."""
        recvs = [self._recvs.pop(slot) for slot in slots if slot in self._recvs]
        sends = [self._sends.pop(slot) for slot in slots if slot in self._sends]
        requests = [request for request, _ in recvs + sends]
        return Awaited(step, requests, [m for _, m in recvs], [m for _, m in sends])

    def abandon(self) -> None:
        """Leave no request behind."""
        requests = [r for under_way in (self._recvs, self._sends) for r, _ in under_way.values()]
        abandon(requests, len(self._recvs))
        self._recvs.clear()
        self._sends.clear()


def _wait(awaited: Awaited, traffic: _Traffic, deadline: Deadline | None) -> None:
    step, requests, recvs, sends = awaited
    try:
        if deadline is None:
            MPI.Request.Waitall(requests)
            return
        while not MPI.Request.Testall(requests):
            if deadline.passed:
                words = late(requests, recvs, sends)
                if not words:  # they have come this moment
                    continue
                raise TimeoutError(f"step {step}: no {words} within {deadline}")
            time.sleep(0)
    except BaseException as error:
        abandon(requests, len(recvs))
        traffic.abandon()
        if isinstance(error, MPI.Exception):
            raise undelivered(step, recvs) from error
        raise


def undelivered(step: int, recvs: list[Message]) -> RuntimeError:
    """What to raise where MPI reports an error of some messages."""
    words = ", ".join(f"{m.buffer[1]} bytes from rank {m.peer}" for m in recvs) or "what was sent"
    return RuntimeError(
        f"step {step}: MPI could not deliver {words}: pass equal counts and options on all ranks"
    )


def late(requests: list[MPI.Request], recvs: list[Message], sends: list[Message]) -> str:
    """The messages still under way, in words."""
    words = [f"{m.buffer[1]} bytes from rank {m.peer}" for m in recvs]
    words += [f"{m.buffer[1]} bytes to rank {m.peer}" for m in sends]
    return ", no ".join(w for w, r in zip(words, requests, strict=True) if not r.Test())


def abandon(requests: list[MPI.Request], nrecvs: int) -> None:
    """Leave no request behind: receives come first and are cancelled, sends given up.

    MPI-4 deprecates that sends are cancelled, and MPICH 5 crashes on it. A message that is given
    up may still be read from memory, so that must not be freed before the communicator is.
    """
    for request in requests[:nrecvs]:
        with suppress(MPI.Exception):  # one that has failed is over, too
            if not request.Test():
                request.Cancel()
                request.Wait()
    for request in requests[nrecvs:]:
        with suppress(MPI.Exception):
            if not request.Test():
                request.Free()
