"""Every schedule is proven, every planted fault is found and named, and an oracle agrees."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, reduce
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swing
from swing.build.hamiltonian_cycles import disjoint_cycles
from swing.build.parallel import parallel
from swing.schedules.blocks import Blocks
from swing.schedules.collectives import ALL
from swing.schedules.rank import Turn
from swing.schedules.schedule import Schedule
from swing.schedules.step import Message, Op, Step
from swing.torus import Torus
from swing.verification.deadlock import deadlock
from swing.verification.outcome import Report, ScheduleError
from swing.verification.proof import verify
from tests.cases import NAMES, restepped

SHAPES = [
    *((d,) for d in range(1, 34)),
    (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (8, 8), (1, 8), (8, 1), (2, 3), (2, 5), (3, 2),
    (3, 4), (4, 3), (4, 2), (5, 7), (6, 3), (6, 10), (7, 6), (9, 2), (12, 3), (16, 4), (2, 32),
    (2, 2, 2), (3, 3, 3), (2, 1, 3), (3, 4, 5), (4, 4, 4), (2, 6, 4), (5, 2, 2), (3, 2, 6),
    (2, 2, 2, 2), (2, 3, 4, 5), (3, 2, 3, 2), (1, 2, 1, 7), (4, 2, 3, 2),
]  # fmt: skip
ids = {"ids": lambda dims: "x".join(map(str, dims))}


def power_of_two(d: int) -> bool:
    return d & (d - 1) == 0


def has_cycles(torus: Torus) -> bool:
    """Without rings of two it is a theorem that there are; with some, not all have any."""
    dims = tuple(torus.dims[j] for j in torus.active)
    if len(dims) < 2 or min(dims) > 2:
        return True
    even = len(dims) == 2 and max(dims) % 2 == 0
    return even or disjoint_cycles(dims) is not None


def options(name: str, torus: Torus) -> Iterator[dict[str, object]]:
    """What an algorithm offers on a torus: collectives, variants, and ports from one to all."""
    takes = swing.ALGORITHMS[name].options
    most = 2 if name == "ring" else max(1, torus.ports)
    some = {1, (most + 1) // 2, most} if torus.size <= 33 else {most}
    if name == "recursive_doubling":  # on all ports it is mirrored_recursive_doubling
        some = {1, (most + 1) // 2}
    every = [{"ports": n} for n in sorted(some)] if "ports" in takes else [{}]
    yield from every
    for collective in ("reduce_scatter", "allgather"):
        if collective in swing.ALGORITHMS[name].collectives:
            yield {"collective": collective, **every[-1]}
    if "variant" in takes:
        yield {"variant": "latency", **every[-1]}
        halvings = sum((d - 1).bit_length() for d in torus.dims)
        if name in ("recursive_multiplying", "trivance"):  # fewer steps than halvings
            halvings = sum(d > 1 for d in torus.dims)
        for k in sorted({min(1, halvings), halvings * 2 // 3}):
            yield {"variant": "hybrid", "k": k, **every[-1]}


@cache
def proof(name: str, dims: tuple[int, ...], **choice: object) -> Report:
    return verify(swing.schedule(name, Torus(dims), **choice))


def served(name: str, torus: Torus) -> bool:
    return name != "hamiltonian" or has_cycles(torus)


@pytest.mark.theorem
@pytest.mark.parametrize("dims", SHAPES, **ids)
@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_is_correct_and_gives_all_ranks_the_same_bits(name, dims):
    torus = Torus(dims)
    if not served(name, torus):
        with pytest.raises(ValueError, match="finds no cycles"):
            swing.schedule(name, torus)
        return
    for choice in options(name, torus):
        assert proof(name, dims, **choice).same_bits, choice


@pytest.mark.theorem
@given(
    dims=st.lists(st.integers(1, 9), min_size=1, max_size=4).filter(lambda d: math.prod(d) <= 64),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_schedules_of_random_tori_are_correct(dims, data):
    size = math.prod(dims)
    torus = Torus(dims)
    coords = np.array(data.draw(st.permutations(torus.coords.tolist()))) if size > 1 else None
    torus = Torus(dims, coords=coords)
    name = data.draw(st.sampled_from([n for n in NAMES if served(n, torus)]))
    choice = data.draw(st.sampled_from(list(options(name, torus))))
    assert verify(swing.schedule(name, torus, **choice)).same_bits


@pytest.mark.parametrize("dims", SHAPES, **ids)
def test_a_bandwidth_optimal_reduce_scatter_sends_every_block_but_one_once(dims):
    torus = Torus(dims)
    for name in ("swing", "bucket", "ring", "hamiltonian"):
        if served(name, torus):
            choice = next(c for c in options(name, torus) if "collective" in c)
            parts = len(swing.schedule(name, torus, **choice).parts)
            assert (proof(name, dims, **choice).blocks_sent == (torus.size - 1) * parts).all(), name


@pytest.mark.parametrize("dims", SHAPES, **ids)
def test_swing_takes_ceil_log2_of_every_dimension_steps(dims):
    steps = sum(math.ceil(math.log2(d)) for d in dims)
    for choice in options("swing", Torus(dims)):
        if "variant" not in choice:
            allreduce = "collective" not in choice
            assert proof("swing", dims, **choice).nsteps == steps * (1 + allreduce)


@pytest.mark.parametrize("dims", [d for d in SHAPES if all(map(power_of_two, d))], **ids)
def test_powers_of_two_send_slices(dims):
    for name in ("swing", "recursive_doubling", "mirrored_recursive_doubling"):
        for choice in options(name, Torus(dims)):
            assert proof(name, dims, **choice).contiguous


@pytest.mark.parametrize("dims", [(10,), (14,), (3, 3), (7, 6)], **ids)
def test_other_sizes_may_have_to_gather_blocks(dims):
    assert not proof("swing", dims).contiguous


@pytest.mark.parametrize(
    "choice",
    [{"collective": "reduce_scatter"}, {"variant": "latency"}, {"variant": "hybrid", "k": 4}],
)
def test_four_thousand_ranks(choice):
    report = verify(swing.schedule("swing", Torus((64, 64)), **choice))
    assert report.same_bits
    assert report.contiguous
    assert report.ports == (4, 4)


@pytest.mark.parametrize("p", [8, 16, 32])
def test_short_hops_first_gives_ranks_different_bits(p):
    schedule = swing.schedule("swing", Torus(p), variant="latency")
    last = schedule.nsteps - 1
    forward = restepped(schedule, lambda s: schedule.step(last - s))
    assert verify(schedule).same_bits
    assert not verify(forward).same_bits


def rows(op: Op, *pairs: tuple[int, int]) -> list[Message]:
    return [Message(src, dst, slice(0, 1), op, 0) for src, dst in pairs]


def test_what_meets_in_one_step_is_added_in_one_order_on_all_ranks():
    swap = rows(Op.REDUCE, (0, 1), (1, 0))
    assert verify(tabled([swap], Torus(2))).same_bits
    at_once = rows(Op.REDUCE, (1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2))
    assert verify(tabled([at_once], Torus(3))).same_bits  # (0 + 1) + 2 on each

    def two_then(*steps: list[Message]) -> Schedule:  # on rank 1 ((0 + 1) + 2) + 3
        rest = rows(Op.COPY, (1, 2), (1, 3))
        first = [*swap, *rows(Op.REDUCE, (2, 1))]
        return tabled([first, *steps, rest], Torus(4))

    third = rows(Op.REDUCE, (3, 1))
    assert verify(two_then([*third, *rows(Op.REDUCE, (3, 0), (2, 0))])).same_bits
    assert verify(two_then([*third, *rows(Op.REDUCE, (2, 0))], rows(Op.REDUCE, (3, 0)))).same_bits
    other = two_then([*third, *rows(Op.REDUCE, (3, 0))], rows(Op.REDUCE, (2, 0)))
    assert not verify(other).same_bits  # ((0 + 1) + 3) + 2 on rank 0


def test_the_report_counts():
    report = verify(swing.schedule("recursive_doubling", Torus(6)))
    assert report.blocks_sent.tolist() == [4, 10, 4, 10, 6, 6]
    assert (report.nsteps, report.messages, report.ports) == (6, 20, (1, 1))
    assert str(report).endswith("blocks sent by a rank: 4 to 10")
    assert verify(swing.schedule("swing", Torus((5, 5)))).ports[0] > 4


# Planted faults


def table(rows: list[Message]) -> Step:
    """A step of the messages given."""
    src, dst, part = (np.array([row[i] for row in rows], dtype=np.int64) for i in (0, 1, 4))
    op = np.array([row.op for row in rows], dtype=object)
    return Step(op, src, dst, Blocks.join([ranged(row.blocks) for row in rows]), part)


def ranged(blocks: slice | np.ndarray) -> Blocks:
    """One message's blocks, as a range where it is a slice; its length may be wrong."""
    if isinstance(blocks, slice):
        return Blocks(np.array([blocks.stop - blocks.start]), np.array([blocks.start]))
    return Blocks.sets(np.array([len(blocks)]), lambda _: blocks)


