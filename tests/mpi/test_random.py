"""Random allreduces: a few here, a million of them nightly (tests/test_nightly.py)."""

from __future__ import annotations

import os

from tests.random_cases import run

CASES = int(os.environ.get("SWING_RANDOM_CASES", "200"))  # five numbers of ranks: a thousand


def test_random_allreduces_are_mpis_and_the_same_on_all_ranks(comm):
    tally = run(comm, 0, CASES)
    assert (tally.wrong, tally.differ, tally.cases) == (0, 0, CASES), tally.failed
