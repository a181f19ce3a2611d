"""What of the JAX integration needs no JAX: importing it, and what it says."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import netsim

ROOT = Path(__file__).parent.parent
without_jax = pytest.mark.skipif(bool(find_spec("jax")), reason="JAX is installed")


def test_importing_it_imports_no_jax():
    code = "import sys, swing.integrations.jax, mpi_bench.jax; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@without_jax
def test_a_call_says_what_to_install():
    from swing.integrations.jax import allreduce

    with pytest.raises(ImportError, match=r'pip install "torus-swing\[jax\]"'):
        allreduce(np.ones(3), "x")


@without_jax
def test_the_benchmark_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-m", "mpi_bench.jax"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: this benchmark needs JAX: pip install 'torus-swing[jax]'\n"


def test_networks_of_tpus_are_known_by_the_kind_of_device():
    network = netsim.tpu_network("TPU v5 lite", "torus:4x4")
    assert network.bandwidth == 5e10
    with pytest.raises(ValueError, match="no network of device 'cpu': choose from TPU v3"):
        netsim.tpu_network("cpu", "torus:4x4")
