"""Derived datatypes: what MPI does with them, whatever their layout on each rank."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

import swing
from tests.mpi.world import RANK, SIZE

BASES = [MPI.INT, MPI.SHORT, MPI.DOUBLE, MPI.UNSIGNED_CHAR]
ROOM = 4096  # bytes around the elements


class TypeMap:
    """A random datatype with a given signature, and its bytes in memory.

    Args:
        rng: makes the layout, another one on each rank.
        signature: the base type and number of each part, the same on all ranks.
        resized: whether the lower bound and the extent may be anything.
    """

    def __init__(self, rng, signature, resized=True):
        parts, at = [], int(rng.integers(-3, 4)) * 16 if resized else 0
        order = rng.permutation(len(signature))
        places = np.zeros(len(signature), int)
        for i in order:  # the parts are anywhere, but do not overlap
            base, count = signature[i]
            stride = base.size * int(rng.integers(1, 3))
            places[i] = at
            at += stride * count + base.size * int(rng.integers(0, 3))
            parts.append((i, self.part(rng, base, count, stride)))
        parts = [part for _, part in sorted(parts, key=lambda part: part[0])]
        datatype = MPI.Datatype.Create_struct([1] * len(parts), places.tolist(), parts)
        low, length = datatype.Get_true_extent()
        if resized or rng.random() < 0.5:
            lb = low - int(rng.integers(0, 3)) * 4 if resized else 0
            extent = low + length - lb + int(rng.integers(0, 3)) * 4
            datatype = datatype.Create_resized(lb, extent)
        self.datatype = datatype.Commit()

    @staticmethod
    def part(rng, base, count, stride):
        gaps = [base.size * i for i in range(count)], [stride * i for i in range(count)]
        match rng.integers(5):
            case 0:
                return base.Create_contiguous(count)
            case 1:
                return base.Create_hvector(count, 1, stride)
            case 2:
                return base.Create_hindexed([1] * count, gaps[1])
            case 3:
                return base.Create_hindexed_block(1, gaps[0])
            case _:
                once = base.Create_resized(0, stride)
                return once.Create_contiguous(count).Dup()


def add_bytes(inbuf, inoutbuf, datatype):
    """Add the bytes of elements that have any layout."""
    n = len(inbuf) // datatype.extent
    whole = datatype.Create_contiguous(n).Create_resized(0, max(1, len(inbuf))).Commit()
    mine, other = (np.zeros(n * datatype.size, np.uint8) for _ in range(2))
    whole.Pack(inbuf, mine, 0, MPI.COMM_SELF)
    whole.Pack(inoutbuf, other, 0, MPI.COMM_SELF)
    whole.Unpack(mine + other, 0, inoutbuf, MPI.COMM_SELF)
    whole.Free()


def memory(rng):
    return rng.integers(0, 256, 4 * ROOM).astype(np.uint8)


def spec(whole, *fields):
    """A buffer whose elements begin in the middle of memory: they may have negative places."""
    return [whole[ROOM:], *fields]


def check(comm, common, own, op):
    """Compare one random call of each collective with MPI's."""
    ours = swing.Comm(comm)
    # Open MPI 5 frees corrupted memory in its own collectives on such types, without this library.
    # There, only our blocking and nonblocking calls are compared with each other.
    theirs = ours if MPI.get_vendor()[0] == "Open MPI" else comm
    signature = [
        (BASES[common.integers(len(BASES))], int(common.integers(1, 4)))
        for _ in range(common.integers(1, 4))
    ]
    count = int(common.integers(0, 5))
    send, recv = (TypeMap(own, signature).datatype for _ in range(2))
    if own.random() < 0.3:
        send = MPI.Datatype.Create_struct(
            [n for _, n in signature],
            np.cumsum([0, *(base.size * n for base, n in signature)])[:-1].tolist(),
            [base for base, _ in signature],
        ).Commit()
    source, target = memory(own), memory(own)
    counts = common.integers(0, 4, SIZE).tolist()
    starts = np.cumsum([0, *(n + int(own.integers(0, 2)) for n in counts)])[:-1].tolist()
    starts = [start if n else -5 for start, n in zip(starts, counts, strict=True)]
    mine = counts[RANK]
    calls = {
        "Allreduce": (spec(source, count, recv), spec(target, count, recv), op),
        "Allreduce in place": (MPI.IN_PLACE, spec(target, count, recv), op),
        "Allgather": (spec(source, count, send), spec(target, count, recv)),
        "Allgather in place": (MPI.IN_PLACE, spec(target, count, recv)),
        "Allgatherv": (spec(source, mine, send), spec(target, counts, starts, recv)),
        "Allgatherv in place": (MPI.IN_PLACE, spec(target, counts, starts, recv)),
        "Reduce_scatter_block": (spec(source, count, recv), spec(target, count, recv), op),
        "Reduce_scatter_block in place": (MPI.IN_PLACE, spec(target, count, recv), op),
        "Reduce_scatter": (
            spec(source, sum(counts), recv), spec(target, mine, recv), counts, op
        ),
        "Reduce_scatter in place": (MPI.IN_PLACE, spec(target, sum(counts), recv), counts, op),
    }  # fmt: skip
    before = source.copy(), target.copy()
    for name, args in calls.items():
        method, results = name.split()[0], []
        for each in (theirs, ours):
            source[:], target[:] = before
            getattr(each, method)(*args)
            assert (source == before[0]).all(), name
            results.append(target.copy())
        assert (results[0] == results[1]).all(), (name, signature, count, counts, starts)
        source[:], target[:] = before
        getattr(ours, f"I{method.lower()}")(*args).Wait()
        assert (results[0] == target).all(), name


