"""HeAT's own tests with mpi4py's communicators replaced by `swing.Comm`, outcome by outcome.

    python tests/heat_suite.py HEAT [--ranks 2,3] [--only tests.core.test_arithmetics]

HEAT is a checkout of https://github.com/helmholtz-analytics/heat at its tag v1.8.0; the Python that
runs this needs torch, torchvision and scipy besides this library. Every test has to have the same
outcome with mpi4py's communicators and with ours, on every rank. Exit status 0: so it is; 1: it is
not; 3: there is no checkout, or one of these packages is missing. The tests of large counts, in
test_communication and test_manipulations, take 3 and more than 8 GB of memory on each rank.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from mpi4py_suite import UNFETCHED, compare

NEEDS = ("torch", "torchvision", "scipy")
MODULES = [
    f"tests.core.{name}"
    for name in (
        "test_arithmetics", "test_statistics", "test_manipulations", "test_communication",
        "linalg.test_basics",
    )
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heat", type=Path, nargs="?")
    parser.add_argument("--ranks", default="2,3")
    parser.add_argument("--only", default=",".join(MODULES), help="comma-separated modules")
    given = parser.parse_args()
    if given.heat is None or not (given.heat / "heat").is_dir() or not all(map(find_spec, NEEDS)):
        print(f"skipped: pass a checkout of HeAT 1.8.0, to a Python that has {', '.join(NEEDS)}")
        return UNFETCHED
    only = given.only.split(",")
    same = [compare(int(n), given.heat.resolve(), only) for n in given.ranks.split(",")]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
