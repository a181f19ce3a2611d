"""Random allreduces: a few here, a million of them nightly (tests/test_nightly.py)."""

from __future__ import annotations

import os

from mpi4py import MPI

from tests.random_cases import run

# Eight ranks on two cores take ten times as long per case as two.
CASES = int(os.environ.get("SWING_RANDOM_CASES", "200" if MPI.COMM_WORLD.size < 8 else "50"))


def test_random_allreduces_are_mpis_and_the_same_on_all_ranks(comm):
    tally = run(comm, 0, CASES)
    assert (tally.wrong, tally.differ, tally.cases) == (0, 0, CASES), tally.failed
