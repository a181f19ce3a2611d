"""The optimum on small tori: what results/data/optimal.json claims is proven without a solver."""

from __future__ import annotations

import doctest
import json
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

import netsim
import swing
from swing.cli import invoke

RESULTS = Path(__file__).parent.parent / "results"
sys.path.append(str(RESULTS))

import front  # noqa: E402  the imports need the path above
import optimal  # noqa: E402

POINTS = front.read()
FOUND = [point for point in POINTS if point.mixture]


def name(point):
    return f"{point.collective} on {point.torus} in {point.steps} steps"


def measured(schedule):
    steps, rounds = front.steps_and_rounds(schedule, netsim.topology(schedule.torus.name))
    return steps, pytest.approx(rounds, rel=1e-9)


@pytest.mark.parametrize("point", FOUND, ids=name)
def test_each_point_is_reached_by_a_schedule(point):
    swing.verify(point.schedule)
    assert point.schedule.collective == point.collective
    assert len(point.schedule) == point.steps
    # A step may be empty: where fewer steps are enough, the search may use fewer.
    steps, rounds = measured(point.schedule)
    assert steps <= point.steps
    assert float(point.rounds) == rounds
    assert point.schedule.nblocks == point.chunks * point.torus.size


@pytest.mark.parametrize("point", [p for p in FOUND if p.collective == "allgather"], ids=name)
def test_an_allgather_backwards_in_time_is_a_reduce_scatter_of_equal_rounds(point):
    swing.verify(point.reversed)
    assert point.reversed.collective == "reduce_scatter"
    assert measured(point.reversed) == measured(point.schedule)


def test_the_reasons_are_in_order():
    """A bound is a bound, more steps never take more rounds, and the ends are what theory says."""
    for point in POINTS:
        assert point.bound >= front.simple_bound(point.torus, point.collective, point.steps)
        if point.in_place_bound is None:
            assert not point.mixture
        elif point.mixture:
            assert point.bound <= point.in_place_bound <= point.rounds
    for torus in optimal.TORI:
        for collective in ("allgather", "allreduce"):
            known = [p for p in POINTS if (p.torus, p.collective) == (torus, collective)]
            assert known[0].steps == front.diameter(torus)
            assert all(a.bound >= b.bound for a, b in pairwise(known))


@pytest.mark.parametrize("torus", optimal.TORI, ids=str)
def test_equal_sides_have_allgathers_with_the_fewest_steps_and_rounds(torus):
    (first, *rest) = [p for p in POINTS if (p.torus, p.collective) == (torus, "allgather")]
    links = 2 * len(torus.active)
    if len(set(torus.dims)) == 1:
        assert (first.steps, first.rounds, rest) == (
            front.diameter(torus), Fraction(torus.size - 1, links), [],
        )  # fmt: skip
    else:
        assert first.rounds > rest[-1].rounds == Fraction(torus.size - 1, links)


@pytest.mark.parametrize("p", [3, 5, 7])
def test_an_odd_ring_in_the_fewest_steps_needs_every_link_in_every_step(p):
    """News from both ranks halfway round arrive just in time, whatever else is sent."""
    (point,) = [
        q for q in POINTS if (q.torus.dims, q.collective, q.steps) == ((p,), "allreduce", p // 2)
    ]
    assert point.bound == Fraction(p * (p - 1), 2)


@pytest.mark.parametrize("torus", optimal.TORI, ids=str)
@pytest.mark.parametrize("collective", optimal.SEARCHED)
def test_no_schedule_of_ours_beats_the_bound(torus, collective):
    searched = optimal.SEARCHED[collective]
    bounds = {p.steps: p.bound for p in POINTS if (p.torus, p.collective) == (torus, searched)}
    ours = optimal.ours(torus, collective)
    assert ours
    for steps, rounds, _ in ours:
        assert steps >= min(bounds)
        assert rounds >= bounds[min(steps, max(bounds))]


@pytest.mark.parametrize("module", [front, optimal], ids=lambda m: m.__name__)
def test_the_examples_of_the_docstrings_hold(module):
    failed, tried = doctest.testmod(module)
    assert tried
    assert failed == 0


def test_the_page_is_what_the_command_writes(monkeypatch, tmp_path, capsys):
    """All points are in the cache, so that OR-tools is not even imported."""
    monkeypatch.setitem(sys.modules, "ortools", None)
    monkeypatch.setattr(optimal, "PAGE", tmp_path / "OPTIMAL.md")
    assert invoke(optimal.main, "optimal", ["--json"]) == 0
    assert optimal.PAGE.read_text() == (RESULTS / "OPTIMAL.md").read_text()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["collective"] for row in rows} == set(optimal.SEARCHED)
    assert rows[0]["torus"] == "3"


def test_without_the_solver_a_missing_point_is_an_error_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ortools", None)
    monkeypatch.delitem(sys.modules, "fewest", raising=False)
    monkeypatch.setattr(front, "read", list)
    assert invoke(optimal.main, "optimal", []) == 2
    assert "needs OR-tools: pip install 'torus-swing[optimal]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dims", "collective", "steps", "rounds"),
    [
        ((4,), "allreduce", 2, "4"),  # recursive doubling
        ((4,), "allreduce", 3, "3"),  # two neighbours sum up one half each, and exchange
        ((5,), "allreduce", 2, None),  # a rank would need separate values for its two sides
        ((2, 3), "allgather", 2, "4/3"),  # two kinds of links: a mixture of trees
    ],
)
def test_the_search_finds_and_proves_the_optimum(dims, collective, steps, rounds):
    pytest.importorskip("ortools")
    from fewest import least_rounds

    point = least_rounds(swing.Torus(dims), collective, steps, seconds=60)
    assert point.rounds == (None if rounds is None else Fraction(rounds))
    assert point.state(point.rounds) == ("impossible in place" if rounds is None else "optimal")


@pytest.mark.parametrize(
    ("algorithm", "options", "steps", "rounds"),
    [
        ("ring", {}, 6, 6),  # one block on each upward link in each of 2(p - 1) steps
        ("swing", {"variant": "latency", "ports": 1}, 2, 8),  # whole vectors between neighbours
        # Own blocks to both neighbours and half of them each way on; then the halves arrive.
        ("linear", {"collective": "allgather"}, 2, 1.5 + 0.5),
    ],
)
def test_steps_and_rounds_on_a_ring_of_4_by_hand(algorithm, options, steps, rounds):
    assert measured(swing.schedule(algorithm, swing.Torus(4), **options)) == (steps, rounds)