def tabled(steps: list[list[Message]], torus: Torus, nblocks: int = 1, **columns) -> Schedule:
    return Schedule("table", torus, nblocks, len(steps), lambda s: table(steps[s]), **columns)


def altered(schedule: Schedule, s: int, edit: Callable[[list[Message]], list[Message]]) -> Schedule:
    """The schedule with step s edited as a list of messages."""
    rows = [schedule.step(s).message(i) for i in range(len(schedule.step(s)))]
    step = table(edit(rows))
    return restepped(schedule, lambda t: step if t == s else schedule.step(t))


def drop(i: int) -> Callable[[list[Message]], list[Message]]:
    return lambda rows: rows[:i] + rows[i + 1 :]


def change(i: int, **columns) -> Callable[[list[Message]], list[Message]]:
    return lambda rows: [*rows[:i], rows[i]._replace(**columns), *rows[i + 1 :]]


def fault_of(schedule: Schedule) -> ScheduleError:
    with pytest.raises(ScheduleError) as caught:
        verify(schedule)
    return caught.value


def place(error: ScheduleError) -> tuple[int | None, int | None, int | None]:
    return error.step, error.rank, error.block


# 0 +  0→1:4-7  1→0:0-3  2→3:0-3  3→2:4-7  4→5:4-7  5→4:0-3  6→7:0-3  7→6:4-7
# 1 +  0→7:2-3  1→2:6-7  2→1:4-5  3→4:2-3  4→3:0-1  5→6:4-5  6→5:6-7  7→0:0-1
# 2 +  0→3:1  1→6:5  2→5:7  3→0:0  4→7:2  5→2:6  6→1:4  7→4:3
# 3 =  3→0:1  6→1:5  5→2:7  0→3:0  7→4:2  2→5:6  1→6:4  4→7:3
EIGHT = swing.schedule("swing", Torus(8), ports=1)
SCATTER = swing.schedule("swing", Torus(8), ports=1, collective="reduce_scatter")
GATHER = swing.schedule("swing", Torus(8), ports=1, collective="allgather")
EXCHANGE = swing.schedule("swing", Torus(8), ports=1, variant="latency")
TWO_PARTS = swing.schedule("swing", Torus(8))


