"""Schedules as tables: pure functions of their index, one row per message."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swing
from swing.algorithms.hamiltonian import cycles
from swing.algorithms.swing import rho
from swing.build.parallel import parallel
from swing.build.reversal import reverse
from swing.schedules.collectives import ALL, KINDS
from swing.schedules.rank import filtered
from swing.schedules.step import Op
from tests.cases import SHAPES, every_schedule, schedules

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).filter(lambda d: math.prod(d) <= 40)


def columns(step):
    blocks = [str(step.message(i)) for i in range(len(step))]
    return step.src.tolist(), step.dst.tolist(), blocks, step.part.tolist()


@pytest.mark.theorem
@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_a_step_is_a_function_of_its_index(dims):
    for schedule in schedules(swing.Torus(dims)):
        for s, step in enumerate(schedule):
            assert columns(step) == columns(schedule[s])
            assert len(step.reduces) == len(step)


@pytest.mark.theorem
@pytest.mark.parametrize("dims", [d for d in SHAPES if math.prod(d) <= 24], ids=str)
def test_turns_are_the_rows_of_the_table(dims):
    def row(s, m):
        some = m.blocks
        blocks = (some.start, some.stop) if isinstance(some, slice) else some.tobytes()
        return s, m.src, m.dst, blocks, m.op, m.part

    torus = swing.Torus(dims)
    for schedule in schedules(torus):
        sends, recvs = Counter(), Counter()
        for rank in torus.ranks.tolist():
            for turn in schedule.for_rank(rank):
                assert all(m.src == rank for m in turn.sends)
                assert all(m.dst == rank for m in turn.recvs)
                sends.update(row(turn.step, m) for m in turn.sends)
                recvs.update(row(turn.step, m) for m in turn.recvs)
        rows = (
            row(s, step.message(i)) for s, step in enumerate(schedule) for i in range(len(step))
        )
        assert sends == recvs == Counter(rows)


def views(messages):
    """The rows of both tables of one rank, in order."""
    for table in (messages.sends, messages.recvs):
        blocks = table.blocks
        carried = [str(blocks[i]) for i in range(len(blocks))]
        columns = [table.step, table.peer, table.reduces, table.part]
        yield [*(column.tolist() for column in columns), carried]


def same_views(schedule, rank):
    return [*views(schedule.rank(rank))] == [*views(filtered(schedule, rank))]


def mixed(dims):
    """A torus whose ranks are not in row-major order, if there is a simple one."""
    p = math.prod(dims)
    coords = np.stack(np.unravel_index((np.arange(p) * 5 + 1) % p, dims), axis=1)
    return swing.Torus(dims, coords=coords) if math.gcd(p, 5) == 1 else swing.Torus(dims)


@pytest.mark.theorem
@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_both_views_list_the_same_messages_in_the_same_order(dims):
    torus = mixed(dims)
    # Schedules take turns with the ranks, so that all ranks are asked and the test stays short.
    for i, schedule in enumerate(every_schedule(torus)):
        for rank in {i % torus.size, torus.size - 1}:
            assert same_views(schedule, rank), (schedule, rank)


@pytest.mark.theorem
@pytest.mark.parametrize("dims", [d for d in SHAPES if math.prod(d) <= 9], ids=str)
def test_reversal_twice_is_the_identity(dims):
    for schedule in every_schedule(swing.Torus(dims)):
        if schedule.variant in ("latency", "hybrid"):
            continue  # these have no reverse: see the test below
        once, twice = reverse(schedule), reverse(reverse(schedule))
        assert KINDS[once.collective] == KINDS[schedule.collective][::-1]
        assert twice.collective == schedule.collective
        assert twice.table() == schedule.table()
        for rank in range(0, schedule.torus.size, 5):
            both = twice.rank(rank), schedule.rank(rank)
            assert [*views(both[0])] == [*views(both[1])]
            for table, again in zip(*(m.recvs.keys or () for m in both), strict=True):
                assert (table == again).all()
        for s in range(schedule.nsteps):
            lines = schedule.lines(s), twice.lines(s)
            assert str(lines[0]) == str(lines[1])


def test_reversal_swaps_origin_and_home():
    torus = swing.Torus((3, 4))
    for name in ("swing", "ring", "bucket", "windows"):
        scatter = swing.schedule(name, torus, collective="reduce_scatter")
        gather = swing.schedule(name, torus, collective="allgather")
        assert str(reverse(scatter)) == str(gather)
        assert str(reverse(gather)) == str(scatter)
        assert (reverse(scatter).origin == scatter.home).all()
        swing.verify(reverse(gather))
        # A bandwidth-optimal allreduce is a reduce-scatter and its reverse: its own reverse.
        allreduce = swing.schedule(name, torus)
        assert str(reverse(allreduce)) == str(allreduce)


def test_what_has_no_reverse_is_refused():
    torus = swing.Torus((3, 4))
    for schedule in every_schedule(torus):
        if schedule.variant in ("latency", "hybrid"):
            with pytest.raises(ValueError, match="exchange partial sums"):
                reverse(schedule)
        else:
            swing.verify(reverse(schedule))
    scatter = swing.schedule("ring", torus, collective="reduce_scatter", ports=1)
    for columns in ({"home": [ALL, *range(1, 12)]}, {"origin": [ALL] * 11 + [3]}):
        mixed = replace(scatter, **{name: np.array(c) for name, c in columns.items()})
        with pytest.raises(ValueError, match=f"the {next(iter(columns))} is ALL for some blocks"):
            reverse(mixed)


@pytest.mark.theorem
@given(shapes)
def test_equal_patterns_move_the_same_bytes_between_the_same_ranks(dims):
    for schedule in schedules(swing.Torus(dims)):
        known = {}
        for s, step in enumerate(schedule):
            order = np.lexsort((step.part, step.dst, step.src))
            flow = [step.src, step.dst, step.part, step.blocks.counts]
            flow = np.stack([column[order] for column in flow])
            assert (known.setdefault(schedule.signature(s), flow) == flow).all()


CROSSING = ("ring", "hamiltonian", "disjoint_trees", "bruck", "pairwise", "linear")
"""Algorithms whose messages follow no lines of the torus."""


@given(shapes)
def test_lines_stand_for_all_rows(dims):
    torus = swing.Torus(dims)
    for schedule in schedules(torus):
        for s, step in enumerate(schedule):
            lines = schedule.lines(s)
            if lines is None:
                assert schedule.name in CROSSING
                continue
            rows = 0
            for line in lines:
                pending = [np.asarray(h) for h in line.pending]
                pending[line.dim] = line.sent
                counts = pending[0]
                for h in pending[1:]:
                    counts = np.multiply.outer(counts, h)
                here = np.flatnonzero(step.part == line.part)
                assert (step.reduces[here] == line.reduces).all()
                nonzero = counts[counts > 0]
                assert sorted(step.blocks.counts[here]) == sorted(nonzero)
                rows += len(nonzero)
            assert rows == len(step)


def test_powers_of_two_send_slices_only():
    for dims in [(2,), (16,), (4, 4), (16, 4), (2, 8, 4), (1, 8), (2, 2, 2, 2)]:
        for name in ("swing", "recursive_doubling", "bucket"):
            for step in swing.schedule(name, swing.Torus(dims)):
                assert step.blocks.starts is not None


def test_rho_is_the_papers():
    assert [rho(s) for s in range(7)] == [1, -1, 3, -5, 11, -21, 43]


@pytest.mark.parametrize("d", range(2, 34))
def test_swing_on_a_ring_takes_log2_steps(d):
    nsteps = math.ceil(math.log2(d))
    assert swing.schedule("swing", swing.Torus(d), collective="reduce_scatter").nsteps == nsteps


def test_explicit_coordinates_only_rename_the_ranks():
    order = np.random.default_rng(0).permutation(12)
    plain = swing.Torus((3, 4))
    mapped = swing.Torus((3, 4), coords=plain.coords[order])
    for name in ("swing", "recursive_doubling", "bucket"):
        for step, same in zip(
            swing.schedule(name, plain), swing.schedule(name, mapped), strict=True
        ):
            assert (order[same.src] == step.src).all()
            assert (order[same.dst] == step.dst).all()


@pytest.mark.parametrize(
    "dims",
    [
        (3, 3), (8, 8), (8, 4), (4, 8), (2, 2), (9, 3), (128, 8), (1, 6, 6), (5, 7), (12, 3),
        (12, 20), (3, 3, 3), (4, 4, 4), (2, 3, 4), (3, 4, 5), (8, 8, 8), (3, 3, 3, 3),
        (2, 2, 2, 2), (4, 4, 4, 4), (6, 1, 4, 5), (3, 3, 2, 2, 3),
    ],
)  # fmt: skip
def test_hamiltonian_cycles_use_every_link_once(dims):
    torus = swing.Torus(dims)
    times = Counter()
    found = cycles(torus)
    assert len(found) == len(torus.active)
    for cycle in found:
        assert sorted(cycle) == torus.ranks.tolist()
        for a, b in zip(cycle.tolist(), np.roll(cycle, -1).tolist(), strict=True):
            apart = (torus.coords[a] - torus.coords[b]) % torus.dims
            (dim,) = np.flatnonzero(apart)
            assert apart[dim] in (1, torus.dims[dim] - 1)
            times[min(a, b), max(a, b), int(dim)] += 1
    assert len(found) * torus.size == sum(times.values())
    for (*_, dim), count in times.items():
        assert count == (2 if torus.dims[dim] == 2 else 1)


@pytest.mark.parametrize("dims", [(2, 5), (2, 2, 2)])
def test_hamiltonian_says_where_it_finds_none(dims):
    with pytest.raises(ValueError, match="use bucket or swing"):
        swing.schedule("hamiltonian", swing.Torus(dims))


@pytest.mark.parametrize("name", ["ring", "hamiltonian"])
@pytest.mark.parametrize("dims", [(5,), (3, 4), (2, 3, 4)])
def test_segments_of_rings_are_correct(name, dims):
    report = swing.verify(swing.schedule(name, swing.Torus(dims), segments=3))
    assert report.same_bits
    assert report.contiguous


def test_parts_may_have_unequal_shares():
    torus = swing.Torus((4, 2))
    ways = [swing.schedule("swing", torus, ports=1), swing.schedule("bucket", torus, ports=1)]
    both = parallel(ways, weights=[3, 1])
    total = np.zeros(2)
    for step in both:
        np.add.at(total, step.part, both.share(step))
    assert total.tolist() == pytest.approx([3 / 4 * 2 * 7, 1 / 4 * 2 * 7])


def test_a_ring_of_16384_ranks_streams_in_constant_memory():
    schedule = swing.schedule("ring", swing.Torus((128, 128)))
    assert schedule.nsteps == 2 * 16383
    tracemalloc.start()
    for s in range(0, 2 * 16383, 50):
        assert len(schedule[s]) == 16384
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: swing.schedule("swyng", swing.Torus(4)), "choose from swing"),
        (lambda: swing.schedule("ring", swing.Torus(4), k=3), "it takes ports"),
        (lambda: swing.schedule("swing", swing.Torus(4), variant="fast"), "bandwidth, latency"),
        (lambda: swing.schedule("swing", swing.Torus(4), variant="hybrid"), "k from 0 to 2"),
        (lambda: swing.schedule("swing", swing.Torus(4), k=1), "variant='hybrid'"),
        (lambda: swing.schedule("swing", swing.Torus((4, 4)), ports=5), "1 to 4 ports"),
        (lambda: swing.schedule("swing", swing.Torus(4), collective="scan"), "allgather"),
        (
            lambda: swing.schedule(
                "swing", swing.Torus(4), variant="latency", collective="allgather"
            ),
            "variant='bandwidth'",
        ),
        (lambda: swing.schedule("auto", swing.Torus(4)), "pass nbytes="),
        (lambda: swing.schedule("auto", swing.Torus(4), nbytes=8, machine="moon"), "paper"),
        (lambda: swing.Torus((4, 0)), "from 1 up"),
        (lambda: swing.Torus(()), "from 1 up"),
        (lambda: swing.Torus((4, 2.5)), "from 1 up"),
        (lambda: swing.Torus((4, 4), wrap=(True,)), "2 values"),
        (lambda: swing.Torus(3, coords=[[0], [1], [1]]), "exactly once"),
        (lambda: swing.Torus(3, coords=[[0], [1], [3]]), "inside"),
        (lambda: swing.Torus(3, coords=[0, 1, 2]), "3 x 1"),
        (lambda: swing.Torus.parse("ring:4"), "torus:8x8"),
        (lambda: swing.schedule("ring", swing.Torus(4)).for_rank(4), "rank 4"),
    ],
)
def test_bad_input_is_a_value_error_that_names_the_mend(call, remedy):
    with pytest.raises(ValueError, match=remedy):
        call()


def test_blocks_may_be_given_message_by_message():
    src, dst = np.array([0, 1]), np.array([1, 0])
    blocks = [np.array([1]), slice(0, 1)]
    first, second = (
        swing.Step(Op.REDUCE, src, dst, blocks),
        swing.Step(Op.COPY, src, dst, blocks[::-1]),
    )
    assert str(first) == "+  0→1:1  1→0:0"
    schedule = swing.Schedule("pair", swing.Torus(2), 2, 2, lambda s: (first, second)[s])
    assert swing.verify(schedule).same_bits
    for unfit in (np.array([]), slice(None, 1), np.array([0.5]), "a block"):
        with pytest.raises(ValueError, match="the blocks of message 0 are"):
            swing.Step(Op.COPY, src, dst, [unfit, slice(0, 1)])


@pytest.mark.parametrize("dims", [(4, 3), (5,), (2, 2, 3)])
def test_messages_tell_which_blocks_they_carry(dims):
    for schedule in schedules(swing.Torus(dims)):
        for step in list(schedule)[:3]:
            lists = [step.blocks.members(i).tolist() for i in range(len(step))]
            for block in range(0, schedule.nblocks, 1 + schedule.nblocks // 50):
                assert step.blocks.carrying(block).tolist() == [block in each for each in lists]


@pytest.mark.parametrize("dims", [(4, 4), (5, 3), (2, 2, 4), (7,)])
def test_in_disjoint_trees_a_reduce_sends_as_early_as_it_can(dims):
    schedule = swing.schedule("disjoint_trees", swing.Torus(dims), collective="reduce", root=1)
    for j in range(len(schedule.parts)):
        came = np.zeros(schedule.torus.size, dtype=int)  # steps that a rank has to wait for
        for s in range(schedule.nsteps):
            step = schedule.part(j).step(s)
            assert (came[step.src] == s).all()
            came[step.dst] = s + 1


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=4))
def test_every_torus_reads_back_from_its_name(axes):
    dims, wrap = zip(*axes, strict=True)
    torus = swing.Torus(dims, wrap)
    assert swing.Torus.parse(torus.name) == torus


def test_str_stays_short_and_the_table_is_whole():
    small = swing.schedule("swing", swing.Torus((2, 4)), ports=1)
    assert str(small) == small.table()
    for name, dims in (("swing", (64, 64)), ("ring", (1000,)), ("windows", (25,))):
        schedule = swing.schedule(name, swing.Torus(dims))
        for value in (schedule, schedule[0], schedule.rank(1)):
            assert len(str(value)) < 10_000
            assert len(f"{value!r}") < 100
    whole = swing.schedule("swing", swing.Torus((8, 8))).table()
    assert whole.count("→") == sum(map(len, swing.schedule("swing", swing.Torus((8, 8)))))


def test_equal_steps_of_bucket_both_ways_have_one_signature():
    # Estimates and models look at each kind of step once, and a long ring has a thousand steps.
    def kinds(d):
        schedule = swing.schedule("bucket", swing.Torus((d, 5)), ways=2, segments=2)
        assert schedule.nsteps == 2 * (d // 2 + 2)
        return Counter(map(schedule.signature, range(schedule.nsteps)))

    assert len(kinds(32)) == len(kinds(64)) < 16
    schedule = swing.schedule("bucket", swing.Torus((64, 5)), ways=2, segments=2)
    for s in range(schedule.nsteps - 1):
        if schedule.signature(s) == schedule.signature(s + 1):
            before, after = schedule.step(s), schedule.step(s + 1)
            assert before.src.tolist() == after.src.tolist()
            assert before.dst.tolist() == after.dst.tolist()
