"""The climb of a search: from the fastest candidates to faster ones among their neighbours."""

from __future__ import annotations

import math

import pytest

import netsim
import swing
from netsim.search.case import Case
from netsim.search.climb import climb
from netsim.search.explore import Search
from netsim.search.tune import KEPT, shortened, tune
from swing.select.candidates import family, published
from swing.select.neighbours import in_segments, neighbours
from swing.torus import Torus

START = [
    ("swing", {"variant": "hybrid", "k": 2}),
    ("recursive_doubling", {"variant": "latency", "ports": 1}),
    ("recursive_multiplying", {"radices": ((2, 1), (1, 2), (2, 1), (1, 3)), "variant": "latency"}),
    ("windows", {"extra": 0, "segments": 4}),
    ("bucket", {"segments": 2}),
    ("hamiltonian", {}),
    ("trivance", {"variant": "bandwidth"}),
]


@pytest.mark.parametrize(("name", "options"), START)
@pytest.mark.parametrize("dims", [(4, 6), (4, 5), (4, 4)])
def test_every_neighbour_is_another_correct_schedule(name, options, dims):
    torus, own = Torus(dims), tuple(options.items())
    near = neighbours(torus, name, own)
    assert near
    assert own not in near
    assert len(set(near)) == len(near)
    for each in near:
        assert swing.verify(swing.schedule(name, torus, **dict(each))).same_bits, each


@pytest.mark.parametrize("name", ["recursive_multiplying", "windows", "swing"])
def test_neighbours_are_mutual_but_for_defaults(name):
    """Two moves lead back: one of a neighbour's neighbours is the candidate itself."""
    torus = Torus((4, 4))
    for algorithm, own in family(torus):
        if algorithm != name or "order" in dict(own):
            continue
        for each in neighbours(torus, name, own)[:4]:
            changed = {key for key, _ in set(own) ^ set(each)}
            if changed <= {"k", "segments", "extra"}:
                back = [frozenset(other) for other in neighbours(torus, name, each)]
                assert frozenset(own) in back, (own, each)


def test_neighbours_are_for_the_collective():
    own = (("chunks", 4), ("ports", 1))
    near = neighbours(Torus((4, 4)), "recursive_multiplying", own, "broadcast")
    assert near
    for each in near:
        assert dict(each)["chunks"] in (2, 3, 4, 6, 8)
        swing.verify(
            swing.schedule(
                "recursive_multiplying", Torus((4, 4)), collective="broadcast", **dict(each)
            )
        )


def test_a_factor_moves_from_one_step_to_another_and_steps_are_swapped_joined_and_split():
    steps = ((2, 1), (1, 8), (4, 1))
    near = neighbours(Torus((8, 8)), "recursive_multiplying", (("radices", steps),))
    found = {dict(each)["radices"] for each in near}
    assert ((4, 1), (1, 8), (2, 1)) in found  # moved
    assert ((1, 8), (2, 1), (4, 1)) in found  # swapped
    assert ((2, 8), (4, 1)) in found  # joined
    assert ((2, 1), (1, 2), (1, 4), (4, 1)) in found  # split


@pytest.mark.parametrize(("ports", "tried"), [(1, [2, 3, 4]), (4, [])])
def test_steps_with_very_many_peers_are_not_tried_in_segments(ports, tried):
    options = {"radices": ((1, 4), (2, 1), (128, 1)), "variant": "hybrid", "k": 2, "ports": ports}
    many = ("recursive_multiplying", tuple(options.items()))
    counts = [dict(each)["segments"] for _, each in in_segments(Torus((256, 4)), [many])]
    assert counts == tried  # 16 on all ports would take the models 20 GB
    assert len(in_segments(Torus((8, 4)), [("swing", ()), ("ring", (("segments", 2),))])) == 7


def test_a_climb_ends_at_a_case_that_no_neighbour_beats():
    network, n = netsim.paper_network("torus:2x6"), 2**15
    start = Case(network, "recursive_multiplying", (("variant", "latency"), ("ports", 1)))
    found = {start: {n: start.run(n, "packet")["seconds"]}}
    climb([n], {}, Search(leaders=1), found)
    best = min(found, key=lambda case: found[case].get(n, math.inf))
    assert found[best][n] < 0.9 * found[start][n]
    for options in neighbours(network.topology.torus, best.algorithm, best.options):
        assert Case(network, best.algorithm, options).run(n, "packet")["seconds"] >= found[best][n]


@pytest.mark.parametrize("collective", ["allreduce", "allgather"])
def test_tune_tries_the_fastest_in_segments(collective):
    network, asked = netsim.paper_network("torus:4x4"), {"collective": collective}
    table = tune(network, [2**21], collective=collective, search=Search(most=3))
    (entry,) = table.entries.values()
    best = entry.ranked(2**21)[0][1]
    assert "segments" in dict(best.options)
    swing.verify(swing.schedule(best.algorithm, Torus((4, 4)), **dict(best.options), **asked))


def test_without_a_climb_candidates_are_tried_in_segments(monkeypatch):
    monkeypatch.delattr("netsim.search.tune.climb")
    network, n = netsim.paper_network("torus:2x4"), 2**21
    table = tune(network, [n], search=Search(most=3, leaders=0))
    best = table.entries["torus:2x4"].ranked(n)[0][1]
    assert dict(best.options)["segments"] > 1


def test_a_table_keeps_the_fastest_at_each_size_and_the_published():
    network = netsim.paper_network("torus:3")
    cases = [Case(network, *named) for named in family(Torus(3))]
    cases += [Case(network, "swing", (("segments", count),)) for count in range(2, 2 + 2 * KEPT)]
    found = {case: {1: float(i), 2: float(-i)} for i, case in enumerate(cases)}
    kept = shortened(network, {}, found)
    assert {*cases[:KEPT], *cases[-KEPT:]} <= kept.keys()
    rivals = {Case(network, *named) for named in published(Torus(3), later=True)} & {*cases}
    assert rivals <= kept.keys()
    assert len(kept) <= 2 * KEPT + len(rivals)


def test_segments_of_each_dimension_and_chunks_have_neighbours():
    near = neighbours(Torus((4, 8)), "bucket", (("segments", (2, 4)),), "allgather")
    cut = [dict(each)["segments"] for each in near if "ports" not in dict(each)]
    assert cut == [(1, 4), (3, 4), (4, 4), (2, 2), (2, 3), (2, 6), (2, 8)]
    trees = neighbours(Torus((2, 2)), "disjoint_trees", (("chunks", 16),), "broadcast")
    assert [dict(each)["chunks"] for each in trees] == [8, 12, 24, 32]
    assert not [each for each in neighbours(Torus((2, 2)), "disjoint_trees", (), "broadcast")]
