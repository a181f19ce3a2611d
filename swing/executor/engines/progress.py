"""Operations under way: collectives that go on whenever one of them is tested or waited for.

An operation is an iterator over what it waits for: it sends and receives, says which messages it
awaits, and once they are there it is asked to go on. Whoever tests or waits for one operation lets
all of this process go on, on whatever communicators they are, so that ranks may wait for them in
different orders. While nobody does, a helper thread looks after them now and then: a rank that
computes, or waits in a call of MPI's own, does not hold up the others. The helper needs
THREAD_MULTIPLE, which mpi4py asks MPI for; without it ranks have to test or wait themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import numpy as np
from mpi4py import MPI

from swing.executor.engines.plain import Awaited, Deadline, abandon, late, undelivered

PATIENCE = 1e-3  # seconds without a test after which the helper steps in


Rounds: TypeAlias = Generator[Awaited]
"""An operation: what it waits for, one after the other."""

Fail: TypeAlias = Callable[[BaseException], object]


class Operation:
    """A collective under way.

    Args:
        rounds: what it does; its own until it is done.
        fail: called with the error if it fails.

    Attributes:
        done: whether it is over, well or not.
        error: what went wrong, if something did.
    """

    def __init__(self, rounds: Rounds, fail: Fail) -> None:
        self.done = False
        self.error: BaseException | None = None
        self._rounds = rounds
        self._fail = fail
        self._awaited = Awaited(0, [], [], [])
        self._at_end: list[Callable[[], object]] = []

    def start(self) -> None:
        """Send the first messages; from now on `advance` carries it on."""
        with _lock:
            self._go_on()
            if not self.done:
                _under_way.append(self)
        if not self.done:
            _call_helper()

    def when_done(self, call: Callable[[], object]) -> None:
        """Call something when it is over, which may be now."""
        with _lock:
            if not self.done:
                self._at_end.append(call)
                return
        call()

    def wait(self, deadline: Deadline | None = None) -> None:
        """Wait until it is over, and let all others go on meanwhile.

        Raises:
            TimeoutError: it was not over by the deadline, and is given up.
            RuntimeError: MPI could not deliver a message.
        """
        while not self.done:
            advance()
            if not self.done and deadline is not None and deadline.passed:
                self._give_up(deadline)
            time.sleep(0)
        self.check()

    def check(self) -> None:
        """Raise what went wrong, if something did."""
        if self.error is not None:
            raise self.error

    def _go_on(self) -> bool:
        """Go as far as messages allow; whether it is over. The lock is held."""
        try:
            while MPI.Request.Testall(self._awaited.requests):
                with np.errstate(all="ignore"):  # in MPI no overflow raises an error
                    self._awaited = next(self._rounds)
        except StopIteration:
            self._end(None)
        except MPI.Exception as error:
            words = undelivered(self._awaited.step, self._awaited.recvs)
            words.__cause__ = error
            self._end(words)
        except BaseException as error:
            self._end(error)
        return self.done

    def _give_up(self, deadline: Deadline) -> None:
        with _lock:
            if not self.done:
                step, requests, recvs, sends = self._awaited
                words = late(requests, recvs, sends)
                self._end(TimeoutError(f"step {step}: no {words} within {deadline}"))
                _under_way.remove(self)

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            abandon(self._awaited.requests, len(self._awaited.recvs))
            self._rounds.close()
            self._fail(error)
        self.error, self.done = error, True
        at_end, self._at_end = self._at_end, []  # they may refer to this operation
        for call in at_end:
            call()


def wait_for(request: MPI.Request, deadline: Deadline | None, name: str) -> None:
    """Wait for a request of MPI's, and let our operations go on meanwhile.

    Raises:
        TimeoutError: it has not been completed by the deadline, and never will be looked at again.
    """
    while not request.Test():
        advance()
        if deadline is not None and deadline.passed:
            raise TimeoutError(f"{name} is not over within {deadline}")
        time.sleep(0)


def advance() -> None:
    """Let all operations under way go as far as they can; at once if another thread does so."""
    global _last
    _last = time.monotonic()
    _advance()


_lock = threading.Lock()
_under_way: list[Operation] = []
_last = 0.0  # when somebody last tested
_spec = threading.Event()
_helper: list[threading.Thread] = []


def _advance() -> None:
    if not _lock.acquire(blocking=False):
        return
    try:
        _under_way[:] = [each for each in _under_way if not each._go_on()]
    finally:
        _lock.release()


def _call_helper() -> None:
    if not _helper and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
        _helper.append(threading.Thread(target=_help, name="swing", daemon=True))
        _helper[0].start()
    _spec.set()


def _help() -> Any:
    while True:
        _spec.wait()
        _spec.clear()
        while _under_way:
            time.sleep(PATIENCE)
            if time.monotonic() - _last > PATIENCE:
                _advance()
