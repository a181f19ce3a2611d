"""Policies by which ranks wait for each other.

A rank that *spins* tests again and again, and finds out at once that it may go on, but occupies its
core. If there are more ranks than cores, the rank that it waits for may need that core, so it gives
the core up between tests. A new policy is one line of `POLICIES`: SWING_WAIT, `swing.explain` and
`python -m swing settings` read that table.
"""

from __future__ import annotations

import math
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


POLICIES = {
    "spin": Policy(math.inf, 0, "tests without a pause"),
    "spin-yield": Policy(5e-5, 0, "tests for 50 microseconds, then lets other processes run"),
    "yield": Policy(0, 0, "lets other processes run between tests"),
    "event": Policy(0, 1e-4, "sleeps for a tenth of a millisecond between tests"),
}
"""The policies by name, from the quickest to the one that takes least of a core."""
