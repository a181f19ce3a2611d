"""Compiled code runs without a cache where none can be written, and says so once."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from mpi_bench.launcher import command
from swing.compilation import collector_paused

# numba tries a folder by a temporary file; a test may run as root, who can write anywhere.
NOWHERE = """
import tempfile

def refuse(*_, **__):
    raise PermissionError

tempfile.TemporaryFile = refuse
"""
SIMULATE = (
    NOWHERE
    + """
import sys, netsim.__main__ as n
from swing.cli import invoke
words = "sweep --topology torus:2x2 --sizes 1KiB --jobs 2 --json --model".split()
sys.exit(invoke(n.main, "python -m netsim", [*words, sys.argv[1]]))
"""
)
REDUCE = (
    NOWHERE
    + """
import numpy as np, swing
from mpi4py import MPI
vector = np.ones(5)
swing.allreduce(MPI.COMM_WORLD, vector)
print(vector.sum(), swing.explain(MPI.COMM_WORLD, vector).engine)
"""
)


@pytest.mark.parametrize("model", ["flow", "packet"])
def test_models_run_uncached_with_one_warning(model):
    done = subprocess.run(
        [sys.executable, "-c", SIMULATE, model], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f'"model": "{model}"') > 5
    assert done.stderr.count("UncachedWarning: ") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_ranks_run_uncached_with_one_warning():
    pytest.importorskip("mpi4py")
    argv, more = command(2, [sys.executable, "-c", REDUCE])
    words = ["env", *(f"{k}={v}" for k, v in more.items()), *argv]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("10.0"), done.stdout.count("compiled")) == (2, 2)
    assert done.stderr.count("UncachedWarning: ") == 1


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was(was_enabled: bool) -> None:
    """Objects made while it is paused are collected later, like all others."""
    (gc.enable if was_enabled else gc.disable)()
    try:
        with collector_paused():
            cycle = Cycle()
            assert not gc.isenabled()
        assert gc.isenabled() == was_enabled
        assert gc.get_freeze_count() == 0
        alive = weakref.ref(cycle)
        del cycle
        gc.collect()
        assert alive() is None
    finally:
        gc.enable()


class Cycle:
    """An object that only the collector frees."""

    def __init__(self) -> None:
        self.itself = self
