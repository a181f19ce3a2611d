"""How ranks wait for each other: one policy, for all waits of this process.

The policy (`swing.waiting`) is chosen by the number of ranks per core; the environment variable
SWING_WAIT overrides it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from swing.settings import WAIT
from swing.waiting import POLICIES, Policy, give_way


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
    if WAIT.get():
        return _name(), "SWING_WAIT says so"
    ranks, cores = _crowd
    why = f"{ranks} rank{'s' * (ranks > 1)} on {cores} core{'s' * (cores > 1)} of a node"
    return _name(), why


def policy() -> Policy:
    """Return the policy of this process."""
    return POLICIES[_name()]


def _name() -> str:
    named: str | None = WAIT.get()
    ranks, cores = _crowd
    return named or ("spin-yield" if ranks <= cores else "yield")


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
        else:
            give_way()
    return True
