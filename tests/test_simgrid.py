"""Whole allreduces as SimGrid simulated them: an independent flow model, our patterns."""

from __future__ import annotations

import csv
import subprocess
import sys
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


PEER = Path(__file__).parent / "simgrid_peer.py"


def python_with_simgrid():
    for python in (sys.executable, "/usr/bin/python3"):
        tried = subprocess.run([python, "-c", "import simgrid"], capture_output=True, check=False)
        if tried.returncode == 0:
            return python
    pytest.skip("SimGrid is not installed: apt-get install python3-simgrid")


@pytest.mark.parametrize("pattern", ["swing_b_mp", "swing_l", "rd_b", "bucket", "ring"])
@pytest.mark.parametrize("dims", ["8", "4x4", "8x8", "4x2x4"])  # else it weighs by latency
def test_simgrid_says_the_same_now(pattern, dims):
    python = python_with_simgrid()
    torus = torus_of(dims)
    name, options = SCHEDULES[pattern]
    schedule = swing.schedule(name, torus, **options)
    nbytes = schedule.nblocks * 2**12
    lines = [
        f"{s},{m.src},{m.dst},{2**12 * int(step.blocks.counts[i])}"
        for s, step in enumerate(schedule)
        for i, m in enumerate(map(step.message, range(len(step))))
    ]
    done = subprocess.run(
        [python, str(PEER), dims],
        input="\n".join(lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    network = netsim.Network(netsim.topology(f"torus:{dims}"), 50e9, 1e-7, ties="simgrid")
    run = netsim.simulate(schedule, network, nbytes, "flow", sync="rank")
    assert run.seconds == pytest.approx(float(done.stdout.split()[-1]), rel=0.01)
