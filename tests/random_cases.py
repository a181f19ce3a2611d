"""Random allreduces against MPI's own: ``mpiexec -n N python -m tests.random_cases FIRST COUNT``.

Case i is the same whenever it is drawn on as many ranks. Cases come in groups of `GROUP` that share
a torus and an algorithm, because making schedules takes longer than running them.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from typing import NamedTuple

import ml_dtypes
import numpy as np
from mpi4py import MPI

import swing
from tests.cases import options_of

GROUP = 25
WHOLE = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "F", "D", "g"]
BROKEN = ["f2", "f4", "f8", "F", "D", ml_dtypes.bfloat16]
NUMBERS = [MPI.SUM, MPI.PROD, MPI.MAX, MPI.MIN]
BITS = [MPI.BAND, MPI.BOR, MPI.BXOR, MPI.LAND, MPI.LOR, MPI.LXOR]


class Tally(NamedTuple):
    """What came of some cases.

    Args:
        cases: how many there were.
        wrong: those whose result was not MPI's on some rank.
        differ: those whose result did not have the same bytes on all ranks.
        failed: the first one that went wrong, in words.
    """

    cases: int
    wrong: int
    differ: int
    failed: str


def run(comm: MPI.Intracomm, first: int, count: int) -> Tally:
    """Run the cases from ``first`` on; all ranks do."""
    wrong, sums, words = np.zeros(count, np.int8), np.zeros((2, count), np.int64), [""] * count
    for i in range(count):
        group, nth = divmod(first + i, GROUP)
        if nth == 0 or i == 0:
            torus, choice = schedule_of(np.random.default_rng([comm.size, group]), comm.size)
            ours = swing.Comm(comm, torus=torus, **choice)
        rng = np.random.default_rng([comm.size, group, nth])
        good, result, words[i] = one(comm, ours, rng)
        wrong[i] = not good
        sums[:, i] = zlib.crc32(meaning(result))
        words[i] += f", {choice} on {torus!r}"
    sums[1] = -sums[1]
    comm.Allreduce(MPI.IN_PLACE, wrong, MPI.MAX)
    comm.Allreduce(MPI.IN_PLACE, sums, MPI.MAX)
    differ = sums[0] != -sums[1]
    bad = np.flatnonzero(differ | (wrong > 0))
    failed = f"case {first + bad[0]}: {words[bad[0]]}" if len(bad) else ""
    return Tally(count, int(wrong.sum()), int(differ.sum()), failed)


def schedule_of(rng: np.random.Generator, size: int) -> tuple[swing.Torus, dict[str, object]]:
    """A random torus of some ranks, and what to ask of `swing.Comm` for a random algorithm."""
    dims, rest = [], size
    while rest > 1:
        dims.append(int(rng.choice([d for d in range(2, rest + 1) if rest % d == 0])))
        rest //= dims[-1]
    dims.insert(int(rng.integers(len(dims) + 1)), 1) if rng.random() < 0.2 or not dims else None
    wrap = (rng.random(len(dims)) < 0.8).tolist()
    where = np.stack(np.unravel_index(rng.permutation(size), dims), axis=1)
    torus = swing.Torus(dims, wrap, coords=where if rng.random() < 0.5 else None)
    ways: list[dict[str, object]] = [{"algorithm": "auto"}]
    for name in swing.ALGORITHMS:
        ways += [{"algorithm": name, **options} for options in options_of(name, torus)]
    return torus, ways[int(rng.integers(len(ways)))]


def one(
    comm: MPI.Intracomm, ours: MPI.Intracomm, rng: np.random.Generator
) -> tuple[bool, np.ndarray, str]:
    """Whether a random allreduce is MPI's, its result, and what it was."""
    exact = bool(rng.random() < 0.7)
    dtype = np.dtype(rng.choice(WHOLE) if exact else BROKEN[rng.integers(len(BROKEN))])
    kinds = NUMBERS + (BITS if dtype.kind in "iu" else [])
    op = kinds[rng.integers(len(kinds) if dtype.kind != "c" else 2)]
    count = int(2 ** rng.uniform(0, 13)) - 1 if rng.random() < 0.97 else 100_003
    in_place, way = bool(rng.random() < 0.4), int(rng.integers(6))
    mine = numbers(rng, comm.rank, count, dtype, op, exact)
    given = np.dtype("f8") if dtype.kind == "V" else dtype  # MPI has no bfloat16
    expected = np.empty(count, given)
    comm.Allreduce(mine.astype(given), expected, op)
    result = mine.copy() if in_place else np.zeros_like(mine)
    buffers = (MPI.IN_PLACE, result) if in_place else (mine, result)
    if way == 0:
        ours.Iallreduce(*buffers, op).Wait()
    elif way == 1:
        request = ours.Allreduce_init(*buffers, op)
        request.Start()
        request.Wait()
        request.Free()
    else:
        ours.Allreduce(*buffers, op)
    words = f"{count} {dtype} {op.name if hasattr(op, 'name') else op}, in place: {in_place}, {way}"
    if exact or op in (MPI.MAX, MPI.MIN):
        return bool((result.astype(given) == expected).all()), result, words
    near = {"f2": 1e-2, "V2": 1e-1, "f4": 1e-4, "F4": 1e-4}.get(
        f"{dtype.kind}{dtype.itemsize}", 1e-4
    )
    size = np.abs(expected).max(initial=1)
    return bool((np.abs(result.astype(given) - expected) <= near * size).all()), result, words


def meaning(result: np.ndarray) -> bytes:
    """The bytes of a vector, less those that only fill up its elements."""
    table = result.view(np.uint8).reshape(-1, result.itemsize)
    used = 10 if result.dtype.char == "g" and np.finfo("g").nmant == 63 else result.itemsize
    return table[:, :used].tobytes()


def numbers(
    rng: np.random.Generator, rank: int, count: int, dtype: np.dtype, op: MPI.Op, exact: bool
) -> np.ndarray:
    """This rank's vector; what is ``exact`` is reduced without rounding in any order."""
    mine = np.random.default_rng([int(rng.integers(2**32)), rank])
    if not exact:
        values = mine.standard_normal(count) * 10.0 ** mine.integers(-2, 2, count)
        if op == MPI.PROD:
            values = 2.0 ** mine.uniform(-0.5, 0.5, count)
        return values.astype(dtype)
    if op == MPI.PROD:
        return mine.integers(1, 3, count).astype(dtype)
    top = 2 if op in BITS[3:] else 100 if dtype.itemsize > 1 else 15
    return mine.integers(0, top, count).astype(dtype)


def main() -> None:
    first, count = map(int, sys.argv[1:3])
    comm, start = MPI.COMM_WORLD, time.monotonic()
    tally = run(comm, first, count)
    if comm.rank == 0:
        seconds = round(time.monotonic() - start, 1)
        print(json.dumps(tally._asdict() | {"ranks": comm.size, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
