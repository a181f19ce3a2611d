"""The ranks that run: tori of them, schedules for those, and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

import ml_dtypes
import numpy as np
from mpi4py import MPI

import swing
from swing.executor.session.infer_torus import shape_of
from tests.cases import options_of

WORLD = MPI.COMM_WORLD
SIZE, RANK = WORLD.size, WORLD.rank
FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def tori() -> list[swing.Torus]:
    """The default, a ring, and a grid that closes in one dimension only."""
    square, _ = shape_of(WORLD)
    dims = (SIZE // 4, 2, 2) if SIZE % 4 == 0 else (SIZE, 1, 1)
    return list(dict.fromkeys([square, swing.Torus(SIZE), swing.Torus(dims, (True, False, False))]))


@cache
def choices(torus: swing.Torus, collective: str = "allreduce") -> list[dict[str, object]]:
    """What to ask of `allreduce` or another collective for every schedule of a torus."""
    found: list[dict[str, object]] = [
        {"algorithm": name, "torus": torus, **options}
        for name in swing.ALGORITHMS
        if collective in swing.ALGORITHMS[name].collectives
        for options in options_of(name, torus)
    ]
    found += [
        {"algorithm": name, "torus": torus, "segments": 3}
        for name in ("swing", "windows", "recursive_multiplying", "bucket")
    ]
    if SIZE >= 4:
        found.append({"algorithm": "swing", "torus": torus, "variant": "hybrid", "k": 1})
    return found


def mixed(count: int, dtype: object, seed: int = 0) -> np.ndarray:
    """Numbers of this rank, which add up to something else in every order."""
    rng = np.random.default_rng([seed, RANK])
    large = 2 if np.dtype(dtype).itemsize == 2 else 6
    numbers = rng.standard_normal(count) * 10.0 ** rng.integers(-large, large, count)
    return numbers.astype(dtype)


def everywhere(truth: object) -> bool:
    """Whether it is so on every rank."""
    return WORLD.allreduce(bool(truth), MPI.LAND)


def same_bytes(vector: np.ndarray) -> bool:
    """Whether every rank has the same bytes."""
    return not differing([vector])


def differing(vectors: Sequence[np.ndarray]) -> list[int]:
    """Which vectors have not the same bytes on every rank."""
    digests = [blake2b(vector.tobytes(), digest_size=8).digest() for vector in vectors]
    mine = np.array([int.from_bytes(digest, "little", signed=True) for digest in digests])
    first = mine.copy()
    WORLD.Bcast(first)
    differs = (mine != first).astype("u1")
    WORLD.Allreduce(MPI.IN_PLACE, differs, MPI.MAX)
    return np.flatnonzero(differs).tolist()
