"""mpi4py's own tests with its communicators replaced by `swing.Comm`, outcome by outcome.

    python tests/mpi4py_suite.py [--ranks 2,3] [--sdist mpi4py-X.Y.Z.tar.gz] [--only test_comm]

Fetches the source distribution of the mpi4py that is installed (by pip, unless ``--sdist`` names
one) and runs its tests twice on each number of ranks, with mpi4py's communicators and with ours,
under the MPI library that mpi4py finds. Every test has to have the same outcome in both, on every
rank. Exit status 0: so it is; 1: it is not; 3: pip could not fetch the tests.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = {
    "test_spawn": "starts processes, which the launchers for many ranks on few cores cannot",
    "test_dynproc": "needs a name server",
    "test_doc": "looks at docstrings only",
    "test_package": "looks at the installation only",
    "test_toplevel": "starts interpreters",
}
# mpi4py tells its constants from copies of them, and ours are copies: they are nulled by free(),
# are not what the C interface makes, and are not what pickle finds by the names of the constants.
FOR_CONSTANTS = {
    "test_comm.TestCommSelf.testPickle",
    "test_comm.TestCommWorld.testPickle",
    "test_objmodel.TestObjModel.testCAPI",
    "test_objmodel.TestObjModel.testSafeFreeConstant",
}
LIMIT = 1800  # seconds for one run of all tests; two minutes are usual
UNFETCHED = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", default="2,3")
    parser.add_argument("--sdist", type=Path)
    parser.add_argument("--only", default="", help="comma-separated modules, such as test_comm")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # this is a rank
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    if given.here:
        return be_a_rank(given.here, only, given.ours)
    with tempfile.TemporaryDirectory() as folder:
        try:
            tests = unpack(given.sdist or fetch(Path(folder)), Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"skipped: pip could not fetch mpi4py's sources: {error.stderr.strip()[-300:]}")
            return UNFETCHED
        same = [compare(int(n), tests, only) for n in given.ranks.split(",")]
    return 0 if all(same) else 1


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


def compare(n: int, tests: Path, only: list[str]) -> bool:
    """Whether all tests have the same outcome on n ranks with our communicators as without."""
    theirs, ours = (run(n, tests, only, is_ours) for is_ours in (False, True))
    if not (theirs and ours):
        return False
    names = sorted({*theirs, *ours})
    other = [x for x in names if theirs.get(x) != ours.get(x)]
    for name in other:
        print(f"  {name}: {theirs.get(name)} with mpi4py's, {ours.get(name)} with ours")
    passed = sum(set(outcomes) == {"passed"} for outcomes in ours.values())
    print(f"{n} ranks: {len(names)} tests, {passed} pass, {len(other)} other outcomes", flush=True)
    return not other


def run(n: int, tests: Path, only: list[str], is_ours: bool) -> dict[str, list[str]]:
    """The outcomes of every test on n ranks, by its name; empty if the ranks did not end well."""
    from mpi_bench.launcher import command

    argv = [sys.executable, __file__, "--here", str(tests), "--only", ",".join(only)]
    argv, environment = command(n, argv + ["--ours"] * is_ours)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | environment | {"PYTHONPATH": os.pathsep.join(paths)}
    job = subprocess.run(
        ["timeout", "-k", "5", str(LIMIT), *argv],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    found = [line for line in job.stdout.splitlines() if line.startswith("outcomes: ")]
    if len(found) != 1:
        print(f"{n} ranks, {'ours' if is_ours else 'theirs'}: status {job.returncode}")
        print(job.stdout[-5000:])
        return {}
    outcomes: dict[str, list[str]] = json.loads(found[0].removeprefix("outcomes: "))
    return outcomes


class Outcomes(unittest.TextTestResult):
    """What became of every test."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.by_name: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.by_name[test.id()] = "passed"
        if os.environ.get("MPI4PY_SUITE_VERBOSE"):
            print(test.id(), file=sys.stderr, flush=True)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.by_name[test.id()] = "skipped"

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        self.note(test, err)

    def addError(self, test: unittest.TestCase, err: object) -> None:
        self.note(test, err)

    def note(self, test: unittest.TestCase, err: object) -> None:
        kind, text, _ = err  # type: ignore[misc]
        self.by_name[test.id()] = f"{kind.__name__}: {str(text)[:100]}"

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        if err is not None:
            self.note(test, err)


def each_test(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """All tests of a suite of suites."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from each_test(each)
        else:
            yield each


def check_handle(test: unittest.TestCase, comm: object) -> None:
    """Check that a topology's handle makes an equal communicator, of a class of the topology.

    In place of the check of `test_comm_topo`, which wants the very class. mpi4py makes objects of
    its own classes from handles, and ours has a class derived from those.
    """
    from mpi4py import MPI

    assert isinstance(comm, MPI.Comm)
    for make, handle in ((MPI.Comm.fromint, comm.toint()), (MPI.Comm.f2py, comm.py2f())):
        if handle != -1:
            assert make(handle) == comm
            assert isinstance(comm, type(make(handle)))


def be_a_rank(tests: Path, only: list[str], is_ours: bool) -> int:
    """Run the tests on this rank; all ranks run the same ones."""
    sys.modules.update({"cupy": None, "numba.cuda": None})  # type: ignore[dict-item]
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if is_ours:
        import swing

        MPI.COMM_WORLD, MPI.COMM_SELF = swing.Comm(MPI.COMM_WORLD), swing.Comm(MPI.COMM_SELF)
    sys.path.insert(0, str(tests))
    modules = only or sorted({path.stem for path in tests.glob("test_*.py")} - {*LEFT_OUT})
    loader = unittest.TestLoader()
    tests_found = [*each_test(loader.loadTestsFromNames(modules))]
    if loader.errors:  # such modules would fail alike with both
        print("\n".join(loader.errors), file=sys.stderr)
        return 1
    if "test_comm_topo" in sys.modules:
        sys.modules["test_comm_topo"].BaseTestTopo.checkHandle = check_handle
    suite = unittest.TestSuite(test for test in tests_found if test.id() not in FOR_CONSTANTS)
    runner = unittest.TextTestRunner(stream=io.StringIO(), resultclass=Outcomes)
    mine = runner.run(suite).by_name  # type: ignore[attr-defined]
    everyone = world.gather(mine)
    if everyone:
        outcomes = {name: [each.get(name, "none") for each in everyone] for name in mine}
        print("outcomes: " + json.dumps(outcomes), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
