"""What XLA compiles: few collective permutes, small programs, and no other collective."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import swing
from swing.integrations import jax as sj
from swing.integrations.jax.lowering import lower
from tests.with_jax.devices import defaults, mesh_of, variants

ROOT = Path(__file__).parent.parent.parent
OTHERS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-broadcast")


def busiest(schedule):
    """For each step, the sum over parts of the most messages that a rank sends or receives."""
    for step in schedule:
        yield sum(
            max(
                np.bincount(ends[step.part == part]).max(initial=0) for ends in (step.src, step.dst)
            )
            for part in range(len(schedule.parts))
        )


def compiled(schedule, mesh):
    """The text that XLA has made of an allreduce."""
    mapped = jax.shard_map(
        lambda v: sj.allreduce(v[0], mesh.axis_names, algorithm=schedule),
        mesh=mesh, in_specs=P(mesh.axis_names), out_specs=P(),
    )  # fmt: skip
    shape = jax.ShapeDtypeStruct((schedule.torus.size, 480), np.float32)
    return jax.jit(mapped).lower(shape).compile().as_text()


def check(dims, name, options):
    schedule = swing.schedule(name, swing.Torus(dims), **options)
    text = compiled(schedule, mesh_of(*dims))
    assert not any(f" {other}(" in text for other in OTHERS)
    program, counts = lower(schedule, True), list(busiest(schedule))
    assert text.count(" collective-permute(") == program.npermutes
    # The runs cover all steps that have messages, and a run is compiled once.
    nsteps = [len(run.steps) for run in program.runs]
    assert sum(n * run.npermutes for n, run in zip(nsteps, program.runs, strict=True)) == sum(
        counts
    )
    if max(nsteps, default=1) == 1:
        assert program.npermutes == sum(counts)


@pytest.mark.parametrize("name", ["swing", "trivance", "windows", "hamiltonian"])
def test_a_step_has_as_many_permutes_as_the_busiest_rank_has_messages(name):
    check((2, 3) if name != "hamiltonian" else (4, 2), name, {})


@pytest.mark.nightly
@pytest.mark.parametrize("dims", [(15,), (16,), (4, 4), (2, 3)], ids=str)
def test_every_variant_has_as_many_permutes_as_the_busiest_rank_has_messages(dims):
    for name, options in variants(dims):
        check(dims, name, options)


@pytest.mark.parametrize("name", ["ring", "bucket"])
def test_a_ring_of_any_length_is_two_loops(name):
    for p in (8, 16, 64):
        schedule = swing.schedule(name, swing.Torus(p), ports=1)
        program = lower(schedule, True)
        assert program.npermutes == 2
        assert [len(run.steps) for run in program.runs] == [p - 1, p - 1]


def test_swing_on_even_sizes_sends_once_a_step_and_part():
    for dims in ((16,), (4, 4), (6,), (4, 6)):
        schedule = swing.schedule("swing", swing.Torus(dims))
        active = sum(len(np.unique(step.part)) for step in schedule)
        assert lower(schedule, True).npermutes == active


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name, _ in defaults((4, 4))])
def test_sixteen_devices_compile_in_ten_seconds(name):
    start = time.perf_counter()
    compiled(swing.schedule(name, swing.Torus((4, 4))), mesh_of(4, 4))
    assert time.perf_counter() - start < 10


LARGE = """
import time
import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec as P
import swing
from swing.integrations import jax as sj

mesh = Mesh(np.array(jax.devices()), "x")
start = time.perf_counter()
mapped = jax.shard_map(
    lambda v: sj.allreduce(v[0], "x", algorithm="{name}"), mesh=mesh, in_specs=P("x"), out_specs=P()
)
jax.jit(mapped).lower(jax.ShapeDtypeStruct(({p}, 4 * {p}), np.float32)).compile()
print(time.perf_counter() - start)
"""


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "p"), [("ring", 512), ("swing", 1024)])
def test_large_meshes_compile_in_twenty_seconds(name, p):
    env = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={p}", "PYTHONPATH": str(ROOT)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LARGE.format(name=name, p=p)],
        env=env, capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    assert float(done.stdout) < 20