def test_the_schedule_that_faults_are_planted_in():
    assert str(EIGHT[2]) == "+  0→3:1  1→6:5  2→5:7  3→0:0  4→7:2  5→2:6  6→1:4  7→4:3"
    assert SCATTER.home.tolist() == GATHER.origin.tolist() == [0, 3, 7, 4, 1, 6, 2, 5]
    for schedule in (EIGHT, SCATTER, GATHER, EXCHANGE, TWO_PARTS):
        for s in range(schedule.nsteps):
            assert verify(altered(schedule, s, lambda rows: rows)).same_bits


def test_dropped_message():
    error = fault_of(altered(EIGHT, 2, drop(0)))
    assert place(error) == (3, 3, 1)  # rank 3 owns block 1, and copies it on incomplete
    assert str(error) == "step 3, rank 3, block 1: is copied on without the contribution of rank 0"
    assert place(fault_of(altered(SCATTER, 2, drop(0)))) == (2, 3, 1)
    assert "ends without the contribution of rank 0" in str(fault_of(altered(SCATTER, 2, drop(0))))
    assert place(fault_of(altered(EIGHT, 5, drop(0)))) == (5, 0, 4)  # 1→0:4-7 is missing
    assert place(fault_of(altered(EXCHANGE, 2, drop(1)))) == (2, 0, 0)
    error = fault_of(altered(GATHER, 2, drop(0)))
    assert (
        str(error) == "step 2, rank 0, block 4: ends without the contribution of rank 1"
    )  # its owner


