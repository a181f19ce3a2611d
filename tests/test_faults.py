"""A rank that is killed, or stopped, in the middle of an allreduce: nobody waits forever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from mpi_bench.launcher import command

TIMEOUT = 5.0  # seconds that a rank waits for others
GRACE = 60.0  # and then for the machine: a start alone may take that long where much else runs

# Every rank works until one of them ends by signal, at a moment drawn at random: between the
# messages of some step where the call is nonblocking, anywhere where it is not.
VICTIM = """
import os, random, signal, sys, threading, time
import numpy as np
from mpi4py import MPI
import swing

victim, seed, sign, way = (int(word) for word in sys.argv[1:])
comm = swing.Comm(MPI.COMM_WORLD, timeout={timeout}, algorithm="swing", variant="bandwidth")
draw = random.Random(seed)
vector, result = np.ones(draw.choice([10, 5000, 300000])), np.empty(0)
swing.allreduce(MPI.COMM_WORLD, vector.copy())  # they meet, however late they start
steps, moment = draw.randrange(40), draw.uniform(0, 0.05)
print("started", flush=True)
mine = comm.rank == victim
if mine and not way:
    threading.Timer(moment, os.kill, (os.getpid(), sign)).start()
try:
    for i in range(10**6):
        if way:
            request = comm.Iallreduce(MPI.IN_PLACE, vector)
            while mine and not request.Test():
                steps -= 1
                if steps < 0:
                    os.kill(os.getpid(), sign)
            request.Wait()
        else:
            comm.Allreduce(MPI.IN_PLACE, vector)
        vector[:] = 1
except (TimeoutError, RuntimeError) as error:
    print(type(error).__name__, error, flush=True)
    os._exit(7)
"""


def begin(
    ranks: int, victim: int, seed: int, sign: signal.Signals, timeout: float
) -> subprocess.Popen[str]:
    """A job in which one rank gets a signal."""
    words = map(str, [victim, seed, int(sign), seed % 2])
    script = VICTIM.format(timeout=timeout)
    argv, environment = command(ranks, [sys.executable, "-c", script, *words])
    return subprocess.Popen(
        argv, env=os.environ | environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def stop(job: subprocess.Popen[str]) -> None:
    """End a job and all its ranks."""
    with suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert job.stdout is not None
    job.stdout.close()


def killed(seed: int) -> None:
    """Ranks would work for hours: that the job ends at all is due to the rank that is killed.

    MPICH's gforker and Open MPI's mpiexec end the others once one has died; a rank that they leave
    alone raises within its own timeout.
    """
    ranks = random.Random(seed).choice([2, 3, 4])
    job = begin(ranks, seed % ranks, seed, signal.SIGKILL, TIMEOUT)
    try:
        output, _ = job.communicate(timeout=TIMEOUT + GRACE)
    except subprocess.TimeoutExpired:
        pytest.fail(f"seed {seed}: of {ranks} ranks one was killed, and others hang")
    finally:
        stop(job)
    assert "started" in output


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_rank_ends_the_job(seed):
    pytest.importorskip("mpi4py")
    killed(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100))
def test_a_killed_rank_ends_the_job_at_any_step(seed):
    pytest.importorskip("mpi4py")
    killed(seed)


@pytest.mark.parametrize("seed", [0, 1], ids=["blocking", "nonblocking"])
def test_ranks_give_up_a_rank_that_stops(seed):
    pytest.importorskip("mpi4py")
    # It stays there and says nothing; a launcher does not notice. The others have to.
    job = begin(3, 2, seed, signal.SIGSTOP, 1.0)
    assert job.stdout is not None
    line, lines = "", []
    try:
        while "TimeoutError" not in line:
            line = job.stdout.readline()
            assert line, lines
            lines.append(line)
    finally:
        stop(job)
    assert "bytes" in line
    assert "within 1 s" in line
