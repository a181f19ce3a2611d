"""``SWING_CHECK=1``: ranks that call with different arguments say so, all of them."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

import swing
from swing.executor import dispatch
from swing.executor.session import argument_check
from swing.executor.session.argument_check import Disagreement
from tests.mpi.world import RANK, SIZE, WORLD

LAST = RANK == SIZE - 1


@pytest.fixture(autouse=True)
def checking(monkeypatch):
    for module in (argument_check, dispatch):
        monkeypatch.setattr(module, "ON", True)
    monkeypatch.setattr(argument_check, "_SECONDS", 60.0)


def odd(usual, other):
    """What the last rank has instead of what is usual."""
    return other if LAST else usual


MISMATCHES = {
    "count": lambda c: swing.allreduce(c, np.ones(odd(10, 12))),
    "type": lambda c: swing.allreduce(c, np.ones(10, odd("f4", "f8"))),
    "op": lambda c: swing.allreduce(c, np.ones(10), op=odd(MPI.SUM, MPI.MAX)),
    "algorithm": lambda c: swing.allreduce(c, np.ones(10), algorithm=odd("ring", "swing")),
    "torus": lambda c: swing.allreduce(
        c, np.ones(10), torus=odd(swing.Torus(SIZE), swing.Torus(SIZE, wrap=False))
    ),
    "options": lambda c: swing.allreduce(
        c, np.ones(10), algorithm="swing", variant=odd("latency", "bandwidth")
    ),
    "call": lambda c: getattr(swing.Comm(c), odd("Allreduce", "Allgather"))(
        np.ones(1), np.ones(odd(1, SIZE))
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISMATCHES)
def test_what_ranks_do_not_agree_on_is_named_on_every_rank(comm, what):
    others = "rank 0" if SIZE == 2 else r"ranks 0, 1.*"
    words = rf"ranks do not agree: .*{what} is .* on {others} but .* on rank {SIZE - 1}"
    with pytest.raises(Disagreement, match=words):
        MISMATCHES[what](comm)
    assert (swing.allreduce(comm, np.ones(3)) == SIZE).all()  # nothing has been sent


def test_a_schedule_is_told_from_another_one(comm):
    torus = swing.Torus(SIZE)
    with pytest.raises(Disagreement, match="algorithm is <allreduce"):
        swing.allreduce(comm, np.ones(9), algorithm=swing.schedule(odd("ring", "bucket"), torus))


def test_nonblocking_calls_are_looked_at_too(comm):
    ours = swing.Comm(comm)
    with pytest.raises(Disagreement, match=f"count is .* on rank {SIZE - 1}"):
        ours.Iallreduce(MPI.IN_PLACE, np.ones(odd(4, 5)))
    with pytest.raises(Disagreement, match="count is "):
        ours.Reduce_scatter(None, np.ones(2 * SIZE), odd([2] * SIZE, [1] * (SIZE - 1) + [SIZE + 1]))
    vector = np.ones(7)
    ours.Iallreduce(MPI.IN_PLACE, vector).Wait()
    assert (vector == SIZE).all()


def test_a_call_that_one_rank_refuses_is_told_to_the_others(comm):
    frozen = np.ones(3)
    frozen.flags.writeable = not LAST
    words = (
        "read-only" if LAST else rf"refused \(the receive buffer is read-only.* on rank {SIZE - 1}"
    )
    for call_it in (swing.allreduce, lambda c, v: swing.Comm(c).Iallreduce(None, v)):
        with pytest.raises(ValueError, match=words):
            call_it(comm, frozen)


def test_ranks_agree_to_leave_a_call_to_mpi(comm):
    last = MPI.Op.Create(lambda a, b, datatype: None, commute=False)
    with pytest.raises(Disagreement, match=r"call is Allreduce on .* but MPI's own Allreduce"):
        swing.allreduce(comm, np.ones(3), op=odd(MPI.SUM, last))
    assert swing.allreduce(comm, np.full(3, RANK), op=last)[0] == SIZE - 1
    last.Free()


def test_a_rank_that_makes_no_call_is_named(monkeypatch):
    monkeypatch.setattr(argument_check, "_SECONDS", 0.3)
    comm = WORLD.Dup()  # not freed: what the others have said is still under way
    monkeypatch.setattr(argument_check, "_SECONDS", 60.0)
    swing.allreduce(comm, np.ones(1))
    monkeypatch.setattr(argument_check, "_SECONDS", 0.3)
    if not LAST:
        words = rf"rank {SIZE - 1} made no call within 0.3 s; this rank did: .*Allreduce, count 9"
        with pytest.raises(TimeoutError, match=words):
            swing.allreduce(comm, np.ones(9))
        with pytest.raises(RuntimeError, match="go on with a new communicator"):
            swing.allreduce(comm, np.ones(9))
    WORLD.Barrier()