def test_doubled_contribution():
    error = fault_of(altered(EIGHT, 0, lambda rows: [*rows, rows[0]]))
    assert place(error) == (0, 1, 4)
    assert "receives the contribution of rank 0 a second time" in str(error)
    again = Message(0, 1, slice(4, 5), Op.REDUCE, 0)
    assert place(fault_of(altered(EIGHT, 1, lambda rows: [*rows, again]))) == (1, 1, 4)
    assert place(fault_of(altered(EXCHANGE, 2, lambda rows: [*rows, rows[1]]))) == (2, 0, 0)


def test_latency_optimal_swing_without_folding_doubles_contributions():
    peers = [[(1, 0, 3, 2, 5, 4)[r] for r in range(6)], [5, 2, 1, 4, 3, 0], [3, 4, 5, 0, 1, 2]]
    steps = [[Message(r, peer[r], slice(0, 1), Op.REDUCE, 0) for r in range(6)] for peer in peers]
    error = fault_of(tabled(steps, Torus(6)))
    assert error.step == 2
    assert "a second time" in str(error)


def test_wrong_peer():
    error = fault_of(altered(EIGHT, 0, change(0, dst=3)))  # 0→3:4-7 instead of 0→1:4-7
    assert place(error) == (3, 1, 4)
    assert "copied on without the contribution of rank 0" in str(error)
    assert verify(altered(EIGHT, 0, change(0, dst=2))).same_bits  # a detour, but a right one
    assert place(fault_of(altered(EXCHANGE, 1, change(0, dst=2)))) == (2, 2, 0)


def test_wrong_block():
    error = fault_of(altered(EIGHT, 2, change(0, blocks=slice(2, 3))))  # 0→3:2 instead of 0→3:1
    assert error.block in (1, 2)


def test_crossed_ranges():
    def crossed(rows: list[Message]) -> list[Message]:
        first, second, *others = rows
        crossing = first._replace(blocks=second.blocks), second._replace(blocks=first.blocks)
        return [*crossing, *others]

    assert fault_of(altered(EIGHT, 0, crossed)).block in range(8)
    assert fault_of(altered(EIGHT, 2, crossed)).block in (1, 5)
    overlap = Message(1, 3, slice(1, 2), Op.COPY, 0)  # while 0→3:1 is reduced
    error = fault_of(altered(EIGHT, 2, lambda rows: [*rows, overlap]))
    assert place(error) == (2, 3, 1)
    assert "overwritten and received again in the same step" in str(error)
    twice = Message(3, 0, slice(1, 2), Op.COPY, 0)
    assert place(fault_of(altered(EIGHT, 3, lambda rows: [*rows, twice]))) == (3, 0, 1)


def test_a_block_handed_to_and_fro_never_reaches_its_owner():
    # Ranks 1 and 6 hand each other block 1, which 0 should have sent its owner, rank 3.
    cycle = [Message(1, 6, slice(1, 2), Op.REDUCE, 0), Message(6, 1, slice(1, 2), Op.REDUCE, 0)]
    error = fault_of(altered(SCATTER, 2, lambda rows: rows[1:] + cycle))
    assert error.block == 1
    partners = tabled(
        [
            [Message(0, 2, slice(0, 1), Op.REDUCE, 0)],
            [Message(0, 1, slice(0, 1), Op.COPY, 0), Message(1, 0, slice(0, 1), Op.COPY, 0)],
        ],
        Torus(3),
        home=2,
    )
    error = fault_of(partners)
    assert place(error) == (1, 0, 0)
    assert "is copied on without the contribution of rank 1" in str(error)


@pytest.mark.parametrize(
    ("columns", "block", "words"),
    [
        ({"dst": 0}, None, "sends to itself"),
        ({"dst": 8}, None, "sends to rank 8, which is not one of the 8 ranks"),
        ({"dst": -1}, None, "sends to rank -1, which is not one of the 8 ranks"),
        ({"src": 9}, None, "sends, but is not one of the 8 ranks"),
        ({"part": 2}, None, "sends for part 2, which is not one of the 2 parts"),
        ({"blocks": slice(4, 4)}, None, "sends no block to rank 7"),
        ({"blocks": slice(15, 17)}, 15, "which has blocks 0 to 7"),
        ({"blocks": slice(6, 9)}, 8, "is sent to rank 7 for part 0, which has blocks 0 to 7"),
        ({"blocks": slice(-1, 2)}, -1, "which has blocks 0 to 7"),
        ({"part": 1}, 2, "is sent to rank 7 for part 1, which has blocks 8 to 15"),
        ({"blocks": np.array([4, 6, 8])}, 8, "which has blocks 0 to 7"),
        ({"blocks": np.array([4, 4, 5])}, None, "names [4, 4, 5], not 3 blocks in ascending order"),
        ({"blocks": np.array([5, 4])}, None, "names [5, 4], not 2 blocks in ascending order"),
    ],
)
def test_rows_that_make_no_sense(columns, block, words):
    error = fault_of(altered(TWO_PARTS, 1, change(0, **columns)))
    assert (error.step, error.rank, error.block) == (1, columns.get("src", 0), block)
    assert words in str(error)


