"""Imports follow the arrows of the design."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import types

import pytest

from swing.algorithms import SHIPPED
from tests.architecture import (
    PAGE,
    ROOMS,
    ROOT,
    arrows,
    circles,
    file_map,
    imports,
    modules,
    room_of,
)  # fmt: skip
from tests.oldest import constraints

ORDER = list(ROOMS)
KNOWN_TO_NETSIM = (
    "swing.schedules", "swing.torus", "swing.ring", "swing.checks", "swing.sizes", "swing.svg",
    "swing.compilation", "swing.formats.files",
)  # fmt: skip


def inside(name, *packages):
    return any(name == p or name.startswith(p + ".") for p in packages)


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module):
    here = ORDER.index(room_of(modules()[module]))
    upwards = [m for m in imports(module) if ORDER.index(room_of(modules()[m])) < here]
    assert not upwards


def test_the_map_names_every_room_and_every_file():
    """`python -m tests.architecture --write` renews the list of files."""
    page = PAGE.read_text()
    assert page.endswith("\n\n" + file_map())
    picture = page.split("```text")[2].partition("```")[0]
    assert [line.split()[0].rstrip(",") for line in picture.splitlines() if line] == ORDER


def test_no_import_makes_a_circle():
    assert circles() == []


def test_every_line_of_the_table_is_a_room():
    rooms = {room_of(path) for path in modules().values()}
    assert rooms == set(ORDER)
    assert {room for arrow in arrows() for room in arrow} <= rooms


@pytest.mark.parametrize("module", modules())
def test_no_function_hides_a_module(module):
    """A package's attribute with the name of one of its modules is that module."""
    package, _, name = module.rpartition(".")
    if package:
        found = getattr(importlib.import_module(package), name, None)
        assert found is None or isinstance(found, types.ModuleType)


@pytest.mark.parametrize("module", [m for m in modules() if inside(m, "netsim")])
def test_netsim_knows_schedules_but_no_algorithm(module):
    if not inside(module, "netsim.cli", "netsim.search", "netsim.__main__"):
        # Each algorithm states the style of its curve in figures.
        known = (*KNOWN_TO_NETSIM, *["swing.algorithms"] * inside(module, "netsim.plot"))
        assert all(inside(name, "netsim", *known) for name in imports(module))


@pytest.mark.parametrize("module", [m for m in modules() if not inside(m, "swing.algorithms")])
def test_what_holds_for_one_algorithm_is_stated_in_its_file(module):
    """Nothing else compares names of algorithms, or has a table of them."""
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        parts = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key]
        elif isinstance(node, ast.Set):
            parts = node.elts
        parts += [e for part in parts if isinstance(part, ast.Tuple) for e in part.elts]
        assert not {p.value for p in parts if isinstance(p, ast.Constant)} & SHIPPED.keys()


def test_only_the_executor_knows_mpi_and_only_its_gpu_folder_cupy():
    for module, path in modules().items():
        text, name = path.read_text(), path.relative_to(ROOT).as_posix()
        if not name.startswith(("swing/executor/", "mpi_bench/")):
            assert not re.search(r"^\s*(import|from) mpi4py\b(?!\.futures)", text, re.M), module
        if not name.startswith("swing/executor/gpu/"):
            assert not re.search(r"^\s*(import|from) cupy\b", text, re.M), module


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
