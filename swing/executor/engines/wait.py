"""How ranks wait for each other: one policy, for all waits of this process.

A rank that *spins* tests again and again, and finds out at once that it may go on, but occupies its
core. If there are more ranks than cores, the rank that it waits for may need that core, so it gives
the core up between tests. The policy is chosen by the number of ranks per core; the environment
variable SWING_WAIT overrides it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swing.settings import WAIT


@dataclass(frozen=True)
class Policy:
    """A way of waiting.

    Args:
        spin: seconds for which a rank tests without a pause.
        nap: seconds that it sleeps between later tests; 0 lets another process run, if one can.
        meaning: what it does, in words.
    """

    spin: float
    nap: float
    meaning: str

    @property
    def spins(self) -> bool:
        """Whether waits that MPI's own functions do, which spin, may be left to them."""
        return self.spin > 0


POLICIES = {
    "spin": Policy(math.inf, 0, "tests without a pause"),
    "spin-yield": Policy(5e-5, 0, "tests for 50 microseconds, then lets other processes run"),
    "yield": Policy(0, 0, "lets other processes run between tests"),
    "event": Policy(0, 1e-4, "sleeps for a tenth of a millisecond between tests"),
}
"""The policies by name, from the quickest to the one that takes least of a core."""


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


_crowd = 1, 1  # ranks of a communicator on this node, and their cores: the most ranks per core


def heed(ranks: int, cores: int) -> None:
    """Take note of a communicator that has so many ranks on this node, on so many cores."""
    global _crowd
    _crowd = max(_crowd, (ranks, cores), key=lambda crowd: (crowd[0] / crowd[1], crowd[0]))


def chosen() -> tuple[str, str]:
    """Return the name of the policy, and the reason for it.

    Raises:
        ValueError: SWING_WAIT names no policy.
    """
    named: str | None = WAIT.get()
    if named:
        return named, "SWING_WAIT says so"
    ranks, cores = _crowd
    why = f"{ranks} rank{'s' * (ranks > 1)} on {cores} core{'s' * (cores > 1)} of a node"
    return ("spin-yield" if ranks <= cores else "yield"), why


def policy() -> Policy:
    """Return the policy of this process."""
    return POLICIES[chosen()[0]]


def until(ready: Callable[[], bool], deadline: Deadline | None = None) -> bool:
    """Wait until ``ready()`` is true.

    Args:
        ready: tests whether the wait is over.
        deadline: when to give up; None waits without a limit.

    Returns:
        False if the deadline passed first.
    """
    if ready():
        return True
    way = policy()
    spin_until = time.monotonic() + way.spin
    while not ready():
        if deadline is not None and deadline.passed:
            return False
        if time.monotonic() < spin_until:
            continue
        if way.nap:
            time.sleep(way.nap)
        else:  # ``time.sleep(0)`` would sleep for the timer's slack, 50 microseconds
            os.sched_yield()
    return True
