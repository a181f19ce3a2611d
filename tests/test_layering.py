"""Imports follow the arrows of the design."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oldest import constraints

ROOT = Path(__file__).parent.parent
COMMAND_LINES = {
    f"netsim/{name}.py"
    for name in ("__main__", "options", "sweep", "best", "measured", "report/command")
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            assert node.names[0].name != "*", path


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def inside(name, *packages):
    return any(name == p or name.startswith(p + ".") for p in packages)


@pytest.mark.parametrize("path", modules("swing"), ids=lambda p: str(p.relative_to(ROOT)))
def test_swing_knows_neither_simulator_nor_benchmark(path):
    assert not [name for name in imports(path) if inside(name, "netsim", "mpi_bench")]


@pytest.mark.parametrize("path", modules("netsim"), ids=lambda p: str(p.relative_to(ROOT)))
def test_netsim_knows_schedules_but_no_algorithm(path):
    if str(path.relative_to(ROOT)) not in COMMAND_LINES:
        used = {name for name in imports(path) if inside(name, "swing", "mpi_bench")}
        assert used <= {"swing.torus", "swing.schedule", "swing.files", "swing.compilation"}


@pytest.mark.parametrize("package", ["swing", "netsim"])
def test_only_the_executor_knows_mpi_and_cupy(package):
    for path in modules(package):
        if "executor" not in path.parts:
            assert not [n for n in imports(path) if inside(n, "mpi4py", "cupy")], path


def test_import_starts_no_mpi():
    code = "import sys, swing, netsim; print([m for m in ('mpi4py', 'cupy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_dependency_states_a_lower_bound_that_can_be_tested():
    lines = constraints((ROOT / "pyproject.toml").read_text())
    assert len(lines) >= 14
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in lines)
    with pytest.raises(ValueError, match="click has no lower bound"):
        constraints((ROOT / "pyproject.toml").read_text().replace('"click>=8.2"', '"click"'))
