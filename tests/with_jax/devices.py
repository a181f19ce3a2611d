"""Meshes of virtual devices, and functions that run on every device of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import swing
from tests.cases import options_of

SHAPES = {
    2: [(2,)], 3: [(3,)], 4: [(4,), (2, 2)], 6: [(6,), (2, 3)], 8: [(8,), (2, 4), (2, 2, 2)],
    15: [(15,), (3, 5)], 16: [(16,), (4, 4), (2, 8), (2, 2, 2, 2)],
}  # fmt: skip
"""The tori on each number of devices."""

SAMPLE = [(4,), (2, 3)]
"""The tori of the short tests: one on 4 devices and one on 6."""


def mesh_of(*dims: int) -> Mesh:
    """A mesh with axes x, y, … of the given sizes."""
    n = int(np.prod(dims))
    return Mesh(np.array(jax.devices()[:n]).reshape(dims), tuple("xyzw"[: len(dims)]))


def on_devices(function: Any, mesh: Mesh, *, check_vma: bool = True) -> Any:
    """Make a function that runs on every device, with the device's row of each argument.

    It returns the rows of all results. The axes of the mesh are numbered row by row, as
    ``lax.axis_index`` numbers them.
    """
    rows = P(mesh.axis_names)

    def device(*own: Any) -> Any:
        results = function(*jax.tree.map(lambda v: v[0], own))
        return jax.tree.map(lambda y: jnp.asarray(y)[None], results)

    return jax.jit(
        jax.shard_map(device, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=check_vma)
    )


def everywhere(function: Any, mesh: Mesh, *values: Any, check_vma: bool = True) -> Any:
    """Run a function once with `on_devices`."""
    return on_devices(function, mesh, check_vma=check_vma)(*values)


def numbers(n: int, shape: Sequence[int], dtype: Any = np.int32, seed: int = 0) -> Any:
    """(n, *shape) whole numbers of each device, small enough for any type's sum."""
    drawn = np.random.default_rng(seed).integers(0, 7, (n, *shape))
    return jnp.asarray(drawn).astype(dtype)


def mixed(n: int, shape: Sequence[int], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """(n, *shape) numbers whose sum depends on the order of the additions."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, *shape)) * 10.0 ** rng.integers(-3, 4, (n, *shape))
    return values.astype(dtype)


def differing(rows: Any) -> int:
    """The number of devices whose result has other bits than that of the first."""
    bits = [np.asarray(row).tobytes() for row in rows]
    return sum(each != bits[0] for each in bits)


def defaults(dims: Sequence[int]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each algorithm that runs on a torus, with its default options."""
    for name in swing.ALGORITHMS:
        try:
            swing.schedule(name, swing.Torus(dims))
        except ValueError:
            continue
        yield name, {}


def variants(dims: Sequence[int]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each algorithm that runs on a torus, with each variant, one port and all ports."""
    for name in swing.ALGORITHMS:
        for options in options_of(name, swing.Torus(dims)):
            yield name, options
        if name in ("ring", "bucket"):
            yield name, {"segments": 2}
