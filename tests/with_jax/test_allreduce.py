"""Allreduce on devices: exact on whole numbers, with the same bits everywhere."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp
from jax.sharding import PartitionSpec as P

import swing
from swing.integrations import jax as sj
from tests.with_jax.devices import (
    SAMPLE,
    SHAPES,
    defaults,
    differing,
    everywhere,
    mesh_of,
    mixed,
    numbers,
    on_devices,
    variants,
)  # fmt: skip

LIKE = {"sum": lax.psum, "mean": lax.pmean, "max": lax.pmax, "min": lax.pmin}


def check(dims, name, options):
    """One program reduces whole numbers, and numbers whose sum depends on the order."""
    mesh, p = mesh_of(*dims), int(np.prod(dims))
    whole, real = numbers(p, (7, 9)), mixed(p, (64 * p + 5,))

    def device(*both):
        return sj.allreduce(both, mesh.axis_names, algorithm=name, **options)

    run = on_devices(device, mesh)
    exact, rounded = run(whole, real)
    _, rounded_again = run(whole, real)
    assert (np.asarray(exact) == np.asarray(whole).sum(axis=0)).all()
    assert differing(rounded) == 0
    np.testing.assert_allclose(rounded[0], real.astype(float).sum(axis=0), rtol=1e-3, atol=1e-2)
    assert np.asarray(rounded).tobytes() == np.asarray(rounded_again).tobytes()


@pytest.mark.parametrize(
    ("dims", "name"), [(dims, name) for dims in SAMPLE for name, _ in defaults(dims)]
)
def test_every_algorithm_is_exact_and_the_same_everywhere(dims, name):
    check(dims, name, {})


@pytest.mark.nightly
@pytest.mark.parametrize("dims", [dims for shapes in SHAPES.values() for dims in shapes], ids=str)
def test_every_variant_is_exact_and_the_same_everywhere(dims):
    for name, options in variants(dims):
        check(dims, name, options)


@pytest.mark.parametrize("op", LIKE)
def test_operations_are_those_of_lax(op):
    mesh = mesh_of(4)
    values = mixed(4, (33,))
    tree = {"a": values, "b": [values[:, :1], values[:, 0]]}  # also of one element, and a scalar

    def ours(tree):
        return sj.allreduce(tree, "x", op=op, algorithm="swing")

    got = everywhere(ours, mesh, tree)
    wanted = everywhere(lambda tree: LIKE[op](tree, "x"), mesh, tree)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float16", "bfloat16", "complex64"])
def test_types_keep_themselves(dtype):
    mesh = mesh_of(3)
    values = numbers(3, (11,), jnp.dtype(dtype))
    total = everywhere(lambda v: sj.allreduce(v, "x", algorithm="ring"), mesh, values)
    assert total.dtype == values.dtype
    assert (np.asarray(total) == np.asarray(values.sum(axis=0, dtype=values.dtype))).all()


@pytest.mark.parametrize("shape", [(0,), (), (1,), (2, 0, 3), (5, 1)])
@pytest.mark.parametrize("check_vma", [False, True])
def test_arrays_of_any_shape(shape, check_vma):
    values = numbers(4, shape)
    total = everywhere(lambda v: sj.allreduce(v, "x"), mesh_of(4), values, check_vma=check_vma)
    assert total.shape == values.shape
    assert (np.asarray(total) == np.asarray(values).sum(axis=0)).all()


def test_jax_knows_that_the_result_is_the_same_on_all_devices():
    mesh, values = mesh_of(4), numbers(4, (6,))
    total = jax.shard_map(
        lambda v: sj.allreduce(v[0], "x"), mesh=mesh, in_specs=P("x"), out_specs=P()
    )(values)
    assert (total == values.sum(axis=0)).all()


def test_ranks_follow_the_order_of_the_names():
    """The root of a broadcast tells which device has which rank."""
    mesh, values = mesh_of(2, 3), numbers(6, (4,))
    seen = everywhere(lambda v: sj.all_gather(v, ("y", "x"), algorithm="ring"), mesh, values)
    order = np.arange(6).reshape(2, 3).T.ravel()
    assert (np.asarray(seen) == np.asarray(values)[order]).all()


def test_one_axis_of_several_reduces_each_group_by_itself():
    mesh, values = mesh_of(2, 3), numbers(6, (4,))
    total = everywhere(lambda v: sj.allreduce(v, "y", algorithm="bucket"), mesh, values)
    groups = np.asarray(values).reshape(2, 3, 4).sum(axis=1)
    assert (np.asarray(total) == np.repeat(groups, 3, axis=0)).all()


def test_a_torus_with_coordinates_is_followed():
    coords = [(1, 1), (0, 0), (1, 0), (0, 1)]
    torus = swing.Torus((2, 2), coords=coords)
    values = numbers(4, (10,))
    total = everywhere(lambda v: sj.allreduce(v, "x", torus=torus), mesh_of(4), values)
    assert (np.asarray(total) == np.asarray(values).sum(axis=0)).all()


def test_batches():
    mesh, values = mesh_of(4), numbers(4, (3, 5, 2))

    def device(v):
        one = jax.vmap(lambda u: sj.allreduce(u, "x", algorithm="trivance"))
        return one(v), jax.vmap(one, in_axes=2, out_axes=2)(v)

    for total in everywhere(device, mesh, values):
        assert (np.asarray(total) == np.asarray(values).sum(axis=0)).all()


@pytest.mark.parametrize("name", ["swing", "recursive_multiplying"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_product_is_rounded_before_it_is_added(name, dtype):
    """XLA may not merge a user's multiplication with the additions, nor these with each other."""
    mesh = mesh_of(8)
    a, b = (jnp.asarray(mixed(8, (1001,), seed=seed)).astype(dtype) for seed in (1, 2))
    options = {"variant": "latency", "algorithm": name}
    inside = everywhere(lambda v, w: sj.allreduce(v * w, "x", **options), mesh, a, b)
    product = jax.jit(jnp.multiply)(a, b)
    outside = everywhere(lambda v: sj.allreduce(v, "x", **options), mesh, product)
    assert differing(inside) == 0
    assert np.asarray(inside).tobytes() == np.asarray(outside).tobytes()
