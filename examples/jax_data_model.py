"""A layer whose weights are divided among devices, on a mesh of data x model axes.

``python jax_data_model.py`` runs on 8 virtual devices of the CPU: 4 groups of the data, with 2
parts of the model each. The first matrix is divided by its columns and the second by its rows. So
each device computes a part of every output, and an allreduce along ``model`` adds the parts up; one
along ``data`` averages the gradients. Each has a torus and a schedule of its own.
"""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from swing.integrations.jax import allreduce, explain

mesh = Mesh(np.array(jax.devices()[:8]).reshape(4, 2), ("data", "model"))
random = np.random.default_rng(2)
inputs = jnp.asarray(random.normal(size=(64, 16)), jnp.float32)
targets = jnp.asarray(random.normal(size=(64, 4)), jnp.float32)
first = jnp.asarray(random.normal(size=(16, 32)) / 4, jnp.float32)
second = jnp.asarray(random.normal(size=(32, 4)) / 6, jnp.float32)


def error(first, second, inputs, targets, add=lambda part: part):
    """The squared error of two layers; ``add`` adds up the parts of the output."""
    outputs = add(jnp.tanh(inputs @ first) @ second)
    return jnp.mean((outputs - targets) ** 2)


def device(first, second, inputs, targets):
    """One device's part of the error's gradient."""

    def add(part):
        return allreduce(part, "model", algorithm="swing", variant="latency")

    own = [lax.pcast(weights, "data", to="varying") for weights in (first, second)]
    value, gradients = jax.value_and_grad(error, argnums=(0, 1))(*own, inputs, targets, add)
    return allreduce((value, gradients), "data", algorithm="ring", op="mean")


by_columns, by_rows, rows = P(None, "model"), P("model", None), P("data")
divided = jax.jit(
    jax.shard_map(
        device,
        mesh=mesh,
        in_specs=(by_columns, by_rows, rows, rows),
        out_specs=(P(), (by_columns, by_rows)),
    )
)

value, gradients = divided(first, second, inputs, targets)
wanted = jax.value_and_grad(error, argnums=(0, 1))(first, second, inputs, targets)
pairs = zip(jax.tree.leaves((value, gradients)), jax.tree.leaves(wanted), strict=True)
print(f"error {float(value):.4f} on a mesh of 4 x 2 devices")
print("as on one device, to rounding:", all(bool(jnp.allclose(a, b, atol=1e-5)) for a, b in pairs))
part = jax.ShapeDtypeStruct((16, 16), jnp.float32)  # what a device has of the first matrix
print(explain(part, mesh, "data", algorithm="ring", op="mean"))
