"""The facts that each algorithm states: complete, and true of the schedules that it makes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from matplotlib.colors import is_color_like
from matplotlib.lines import Line2D

import swing
from swing.algorithms import DEFAULT, SHIPPED
from swing.algorithms.algorithm import Algorithm
from swing.select.candidates import family, published, shortlist
from swing.torus import Torus

TORI = [Torus(dims) for dims in [(1,), (2,), (7,), (3, 3), (4, 4), (6, 4), (1, 8), (3, 3, 3)]]
OURS = [swing.ALGORITHMS[name] for name in SHIPPED]


@pytest.mark.parametrize("algorithm", OURS, ids=SHIPPED)
def test_the_facts_of_an_algorithm_are_complete(algorithm):
    color, marker = algorithm.style
    assert SHIPPED[algorithm.name] is algorithm
    assert algorithm.source
    assert algorithm.family
    assert is_color_like(color)
    assert marker in Line2D.markers
    assert inspect.signature(algorithm) == inspect.signature(algorithm.function)
    for torus in TORI:
        assert algorithm(torus).name == algorithm.name


@pytest.mark.parametrize("listed", ["family", "published", "shortlist"])
@pytest.mark.parametrize("algorithm", OURS, ids=SHIPPED)
def test_listed_options_make_schedules_or_raise_a_value_error(algorithm, listed):
    for torus in TORI:
        for options in getattr(algorithm, listed)(torus):
            assert options.keys() <= algorithm.options.keys()
            try:
                schedule = algorithm(torus, **options)
            except ValueError:
                continue
            assert schedule.variant == options.get("variant", schedule.variant)


def test_every_algorithm_has_a_colour_and_a_marker_of_its_own():
    assert len({a.style[0] for a in OURS}) == len({a.style[1] for a in OURS}) == len(OURS)


def test_the_paper_compares_cycles_where_it_constructs_them():
    names = {torus.name: {name for name, _ in published(torus)} for torus in TORI}
    assert {torus for torus, listed in names.items() if "hamiltonian" not in listed} == {
        "torus:6x4", "torus:3x3x3"
    }  # fmt: skip
    assert all(DEFAULT in listed and "trivance" not in listed for listed in names.values())


def test_a_plain_function_is_wrapped(monkeypatch):
    def plain(torus, *, variant: str = "", k: int = 1):
        return swing.schedule("ring", torus)

    monkeypatch.setitem(SHIPPED, "plain", plain)
    algorithm, torus = swing.ALGORITHMS["plain"], Torus(4)
    assert algorithm == Algorithm("plain", plain)
    assert algorithm.options == {"variant": str, "k": int}
    assert algorithm.variants == ("",)
    assert ("plain", ()) in family(torus)
    assert "plain" not in {name for name, _ in [*published(torus, later=True), *shortlist(torus)]}
    with pytest.raises(TypeError, match="k must be a whole number, not 'x'"):
        algorithm(torus, k="x")


@pytest.mark.parametrize("segments", [np.int64(2), np.array(2), np.array([2, 2], np.int32)])
def test_numbers_of_segments_may_be_numpys(segments):
    torus = swing.Torus((2, 3))
    found = swing.schedule("bucket", torus, segments=segments)
    assert str(found) == str(swing.schedule("bucket", torus, segments=2))


def test_a_callable_without_a_signature_has_no_options():
    for function in (dict, lambda: None):
        assert Algorithm("opaque", function).options == {}
        with pytest.raises(ValueError, match="opaque has no option 'k': it takes none"):
            Algorithm("opaque", function)(swing.Torus(2), k=1)
