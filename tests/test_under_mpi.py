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


SESSION = """
import mpi4py
mpi4py.rc.initialize = False
import numpy as np
from mpi4py import MPI
import swing
from swing.executor.session.contexts import contexts
session = MPI.Session.Init(MPI.INFO_NULL, MPI.ERRORS_RETURN)
group = session.Create_group("mpi://WORLD")
comm = MPI.Intracomm.Create_from_group(group, errhandler=MPI.ERRORS_RETURN)
ours = swing.Comm(comm)
for op, kind in ((MPI.LAND, float), (MPI.BAND, complex), (MPI.MAXLOC, int)):
    for call in (ours.Allreduce, ours.Iallreduce, ours.Reduce_scatter_block):
        try:
            piece = 1 if "scatter" in call.__name__ else ours.size
            call(np.ones(ours.size, kind), np.ones(piece, kind), op)
        except MPI.Exception as error:
            assert error.Get_error_class() == MPI.ERR_OP, error
        else:
            raise SystemExit("not refused")
pairs = MPI.INT.Create_vector(2, 1, 2).Commit()
table = np.zeros((ours.size, 2), "i4")
ours.Allgather([np.arange(4, dtype="i4"), 1, pairs], [table, 2, MPI.INT])
assert (table == [0, 2]).all()
vector = np.ones(3)
ours.Allreduce(MPI.IN_PLACE, vector)
assert (vector == ours.size).all()
pairs.Free()
others = [MPI.Intracomm.Create_from_group(group, str(i)) for i in range(3)]
started, waiting, unused = (np.ones(1000) for _ in others)
request = swing.Comm(others[0]).Iallreduce(MPI.IN_PLACE, started)
persistent = swing.Comm(others[1]).Allreduce_init(MPI.IN_PLACE, waiting)
swing.allreduce(others[2], unused)
privates = [contexts[MPI._handleof(each)].lane.private for each in (comm, *others)]
for each in (comm, *others):
    each.Free()
persistent.Start()
request.Wait()
persistent.Wait()
persistent.Free()
for vector in (started, waiting, unused):
    assert (vector == group.size).all()
assert not any(private.comm for private in privates)
group.Free()
session.Finalize()  # while the requests are still objects
"""


def test_a_program_with_sessions_only_gets_mpis_errors():
    """MPI has nobody else to tell of an error than the communicator of the call."""
    pytest.importorskip("mpi4py")
    argv, environment = command(2, [sys.executable, "-c", SESSION])
    job = subprocess.run(
        argv, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert job.returncode == 0, job.stderr


FINALIZE = """
import sys, numpy as np, swing
from mpi4py import MPI
for comm in (MPI.COMM_WORLD, swing.Comm(MPI.COMM_SELF), MPI.COMM_WORLD.Dup()):
    swing.allreduce(comm, swing.alloc(comm, 1000))
if len(sys.argv) > 1:
    MPI.Finalize()
"""


UNFINISHED = """
import sys, numpy as np, swing
from mpi4py import MPI
vector = np.ones(10**6)
for comm in (swing.Comm(MPI.COMM_WORLD), swing.Comm(MPI.COMM_WORLD.Dup())):
    comm.Iallreduce(MPI.IN_PLACE, vector.copy())
comm.Free()
if len(sys.argv) > 1:
    MPI.Finalize()
"""


@pytest.mark.parametrize("program", [FINALIZE, UNFINISHED], ids=["alloc", "unfinished"])
@pytest.mark.parametrize("argument", [[], ["by hand"]], ids=["at the end", "by hand"])
def test_two_ranks_end_in_silence(argument, program):
    pytest.importorskip("mpi4py")
    argv, environment = command(2, [sys.executable, "-W", "error", "-c", program, *argument])
    job = subprocess.run(
        argv, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert (job.returncode, job.stdout, job.stderr) == (0, "", "")
