"""Programs that use JAX do what they say: the documentation, the examples, the benchmark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run(*words, virtual=8, code=0):
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={virtual}",
    }
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_programs_of_the_page_run(tmp_path):
    """The second and third are parts of a program on a mesh of two axes, here without a TPU."""
    whole, call, time = FENCE.findall((ROOT / "docs" / "jax.md").read_text())
    around = f"""
import netsim
from swing.integrations.jax import explain, torus_of

mesh = jax.make_mesh((4, 8), ("x", "y"))

@jax.shard_map(mesh=mesh, in_specs=P(), out_specs=P())
def summed(gradient):
{indent(call, "    ")}
    return total

print(summed(np.full(3, 0.5, np.float32)))
"""
    kind = "mesh.devices.flat[0].device_kind"
    assert kind in time
    file = tmp_path / "program.py"
    file.write_text(whole + around + time.replace(kind, "'TPU v4'"))
    mean, total, seconds = run(file, virtual=32).splitlines()
    assert mean == "[1. 1. 1. 1. 1.]"
    assert total == "[16. 16. 16.]"
    assert 0 < float(seconds) < 1


def test_training_is_as_with_lax():
    said = run(ROOT / "examples" / "jax_training.py")
    assert "8 devices: loss 0.6931 to 0.2" in said
    assert "same bits on every device: yes" in said
    assert "as with lax.pmean in every step, to rounding: True" in said


def test_data_and_model_axes_are_as_on_one_device():
    assert "as on one device, to rounding: True" in run(ROOT / "examples" / "jax_data_model.py")


BENCH = ("-m", "mpi_bench.jax", "--sizes", "32B,2KiB", "--iterations", 2)


def test_benchmark_rows_are_those_of_mpi_bench_and_right(tmp_path):
    file = tmp_path / "rows.csv"
    words = (*BENCH, "--algorithm", "ring,ports=2", "--algorithm", "auto")
    said = run(*words, "--topology", "torus:2x2", "--json", "--csv", file)
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["algorithm"] for row in rows] == ["psum", "ring", "auto"] * 2
    assert all(row["wrong"] == 0 and row["ranks"] == 4 for row in rows)
    assert len(file.read_text().splitlines()) == 7
    table = run(*words, "--virtual", 3)
    assert "torus:3, float32 sum, jax" in table
    assert "time/psum" in table


@pytest.mark.parametrize(("dtype", "devices"), [("bfloat16", 40), ("float16", 300)])
def test_sums_over_many_devices_are_exact_in_short_types(dtype, devices):
    words = ("--dtype", dtype, "--virtual", devices, "--algorithm", "recursive_doubling")
    for line in run(*BENCH[:2], "--sizes", "64B", "--iterations", 1, *words, "--json").splitlines():
        assert json.loads(line)["wrong"] == 0


def test_the_benchmark_says_how_it_is_called_and_its_version():
    assert run(*BENCH[:2], "-h").startswith("Usage:")
    assert run(*BENCH[:2], "--version").startswith("torus-swing ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--topology", "torus:3x3"), "there are 8 devices: pass --virtual 9"),
        (("--algorithm", "swin"), "no algorithm 'swin'"),
        (("--algorithm", "ring,ports=3"), "ring uses 1 or 2 ports, not 3"),
        (("--csv", "no/such/folder/rows.csv"), "folder"),
        (("--sizes", "1B,7B"), "1 B is no whole number of elements"),
        (("--dtype", "float16", "--sizes", "8B,3B"), "choose --sizes divisible by 2"),
        (("--dtype", "bfloat16", "--virtual", 257), "choose up to 256 devices"),
    ],
)
def test_wrong_options_of_the_benchmark(words, message):
    said = run(*BENCH, *words, code=2)
    assert message in said
    assert len(said.splitlines()) == 1
