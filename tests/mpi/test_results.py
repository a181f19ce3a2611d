"""The result is MPI's, and every rank has the same bits."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

from swing.executor import allreduce
from tests.mpi.world import FLOATS, RANK, SIZE, choices, differing, everywhere, mixed, tori


@pytest.mark.parametrize("nth", range(len(tori())), ids=lambda nth: repr(tori()[nth]))
def test_every_schedule_gives_mpis_sum(comm, nth):
    for count in (0, 1, 2 * SIZE - 1, 1000 if nth else 65537):
        mine = np.random.default_rng([count, RANK]).integers(-(2**40), 2**40, count)
        kept, expected = mine.copy(), np.empty_like(mine)
        comm.Allreduce(mine, expected)
        for choice in choices(tori()[nth]):
            result = np.full_like(mine, -1)
            assert allreduce(comm, mine, result, **choice) is result
            assert (result == expected).all(), (choice, count)
            assert (mine == kept).all(), (choice, count)
            result = mine.copy()
            assert allreduce(comm, result, **choice) is result
            assert (result == expected).all(), (choice, count)


@pytest.mark.parametrize("torus", tori(), ids=repr)
def test_every_schedule_gives_all_ranks_the_same_bits_in_every_run(comm, torus):
    results = []
    for i, choice in enumerate(choices(torus)):
        mine = mixed(999, FLOATS[i % len(FLOATS)])
        first, second = np.empty_like(mine), mine.copy()
        allreduce(comm, mine, first, **choice)
        allreduce(comm, second, **choice)
        assert first.tobytes() == second.tobytes(), choice
        results.append(first)
    assert not [choices(torus)[i] for i in differing(results)]


@pytest.mark.parametrize("torus", tori(), ids=repr)
def test_signed_zeros_and_nans_are_the_same_on_all_ranks(comm, torus):
    payloads = np.arange(64, dtype=np.uint32) + 64 * RANK + 0x7FC00000
    zeros = np.where(np.arange(64) % SIZE == RANK, 0.0, -0.0).astype(np.float32)
    mine = np.concatenate([zeros, payloads.view(np.float32)])
    for op in (MPI.MAX, MPI.SUM):
        results = [allreduce(comm, mine, np.empty_like(mine), op, **c) for c in choices(torus)]
        assert not [choices(torus)[i] for i in differing(results)]


OPS = {
    name: getattr(MPI, name)
    for name in ("SUM", "PROD", "MAX", "MIN", "BAND", "BOR", "BXOR", "LAND", "LOR", "LXOR")
}
CODES = "?bBhHiIlLqQefdgFDG"


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("variant", ["latency", "bandwidth"])
def test_operations_and_types_are_mpis(comm, code, variant):
    mine = (np.arange(50) % 3 + (RANK == 1)).astype(code)
    for name, op in OPS.items():
        result, expected = np.zeros_like(mine), np.zeros_like(mine)
        try:
            op.Reduce_local(mine.copy(), expected)
        except MPI.Exception:
            with pytest.raises(TypeError, match="does not define"):
                allreduce(comm, mine, result, op, algorithm="swing", variant=variant)
            continue
        comm.Allreduce(mine, expected, op)
        kept = mine.copy()
        allreduce(comm, mine, result, op, algorithm="swing", variant=variant)
        assert (result == expected).all(), name
        assert (mine == kept).all(), name


def test_byte_order_and_types_that_mpi_lacks(comm):
    total = SIZE * (SIZE + 1) // 2
    for dtype in (">f4", ">i8", ml_dtypes.bfloat16):
        vector = np.full(10, RANK + 1, dtype)
        assert (allreduce(comm, vector) == total).all()
    with pytest.raises(TypeError, match="bfloat16, which MPI lacks: choose another"):
        allreduce(comm, np.zeros(3, ml_dtypes.bfloat16), op=MPI.LAND)


def test_floating_point_errors_raise_on_no_rank(comm):
    with np.errstate(all="raise"):
        assert np.isinf(allreduce(comm, np.full(9, 3e38, np.float32))).all() == (SIZE > 1)


PAIRS = [
    (MPI.FLOAT_INT, "f4,i4"),
    (MPI.DOUBLE_INT, np.dtype("f8,i4", align=True)),
    (MPI.TWOINT, "i4,i4"),
]


@pytest.mark.parametrize(("datatype", "dtype"), PAIRS, ids=["float", "double", "int"])
def test_pairs(comm, datatype, dtype):
    mine = np.zeros(37, dtype)
    mine["f0"], mine["f1"] = (np.arange(37) * 7 + RANK * 5) % 11, RANK
    kept, expected = mine.copy(), np.zeros((2, 37), mine.dtype)
    ops = list(zip([MPI.MINLOC, MPI.MAXLOC], expected, strict=True))
    for op, result in ops:
        comm.Allreduce([mine, datatype], [result, datatype], op)
    for choice, (op, spec), sendbuf in itertools.product(
        choices(tori()[0]), ops, ([mine, 37, datatype], MPI.IN_PLACE)
    ):
        result = mine.copy()
        allreduce(comm, sendbuf, [result, datatype], op, **choice)
        assert (result == spec).all(), choice
        assert (mine == kept).all(), choice


@pytest.mark.parametrize("variant", ["latency", "bandwidth"])
def test_an_operation_of_the_users(comm, variant):
    def larger_magnitude(inbuf, inoutbuf, datatype):
        a, b = np.frombuffer(inbuf, np.float64), np.frombuffer(inoutbuf, np.float64)
        b[:] = np.where(abs(a) > abs(b), a, b)

    op = MPI.Op.Create(larger_magnitude, commute=True)
    vector = np.arange(20) * (-1.0) ** RANK * (RANK + 1)
    result = np.empty_like(vector)
    allreduce(comm, vector, result, op, algorithm="swing", variant=variant)
    assert (result == np.arange(20) * (-1.0) ** (SIZE - 1) * SIZE).all()
    assert (allreduce(comm, vector, op=op, algorithm="swing", variant=variant) == result).all()
    op.Free()


def test_first_calls_of_threads_wait_for_their_own_communicator_only(comm):
    from threading import Thread
    from time import sleep

    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        pytest.skip("MPI was not started with THREAD_MULTIPLE")
    comms = [comm.Dup() for _ in range(2)]
    sums = [allreduce(c, np.zeros(1), algorithm="ring") for c in comms]
    threads = [
        Thread(target=allreduce, args=(c, np.ones(1), out))
        for c, out in zip(comms, sums, strict=True)
    ]
    for thread in threads[:: (-1) ** RANK]:  # the one that half of the ranks begin with waits
        thread.start()
        sleep(0.2)
    for thread, mine in zip(threads, comms, strict=True):
        thread.join()
        mine.Free()
    assert sums == [SIZE, SIZE]


def test_threads_that_begin_operations_at_once_start_one_helper(monkeypatch):
    from threading import Thread
    from time import sleep
    from types import SimpleNamespace

    from swing.executor.engines import progress

    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        pytest.skip("MPI was not started with THREAD_MULTIPLE")
    made = []

    class SlowThread:
        def __init__(self, **_):
            sleep(0.01)  # meanwhile the other threads ask for a helper, too
            made.append(self)

        def start(self):
            pass

    monkeypatch.setattr(progress, "threading", SimpleNamespace(Thread=SlowThread))
    monkeypatch.setattr(progress, "_helper", [])
    threads = [Thread(target=progress._wake_helper) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_concurrent_calls_on_different_communicators(comm):
    from threading import Thread

    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        pytest.skip("MPI was not started with THREAD_MULTIPLE")
    comms = [comm.Dup() for _ in range(2)]
    wrong = []

    def work(mine, scale):
        for i in range(30):
            vector = allreduce(mine, np.full(100 * i, scale * i))
            wrong.extend(vector[vector != scale * i * SIZE])

    threads = [Thread(target=work, args=(c, s + 1)) for s, c in enumerate(comms)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in comms:
        mine.Free()
    assert everywhere(not wrong)