def test_columns_and_owners_that_make_no_sense():
    step = EIGHT.step(0)
    src, dst, blocks, part = step.src, step.dst, step.blocks, step.part
    for step in (
        Step(Op.REDUCE, src, dst[:-1], blocks, part),
        Step(Op.REDUCE, src, dst, blocks.take(np.arange(7)), part),
        Step(np.array([Op.REDUCE] * 7), src, dst, blocks, part),
    ):
        error = fault_of(restepped(EIGHT, lambda s, step=step: step))
        assert str(error) == "step 0: the columns differ in length"
    count = np.full(8, 2)
    short = Step(Op.REDUCE, src, dst, Blocks.sets(count, lambda i: np.array([4])), part)
    assert "names [4], not 2 blocks" in str(fault_of(restepped(EIGHT, lambda s: short)))
    assert "9 in the parts" in str(fault_of(replace(EIGHT, parts=(4, 5))))
    short_column = fault_of(replace(SCATTER, home=np.arange(7)))
    assert str(short_column) == "home has 7 entries for 8 blocks"
    for column in ("origin", "home"):
        error = fault_of(replace(SCATTER, **{column: np.arange(1, 9)}))
        assert place(error) == (None, None, 7)
        assert f"its {column} 8 is not one of the 8 ranks" in str(error)
    # A rank that has no value of a block can neither send it to be added nor add to it.
    nothing = fault_of(replace(SCATTER, origin=SCATTER.home, home=ALL))
    assert "sends a message to reduce, but has no value" in str(nothing)
    reduced = altered(GATHER, 0, lambda rows: [m._replace(op=Op.REDUCE) for m in rows])
    assert "has nothing to add it to" in str(fault_of(reduced))


# An oracle that shares no code with verify: dense counts, and trees as nested sets


def oracle(schedule: Schedule) -> bool | None:
    """None if the schedule is wrong, else whether all ranks add in the same order."""
    p, n = schedule.torus.size, schedule.nblocks
    first = np.cumsum((0, *schedule.parts))
    value: dict[tuple[int, int], tuple[np.ndarray, object]] = {}
    for r in range(p):
        for b in range(n):
            contributes = schedule.origin[b] in (ALL, r)
            value[r, b] = np.eye(p)[r] * contributes, r
    for step in schedule:
        before, changed, sums = dict(value), {}, {}
        for src, dst, blocks, op, part in (step.message(i) for i in range(len(step))):
            if src == dst or not (0 <= src < p and 0 <= dst < p):
                return None
            for b in np.r_[blocks].tolist():
                if not first[part] <= b < first[part + 1]:
                    return None
                changed.setdefault((dst, b), []).append(op)
                (count, tree), (more, branch) = value[dst, b], before[src, b]
                if op is Op.COPY:
                    value[dst, b] = more, branch
                elif not count.any() or not more.any() or (count + more > 1).any():
                    return None
                else:
                    value[dst, b] = count + more, tree
                    sums.setdefault((dst, b), [before[dst, b]]).append(before[src, b])
        if any(Op.COPY in ops and len(ops) > 1 for ops in changed.values()):
            return None
        for cell, terms in sums.items():  # added up in the order of their lowest contributors
            trees = [tree for _, tree in sorted(terms, key=lambda t: np.flatnonzero(t[0])[0])]
            value[cell] = value[cell][0], reduce(lambda a, b: frozenset((a, b)), trees)
    same_bits = True
    for b in range(n):
        origin, home = (
            range(p) if column[b] == ALL else [int(column[b])]
            for column in (schedule.origin, schedule.home)
        )
        complete = np.isin(np.arange(p), origin).astype(float)
        if not all((value[r, b][0] == complete).all() for r in home):
            return None
        same_bits &= len({value[r, b][1] for r in home}) == 1
    return same_bits


