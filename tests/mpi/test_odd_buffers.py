"""Odd buffers: empty ones, those that do not fit their datatype, and types that are not ready."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import tasks
from swing.executor.buffers import datatypes
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


def test_dense_types_are_those_that_packing_leaves_as_they_are(comm):
    byte, short, integer = MPI.BYTE, MPI.SHORT, MPI.INT
    kinds = [
        (integer.Create_contiguous(2**9).Create_contiguous(2**9).Dup(), True),
        (integer.Create_vector(2**18, 1, 1), True),
        (integer.Create_vector(3, 2, 3), False),
        (integer.Create_vector(1, 2, 3), True),
        (integer.Create_vector(2, 2, 1), False),
        (integer.Create_hvector(3, 2, 8), True),
        (integer.Create_hvector(2, 1, -4).Create_resized(0, 8), False),
        (byte.Create_hindexed([2**18, 2**18], [2**18, 0]), False),
        (byte.Create_hindexed([2**18, 2**18], [0, 2**18]), True),
        (byte.Create_hindexed([2**18, 2**18], [2**18, 0]).Create_contiguous(2), False),
        (byte.Create_hindexed([1, 1], [1, 0]).Create_contiguous(2**9).Dup(), False),
        (byte.Create_hindexed([1, 1, 1], [0, 2, 1]), False),
        (short.Create_indexed([1, 0, 2], [0, 9, 1]), True),
        (short.Create_indexed([2, 2], [0, 1]).Create_resized(0, 8), False),
        (short.Create_indexed_block(2, [0, 2]), True),
        (short.Create_hindexed_block(2, [4, 0]), False),
        (MPI.Datatype.Create_struct([1, 2], [0, 4], [integer, short]), True),
        (MPI.Datatype.Create_struct([2, 1], [4, 0], [short, integer]), False),
        (MPI.Datatype.Create_struct([1, 1], [0, 6], [integer, short]), False),
        (integer.Create_subarray([3, 4], [3, 4], [0, 0]), True),
        (integer.Create_subarray([3, 4], [2, 4], [0, 0]), False),
        (integer.Create_resized(0, 4), True),
        (integer.Create_resized(0, 8), False),
        (MPI.DOUBLE_INT.Dup(), False),
    ]
    for datatype, dense in kinds:
        size = datatype.Commit().size
        element = np.arange(size).astype("u1") + np.arange(size).astype(">u4").view("u1")[1::4]
        assert is_dense(datatype) == dense, datatype.decode()
        if dense:
            message = np.empty_like(element)
            datatype.Pack(element, message, 0, comm)
            assert (message == element).all()
        datatype.Free()


def test_large_types_are_dense_without_a_look_at_their_bytes():
    """As programs make them whose counts do not fit into a C int."""
    row = MPI.BYTE.Create_vector(2, 2**31 - 1, 2**31 - 1)
    rest = MPI.BYTE.Create_contiguous(10)
    large = MPI.Datatype.Create_struct([1, 1], [0, row.size], [row, rest]).Commit()
    assert is_dense(large)
    for datatype in (row, rest, large):
        datatype.Free()


@pytest.mark.parametrize("kind", ["dense", "scattered"])
def test_elements_that_are_too_large_for_numpy_are_moved_and_reduced(comm, kind, monkeypatch):
    monkeypatch.setattr(datatypes, "MAX_ELEMENT", 15)
    monkeypatch.setattr(tasks, "MAX_ELEMENT", 15)
    ours, op = swing.Comm(comm), MPI.Op.Create(add_bytes, commute=True)
    pieces = MPI.BYTE.Create_vector(4, 4, 4 if kind == "dense" else 6)
    datatype = pieces.Create_resized(0, 24 - 8 * (kind == "dense")).Commit()
    mine = np.arange(48 * SIZE, dtype="u1") + RANK
    data = np.arange(48 * SIZE) % 6 < (4 if kind == "scattered" else 6)  # MPI lets gaps be anything
    for name in ("Allreduce", "Reduce_scatter_block", "Allgather"):
        arguments = () if name == "Allgather" else (op,)
        results = []
        for call in (getattr(comm, name), getattr(ours, name)):
            results.append(np.zeros(48 * SIZE, "u1"))
            call([mine, 2, datatype], [results[-1], 2, datatype], *arguments)
        request = getattr(ours, f"I{name.lower()}")
        results.append(np.zeros(48 * SIZE, "u1"))
        request([mine, 2, datatype], [results[-1], 2, datatype], *arguments).Wait()
        assert (results[1] == results[0])[data].all(), name
        assert (results[2] == results[0])[data].all(), name
    assert (
        "numpy has no type"
        in ours.explain("Allreduce", [mine, 2, datatype], [results[0], 2, datatype], op=op).why
    )
    for each in (datatype, pieces, op):
        each.Free()
