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


FINALIZE = """
import sys, numpy as np, swing
from mpi4py import MPI
for comm in (MPI.COMM_WORLD, swing.Comm(MPI.COMM_SELF), MPI.COMM_WORLD.Dup()):
    swing.allreduce(comm, swing.alloc(comm, 1000))
if len(sys.argv) > 1:
    MPI.Finalize()
"""


@pytest.mark.parametrize("argument", [[], ["by hand"]], ids=["at the end", "by hand"])
def test_two_ranks_end_in_silence_after_alloc(argument):
    pytest.importorskip("mpi4py")
    argv, environment = command(2, [sys.executable, "-W", "error", "-c", FINALIZE, *argument])
    job = subprocess.run(
        argv, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert (job.returncode, job.stdout, job.stderr) == (0, "", "")
