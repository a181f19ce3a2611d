"""Data-parallel training in JAX, once with ``lax.pmean`` and once with a schedule of this library.

``python jax_training.py`` trains on 8 virtual devices of the CPU. On real devices, start it with
``XLA_FLAGS`` set to anything, and it takes all of them.

Every device has its own rows of the data and computes their gradient. The gradients of all devices
are averaged, and all devices take the same step.
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

STEPS, RATE = 20, 0.5

mesh = Mesh(np.array(jax.devices()), ("data",))
random = np.random.default_rng(1)
inputs = jnp.asarray(random.normal(size=(480, 32)), jnp.float32)
labels = jnp.asarray(inputs @ random.normal(size=32) > 0, jnp.float32)
start = {"weights": jnp.zeros(32), "bias": jnp.zeros(())}


def loss(parameters, inputs, labels):
    """The logistic loss of some rows."""
    scores = inputs @ parameters["weights"] + parameters["bias"]
    return jnp.mean(jnp.logaddexp(0.0, scores) - labels * scores)


def trainer(average):
    """Make a training step in which ``average`` averages a pytree over all devices."""

    def step(parameters, inputs, labels):
        # Each device differentiates by its own copy, so that JAX adds nothing up by itself.
        own = jax.tree.map(lambda p: lax.pcast(p, "data", to="varying"), parameters)
        value, gradient = jax.value_and_grad(loss)(own, inputs, labels)
        value, gradient = average((value, gradient))
        new = jax.tree.map(lambda p, g: p - RATE * g, parameters, gradient)
        return new, value

    rows = P("data")
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), rows, rows), out_specs=(P(), P()))
    return jax.jit(mapped)


swing_step = trainer(lambda tree: allreduce(tree, "data", op="mean"))
jax_step = trainer(lambda tree: lax.pmean(tree, "data"))

ours, theirs = start, start
agree, losses = True, []
for _ in range(STEPS):
    ours, value = swing_step(ours, inputs, labels)
    theirs, other = jax_step(theirs, inputs, labels)
    pairs = zip(jax.tree.leaves((ours, value)), jax.tree.leaves((theirs, other)), strict=True)
    agree &= all(bool(jnp.allclose(a, b, rtol=1e-4, atol=1e-6)) for a, b in pairs)
    losses.append(float(value))

copies = [np.asarray(shard.data).tobytes() for shard in ours["weights"].addressable_shards]
print(f"{mesh.size} devices: loss {losses[0]:.4f} to {losses[-1]:.4f}")
print(f"same bits on every device: {'yes' if len(set(copies)) == 1 else 'no'}")
print(f"as with lax.pmean in every step, to rounding: {agree}")
print(explain(ours["weights"], mesh, "data", op="mean"))
