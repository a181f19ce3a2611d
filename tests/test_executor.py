"""The executor without mpiexec: plans played by all ranks in one process, buffers, devices."""

from __future__ import annotations

import array
import math
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swing
from swing.algorithms.spelling import parse
from swing.build.parallel import parallel
from swing.executor.engines.wait import chosen
from swing.executor.plan.instruction import RECV, SCRATCH, SEND, Opcode
from swing.executor.plan.order import rank_order
from swing.executor.plan.plan import compile_plan
from swing.schedules.blocks import one_block
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from tests.cases import SHAPES, schedules

MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))

from swing.executor import allreduce, explain  # noqa: E402
from swing.executor.buffers.reading import vectors  # noqa: E402
from swing.executor.session.infer_torus import _nearly_square  # noqa: E402

SMALL = [dims for dims in SHAPES if math.prod(dims) <= 8]
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).filter(lambda d: math.prod(d) <= 30)


def orders(schedule):
    return [rank_order(schedule, rank) for rank in range(schedule.torus.size)]


def plans(orders, count, in_place, piece=10**9):
    return [compile_plan(order, count, in_place, piece) for order in orders]


class Rank:
    """A rank that carries out its plan, and the memory that MPI may read or write meanwhile."""

    def __init__(self, plan, vector, in_place):
        self.rows = iter(plan)
        recv = vector.copy() if in_place else np.full_like(vector, -(10**9))
        scratch = np.full(plan.scratch, -(10**9), vector.dtype)
        self.memory = {SEND: None if in_place else vector.copy(), RECV: recv, SCRATCH: scratch}
        self.under_way = {}  # by slot: sent or received, memory, what it held when it began
        self.awaited = set()
        self.done = False

    def at(self, place, length):
        found = self.memory[place.buffer][place.at : place.at + length]
        assert len(found) == length > 0
        return found

    def begin(self, i, slot, wire, rank):
        data, sent = self.at(i.a, i.length), i.do != Opcode.IRECV
        assert slot not in self.under_way
        for other_sent, other, _ in self.under_way.values():
            assert (sent and other_sent) or not np.shares_memory(data, other)
        self.under_way[slot] = sent, data, data.copy()
        wire[(rank, i.peer) if sent else (i.peer, rank)][sent].append((self, slot))

    def go_on(self, wire, rank):
        """Until messages have to be awaited."""
        for i in self.rows:
            if i.do == Opcode.SENDRECV:
                self.begin(next(self.rows), 0, wire, rank)
                self.begin(i, 1, wire, rank)
                self.awaited = {0, 1}
                return
            if i.do in (Opcode.ISEND, Opcode.IRECV):
                self.begin(i, i.slot, wire, rank)
            elif i.do == Opcode.WAIT:
                self.awaited = set(range(i.slot, i.slot + i.length)) & set(self.under_way)
                return
            elif i.do == Opcode.COPY:
                self.at(i.out, i.length)[:] = self.at(i.a, i.length)
            else:  # as MPI does it, into the right operand
                right = i.b if i.out == i.a else i.out
                self.at(right, i.length)[:] = self.at(i.a, i.length) + self.at(i.b, i.length)
                self.at(i.out, i.length)[:] = self.at(right, i.length)
        self.done = not self.under_way

    def end(self, slot):
        """The memory of a message that is delivered: nobody else has touched it meanwhile."""
        _, data, before = self.under_way.pop(slot)
        assert (data == before).all()
        self.awaited.discard(slot)
        return data


def play(plans, vectors, in_place):
    """Carry out the plans of all ranks; every rank's result.

    A message is delivered when one of the two ranks waits for it: as late as can be.
    """
    ranks = [Rank(*each, in_place) for each in zip(plans, vectors, strict=True)]
    wire = defaultdict(lambda: ([], []))  # received, sent
    while not all(rank.done for rank in ranks):
        able = [(r, rank) for r, rank in enumerate(ranks) if not (rank.awaited or rank.done)]
        for r, rank in able:
            rank.go_on(wire, r)
        delivered = 0
        for recvs, sends in wire.values():
            while recvs and sends:
                (there, slot), (here, other) = recvs[0], sends[0]
                if slot not in there.awaited and other not in here.awaited:
                    break
                recvs.pop(0), sends.pop(0)
                there.end(slot)[:] = here.end(other)
                delivered += 1
        assert able or delivered, "deadlock"
    assert not any(recvs or sends for recvs, sends in wire.values())
    assert in_place or all(
        (rank.memory[SEND] == mine).all() for rank, mine in zip(ranks, vectors, strict=True)
    )
    return [rank.memory[RECV] for rank in ranks]


