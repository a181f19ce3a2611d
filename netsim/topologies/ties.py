"""Tie-breaking on rings: which way a message goes when its peer is exactly half a ring away.

Routing is minimal and goes dimension by dimension, the shorter way round each ring, so that these
ties are the only choice there is.
"""

from __future__ import annotations

import numpy as np

from swing.checks import shown
from swing.torus import Array

TIES = {
    "split": "half of the message goes each way",
    "positive": "every message goes towards higher coordinates",
    "random": "each message goes one way, drawn with the seed",
    "adaptive": "each packet goes the less loaded way; models without queues treat it as split",
    "simgrid": "positive, except from coordinate d/2, as SimGrid's torus does it",
}
"""Rules for a message whose peer is exactly half a ring away."""


def forward(
    d: int, wrap: bool, src: Array, dst: Array, ties: str, rng: np.random.Generator
) -> np.ndarray:
    """(m,) the fraction of every message that travels to higher coordinates of a ring of d.

    Args:
        d: length of the ring, or of a row of a mesh.
        wrap: whether the last node has a link to the first.
        src: (m,) coordinates of the senders.
        dst: (m,) coordinates of the receivers.
        ties: a rule of `TIES`.
        rng: draws the directions of ``random`` ties; the other rules do not use it.

    Raises:
        ValueError: an unknown rule.
    """
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
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {shown(ties)}")
    return share
