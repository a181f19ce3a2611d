"""A transport of one's own: vectors in a file, mapped into memory, in place of the user's."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import allreduce, dispatch, explain
from swing.executor.buffers.transport import Transport
from tests.mpi.world import RANK, SIZE

COUNTS = (0, 1, 5, 100_000)


class Filed(Transport):
    """Copies whole vectors of host memory to a file and back."""

    staging = "through a mapped file"

    def __init__(self, source, target, log):
        self.users, self.log = (source, target), log
        self.source = self.mapped(source)
        self.target = self.source if target is source else self.mapped(target)

    def mapped(self, vector):
        with tempfile.TemporaryFile() as file:  # which the mapping keeps
            file.truncate(max(1, vector.nbytes))
            return np.memmap(file, vector.dtype, shape=max(1, vector.size))[: vector.size]

    def start(self):
        self.log.append("start")
        np.copyto(self.source, self.users[0])

    def finish(self):
        self.log.append("finish")
        np.copyto(self.users[1], self.target)


@pytest.fixture
def log(monkeypatch):
    log = []

    def transport_of(call, timeout=None):
        target = call.result
        return Filed(target if call.sendbuf is MPI.IN_PLACE else call.sendbuf, target, log)

    monkeypatch.setattr(dispatch, "transport_of", transport_of)
    return log


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("count", COUNTS)
def test_vectors_go_through_the_transport_that_dispatch_chooses(comm, count, timeout, log):
    mine, total = np.arange(count) + float(RANK), np.zeros(count)
    for _ in range(2):  # not cached: the second call comes here, too
        assert allreduce(comm, mine, total, algorithm="ring", timeout=timeout) is total
        assert (total == SIZE * np.arange(count) + SIZE * (SIZE - 1) / 2).all()
        assert (mine == np.arange(count) + RANK).all()
    assert allreduce(comm, MPI.IN_PLACE, mine, algorithm="ring", timeout=timeout) is mine
    assert (mine == total).all()
    assert log == ["start", "finish"] * 3


def test_a_call_that_is_left_to_mpi_uses_it_too(comm, log):
    left = MPI.Op.Create(lambda a, b, _: None, commute=False)  # b, the last rank's, is the result
    mine = np.full(7, float(RANK))
    allreduce(comm, mine, op=left)
    assert (mine == SIZE - 1).all()
    assert log == ["start", "finish"]
    left.Free()


def test_explain_says_what_moves_the_data(comm, log):
    told = explain(comm, np.ones(3), algorithm="ring")
    assert told.staging == "through a mapped file"
    assert told.engine == "plain, because the vectors are staged"
    assert not log
    assert swing.Comm(comm).explain("Allreduce", MPI.IN_PLACE, np.ones(3)).staging == told.staging