def check(schedule, counts, in_place, piece=10**9):
    ranks = orders(schedule)
    for count in counts:
        mine = [np.arange(count) + 1000 * rank for rank in range(len(ranks))]
        for result in play(plans(ranks, count, in_place, piece), mine, in_place):
            assert (result == sum(mine)).all(), (schedule, count, piece)


@pytest.mark.theorem
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dims", SMALL, ids=str)
def test_plans_of_every_schedule_add_up(dims, in_place):
    for schedule in schedules(swing.Torus(dims)):
        check(schedule, (0, schedule.nblocks - 1), in_place)
        check(schedule, [2 * schedule.nblocks + 3], in_place, piece=3)


names = st.sampled_from(list(swing.ALGORITHMS))
pieces = st.sampled_from([10**9, 40, 7, 1])


@given(shapes, names, st.integers(0, 300), st.booleans(), pieces)
def test_plans_of_random_tori_add_up(dims, name, count, in_place, piece):
    try:
        schedule = swing.schedule(name, swing.Torus(dims))
    except ValueError:
        return
    check(schedule, [count], in_place, piece)


def test_parts_of_unequal_weight_add_up():
    torus = swing.Torus(4)
    parts = [swing.schedule("ring", torus), swing.schedule("swing", torus, ports=1)]
    check(parallel(parts, weights=[3, 1]), (0, 1, 7, 100), in_place=False)


