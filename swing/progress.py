"""Progress of long work on standard error: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from time import monotonic
from types import FrameType, TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress as Bar

from swing.text_table import complain

T = TypeVar("T")

INTERVAL = 5.0
"""Seconds between two lines."""


class Progress:
    """Shows how far long work has come, and an estimate of the time that is left.

    Without a terminal, the first line is printed after `INTERVAL`, so that short work prints
    nothing. Lines come from a timer of the main thread instead of a thread of their own, since
    processes are forked meanwhile.

    Args:
        about: the work as a whole, such as the name of a network; it begins every line.
        disturbs: whether something may be printed at any time, instead of in `show` only, where it
            does not disturb a measurement.

    >>> with Progress() as progress:
    ...     for letter in progress.count("printing", "ab", 2):
    ...         print(letter)
    a
    b
    """

    def __init__(self, about: str = "", *, disturbs: bool = True) -> None:
        self._about = f"{about}: " if about else ""
        self._disturbs = disturbs
        self._bar = Bar(
            console=Console(stderr=True),
            redirect_stdout=False,
            transient=True,
            auto_refresh=disturbs,
        )
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._task = self._bar.add_task("", start=False) if on_terminal else None
        self._what, self._done, self._total = "", 0, 0
        self._start = self._printed = monotonic()

    def show(self, what: str, done: int = 0, total: int = 0) -> None:
        """Say what is under way, and how much of it is done.

        Args:
            what: such as "simulating"; another word begins another estimate.
            done: number of things that are done.
            total: number of all things, at most; 0 if it is unknown.
        """
        if what != self._what:
            self._what, self._start = what, monotonic()
            if self._task is not None:
                self._bar.reset(self._task, description=self._about + what, total=total or None)
        self._done, self._total = done, total
        if self._task is not None:
            self._bar.update(
                self._task, completed=done, total=total or None, refresh=not self._disturbs
            )
        elif not self._disturbs and monotonic() - self._printed > INTERVAL:
            self._print()

    def count(self, what: str, things: Iterable[T], total: int) -> Iterator[T]:
        """Iterate over things and show how many are done.

        Args:
            what: as for `show`.
            things: what to iterate over.
            total: their number.
        """
        self.show(what, 0, total)
        for done, thing in enumerate(things, start=1):
            yield thing
            self.show(what, done, total)

    def line(self) -> str:
        """Return a line that says how far the work has come."""
        seconds = monotonic() - self._start
        what = self._about + self._what
        words = [f"{what}: {self._done} of {self._total}" if self._total else what]
        words.append(f"{spelled(seconds)} so far")
        if 0 < self._done < self._total:
            left = seconds / self._done * (self._total - self._done)
            words.append(f"about {spelled(left)} left")
        return ", ".join(words)

    def __enter__(self) -> Progress:
        self._start = self._printed = monotonic()
        if self._task is not None:
            self._bar.start()
        elif self._disturbs and _may_use_timer():
            self._before = signal.signal(signal.SIGALRM, self._print)
            signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._bar.stop()
        elif self._disturbs and _may_use_timer():
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    def _print(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Print a line; the arguments are those of a signal handler."""
        self._printed = monotonic()
        complain(self.line())


def in_background(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, while this thread shows progress.

    Compiled code that releases the interpreter lock hinders neither the timer of a `Progress` nor
    Ctrl-C, if it runs in another thread than the main one.
    """
    outcome: Future[T] = Future()
    # A thread that is no daemon would keep the process alive after Ctrl-C.
    threading.Thread(target=_settle, args=(outcome, work), daemon=True).start()
    try:
        return outcome.result()
    finally:
        # The frames of an error must not keep alive what holds the error.
        del outcome


def _settle(outcome: Future[T], work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)
    finally:
        del outcome


def spelled(seconds: float) -> str:
    """Return a duration in words.

    >>> spelled(12.3), spelled(200), spelled(7000)
    ('12 s', '3 min', '1 h 57 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _may_use_timer() -> bool:
    on_main_thread = threading.current_thread() is threading.main_thread()
    return on_main_thread and hasattr(signal, "setitimer")
