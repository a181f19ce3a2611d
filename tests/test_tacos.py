"""The times of results/TACOS.md are those of the schedules that it names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import netsim
import swing
from swing.algorithms.spelling import parse

RESULTS = Path(__file__).parent.parent / "results"
sys.path.append(str(RESULTS))

import tacos  # noqa: E402  the import needs the path above

ROWS = [
    [cell.strip(" `") for cell in line.strip("|\n ").split("|")]
    for line in (RESULTS / "TACOS.md").read_text().splitlines()
    if line.startswith(("| torus:", "| mesh:"))
]


def test_the_page_has_a_row_for_each_network_and_size():
    assert [row[:2] for row in ROWS] == [[p, size] for p in tacos.TIMES for size in tacos.SIZES]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_each_schedule_takes_the_time_of_its_row_and_less_than_that_of_tacos(row):
    place, size, theirs, ours, *_, bound, name = row
    network = tacos.network(place)
    algorithm, options = parse(name)
    schedule = swing.schedule(algorithm, network.topology.torus, collective="allgather", **options)
    swing.verify(schedule)
    run = netsim.simulate(schedule, network, tacos.SIZES[size], "flow")
    assert run.seconds * 1e6 == pytest.approx(float(ours.split()[0]), abs=0.006)
    assert float(bound.split()[0]) - 0.01 < run.seconds * 1e6 < float(theirs.split()[0])
