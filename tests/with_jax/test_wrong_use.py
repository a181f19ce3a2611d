"""Wrong use is one clear line at trace time, and explanations say what would run."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import netsim
import swing
from swing.integrations import jax as sj
from tests.with_jax.devices import everywhere, mesh_of, numbers

RING = swing.schedule("ring", swing.Torus(5))
SCATTER = swing.schedule("ring", swing.Torus(4), collective="reduce_scatter")
WRONG = [
    ({"axis_name": "y"}, "no mesh axis 'y' here: call this inside jax.shard_map"),
    ({"axis_name": ("x", "x")}, "name one or more different mesh axes"),
    ({"axis_name": ()}, "name one or more different mesh axes"),
    ({"torus": swing.Torus((2, 3))}, "torus 2x3 has 6 ranks, but the mesh axes (x) have 4 devices"),
    ({"algorithm": RING}, "torus 5 has 5 ranks, but the mesh axes (x) have 4 devices"),
    ({"algorithm": RING, "torus": swing.Torus(4)}, "the schedule is for torus 5, not Torus"),
    ({"algorithm": SCATTER}, "collective reduce_scatter: pass one of allreduce"),
    ({"algorithm": RING, "ports": 2}, "a schedule takes no options: leave out ports"),
    ({"algorithm": "swin"}, "no algorithm 'swin'"),
    ({"algorithm": "ring", "ports": 3}, "ring uses 1 or 2 ports, not 3"),
    ({"ports": 1}, "algorithm 'auto' chooses ports itself: name an algorithm"),
    ({"op": "prod"}, "op must be one of sum, mean, max, min, not 'prod'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  compared below
        everywhere(
            lambda v: sj.allreduce(v, **{"axis_name": "x"} | wrong), mesh_of(4), numbers(4, (8,))
        )
    text = str(caught.value).split("\n--------------------")[0]
    assert message in text
    assert len(text) <= 300
    assert "\n" not in text


def test_outside_of_shard_map():
    with pytest.raises(ValueError, match="no mesh axis 'x' here"):
        sj.allreduce(jnp.ones(3), "x")
    with pytest.raises(ValueError, match="no mesh axis 'x' here"):  # an axis of another kind
        jax.vmap(lambda v: sj.allreduce(v, "x"), axis_name="x")(jnp.ones((4, 3)))


def test_ranks_must_have_equally_many_blocks():
    sends = [([1, 0], [0, 1], [[0, 1], [2]]), ([2], [0], [[0, 1]]), ([2], [1], [[2]])]
    uneven = swing.Schedule(
        "uneven", swing.Torus(3), 3, 3, lambda s: swing.Step(True, *sends[s]), home=[0, 0, 1]
    )
    values = numbers(3, (3,))
    with pytest.raises(ValueError, match="under uneven ranks have 0 to 2 blocks of a part"):
        everywhere(lambda v: sj.reduce_scatter(v, "x", algorithm=uneven), mesh_of(3), values)


@pytest.mark.parametrize(
    ("dtype", "op", "message"),
    [
        ("bool", "sum", "bool has no addition: convert it"),
        ("int32", "mean", "the mean of int32 is no int32: pass x.astype"),
        ("complex64", "max", "complex64 has no order: op must be sum or mean"),
    ],
)
def test_types_without_the_operation(dtype, op, message):
    values = numbers(4, (8,), jnp.dtype(dtype))
    with pytest.raises(TypeError, match=message):
        everywhere(lambda v: sj.allreduce(v, "x", op=op), mesh_of(4), values)


def test_axes_that_cannot_be_divided():
    values = numbers(4, (6, 3))
    with pytest.raises(ValueError, match=r"axis 0 of shape \(6, 3\) must equal the number of"):
        everywhere(lambda v: sj.reduce_scatter(v, "x"), mesh_of(4), values)
    with pytest.raises(ValueError, match="must be a multiple of the number of devices, 4"):
        everywhere(lambda v: sj.reduce_scatter(v, "x", tiled=True), mesh_of(4), values)
    with pytest.raises(ValueError, match="no axis 3 in an array of 2 dimensions"):
        everywhere(lambda v: sj.all_gather(v, "x", axis=3, tiled=True), mesh_of(4), values)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda v: sj.all_gather(v, "x", axis=1.0), "an axis must be a whole number, not 1.0"),
        (lambda v: sj.reduce_scatter(v, "x", scatter_dimension="0"), "an axis must be a whole"),
        (lambda v: sj.broadcast(v, "x", jnp.argmax(v)), "option root must be a number"),
        (lambda v: sj.gather(v, "x", np.arange(1)), "option root must be a number"),
        (lambda v: sj.allreduce(v, "x", algorithm="ring", ports={}), "option ports must be a"),
        (
            lambda v: sj.all_to_all(v, "x", 0, 0, algorithm="pairwise", counts=np.ones((4, 4))),
            "option counts must be a",
        ),
    ],
)
def test_arguments_that_are_not_known_or_no_numbers(call, rule):
    with pytest.raises(TypeError, match=rule) as caught:
        everywhere(call, mesh_of(4), numbers(4, (4, 3)))
    text = str(caught.value).split("\n--------------------")[0]
    assert len(text) <= 300
    assert "\n" not in text


@pytest.mark.parametrize(("op", "expected"), [("max", jnp.any), ("min", jnp.all)])
def test_truth_values_have_an_order(op, expected):
    values = numbers(4, (8,), jnp.dtype("int32")) % 3 > 0
    found = everywhere(lambda v: sj.allreduce(v, "x", op=op), mesh_of(4), values)
    assert (found == expected(values, axis=0)).all()


def test_a_schedule_of_another_is_proven_before_it_runs():
    copy = swing.schedule("ring", swing.Torus(4))
    wrong = swing.Schedule("half", copy.torus, copy.nblocks, copy.nsteps - 1, copy.step)
    with pytest.raises(swing.ScheduleError):
        everywhere(lambda v: sj.allreduce(v, "x", algorithm=wrong), mesh_of(4), numbers(4, (8,)))


def test_an_explanation_says_what_runs_and_can_be_simulated():
    x = jax.ShapeDtypeStruct((2**20,), np.float32)
    explanation = sj.explain(x, mesh_of(4, 4), ("x", "y"), algorithm="bucket")
    assert "algorithm: bucket\n" in str(explanation)
    assert "torus: torus:4x4, devices: cpu" in str(explanation)
    assert "4 MiB" in str(explanation)
    small = sj.explain(x, mesh_of(2), "x", algorithm="ring", ports=1, collective="allgather")
    assert "of 8 MiB, 1 step, 1 part\nprogram: 1 collective permute, 0 loops" in str(small)
    assert "<svg" in explanation._repr_html_()
    run = netsim.simulate(explanation.schedule, netsim.paper_network("torus:4x4"), 2**22)
    assert run.seconds > 0
    assert sj.explain(x, mesh_of(4), "x").schedule.is_allreduce
    with pytest.raises(ValueError, match=r"different axes of the mesh \(x\), not 'y'"):
        sj.explain(x, mesh_of(4), "y")
    with pytest.raises(ValueError, match="no JAX collective 'barrier': choose from allreduce"):
        sj.explain(x, mesh_of(4), "x", collective="barrier")


def test_the_torus_of_a_mesh_is_that_of_its_devices():
    """A slice of 2x2 chips of two cores, whose mesh lists the devices in another order."""
    at = [(x, y, 0, core) for core in (0, 1) for y in (4, 5) for x in (0, 1)]
    devices = [SimpleNamespace(coords=c[:3], core_on_chip=c[3]) for c in at]
    mesh = SimpleNamespace(
        devices=np.array(devices).reshape(2, 4), axis_names=("a", "b"), shape={"a": 2, "b": 4}
    )
    torus = sj.torus_of(mesh, ("a", "b"), wrap=True)
    assert torus.dims == (2, 2, 2)
    assert torus.wrap == (True, True, False)
    assert torus.coords.tolist() == [[x, y - 4, core] for x, y, _, core in at]
    part = sj.torus_of(mesh, "b")
    assert part.dims == (2, 2)
    assert sj.torus_of(mesh_of(2, 3), ("y", "x")) == swing.Torus((3, 2))
