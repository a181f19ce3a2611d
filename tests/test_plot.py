"""Figures have a curve for each algorithm and each set of conditions, never a mixture."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")
from netsim import plot

FIRST = {
    "topology": "torus:4x4", "algorithm": "swing", "variant": "latency", "collective": "allreduce",
    "model": "packet", "bandwidth_gbps": "400.0", "ties": "adaptive", "sync": "rank",
    "parts": "schedule", "seed": "0",
}  # fmt: skip
OTHER = {
    "model": ("flow", "flow"), "bandwidth_gbps": ("100.0", "100 Gb/s"),
    "collective": ("allgather", "allgather"), "ties": ("split", "ties split"),
    "sync": ("local", "sync local"), "parts": ("free", "parts free"), "seed": ("1", "seed 1"),
}  # fmt: skip


def rows(microseconds, **conditions):
    return [
        FIRST | conditions | {"nbytes": str(n), "seconds": str(us * 1e-6)}
        for n, us in microseconds.items()
    ]


def curves(figure):
    (axes,) = figure.axes
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in lines}


@pytest.mark.parametrize("column", OTHER)
def test_rows_of_other_conditions_are_another_curve(column):
    value, words = OTHER[column]
    found = curves(
        plot.runtime(rows({32: 1.0, 64: 2.0}) + rows({32: 3.0, 64: 5.0}, **{column: value}))
    )
    assert len(found) == 2
    (other,) = (label for label in found if label.endswith(words))
    assert found.pop(other) == pytest.approx({32: 3.0, 64: 5.0})
    assert found.popitem()[1] == pytest.approx({32: 1.0, 64: 2.0})


def test_variants_are_one_curve_the_best_at_each_size():
    both = rows({32: 1.0, 64: 5.0}) + rows({32: 2.0, 64: 3.0}, variant="bandwidth")
    assert curves(plot.runtime(both)) == {"swing": pytest.approx({32: 1.0, 64: 3.0})}


def test_a_model_for_large_vectors_continues_one_for_small():
    both = rows({32: 1.0, 64: 2.0}) + rows({128: 3.0}, model="flow")
    assert curves(plot.runtime(both)) == {"swing": pytest.approx({32: 1.0, 64: 2.0, 128: 3.0})}


def test_gains_are_taken_between_rows_of_the_same_conditions():
    quick, slow = ({32: us} for us in (1.0, 2.0))
    both = rows(quick) + rows(slow, algorithm="ring")
    for_other = rows(slow, model="flow") + rows(quick, algorithm="ring", model="flow")
    assert curves(plot.gain(both + for_other)) == {
        "torus:4x4, 400 Gb/s, packet": pytest.approx({32: 100.0}),
        "torus:4x4, 400 Gb/s, flow": pytest.approx({32: -100.0}),
    }