def all_to_all(torus, group):
    """Ranks in groups that send each other all they have; then ranks of one place in theirs."""
    ranks = torus.ranks
    steps = [ranks // group, ranks % group]

    def step(s):
        src, dst = np.nonzero((steps[s][:, None] == steps[s]) & (ranks[:, None] != ranks))
        return Step(Op.REDUCE, src, dst, one_block(np.zeros_like(src)))

    return Schedule("groups", torus, nblocks=1, nsteps=2, step=step)


class Sum:
    """A sum that remembers which operand came first."""

    def __init__(self, text):
        self.text = text

    def __add__(self, other):
        return Sum(f"({self.text}+{other.text})")


@pytest.mark.theorem
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dims", [(3,), (6,), (2, 4)], ids=str)
def test_all_ranks_add_the_same_operands_in_the_same_order(dims, in_place):
    torus = swing.Torus(dims)
    groups = [all_to_all(torus, m) for m in range(2, torus.size) if torus.size % m == 0]
    for schedule in [*schedules(torus), *groups]:
        assert swing.verify(schedule).same_bits
        count = min(schedule.nblocks, 40) + 2
        mine = [np.array([Sum(str(r))] * count, object) for r in torus.ranks]
        for piece in (count, 1):
            results = play(plans(orders(schedule), count, in_place, piece), mine, in_place)
            texts = [[term.text for term in result] for result in results]
            assert all(text == texts[0] for text in texts), schedule


@pytest.mark.parametrize("dims", [(8,), (16,), (4, 4), (2, 2, 2)], ids=str)
def test_powers_of_two_pack_nothing_and_need_half_the_vector(dims):
    torus = swing.Torus(dims)
    for schedule in (swing.schedule("swing", torus), swing.schedule("recursive_doubling", torus)):
        count = 4 * schedule.nblocks
        for plan in plans(orders(schedule), count, in_place=True):
            assert not any(i.do == Opcode.COPY for i in plan)
            assert plan.scratch == count // 2
        for plan in plans(orders(schedule), count, in_place=False):
            assert plan.scratch <= count // 2
            sent = sum(i.length for i in plan if i.do in (Opcode.ISEND, Opcode.SENDRECV))
            assert sent == 2 * count * (torus.size - 1) // torus.size


@pytest.mark.parametrize("piece", [64, 160, 10**9])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dims", [(2,), (8,), (4, 4)], ids=str)
def test_what_a_step_reduces_into_is_sent_as_a_copy_unless_it_is_short(dims, in_place, piece):
    """The latency-optimal variant sends all and reduces into all, in place from the first step on.

    Without the copy, 16 KiB in place took two ranks twice as long, since a line that the peer has
    read is written.
    """
    torus, count = swing.Torus(dims), 10
    schedule = swing.schedule("swing", torus, variant="latency", ports=1)
    for plan in plans(orders(schedule), count, in_place, piece):
        sends = [i for i in plan if i.do in (Opcode.ISEND, Opcode.SENDRECV)]
        assert len(sends) == schedule.nsteps
        for i in sends:
            at_home = RECV if in_place or i.step else SEND
            is_copy = count >= piece // 16 and at_home == RECV
            assert i.a.buffer == (SCRATCH if is_copy else at_home)
    wide = swing.schedule("recursive_multiplying", torus, variant="latency", radices=[dims])
    several = math.prod(dims) > 2
    for plan in plans(orders(wide), count, True, 64):
        assert any(i.do == Opcode.COPY for i in plan) != several


@pytest.mark.parametrize("dims", [(8,), (2, 4), (2, 2, 2)], ids=str)
def test_two_pieces_of_every_message_are_all_the_scratch_memory_there_is(dims):
    torus = swing.Torus(dims)
    for name in ("ring", "swing", "recursive_doubling", "bucket"):
        schedule = swing.schedule(name, torus)
        ports = swing.verify(schedule).ports
        for plan in plans(orders(schedule), 100 * schedule.nblocks, in_place=False, piece=10):
            assert plan.scratch <= 2 * 10 * sum(ports)


def test_one_rank_copies():
    plan = compile_plan(rank_order(swing.schedule("swing", swing.Torus(1)), 0), 5, in_place=False)
    assert [(i.do, i.a.buffer, i.out.buffer) for i in plan] == [(Opcode.COPY, SEND, RECV)]
    source = np.arange(5.0)
    assert (allreduce(MPI.COMM_SELF, source, np.empty(5)) == source).all()


FROZEN = np.ones(4)
FROZEN.flags.writeable = False
LINE = np.ones(10)
REFUSED = {
    "a list": ([1.0, 2.0], None, TypeError, "the buffer is a list .* use a numpy array"),
    "a number": (3.5, None, TypeError, "is a float without a buffer: use a numpy array"),
    "objects": (np.array([1, "a"], object), None, TypeError, "use a numpy array"),
    "words": (np.array(["abc"]), None, TypeError, "which MPI lacks"),
    "records": (np.zeros(2, "i4,f4"), None, TypeError, r"pass \[array, datatype\]"),
    "gaps": (np.ones((3, 3))[:, ::2], None, ValueError, "np.ascontiguousarray"),
    "frozen": (FROZEN, None, ValueError, "read-only: pass a writable array"),
    "frozen recvbuf": (LINE[:4], FROZEN, ValueError, "read-only"),
    "bytes": (b"abcd", None, ValueError, "read-only"),
    "counts": (np.ones(4), np.ones(3), ValueError, "4 elements and recvbuf 3"),
    "types": (np.ones(4), np.ones(4, np.float32), ValueError, "float64 and recvbuf float32"),
    "overlap": (LINE[:6], LINE[4:], ValueError, "overlap: pass one buffer"),
    "in place of nothing": (MPI.IN_PLACE, None, ValueError, "pass recvbuf too"),
    "too small": ([LINE, 11, MPI.DOUBLE], None, ValueError, "80 bytes, .* 11 elements"),
    "not whole": ([np.zeros(3, "i4"), MPI.DOUBLE], None, ValueError, "pass .buffer, count"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_buffer_that_does_not_fit_is_refused_with_the_mend(case):
    sendbuf, recvbuf, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        allreduce(MPI.COMM_SELF, sendbuf, recvbuf)


IN_ORDER = MPI.Op.Create(lambda a, b, datatype: None, commute=False)  # MPI's own Allreduce does it


@pytest.mark.parametrize("case", REFUSED)
def test_what_mpi_does_is_refused_the_same(case):
    sendbuf, recvbuf, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        allreduce(MPI.COMM_SELF, sendbuf, recvbuf, IN_ORDER)


def test_buffers_of_a_datatype_with_gaps_are_looked_at():
    gapped = MPI.DOUBLE.Create_vector(2, 1, 2).Create_resized(0, 32).Commit()
    for sendbuf, recvbuf, words in [
        ([LINE[:4], gapped], [FROZEN, gapped], "read-only: pass a writable array"),
        ([LINE[:4], gapped], [LINE[2:6], gapped], "overlap: pass one buffer"),
        (LINE[:4], [LINE[4:8], gapped], "make them equal"),
        ([LINE[::2], gapped], None, "not contiguous: make it so first"),
    ]:
        with pytest.raises(ValueError, match=words):
            allreduce(MPI.COMM_SELF, sendbuf, recvbuf)
    gapped.Free()


@pytest.mark.parametrize("op", ["sum", np.add, 3])
def test_what_is_no_operation_is_refused_with_one_that_is(op):
    with pytest.raises(TypeError, match=r"not an MPI operation: pass one such as MPI\.SUM, or"):
        allreduce(MPI.COMM_SELF, np.ones(3), op=op)


RING = swing.schedule("ring", swing.Torus(1))
UNFIT = [
    ({"algorithm": "foo"}, ValueError, "no algorithm 'foo': choose from"),
    ({"algorithm": "ring,ports=2"}, ValueError, "pass 'ring', and each option as an argument"),
    ({"algorithm": None}, TypeError, "algorithm must be a name, such as 'swing'"),
    ({"algorithm": ["swing"]}, TypeError, "algorithm must be a name"),
    ({"torus": 3}, TypeError, r"torus must be a swing.Torus, such as swing.Torus\(\(2, 4\)\)"),
    ({"torus": (3,)}, TypeError, "torus must be a swing.Torus"),
    ({"torus": swing.Torus(2)}, ValueError, "has 2 ranks but the communicator has 1"),
    ({"algorithm": RING, "torus": swing.Torus((1, 1))}, ValueError, "leave out torus="),
    ({"algorithm": "ring", "colour": 1}, ValueError, "ring has no option 'colour'"),
    ({"algorithm": "swing", "ports": [1]}, TypeError, "ports must be a number, a name or a tuple"),
    ({"algorithm": "swing", "collective": "reduce_scatter"}, ValueError, "leave out collective="),
]


@pytest.mark.parametrize("op", [MPI.SUM, IN_ORDER], ids=["scheduled", "delegated"])
@pytest.mark.parametrize(("spec", "error", "words"), UNFIT)
def test_what_is_wanted_must_fit_whoever_does_it(op, spec, error, words):
    for call in (allreduce, explain):
        with pytest.raises(error, match=words):
            call(MPI.COMM_SELF, np.ones(3), op=op, **spec)


@pytest.mark.parametrize(
    ("timeout", "error"), [("5", TypeError), (-1, ValueError), (math.nan, ValueError)]
)
def test_a_timeout_is_a_number_of_seconds(timeout, error):
    with pytest.raises(error, match="timeout must be"):
        allreduce(MPI.COMM_SELF, np.ones(3), timeout=timeout)


def test_communicator_and_operation_must_be_mpis():
    with pytest.raises(ValueError, match=r"op is MPI\.OP_NULL: pass an operation"):
        allreduce(MPI.COMM_SELF, np.ones(3), op=MPI.OP_NULL)
    with pytest.raises(ValueError, match=r"comm is MPI\.COMM_NULL: call allreduce on"):
        allreduce(MPI.COMM_NULL, np.ones(3))
    with pytest.raises(TypeError, match=r"MPI\.Op\.Create"):
        allreduce(MPI.COMM_SELF, np.ones(3), op=np.add)
    with pytest.raises(TypeError, match="comm is a NoneType: pass a communicator"):
        allreduce(None, np.ones(3))


def test_all_that_has_a_buffer_is_read_where_it_is():
    for buf in (
        np.ones((2, 3), order="F"),
        np.ones(()),
        array.array("d", [1, 1]),
        bytearray(4),
        memoryview(np.ones(3)),
        [np.ones(4), MPI.DOUBLE],
        (np.ones(4), 3, "d"),
    ):
        send, recv = vectors(buf, None, MPI.COMM_SELF)
        assert send is recv
        assert recv.layout is None
        memory = np.asarray(buf[0] if isinstance(buf, (list, tuple)) else buf)
        assert np.shares_memory(recv.elements, memory)


def test_arrays_in_c_and_fortran_order_are_reduced_in_memory_order_as_by_mpi4py():
    cube = np.arange(24.0).reshape(2, 3, 4)
    for send in (np.asfortranarray(cube), cube.T, cube):
        for recv in (np.zeros((2, 3, 4)), np.zeros((2, 3, 4), order="F"), np.zeros(24)):
            right = np.zeros_like(recv)
            MPI.COMM_SELF.Allreduce(send, right)
            assert (allreduce(MPI.COMM_SELF, send, recv) == right).all()


def test_a_call_keeps_nothing_alive_or_exported():
    memory = bytearray(64)
    allreduce(MPI.COMM_SELF, memory)
    memory.extend(b"more")  # BufferError if a view of it were kept


def test_a_call_like_the_last_one_is_looked_at_again():
    source, result = np.arange(6), np.empty(6, int)
    for _ in range(2):
        allreduce(MPI.COMM_SELF, source, result)
    assert (result == source).all()
    source[:] = 7
    assert (allreduce(MPI.COMM_SELF, source, result) == 7).all()
    result.resize(3, refcheck=False)
    with pytest.raises(ValueError, match="6 elements and recvbuf 3"):
        allreduce(MPI.COMM_SELF, source, result)
    source.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        allreduce(MPI.COMM_SELF, np.ones(6, int), source)


def test_auto_believes_what_the_environment_says_of_the_machine(monkeypatch):
    comm = MPI.COMM_SELF.Dup()
    monkeypatch.setenv("SWING_MACHINE", "paper")
    assert "one node" not in explain(comm, np.ones(5)).why
    comm.Free()
    monkeypatch.setenv("SWING_MACHINE", "none such")
    comm = MPI.COMM_SELF.Dup()
    with pytest.raises(ValueError, match="no machine 'none such': choose from"):
        allreduce(comm, np.ones(5))
    comm.Free()


@pytest.mark.parametrize(
    ("size", "dims"), [(1, (1,)), (6, (3, 2)), (7, (7,)), (8, (4, 2)), (32, (8, 4)), (36, (6, 6))]
)
def test_without_a_torus_two_dimensions_are_nearly_equal_and_the_larger_is_first(size, dims):
    assert _nearly_square(size).dims == dims


def test_explain_says_what_and_why(monkeypatch):
    monkeypatch.setenv("SWING_ENGINE", "plain")
    told = explain(MPI.COMM_SELF, np.ones(10**6), algorithm="ring")
    assert str(told).splitlines() == [
        "algorithm: ring, 1 port",
        "why: it was asked for by name",
        "torus: 1, from the number of ranks",
        "engine: plain, because SWING_ENGINE says so",
        f"waiting: {chosen()[0]}: {chosen()[1]}",
        "scratch memory: 0 bytes",
    ]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({}, "swing,variant=latency,ports=1"),
        ({"algorithm": "swing", "variant": "bandwidth"}, "swing,variant=bandwidth, 1 port"),
        ({"algorithm": "swing", "ports": 1}, "swing,ports=1, variant bandwidth"),
    ],
)
def test_explain_writes_the_algorithm_as_commands_take_it(asked, line):
    told = explain(MPI.COMM_SELF, np.ones(8), **asked)
    assert str(told).startswith(f"algorithm: {line}\n")
    name, options = parse(told.name)
    again = explain(MPI.COMM_SELF, np.ones(8), algorithm=name, **options)
    assert (again.name, again.variant, again.ports) == (told.name, told.variant, told.ports)


def test_without_mpi_swing_works_and_allreduce_says_what_to_install():
    script = """
import sys
sys.modules["mpi4py"] = None
import swing
from swing.executor import allreduce
swing.verify(swing.schedule("swing", swing.Torus(4)))
try:
    allreduce(None, None)
except ImportError as error:
    assert 'pip install "torus-swing[mpi]"' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)


SESSION = """
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
import numpy as np, swing
from swing.executor.session import contexts
session = MPI.Session.Init()
group = session.Create_group("mpi://SELF")
for i in range(2300):
    comm = MPI.Intracomm.Create_from_group(group, f"comm {i}")
    assert (swing.allreduce(comm, np.ones(3), algorithm="ring") == comm.size).all()
    assert i < 2299 or swing.explain(comm, np.ones(3)).torus  # else it is left to MPI
    comm.Free()
assert not contexts._keys  # nothing is kept for them
group.Free()
session.Finalize()
"""


@pytest.mark.skipif(MPI.get_vendor()[0] != "MPICH", reason="it has no sessions without mpiexec")
def test_communicators_of_a_session_take_their_private_ones_with_them():
    """MPICH has 2,048 communicators, and none is left behind by one that has been freed."""
    subprocess.run([sys.executable, "-c", SESSION], check=True)
