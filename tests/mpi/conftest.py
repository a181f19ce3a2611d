"""These tests run on every rank of ``mpiexec -n N python -m pytest tests/mpi``.

All ranks run the same tests in the same order. A rank that fails says so and ends them all, for
the others would wait for it.
"""

from __future__ import annotations

import os

import pytest

LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # set by MPICH's and by Open MPI's mpiexec

if not any(name in os.environ for name in LAUNCHERS):
    collect_ignore_glob = ["*"]
else:
    from mpi4py import MPI

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if report.failed:
            text = f"rank {MPI.COMM_WORLD.rank}: {item.nodeid}\n{report.longreprtext}"
            capture = item.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():
                print(text, flush=True)
            MPI.COMM_WORLD.Abort(1)
        return report

    @pytest.fixture
    def comm():
        """A communicator of the test's own, with all ranks."""
        comm = MPI.COMM_WORLD.Dup()
        yield comm
        comm.Free()
