"""Whole allreduces as SimGrid simulated them: an independent flow model, our patterns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import netsim
import swing

RECORDED = Path(__file__).parent / "data" / "simgrid.csv"

SCHEDULES = {
    "rd_l": ("recursive_doubling", {"variant": "latency"}),
    "rd_b": ("recursive_doubling", {"variant": "bandwidth"}),
    "swing_l": ("swing", {"variant": "latency", "ports": 1}),
    "swing_b": ("swing", {"variant": "bandwidth", "ports": 1}),
    "swing_b_mp": ("swing", {"variant": "bandwidth"}),
    "ring": ("ring", {"ports": 1}),
    "ring_bi": ("ring", {"ports": 2}),
    "bucket": ("bucket", {"ports": 1}),
}


def recorded():
    with open(RECORDED, newline="") as file:
        return [r for r in csv.DictReader(file) if r["pattern"] in SCHEDULES]


def torus_of(dims):
    """SimGrid counts dimension 0 fastest."""
    sizes = tuple(int(d) for d in dims.split("x"))
    ranks = np.arange(np.prod(sizes))
    return swing.Torus(sizes, coords=np.stack(np.unravel_index(ranks, sizes, order="F"), axis=1))


@pytest.mark.parametrize("pattern", SCHEDULES)
@pytest.mark.parametrize("dims", ["16", "8x8", "4x4x4"])
@pytest.mark.parametrize("model", ["flow", "analytic"])
def test_allreduces_take_what_simgrid_says(pattern, dims, model):
    torus = torus_of(dims)
    name, options = SCHEDULES[pattern]
    schedule = swing.schedule(name, torus, **options)
    network = netsim.Network(netsim.topology(f"torus:{dims}"), 50e9, 1e-7, ties="simgrid")
    rows = [r for r in recorded() if (r["pattern"], r["dims"]) == (pattern, dims)]
    assert rows
    for row in rows:
        sync = {"step": "step", "dep": "rank"}[row["sync"]]
        run = netsim.simulate(schedule, network, int(float(row["bytes"])), model, sync=sync)
        assert run.seconds == pytest.approx(float(row["simulated_s"]), rel=1e-9), row
