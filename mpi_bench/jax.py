"""Time allreduces in JAX beside ``lax.psum`` on whatever devices: ``python -m mpi_bench.jax``.

JAX is imported when the command runs, after the number of virtual devices has been set.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import click
import numpy as np

from mpi_bench.formats import Json, Table
from mpi_bench.report import MeasuredRow
from netsim.rows import CsvFile
from swing import ALGORITHMS, Torus
from swing.algorithms.spelling import parse, spell
from swing.checks import unknown
from swing.cli import HELP, JSON, invoke
from swing.formats.files import check_writable
from swing.parameters import SIZES, TORUS
from swing.select.choose import schedule
from swing.sizes import format_size

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2, "int32": 4, "int8": 1}
"""Bytes of an element, by its type."""
EXACT = {"bfloat16": 2**8, "float16": 2**11}
"""Whole numbers up to these are exact in the short types; int8 wraps around, exactly too."""
PERIOD = 8191
"""Vectors repeat after this many elements: a prime, so that a misplaced block is noticed."""
SECONDS, MIN_ROUNDS, MAX_ROUNDS = 2.0, 3, 200
"""Without ``--iterations``, rounds repeat for this long, within these limits."""


@dataclass(frozen=True)
class Method:
    """An allreduce to measure: ``lax.psum``, or an algorithm with its options."""

    algorithm: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The algorithm with its options, as command lines take it."""
        return spell(self.algorithm, dict(self.options))

    def ports(self, torus: Torus) -> int | None:
        """Return the number of parts of its schedule; None if it has no schedule of its own."""
        if self.algorithm in ("psum", "auto"):
            return None
        return len(schedule(self.algorithm, torus, **dict(self.options)).parts)


@click.command(context_settings=HELP)
@click.version_option(package_name="torus-swing", message="torus-swing %(version)s")
@click.option("--topology", "torus", type=TORUS,
              help="The torus, such as torus:2x4; by default, a ring of all devices.")  # fmt: skip
@click.option("--virtual", type=click.IntRange(1, 1024),
              help="Use this many virtual devices of the CPU.")  # fmt: skip
@click.option("--algorithm", "names", multiple=True, default=["all"], show_default=True,
              help="An algorithm, with options as in bucket,segments=6; or auto, or all; may be "
              "repeated.")  # fmt: skip
@click.option("--sizes", type=SIZES, default="4KiB,1MiB,64MiB",
              show_default=True, help="Sizes of each device's vector, in bytes.")  # fmt: skip
@click.option("--dtype", type=click.Choice(list(ITEMSIZE)), default="float32", show_default=True,
              help="Type of the elements.")  # fmt: skip
@click.option("--iterations", type=click.IntRange(1),
              help=f"By default, as many as fit into {SECONDS:g} s per size.")  # fmt: skip
@JSON
@click.option("--csv", "path", type=click.Path(dir_okay=False),
              help="Also write the rows to this file.")  # fmt: skip
def main(
    torus: Torus | None, virtual: int | None, names: tuple[str, ...], sizes: list[int], dtype: str,
    iterations: int | None, as_json: bool, path: str | None,
) -> int:  # fmt: skip
    """Time allreduce algorithms in JAX beside ``lax.psum``, and check every answer.

    The exit status is 1 if an answer is wrong.
    """
    try:
        mesh, torus = _mesh(torus, virtual)
        methods = _methods(names, torus)
        _check(sizes, dtype, torus.size)
        if path:
            check_writable(path)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None
    about = _about(mesh)
    if not as_json:
        print(f"# {torus.name}, {dtype} sum, {about['mpi']}, {about['software']}")
    printer = (Json if as_json else Table)([method.name for method in methods], "time/psum")
    print(*printer.head(), sep="\n", end="" if as_json else "\n", flush=True)
    wrong, file = 0, CsvFile(path) if path else None
    for nbytes in sizes:
        rows = _measure(mesh, torus, methods, nbytes, dtype, iterations, about)
        print(*printer.rows(rows), sep="\n", flush=True)
        wrong += sum(row.wrong or 0 for row in rows)
        if file:  # written at once, so that an interrupted run keeps its rows
            file.add([asdict(row) for row in rows])
    return int(wrong > 0)


def _mesh(torus: Torus | None, virtual: int | None) -> tuple[Any, Torus]:
    """Make a mesh of the first devices, with one axis per dimension of the torus.

    Raises:
        ValueError: JAX is missing, or there are too few devices.
    """
    if not find_spec("jax"):
        raise ValueError("this benchmark needs JAX: pip install 'torus-swing[jax]'")
    if virtual:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={virtual}"
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    devices = jax.devices()
    torus = torus or Torus(len(devices))
    if torus.size > len(devices):
        raise ValueError(
            f"torus {torus} has {torus.size} ranks, but there are {len(devices)} devices: "
            f"pass --virtual {torus.size}, or a smaller --topology"
        )
    grid = np.array(devices[: torus.size]).reshape(torus.dims)
    return jax.sharding.Mesh(grid, tuple(f"d{j}" for j in range(grid.ndim))), torus


