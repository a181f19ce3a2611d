"""mpi4py's own tests of collectives, with its communicators replaced by `swing.Comm`.

    python tests/mpi4py_suite.py [--ranks 1,2,3,4,5,7,8] [--sdist mpi4py-X.Y.Z.tar.gz]

Fetches the source distribution of the mpi4py that is installed (by pip, unless ``--sdist`` names
one) and runs all tests of its modules `MODULES` on each number of ranks, under the MPI library that
mpi4py finds. Exit status 0: all passed; 1: some did not; 3: pip could not fetch the tests.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = ("test_cco_buf", "test_op", "test_msgzero", "test_cco_nb_buf", "test_cco_pr_buf")
LIMIT = 1800  # seconds for each number of ranks; a minute is usual
UNFETCHED = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", default="1,2,3,4,5,7,8")
    parser.add_argument("--sdist", type=Path)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # this is a rank
    given = parser.parse_args()
    if given.here:
        return be_a_rank(given.here)
    with tempfile.TemporaryDirectory() as folder:
        try:
            tests = unpack(given.sdist or fetch(Path(folder)), Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"skipped: pip could not fetch mpi4py's sources: {error.stderr.strip()[-300:]}")
            return UNFETCHED
        passed = [run(int(n), tests) for n in given.ranks.split(",")]
    return 0 if all(passed) else 1


def fetch(folder: Path) -> Path:
    """Download the sources of the mpi4py that is installed."""
    wanted = f"mpi4py=={version('mpi4py')}"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "mpi4py"]
    subprocess.run([*pip, "-d", str(folder), wanted], check=True, capture_output=True, text=True)
    return next(folder.glob("mpi4py-*.tar.gz"))


def unpack(sdist: Path, folder: Path) -> Path:
    """Where the tests of a source distribution have been put."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("mpi4py-*/test"))


def run(n: int, tests: Path) -> bool:
    """Whether the tests pass on n ranks."""
    from mpi_bench.launcher import command

    argv, environment = command(n, [sys.executable, __file__, "--here", str(tests)])
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | environment | {"PYTHONPATH": os.pathsep.join(paths)}
    job = subprocess.run(
        ["timeout", "-k", "5", str(LIMIT), *argv],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    told = [line for line in job.stdout.splitlines() if line.startswith("passed: ")]
    good = job.returncode == 0 and len(told) == 1
    print(f"{n} ranks: {told[0] if good else 'FAILED'}", flush=True)
    if not good:
        print(job.stdout)
    return good


def be_a_rank(tests: Path) -> int:
    """Run the tests on this rank; all ranks run the same ones."""
    sys.modules.update({"cupy": None, "numba.cuda": None})  # type: ignore[dict-item]
    from mpi4py import MPI

    import swing

    world = MPI.COMM_WORLD
    MPI.COMM_WORLD, MPI.COMM_SELF = swing.Comm(MPI.COMM_WORLD), swing.Comm(MPI.COMM_SELF)
    sys.path.insert(0, str(tests))
    suite = unittest.defaultTestLoader.loadTestsFromNames(MODULES)
    result = unittest.TextTestRunner(stream=io.StringIO(), failfast=True).run(suite)
    for test, trace in result.failures + result.errors:
        print(f"rank {world.rank}: {test}\n{trace}", flush=True)
    if not result.wasSuccessful():
        world.Abort(1)
    skipped = len(result.skipped)
    told = world.gather((result.testsRun - skipped, skipped))
    for passed, skipped in {*told} if world.rank == 0 else ():  # one line, if ranks agree
        print(f"passed: {passed}, skipped: {skipped}, {MPI.get_vendor()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
