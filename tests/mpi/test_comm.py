"""`swing.Comm`: mpi4py's interface, blocking, nonblocking and persistent."""

from __future__ import annotations

import time

import numpy as np
import pytest
from mpi4py import MPI

import swing
from tests.mpi.world import RANK, SIZE, choices, everywhere, mixed, same_bytes, tori

TOTAL = SIZE * (SIZE - 1) // 2


@pytest.fixture
def ours(comm):
    return swing.Comm(comm)


def test_it_is_the_communicator_it_wraps(comm):
    ours = swing.Comm(comm)
    assert isinstance(ours, MPI.Intracomm)
    assert ours == comm
    assert (ours.rank, ours.size, ours.Get_size()) == (RANK, SIZE, SIZE)
    assert ours.allgather(RANK) == list(range(SIZE))
    assert swing.Comm(ours, algorithm="ring") == comm
    assert not swing.Comm(MPI.COMM_NULL)


def test_one_line_is_changed(comm):
    comm = swing.Comm(comm)
    send, recv = np.full(1000, RANK, "i"), np.empty(1000, "i")
    comm.Allreduce(send, recv)
    assert (recv == TOTAL).all()
    comm.Allreduce([send, MPI.INT], [recv, 1000, MPI.INT], op=MPI.MAX)
    assert (recv == SIZE - 1).all()
    comm.Allreduce(MPI.IN_PLACE, send)
    assert (send == TOTAL).all()
    half = comm.Split(RANK % 2)
    assert isinstance(half, swing.Comm)
    half.Allreduce(MPI.IN_PLACE, recv)
    assert (recv == (SIZE - 1) * half.size).all()
    half.Free()


def test_communicators_made_of_it_are_its_kind(comm):
    ours = swing.Comm(comm, algorithm="ring", torus=swing.Torus(SIZE))
    made = [ours.Dup(), ours.Clone(), ours.Split(RANK % 2), ours.Create_cart([SIZE], [False])]
    told = [each.explain("Allreduce", None, np.zeros(5)) for each in made]
    assert [each.torus_from for each in told] == [
        "torus=", "torus=", "the number of ranks", "the communicator's topology"
    ]  # fmt: skip
    assert all(isinstance(each, swing.Comm) for each in made)
    assert all(each.algorithm == "ring" for each in told)
    cart = made[-1]
    assert isinstance(cart, MPI.Cartcomm)
    assert cart.Get_coords(RANK) == [RANK]
    line = cart.Sub([True])
    assert isinstance(line, swing.Comm)
    copy, request = ours.Idup()
    request.Wait()
    for each in (*made, line, copy):
        vector = np.ones(10)
        each.Allreduce(MPI.IN_PLACE, vector)
        assert (vector == each.size).all()
        each.Free()


def pieces(counts, dtype="i8"):
    """This rank's numbers for the pieces of all ranks, and their sums over ranks."""
    total = int(np.sum(counts))
    numbers = [np.random.default_rng([total, r]).integers(-99, 99, total) for r in range(SIZE)]
    return numbers[RANK].astype(dtype), sum(numbers).astype(dtype)


COUNTS = [
    [1000] * SIZE, list(range(SIZE)), [0] * SIZE, [0] * (SIZE - 1) + [5],
    [1] * SIZE, list(range(SIZE, 0, -1)), [7] * SIZE, [3, *[0] * (SIZE - 1)],
]  # fmt: skip


@pytest.mark.parametrize("nth", range(len(tori())), ids=lambda nth: repr(tori()[nth]))
def test_every_algorithm_scatters_and_gathers_in_rank_order(comm, nth):
    for i, choice in enumerate(choices(tori()[nth], "reduce_scatter")):
        ours = swing.Comm(comm, **choice)
        counts = COUNTS[(i + 3 * nth) % len(COUNTS)]
        mine, sums = pieces(counts)
        ends = np.cumsum(counts)
        here = slice(int(ends[RANK]) - counts[RANK], int(ends[RANK]))
        kept, piece = mine.copy(), np.full(counts[RANK], -1)
        ours.Reduce_scatter(mine, piece, counts)
        assert (piece == sums[here]).all(), (choice, counts)
        assert (mine == kept).all()
        whole = np.full(sum(counts), -1)
        ours.Allgatherv(piece, [whole, counts])
        assert (whole == sums).all(), (choice, counts)


