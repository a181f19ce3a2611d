"""Sizes that are no power of two: least blocks on long ways, windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from swing.algorithms.swing import swing_line
from swing.algorithms.windows import _away, _outer_windows, plan, windows_line


def over_best(name, dims, **options):
    """Bytes on the busiest link, step by step, over the best that all ports allow."""
    torus = swing.Torus(dims)
    network = netsim.Network(netsim.topology(torus.name), bandwidth=1.0)
    run = netsim.simulate(swing.schedule(name, torus, **options), network, 1)
    return run.congestion * torus.size / (torus.size - 1)


@pytest.mark.parametrize("p", range(2, 131, 2))
def test_early_blocks_are_the_fewest_there_can_be(p):
    """Who sends a block in step s has a peer of its own that keeps it: at least half are kept."""
    line = swing_line(p, blocks="early")
    kept = [line.pending(s).counts for s in range(line.nsteps + 1)]
    for s, count in enumerate(kept):
        assert (count == -(-p // 2**s)).all()
    swing.verify(swing.schedule("swing", swing.Torus(p), blocks="early", ports=1))


@pytest.mark.parametrize("d", [510, 514, 1000, 1026, 2050])
def test_early_blocks_of_long_rings(d):
    """Every offset is sent once, to where it is sent on later."""
    line = swing_line(d, blocks="early")
    gone = np.full(d, line.nsteps)
    for s in range(line.nsteps):
        src, dst, sent = line.step(s)
        offsets = (line.owner[sent.members(0)] - src[0]) % d
        assert (gone[offsets] == line.nsteps).all()
        gone[offsets] = s
        at_peer = (dst[0] - line.owner[sent.members(0)]) % d
        assert (gone[at_peer] == line.nsteps).all()  # an odd node counts the other way round
    assert np.flatnonzero(gone == line.nsteps).tolist() == [0]


@given(st.integers(1, 70), st.integers(-2, 4), st.integers(1, 3))
def test_windows_bring_every_block_home(d, extra, ndim):
    least = (d - 1).bit_length()
    levels = plan(d, max(1, least + extra), ndim)
    if extra >= 0:
        assert sum(q for q, _ in levels) <= least + extra
    line = windows_line(d, levels)
    assert line.nsteps == sum(q for q, _ in levels)
    at = np.arange(d)  # where the contributions of all nodes to the block of node 0 are
    for s in range(line.nsteps):
        src, dst, sent = line.step(s)
        moves = {int(src[i]): int(dst[i]) for i in range(len(src)) if 0 in sent.members(i)}
        at = np.array([moves.get(x, x) for x in at.tolist()])
    assert (at == 0).all()


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 20))
def test_the_ends_of_windows_are_those_of_every_offset_tried(low, high, q):
    found = {r: (furthest, *ends) for furthest, r, *ends, _ in _outer_windows(low, high, q, 1)}
    offsets = np.arange(-low, high + 1)
    for r in range(2, 2 * q + 2):
        away = _away(offsets, q, r)
        middles = np.unique((offsets - away) // r)
        # Every middle has to be an offset itself, and every offset up to q away from one.
        fit = np.isin(r * middles, offsets).all() and abs(away).max() <= q
        expected = (abs(away).max(), -middles[0], middles[-1]) if fit else None
        assert found.get(r) == expected


@pytest.mark.parametrize(
    "dims", [(6,), (7,), (16,), (25,), (5, 5), (6, 10), (3, 5), (4, 4, 4), (2, 3, 5), (1, 9, 2)]
)
@pytest.mark.parametrize("extra", [-1, 0, 2])
def test_windows_are_correct_and_bandwidth_optimal(dims, extra):
    torus = swing.Torus(dims)
    report = swing.verify(swing.schedule("windows", torus, extra=extra))
    assert report.same_bits
    blocks = 2 * (torus.size - 1) * max(1, torus.ports)
    assert (report.blocks_sent == blocks).all()


# The next larger power of two in each dimension, and Swing on it.
SHAPES = [
    (6, 6), (10, 10), (12, 12), (14, 14), (20, 20), (24, 24), (6, 10), (10, 10, 10), (5, 5),
    (7, 7), (9, 9), (5, 5, 5), (12, 20), (3, 5), (7, 9), (18, 18), (25, 25),
]  # fmt: skip


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_other_sizes_load_the_links_little_more_than_powers_of_two(dims):
    power = tuple(2 ** (d - 1).bit_length() for d in dims)
    least = min(over_best("swing", dims, blocks="early"), over_best("windows", dims))
    assert least <= 1.15 * over_best("swing", power)
    if len(set(dims)) == 1:
        assert over_best("windows", dims) <= over_best("swing", dims, blocks="early")


@pytest.mark.parametrize("name", ["swing", "recursive_doubling"])
@pytest.mark.parametrize("dims", [(3,), (6,), (7,), (3, 5), (6, 4)], ids=str)
def test_a_hybrid_takes_as_many_steps_as_on_the_next_power_of_two(dims, name):
    torus = swing.Torus(dims)
    steps = sum((d - 1).bit_length() for d in dims)
    for k in range(steps + 1):
        report = swing.verify(swing.schedule(name, torus, variant="hybrid", k=k, ports=None))
        assert report.same_bits
        assert report.nsteps == steps + k
    with pytest.raises(ValueError, match=f"needs k from 0 to {steps}"):
        swing.schedule(name, torus, variant="hybrid", k=steps + 1)
