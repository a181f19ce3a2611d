"""Old import paths work for one release, with a warning that names the new one."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import netsim
import swing

MOVED = {
    "swing.machines": ("swing.placement", ["gathered", "fugaku", "tpu"]),
    "swing.export": ("swing.formats", ["read", "write"]),
    "swing.compose": ("swing.build.combine", ["product", "with_allgather"]),
    "swing.build.combine": ("swing.build.parallel", ["parallel"]),
    "swing.build.parallel": ("swing.build.segments", ["segmented"]),
    "swing.line": ("swing.build.pattern", ["ring_line"]),
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_new_object_and_warns(old):
    new, names = MOVED[old]
    for name in names:
        with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
            assert getattr(import_module(old), name) is getattr(import_module(new), name)


def test_an_old_module_is_an_attribute_of_swing_too():
    code = "import warnings, swing; warnings.simplefilter('ignore'); print(swing.machines.tpu)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "function tpu" in done.stdout


def test_names_that_others_rely_on_are_there():
    for name in ("verify", "schedule", "explain", "deadlock", "choose", "allreduce", "alloc"):
        assert callable(getattr(swing, name))
        assert type(getattr(swing, name)).__name__ == "function"
    for name in ("topology", "graph", "without", "paper_network", "simulate", "lower_bound"):
        assert type(getattr(netsim, name)).__name__ == "function"
    assert {"Torus", "Report", "Step", "Op", "ALGORITHMS"} <= set(dir(swing))
    assert {"Network", "Run", "MODELS"} <= set(dir(netsim))
