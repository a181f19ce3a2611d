"""Private communicators: shared by communicators of the same ranks, and apart all the same."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing import waiting
from swing.executor import allreduce, explain
from swing.executor.engines import wait
from swing.executor.session import node, private
from swing.executor.session.contexts import context_of
from tests.mpi.world import RANK, SIZE, WORLD


def test_communicators_of_the_same_ranks_share_one_private_communicator(comm):
    others = [comm.Dup() for _ in range(3)]
    for each in (comm, *others):
        assert (allreduce(each, np.ones(3)) == SIZE).all()
    contexts = [context_of(each) for each in (comm, *others)]
    assert len({MPI._handleof(context.comm) for context in contexts}) == 1
    tags = [
        {context.tag(), context.tag(persistent=True), context.lane.check_tag}
        for context in contexts
    ]
    assert len(set.union(*tags)) == 3 * len(tags)
    for each in others:
        each.Free()


@pytest.mark.skipif(SIZE == 1, reason="one rank has one order")
def test_another_order_of_the_ranks_is_another_private_communicator(comm):
    backwards = WORLD.Split(0, -RANK)
    assert (allreduce(backwards, np.ones(3)) == SIZE).all()
    allreduce(comm, np.ones(3))
    assert context_of(backwards).comm.rank == SIZE - 1 - RANK
    assert MPI._handleof(context_of(backwards).comm) != MPI._handleof(context_of(comm).comm)
    backwards.Free()


def test_messages_of_communicators_of_the_same_ranks_do_not_meet(comm):
    """Operations on several communicators are under way at once, and end in any order."""
    ours = [swing.Comm(comm.Dup()) for _ in range(4)]
    vectors = [np.full(1000 + 10 * i, float(RANK + i)) for i in range(8)]
    requests = [ours[i % 4].Iallreduce(MPI.IN_PLACE, v) for i, v in enumerate(vectors)]
    order = np.random.default_rng(RANK).permutation(8).tolist()  # another one on every rank
    for i in order:
        requests[i].Wait()
    total = SIZE * (SIZE - 1) / 2
    for i, vector in enumerate(vectors):
        assert (vector == total + SIZE * i).all()
    for each in ours:
        each.Free()


@pytest.mark.skipif(MPI.Query_thread() < MPI.THREAD_MULTIPLE, reason="threads must not call MPI")
def test_threads_make_first_calls_on_several_communicators(comm):
    comms = [comm.Dup() for _ in range(6)]
    found = [np.full(50, float(RANK)) for _ in comms]

    def first_call(i):
        allreduce(comms[i], found[i], algorithm="swing")

    threads = [threading.Thread(target=first_call, args=[i]) for i in range(len(comms))]
    for thread in threads if RANK % 2 else threads[::-1]:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((vector == SIZE * (SIZE - 1) / 2).all() for vector in found)
    lanes = {(MPI._handleof(context_of(c).comm), context_of(c).lane.check_tag) for c in comms}
    assert len(lanes) == len(comms)
    for each in comms:
        each.Free()


def test_two_thousand_communicators_need_no_context_of_their_own(comm):
    allreduce(comm, np.ones(2))
    known = sum(map(len, private._known.values()))
    for _ in range(2000 if SIZE < 4 else 200):
        mine = comm.Dup()
        assert (allreduce(mine, np.ones(2), algorithm="swing") == SIZE).all()
        mine.Free()
    assert sum(map(len, private._known.values())) == known


@pytest.mark.parametrize(
    "make",
    [
        lambda: WORLD.Split(0, -RANK),
        lambda: WORLD.Create(WORLD.group),
        lambda: WORLD.Create_cart([SIZE]),
        lambda: MPI.COMM_SELF.Dup(),
    ],
    ids=["split", "group", "cart", "self"],
)
def test_a_private_communicator_serves_many_however_they_are_made(make):
    """Open MPI says of few communicators what their largest tag is."""
    first = make()
    allreduce(first, np.ones(2))
    known = sum(map(len, private._known.values()))
    for _ in range(20):
        mine = make()
        assert (allreduce(mine, np.ones(2)) == mine.size).all()
        mine.Free()
    assert sum(map(len, private._known.values())) == known
    first.Free()


def test_a_new_private_communicator_when_the_lanes_run_out(comm, monkeypatch):
    monkeypatch.setattr(private.Private, "new_lane", lambda self: 0 if not next(self.lanes) else -1)
    first, second = WORLD.Split(0, RANK), WORLD.Split(0, RANK)
    for each in (first, second):
        assert (allreduce(each, np.ones(5)) == SIZE).all()
    assert MPI._handleof(context_of(first).comm) != MPI._handleof(context_of(second).comm)
    first.Free()
    second.Free()


@pytest.mark.skipif(
    MPI.get_vendor()[0] != "MPICH" or SIZE > 2, reason="MPICH has 2,048 communicators"
)
def test_without_a_communicator_left_mpi_runs_the_call():
    comm = WORLD.Split(0, -RANK)
    held = []
    WORLD.Set_errhandler(MPI.ERRORS_RETURN)
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    known = dict(private._known)
    private._known.clear()
    with suppress(MPI.Exception):
        while len(held) < 5000:
            held.append(WORLD.Dup())
    assert len(held) < 5000
    assert (allreduce(comm, np.ones(4)) == SIZE).all()
    told = explain(comm, np.ones(4))
    assert (told.algorithm, told.why) == ("MPI_Allreduce", "MPI cannot make another communicator")
    ours, gathered = swing.Comm(comm), np.empty(SIZE)
    ours.Allgather(np.ones(1), gathered)
    assert (gathered == 1).all()
    for wrong in ({"algorithm": "swnig"}, {"torus": swing.Torus(SIZE + 1)}):
        mistaken = swing.Comm(comm, **wrong)
        for call in (
            partial(allreduce, comm, np.ones(4), **wrong),
            partial(explain, comm, np.ones(4), **wrong),
            partial(mistaken.Iallreduce, MPI.IN_PLACE, np.ones(4)),
            partial(mistaken.Allgather, np.ones(1), gathered),
        ):
            with pytest.raises(ValueError, match=r"no algorithm 'swnig'|torus .* has"):
                call()
    for each in held:
        each.Free()
    private._known.update(known)
    assert (allreduce(comm, np.ones(4)) == SIZE).all()
    assert explain(comm, np.ones(4)).engine
    comm.Free()


@pytest.mark.skipif(SIZE == 1, reason="one rank waits for nobody")
@pytest.mark.parametrize("calls", [0, 1, 2, 3, 4])
def test_no_rank_waits_longer_than_its_timeout_for_one_that_gives_up(comm, calls, monkeypatch):
    """Wherever in its first call a rank gives up, the others time out, and all can go on later."""
    monkeypatch.setattr(private, "_known", {})
    for _ in range(calls if RANK == SIZE - 1 else 1):
        with suppress(TimeoutError):
            context_of(comm, wait.Deadline(0 if RANK == SIZE - 1 else 0.8))
        time.sleep(0.1 if RANK == SIZE - 1 else 0)
    WORLD.Barrier()  # the last rank comes back only after all others have returned
    assert (allreduce(comm, np.full(9, RANK + 1), timeout=30) == SIZE * (SIZE + 1) / 2).all()
    assert context_of(comm).planner.is_one_node


def test_ranks_are_on_one_node_if_they_could_share_memory(monkeypatch):
    here, names = node.record(), iter(("elsewhere", "elsewhere"))
    monkeypatch.setattr(node.socket, "gethostname", lambda: next(names))
    monkeypatch.setattr(node, "cores", lambda: {0, 5})
    there = node.record()
    monkeypatch.setattr(node, "cores", lambda: {5, 9})
    also_there = node.record()
    assert node.node_of(there, np.stack([here, there, also_there])) == (2, 3, False)
    assert node.node_of(there, np.stack([also_there, there])) == (2, 3, True)
    assert node.node_of(here, np.stack([here, there, also_there])).ranks == 1


@pytest.mark.parametrize("policy", waiting.POLICIES)
@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_every_way_of_waiting_gives_the_same_sums(comm, policy, engine, monkeypatch):
    monkeypatch.setenv("SWING_WAIT", policy)
    monkeypatch.setenv("SWING_ENGINE", engine)
    for count in (1, 5000):
        for options in ({"algorithm": "swing", "variant": "latency"}, {"algorithm": "ring"}):
            vector = np.arange(count) + float(RANK)
            allreduce(comm, vector, **options)
            assert (vector == SIZE * np.arange(count) + SIZE * (SIZE - 1) / 2).all()
    assert explain(comm, np.ones(3)).waiting == f"{policy}: SWING_WAIT says so"
    request = swing.Comm(comm).Iallreduce(MPI.IN_PLACE, vector)
    request.Wait()
    assert (vector == SIZE * (SIZE * np.arange(count) + SIZE * (SIZE - 1) / 2)).all()


@pytest.mark.skipif(SIZE == 1, reason="one rank waits for nobody")
@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_a_policy_that_tests_first_and_then_sleeps_leaves_the_core_to_others(
    comm, engine, monkeypatch
):
    monkeypatch.setitem(waiting.POLICIES, "doze", waiting.Policy(1e-3, 1e-3, "tests, then sleeps"))
    monkeypatch.setenv("SWING_WAIT", "doze")
    monkeypatch.setenv("SWING_ENGINE", engine)
    vector = np.ones(100)
    allreduce(comm, vector, algorithm="ring")
    assert explain(comm, vector).waiting == "doze: SWING_WAIT says so"
    comm.Barrier()
    if RANK == 0:
        time.sleep(0.4)
    before = time.process_time()
    allreduce(comm, vector, algorithm="ring")
    assert time.process_time() - before < 0.2
    assert (vector == SIZE**2).all()


def test_the_way_of_waiting_follows_from_ranks_per_core(comm, monkeypatch):
    allreduce(comm, np.ones(3))
    monkeypatch.delenv("SWING_WAIT", raising=False)
    monkeypatch.setattr(wait, "_crowd", (4, 4))
    assert wait.chosen() == ("spin-yield", "4 ranks on 4 cores of a node")
    wait.heed(9, 8)
    wait.heed(2, 8)
    assert wait.chosen() == ("yield", "9 ranks on 8 cores of a node")


def test_the_context_of_a_freed_communicator_serves_the_next_one_with_other_tags(comm, monkeypatch):
    vector, seen = np.ones(50), []
    for i in range(4):
        mine = comm.Split(0, RANK)
        vector[:] = i
        assert (allreduce(mine, vector) == i * SIZE).all()
        context = context_of(mine)
        seen.append((context, context.lane.first_tag, context.tag()))
        mine.Free()
    contexts, first_tags, tags = zip(*seen, strict=True)
    assert len(set(contexts)) == 1
    assert len(set(first_tags)) == len(set(tags)) == 4
    monkeypatch.setenv("SWING_WAIT", "event")  # what was noted holds for other settings only
    mine = comm.Split(0, RANK)
    allreduce(mine, vector)
    assert context_of(mine) is not contexts[0]
    mine.Free()


def test_a_call_on_a_freed_communicator_is_an_error_although_its_context_is_alive(comm):
    vector = np.ones(20)
    mine = comm.Split(0, RANK)
    for _ in range(3):
        allreduce(mine, vector)
    mine.Free()
    with pytest.raises(ValueError, match="COMM_NULL"):
        allreduce(mine, vector)
    following = comm.Split(0, RANK)
    vector[:] = 1
    for i in range(3):
        assert (allreduce(following, vector) == SIZE ** (i + 1)).all()
    following.Free()


def test_a_context_stays_where_a_persistent_operation_can_still_be_started(comm):
    mine, vector, total = swing.Comm(comm.Dup()), np.ones(5), np.empty(5)
    request = mine.Allreduce_init(vector, total)
    context = context_of(mine)
    mine.Free()
    following = comm.Dup()
    allreduce(following, vector.copy())
    assert context_of(following) is not context
    request.Free()
    following.Free()


def test_communicators_that_come_and_go_at_other_times_on_every_rank(comm):
    """A rank may free one and make the next while others are still in a call on the first."""
    rng = np.random.default_rng([7, RANK])
    for i in range(60):
        mine = swing.Comm(comm.Dup() if i % 3 else comm.Split(0, RANK))
        numbers = np.arange(300.0) + RANK + i
        vector = numbers.copy()
        time.sleep(rng.choice([0, 0, 1e-3]))
        request = mine.Iallreduce(MPI.IN_PLACE, vector) if i % 2 else None
        also = allreduce(mine, numbers.copy(), algorithm="ring")
        if request is not None:
            request.Wait()
        mine.Free()
        right = SIZE * (np.arange(300.0) + i) + SIZE * (SIZE - 1) / 2
        assert (also == right).all()
        assert request is None or (vector == right).all()
