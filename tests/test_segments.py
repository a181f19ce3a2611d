"""Segments: every algorithm that reduce-scatters can be cut, and the pieces take the same route."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import netsim
import swing
from swing.algorithms.spelling import parse, spell
from swing.build.parallel import in_lockstep, parallel, parts_of
from swing.build.segments import GROWTH, cut
from swing.schedules.collectives import BARRIER
from swing.torus import Torus
from tests.cases import options_of

CUT = [name for name, a in swing.ALGORITHMS.items() if "reduce_scatter" in a.collectives]
DIMS = [(2, 4), (3, 5), (2, 2, 3), (7,)]


def test_all_algorithms_that_reduce_scatter_can_be_cut():
    assert [n for n in swing.ALGORITHMS if "segments" in swing.ALGORITHMS[n].options] == CUT
    assert {"swing", "recursive_multiplying", "windows", "trivance", "hamiltonian"} <= set(CUT)


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("dims", DIMS, ids=str)
def test_segments_are_proven_and_send_what_the_part_sends(name, dims):
    torus = Torus(dims)
    for options in options_of(name, torus):
        whole = swing.schedule(name, torus, **options)
        schedule = swing.schedule(name, torus, **options, segments=3)
        report = swing.verify(schedule)
        assert report.same_bits
        assert report.messages == 3 * swing.verify(whole).messages
        assert not in_lockstep(schedule)
        assert (schedule.name, schedule.variant) == (whole.name, whole.variant)
        for i, piece in enumerate(parts_of(schedule)):
            assert piece.table() == parts_of(whole)[i // 3].table()


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("collective", ["reduce_scatter", "broadcast", "gather", "alltoall"])
def test_every_collective_can_be_cut(name, collective):
    torus = Torus((3, 4))
    whole = swing.schedule(name, torus, collective=collective)
    schedule = swing.schedule(name, torus, collective=collective, segments=2)
    assert schedule.collective == collective
    assert swing.verify(schedule).messages == 2 * swing.verify(whole).messages
    network = netsim.paper_network("torus:3x4")
    for model in netsim.MODELS:
        assert netsim.simulate(schedule, network, 2**16, model).seconds > 0


@given(st.sampled_from(CUT), st.integers(2, 5), st.integers(0, 10**6))
def test_the_segments_of_a_part_grow(name, segments, seed):
    torus = Torus(random.Random(seed).choice(DIMS))
    assume(list(options_of(name, torus)))  # hamiltonian finds no cycles on 2x2x3
    parts = len(swing.schedule(name, torus).parts)
    shares = swing.schedule(name, torus, segments=segments).part_shares.reshape(parts, segments)
    assert shares[:, 1:] / shares[:, :-1] == pytest.approx(GROWTH)
    assert shares.sum() == pytest.approx(1)


def test_each_dimension_may_have_its_own_number_of_segments():
    schedule = swing.schedule("swing", Torus((4, 8)), segments=(1, 3))
    assert len(schedule.parts) == 2 * (1 + 3)
    assert swing.verify(schedule).same_bits


@pytest.mark.parametrize("text", ["swing,segments=4", "windows,extra=1,segments=1x3"])
def test_segments_are_spelled_and_parsed(text):
    name, options = parse(text)
    assert spell(name, options) == text
    schedule = swing.schedule(name, Torus((4, 4)), **options)
    assert len(schedule.parts) == 4 * np.mean(options["segments"])


@pytest.mark.parametrize(
    ("name", "options", "rule"),
    [
        ("swing", {"segments": 0}, "whole number from 1 to 1024"),
        ("windows", {"segments": (1, 2, 3)}, "whole number from 1 to 1024"),
        ("ring", {"segments": "many"}, "whole number from 1 to 1024"),
        ("swing", {"segments": 2, "collective": BARRIER}, "no bytes to cut"),
        ("disjoint_trees", {"segments": 2}, "no option 'segments'"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(name, options, rule):
    with pytest.raises(ValueError, match=rule) as refused:
        swing.schedule(name, Torus((4, 4)), **options)
    assert len(str(refused.value)) <= 300
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dims", [(4, 3), (2, 3, 4), (5, 1, 2), (6, 6)], ids=str)
def test_parts_in_lockstep_begin_their_phases_together(dims):
    """In phase i a part of bucket goes round one ring, and waits for the longest one."""
    torus = Torus(dims)
    schedule = swing.schedule("bucket", torus)
    parts, length = schedule.body.parts, {}
    for s in range(schedule.nsteps):
        phase = schedule.sync_phase(s)
        length[phase] = length.get(phase, 0) + 1
        acting = set(schedule[s].part.tolist())
        for part in parts:
            begun = length[phase] - 1
            ring = torus.dims[torus.active[(part.j + phase - 1) % len(torus.active)]] - 1
            if phase <= len(torus.active):  # the reduce-scatter
                assert (part.j in acting) == (begun < ring)
    assert list(length.values()) == [max(torus.dims) - 1] * 2 * len(torus.active)


def test_a_part_that_is_idle_in_lockstep_is_never_idle_when_cut():
    torus = Torus((8, 2))
    whole, schedule = (swing.schedule("bucket", torus, segments=n) for n in (None, 1))
    assert (whole.nsteps, schedule.nsteps) == (28, 16)
    assert all(len(step) == 64 for step in schedule)


def test_a_cut_schedule_of_one_part_keeps_its_blocks():
    ring = swing.schedule("ring", Torus(4), ports=1)
    assert cut(ring, 1).table() == ring.table()
    assert cut(ring, 1).shares is None
    empty = swing.schedule("windows", Torus((2, 3)), collective=BARRIER)
    assert parallel([empty], lockstep=False).collective == BARRIER


def test_segments_hide_latencies_of_every_kind_of_algorithm():
    network, torus = netsim.paper_network("torus:8x8"), Torus((8, 8))
    for name, options in (
        ("swing", {}),
        ("swing", {"variant": "hybrid", "k": 4}),
        ("recursive_multiplying", {}),
        ("windows", {}),
    ):
        one, four = (
            netsim.simulate(
                swing.schedule(name, torus, **options, segments=n), network, 2**21, "flow"
            ).seconds
            for n in (1, 4)
        )
        assert four < 0.95 * one, name
