"""Bind a plan to memory, and carry it out over mpi4py, with or without a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.ops import Reduction
from swing.executor.plan import Plan, Span

Memory: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The send buffer, the receive buffer and the scratch buffer, each (n,) of one type."""

Program: TypeAlias = list[Callable[[], Any]]
"""Functions to be called one after the other."""

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


def bind(
    plan: Plan,
    memory: Memory,
    reduce: Reduction,
    comm: MPI.Intracomm,
    deadline: Deadline | None = None,
) -> Program:
    """The program that carries out this rank's plan; every other rank of ``comm`` has its own.

    Run it with `run`. It raises TimeoutError where a message is not delivered by ``deadline``, and
    RuntimeError where MPI can not deliver it.
    """

    def at(span: Span) -> np.ndarray:
        return memory[span.buffer][span.elements]

    def message(peer: int, span: Span) -> Message:
        data = at(span)
        return Message((data, data.nbytes, MPI.BYTE), peer)

    program: Program = []
    for todo in plan.rounds:
        program += [partial(np.copyto, at(copy.target), at(copy.source)) for copy in todo.pack]
        recvs = [message(*transfer) for transfer in todo.recvs]
        sends = [message(*transfer) for transfer in todo.sends]
        if len(recvs) == len(sends) == 1 and deadline is None:
            program.append(partial(_swap, comm, todo.step, recvs[0], sends[0]))
        elif recvs or sends:
            program.append(partial(_exchange, comm, todo.step, recvs, sends, deadline))
        program += [partial(np.copyto, at(copy.target), at(copy.source)) for copy in todo.unpack]
        program += [partial(reduce, at(a), at(b), out=at(out)) for a, b, out in todo.reduce]
    return program


def run(program: Program) -> None:
    """Call everything in a program, in order."""
    for call in program:
        call()


def _swap(comm: MPI.Intracomm, step: int, recv: Message, send: Message) -> None:
    try:
        comm.Sendrecv(*send, _TAG, *recv, _TAG)
    except MPI.Exception as error:
        raise _undelivered(step, [recv]) from error


def _exchange(
    comm: MPI.Intracomm,
    step: int,
    recvs: list[Message],
    sends: list[Message],
    deadline: Deadline | None,
) -> None:
    requests: list[MPI.Request] = []
    try:
        for message in recvs:
            requests.append(comm.Irecv(*message, _TAG))
        for message in sends:
            requests.append(comm.Isend(*message, _TAG))
        if deadline is None:
            MPI.Request.Waitall(requests)
            return
        while not MPI.Request.Testall(requests):
            if deadline.passed:
                late = _late(requests, recvs, sends)
                raise TimeoutError(f"step {step}: no {late} within {deadline}")
            time.sleep(0)
    except BaseException as error:
        _abandon(requests, len(recvs))
        if isinstance(error, MPI.Exception):
            raise _undelivered(step, recvs) from error
        raise


def _undelivered(step: int, recvs: list[Message]) -> RuntimeError:
    words = ", ".join(f"{m.buffer[1]} bytes from rank {m.peer}" for m in recvs) or "what was sent"
    return RuntimeError(
        f"step {step}: MPI could not deliver {words}: pass equal counts and options on all ranks"
    )


def _late(requests: list[MPI.Request], recvs: list[Message], sends: list[Message]) -> str:
    """The messages still under way, in words."""
    words = [f"{m.buffer[1]} bytes from rank {m.peer}" for m in recvs]
    words += [f"{m.buffer[1]} bytes to rank {m.peer}" for m in sends]
    late = [w for w, request in zip(words, requests, strict=True) if not request.Test()]
    return ", no ".join(late)


def _abandon(requests: list[MPI.Request], nrecvs: int) -> None:
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
