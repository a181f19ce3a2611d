"""Odd buffers: empty ones, those that do not fit their datatype, and types that are not ready."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor.buffers.layout import is_dense
from tests.mpi.world import RANK, SIZE


@pytest.fixture
def gap():
    """An integer and four bytes that are no data."""
    gap = MPI.INT.Create_resized(0, 8).Commit()
    yield gap
    gap.Free()


def add_bytes(inbuf, inoutbuf, datatype):
    np.frombuffer(inoutbuf, "u1")[:] += np.frombuffer(inbuf, "u1")


def test_a_rank_may_have_nothing_to_give_or_to_gather(comm, gap):
    ours = swing.Comm(comm)
    n = int(RANK == 0)
    tables = [np.zeros(2, "i4") for _ in range(2)]
    for each, table in zip((comm, ours), tables, strict=True):
        each.Allgatherv(
            [np.full(2 * n, 7, "i4"), n, gap], [table, [1] + [0] * (SIZE - 1), [0] * SIZE, gap]
        )
        assert table.tolist() == [7, 0]


def test_nothing_in_an_empty_array_is_nothing(comm, gap):
    ours, op = swing.Comm(comm), MPI.Op.Create(add_bytes, commute=True)
    nothing = [np.empty(0, "i4"), 0, gap]
    for _ in range(2):
        ours.Allreduce(nothing, [np.empty(0, "i4"), 0, gap], op)
        ours.Allreduce(MPI.IN_PLACE, nothing, op)
        ours.Allgather(nothing, [np.empty(0, "i4"), 0, gap])
        ours.Reduce_scatter_block(nothing, [np.empty(0, "i4"), 0, gap], op)
    op.Free()


@pytest.mark.parametrize("zeros", [list, np.array])
def test_no_memory_holds_no_pieces(comm, zeros):
    counts = zeros([0] * SIZE)
    for recv in ([None, counts, MPI.INT], [None, (counts, counts), MPI.INT]):
        for each in (comm, swing.Comm(comm)):
            each.Allgatherv([None, 0, MPI.INT], recv)
    ones = zeros([1] * SIZE)
    for recv in ([None, ones, MPI.INT], [None, (ones, counts), MPI.INT]):
        with pytest.raises(ValueError, match="no memory but"):
            swing.Comm(comm).Allgatherv([None, 0, MPI.INT], recv)


def test_a_datatype_that_is_not_committed_is_refused_before_any_message(comm):
    ours, op = swing.Comm(comm), MPI.Op.Create(add_bytes, commute=True)
    for datatype in (
        MPI.INT.Create_contiguous(1),
        MPI.INT.Create_vector(1, 2, 2),
        MPI.INT.Create_hindexed([1], [4]),
    ):
        one, all_ = [np.ones(2, "i4"), 1, datatype], [np.ones(2 * SIZE, "i4"), 1, datatype]
        for call in (
            lambda one, _: ours.Allreduce(MPI.IN_PLACE, one, op),
            lambda one, _: ours.Iallreduce(MPI.IN_PLACE, one, op).Wait(),
            lambda one, all_: ours.Reduce_scatter_block(all_, one, op),
            lambda one, all_: ours.Allgather(one, all_),
            lambda one, all_: ours.Allgatherv(one, [all_[0], [1] * SIZE, None, one[2]]),
        ):
            with pytest.raises(ValueError, match="not committed: commit it first"):
                call(one, all_)
        datatype.Commit()
        ours.Allreduce(MPI.IN_PLACE, one, op)  # the communicator is as good as before
        datatype.Free()
    op.Free()


@pytest.mark.parametrize("count", [-1, (None, 9), 2**63, 2**62, (1, 2**63), (1, -1), (-(2**70), 0)])
def test_elements_that_can_not_be_are_a_value_error(comm, gap, count):
    ours = swing.Comm(comm)
    for datatype in (gap, MPI.DOUBLE):
        with pytest.raises(ValueError, match=r"64 bytes.*pass \[buffer, count") as caught:
            ours.Allgather([np.zeros(8), count, datatype], np.zeros(8 * SIZE))
        assert len(str(caught.value)) < 300
    for pieces in ([-1], [2**63], [2**62]):
        with pytest.raises(ValueError, match=r"bytes|negative") as caught:
            ours.Allgatherv(np.zeros(1), [np.zeros(8), pieces + [1] * (SIZE - 1), None, gap])
        assert len(str(caught.value)) < 300


def test_dense_types_are_known_without_a_look_at_every_byte(comm, monkeypatch):
    kinds = [
        (MPI.INT.Create_contiguous(2**18), True),
        (MPI.INT.Create_contiguous(2**9).Create_contiguous(2**9).Dup(), True),
        (MPI.INT.Create_vector(2**18, 1, 1), True),
        (MPI.BYTE.Create_hindexed([2**18, 2**18], [2**18, 0]), False),
        (MPI.BYTE.Create_hindexed([2**18, 2**18], [0, 2**18]), True),
        (MPI.BYTE.Create_hindexed([2**18, 2**18], [2**18, 0]).Create_contiguous(2), False),
        (MPI.BYTE.Create_hindexed([1, 1], [1, 0]).Create_contiguous(2**9).Dup(), False),
        (MPI.BYTE.Create_hindexed([1, 1, 1], [0, 2, 1]), False),
    ]
    for datatype, dense in kinds:
        assert is_dense(datatype.Commit(), comm) == dense
    monkeypatch.setattr("swing.executor.buffers.layout.Layout", None)
    for datatype, _ in kinds[:2]:
        assert is_dense(datatype, comm)
    for datatype, _ in kinds:
        datatype.Free()
