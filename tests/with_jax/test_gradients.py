"""Derivatives agree with those of lax's collectives."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp
from jax.test_util import check_grads

from swing.integrations import jax as sj
from tests.with_jax.devices import everywhere, mesh_of, mixed, numbers
from tests.with_jax.test_collectives import star

PAIRS = {
    "allreduce": (lambda v: sj.allreduce(v, "x", algorithm="swing"), lambda v: lax.psum(v, "x")),
    "latency": (
        lambda v: sj.allreduce(v, "x", algorithm="swing", variant="latency"),
        lambda v: lax.psum(v, "x"),
    ),
    "mean": (lambda v: sj.allreduce(v, "x", op="mean"), lambda v: lax.pmean(v, "x")),
    "reduce_scatter": (
        lambda v: sj.reduce_scatter(v, "x", tiled=True),
        lambda v: lax.psum_scatter(v, "x", tiled=True),
    ),
    "all_gather": (
        lambda v: sj.all_gather(v, "x", tiled=True),
        lambda v: lax.all_gather(v, "x", tiled=True),
    ),
}


def loss(collective, mesh, check_vma):
    """A function of all devices' values, to which every device contributes differently."""

    def device(v):
        result = collective(v)
        weight = 1.0 + lax.axis_index("x")
        return jnp.sum(jnp.sin(result) * weight.astype(result.dtype))

    return lambda values: everywhere(device, mesh, values, check_vma=check_vma).sum()


@pytest.mark.parametrize("check_vma", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_are_those_of_lax(name, check_vma):
    mesh = mesh_of(4)
    values = jnp.asarray(mixed(4, (8, 3)) / 100)
    ours, theirs = (jax.grad(loss(each, mesh, check_vma))(values) for each in PAIRS[name])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def check_derivatives(name, order):
    with jax.enable_x64(True):
        function = loss(PAIRS[name][0], mesh_of(3), True)
        values = jnp.asarray(mixed(3, (3,), np.float64) / 100)
        check_grads(function, (values,), order=order, modes=["fwd", "rev"])


@pytest.mark.parametrize("name", ["latency", "reduce_scatter"])
def test_derivatives_are_those_of_differences(name):
    check_derivatives(name, order=1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAIRS)
def test_second_derivatives_are_those_of_differences(name):
    check_derivatives(name, order=2)


@pytest.mark.parametrize("check_vma", [False, True])
def test_a_broadcast_sends_gradients_to_its_root(check_vma):
    values = numbers(3, (5,), np.float32)
    schedule = star(3, 1, "broadcast")

    def total(values):
        def device(v):
            there = sj.broadcast(v, "x", 1, algorithm=schedule)
            return (there * (1.0 + lax.axis_index("x"))).sum()

        return everywhere(device, mesh_of(3), values, check_vma=check_vma).sum()

    gradient = np.asarray(jax.grad(total)(values))
    assert (gradient[1] == 6).all()
    assert not gradient[[0, 2]].any()


@pytest.mark.parametrize("op", ["max", "min"])
def test_others_have_no_derivative(op):
    values = numbers(4, (5,), np.float32)

    def total(values):
        return everywhere(lambda v: sj.allreduce(v, "x", op=op).sum(), mesh_of(4), values).sum()

    with pytest.raises(ValueError, match="no derivative here: use op='sum' or 'mean'"):
        jax.grad(total)(values)