def random_type_maps(comm, cases):
    op = MPI.Op.Create(add_bytes, commute=True)
    for case in range(cases):
        check(comm, np.random.default_rng(case), np.random.default_rng([case, RANK]), op)
    op.Free()


def test_random_type_maps(comm):
    random_type_maps(comm, 25)


@pytest.mark.nightly
def test_a_thousand_random_type_maps(comm):
    random_type_maps(comm, 1000)


def test_an_element_as_large_as_its_extent_need_not_be_dense(comm):
    """Right: [11, 111, …] for a shifted element, and bytes in the order of the signature."""
    ours = swing.Comm(comm)
    cases = {
        "shifted": MPI.INT.Create_hindexed([1], [4]).Create_resized(0, 4),
        "backwards": MPI.SHORT.Create_hindexed([1, 1], [2, 0]),
        "a struct in another order": MPI.Datatype.Create_struct(
            [1, 1], [2, 0], [MPI.SHORT, MPI.UNSIGNED_SHORT]
        ),
        "overlapping": MPI.SHORT.Create_hvector(2, 1, 1).Create_resized(0, 4),
        "lower bound": MPI.INT.Create_resized(-4, 4),
        "dense": MPI.SHORT.Create_contiguous(2).Create_resized(0, 4),
    }
    for name, datatype in cases.items():
        datatype.Commit()
        mine = np.arange(16, dtype="i1") + 16 * RANK
        results = []
        for each in (comm, ours):
            table = np.full(4 * SIZE, -1, "i1")
            each.Allgather([mine, 1, datatype], [table, 4, MPI.BYTE])
            results.append(table)
        assert (results[0] == results[1]).all(), name
        datatype.Free()


def test_which_way_a_call_goes_does_not_depend_on_a_ranks_layout(comm):
    """Only the first rank's elements have gaps: the other ranks cannot know that."""
    ours = swing.Comm(comm)
    every_other = MPI.INT.Create_vector(2, 1, 2).Create_resized(0, 16).Commit()
    gapped = np.array([10, -7, 11, -7], "i4") + 100 * RANK
    dense = gapped[::2].copy()
    send = [gapped, 1, every_other] if RANK == 0 else [dense, 2, MPI.INT]
    right = np.array([[10, 11]] * SIZE) + 100 * np.arange(SIZE)[:, None]
    for method, pieces in (("Allgather", 2), ("Allgatherv", [2] * SIZE)):
        table = np.full((SIZE, 2), -1, "i4")
        getattr(ours, method)(send, [table, pieces, MPI.INT])
        assert (table == right).all()
        wide = np.full(4 * SIZE, -1, "i4")
        wider = [1] * SIZE if method == "Allgatherv" else 1
        recv = [wide, wider, every_other] if RANK else [table, pieces, MPI.INT]
        getattr(ours, method)([dense, 2, MPI.INT], recv)
        if RANK:
            assert (wide.reshape(SIZE, 4)[:, ::2] == right).all()
            assert (wide[1::2] == -1).all()
    every_other.Free()


def test_a_users_operation_is_told_the_callers_datatype(comm):
    ours, seen = swing.Comm(comm), set()

    def add(inbuf, inoutbuf, datatype):
        seen.add((datatype.name, datatype.extent))
        np.frombuffer(inoutbuf, "i1")[:] += np.frombuffer(inbuf, "i1")

    op = MPI.Op.Create(add, commute=True)
    mine = MPI.INT.Dup()
    mine.name = "mine"
    gaps = MPI.SHORT.Create_resized(0, 4).Commit()
    gaps.name = "with gaps"
    for datatype in (mine, MPI.INT32_T, MPI.BYTE, gaps, MPI.DOUBLE_INT):
        told = {(datatype.name, datatype.extent)}
        for call, count in (
            (ours.Allreduce, 4),
            (lambda *args: ours.Iallreduce(*args).Wait(), 4),
            (ours.Reduce_scatter_block, 1),
        ):
            send, recv = (np.ones(64 * SIZE, "i1") for _ in range(2))
            is_data = np.zeros(recv.nbytes, bool)  # found out by MPI itself
            filled = np.ones(count * datatype.size, "i1")
            marked = np.zeros(count * datatype.extent, "i1")
            datatype.Unpack(filled, 0, marked, comm)
            is_data[: len(marked)] = marked
            seen.clear()
            call([send, count, datatype], [recv, count, datatype], op)
            assert (recv == np.where(is_data, SIZE, 1)).all()
            assert seen <= told
            everyone = comm.allgather(sorted(seen))
            assert SIZE == 1 or any(everyone)
    mine.Free()
    gaps.Free()
    op.Free()


