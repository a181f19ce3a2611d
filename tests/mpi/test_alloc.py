"""Buffers of `swing.alloc`: all ranks reduce where the vectors lie."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import dispatch
from swing.executor.plan import shared
from swing.executor.session import argument_check
from swing.executor.session.call_cache import known_calls
from swing.executor.session.contexts import context_of
from tests.mpi.world import RANK, SIZE, mixed

COUNTS = [1, SIZE - 1, 1000, 70_001]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr("swing.executor.session.windows.MIN_PIECE", 0)


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("count", COUNTS)
def test_the_sum_is_that_of_all_in_the_order_of_ranks(comm, count, engine, monkeypatch):
    monkeypatch.setenv("SWING_ENGINE", engine)
    send, recv = (swing.alloc(comm, count, np.float32) for _ in range(2))
    for seed in range(3):
        send[:] = mixed(count, np.float32, seed)
        everyone = np.empty((SIZE, count), np.float32)
        comm.Allgather(np.asarray(send), everyone)
        expected = everyone[0]
        for other in everyone[1:]:
            expected = expected + other
        assert swing.allreduce(comm, send, recv) is recv
        assert recv.tobytes() == expected.tobytes()
        assert (send == everyone[RANK]).all()
        assert swing.allreduce(comm, send) is send
        assert send.tobytes() == expected.tobytes()


def test_explain_says_that_no_schedule_is_run(comm):
    vector = swing.alloc(comm, 1000)
    told = swing.explain(comm, vector)
    assert (told.algorithm == "shared memory") == (SIZE > 1)
    assert swing.explain(comm, vector.copy()).algorithm != "shared memory"
    assert swing.explain(comm, vector, algorithm="ring").algorithm == "ring"


def test_parts_of_arrays_and_other_shapes(comm):
    whole = swing.alloc(comm, (4, 1000))
    whole[:] = np.arange(4)[:, None]
    swing.allreduce(comm, whole[1:3])
    assert (whole == np.array([0, SIZE, 2 * SIZE, 3])[:, None]).all()
    swing.allreduce(comm, whole[0], whole[3])
    assert (whole[3] == 0).all()


def test_what_can_not_be_reduced_there_goes_as_usual(comm):
    send, recv = swing.alloc(comm, 500, np.int64), np.empty(500, np.int64)
    send[:] = RANK + 1
    total = SIZE * (SIZE + 1) // 2
    for choice in ({"timeout": 60}, {"algorithm": "ring"}, {"op": MPI.LAND}):
        expected = 1 if "op" in choice else total
        assert (swing.allreduce(comm, send, recv, **choice) == expected).all()
    assert (swing.allreduce(comm, send, np.empty(500, np.int64)) == total).all()
    assert (send == RANK + 1).all()


def test_small_vectors_go_by_message(comm, monkeypatch):
    assert (swing.explain(comm, swing.alloc(comm, 5)).algorithm == "shared memory") == (SIZE > 1)
    monkeypatch.setattr("swing.executor.session.windows.MIN_PIECE", shared.MIN_PIECE)
    send = swing.alloc(comm, 5)
    assert swing.explain(comm, send).algorithm != "shared memory"
    for _ in range(3):
        send[:] = 1
        assert (swing.allreduce(comm, send) == SIZE).all()


def test_ordinary_arrays_of_the_same_size_are_not_mistaken_for_shared_ones(comm):
    there, here = swing.alloc(comm, 300), np.ones(300)
    for _ in range(3):
        there[:] = 1
        assert (swing.allreduce(comm, there) == SIZE).all()
        assert (swing.allreduce(comm, here.copy()) == SIZE).all()


def test_what_is_known_of_memory_ends_where_a_window_begins(comm):
    copy = swing.alloc(comm, 300).copy()  # of the same class, and yet in ordinary memory
    context, send = context_of(comm), copy[:]
    for _ in range(2):
        copy[:] = 1
        assert (swing.allreduce(comm, send) == SIZE).all()
    assert len(context.windows._programs)
    swing.alloc(comm, 300)
    assert not len(context.windows._programs)
    assert known_calls.find(context, send, None, None, ("auto", None, True, ())) is None


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
def test_communicators_are_freed_in_any_order(comm, kept):
    """As in MPI, no rank waits for the others."""
    several = [comm.Dup() for _ in range(3)]
    arrays = []
    for each in several:
        arrays.append(swing.alloc(each, 1000))
        arrays[-1][:] = 1
        assert (swing.allreduce(each, arrays[-1]) == SIZE).all()
    if not kept:
        arrays.clear()
    for i in np.roll(np.arange(3), RANK).tolist():
        several[i].Free()
        comm.Barrier()
    assert all((array == SIZE).all() for array in arrays)


@pytest.mark.parametrize("algorithm", ["auto", "ring"])
def test_the_next_communicator_repeats_no_call_in_a_window(comm, algorithm):
    """One rank passes the old array, which is an ordinary one by now, and the others another."""
    mine = comm.Dup()
    there = swing.alloc(mine, 1000)
    for _ in range(4):
        there[:] = 1
        assert (swing.allreduce(mine, there, algorithm=algorithm) == SIZE).all()
    mine.Free()
    following = comm.Dup()
    vector = there if RANK == 0 else np.empty(1000)
    for _ in range(3):
        vector[:] = 1
        assert (swing.allreduce(following, vector, algorithm=algorithm) == SIZE).all()
    following.Free()


@pytest.mark.parametrize(
    ("shape", "dtype", "error"),
    [
        (-3, float, "-3"),
        ((2, -1), float, "-1"),
        ((2**40, 2**40), float, "1099511627776"),
        (2**62, "u1", "fewer elements"),
        (2.5, float, "2.5"),
        (3, object, "object"),
    ],
)
def test_one_rank_alone_is_refused_an_array_that_can_not_be(comm, shape, dtype, error):
    mine = comm.Dup()  # on which no call has been made
    if RANK == 0:
        with pytest.raises((TypeError, ValueError), match=error) as caught:
            swing.alloc(mine, shape, dtype)
        assert len(str(caught.value)) < 300
    assert swing.alloc(mine, (2, 0)).shape == (2, 0)
    mine.Free()


def test_ranks_of_several_nodes_share_no_memory(comm, monkeypatch):
    monkeypatch.setitem(vars(context_of(comm).windows), "_is_one_node", False)
    assert type(swing.alloc(comm, 1000)) is np.ndarray


def test_memory_that_can_not_be_had_is_ordinary_on_every_rank(comm, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    if RANK == SIZE - 1:
        monkeypatch.setattr(shared.os, "posix_fallocate", full)
    vector = swing.alloc(comm, 1000)
    assert type(vector) is np.ndarray
    vector[:] = 1
    assert (swing.allreduce(comm, vector) == SIZE).all()


def test_memory_that_is_still_in_use_outlives_its_communicator(comm):
    mine = comm.Dup()
    kept, dropped = swing.alloc(mine, 1000), swing.alloc(mine, 1000)
    part = kept[10:]
    part[:] = RANK
    del kept, dropped
    gc.collect()
    mine.Free()
    assert (part == RANK).all()


def test_swing_check_names_ranks_that_pass_other_memory(comm, monkeypatch):
    for module in (argument_check, dispatch):
        monkeypatch.setattr(module, "ON", True)
    whole, last = swing.alloc(comm, 1000), RANK == SIZE - 1
    whole[:] = 1
    for usual, other in [(whole[:400], whole[500:900]), (whole[:400], np.ones(400))]:
        with pytest.raises(argument_check.Disagreement, match="memory is array 0 of"):
            swing.allreduce(comm, other if last else usual)
        swing.allreduce(comm, other if last else usual, algorithm="ring")  # by message
    assert (swing.allreduce(comm, whole[500:]) >= SIZE).all()
