"""Run tests/mpi on several numbers of ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mpi_bench.launcher import command

LIMIT = 1200  # seconds; a tenth or so is used where nothing else runs
PYTEST = [
    sys.executable, "-m", "pytest", "tests/mpi", "-q", "--color=no", "-p", "no:cacheprovider",
    "--capture=sys",  # what MPI itself prints before it ends a rank is to be seen
]  # fmt: skip


@pytest.mark.parametrize("ranks", [2, 3, 5, 8])
def test_on_ranks(ranks, pytestconfig):
    pytest.importorskip("mpi4py")
    argv, environment = command(ranks, [*PYTEST, "-o", f"faulthandler_timeout={LIMIT / 2}"])
    job = subprocess.Popen(
        argv,
        cwd=pytestconfig.rootpath,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that the ranks can be ended together
    )
    try:
        output, _ = job.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        output, _ = job.communicate()
        pytest.fail(f"{ranks} ranks took longer than {LIMIT} s\n{output}")
    assert job.returncode == 0, output
    assert output.count(" passed") == ranks, output
