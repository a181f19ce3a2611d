"""Vectors whose reduction is exact in any order, and how many answers differ from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

PERIOD = 8191  # vectors repeat after it: a prime, so that no two blocks of a vector look the same
DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8")

Vector = NDArray[Any]


class Reduction(NamedTuple):
    """An operation of MPI, the same in numpy, and whole numbers to apply it to."""

    op: MPI.Op
    ufunc: np.ufunc
    draw: Callable[[np.random.Generator, int], Vector]


REDUCTIONS = {
    # At most 7p: exact in float16 on up to 292 ranks, in float32 on 2 million.
    "sum": Reduction(MPI.SUM, np.add, lambda rng, p: rng.integers(1, 8, PERIOD)),
    # About one factor 2 an element, all others 1.
    "prod": Reduction(MPI.PROD, np.multiply, lambda rng, p: 1 + (rng.integers(0, p, PERIOD) == 0)),
    "max": Reduction(MPI.MAX, np.maximum, lambda rng, p: rng.integers(0, 101, PERIOD)),
    "min": Reduction(MPI.MIN, np.minimum, lambda rng, p: rng.integers(0, 101, PERIOD)),
}


class Problem:
    """What each rank contributes to an allreduce and what all of them must get."""

    def __init__(self, rank: int, ranks: int, dtype: str, op: str) -> None:
        self.dtype = np.dtype(dtype)
        self.op, ufunc, draw = REDUCTIONS[op]

        def contribution(r: int) -> Vector:
            return draw(np.random.default_rng(r), ranks).astype(self.dtype)

        self._mine = contribution(rank)
        self._answer = reduce(ufunc, map(contribution, range(ranks)))

    def vector(self, count: int) -> Vector:
        """(count,) this rank's contribution."""
        return np.resize(self._mine, count)

    def spoil(self, vector: Vector) -> None:
        """Overwrite a vector with bytes that no answer consists of."""
        vector.view(np.uint8).fill(255)

    def wrong(self, found: Vector) -> int:
        """How many elements differ from the exact answer."""
        whole = len(found) // PERIOD * PERIOD
        periods, rest = found[:whole].reshape(-1, PERIOD), found[whole:]
        differ = np.count_nonzero(periods != self._answer)
        return int(differ + np.count_nonzero(rest != self._answer[: len(rest)]))
