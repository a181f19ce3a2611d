"""Messages of a plan that are under way: begin them, wait for them, give them up."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from swing.executor.engines.wait import Deadline, until


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


class SendRecv(partial[Any]):
    """A call of mpi4py's Sendrecv, and the step and receive that an error message names.

    Calling a partial object runs no Python code, unlike a function that catches the error itself.
    """

    step: int
    recv: Message


class Traffic:
    """The pending messages of a plan on a communicator, by the slots of their requests."""

    def __init__(self, comm: MPI.Intracomm, tag: int) -> None:
        self._comm, self._tag = comm, tag
        self._recvs: dict[int, tuple[MPI.Request, Message]] = {}
        self._sends: dict[int, tuple[MPI.Request, Message]] = {}

    def irecv(self, step: int, slot: int, message: Message) -> None:
        """Begin to receive a message."""
        try:
            self._recvs[slot] = self._comm.Irecv(*message, self._tag), message
        except MPI.Exception as error:
            self.abandon()
            raise undelivered(step, [message]) from error

    def isend(self, step: int, slot: int, message: Message) -> None:
        """Begin to send a message."""
        try:
            self._sends[slot] = self._comm.Isend(*message, self._tag), message
        except MPI.Exception as error:
            self.abandon()
            raise undelivered(step, []) from error

    def sendrecv(self, step: int, recv: Message, send: Message) -> SendRecv:
        """A call that sends and receives a message and waits for both."""
        call = SendRecv(self._comm.Sendrecv, *send, self._tag, *recv, self._tag)
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


def wait(awaited: Awaited, traffic: Traffic, deadline: Deadline | None, by_mpi: bool) -> None:
    """Wait until messages are delivered, in MPI's own function if ``by_mpi``.

    Raises:
        TimeoutError: they are not by the deadline.
        RuntimeError: MPI could not deliver one.
    """
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
