"""Distances and loads on one ring, or on a row that does not close to a ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swing.torus import Array


def distance(d: int, wrap: bool, src: Array, dst: Array) -> Array:
    """Return the (m,) numbers of hops between coordinates, the shorter way round.

    Args:
        d: number of nodes.
        wrap: whether the last node has a link to the first and back.
        src: (m,) coordinates of the senders.
        dst: (m,) coordinates of the receivers.

    >>> a, b = np.array([0, 0, 5]), np.array([2, 4, 0])
    >>> distance(6, True, a, b).tolist(), distance(6, False, a, b).tolist()
    ([2, 2, 1], [2, 4, 5])
    """
    up = (dst - src) % d
    hops: Array = np.minimum(up, d - up) if wrap else np.abs(dst - src)
    return hops


def ring_load(changes: np.ndarray) -> NDArray[np.float64]:
    """Return the (n, d) total weight of the messages on each link of n rings.

    Link i joins nodes i and i + 1. Going around the ring, the load rises by a message's weight at
    its first link and falls by as much after its last link, so the loads are prefix sums. This
    costs O(messages + n·d), however many links the messages cross.

    Args:
        changes: (n, 2d) the change of the load at each link. Each ring is laid out twice, so that a
            message may run past its end.

    On a ring of 4, a message of weight 1 over links 0 and 1, and one of 0.5 over links 3 and 0:

    >>> ring_load(np.array([[1, 0, -1, 0.5, 0, -0.5, 0, 0]])).tolist()
    [[1.5, 1.0, 0.0, 0.5]]
    """
    d = changes.shape[1] // 2
    sums = np.cumsum(changes, axis=1)
    load: NDArray[np.float64] = sums[:, :d] + sums[:, d:]
    return load
