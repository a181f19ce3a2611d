"""How long parts that do not wait for each other keep the links busy: a fluid model.

Each part passes through its steps, one after the other. All parts that use a link at the same time
get equal shares of it, and nothing has a latency. On a square the parts fit together without gaps.
On a rectangle they drift apart: some links have nothing to do yet when others have too much, and
then the parts take longer than the bytes of the busiest link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

DONE = 1e-12
"""The fraction of a step that rounding may leave of it."""


def drained(parts: Sequence[Sequence[np.ndarray]]) -> float:
    """Return the time until the last part has passed through its steps.

    Args:
        parts: for each part its steps in order, each an (nlinks,) array of the time that every
            link needs for the bytes of that step alone.

    The first part passes through link 0 and then link 1, the second one the other way. They share
    link 1 for a while, and link 0 is idle then. No link needs more than 3 for its bytes.

    >>> drained([[np.array([1, 0]), np.array([0, 1])], [np.array([0, 2]), np.array([1, 0])]])
    4.0
    """
    later = [iter(steps) for steps in map(_merged, parts) if steps]
    load = np.array([next(steps) for steps in later], dtype=float)
    left = np.ones(len(load))  # of each part's present step
    clock = 0.0
    while len(load):
        sharing = (load > 0).sum(axis=0)
        alone = (load * sharing).max(axis=1)  # time of each present step, if all others stay
        passed = float((left * alone).min())
        clock += passed
        left -= passed / alone
        for i in np.flatnonzero(left <= DONE)[::-1].tolist():
            following = next(later[i], None)
            if following is None:
                del later[i]
                load, left = np.delete(load, i, axis=0), np.delete(left, i)
            else:
                load[i], left[i] = following, 1.0
    return clock


def _merged(steps: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Add up successive steps over the same links, and leave out steps without bytes."""
    merged: list[np.ndarray] = []
    for load in steps:
        if merged and np.array_equal(merged[-1] > 0, load > 0):
            merged[-1] = merged[-1] + load
        elif load.any():
            merged.append(load)
    return merged
