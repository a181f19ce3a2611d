"""Any order of the steps, and any number of steps before the exchange of a hybrid."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swing
from swing.algorithms.spelling import parse, spell
from swing.torus import Torus

HALVING = ["swing", "recursive_doubling", "mirrored_recursive_doubling"]


SIZES = st.integers(1, 6)
POWERS_OF_TWO = st.sampled_from([1, 2, 4, 8])


@st.composite
def arrangements(draw, sizes):
    """A torus of few ranks, and the dimensions of its halving steps in any order."""
    dims = draw(st.lists(sizes, min_size=1, max_size=3).filter(lambda dims: math.prod(dims) <= 40))
    wrap = draw(st.lists(st.booleans(), min_size=len(dims), max_size=len(dims)))
    steps = [j for j, d in enumerate(dims) for _ in range((d - 1).bit_length())]
    return Torus(dims, wrap), tuple(draw(st.permutations(steps)))


@given(st.sampled_from(HALVING), arrangements(SIZES), st.data())
def test_hybrids_of_every_k_and_order_are_correct_and_give_the_same_bits(name, arranged, data):
    torus, order = arranged
    k = data.draw(st.integers(0, len(order)))
    segments = data.draw(st.sampled_from([None, 1, 2]))
    schedule = swing.schedule(name, torus, variant="hybrid", k=k, order=order, segments=segments)
    report = swing.verify(schedule)
    assert report.same_bits
    assert report.nsteps == k + len(order)


@given(st.sampled_from(HALVING), arrangements(POWERS_OF_TWO))
def test_reduce_scatters_of_every_order_are_correct(name, arranged):
    torus, order = arranged
    for collective in ("allreduce", "reduce_scatter", "allgather"):
        schedule = swing.schedule(name, torus, order=order, collective=collective)
        report = swing.verify(schedule)
        assert report.same_bits
        assert (report.blocks_sent[0] == report.blocks_sent).all()
        assert report.blocks_sent[0] % (torus.size - 1 or 1) == 0  # each block once, both ways


def test_the_first_part_takes_the_steps_as_they_are_listed():
    torus, order = Torus((4, 8)), (1, 1, 0, 1, 0)
    schedule = swing.schedule("swing", torus, order=order, collective="reduce_scatter")
    for j, steps in enumerate([(0, 1, 0, 1, 1), order]):  # the parts begin at their dimension
        for s, dim in enumerate(steps):
            step = schedule[s]
            mine = step.part == j
            moved = torus.coords[step.src[mine]] != torus.coords[step.dst[mine]]
            assert moved.any(axis=0).tolist() == [dim == 0, dim == 1]


def test_the_default_is_in_turn():
    torus = Torus((4, 4))
    for name in HALVING:
        given = swing.schedule(name, torus, order=(0, 1, 0, 1))
        assert given.table() == swing.schedule(name, torus).table()


def test_an_order_is_spelled_and_parsed():
    text = "swing,variant=hybrid,k=2,order=0x0x1x1"
    name, options = parse(text)
    assert spell(name, options) == text
    assert swing.verify(swing.schedule(name, Torus((4, 4)), **options)).same_bits
    assert swing.schedule("swing", Torus(2), order=0).nsteps == 2


@pytest.mark.parametrize("order", [(), (0, 1), (0, 0, 0, 1), (0, 1, 2, 3), "0x1", 0, [[0, 1]], 1.5])
@pytest.mark.parametrize("name", HALVING)
def test_another_order_is_refused_with_one_that_is_right(name, order):
    with pytest.raises(ValueError, match=r"as \(0, 1, 0, 1\) does") as refused:
        swing.schedule(name, Torus((4, 4)), order=order)
    assert len(str(refused.value)) <= 300
