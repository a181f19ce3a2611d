"""Devices get the bits that ranks under MPI get, for the same schedule and order of additions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mpi_bench.launcher import command
from swing.integrations import jax as sj
from tests.with_jax.devices import everywhere, mesh_of, mixed, variants

ROOT = Path(__file__).parent.parent.parent
RANKS, COUNT = 4, 203
DIMS = (2, 2)
PROGRAM = """
import sys
import ml_dtypes
import numpy as np
from mpi4py import MPI
import swing
from tests.cases import options_of

comm, torus = MPI.COMM_WORLD, swing.Torus({dims})
values, results = np.load(sys.argv[1]), dict()
for name in swing.ALGORITHMS:
    for i, options in enumerate(options_of(name, torus)):
        for dtype in (np.float32, ml_dtypes.bfloat16):
            vector = values[comm.rank].astype(dtype)
            swing.allreduce(comm, vector, algorithm=name, torus=torus, **options)
            results[f"{{name}} {{options}} {{np.dtype(dtype)}}"] = vector.view(np.uint8)
if comm.rank == 0:
    np.savez(sys.argv[2], **results)
"""


@pytest.fixture(scope="module")
def under_mpi(tmp_path_factory):
    """The values that ranks reduce, and the bytes of their results by algorithm and type."""
    pytest.importorskip("mpi4py")
    folder = tmp_path_factory.mktemp("mpi")
    values = mixed(RANKS, (COUNT,))
    np.save(folder / "values.npy", values)
    (folder / "program.py").write_text(PROGRAM.format(dims=DIMS))
    words = [sys.executable, "program.py", "values.npy", "results.npz"]
    argv, more = command(RANKS, words)
    env = os.environ | more | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return values, dict(np.load(folder / "results.npz"))


def test_results_have_the_bits_of_the_executor(under_mpi):
    values, results = under_mpi
    mesh = mesh_of(*DIMS)
    cases = [(n, o) for n, o in variants(DIMS) if "segments" not in o]
    for dtype in (np.float32, ml_dtypes.bfloat16):
        ours = everywhere(
            lambda v: [sj.allreduce(v, ("x", "y"), algorithm=name, **o) for name, o in cases],
            mesh,
            values.astype(dtype),
        )
        for (name, options), rows in zip(cases, ours, strict=True):
            wanted = results.pop(f"{name} {options} {np.dtype(dtype)}").tobytes()
            assert np.asarray(rows)[0].tobytes() == wanted, (name, options, dtype)
    assert not results