def agrees(schedule: Schedule) -> bool:
    """Whether verify says what the oracle says; and that the schedule is correct."""
    expected = oracle(schedule)
    if expected is None:
        fault_of(schedule)
    else:
        assert verify(schedule).same_bits == expected
    return expected is not None


SMALL = [(2,), (3,), (5,), (6,), (8,), (2, 2), (2, 3), (3, 3)]


@pytest.mark.theorem
@pytest.mark.parametrize("dims", SMALL, **ids)
@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_agrees(name, dims):
    torus = Torus(dims)
    for choice in options(name, torus) if served(name, torus) else ():
        assert agrees(swing.schedule(name, torus, **choice))


def mutated(schedule: Schedule, rng: random.Random) -> Schedule:
    """The schedule with one random change."""
    s = rng.randrange(schedule.nsteps)
    length = len(schedule.step(s))
    kind = rng.choice(["drop", "double", "peer", "block", "op", "cross", "steps", "move"])
    if kind == "steps" or not length:
        order = rng.sample(range(schedule.nsteps), schedule.nsteps)
        return restepped(schedule, lambda t: schedule.step(order[t]))
    i, j = rng.randrange(length), rng.randrange(length)

    def edit(rows: list[Message]) -> list[Message]:
        some = np.r_[rows[i].blocks]
        if kind == "drop":
            return drop(i)(rows)
        if kind == "double":
            return [*rows, rows[i]]
        if kind == "peer":
            return change(i, dst=rng.randrange(schedule.torus.size))(rows)
        if kind == "block":
            return change(i, blocks=some + rng.choice([-1, 1]))(rows)
        if kind == "op":
            return change(i, op=rng.choice(list(Op)))(rows)
        if kind == "cross":
            return change(j, blocks=rows[i].blocks)(change(i, blocks=rows[j].blocks)(rows))
        return drop(i)(rows)  # "move": to a step of its own, below

    if kind == "move":
        row, t = schedule.step(s).message(i), rng.randrange(schedule.nsteps)
        return altered(altered(schedule, s, edit), t, lambda rows: [*rows, row])
    return altered(schedule, s, edit)


@pytest.mark.parametrize("name", ["swing", "recursive_doubling", "bucket", "ring"])
def test_the_oracle_agrees_about_random_changes(name):
    rng = random.Random(name)
    right = wrong = 0
    for _ in range(120):
        torus = Torus(rng.choice(SMALL))
        schedule = swing.schedule(name, torus, **rng.choice(list(options(name, torus))))
        for _ in range(rng.randint(1, 2)):
            schedule = mutated(schedule, rng)
        if agrees(schedule):
            right += 1
        else:
            wrong += 1
    assert right > 5
    assert wrong > 50


def cuts(rows: list[Message]) -> Iterator[list[list[Message]]]:
    """The rows in order, cut into steps in all ways."""
    for cut in product((False, True), repeat=len(rows) - 1):
        steps = [rows[:1]]
        for row, new in zip(rows[1:], cut, strict=True):
            steps[len(steps) - (not new) :] = [[*([] if new else steps[-1]), row]]
        yield steps


COLUMNS = {
    "allreduce": {},
    "reduce_scatter": {"home": 0},
    "allgather": {"origin": 0},
    "one to one": {"origin": 0, "home": 1},
}
"""Origin and home of the tables of one block below."""


@pytest.mark.parametrize(
    ("collective", "p", "length", "ops"),
    [
        ("allreduce", 2, 3, "+="),
        ("reduce_scatter", 2, 3, "+="),
        ("reduce_scatter", 3, 2, "+="),
        ("reduce_scatter", 3, 3, "+"),
        ("allgather", 3, 2, "+="),
        ("allgather", 3, 3, "="),
        ("one to one", 3, 3, "+="),
    ],
)
def test_the_oracle_agrees_about_all_small_tables(collective, p, length, ops):
    messages = [
        Message(*pair, slice(0, 1), Op(op), 0) for pair in permutations(range(p), 2) for op in ops
    ]
    owned = COLUMNS[collective]
    tables = [cut for rows in product(messages, repeat=length) for cut in cuts(list(rows))]
    right = sum(agrees(tabled(steps, Torus(p), **owned)) for steps in tables)
    assert 0 < right < len(tables) / 2