def test_pieces_in_place_leave_the_rest_alone(ours):
    counts = list(range(1, SIZE + 1))
    mine, sums = pieces(counts)
    first = sum(counts[:RANK])
    expected = np.concatenate([sums[first : first + RANK + 1], mine[RANK + 1 :]])
    ours.Reduce_scatter(MPI.IN_PLACE, mine, counts)
    assert (mine == expected).all()
    mine, sums = pieces([4] * SIZE)
    expected = np.concatenate([sums[4 * RANK : 4 * RANK + 4], mine[4:]])
    ours.Reduce_scatter_block(MPI.IN_PLACE, mine)
    assert (mine == expected).all()
    table = np.full((SIZE, 3), -1.0)
    table[RANK] = RANK
    ours.Allgather(MPI.IN_PLACE, table)
    assert (table == np.arange(SIZE)[:, None]).all()


def test_gaps_between_gathered_pieces_stay_as_they_are(ours):
    counts, starts = [2] * SIZE, [3 * r + 1 for r in range(SIZE)]
    table = np.full(3 * SIZE + 1, -1)
    ours.Allgatherv(np.full(2, RANK), [table, (counts, starts), MPI.LONG])
    assert (table[::3] == -1).all()
    assert (table[1:].reshape(SIZE, 3)[:, :2] == np.arange(SIZE)[:, None]).all()


def test_reduce_scatter_asks_for_counts_that_are_not_given(ours):
    mine, sums = pieces(range(SIZE))
    piece = np.empty(RANK, int)
    ours.Reduce_scatter(mine, piece)
    first = RANK * (RANK - 1) // 2
    assert (piece == sums[first : first + RANK]).all()


def test_any_type_is_gathered(ours):
    pair = np.zeros(SIZE, [("x", "f4"), ("n", "i4")])
    mine = np.array([(RANK, -RANK)], pair.dtype)
    ours.Allgather([mine, MPI.FLOAT_INT], [pair, MPI.FLOAT_INT])
    assert (pair["x"] == np.arange(SIZE)).all()
    assert (pair["n"] == -np.arange(SIZE)).all()


def test_what_schedules_can_not_do_is_mpis(ours):
    op = MPI.Op.Create(lambda a, b, datatype: None, commute=False)
    send, recv = np.ones(2 * SIZE), np.ones(2)
    assert ours.explain("Reduce_scatter_block", send, recv, op=op).algorithm == (
        "MPI_Reduce_scatter_block"
    )
    assert "rank order" in ours.explain("Allreduce", send, send.copy(), op=op).why
    assert "standard" in ours.explain("Allreduce", send, send.copy(), op=MPI.LAND).why
    with pytest.raises(ValueError, match="Bcast is mpi4py's own: explain takes Allreduce"):
        ours.explain("Bcast", send, recv)
    op.Free()


def test_explain_says_what_runs(comm):
    ours = swing.Comm(comm, algorithm="swing", variant="latency", ports=1)
    told = ours.explain("Reduce_scatter_block", np.zeros(8 * SIZE), np.zeros(8))
    assert (told.algorithm, told.why) == ("swing", "it was asked for by name")
    assert told.scratch >= 64 * SIZE


def test_operations_are_waited_for_in_any_order(ours):
    for turn in range(4):
        vectors = [np.full(1000 * i + 1, RANK + i) for i in range(5)]
        results = [np.empty_like(v) for v in vectors]
        requests = [ours.Iallreduce(v, r) for v, r in zip(vectors, results, strict=True)]
        piece, whole = np.full(3, RANK), np.empty(3 * SIZE, int)
        requests.append(ours.Iallgather(piece, whole))
        order = np.random.default_rng([turn, RANK]).permutation(len(requests))
        for i in order.tolist():
            if i % 2:
                assert requests[i].Wait() is True
            while not requests[i].Test():
                pass
            assert not requests[i]
            assert requests[i] == MPI.REQUEST_NULL
        assert all((r == TOTAL + SIZE * i).all() for i, r in enumerate(results))
        assert (whole.reshape(SIZE, 3) == np.arange(SIZE)[:, None]).all()


