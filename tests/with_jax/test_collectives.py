"""Collectives other than allreduce agree with lax's, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from jax import lax

import swing
from swing.integrations import jax as sj
from swing.schedules.step import Op, Step
from tests.with_jax.devices import SAMPLE, SHAPES, everywhere, mesh_of, numbers, variants

SCATTERS = [
    {"scatter_dimension": 0}, {"scatter_dimension": 2}, {"scatter_dimension": 1, "tiled": True},
]  # fmt: skip
GATHERS = [{"axis": 0}, {"axis": -1}, {"axis": 0, "tiled": True}]


def check(dims, name, options):
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


@pytest.mark.parametrize("dims", SAMPLE, ids=str)
def test_scatters_and_gathers_are_those_of_lax(dims):
    check(dims, "swing", {})


@pytest.mark.nightly
@pytest.mark.parametrize("dims", [dims for shapes in SHAPES.values() for dims in shapes], ids=str)
def test_every_algorithm_scatters_and_gathers_as_lax_does(dims):
    for name, options in variants(dims):
        if options.get("variant", "bandwidth") == "bandwidth":
            check(dims, name, options)


@pytest.mark.parametrize("op", ["max", "mean"])
def test_a_reduce_scatter_with_another_operation(op):
    values = numbers(4, (4, 5), np.float32)
    got = everywhere(lambda v: sj.reduce_scatter(v, "x", op=op), mesh_of(4), values)
    reduced = {"max": np.max, "mean": np.mean}[op](np.asarray(values), axis=0)
    assert (np.asarray(got) == reduced).all()


def test_auto_serves_all():
    values = numbers(4, (4, 5))
    whole = everywhere(lambda v: sj.all_gather(sj.reduce_scatter(v, "x"), "x"), mesh_of(4), values)
    assert (np.asarray(whole) == np.asarray(values).sum(axis=0)).all()


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


def pairwise(p):
    """An all-to-all in which rank r sends to r + s in step s."""

    def step(s):
        src = np.arange(p)
        dst = (src + s + 1) % p
        return Step(Op.COPY, src, dst, [[int(b)] for b in src * p + dst])

    block = np.arange(p * p)
    return swing.Schedule(
        "pairwise", swing.Torus(p), p * p, p - 1, step, origin=block // p, home=block % p
    )


@pytest.mark.parametrize("root", [0, 2])
def test_rooted_collectives(root):
    """Any schedule runs; whoever gets nothing gets zeros."""
    p, mesh = 4, mesh_of(4)
    values = numbers(p, (p, 6))

    def device(v):
        run = {"axis_name": "x", "root": root}
        return (
            sj.broadcast(v, algorithm=star(p, root, "broadcast"), **run),
            sj.reduce(v, algorithm=star(p, root, "reduce"), **run),
            sj.gather(v[0], algorithm=star(p, root, "gather"), **run),
            sj.scatter(v, algorithm=star(p, root, "scatter"), **run),
        )

    there, total, gathered, pieces = map(np.asarray, everywhere(device, mesh, values))
    values = np.asarray(values)
    assert (there == values[root]).all()
    assert (total[root] == values.sum(axis=0)).all()
    assert not np.delete(total, root, axis=0).any()
    assert (gathered[root] == values[:, 0]).all()
    assert not np.delete(gathered, root, axis=0).any()
    assert (pieces == values[root]).all()


@pytest.mark.parametrize("axes", [(0, 0, False), (1, 0, False), (0, 1, True), (1, 1, True)])
def test_an_all_to_all_is_that_of_lax(axes):
    split, concat, tiled = axes
    values = numbers(3, (3, 3, 2) if not tiled else (6, 9))

    def ours(v):
        return sj.all_to_all(v, "x", split, concat, tiled=tiled, algorithm=pairwise(3))

    got = everywhere(ours, mesh_of(3), values)
    wanted = everywhere(
        lambda v: lax.all_to_all(v, "x", split, concat, tiled=tiled), mesh_of(3), values
    )
    assert got.shape == wanted.shape
    assert (got == wanted).all()
