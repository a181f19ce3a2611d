"""Every predefined datatype with every predefined operation: MPI's own bytes, or its error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpi4py import MPI

import swing
from tests.mpi.world import RANK, SIZE

COUNT = 5


def predefined(kind):
    """All of mpi4py's names for handles of a kind, but for null handles."""
    values = [getattr(MPI, name) for name in sorted(dir(MPI))]
    return [
        *{value.handle: value for value in values if isinstance(value, kind) and value}.values()
    ]


OPS = predefined(MPI.Op)
DATATYPES = predefined(MPI.Datatype)


def small_integers(datatype, count):
    """Memory that holds small integers of a type, as bytes."""
    numbers = (np.arange(count) + RANK) % 3
    if datatype.size == 0:
        return np.zeros(count, np.uint8)
    if datatype in (MPI.REAL16, MPI.COMPLEX32):  # 0, 1 and 2 as IEEE binary128
        high = np.array([0, 0x3FFF, 0x4000], np.uint16)[np.arange(count * datatype.size // 16) % 3]
        return np.stack([0 * high] * 7 + [high], 1).astype("<u2").view(np.uint8).reshape(-1)
    pairs = {
        MPI.FLOAT_INT.handle: "f", MPI.DOUBLE_INT.handle: "d", MPI.LONG_INT.handle: "l",
        MPI.TWOINT.handle: "i", MPI.SHORT_INT.handle: "h", MPI.LONG_DOUBLE_INT.handle: "g",
    }  # fmt: skip
    if datatype.handle in pairs:
        table = np.zeros(count, np.dtype(f"{pairs[datatype.handle]},i", align=True))
        table["f0"], table["f1"] = numbers, RANK
        return table.view(np.uint8)
    try:
        code = np.dtype(datatype.tocode())
    except ValueError:
        code = np.dtype(np.uint8)
    if code.kind in "SU":
        code = np.dtype(f"u{datatype.size}")
    return numbers.astype(code).view(np.uint8)


def outcome(call, datatype, op, in_place):
    """The bytes that a call leaves, or the class of MPI's error."""
    pieces = SIZE if "scatter" in call.__name__ else 1
    mine = small_integers(datatype, COUNT * pieces)
    result = mine.copy() if in_place else np.full(len(mine) // pieces, 0x55, np.uint8)
    send = MPI.IN_PLACE if in_place else [mine, COUNT, datatype]
    try:
        call(send, [result, COUNT, datatype], op)
    except MPI.Exception as error:
        return error.Get_error_class()
    return mask(result, datatype)


def mask(result, datatype):
    """The bytes without those that the type does not use: gaps, and padding of long doubles."""
    used = np.ones(len(result), bool)
    if datatype.extent and len(result) % datatype.extent == 0:
        table = used.reshape(-1, datatype.extent)
        if datatype == MPI.SHORT_INT:
            table[:, 2:4] = False
        elif datatype in (MPI.DOUBLE_INT, MPI.LONG_INT):
            table[:, 12:] = False
        elif datatype == MPI.LONG_DOUBLE_INT:
            table[:, 10:16] = table[:, 20:] = False
        elif number_code(datatype) in "gG" and np.finfo(np.longdouble).nmant == 63:
            used.reshape(-1, 16)[:, 10:] = False
    return result[used].tobytes()


def number_code(datatype):
    try:
        code = np.dtype(datatype.tocode()).char
    except ValueError:
        return " "
    return " " if datatype in (MPI.REAL16, MPI.COMPLEX32) else code


def completed(method):
    """A nonblocking method that is waited for."""

    def call(*args):
        method(*args).Wait()

    call.__name__ = method.__name__
    return call


FORMS = [
    ("Allreduce", False), ("Allreduce", True), ("Iallreduce", False),
    ("Reduce_scatter_block", False), ("Reduce_scatter_block", True),
]  # fmt: skip


def differing(comm, forms):
    """The combinations in which our communicator does not do as MPI, and what both do."""
    found, ours = [], swing.Comm(comm, algorithm="swing")
    for i, (datatype, op) in enumerate(itertools.product(DATATYPES, OPS)):
        for name, in_place in forms(i):
            calls = [getattr(each, name) for each in (comm, ours)]
            if name.startswith("I"):
                calls = [completed(call) for call in calls]
            expected, got = (outcome(call, datatype, op, in_place) for call in calls)
            if got != expected:
                found.append((datatype.name, op.name, name, in_place, got, expected))
    return found


def test_every_type_and_operation_does_as_mpi(comm):
    assert not differing(comm, lambda i: [FORMS[i % len(FORMS)]])


@pytest.mark.nightly
def test_every_type_and_operation_does_as_mpi_in_every_form(comm):
    assert not differing(comm, lambda i: FORMS)


ARRAYS = [*"?bBhHiIlLqQefdgFDG", "S1", "U1"]


@pytest.mark.parametrize("code", ARRAYS)
def test_arrays_have_the_type_that_mpi4py_takes_them_for(comm, code):
    ours = swing.Comm(comm)
    mine = np.array([b"a", b"b"] if code == "S1" else [RANK % 2, 1]).astype(code)
    for op in OPS:
        results = []
        for each in (comm, ours):
            result = np.zeros_like(mine)
            try:
                each.Allreduce(mine, result, op)
            except MPI.Exception as error:
                result = error.Get_error_class()
            results.append(result)
        assert np.array_equal(*results), op.name
    tables = [np.zeros((SIZE, 2), mine.dtype) for _ in range(2)]
    for each, table in zip((comm, ours), tables, strict=True):
        each.Allgather(mine, table)
    assert (tables[0] == tables[1]).all()


def test_an_operation_that_mpi_refuses_is_a_type_error_with_a_remedy(comm):
    for send in (np.ones(3), [np.ones(3), MPI.DOUBLE], [np.ones(3, "u1"), MPI.PACKED]):
        with pytest.raises(TypeError, match=r"does not define.*MPI\.Op\.Create") as caught:
            swing.allreduce(comm, send, op=MPI.LAND)
        assert isinstance(caught.value, MPI.Exception)
        assert caught.value.Get_error_class() == MPI.ERR_OP
    ours = swing.Comm(comm)
    pair = MPI.DOUBLE.Create_contiguous(2).Commit()
    for one, several, op in (
        (np.ones(2), np.ones(2 * SIZE), MPI.LAND),
        ([np.ones(2), 1, pair], [np.ones(2 * SIZE), 1, pair], MPI.SUM),
    ):
        for call in (
            lambda one, several, op: ours.Allreduce(MPI.IN_PLACE, one, op),
            lambda one, several, op: ours.Iallreduce(MPI.IN_PLACE, one, op),
            lambda one, several, op: ours.Reduce_scatter_block(several, one, op),
            lambda one, several, op: ours.Ireduce_scatter_block(several, one, op),
            lambda one, several, op: swing.Comm(ours, timeout=60).Reduce_scatter_block(
                several, one, op
            ),
        ):
            with pytest.raises(TypeError, match=r"operation for \S+.*: choose another"):
                call(one, several, op)
    pair.Free()


def test_quadruple_precision_is_mpis(comm):
    one = np.frombuffer(bytes(14) + b"\xff\x3f", np.uint8)
    total = np.zeros(16, np.uint8)
    for algorithm in ("ring", "swing", "recursive_doubling"):
        swing.allreduce(
            comm, [one, MPI.REAL16], [total, MPI.REAL16], algorithm=algorithm
        )  # numpy would add these 16 bytes as a long double
        expected = np.zeros(16, np.uint8)
        comm.Allreduce([one, MPI.REAL16], [expected, MPI.REAL16])
        assert (total == expected).all()