def _methods(names: Iterable[str], torus: Torus) -> list[Method]:
    """Return ``lax.psum``, then the named algorithms, each once.

    Raises:
        ValueError: an unknown name, or an algorithm named alone that cannot serve the torus.
    """
    methods = [Method("psum")]
    for text in names:
        name, options = parse(text)
        if name not in (*ALGORITHMS, "all", "auto"):
            raise unknown("algorithm", name, [*ALGORITHMS, "all", "auto"])
        for algorithm in [*ALGORITHMS, "auto"] if name == "all" else [name]:
            method = Method(algorithm, tuple(options.items()))
            try:
                method.ports(torus)
            except ValueError:
                if name != "all":  # "all" means those that can serve the torus
                    raise
            else:
                methods.append(method)
    return list(dict.fromkeys(methods))


def _check(sizes: Iterable[int], dtype: str, p: int) -> None:
    """Check that vectors have whole elements, and that sums over ``p`` devices are exact.

    Raises:
        ValueError: they have not, or are not.
    """
    itemsize = ITEMSIZE[dtype]
    for size in sizes:
        if size % itemsize:
            raise ValueError(
                f"{format_size(size)} is no whole number of elements: "
                f"choose --sizes divisible by {itemsize}, or another --dtype"
            )
    if p > EXACT.get(dtype, p):
        raise ValueError(
            f"sums over {p} devices are not exact in {dtype}, so answers could not be checked: "
            f"choose up to {EXACT[dtype]} devices, or another --dtype"
        )


def _drawn(dtype: str, p: int) -> np.ndarray:
    """Return (p, PERIOD) whole numbers whose partial sums over the devices are exact."""
    most = max(1, min(7, EXACT.get(dtype, 7 * p) // p))
    return np.stack([np.random.default_rng(r).integers(1, most + 1, PERIOD) for r in range(p)])


def _measure(
    mesh: Any, torus: Torus, methods: Sequence[Method], nbytes: int, dtype: str,
    iterations: int | None, about: dict[str, Any],
) -> list[MeasuredRow]:  # fmt: skip
    """Measure each method on vectors of ``nbytes``; methods take turns in every round."""
    import jax
    from jax import numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    kind = jnp.dtype(dtype)
    count = nbytes // kind.itemsize
    drawn = _drawn(dtype, torus.size)
    answer = np.resize(drawn.sum(axis=0).astype(kind), count)
    drawn = drawn.astype(kind)
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    vectors = jax.device_put(np.stack([np.resize(row, count) for row in drawn]), sharding)
    calls = [_compiled(method, mesh, torus, vectors) for method in methods]
    wrong = []
    for call in calls:  # also the warm-up
        results = [np.asarray(shard.data)[0] for shard in call(vectors).addressable_shards]
        wrong.append(int(sum(np.count_nonzero(result != answer) for result in results)))
    seconds: list[list[float]] = [[] for _ in calls]
    at_least, at_most = (iterations, iterations) if iterations else (MIN_ROUNDS, MAX_ROUNDS)
    begin = time.perf_counter()
    for k in range(at_most):
        if k >= at_least and time.perf_counter() - begin > SECONDS:
            break
        for i in range(len(calls)):
            m = (i + k) % len(calls)
            start = time.perf_counter()
            calls[m](vectors).block_until_ready()
            seconds[m].append(time.perf_counter() - start)
    return [
        MeasuredRow.timed(
            np.array(times), nbytes, torus.size, topology=torus.name, algorithm=method.algorithm,
            variant=str(dict(ran.options).get("variant", "")), ports=ran.ports(torus), dtype=dtype,
            op="sum", wrong=bad, options=json.dumps(dict(ran.options)), ran=ran.name, **about,
        )
        for method, times, bad in zip(methods, seconds, wrong, strict=True)
        for ran in [_chosen(method, mesh, count, dtype)]
    ]  # fmt: skip


def _chosen(method: Method, mesh: Any, count: int, dtype: str) -> Method:
    """Return the method, or the algorithm that "auto" chooses for vectors of ``count`` elements."""
    if method.algorithm != "auto":
        return method
    import jax

    from swing.integrations.jax import explain

    told = explain(jax.ShapeDtypeStruct((count,), dtype), mesh, mesh.axis_names)
    name, options = parse(told.algorithm)
    return Method(name, tuple(options.items()))


def _compiled(method: Method, mesh: Any, torus: Torus, vectors: Any) -> Callable[[Any], Any]:
    """Compile a method: (p, n) vectors to (p, n) results, a row on each device."""
    import jax
    from jax import lax
    from jax.sharding import PartitionSpec

    from swing.integrations.jax import allreduce

    axes = mesh.axis_names

    def device(row: Any) -> Any:
        if method.algorithm == "psum":
            return lax.psum(row, axes)
        options = dict(method.options)
        return allreduce(row, axes, torus=torus, algorithm=method.algorithm, **options)

    rows = PartitionSpec(axes)
    mapped = jax.shard_map(device, mesh=mesh, in_specs=rows, out_specs=rows)
    compiled: Callable[[Any], Any] = jax.jit(mapped).lower(vectors).compile()
    return compiled


def _about(mesh: Any) -> dict[str, Any]:
    """Return the columns that describe the devices and the software."""
    import jax

    device = mesh.devices.flat[0]
    return {
        "mpi": f"jax {jax.__version__} on {mesh.devices.size} {device.device_kind} devices",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        "software": f"numpy {np.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    sys.exit(invoke(main, "python -m mpi_bench.jax"))
