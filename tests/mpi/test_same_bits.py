"""A call has the same bits whichever engine runs it, in whichever form, in every run."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

import swing
from tests.mpi.world import WORLD, choices, tori

TYPES = [*map(np.dtype, "efdgFDG"), np.dtype(ml_dtypes.bfloat16)]
CHOICES = [choice for torus in tori() for choice in choices(torus)]


def numbers(rng, count, dtype):
    """Numbers of mixed magnitude, among them zeros of both signs, infinities and NaNs."""
    real = rng.standard_normal(2 * count) * 10.0 ** rng.integers(-3, 3, 2 * count)
    special = rng.random(2 * count) < 0.1
    real[special] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], special.sum())
    with np.errstate(all="ignore"):
        if dtype.kind == "c":
            return real.astype(dtype.char.lower()).view(dtype)
        return real[:count].astype(dtype)


def memory(rng, count, dtype):
    """Memory of any alignment that the type has, with any contents."""
    nbytes, offset = count * dtype.itemsize, int(rng.integers(0, 4)) * dtype.itemsize
    return rng.integers(0, 256, nbytes + offset, np.uint8)[offset:].view(dtype)


def forms(ours, choice, mine, op, rng):
    """The result of a call in each form."""
    yield "two buffers", (out := memory(rng, len(mine), mine.dtype))
    ours.Allreduce(mine, out, op)
    yield "in place", (out := mine.copy())
    ours.Allreduce(MPI.IN_PLACE, out, op)
    yield "once more", (out := mine.copy())
    ours.Allreduce(MPI.IN_PLACE, out, op)
    yield "nonblocking", (out := memory(rng, len(mine), mine.dtype))
    ours.Iallreduce(mine, out, op).Wait()
    yield "persistent", (out := mine.copy())
    request = ours.Allreduce_init(MPI.IN_PLACE, out, op)
    request.Start()
    request.Wait()
    request.Free()
    yield "with a deadline", (out := memory(rng, len(mine), mine.dtype))
    swing.allreduce(WORLD, mine, out, op, timeout=300, **choice)


def check(case, monkeypatch):
    common, own = np.random.default_rng(case), np.random.default_rng([case, WORLD.rank])
    choice = CHOICES[common.integers(len(CHOICES))]
    dtype = TYPES[common.integers(len(TYPES))]
    ops = [MPI.SUM, MPI.PROD, *([] if dtype.kind == "c" else [MPI.MAX, MPI.MIN])]
    op = ops[common.integers(len(ops))]
    mine = numbers(own, int(common.integers(0, common.choice([9, 100, 3000]))), dtype)
    results = {}
    for engine in ("plain", "compiled")[: 1 if dtype == ml_dtypes.bfloat16 else 2]:
        monkeypatch.setenv("SWING_ENGINE", engine)
        twin = WORLD.Dup()
        ours = swing.Comm(twin, **choice)
        timed = forms(ours, choice, mine, op, own)
        for form, result in timed:
            results[engine, form] = result
            if form == "persistent":
                monkeypatch.setenv("SWING_ENGINE", "plain")  # the engine that has deadlines
        twin.Free()
    first = WORLD.bcast(results["plain", "two buffers"].tobytes())
    other = [form for form, result in results.items() if result.tobytes() != first]
    assert not other, (case, choice, dtype, op.name, len(mine))


@pytest.mark.parametrize("case", range(12))
def test_random_calls(case, monkeypatch):
    check(case, monkeypatch)


@pytest.mark.nightly
def test_two_thousand_random_calls(monkeypatch):
    for case in range(2000):
        check(case, monkeypatch)


@pytest.mark.parametrize("count", [1, 5, 95])
def test_products_of_complex_numbers(count, monkeypatch):
    """numpy's loop rounds a single product in another way than one of several."""
    rng = np.random.default_rng([count, WORLD.rank])
    mine = rng.standard_normal((count, 2)).view(complex).reshape(-1)
    found = set()
    for engine in ("plain", "compiled"):
        monkeypatch.setenv("SWING_ENGINE", engine)
        for algorithm in ("windows", "swing", "ring"):
            out = np.empty_like(mine)
            swing.allreduce(WORLD, mine, out, MPI.PROD, algorithm=algorithm)
            found.add((algorithm, WORLD.bcast(out.tobytes())))
            found.add((algorithm, out.tobytes()))
    assert len(found) == 3