def written(text: str, p: int, collective: str) -> Schedule:
    """The schedule of one block, owned by rank 0, that is written like "1+0 2+0, 0=1 0=2"."""
    steps = [
        [Message(int(word[0]), int(word[2]), slice(0, 1), Op(word[1]), 0) for word in step.split()]
        for step in text.split(",")
    ]
    return tabled(steps, Torus(p), **COLUMNS[collective])


@pytest.mark.parametrize(
    ("text", "p", "why"),
    [
        ("1+0, 1+0", 2, "rank 1 gives what it has given before"),
        ("1+0 1+0", 3, "rank 1 gives twice in a step"),
        ("1+0 1+0, 0=1", 3, "and is given something after that"),
        ("1+0, 2+1, 1+0", 3, "rank 1 receives more and gives again"),
        ("1+0 2+3, 0=2, 2+0", 4, "half a sum is copied and comes back"),
        ("0+1, 1=0, 0+1 1+0", 2, "sums that are complete are added"),
        ("0+1 2+1 3+1, 1=0 1=2, 2+1", 4, "the same, where nobody needs the result"),
        ("1+0, 0=1 0=1", 2, "copied to twice in a step"),
        ("1+0, 1+0 0=1", 2, "given and copied to in the same step"),
        ("2+1, 0+1 1=0", 3, "copied on what is complete only after the step"),
    ],
)
def test_every_rule_of_the_proof_by_tokens_is_needed(text, p, why):
    assert not agrees(written(text, p, "reduce_scatter")), why


def test_partial_sums_may_be_moved_by_copies():
    assert agrees(written("1+2, 2=1, 0+1, 1=0 1=2", 3, "allreduce"))


def test_ports_are_counted_at_both_ends():
    gather = written("1+0 2+0, 0=1 0=2 0=3", 4, "allreduce")
    assert fault_of(gather).rank == 0
    report = verify(written("1+0 2+0, 3+0, 0=1 0=2, 0=3", 4, "allreduce"))
    assert report.ports == (2, 2)
    assert verify(written("1+0 2+0 3+0, 0=1 0=2, 0=3", 4, "allreduce")).ports == (2, 3)


@pytest.mark.parametrize("name", ["swing", "recursive_doubling"])
def test_verdicts_do_not_depend_on_the_memory_there_is(name, monkeypatch):
    rng = random.Random(0)
    torus = Torus((3, 4))
    schedules = [swing.schedule(name, torus, ports=n, **v) for n in (1, 4) for v in VARIANTS]
    schedules += [mutated(schedule, rng) for schedule in schedules for _ in range(6)]
    verdicts = [verdict(schedule) for schedule in schedules]
    assert len({isinstance(v, Report) for v in verdicts}) == 2
    monkeypatch.setattr("swing.verification.proof.TOKENS", 5 * torus.size)
    monkeypatch.setattr("swing.verification.proof.WORDS", 2 * torus.size)
    for schedule, expected in zip(schedules, verdicts, strict=True):
        found = verdict(schedule)
        assert type(found) is type(expected)
        assert isinstance(expected, ScheduleError) or str(found) == str(expected)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1), (0, 0)])
def test_one_block_whose_bits_differ_is_enough(order, monkeypatch):
    schedule = swing.schedule("swing", Torus(8), ports=1, variant="latency")
    last = schedule.nsteps - 1
    ways = [schedule, restepped(schedule, lambda s: schedule.step(last - s))]
    both = parallel([ways[i] for i in order])
    assert verify(both).same_bits == (order == (0, 0))
    monkeypatch.setattr("swing.verification.proof.WORDS", 8)  # one block at a time
    assert verify(both).same_bits == (order == (0, 0))


VARIANTS = [{}, {"variant": "latency"}, {"variant": "hybrid", "k": 2}, {"collective": "allgather"}]


def verdict(schedule: Schedule) -> Report | ScheduleError:
    try:
        return verify(schedule)
    except ScheduleError as error:
        return error


# Deadlock


def programs(schedule: Schedule) -> list:
    return [schedule.for_rank(rank) for rank in range(schedule.torus.size)]


@pytest.mark.theorem
@pytest.mark.parametrize("dims", [(1,), (2,), (6,), (7,), (3, 4), (2, 3, 2)], **ids)
def test_no_schedule_deadlocks(dims):
    torus = Torus(dims)
    for name in NAMES:
        for choice in options(name, torus) if served(name, torus) else ():
            deadlock(programs(swing.schedule(name, torus, **choice)))