def test_operations_on_several_communicators_are_waited_for_in_any_order(ours):
    other = ours.Dup()
    for _ in range(3):
        one, two = np.ones(5000), np.ones(5000)
        requests = [ours.Iallreduce(MPI.IN_PLACE, one), other.Iallreduce(MPI.IN_PLACE, two)]
        for request in requests[:: 1 if RANK % 2 else -1]:
            request.wait()
        assert (one == SIZE).all()
        assert (two == SIZE).all()
    other.Free()


def test_blocking_calls_may_come_between(ours):
    one, two = np.ones(5000), np.ones(300)
    request = ours.Iallreduce(MPI.IN_PLACE, one)
    if RANK == 0:
        request.Wait()
    ours.Barrier()
    ours.Allreduce(MPI.IN_PLACE, two)
    request.Wait()
    assert (one == SIZE).all()
    assert (two == SIZE).all()


@pytest.mark.skipif(MPI.Query_thread() < MPI.THREAD_MULTIPLE, reason="nobody helps")
def test_a_rank_that_computes_holds_up_nobody(ours):
    times = np.empty(SIZE)
    for _ in range(10):  # where much else runs the others may be late, but not every time
        vector, computes = np.ones(10**5), RANK == SIZE - 1
        request = ours.Iallreduce(MPI.IN_PLACE, vector)
        if computes:
            time.sleep(0.3)  # without a call to MPI
            woken = time.monotonic()
        request.Wait()
        MPI.Comm.Allgather(ours, np.array(woken if computes else time.monotonic()), times)
        assert (vector == SIZE).all()
        if (times[:-1] < times[-1]).all():
            break
    else:
        pytest.fail(f"all have waited for the last rank: {times}")


@pytest.mark.skipif(MPI.Query_thread() < MPI.THREAD_MULTIPLE, reason="nobody helps")
def test_requests_mix_with_mpis(ours):
    vector, token = np.ones(5000), np.zeros(1)
    requests = [
        ours.Irecv(token, (RANK - 1) % SIZE),
        ours.Iallreduce(MPI.IN_PLACE, vector),
        ours.Isend(np.full(1, RANK), (RANK + 1) % SIZE),
    ]
    MPI.Request.Waitall(requests)
    assert (vector == SIZE).all()
    assert MPI.Request.Waitany([ours.Iallreduce(MPI.IN_PLACE, vector)]) == 0
    assert (vector == SIZE**2).all()


def test_persistent_requests_start_again_and_again(ours):
    send, recv = np.zeros(700), np.empty(700)
    piece, whole = np.zeros(2), np.empty(2 * SIZE)
    one, two = ours.Allreduce_init(send, recv), ours.Allgather_init(piece, whole)
    assert one
    assert isinstance(one, MPI.Prequest)
    for i in range(4):
        send[:], piece[:] = RANK + i, RANK * i
        if i % 2:
            one.Start()
            two.Start()
            with pytest.raises(RuntimeError, match="active"):
                one.Start()
        else:
            type(one).Startall([two, one])
        for request in (one, two)[:: 1 if RANK % 2 else -1]:
            while not request.Test():
                pass
            assert request.Test()
        assert (recv == TOTAL + SIZE * i).all()
        assert (whole.reshape(SIZE, 2) == i * np.arange(SIZE)[:, None]).all()
    one.Free()
    two.free()
    assert not one
    with pytest.raises(RuntimeError, match="freed"):
        one.Start()


def test_all_ranks_get_the_same_bits_without_blocking_too(ours):
    vector = mixed(999, np.float32)
    result, again = np.empty_like(vector), np.empty_like(vector)
    ours.Iallreduce(vector, result).Wait()
    request = ours.Allreduce_init(vector, again)
    request.Start()
    request.Wait()
    assert same_bytes(result)
    assert result.tobytes() == again.tobytes()


