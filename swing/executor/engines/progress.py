"""Progress of nonblocking collectives: every test or wait advances all operations of the process.

An operation is a generator that begins sends and receives, yields the messages it has to wait for,
and is resumed when they have been delivered. A test of one operation, or a wait for it, advances
all operations on all communicators, so ranks may wait for their operations in different orders.
While no thread tests or waits, a helper thread advances them about once per millisecond. So a rank
that computes, or waits in an MPI call of its own, does not delay the other ranks. The helper thread
needs MPI_THREAD_MULTIPLE, which mpi4py requests by default; without it operations only advance
while the rank tests or waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.engines.messages import Awaited, abandon, late, undelivered
from swing.executor.engines.wait import Deadline, until

PATIENCE = 1e-3  # seconds without a test after which the helper thread advances the operations


Rounds: TypeAlias = Generator[Awaited]
"""The generator of an operation: it yields the messages of one round after the other."""

Fail: TypeAlias = Callable[[BaseException], object]
"""A function to be called with the error of a failed operation."""


class Operation:
    """A nonblocking collective in progress.

    Args:
        rounds: the generator that carries it out; only this object may resume it.
        fail: called with the error if the operation fails.

    Attributes:
        done: whether the operation has ended, successfully or not.
        error: the error with which it failed, else None.
    """

    def __init__(self, rounds: Rounds, fail: Fail) -> None:
        self.done = False
        self.error: BaseException | None = None
        self._rounds = rounds
        self._fail = fail
        self._awaited = Awaited(0, [], [], [])
        self._at_end: list[Callable[[], object]] = []

    def start(self) -> None:
        """Begin the first messages; from now on `advance` continues the operation."""
        with _lock:
            self._proceed()
            if not self.done:
                _active.append(self)
        if not self.done:
            _wake_helper()

    def when_done(self, call: Callable[[], object]) -> None:
        """Call a function when the operation has ended; at once if it has ended already."""
        with _lock:
            if not self.done:
                self._at_end.append(call)
                return
        call()

    def wait(self, deadline: Deadline | None = None) -> None:
        """Wait until the operation has ended, and advance all other operations meanwhile.

        Raises:
            TimeoutError: the operation had not ended by the deadline; it is given up.
            RuntimeError: MPI could not deliver a message.
        """
        while not until(self._advanced, deadline):
            assert deadline is not None
            self._give_up(deadline)
        self.check()

    def _advanced(self) -> bool:
        """Advance all operations, and return whether this one has ended."""
        if not self.done:
            advance()
        return self.done

    def check(self) -> None:
        """Raise the error of the operation if it has failed."""
        if self.error is not None:
            raise self.error

    def _proceed(self) -> bool:
        """Proceed as far as possible; return whether it has ended. The caller holds the lock."""
        try:
            # The first test is of no requests and succeeds, so the generator's first round runs.
            while self._delivered():
                with np.errstate(all="ignore"):  # in MPI no overflow raises an error
                    self._awaited = next(self._rounds)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # not raised here, which may be another operation's test
            self._end(error)
        return self.done

    def _delivered(self) -> bool:
        """Return whether the awaited messages have been delivered."""
        try:
            return MPI.Request.Testall(self._awaited.requests)
        except MPI.Exception as error:
            raise undelivered(self._awaited.step, self._awaited.recvs) from error

    def _give_up(self, deadline: Deadline) -> None:
        with _lock:
            if not self.done:
                step, requests, recvs, sends = self._awaited
                pending = late(requests, recvs, sends)
                if not pending:  # all were delivered after the last test
                    return
                self._end(TimeoutError(f"step {step}: no {pending} within {deadline}"))
                _active.remove(self)

    def _end(self, error: BaseException | None) -> None:
        """End the operation. The caller holds the lock."""
        if error is not None:
            abandon(self._awaited.requests, len(self._awaited.recvs))
            self._rounds.close()
            self._fail(error)
        self.error, self.done = error, True
        # The functions may refer to this operation: drop them, to break the reference cycle.
        at_end, self._at_end = self._at_end, []
        for call in at_end:
            call()


def wait_for(request: MPI.Request, deadline: Deadline | None, name: str) -> None:
    """Wait for a request of an MPI call, and advance all operations meanwhile.

    Args:
        request: the request.
        deadline: when to give up; None waits without a limit.
        name: the name of the MPI call, for the error message.

    Raises:
        TimeoutError: the request has not completed by the deadline. It stays pending: its memory
            must be kept.
    """

    def ready() -> bool:
        advance()
        return request.Test()

    if not until(ready, deadline):
        raise TimeoutError(f"{name} did not complete within {deadline}")


def advance() -> None:
    """Advance all active operations as far as possible.

    It has no effect while another thread advances them.
    """
    global _last
    _last = time.monotonic()
    _advance()


_lock = threading.Lock()  # for all operations: only one thread at a time advances any of them
_active: list[Operation] = []
_last = 0.0  # when `advance` was last called
_has_work = threading.Event()
_helper: list[threading.Thread] = []  # the helper thread, once it has been started
_helper_lock = threading.Lock()


def _advance() -> None:
    if not _lock.acquire(blocking=False):
        return
    try:
        _active[:] = [each for each in _active if not each._proceed()]
    finally:
        _lock.release()


def _wake_helper() -> None:
    with _helper_lock:
        if not _helper and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            if MPI.Is_initialized():  # not a program with sessions only
                # MPI_Finalize frees MPI.COMM_SELF first: after it, the helper may not call MPI.
                MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=_end_all), None)
            _helper.append(threading.Thread(target=_help, name="swing", daemon=True))
            _helper[0].start()
    _has_work.set()


def _end_all(comm: MPI.Comm, keyval: int, value: object) -> None:
    """Wait until all operations have ended."""

    def ended() -> bool:
        advance()
        return not _active

    until(ended)


def _help() -> Any:
    while True:
        _has_work.wait()
        _has_work.clear()  # before the loop: an operation that starts during it sets it again
        while _active:
            time.sleep(PATIENCE)
            if time.monotonic() - _last > PATIENCE:
                _advance()
