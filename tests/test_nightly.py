"""What takes minutes or gigabytes: ``pytest -m nightly tests/test_nightly.py``.

``SWING_RANDOM_CASES`` (1000000) and ``SWING_RANDOM_FIRST`` (0) cut the random cases into portions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import swing
from mpi_bench.launcher import command
from swing.select.candidates import family

pytestmark = pytest.mark.nightly

BENCH = ["-m", "mpi_bench"]
RANKS = [2, 3, 4, 5, 6, 7, 8]
CASES = int(os.environ.get("SWING_RANDOM_CASES", "1000000"))
FIRST = int(os.environ.get("SWING_RANDOM_FIRST", "0"))


def mpirun(ranks: int, *argv: str) -> str:
    """What rank 0 prints; every rank has to end well."""
    start, environment = command(ranks, [sys.executable, *argv])
    job = subprocess.run(
        start, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert job.returncode == 0, job.stderr
    return job.stdout


@pytest.mark.parametrize("ranks", RANKS)
def test_random_allreduces_are_mpis_and_the_same_on_all_ranks(ranks, pytestconfig, monkeypatch):
    monkeypatch.chdir(pytestconfig.rootpath)
    share = -(-CASES // len(RANKS))
    for first in range(FIRST, FIRST + share, 10_000):
        count = min(10_000, FIRST + share - first)
        tally = json.loads(mpirun(ranks, "-m", "tests.random_cases", str(first), str(count)))
        assert (tally["wrong"], tally["differ"], tally["cases"]) == (0, 0, count), tally["failed"]


@pytest.mark.parametrize("dims", ["2x4", "2x2x3", "3x5", "4x4"])
def test_every_schedule_of_the_family_gives_right_answers(dims):
    """Minutes where ranks share cores; mpi_bench ends with status 1 on a wrong answer."""
    place, sizes = ["--topology", f"torus:{dims}"], ["--sizes", "4B,60B,68KiB"]
    quick = ["--algorithm", "family", "--iterations", "1", "--warmup", "0", "--json"]
    ranks = swing.Torus.parse(dims).size
    rows = [json.loads(r) for r in mpirun(ranks, *BENCH, *place, *sizes, *quick).splitlines()]
    found = {(r["algorithm"], r["options"]) for r in rows if r["wrong"] == 0}
    named = [(name, json.dumps(dict(o))) for name, o in family(swing.Torus.parse(dims))]
    assert {("mpi", "{}"), *named} == found
    assert len(rows) == len(found) * 3


@pytest.mark.parametrize("variant", ["latency", "bandwidth"])
@pytest.mark.parametrize("name", ["swing", "recursive_doubling"])
def test_4096_ranks_get_the_same_bits(name, variant):
    assert swing.verify(swing.schedule(name, swing.Torus((64, 64)), variant=variant)).same_bits


LEAKS = """
import json, sys, time
import numpy as np
from mpi4py import MPI
import swing

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

world, cycles = MPI.COMM_WORLD, int(sys.argv[1])
for i in range(cycles):
    comm = swing.Comm(world.Dup())
    vector = np.ones(100)
    comm.Allreduce(MPI.IN_PLACE, vector)
    comm.Iallreduce(MPI.IN_PLACE, vector).Wait()
    assert (vector == comm.size ** 2).all()
    comm.Free()
    if i == cycles // 10:
        before, start = resident(), time.monotonic()
if world.rank == 0:
    seconds = time.monotonic() - start
    print(json.dumps({"before": before, "after": resident(), "seconds": seconds}))
"""


def test_duplicates_leak_neither_contexts_nor_memory():
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc to read the memory from")
    told = json.loads(mpirun(2, "-c", LEAKS, "20000"))
    print(told)
    assert told["after"] - told["before"] < 20 * 2**20  # a kilobyte for each of 18,000 cycles


LARGE = """
import sys
import numpy as np
from mpi4py import MPI
import swing

comm, count = swing.Comm(MPI.COMM_WORLD), 2**31 + 17
vector = np.ones(count, np.uint8)
vector[:: 2**20] = comm.rank + 2
vector[-1] = 100 + comm.rank
comm.Allreduce(MPI.IN_PLACE, vector)
p = comm.size
assert vector[-1] == 100 * p + p * (p - 1) // 2
assert (vector[: -1: 2**20] == 2 * p + p * (p - 1) // 2).all()
for start in range(0, count, 2**26):
    part = vector[start : start + 2**26]
    assert np.count_nonzero(part != p) == len(part[:: 2**20]) + (start + len(part) == count) - (
        start + len(part) == count and (count - 1) % 2**20 == 0
    )
"""


def test_counts_beyond_what_an_int_can_hold():
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 10 * 2**30:
        pytest.skip("needs 10 GB of memory that is free")
    mpirun(2, "-c", LARGE)
