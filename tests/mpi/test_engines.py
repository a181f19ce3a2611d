"""The compiled engine gives the plain engine's bits, and what it cannot do the plain one does."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

from swing.executor import allreduce, explain
from swing.executor.session import call_cache, planner
from swing.executor.session.call import AlgorithmSpec, CollectiveCall
from swing.executor.session.call_table import rows_of
from swing.executor.session.contexts import context_of
from tests.mpi.world import RANK, SIZE, choices, differing, mixed, tori

pytest.importorskip("numba")

OPS = {
    name: getattr(MPI, name)
    for name in ("SUM", "PROD", "MAX", "MIN", "BAND", "BOR", "BXOR", "LAND", "LOR", "LXOR")
}


ENGINES = ("plain", "compiled")


@pytest.fixture
def engines(comm, monkeypatch):
    """A communicator for each engine, and a function that reduces on one of them.

    Both run the plans of one planner, which are made once.
    """
    comms = {engine: comm.Dup() for engine in ENGINES}
    context_of(comms["plain"]).planner = context_of(comms["compiled"]).planner

    def reduce(engine, *args, **choice):
        monkeypatch.setenv("SWING_ENGINE", engine)
        return allreduce(comms[engine], *args, **choice)

    yield reduce
    for each in comms.values():
        each.Free()


def vectors(count, code):
    if code in "efdgFDG":
        values = mixed(count, "f4" if code in "ef" else "f8") % 7
        return values.astype(code)
    return (np.arange(count) * (RANK + 3) % 5).astype(code)


def bits(vector):
    """The bytes of a vector, without those that pad a long double of 80 bits."""
    if vector.dtype.kind in "fc" and np.finfo(vector.dtype).nmant == 63:
        return vector.view(np.uint8).reshape(-1, 16)[:, :10].tobytes()
    return vector.tobytes()


@pytest.mark.parametrize(("variant", "count"), [("latency", 50), ("bandwidth", 5001)])
def test_both_engines_give_the_same_bits_for_every_type_and_operation(engines, count, variant):
    for code, (name, op) in itertools.product("?bBhHiIlLqQefdgFDG", OPS.items()):
        mine = vectors(count, code)
        try:
            op.Reduce_local(mine.copy(), mine.copy())
        except MPI.Exception:
            continue
        choice = {"algorithm": "swing", "variant": variant}
        results = [engines(e, mine, np.empty_like(mine), op, **choice) for e in ENGINES]
        again = [engines(e, mine.copy(), None, op, **choice) for e in ENGINES]
        for each in (*results, *again):
            assert bits(each) == bits(results[0]), (code, name)


@pytest.mark.parametrize("torus", tori(), ids=repr)
@pytest.mark.parametrize(("piece", "count"), [(64, 399), (planner.PIECE, 999)])
def test_both_engines_give_the_same_bits_under_every_schedule(
    engines, torus, piece, count, monkeypatch
):
    monkeypatch.setattr(planner, "PIECE", piece)
    monkeypatch.setattr(planner, "SHORT", 0)
    mine, results = mixed(count, np.float32), []
    for choice in choices(torus):
        plain, compiled = (engines(e, mine, np.empty_like(mine), **choice) for e in ENGINES)
        assert plain.tobytes() == compiled.tobytes(), choice
        results.append(compiled)
    assert not [choices(torus)[i] for i in differing(results)]


def test_nans_and_signed_zeros_are_the_same_in_both_engines(engines):
    payloads = np.arange(640, dtype=np.uint32) + 640 * RANK + 0x7FC00000
    zeros = np.where(np.arange(640) % SIZE == RANK, 0.0, -0.0).astype(np.float32)
    for mine, op in itertools.product((payloads.view(np.float32), zeros), OPS.values()):
        if op in (MPI.SUM, MPI.PROD, MPI.MAX, MPI.MIN):
            plain, compiled = (engines(e, mine, np.empty_like(mine), op) for e in ENGINES)
            assert plain.tobytes() == compiled.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_can_be_asked_for(comm, engine, monkeypatch):
    monkeypatch.setenv("SWING_ENGINE", engine)
    assert f"engine: {engine}" in str(explain(comm, np.ones(3)))
    assert (allreduce(comm, np.ones(3)) == SIZE).all()


def test_what_has_no_compiled_loop_is_refused_or_left_to_the_plain_engine(comm, monkeypatch):
    vector = np.ones(3, ml_dtypes.bfloat16)
    assert "plain" in str(explain(comm, vector))
    assert (allreduce(comm, vector) == SIZE).all()
    monkeypatch.setenv("SWING_ENGINE", "compiled")
    with pytest.raises(ValueError, match="SWING_ENGINE=compiled, but numpy has no loop"):
        allreduce(comm, vector.copy())
    monkeypatch.setenv("SWING_ENGINE", "fast")
    with pytest.raises(ValueError, match=r"SWING_ENGINE must be plain or compiled, not .fast."):
        allreduce(comm, np.ones(4))


def found(comm, *args):
    """Whether the table knows a call."""
    sendbuf, recvbuf, op = (*args, None, None)[:3]
    return call_cache.known_calls.table.look(comm, sendbuf, recvbuf, op, "auto", None, True) == 0


def test_a_call_that_differs_from_all_earlier_ones_is_looked_at(comm):
    a, b = np.full(8, RANK + 1.0), np.empty(8)
    total = SIZE * (SIZE + 1) / 2
    for _ in range(2):  # the table knows what a communicator repeats
        allreduce(comm, a, b)
    frozen, turned = b.copy(), np.asfortranarray(np.ones((2, 4)))
    frozen.flags.writeable = False
    apart = np.ones(16)[::2]
    for args in [
        (a,),
        (a, b, MPI.MAX),
        (a.astype("f4"), b.astype("f4")),
        (a[:4], b[:4]),
        (a, b[:4]),
        (a, frozen),
        (a, apart),
        (apart, b),
        (turned, b.reshape(2, 4)),
        (a[:-1], a[1:]),
        (list(a), b),
        ([a, MPI.DOUBLE], b),
    ]:
        assert not found(comm, *args), args
    assert found(comm, a, b)
    assert (b == total).all()
    other = np.full((2, 4), 1.0)
    assert found(comm, other, np.empty((2, 4)))  # of as many elements, elsewhere


def test_the_table_knows_no_communicator_that_is_gone(comm):
    a, b = np.ones(5), np.empty(5)
    for _ in range(3):
        mine = comm.Dup()
        for _ in range(2):
            allreduce(mine, a, b)
        assert found(mine, a, b)
        gone = mine.handle
        mine.Free()
        assert gone
        assert not any(
            row.entry.context.comm == MPI.COMM_NULL
            for row in call_cache.known_calls.table._by_row.values()
        )


@pytest.fixture
def alone():
    """This rank by itself: a call that only some ranks find in their tables would not hang."""
    mine = MPI.COMM_SELF.Dup()
    yield mine
    mine.Free()


def test_calls_that_differ_in_a_multiple_of_the_table_do_not_replace_each_other(alone):
    """Layers have such sizes: powers of two."""
    arrays = [np.ones(256 * 2**i) for i in range(6)]
    for array in 2 * arrays:
        allreduce(alone, array, np.empty_like(array))
    assert sum(found(alone, array, np.empty_like(array)) for array in arrays) >= 5


def test_a_call_that_was_replaced_in_the_table_comes_back(alone):
    def rows(count):
        vector = np.ones(count)
        spec = AlgorithmSpec("auto", None, True, ())
        return rows_of(CollectiveCall("Allreduce", alone, vector, vector.copy(), None, spec))

    a, b = np.ones(5), np.empty(5)
    same = [count for count in range(6, 5000) if rows(count) == rows(5)][:3]
    for count in (5, 5, *same, *same):
        allreduce(alone, *((a, b) if count == 5 else (np.ones(count), np.empty(count))))
    assert not found(alone, a, b)
    allreduce(alone, a, b)
    assert found(alone, a, b)


def test_many_communicators_and_calls_share_the_table(comm):
    comms = [comm.Dup() for _ in range(10)]
    calls = list(itertools.product(range(1, 29), comms))
    assert len(calls) > call_cache.SIZE
    for count, mine in 2 * calls:
        assert (allreduce(mine, np.ones(count), np.empty(count)) == SIZE).all()
    for mine in comms:
        mine.Free()
