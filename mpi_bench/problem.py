"""Test vectors whose reduction is exact in any order, and a check of the results.

The elements are small whole numbers, so that floating-point results do not depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

# Vectors repeat after this many elements. It is prime, so that blocks of a vector differ and a
# block in the wrong position is noticed.
PERIOD = 8191
DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8")

Vector = NDArray[Any]


class Reduction(NamedTuple):
    """An MPI operation, the same operation in numpy, and a generator of small whole numbers."""

    op: MPI.Op
    ufunc: np.ufunc
    draw: Callable[[np.random.Generator, int], Vector]


REDUCTIONS = {
    # The sum is at most 7p: exact in float16 on up to 292 ranks, in float32 on 2 million.
    "sum": Reduction(MPI.SUM, np.add, lambda rng, p: rng.integers(1, 8, PERIOD)),
    # For each element about one rank contributes 2 and the others 1, so products stay small.
    "prod": Reduction(MPI.PROD, np.multiply, lambda rng, p: 1 + (rng.integers(0, p, PERIOD) == 0)),
    "max": Reduction(MPI.MAX, np.maximum, lambda rng, p: rng.integers(0, 101, PERIOD)),
    "min": Reduction(MPI.MIN, np.minimum, lambda rng, p: rng.integers(0, 101, PERIOD)),
}


class Problem:
    """The contribution of this rank to an allreduce, and the exact result.

    Args:
        rank: this rank.
        ranks: number of ranks.
        dtype: one of `DTYPES`.
        op: a key of `REDUCTIONS`.
    """

    def __init__(self, rank: int, ranks: int, dtype: str, op: str) -> None:
        self.dtype = np.dtype(dtype)
        self.op, ufunc, draw = REDUCTIONS[op]

        def contribution(r: int) -> Vector:
            return draw(np.random.default_rng(r), ranks).astype(self.dtype)

        self._mine = contribution(rank)
        self._answer = reduce(ufunc, map(contribution, range(ranks)))

    def vector(self, count: int) -> Vector:
        """Return (count,) this rank's contribution."""
        return np.resize(self._mine, count)

    def spoil(self, vector: Vector) -> None:
        """Set all bytes of a vector to 255, so that stale results are noticed."""
        vector.view(np.uint8).fill(255)

    def wrong(self, result: Vector) -> int:
        """Return how many elements differ from the exact result."""
        # Comparing period by period avoids a copy of the answer as long as the vector.
        end = len(result) // PERIOD * PERIOD
        periods, remainder = result[:end].reshape(-1, PERIOD), result[end:]
        differ = np.count_nonzero(periods != self._answer)
        return int(differ + np.count_nonzero(remainder != self._answer[: len(remainder)]))