def deadlock_of(turns: list) -> ScheduleError:
    with pytest.raises(ScheduleError) as caught:
        deadlock(turns)
    return caught.value


def circle_of(error: ScheduleError) -> list[int]:
    """Ranks that wait, each for the next one; the first is there twice."""
    return [int(word.split()[0]) for word in str(error).split(": ")[-1].split(" → ")]


def test_ranks_that_all_send_before_they_receive_wait_in_a_circle():
    turns = programs(swing.schedule("ring", Torus(3), collective="reduce_scatter"))
    split = [
        [half for t in mine for half in (t._replace(recvs=()), t._replace(sends=()))]
        for mine in turns
    ]
    for first, towards in ((0, 1), (1, -1)):  # all send first; all receive first
        turns = [
            [half for i in (0, 2) for half in mine[i : i + 2][:: 1 - 2 * first]] for mine in split
        ]
        error = deadlock_of(turns)
        assert (error.step, error.block) == (0, None)
        assert circle_of(error)[1:] in [[(error.rank + towards * i) % 3 for i in (1, 2, 3)]]
    split[0] = [half for i in (0, 2) for half in split[0][i : i + 2][::-1]]
    deadlock(split)  # one that receives first breaks the circle


def test_crossed_turns_wait_in_a_circle():
    turns = programs(EIGHT)  # 01 23 45 67 meet in step 0, then 12 34 56 70
    for rank in (0, 2, 4):
        turns[rank][:2] = turns[rank][1::-1]
        deadlock(turns)  # late, not stuck
    turns[6][:2] = turns[6][1::-1]
    circle = circle_of(deadlock_of(turns))
    assert sorted(circle[1:]) == list(range(8))
    assert all((a - b) % 8 == 1 for a, b in pairwise(circle))


def test_a_circle_may_lead_through_a_rank_of_its_own_turns():
    a, b = (Message(src, dst, slice(0, 1), Op.REDUCE, 0) for src, dst in ((0, 1), (1, 0)))
    c = Message(1, 2, slice(0, 1), Op.REDUCE, 0)
    sends_a, takes_a = Turn(0, (a,), ()), Turn(2, (), (a,))
    sends_b, takes_b = Turn(0, (b,), ()), Turn(1, (), (b,))
    sends_c, takes_c = Turn(1, (c,), ()), Turn(0, (), (c,))
    assert set(
        circle_of(deadlock_of([[sends_a, takes_b], [sends_b, sends_c, takes_a], [takes_c]]))
    ) == {0, 1}
    deadlock([[sends_a, takes_b], [sends_c, takes_a, sends_b], [takes_c]])


def test_messages_without_their_other_side():
    turns = programs(EIGHT)
    last = turns[1][5]
    turns[1][5] = last._replace(recvs=())
    error = deadlock_of(turns)
    assert str(error) == "step 5, rank 0: sends 0→1:0-3, which rank 1 does not receive"
    turns[1][5] = last._replace(sends=())
    error = deadlock_of(turns)
    assert str(error) == "step 5, rank 0: waits for 1→0:4-7, which rank 1 does not send"
    for columns in ({"blocks": slice(4, 7)}, {"op": Op.REDUCE}, {"blocks": np.array([4, 5, 7])}):
        turns[1][5] = last._replace(sends=(last.sends[0]._replace(**columns),))
        error = deadlock_of(turns)
        assert (error.step, error.rank) == (5, 0)
        assert "waits for = 1→0:4-7, but is sent" in str(error)
    turns[1][5] = last._replace(sends=(last.sends[0]._replace(blocks=np.arange(4, 8)),))
    deadlock(turns)  # the same blocks in other words
    turns[1][0] = turns[1][0]._replace(recvs=())
    error = deadlock_of(turns)  # the k-th receive meets the k-th send
    assert str(error) == ("step 5, rank 1: waits for = 0→1:0-3, but is sent + 0→1:4-7 of step 0")


def test_an_idle_step_may_be_written_with_empty_lists():
    idle = swing.Step(swing.Op.COPY, [], [], [])
    schedule = swing.Schedule("idle", swing.Torus(1), 1, 1, lambda s: idle)
    assert swing.verify(schedule).messages == 0
