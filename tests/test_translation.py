"""Proof by translation: it describes the table, and agrees with the proof of every block."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import swing
from swing.build.reversal import reverse
from swing.schedules.body import Body
from swing.schedules.step import Step
from swing.verification import proof
from swing.verification.outcome import ScheduleError
from swing.verification.translation import representatives

SHAPES = [(5,), (6,), (2, 2), (4, 3), (1, 5), (3, 2, 2)]
COLLECTIVES = ["alltoall", "allgather", "reduce_scatter"]
ALIKE = ["bucket", "linear", "pairwise", "bruck"]


class Steps(Body):
    """Some steps of another body, in any order."""

    def __init__(self, body, index):
        self.body, self.index, self.nsteps = body, index, len(index)

    def step(self, s):
        return self.body.step(self.index[s])

    def translates(self, s):
        return self.body.translates(self.index[s])


def verdict(schedule):
    try:
        return swing.verify(schedule).same_bits
    except ScheduleError:
        return "wrong"


def rows_of(schedule, step):
    """(part, src, dst, reduces, origin and home of each block) of every message."""
    found = []
    for i in range(len(step)):
        block = step.blocks.members(i)
        ends = sorted(zip(schedule.origin[block], schedule.home[block], strict=True))
        row = step.part[i], step.src[i], step.dst[i], step.reduces[i]
        found.append((*map(int, row), [(int(o), int(h)) for o, h in ends]))
    return sorted(found)


def translated(schedule, rows):
    """The same, from the translates of a step."""
    found = []
    for row in rows:
        torus = row.torus
        for x in range(torus.size):
            at = torus.coords[x]
            dst = int(torus.rank_at(at + row.shift))
            ends = [
                [swing.ALL] * row.nblocks if column is None else torus.rank_at(at + column).tolist()
                for column in (row.origin, row.home)
            ]
            pairs = sorted(zip(*ends, strict=True))
            found.append((row.part, x, dst, int(row.reduces), pairs))
    return sorted(found)


@pytest.mark.parametrize("collective", COLLECTIVES)
@pytest.mark.parametrize("dims", SHAPES)
def test_translates_are_the_messages_of_all_ranks(dims, collective):
    shuffled = np.random.default_rng(1).permutation(swing.Torus(dims).coords)
    torus = swing.Torus(dims, coords=shuffled)
    cases = [(name, {}) for name in ALIKE] + [("bucket", {"ways": 2, "segments": 2})]
    for name, options in cases:
        schedule = swing.schedule(name, torus, collective=collective, **options)
        for each in (schedule, reverse(schedule)):
            for s in range(each.nsteps):
                rows = each.body.translates(s)
                assert rows is not None
                assert rows_of(each, each.step(s)) == translated(each, rows)
            assert swing.verify(each).same_bits
            assert swing.verify(representatives(each)).same_bits


@pytest.mark.parametrize("name", ["swing", "recursive_doubling", "hamiltonian"])
def test_ranks_that_are_not_alike_have_no_representatives(name):
    for collective in COLLECTIVES:
        schedule = swing.schedule(name, swing.Torus((4, 4)), collective=collective)
        assert representatives(schedule) is None
    assert representatives(swing.schedule("bucket", swing.Torus((4, 4)))) is None  # an allreduce
    gather = swing.schedule("bucket", swing.Torus((4, 4)), collective="gather")
    assert representatives(gather) is None


@pytest.mark.parametrize("collective", COLLECTIVES)
@pytest.mark.parametrize("seed", range(10))
def test_both_proofs_agree_about_wrong_schedules(seed, collective, monkeypatch):
    """Steps that are dropped, repeated or out of order are wrong for one rank as for all."""
    rng = random.Random(f"{seed} {collective}")
    for _ in range(6):
        torus = swing.Torus(rng.choice(SHAPES))
        name = rng.choice(ALIKE)
        whole = swing.schedule(name, torus, collective=collective)
        index = list(range(whole.nsteps))
        if index and rng.random() < 0.9:
            at = rng.randrange(len(index))
            kind = rng.randrange(3)
            if kind == 0:
                del index[at]
            elif kind == 1:
                index.insert(rng.randrange(len(index) + 1), index[at])
            else:
                rng.shuffle(index)
        changed = replace(whole, body=Steps(whole.body, index))
        expected = verdict(changed)
        with monkeypatch.context() as patch:
            patch.setattr(proof, "MAX_NAMED", torus.size - 1)
            assert verdict(changed) == expected, (torus, name, index)


class OneRowWrong(Body):
    """A body with one wrong row that its translates do not tell of."""

    def __init__(self, body, change):
        self.body, self.change, self.nsteps = body, change, body.nsteps

    def step(self, s):
        step = self.body.step(s)
        return self.change(step) if s == 0 else step

    def translates(self, s):
        return self.body.translates(s)


def without(step):
    return step.take(np.arange(len(step) - 1))


def elsewhere(step):
    dst = step.dst.copy()
    dst[3] = (dst[3] + 1) % 12
    return Step(step.reduces, step.src, dst, step.blocks, step.part)


def other_blocks(step):
    of_zero = int(np.flatnonzero(step.src == 0)[0])
    rows = np.arange(len(step))
    rows[of_zero] = np.flatnonzero(step.part == step.part[of_zero])[-1]
    blocks = step.blocks.take(rows)
    return Step(step.reduces, step.src, step.dst, blocks, step.part)


def other_operation(step):
    return Step(~step.reduces, step.src, step.dst, step.blocks, step.part)


@pytest.mark.parametrize("change", [without, elsewhere, other_blocks, other_operation])
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_a_table_that_is_no_translate_of_rank_0_is_read_block_by_block(
    change, collective, monkeypatch
):
    whole = swing.schedule("bucket", swing.Torus((4, 3)), collective=collective)
    changed = replace(whole, body=OneRowWrong(whole.body, change))
    assert representatives(changed) is None
    expected = verdict(changed)
    # A contribution that goes elsewhere may still be added on its way.
    assert expected == "wrong" or (change, collective) == (elsewhere, "reduce_scatter")
    monkeypatch.setattr(proof, "MAX_NAMED", 2)
    assert verdict(changed) == expected


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_five_thousand_ranks(collective):
    """Beyond 4,096 ranks blocks are named by their offsets; one step less is refused."""
    torus = swing.Torus((72, 72))
    schedule = swing.schedule("bucket", torus, ways=2, ports=1, collective=collective)
    assert swing.verify(schedule).messages == 2 * (36 + 35) * torus.size
    short = replace(schedule, body=Steps(schedule.body, range(schedule.nsteps - 1)))
    with pytest.raises(ScheduleError):
        swing.verify(short)


def test_a_block_may_take_two_ways():
    """A block of a scatter that reaches its home over two ranks has no single holder."""
    rows = [([0, 0], [1, 2]), ([1], [3])]
    steps = [Step(swing.Op.COPY, *ends, [[0]] * len(ends[0])) for ends in rows]
    twice = swing.Schedule(
        "twice", swing.Torus(4), 2, 2, steps.__getitem__, origin=0, home=np.array([3, 0])
    )
    assert swing.verify(twice).messages == 3
    lost = replace(twice, body=Steps(twice.body, [0]))
    with pytest.raises(ScheduleError, match="block 0"):
        swing.verify(lost)


@pytest.mark.parametrize("collective", COLLECTIVES)
@pytest.mark.parametrize("block", [0, 7, 12, 100, -1])
def test_a_false_origin_or_home_is_found_in_both_proofs(monkeypatch, collective, block):
    """Also of a block that rank 0 neither sends nor receives."""
    schedule = swing.schedule("bucket", swing.Torus((4, 6)), ways=2, collective=collective, ports=1)
    name = "origin" if collective == "allgather" else "home"
    ranks = np.array(getattr(schedule, name))
    ranks[block % len(ranks)] = (ranks[block % len(ranks)] + 7) % 24
    false = replace(schedule, **{name: ranks})
    assert verdict(false) == "wrong"
    monkeypatch.setattr(proof, "MAX_NAMED", 1)
    assert verdict(false) == "wrong"
    assert verdict(schedule) != "wrong"
