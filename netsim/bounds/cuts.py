"""Cuts, and the least time in which bytes get through them.

A cut separates some vertices from the others, and consists of the links from those to these. Bytes
get over a link of it only after they have got to the link, and they count only after they have got
from there to the rank that needs them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Cuts(NamedTuple):
    """Cuts, a row each. The links of a cut come in groups of equal latency.

    Args:
        vectors: (c,) vectors that must get through each cut.
        latency: (c, k) seconds that a byte which crosses these links is under way, apart from its
            time on a link of the cut; ascending in each row.
        rate: (c, k) bytes per second of these links together; 0 behind the last group of a row.
        credit: (c, k) bytes that may still be on these links in the end.
    """

    vectors: np.ndarray
    latency: np.ndarray
    rate: np.ndarray
    credit: np.ndarray

    @classmethod
    def single(
        cls, vectors: np.ndarray, latency: np.ndarray, rate: np.ndarray, credit: np.ndarray
    ) -> Cuts:
        """Make cuts with one group each; all arguments are (c,) arrays."""
        return cls(vectors, latency[:, None], rate[:, None], credit[:, None])

    def seconds(self, nbytes: float) -> float:
        """Return the least time in which vectors of some bytes get through all cuts.

        Until a time T, a group carries at most rate·(T - latency) + credit bytes if its latency is
        over, and otherwise none. So enough bytes get through from the time on which is the smallest
        of the following, over the number k of groups whose latency is over:

            max(latency_k, (bytes + Σ rate_i·latency_i - Σ credit_i) ÷ Σ rate_i),  all sums to i = k

        0 if there are no cuts.
        """
        before = (self.rate * self.latency - self.credit).cumsum(axis=1)
        through = (nbytes * self.vectors[:, None] + before) / self.rate.cumsum(axis=1)
        return float(np.maximum(self.latency, through).min(axis=1).max(initial=0.0))