def test_datatypes_may_be_freed_while_operations_use_them(comm):
    """MPI keeps what it needs: freeing only marks the handle."""
    ours = swing.Comm(comm)
    op = MPI.Op.Create(add_bytes, commute=True)
    for turn in range(12):
        three = MPI.INT.Create_contiguous(3).Create_resized(0, 12 + 4 * (turn % 2)).Commit()
        send, recv = (np.full(8, value, "i4") for value in (1, 0))
        table = np.zeros((SIZE, 8), "i4")
        requests = [
            ours.Iallreduce([send, 2, three], [recv, 2, three], op),
            ours.Iallgather([send, 2, three], [table, 2, three]),
        ]
        total = np.ones(8, "i4")
        again = ours.Allreduce_init(MPI.IN_PLACE, [total, 2, three], op)
        three.Free()
        other = MPI.SHORT.Create_vector(2, 1, 5).Commit()  # may get the freed handle
        again.Start()
        MPI.Request.Waitall([*requests, again])
        again.Free()
        other.Free()
        used = np.arange(8) % 4 < 3 if turn % 2 else np.arange(8) < 6
        used[7] = False
        assert (recv == used * SIZE).all()
        assert (total == np.where(used, SIZE, 1)).all()
        table = table.reshape(-1)[: 8 * SIZE]
        assert table.sum() == 6 * SIZE
    op.Free()


def test_nothing_at_a_negative_displacement_is_nothing(comm):
    ours = swing.Comm(comm)
    counts = [0] + [2] * (SIZE - 1)
    starts = [-3, *(3 * k for k in range(SIZE - 1))]
    results = [np.full(3 * SIZE, -1, "i4") for _ in range(2)]
    for each, table in zip((comm, ours), results, strict=True):
        each.Allgatherv([np.arange(2, dtype="i4") + RANK, counts[RANK], MPI.INT],
                        [table, counts, starts, MPI.INT])  # fmt: skip
    assert (results[0] == results[1]).all()
    with pytest.raises(ValueError, match="do not hold"):
        ours.Allgatherv(np.zeros(1, "i4"), [results[0], [1] * SIZE, [-1] * SIZE, MPI.INT])


def test_addresses_are_displacements_from_the_bottom(comm):
    mine, table = np.arange(4) + RANK, np.zeros((SIZE, 2), int)
    where = [MPI.Get_address(mine[i:]) for i in (3, 1)]
    two = MPI.LONG.Create_hindexed([1, 1], where).Commit()
    swing.Comm(comm).Allgather([MPI.BOTTOM, 1, two], [table, 2, MPI.LONG])
    assert (table == np.array([3, 1]) + np.arange(SIZE)[:, None]).all()
    two.Free()


def test_one_buffer_twice_is_refused_by_all(comm):
    ours = swing.Comm(comm)
    in_order = MPI.Op.Create(lambda a, b, datatype: None, commute=False)
    both = np.zeros(SIZE)
    for op in (MPI.SUM, in_order):
        for call in (
            lambda op: ours.Allreduce(both, both, op),
            lambda op: ours.Iallreduce(both, both, op),
            lambda op: ours.Allreduce_init(both, both, op),
            lambda op: swing.allreduce(comm, both, both, op),
        ):
            with pytest.raises(ValueError, match=r"overlap: pass one buffer, or MPI\.IN_PLACE"):
                call(op)
    for call in (
        lambda: ours.Reduce_scatter_block(both, both[:1]),
        lambda: ours.Reduce_scatter(both, both[:1], [1] * SIZE),
        lambda: ours.Allgather(both[RANK:][:1], both),
        lambda: ours.Allgatherv(both[RANK:][:1], both),
    ):
        with pytest.raises(ValueError, match="overlap"):
            call()
    in_order.Free()
    # Elements of one buffer may lie between those of the other.
    pairs = MPI.DOUBLE.Create_resized(0, 16).Commit()
    woven = np.arange(8.0)
    add = MPI.Op.Create(add_bytes, commute=True)
    swing.allreduce(comm, [woven[:-1], 4, pairs], [woven[1:], 4, pairs], add)
    assert (woven[::2] == [0, 2, 4, 6]).all()
    with pytest.raises(ValueError, match="overlap"):
        swing.allreduce(comm, [woven[:-2], 3, pairs], [woven[2:], 3, pairs], add)
    pairs.Free()
    add.Free()
