"""Exact simulated times, recorded: a change of any digit is a change of a model.

``python -m tests.test_golden`` records them again.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import netsim.__main__
from netsim.models import MODELS
from swing.cli import invoke

FOLDER = Path(__file__).parent / "data"
PLACES = ["torus:4x4", "torus:5", "mesh:3x4", "hx2mesh:4x4", "hyperx:3x3"]


def record(model, path):
    places = [word for place in PLACES for word in ("--topology", place)]
    words = ["sweep", *places, "--sizes", "32B:2MiB:x256", "--model", model, "--jobs", "1"]
    assert invoke(netsim.__main__.main, "netsim", [*words, "--csv", str(path)]) == 0


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("model", MODELS)
def test_simulated_times_are_as_recorded(model, tmp_path):
    record(model, tmp_path / "now.csv")
    for now, then in zip(
        rows(tmp_path / "now.csv"), rows(FOLDER / f"golden-{model}.csv"), strict=True
    ):
        assert float(now["seconds"]) == pytest.approx(float(then["seconds"]), rel=1e-12)
        same = set(now) - {"seconds", "goodput_gbps", "congestion"}
        assert {k: now[k] for k in same} == {k: then[k] for k in same}


if __name__ == "__main__":
    for name in MODELS:
        record(name, FOLDER / f"golden-{name}.csv")
