"""Several peers a step: classes of a ring, the nearest members, dimensions at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from swing.algorithms.recursive_multiplying import Radices, even, family
from swing.build.partition import digits_of, partition_pattern
from swing.torus import Torus

NAME = "recursive_multiplying"
WAYS: list[tuple[tuple[int, ...], Radices]] = [
    ((9,), ((3,), (3,))),
    ((13,), ((4,), (4,))),
    ((61,), ((4,), (4,), (4,))),
    ((2, 4), ((2, 4),)),
    ((4, 4), ((2, 2), (2, 2))),
    ((3, 5), ((3, 5),)),
    ((2, 2, 3), ((2, 1, 3), (1, 2, 1))),
    ((5, 7), ((2, 1), (1, 3), (3, 3))),
    ((1, 8, 2), ((1, 2, 1), (1, 4, 2))),
    ((4, 2, 3, 2), ((4, 1, 1, 2), (1, 2, 3, 1))),
]


@st.composite
def tilings(draw, most=40):
    """A number of nodes, and radices that reach it with the last one."""
    radices = draw(st.lists(st.integers(2, 6), min_size=1, max_size=4))
    while math.prod(radices[:-1]) >= most:
        radices.pop()
    least, top = math.prod(radices[:-1]) + 1, min(math.prod(radices), most)
    return draw(st.integers(least, top)), tuple(radices)


@given(tilings(), st.booleans(), st.booleans())
def test_a_node_deals_with_the_nearest_member_of_each_other_class(tiling, wrap, mirrored):
    d, radices = tiling
    digits = np.stack(digits_of(d, radices))
    line = partition_pattern(list(digits), wrap, mirrored)

    def hops(x, y):
        return min((x - y) % d, (y - x) % d) if wrap else abs(x - y)

    for s in range(line.nsteps):
        src, dst, _ = line.step(s)
        for x in range(d):
            alike = (digits[:s] == digits[:s, [x]]).all(axis=0)
            others = set(digits[s, alike].tolist()) - {digits[s, x]}
            mine = dst[src == x].tolist()
            assert sorted(digits[s, mine]) == sorted(others)
            for y in mine:
                members = np.flatnonzero(alike & (digits[s] == digits[s, y])).tolist()
                assert hops(x, y) == min(hops(x, z) for z in members)
            far = [hops(x, y) for y in mine]
            assert far == sorted(far, reverse=True)  # the farthest is injected first


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize(("dims", "radices"), WAYS, ids=str)
def test_every_variant_is_correct_and_gives_all_ranks_the_same_bits(dims, radices, wrap):
    torus = Torus(dims, wrap)
    ways: list[dict[str, object]] = [{"variant": "bandwidth"}, {"variant": "latency"}]
    ways += [{"variant": "hybrid", "k": k} for k in range(len(radices) + 1)]
    for way in ways:
        report = swing.verify(swing.schedule(NAME, torus, radices=radices, **way))
        assert report.same_bits
        bandwidth = way["variant"] == "bandwidth"
        assert report.nsteps == len(radices) * (1 + bandwidth) + int(way.get("k", 0))
    report = swing.verify(swing.schedule(NAME, torus, radices=radices, collective="reduce_scatter"))
    assert (report.blocks_sent == (torus.size - 1) * max(torus.ports, 1)).all()


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4))
def test_an_exchange_covers_hardly_more_than_the_diameter(radices):
    d = math.prod(radices)
    line = partition_pattern(digits_of(d, radices))
    steps = [line.step(s) for s in range(line.nsteps)]
    far = [int(np.minimum((b - a) % d, (a - b) % d).max()) for a, b, _ in steps]
    places = np.cumprod([1, *radices])[:-1]
    assert far == [place * (m // 2) for place, m in zip(places.tolist(), radices, strict=True)]


@given(st.integers(2, 600), st.integers(1, 4))
def test_even_radices_reach_and_do_so_with_the_last_one_only(d, nsteps):
    if 2 ** (nsteps - 1) < d:
        radices = even(d, nsteps)
        assert len(radices) == nsteps
        assert sorted(radices) == [*radices]
        assert math.prod(radices[:-1]) < d <= math.prod(radices)


@pytest.mark.parametrize("dims", [(1,), (2, 2), (4, 4), (3, 5), (8, 1, 2), (2, 2, 3), (7, 3)])
def test_all_of_the_family_is_correct(dims):
    torus = Torus(dims)
    for options in family(torus):
        assert swing.verify(swing.schedule(NAME, torus, **options)).same_bits, options


@pytest.mark.parametrize("dims", [(64, 64), (128, 8), (13, 61), (16, 16, 16), (5, 5, 5), (8,) * 4])
def test_the_family_is_some_hundred_at_most(dims):
    torus = Torus(dims)
    options = family(torus)
    assert 8 <= len(options) <= 300
    assert len({tuple(some.items()) for some in options}) == len(options)
    for some in options:
        assert swing.schedule(NAME, torus, **some).nsteps


@pytest.mark.parametrize(
    ("dims", "radices", "k", "ports"),
    [
        ((8, 8), ((8, 1), (1, 8)), 1, 2),
        ((8, 8), ((2, 1), (1, 2), (4, 1), (1, 4)), 3, None),
        ((8, 8, 8), ((8, 1, 1), (1, 8, 1), (1, 1, 8)), 1, 3),
        ((8, 8), ((2, 1), (4, 1), (1, 2), (1, 4)), 3, None),
    ],
)
def test_hybrids_that_end_within_a_round_of_the_dimensions_are_candidates(dims, radices, k, ports):
    hybrid = {"radices": radices, "variant": "hybrid", "k": k} | ({"ports": ports} if ports else {})
    assert hybrid in family(Torus(dims))


BAD = {
    "too short": (((4,),), "reach its size 8"),
    "void step": (((8,), (2,)), "without the last one"),
    "no dimension": ((8,), "needs 1 whole numbers"),
    "idle step": (((8,), (1,)), "one of them above 1"),
    "fractions": (((2.0,), (4,)), "needs 1 whole numbers"),
    "two dimensions": (((8, 1),), "needs 1 whole numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_radices_that_do_not_fit_are_refused_with_the_rule(case):
    radices, rule = BAD[case]
    with pytest.raises(ValueError, match=rule):
        swing.schedule(NAME, Torus(8), radices=radices)


@pytest.mark.parametrize(
    ("dims", "radices", "most"),
    [
        ((8, 8), ((8, 8),), 1.07),
        ((10, 10), ((10, 1), (1, 10)), 1.13),
        # Each node sends 124 messages over 3.6 links on average, and has six: 512 bytes add up.
        ((5, 5, 5), ((5, 5, 5),), 1.33),
        ((16, 16), ((16, 1), (1, 16)), 1.1),
        ((8, 8, 8), ((8, 8, 1), (1, 1, 8)), 1.15),
        ((64, 16), ((8, 1), (8, 1), (1, 16)), 1.18),
    ],
)
def test_small_vectors_come_near_the_lower_bound(dims, radices, most):
    network = netsim.paper_network("torus:" + "x".join(map(str, dims)))
    schedule = swing.schedule(NAME, Torus(dims), radices=radices, variant="latency", ports=1)
    for nbytes in (32, 512):
        seconds = netsim.simulate(schedule, network, nbytes, "packet").seconds
        assert 1 - 1e-9 <= seconds / netsim.lower_bound(network, nbytes) <= most  # sums round


def test_trivance_has_two_peers_at_powers_of_three():
    schedule = swing.schedule("trivance", Torus(27), variant="latency", ports=1)
    for s, far in enumerate((9, 3, 1)):
        step = schedule[s]
        assert {(int(b) - int(a)) % 27 for a, b in zip(step.src, step.dst, strict=True)} == {
            far,
            27 - far,
        }
