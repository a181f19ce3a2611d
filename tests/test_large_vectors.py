"""What large vectors run on: segments, balanced shares, rings through all ranks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from swing.build.parallel import parts_of
from swing.build.segments import balanced

sizes = st.lists(st.integers(2, 12), min_size=1, max_size=4)


@given(sizes)
def test_balanced_shares_are_shares(dims):
    parts = parts_of(swing.schedule("bucket", swing.Torus(dims)))
    shares = balanced(parts)
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == len(parts)
    assert min(shares) >= 0


@pytest.mark.parametrize("dims", [(2,), (4, 4), (3, 5), (2, 7), (12, 3), (2, 2, 3), (4, 1, 6)])
def test_segmented_bucket_loads_all_links_alike(dims):
    torus = swing.Torus(dims)
    network = netsim.paper_network("torus:" + "x".join(map(str, dims)))
    for segments in (4, [*range(4, len(torus.active) + 4)]):
        schedule = swing.schedule("bucket", torus, segments=segments)
        assert swing.verify(schedule).same_bits
        run = netsim.simulate(schedule, network, 1)
        busiest = run.congestion / network.topology.ndim
        assert busiest * len(torus.active) == pytest.approx((torus.size - 1) / torus.size)


@pytest.mark.parametrize(("dims", "segments"), [((4, 4), 4), ((3, 3, 3), 3), ((12, 3), (2, 5))])
@pytest.mark.parametrize("model", ["flow", "packet"])
def test_segments_hide_latencies(dims, segments, model):
    torus, nbytes = swing.Torus(dims), 2**20
    network = netsim.paper_network("torus:" + "x".join(map(str, dims)))
    published, whole, cut = (
        netsim.simulate(schedule, network, nbytes, model).seconds
        for schedule in (
            swing.schedule("bucket", torus),
            swing.schedule("bucket", torus, segments=1),
            swing.schedule("bucket", torus, segments=segments),
        )
    )
    assert cut < 0.95 * whole <= 0.9501 * published


@pytest.mark.parametrize("segments", [0, True, 2.5, (), (1, 2, 3), (1, "x")])
def test_segments_are_whole_numbers(segments):
    with pytest.raises(ValueError, match="whole number from 1 to 1024"):
        swing.schedule("bucket", swing.Torus((4, 4)), segments=segments)
