"""Minimal routes: dimension by dimension, the shorter way round; ties at half a ring by name."""

from __future__ import annotations

import numpy as np

from swing.torus import Array

TIES = ("split", "positive", "random", "adaptive", "simgrid")
"""What happens to a message whose peer lies exactly half a ring away.

split: half of it goes each way. positive: all goes to higher coordinates. random: each message
one way, by the seed. adaptive: each packet takes the emptier way; in a model without queues that
is split. simgrid: positive, except from coordinate d/2 (what SimGrid's torus does).
"""


def forward(
    d: int, wrap: bool, src: Array, dst: Array, ties: str, rng: np.random.Generator
) -> np.ndarray:
    """(m,) the fraction of every message that travels to higher coordinates of a ring of d."""
    if not wrap:
        return (dst > src).astype(float)
    up = (dst - src) % d
    share = (2 * up < d).astype(float)
    tied = np.flatnonzero(2 * up == d)
    if ties in ("split", "adaptive"):
        share[tied] = 0.5
    elif ties == "positive":
        share[tied] = 1.0
    elif ties == "random":
        share[tied] = rng.integers(0, 2, len(tied))
    elif ties == "simgrid":
        share[tied] = src[tied] != d // 2
    else:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}")
    return share


def distance(d: int, wrap: bool, src: Array, dst: Array) -> Array:
    """(m,) hops between coordinates of a ring of d, or of a row without wraparound."""
    up = (dst - src) % d
    hops: Array = np.minimum(up, d - up) if wrap else np.abs(dst - src)
    return hops
