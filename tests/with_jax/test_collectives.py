"""Collectives other than allreduce agree with lax's, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from jax import lax

import swing
from swing.integrations import jax as sj
from swing.schedules.step import Op, Step
from tests.with_jax.devices import SAMPLE, SHAPES, defaults, everywhere, mesh_of, numbers, variants

SCATTERS = [
    {"scatter_dimension": 0}, {"scatter_dimension": 2}, {"scatter_dimension": 1, "tiled": True},
]  # fmt: skip
GATHERS = [{"axis": 0}, {"axis": -1}, {"axis": 0, "tiled": True}]


def check_like_lax(dims, name, options):
    mesh, p = mesh_of(*dims), int(np.prod(dims))
    values = numbers(p, (p, 2 * p, p))
    names = mesh.axis_names
    run = {"axis_name": names, "algorithm": name, **options}

    def ours(v):
        return [sj.reduce_scatter(v, **like, **run) for like in SCATTERS] + [
            sj.all_gather(v[0, 0], **like, **run) for like in GATHERS
        ]

    def theirs(v):
        return [lax.psum_scatter(v, names, **like) for like in SCATTERS] + [
            lax.all_gather(v[0, 0], names, **like) for like in GATHERS
        ]

    pairs = zip(everywhere(ours, mesh, values), everywhere(theirs, mesh, values), strict=True)
    assert all((a == b).all() for a, b in pairs)


def check_all(dims, name, options, root):
    """Run every collective that an algorithm serves; whoever gets nothing gets zeros."""
    mesh, p = mesh_of(*dims), int(np.prod(dims))
    served = swing.ALGORITHMS[name].collectives
    calls = {
        "reduce_scatter": lambda v, **run: sj.reduce_scatter(v, **run),
        "allgather": lambda v, **run: sj.all_gather(v[0], **run),
        "broadcast": lambda v, **run: sj.broadcast(v, root=root, **run),
        "reduce": lambda v, **run: sj.reduce(v, root=root, **run),
        "gather": lambda v, **run: sj.gather(v[0], root=root, **run),
        "scatter": lambda v, **run: sj.scatter(v, root=root, **run),
        "alltoall": lambda v, **run: sj.all_to_all(v, split_axis=0, concat_axis=0, **run),
    }
    run = {"axis_name": mesh.axis_names, "algorithm": name, **options}
    values = numbers(p, (p, 7))

    def device(v):
        return {each: call(v, **run) for each, call in calls.items() if each in served}

    results = everywhere(device, mesh, values)
    x = np.asarray(values)
    at_root = np.arange(p)[:, None] == root
    wanted = {
        "reduce_scatter": x.sum(axis=0),
        "allgather": np.repeat(x[None, :, 0], p, axis=0),
        "broadcast": np.repeat(x[None, root], p, axis=0),
        "reduce": at_root[..., None] * x.sum(axis=0),
        "gather": at_root[..., None] * x[:, 0],
        "scatter": x[root],
        "alltoall": x.swapaxes(0, 1),
    }
    for each, result in results.items():
        assert (np.asarray(result) == wanted[each]).all(), (name, options, each)
    return results


@pytest.mark.parametrize("dims", SAMPLE, ids=str)
def test_scatters_and_gathers_are_those_of_lax(dims):
    check_like_lax(dims, "swing", {})


@pytest.mark.parametrize(("dims", "name"), [((4,), "swing"), ((2, 3), "bruck")])
def test_every_collective(dims, name):
    assert len(check_all(dims, name, {}, root=1)) == 7


@pytest.mark.nightly
@pytest.mark.parametrize("dims", [dims for shapes in SHAPES.values() for dims in shapes], ids=str)
def test_every_algorithm_runs_every_collective(dims):
    for name, options in defaults(dims):
        check_all(dims, name, options, root=int(np.prod(dims)) - 1)
    for name, options in variants(dims):
        scatters = "reduce_scatter" in swing.ALGORITHMS[name].collectives
        if scatters and options.get("variant", "bandwidth") == "bandwidth":
            check_like_lax(dims, name, options)


@pytest.mark.parametrize("op", ["max", "mean"])
def test_a_reduce_scatter_with_another_operation(op):
    values = numbers(4, (4, 5), np.float32)
    got = everywhere(lambda v: sj.reduce_scatter(v, "x", op=op), mesh_of(4), values)
    reduced = {"max": np.max, "mean": np.mean}[op](np.asarray(values), axis=0)
    assert (np.asarray(got) == reduced).all()


def test_auto_serves_all():
    values = numbers(4, (4, 5))

    def device(v):
        whole = sj.all_gather(sj.reduce_scatter(v, "x"), "x")
        return whole, sj.all_to_all(sj.broadcast(v, "x", 3), "x", 0, 0)

    whole, pieces = map(np.asarray, everywhere(device, mesh_of(4), values))
    assert (whole == np.asarray(values).sum(axis=0)).all()
    assert (pieces == np.asarray(values)[3][:, None]).all()


def star(p, root, collective):
    """A schedule of one or p - 1 messages per step, between the root and one rank at a time."""
    ranks = [r for r in range(p) if r != root]
    each = collective in ("gather", "scatter")
    to_root = collective in ("gather", "reduce")

    def step(s):
        rank = ranks[s]
        src, dst = (rank, root) if to_root else (root, rank)
        op = Op.REDUCE if collective == "reduce" else Op.COPY
        return Step(op, [src], [dst], [[rank] if each else [0]])

    nblocks = p if each else 1
    own = np.arange(p) if each else swing.ALL
    origin, home = (own, root) if to_root else (root, own)
    return swing.Schedule("star", swing.Torus(p), nblocks, p - 1, step, origin=origin, home=home)


def test_a_schedule_of_ones_own_runs():
    """One message in each step: all ranks but two have nothing to do."""
    values = np.asarray(numbers(4, (4, 6)))

    def device(v):
        run = {"axis_name": "x", "root": 2}
        return (
            sj.broadcast(v, algorithm=star(4, 2, "broadcast"), **run),
            sj.gather(v[0], algorithm=star(4, 2, "gather"), **run),
        )

    there, gathered = map(np.asarray, everywhere(device, mesh_of(4), values))
    assert (there == values[2]).all()
    assert (gathered[2] == values[:, 0]).all()
    assert not np.delete(gathered, 2, axis=0).any()


def test_the_root_of_a_schedule_is_the_root_of_the_call():
    values = numbers(4, (4,))
    with pytest.raises(ValueError, match="has another root than 1: pass its root"):
        everywhere(
            lambda v: sj.broadcast(v, "x", 1, algorithm=star(4, 2, "broadcast")),
            mesh_of(4), values,
        )  # fmt: skip


@pytest.mark.parametrize("axes", [(0, 0, False), (1, 0, False), (0, 1, True), (1, 1, True)])
def test_an_all_to_all_is_that_of_lax(axes):
    split, concat, tiled = axes
    values = numbers(3, (3, 3, 2) if not tiled else (6, 9))

    def ours(v):
        return sj.all_to_all(v, "x", split, concat, tiled=tiled, algorithm="pairwise")

    got = everywhere(ours, mesh_of(3), values)
    wanted = everywhere(
        lambda v: lax.all_to_all(v, "x", split, concat, tiled=tiled), mesh_of(3), values
    )
    assert got.shape == wanted.shape
    assert (got == wanted).all()
