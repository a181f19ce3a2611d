"""GPU memory that is staged, with a stand-in for CuPy that copies as late as it may."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import allreduce, dispatch
from swing.executor.gpu import device
from swing.executor.session import argument_check
from tests.gpu_standin import OnDevice, install
from tests.mpi.world import RANK, SIZE, choices, mixed, tori


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    monkeypatch.setattr(device, "STAGED_BYTES", 256)
    return install(monkeypatch)


@pytest.mark.parametrize("in_place", [False, True])
def test_parts_come_in_time_and_leave_when_they_are_done(comm, in_place):
    for choice, count in itertools.product(choices(tori()[0])[in_place::2], (0, 999)):
        mine = mixed(count, np.float32)
        expected = allreduce(comm, mine, np.empty_like(mine), **choice)
        send, recv = OnDevice(mine), OnDevice(np.full_like(mine, np.nan))
        if in_place:
            assert allreduce(comm, send, **choice) is send
            recv = send
        else:
            assert allreduce(comm, send, recv, **choice) is recv
            assert send.host.tobytes() == mine.tobytes()
        assert recv.host.tobytes() == expected.tobytes(), (choice, count)


@pytest.mark.parametrize("in_place", [False, True])
def test_mpi_that_is_aware_of_gpus_reads_what_kernels_have_written(
    comm, cupy, monkeypatch, in_place
):
    monkeypatch.setenv("SWING_GPU_AWARE", "1")
    for choice, op in itertools.product(choices(tori()[0])[in_place::2], (MPI.SUM, MPI.MAX)):
        mine = mixed(999, np.float32)
        expected = allreduce(comm, mine, np.empty_like(mine), op, **choice)
        send, recv = OnDevice(mine), OnDevice(np.full_like(mine, np.nan))
        given = (MPI.IN_PLACE, send) if in_place else (send, recv)
        assert allreduce(comm, *given, op, **choice) is given[1]
        assert not {"get", "set"} & set(cupy.log)
        cupy.cuda.get_current_stream().synchronize()
        assert given[1].host.tobytes() == expected.tobytes(), (choice, op)
        assert in_place or send.host.tobytes() == mine.tobytes()
    late = allreduce(comm, OnDevice(mine), op=MPI.PROD, timeout=60)
    cupy.cuda.get_current_stream().synchronize()
    assert np.array_equal(late.host, comm.allreduce(mine, MPI.PROD), equal_nan=True) or SIZE > 2


@pytest.mark.parametrize("in_place", [False, True])
def test_nccl_moves_what_kernels_have_written_and_nobody_waits(comm, cupy, monkeypatch, in_place):
    monkeypatch.setenv("SWING_NCCL", "1")
    stream = cupy.cuda.get_current_stream()
    for choice, count in itertools.product(choices(tori()[0])[in_place::2], (0, 3, 9999)):
        mine = mixed(count, np.float32)
        expected = allreduce(comm, mine, np.empty_like(mine), **choice)
        send, recv = OnDevice(mine), OnDevice(np.full_like(mine, np.nan))
        given = (MPI.IN_PLACE, send) if in_place else (send, recv)
        cupy.log.clear()
        for _ in range(2 - in_place):
            assert allreduce(comm, *given, **choice) is given[1]
        assert set(cupy.log) <= {"kernel", "group"}
        stream.synchronize()
        assert given[1].host.tobytes() == expected.tobytes(), (choice, count)
        assert in_place or send.host.tobytes() == mine.tobytes()
    assert "NCCL moves" in swing.explain(comm, send).staging


def test_what_nccl_can_not_do_is_staged(comm, cupy, monkeypatch):
    monkeypatch.setenv("SWING_NCCL", "1")
    for given, choice in [
        ((np.full(500, RANK), OnDevice(np.zeros(500, int))), {}),
        ((MPI.IN_PLACE, OnDevice(np.full(500, RANK))), {"timeout": 60}),
    ]:
        allreduce(comm, *given, **choice)
        assert (given[1].host == SIZE * (SIZE - 1) // 2).all()
    assert "group" not in cupy.log
    monkeypatch.setenv("SWING_NCCL", "yes")
    with pytest.raises(ValueError, match="SWING_NCCL must be 0 or 1"):
        allreduce(comm, given[1])


def test_what_a_gpu_does_not_reduce_is_staged(comm, cupy, monkeypatch):
    monkeypatch.setenv("SWING_GPU_AWARE", "1")
    host, there = np.full(3, RANK), OnDevice(np.zeros(3, int))
    assert (allreduce(comm, host, there).host == SIZE * (SIZE - 1) // 2).all()
    there = OnDevice(np.full(5, RANK % 2 == 0))
    assert allreduce(comm, there, op=MPI.LAND).host.all() == (SIZE == 1)
    assert "kernel" not in cupy.log


def test_some_ranks_have_it_on_the_device_and_others_do_not(comm):
    mine = np.full((30, 40), RANK, order="F")
    result = OnDevice(np.zeros_like(mine)) if RANK % 2 else np.zeros_like(mine)
    allreduce(comm, OnDevice(mine) if RANK < 2 else mine, result, algorithm="ring")
    assert (getattr(result, "host", result) == SIZE * (SIZE - 1) // 2).all()


def test_types_operations_and_deadlines_are_as_on_the_host(comm):
    pair = np.zeros(500, "f4,i4")
    pair["f0"], pair["f1"] = np.arange(500) * (-1) ** RANK, RANK
    there = OnDevice(pair.view(np.uint8))
    allreduce(comm, [there, MPI.FLOAT_INT], op=MPI.MAXLOC, timeout=60)
    comm.Allreduce(MPI.IN_PLACE, [pair, MPI.FLOAT_INT], MPI.MAXLOC)
    assert (there.host.view("f4,i4") == pair).all()
    first = MPI.Op.Create(lambda a, b, datatype: b.__setitem__(slice(None), a), commute=False)
    there = OnDevice(np.full(500, RANK))
    assert (allreduce(comm, there, op=first).host == 0).all()
    first.Free()


def test_the_other_collectives_are_staged_whole(comm):
    ours = swing.Comm(comm)
    there, piece = OnDevice(np.full(3 * SIZE, RANK)), OnDevice(np.zeros(3, int))
    ours.Reduce_scatter_block(there, piece)
    assert (piece.host == SIZE * (SIZE - 1) // 2).all()
    ours.Allgather(piece, there)
    assert (there.host == piece.host[0]).all()
    request = ours.Iallreduce(MPI.IN_PLACE, there)
    request.Wait()
    assert (there.host == SIZE * piece.host[0]).all()


def test_a_call_that_is_refused_copies_nothing(comm, cupy):
    with pytest.raises(ValueError, match="make them equal"):
        allreduce(comm, OnDevice(np.ones(3)), OnDevice(np.ones(4)))
    assert not cupy.log


@pytest.mark.parametrize("count", [0, 1, SIZE - 1, 1000, 70_001])
@pytest.mark.parametrize("op", [MPI.SUM, MPI.MAX])
def test_ranks_reduce_in_gpu_memory_that_all_have_open(comm, cupy, count, op):
    send, recv = (swing.alloc(comm, count, np.float32, gpu=True) for _ in range(2))
    for seed in range(3):
        send.memory[:] = mixed(count, np.float32, seed)
        everyone = np.empty((SIZE, count), np.float32)
        comm.Allgather(send.memory, everyone)
        expected = everyone[0]
        for other in everyone[1:]:
            expected = np.add(expected, other) if op == MPI.SUM else np.maximum(expected, other)
        for given in [(send, recv), (MPI.IN_PLACE, send), (recv[:0],)]:
            allreduce(comm, *given, op=op)
        assert SIZE == 1 or not {"get", "set"} & set(cupy.log)
        cupy.cuda.get_current_stream().synchronize()
        for vector in (send, recv):
            assert vector.memory.tobytes() == expected.tobytes()


def test_explain_says_that_gpu_memory_is_open_to_all(comm):
    vector = swing.alloc(comm, 1000, gpu=True)
    told = swing.explain(comm, vector)
    assert (told.algorithm == "shared memory", "CUDA" in told.staging) == (SIZE > 1, SIZE > 1)
    assert "pinned" in swing.explain(comm, vector, algorithm="ring").staging


def test_open_gpu_memory_goes_as_usual_where_it_has_to(comm, cupy):
    open_, other = swing.alloc(comm, 500, np.int64, gpu=True), OnDevice(np.zeros(500, np.int64))
    open_.memory[:] = RANK + 1
    for choice in ({"timeout": 60}, {"algorithm": "ring"}, {}):
        assert (allreduce(comm, open_, other, **choice).host == SIZE * (SIZE + 1) // 2).all()
    allreduce(comm, open_, op=MPI.LAND)
    assert (open_.memory == 1).all()


def test_a_gpu_that_opens_nothing_gives_ordinary_arrays_on_every_rank(comm, cupy, monkeypatch):
    def fail(address):
        raise RuntimeError("cudaErrorNotSupported")

    if SIZE - 1 == RANK:
        monkeypatch.setattr(cupy.cuda.runtime, "ipcGetMemHandle", fail)
    vector = swing.alloc(comm, 8, np.int64, gpu=True)
    vector.memory[:] = RANK
    allreduce(comm, vector)
    assert (vector.memory == SIZE * (SIZE - 1) // 2).all()


def test_a_rank_without_a_gpu_says_so_and_the_others_go_on(comm, cupy, monkeypatch):
    if RANK == 0:
        cupy.is_available = lambda: False
        monkeypatch.setattr(cupy.cuda, "Memory", _no_driver)
        with pytest.raises(RuntimeError, match="finds no GPU here"):
            swing.alloc(comm, 8, gpu=True)
    else:
        assert len(swing.alloc(comm, 8, gpu=True)) == 8


def _no_driver(nbytes):
    raise RuntimeError("cudaErrorInsufficientDriver")


def test_open_gpu_memory_is_closed_with_the_communicator(comm, cupy):
    duplicate = comm.Dup()
    vector = swing.alloc(duplicate, 8, np.int64, gpu=True)
    kept = swing.alloc(duplicate, 8, np.int64, gpu=True)[2:]
    assert len(cupy.cuda.runtime.opened) == 2 * (SIZE - 1)
    del vector
    duplicate.Free()
    assert len(cupy.cuda.runtime.opened) == 0
    kept.memory[:] = 7
    assert (kept.memory == 7).all()


def test_one_kernel_adds_up_a_block_of_all_vectors(comm, cupy):
    vector = swing.alloc(comm, 70_001, np.float32, gpu=True)
    cupy.log.clear()
    allreduce(comm, vector)
    assert cupy.log.count("kernel") == (SIZE if SIZE > 1 else 0)  # and writes it to all others


def test_nccl_that_is_missing_on_a_rank_is_told_to_all(comm, cupy, monkeypatch):
    monkeypatch.setenv("SWING_NCCL", "1")
    if RANK == 0:
        monkeypatch.delattr(type(cupy.cuda.nccl), "get_unique_id")
    if SIZE > 1:
        with pytest.raises(RuntimeError, match=r"needs NCCL on every rank.*rank 0"):
            allreduce(comm, OnDevice(np.ones(3)))


def test_swing_check_names_ranks_that_pass_other_gpu_memory(comm, monkeypatch):
    for module in (argument_check, dispatch):
        monkeypatch.setattr(module, "ON", True)
    there = swing.alloc(comm, 400, gpu=True)
    if SIZE > 1:
        with pytest.raises(argument_check.Disagreement, match="memory is array 0 of"):
            allreduce(comm, OnDevice(np.ones(400)) if RANK == SIZE - 1 else there)
        monkeypatch.setenv("SWING_NCCL", "1")
        with pytest.raises(argument_check.Disagreement, match="memory is a GPU's, by NCCL"):
            allreduce(comm, np.ones(400) if RANK == SIZE - 1 else OnDevice(np.ones(400)))
