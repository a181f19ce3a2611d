"""Which communicators, tori and schedules are accepted, and what stays private."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import allreduce, explain
from swing.schedules.body import Function
from tests.mpi.world import RANK, SIZE, WORLD, choices, tori


def test_a_pending_receive_from_anyone_takes_none_of_our_messages(comm):
    theirs = np.zeros(1)
    request = comm.Irecv(theirs, MPI.ANY_SOURCE, MPI.ANY_TAG)
    for choice in choices(tori()[0]):
        assert (allreduce(comm, np.full(1000, RANK), **choice) == SIZE * (SIZE - 1) // 2).all()
    comm.Send(np.full(1, 7.0 + RANK), (RANK + 1) % SIZE)
    status = MPI.Status()
    request.Wait(status)
    assert theirs[0] == 7 + status.source == 7 + (RANK - 1) % SIZE


def test_a_cartesian_communicator_is_its_torus(comm):
    dims = MPI.Compute_dims(SIZE, 2)
    cart = comm.Create_cart(dims, periods=[True, False], reorder=True)
    told = explain(cart, np.zeros(10))
    assert told.torus == swing.Torus(dims, (True, False))
    assert told.torus_from == "the communicator's topology"
    assert told.torus.coords.tolist() == [cart.Get_coords(r) for r in range(SIZE)]
    assert (allreduce(cart, np.ones(10)) == SIZE).all()
    cart.Free()


def test_a_communicator_without_topology_is_as_square_as_can_be(comm):
    torus = explain(comm, np.zeros(10)).torus
    assert torus == swing.Torus({2: 2, 3: 3, 4: (2, 2), 5: 5, 8: (4, 2)}.get(SIZE, SIZE))


def test_part_of_the_world(comm):
    half = comm.Split(RANK % 2)
    assert (allreduce(half, np.full(5, RANK)) == sum(range(RANK % 2, SIZE, 2))).all()
    half.Free()
    assert (allreduce(MPI.COMM_SELF, np.full(5, RANK), np.empty(5, int)) == RANK).all()


def test_the_torus_must_have_as_many_ranks(comm):
    with pytest.raises(
        ValueError, match=rf"has 35 ranks but the communicator has {SIZE}: pass torus"
    ):
        allreduce(comm, np.ones(3), torus=swing.Torus((5, 7)))
    with pytest.raises(ValueError, match="has 35 ranks"):
        allreduce(comm, np.ones(3), algorithm=swing.schedule("ring", swing.Torus((5, 7))))
    assert (allreduce(comm, np.ones(3)) == SIZE).all()


def test_ranks_may_sit_anywhere_on_the_torus(comm):
    torus = swing.Torus(SIZE, coords=np.random.default_rng(SIZE).permutation(SIZE)[:, None])
    for choice in choices(torus):
        assert (allreduce(comm, np.ones(99), **choice) == SIZE).all()


def test_a_schedule_is_an_algorithm(comm):
    torus = tori()[0]
    ring = swing.schedule("ring", torus)
    assert (allreduce(comm, np.ones(99), algorithm=ring) == SIZE).all()
    assert explain(comm, np.ones(99), algorithm=ring).algorithm == "ring"
    with pytest.raises(ValueError, match="the schedule is a reduce: pass an allreduce"):
        allreduce(comm, np.ones(9), algorithm=replace(ring, home=0))
    with pytest.raises(ValueError, match="leave out ports"):
        allreduce(comm, np.ones(9), algorithm=ring, ports=2)


@pytest.mark.skipif(SIZE != 8, reason="two numbers are the same in either order")
def test_a_schedule_must_give_the_same_bits_unless_told_otherwise(comm):
    good = swing.schedule("swing", swing.Torus(SIZE), variant="latency")
    short_first = replace(
        good, body=Function(good.nsteps, lambda s: good.step(good.nsteps - 1 - s))
    )
    with pytest.raises(ValueError, match="different bits"):
        allreduce(comm, np.ones(9), algorithm=short_first)
    assert (allreduce(comm, np.ones(9), algorithm=short_first, consistent=False) == SIZE).all()


def test_options_that_do_not_fit_are_named(comm):
    for options, words in [
        ({"ports": 1}, "'auto' chooses ports itself"),
        ({"algorithm": "swin"}, "no algorithm 'swin'"),
        ({"algorithm": "ring", "variant": "latency"}, "ring has no option 'variant'"),
        ({"algorithm": "swing", "ports": 99}, "99"),
    ]:
        with pytest.raises(ValueError, match=words):
            allreduce(comm, np.ones(9), **options)


def test_an_operation_that_does_not_commute_keeps_rank_order(comm):
    def product(inbuf, inoutbuf, datatype):
        a, b = (np.frombuffer(buf, int).reshape(-1, 2, 2) for buf in (inbuf, inoutbuf))
        b[:] = a @ b

    op = MPI.Op.Create(product, commute=False)
    matrix = MPI.LONG.Create_contiguous(4).Commit()
    each = [np.array([[[1, r + 1], [r % 2, 1]]] * 3) for r in range(SIZE)]
    result = np.empty_like(each[0])
    allreduce(comm, [each[RANK], matrix], [result, matrix], op)
    expected = each[0]
    for factor in each[1:]:
        expected = expected @ factor
    assert (result == expected).all()
    assert "does not commute" in str(explain(comm, [result, matrix], op=op))
    again = each[RANK].copy()
    allreduce(comm, [again, matrix], op=op, timeout=60)
    assert (again == expected).all()
    matrix.Free()
    op.Free()


def test_strings_are_joined_in_rank_order(comm):
    def join(inbuf, inoutbuf, datatype):
        first, second = np.frombuffer(inbuf, "S16"), np.frombuffer(inoutbuf, "S16")
        second[:] = np.strings.add(first, second)

    op = MPI.Op.Create(join, commute=False)
    text = MPI.CHAR.Create_contiguous(16).Commit()
    mine = np.array([b"%d" % RANK] * SIZE, "S16")
    expected, ours = b"".join(b"%d" % r for r in range(SIZE)), swing.Comm(comm)

    def persistent(sent, received):
        request = ours.Allreduce_init(sent, received, op)
        request.Start()
        request.Wait()
        request.Free()

    for call, count in [
        (lambda *buffers: allreduce(comm, *buffers, op), SIZE),
        (lambda *buffers: ours.Iallreduce(*buffers, op).Wait(), SIZE),
        (persistent, SIZE),
        (lambda *buffers: ours.Reduce_scatter_block(*buffers, op), 1),
    ]:
        result = np.zeros(count, "S16")
        call([mine, text], [result, text])
        assert (result == expected).all()
    text.Free()
    op.Free()


@pytest.mark.parametrize("wrong", [{"algorithm": "swnig"}, {"algorithm": "ring", "knots": 3}])
def test_a_call_left_to_mpi_is_asked_for_as_strictly_as_any(comm, wrong):
    last = MPI.Op.Create(lambda a, b, datatype: None, commute=False)
    ours, pieces, piece = swing.Comm(comm, **wrong), np.ones(SIZE), np.ones(1)
    for call in (
        lambda: allreduce(comm, pieces, op=last, **wrong),
        lambda: ours.Iallreduce(MPI.IN_PLACE, pieces, last),
        lambda: ours.Reduce_scatter_block(pieces, piece, last),
        lambda: ours.Ireduce_scatter(pieces, piece, [1] * SIZE, last),
    ):
        with pytest.raises(ValueError, match=r"no algorithm 'swnig'|ring has no option 'knots'"):
            call()
    last.Free()


def test_gaps_in_a_datatype_stay_as_they_are(comm):
    def add(inbuf, inoutbuf, datatype):
        a, b = np.frombuffer(inbuf, int), np.frombuffer(inoutbuf, int)
        b[::2] += a[::2]

    op = MPI.Op.Create(add, commute=True)
    every_other = MPI.LONG.Create_vector(3, 1, 2).Create_resized(0, 48).Commit()
    vector = np.arange(12)
    allreduce(comm, [vector, 2, every_other], op=op)
    assert (vector == np.arange(12) * np.tile([SIZE, 1], 6)).all()
    assert explain(comm, [vector, 2, every_other], op=op).torus is not None  # a schedule runs
    every_other.Free()
    op.Free()


def test_groups_that_face_each_other_are_left_to_mpi(comm):
    half = comm.Split(RANK < SIZE // 2)
    inter = half.Create_intercomm(0, comm, 0 if RANK >= SIZE // 2 else SIZE // 2)
    result = allreduce(inter, np.ones(5), np.empty(5))
    assert (result == inter.remote_size).all()
    assert "intercommunicator" in explain(inter, np.ones(5)).why
    with pytest.raises(ValueError, match="no algorithm 'swnig'"):
        allreduce(inter, np.ones(5), np.empty(5), algorithm="swnig")
    inter.Free()
    half.Free()


def test_a_communicator_may_be_freed_while_operations_are_under_way(comm):
    ours = swing.Comm(comm.Dup())
    vectors = [np.full(count, RANK) for count in (1, 5000, 100_000)]
    requests = [ours.Iallreduce(MPI.IN_PLACE, vector) for vector in vectors]
    ours.Free()
    for request, vector in zip(requests, vectors, strict=True):
        request.Wait()
        assert (vector == SIZE * (SIZE - 1) // 2).all()


NONBLOCKING = {
    "Iallreduce": (np.full(SIZE, RANK), np.empty(SIZE, int), MPI.SUM),
    "Ireduce_scatter_block": (np.full(SIZE**2, RANK), np.empty(SIZE, int), MPI.SUM),
    "Iallgather": (np.full(1, RANK), np.empty(SIZE, int)),
}


@pytest.mark.parametrize("name", NONBLOCKING)
def test_freeing_a_communicator_waits_for_no_operation(comm, name):
    """The other ranks begin it only when the first one has freed the communicator."""
    ours = swing.Comm(comm.Dup())
    arguments = [
        each.copy() if isinstance(each, np.ndarray) else each for each in NONBLOCKING[name]
    ]
    if RANK:
        comm.recv(source=0)
    request = getattr(ours, name)(*arguments)
    ours.Free()
    if not RANK:
        for other in range(1, SIZE):
            comm.send(None, other)
    request.Wait()
    right = range(SIZE) if name == "Iallgather" else [SIZE * (SIZE - 1) // 2] * SIZE
    assert arguments[1].tolist() == [*right]


def test_disconnecting_a_communicator_waits_for_its_operations(comm):
    ours, result = swing.Comm(comm.Dup()), np.empty(200_000)
    request = ours.Iallreduce(np.full(200_000, float(RANK)), result)
    ours.Disconnect()
    assert ours == MPI.COMM_NULL
    assert (result == SIZE * (SIZE - 1) / 2).all()
    assert request.Test()


def test_disconnecting_raises_after_its_timeout(comm):
    ours = swing.Comm(comm.Dup())
    ours.Allreduce(MPI.IN_PLACE, np.ones(1))
    late = swing.Comm(ours, timeout=0.1)
    request = None
    if RANK == 0:
        request = late.Iallreduce(MPI.IN_PLACE, np.ones(5))
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            late.Disconnect()
        assert late != MPI.COMM_NULL
    comm.Barrier()
    assert (RANK == 0) == (request is not None)


def test_communicators_with_operations_under_way_are_freed_in_any_order(comm):
    """And the next communicators of the same ranks have nothing to do with those operations."""
    requests, results = [], [np.empty(5000) for _ in range(4)]
    freed = [swing.Comm(comm.Dup()) for _ in results]
    for each, result in zip(freed, results, strict=True):
        requests.append(each.Iallreduce(np.full(5000, float(RANK)), result))
    for i in np.random.default_rng(RANK).permutation(len(freed)).tolist():
        freed[i].Free()
    for _ in range(3):
        mine = comm.Dup()
        assert (swing.allreduce(mine, np.full(5000, 1.0), algorithm="ring") == SIZE).all()
        mine.Free()
    for request, result in zip(requests[::-1], results[::-1], strict=True):
        request.Wait()
        assert (result == SIZE * (SIZE - 1) / 2).all()


def test_an_operation_that_is_over_keeps_no_buffer(comm):
    class Buffer(np.ndarray):
        """An array that can be referred to weakly."""

    ours, vector = swing.Comm(comm), np.ones(100).view(Buffer)
    gone = weakref.ref(vector)
    gc.disable()
    try:
        ours.Iallreduce(MPI.IN_PLACE, vector).Wait()
        del vector
        assert gone() is None
    finally:
        gc.enable()


def test_duplicates_are_freed_with_their_communicator():
    held = [WORLD.Dup() for _ in range(1900 if SIZE == 2 else 0)]  # MPICH has 2,048 context ids
    for _ in range(200 if SIZE == 2 else 10):
        comm = WORLD.Dup()
        assert (allreduce(comm, np.ones(2), algorithm="swing", variant="latency") == SIZE).all()
        comm.Free()
    for comm in held:
        comm.Free()
