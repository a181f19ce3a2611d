"""Policies by which ranks wait for each other.

A rank that *spins* tests again and again, and finds out at once that it may go on, but occupies its
core. If there are more ranks than cores, the rank that it waits for may need that core, so it gives
the core up between tests. A new policy is one line of `POLICIES`: SWING_WAIT, `swing.explain` and
`python -m swing settings` read that table.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """A way of waiting.

    Args:
        spin: seconds for which a rank tests without a pause. If it does not sleep later, MPI's own
            functions may do the wait, and they spin for as long as it lasts.
        nap: seconds that it sleeps between later tests; 0 lets another process run, if one can.
        meaning: what it does, in words.
    """

    spin: float
    nap: float
    meaning: str

    @property
    def spins(self) -> bool:
        """Whether waits may be left to MPI's own functions, which spin and never sleep."""
        return self.spin > 0 and not self.nap


def cores() -> set[int]:
    """Return the cores that this process may run on; all of them where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def give_way() -> None:
    """Let another process run on this core, if one can."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()  # ``time.sleep(0)`` would sleep for the timer's slack, 50 microseconds
    else:
        time.sleep(0)


POLICIES = {
    "spin": Policy(math.inf, 0, "tests without a pause"),
    "spin-yield": Policy(5e-5, 0, "tests for 50 microseconds, then lets other processes run"),
    "yield": Policy(0, 0, "lets other processes run between tests"),
    "event": Policy(0, 1e-4, "sleeps for a tenth of a millisecond between tests"),
}
"""The policies by name, from the quickest to the one that takes least of a core."""
