"""What is refused before anything is sent, and what happens when ranks do not come."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import allreduce, explain
from tests.mpi.world import RANK, SIZE, WORLD


def test_after_a_refusal_the_communicator_works(comm):
    frozen = np.ones(4)
    frozen.flags.writeable = False
    for sendbuf, recvbuf, error in [
        (frozen, None, ValueError),
        (np.ones(4), frozen, ValueError),
        (np.ones(4), np.ones(5), ValueError),
        (np.ones((4, 4))[:, :2], None, ValueError),
        ([1, 2, 3], None, TypeError),
        (np.ones(4), [0, 0, 0, 0], TypeError),
    ]:
        with pytest.raises(error):
            allreduce(comm, sendbuf, recvbuf)
    assert (allreduce(comm, frozen, np.empty(4)) == SIZE).all()


def test_one_array_at_one_address_after_another(comm):
    for i in range(50):  # memory is freed and used again, while programs bound to it are kept
        vector = np.full(1000 + i % 3, i, np.float64 if i % 2 else np.int64)
        assert (allreduce(comm, vector, np.empty_like(vector)) == SIZE * i).all()
        del vector


def test_ranks_that_are_late_but_not_too_late(comm):
    allreduce(comm, np.ones(1))
    time.sleep(0.05 * RANK)
    for variant in ("latency", "bandwidth"):
        vector = allreduce(comm, np.ones(5000), timeout=60, algorithm="swing", variant=variant)
        assert (vector == SIZE).all()


@pytest.mark.parametrize("count", [10, 10**6])  # sent at once, and when the receiver is there
def test_a_rank_that_does_not_come_is_named(count):
    comm = WORLD.Dup()
    allreduce(comm, np.ones(1))
    if RANK == 0:
        with pytest.raises(TimeoutError, match=r"step \d: no \d+ bytes from rank \d.* 0.2 s"):
            allreduce(comm, np.ones(count), timeout=0.2)
        with pytest.raises(RuntimeError, match="go on with a new communicator"):
            allreduce(comm, np.ones(count))
    WORLD.Barrier()  # not freed: its messages are still under way
    assert (allreduce(WORLD, np.ones(3)) == SIZE).all()


FIRST = {
    "allreduce": lambda comm, x, seconds: allreduce(comm, x, timeout=seconds),
    "left to MPI": lambda comm, x, seconds: allreduce(comm, x, op=IN_ORDER, timeout=seconds),
    "Comm": lambda comm, x, seconds: swing.Comm(comm, timeout=seconds),
    "Allgather": lambda comm, x, seconds: born(comm, seconds).Allgather(x, np.ones(4 * SIZE)),
    "Iallreduce": lambda comm, x, seconds: born(comm, seconds).Iallreduce(MPI.IN_PLACE, x).Wait(),
    "Reduce_scatter": lambda comm, x, seconds: born(comm, seconds).Reduce_scatter(
        np.ones(4 * SIZE), x
    ),
}
IN_ORDER = MPI.Op.Create(lambda a, b, datatype: None, commute=False)


def born(comm, seconds):
    """A `Comm` that mpi4py has made, and whose ranks have not met."""
    made = swing.Comm.__new__(swing.Comm, comm)
    made._timeout = seconds
    return made


@pytest.mark.parametrize("first", FIRST)
def test_a_first_call_that_gave_up_can_be_made_again(first):
    comm = WORLD.Dup()
    if RANK == 0 and SIZE > 1:
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            FIRST[first](comm, np.ones(4), 0.2)
    WORLD.Barrier()
    if first != "Reduce_scatter":  # whose lengths are told on the communicator itself
        FIRST[first](comm, np.ones(4), 60)
        assert (allreduce(comm, np.ones(4)) == SIZE).all()
        comm.Free()


@pytest.mark.skipif(
    MPI.get_vendor()[0] == "Open MPI", reason="it crashes where a duplicate is still being made"
)
def test_a_communicator_is_freed_whose_ranks_never_met():
    for _ in range(20):
        comm = WORLD.Dup()
        if RANK == 0 and SIZE > 1:
            with pytest.raises(TimeoutError):
                allreduce(comm, np.ones(4), timeout=0)
        comm.Free()
        WORLD.Barrier()
    assert (allreduce(WORLD, np.ones(4)) == SIZE).all()


def test_what_mpi_does_is_waited_for_no_longer_either():
    comm = WORLD.Dup()  # not freed, nor is the operation
    op = MPI.Op.Create(lambda a, b, datatype: None, commute=False)
    allreduce(comm, np.ones(3))
    if RANK == 0:
        with pytest.raises(TimeoutError, match=r"MPI_Iallreduce did not complete within 0\.1 s"):
            allreduce(comm, np.ones(10**6), op=op, timeout=0.1)
    WORLD.Barrier()


def test_all_deliveries_under_way_are_named():
    comm, vector = WORLD.Dup(), np.ones(10**6)
    allreduce(comm, np.ones(1))
    if RANK == 0:
        torus = explain(comm, vector, algorithm="swing").torus
        turn = swing.schedule("swing", torus).for_rank(0)[0]
        with pytest.raises(TimeoutError) as caught:
            allreduce(comm, vector, algorithm="swing", timeout=0.2)
        words = str(caught.value)
        assert sorted(re.findall(r"bytes from rank (\d)", words)) == [
            str(src) for src in sorted(m.src for m in turn.recvs)
        ]
        assert sorted(re.findall(r"bytes to rank (\d)", words)) == [
            str(dst) for dst in sorted(m.dst for m in turn.sends)
        ]
    WORLD.Barrier()


@pytest.mark.skipif(
    MPI.get_vendor()[0] == "Open MPI", reason="Open MPI does not always report such a message"
)
@pytest.mark.parametrize("timeout", [None, 5])
@pytest.mark.parametrize(("ports", "nbytes"), [(1, 40), (2, 24)])
def test_a_message_that_does_not_fit_is_named(ports, nbytes, timeout):
    pair = WORLD.Split(RANK // 2)  # not freed: its messages may still be under way
    allreduce(pair, np.ones(1))
    if pair.size == 2:
        options = {"algorithm": "swing", "variant": "latency", "ports": ports, "timeout": timeout}
        if pair.rank == 0:
            words = (
                rf"step 0: MPI could not deliver .*{nbytes} bytes from rank 1: pass equal counts"
            )
            with pytest.raises(RuntimeError, match=words):
                allreduce(pair, np.ones(5), **options)
        else:  # to MPI a message that is too short is no error
            allreduce(pair, np.ones(10), **options)
    WORLD.Barrier()


def test_empty_vectors(comm):
    for buf in (np.empty(0), np.empty((3, 0), np.float32), [None, 0, MPI.INT], [None, MPI.INT]):
        assert allreduce(comm, buf) is buf
        assert allreduce(comm, buf, buf) is buf
