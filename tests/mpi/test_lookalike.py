"""`swing.Comm` is mpi4py's communicator: its classes, pickling and handles."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from mpi4py import MPI

import swing
from tests.mpi.world import SIZE, everywhere

WORLD = MPI.COMM_WORLD


class Counting(MPI.Intracomm):
    """A user's communicator that counts its calls."""

    def __new__(cls, comm=None, start=0):
        return super().__new__(cls, comm)

    def __init__(self, comm=None, start=0):
        self.calls = start

    def Allreduce(self, *args, **kwargs):
        self.calls += 1
        super().Allreduce(*args, **kwargs)


class Ours(swing.Comm):
    """A class derived from ours."""

    def total(self):
        vector = np.ones(3)
        self.Allreduce(MPI.IN_PLACE, vector)
        return vector[0]


class Holder:
    def __init__(self, comm):
        self.comm = comm


def test_a_users_class_is_kept(comm):
    wrapped = swing.Comm(Counting(comm, 5), algorithm="ring")
    assert isinstance(wrapped, Counting)
    assert isinstance(wrapped, swing.Comm)
    vector, total = np.ones(9), np.empty(9)
    wrapped.Allreduce(vector, total)
    assert (wrapped.calls, total[0]) == (6, SIZE)
    assert wrapped.explain("Allreduce", vector, total).algorithm == "ring"
    twin = wrapped.Dup()
    assert isinstance(twin, Counting)  # as a duplicate of mpi4py's is
    twin.Free()
    part = wrapped.Split(0)
    assert not isinstance(part, Counting)  # as in mpi4py
    assert isinstance(part, swing.Comm)
    part.Free()
    cart = swing.Comm(wrapped.Create_cart([SIZE]), algorithm="swing")
    assert isinstance(cart, MPI.Cartcomm)
    cart.Free()


def test_a_class_derived_from_ours_is_kept(comm):
    ours = Ours(comm)
    made = [ours.Dup(), ours.Split(0), ours.Create_cart([SIZE]), Ours(ours)]
    assert all(isinstance(each, Ours) and each.total() == SIZE for each in made)
    for each in made[:3]:
        each.Free()


@pytest.mark.parametrize("kind", [swing.Comm, Ours], ids=["Comm", "derived"])
@pytest.mark.parametrize("named", [WORLD, MPI.COMM_SELF], ids=["world", "self"])
def test_communicators_that_mpi_names_are_pickled(kind, named):
    ours = kind(named, algorithm="ring", timeout=60.0)
    for again in (pickle.loads(pickle.dumps(ours)), copy.copy(ours)):
        assert again == named
        assert type(again) is type(ours)
        vector = np.ones(3)
        again.Allreduce(MPI.IN_PLACE, vector)
        assert vector[0] == named.size
        assert again.explain("Allreduce", vector, vector.copy()).algorithm == "ring"


def test_an_object_that_holds_a_communicator_is_broadcast():
    ours = swing.Comm(WORLD)
    got = ours.bcast(Holder(ours) if ours.rank == 0 else None)
    assert got.comm == WORLD
    users = swing.Comm(Counting(WORLD))
    assert isinstance(ours.allgather(users)[-1], Counting)


def test_other_communicators_are_pickled_as_little_as_mpi4pys(comm):
    for each in (comm, swing.Comm(comm)):
        with pytest.raises(ValueError, match="cannot serialize"):
            pickle.dumps(each)


def test_handles_make_communicators_of_this_class(comm):
    group = comm.Get_group()
    made = [
        swing.Comm.fromhandle(comm.handle),
        Ours.f2py(comm.py2f()),
        swing.Comm(comm).fromhandle(comm.handle),
        Ours.Create_from_group(group),
    ]
    assert [type(each).__name__ for each in made] == ["Comm", "Ours", "Comm", "Ours"]
    for each in made:
        vector = np.ones(2)
        each.Allreduce(MPI.IN_PLACE, vector)
        assert everywhere(vector[0] == SIZE)
    assert not swing.Comm.fromhandle(MPI.COMM_NULL.handle)
    made[-1].Free()
    group.Free()


def test_class_methods_of_mpi4py_are_there():
    key = swing.Comm.Create_keyval()
    assert swing.Comm.Get_rank(WORLD) == WORLD.rank
    swing.Comm.Free_keyval(key)
    with pytest.raises(AttributeError, match="Gather_all"):
        swing.Comm.Gather_all(WORLD)