def test_objects_are_reduced_by_mpi4py_itself(ours):
    """Ranks may hold objects of different types: each reduction is Python's own."""
    sums = [np.array([3, 4, 5]), np.array([])][RANK % 2].sum()  # 12 and 0.0
    assert ours.allreduce(sums) == 12 * ((SIZE + 1) // 2)
    assert ours.allreduce(np.int64(12) if RANK == 0 else 0) == 12
    assert ours.allreduce([RANK]) == list(range(SIZE))
    assert ours.allreduce(1.5, op=MPI.MAX) == 1.5
    assert ours.allreduce({RANK}, op=lambda a, b: a | b) == set(range(SIZE))
    total = ours.allreduce(np.full((2, 3), RANK, "i2"))
    assert total.dtype == np.int16
    assert (total == TOTAL).all()


def test_only_our_function_refuses_an_object_and_names_the_fix(ours):
    for thing in (3.5, [1, 2], {1}, np.array([None])):
        with pytest.raises(TypeError, match="use a numpy array"):
            swing.allreduce(ours, thing)


REFUSED = {
    "no recvbuf": (lambda c: c.Allreduce(np.ones(3), None), TypeError, "recvbuf is None"),
    "op": (lambda c: c.Iallreduce(np.ones(3), np.ones(3), np.add), TypeError, "Op.Create"),
    "counts": (lambda c: c.Iallreduce(np.ones(3), np.ones(2)), ValueError, "make them equal"),
    "pieces": (
        lambda c: c.Reduce_scatter_block(np.ones(SIZE + 1), np.ones(1)), ValueError, "every rank"
    ),
    "in place": (
        lambda c: c.Reduce_scatter_block(None, np.ones(SIZE * 2 + 1)), ValueError, "equal pieces"
    ),
    "recvcounts": (
        lambda c: c.Reduce_scatter(np.ones(SIZE), np.ones(1), [1] * (SIZE + 1)), ValueError,
        "one per rank",
    ),
    "sum": (
        lambda c: c.Reduce_scatter(np.ones(SIZE + 1), np.ones(1), [1] * SIZE), ValueError,
        "of recvcounts",
    ),
    "own": (
        lambda c: c.Reduce_scatter(np.ones(SIZE), np.ones(2), [1] * SIZE), ValueError, "recvcounts"
    ),
    "own piece": (
        lambda c: c.Reduce_scatter_block((a := np.ones(2 * SIZE)), a[2 * RANK :][:2]), ValueError,
        "overlap",
    ),
    "no counts": (
        lambda c: c.Reduce_scatter(None, np.ones(SIZE)), ValueError, "pass recvcounts"
    ),
    "gathered": (lambda c: c.Allgather(np.ones(1), np.ones(SIZE + 1)), ValueError, "Allgatherv"),
    "too much": (lambda c: c.Allgather(np.ones(2), np.ones(SIZE)), ValueError, "make them equal"),
    "not held": (
        lambda c: c.Allgatherv(np.ones(2), [np.ones(SIZE), [2] * SIZE]), ValueError, "do not hold"
    ),
    "timeout": (lambda c: swing.Comm(c, timeout=-1), ValueError, "0 seconds or more"),
    "algorithm": (lambda c: swing.Comm(c, algorithm=3), TypeError, "algorithm must be a name"),
    "comm": (lambda c: swing.Comm(3), TypeError, "pass a communicator"),
}  # fmt: skip


@pytest.mark.parametrize("case", [c for c in REFUSED if SIZE > 1 or c not in ("gathered",)])
def test_a_call_that_does_not_fit_is_refused_with_the_mend(ours, case):
    call, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        call(ours)
    shared = np.ones(2 * SIZE)
    with pytest.raises(ValueError, match="overlap"):
        ours.Allgather(shared[2 * RANK : 2 * RANK + 2], shared)
    frozen = np.ones(SIZE)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        ours.Iallgather(np.ones(1), frozen)
    vector = np.ones(3)
    ours.Allreduce(MPI.IN_PLACE, vector)
    assert everywhere((vector == SIZE).all())


@pytest.mark.parametrize("algorithm", ["auto", swing.schedule("ring", swing.Torus(SIZE))])
def test_a_first_nonblocking_call_waits_for_nobody(algorithm):
    """An allgather on a communicator with an allreduce schedule falls back to auto."""
    made = swing.Comm(MPI.COMM_WORLD.Dup(), algorithm=algorithm)
    token, result, gathered = np.zeros(1), np.zeros(4), np.zeros(SIZE)
    if RANK == 0:
        gather = made.Iallgather(np.ones(1), gathered)
        request = made.Iallreduce(np.ones(4), result)
        for rank in range(1, SIZE):
            MPI.COMM_WORLD.Ssend(token, rank, 7)
    else:
        MPI.COMM_WORLD.Recv(token, 0, 7)
        gather = made.Iallgather(np.ones(1), gathered)
        request = made.Iallreduce(np.ones(4), result)
    gather.Wait()
    request.Wait()
    assert (result == SIZE).all()
    assert (gathered == 1).all()
    made.Free()
