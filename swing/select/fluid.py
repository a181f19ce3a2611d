"""How long parts that do not wait for each other keep the links busy: a fluid model.

Each part passes through its steps, one after the other, and nothing has a latency. All parts that
use a link at the same time get equal shares of it, as in the flow model, or each gets one message
through in turn, as in queues that keep messages to one peer in order. On a square the parts fit
together without gaps. On a rectangle they drift apart: some links have nothing to do yet when
others have too much, and then the parts take longer than the bytes of the busiest link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

DONE = 1e-12
"""The fraction of a step that rounding may leave of it."""

Run = tuple[int, np.ndarray]
"""A number of equal steps, and the (nlinks,) time that every link needs for the bytes of each."""


def drained(parts: Sequence[Sequence[Run]], in_order: bool = False) -> float:
    """Return the time until the last part has passed through its steps.

    Args:
        parts: for each part its steps in order.
        in_order: whether each part gets one message through a link in turn, however long it is;
            otherwise the parts have equal shares.

    The first part passes through link 0 and then link 1, the second one the other way. They share
    link 1 for a while, and link 0 is idle then. No link needs more than 3 for its bytes.

    >>> one, two = [(1, np.array([1, 0])), (1, np.array([0, 1]))], [(1, np.array([0, 2]))]
    >>> drained([one, [*two, (1, np.array([1, 0]))]])
    4.0
    """
    later = [iter(steps) for steps in map(_merged, parts) if steps]
    if not later:
        return 0.0
    now = [next(steps) for steps in later]
    count, load = (np.array(column, dtype=float) for column in zip(*now, strict=True))
    left = np.ones(len(load))  # of each part's present run of equal steps
    clock = 0.0
    while len(load):
        alone = _alone(count[:, None], load, in_order)
        passed = float((left * alone).min())
        clock += passed
        left -= passed / alone
        for i in np.flatnonzero(left <= DONE)[::-1].tolist():
            following = next(later[i], None)
            if following is None:
                del later[i]
                count, load, left = (np.delete(each, i, axis=0) for each in (count, load, left))
            else:
                (count[i], load[i]), left[i] = following, 1.0
    return clock


def _alone(count: np.ndarray, load: np.ndarray, in_order: bool) -> np.ndarray:
    """(parts,) time of each part's present run of steps, if all others stay in theirs."""
    if in_order:
        turns = (load / count).sum(axis=0)  # one message of each part
        time = count * turns * (load > 0)
    else:
        time = load * (load > 0).sum(axis=0)
    longest: np.ndarray = time.max(axis=1)
    return longest


def _merged(steps: Iterable[Run]) -> list[Run]:
    """Add up successive steps over the same links, and leave out steps without bytes."""
    merged: list[Run] = []
    for count, each in steps:
        load = count * each
        if merged and np.array_equal(merged[-1][1] > 0, load > 0):
            merged[-1] = merged[-1][0] + count, merged[-1][1] + load
        elif load.any():
            merged.append((count, load))
    return merged
