"""README and docs show what happens: every example is run, every command too."""

from __future__ import annotations

import csv
import doctest
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest

import netsim
import swing
from mpi_bench.launcher import command

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`]+)`")
PROGRAMS = {
    "swing": "swing.__main__", "netsim": "netsim.__main__", "mpi_bench": "mpi_bench.cli",
    "mpi_bench.emulate": "mpi_bench.emulate.__main__",
}  # fmt: skip
"""The modules of which ``main`` is the program that ``python -m`` starts."""
ELSEWHERE = {
    ("README.md", "text"): ["test_docs.py::test_the_readme_names_what_is_where"],
    ("architecture.md", "text"): [
        "test_architecture.py::test_the_map_names_every_room_and_every_file",
    ],
    ("cluster.md", "text"): [
        "test_job_scripts.py::test_the_installation_ends_with_the_name_of_the_library",
        "test_job_scripts.py::test_the_first_job_shows_every_rank_and_measures_auto",
        "test_job_scripts.py::test_the_second_job_tunes_a_table_once_and_the_program_uses_it",
    ],
    ("extending.md", "text"): ["test_plugins.py::test_the_commands_of_the_page_run"],
    ("extending.md", "toml"): ["test_plugins.py::test_the_page_registers_the_example_as_it_does"],
    ("figures.md", "python"): ["test_docs.py::test_the_table_of_pandas"],
    ("gpus.md", "text"): ["test_device.py::test_the_program_of_the_page_runs"],
    ("jax.md", "python"): ["with_jax/test_pages.py::test_the_programs_of_the_page_run"],
    ("settings.md", "text"): ["test_settings.py::test_the_page_shows_the_table"],
    ("shell.md", "text"): [
        "test_shell.py::test_what_the_page_says_of_completion_gives_a_script",
    ],
}  # fmt: skip
"""The tests that run the blocks which the tests of this file do not gather from every page."""
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def blocks(path, language):
    return [text for kind, text in FENCE.findall(path.read_text()) if kind == language]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_examples_print_what_they_say(path):
    failed, _ = doctest.testfile(str(path), module_relative=False)
    assert failed == 0


def is_run_here(kind, text):
    """Whether the tests below run the block of this kind on any page."""
    example = kind == "python" and (">>>" in text or "MPI.COMM_WORLD" in text)
    return example or kind == "sh" or kind.startswith("{")  # a directive is no code


def prose(path):
    """What is left of a page without its blocks and directives."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_every_block_is_run_by_a_test():
    elsewhere = set()
    for path in PAGES:
        text = path.read_text()
        kinds = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        elsewhere |= {(path.name, kind) for kind, code in kinds if not is_run_here(kind, code)}
        assert not re.search(r"\n\n    \S", prose(path)), f"{path.name}: fence its indented block"
    assert elsewhere == set(ELSEWHERE)
    for test in (test for tests in ELSEWHERE.values() for test in tests):
        file, name = test.split("::")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), test


def is_known(module, words):
    """Whether a command line within a sentence has a program, commands and options that exist."""
    if module not in PROGRAMS:
        return (ROOT / f"{module.replace('.', '/')}.py").exists()
    if module.startswith("mpi_bench"):
        pytest.importorskip("mpi4py")
    commands = [importlib.import_module(PROGRAMS[module]).main]
    if isinstance(commands[0], click.Group) and words and not words[0].startswith("-"):
        commands = [commands[0].commands.get(name) for name in words[0].split("|")]
    options = {word for word in words if word.startswith("--")}
    return all(c and options <= {o for p in c.params for o in p.opts} for c in commands)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_commands_within_a_sentence_name_what_exists(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    makefile = (ROOT / "Makefile").read_text()
    for code in INLINE.findall(prose(path)):
        code = " ".join(code.split())
        if found := re.search(r"python -m ((?:swing|netsim|mpi_bench|tests)\S*)(.*)", code):
            assert is_known(found[1], found[2].split()), code
        elif found := re.search(r"python (examples/\S+)", code):
            assert (ROOT / found[1]).exists(), code
        elif found := re.fullmatch(r"make (?:\w+=\S+ )?([\w-]+)", code):
            assert re.search(rf"^{found[1]}:", makefile, re.MULTILINE), code
        elif found := re.fullmatch(r'pip install "\.\[(.*)\]"', code):
            assert set(found[1].split(",")) <= set(project["optional-dependencies"]), code


def test_the_readme_names_what_is_where():
    (text,) = blocks(ROOT / "README.md", "text")
    for line in text.splitlines():
        first, *others = re.split(r"  +", line)[0].split(", ")
        assert (ROOT / first).exists(), line
        for name in others:
            near = [(ROOT / base / name) for base in (".", Path(first).parent)]
            assert any(p.exists() or p.with_suffix(".py").exists() for p in near), line


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_within_the_project_lead_somewhere(path):
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_description_of_the_package_has_no_address_in_the_repository():
    """An index shows the description without the repository around it."""
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"][
        "hooks"
    ]
    text = (ROOT / "README.md").read_text()
    assert LINK.search(text)
    for rule in hook["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert not LINK.search(text)
    assert "](https://" in text
    assert "architecture.md describes every file" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_no_page_promises_a_package_on_an_index(path):
    assert not re.search(r"pip install \S*torus-swing", path.read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Runs a line once, however many pages show it; what it writes is there for later lines.

    ``done.folder`` is where.
    """
    folder = tmp_path_factory.mktemp("commands")

    @cache
    def call(line):
        words, env = shlex.split(line, comments=True), {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            env[name] = value
        if words[0].startswith("mpiexec"):
            pytest.importorskip("mpi4py")
            words, started = command(int(words[2]), [sys.executable, *words[4:]])
            env |= started
        else:
            assert words[0] == "python", line
            words[0] = sys.executable
        modules = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            words, cwd=folder, env=os.environ | env | {"PYTHONPATH": modules},
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip

    call.folder = folder
    return call


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_commands_run(path, done):
    makefile = (ROOT / "Makefile").read_text()
    for line in (line for block in blocks(path, "sh") for line in block.splitlines()):
        words = shlex.split(line, comments=True)
        if words[:1] == [".ci/run"]:
            assert (ROOT / words[0]).exists()
        elif words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words:
            done(line)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_programs_run_under_mpiexec(path, tmp_path):
    programs = [text for text in blocks(path, "python") if "MPI.COMM_WORLD" in text]
    if programs:
        pytest.importorskip("mpi4py")
    for number, program in enumerate(programs):
        if "import torch" in program:
            pytest.importorskip("torch")
        file = tmp_path / f"program{number}.py"
        file.write_text(program)
        argv, env = command(2, [sys.executable, str(file)])
        subprocess.run(argv, env=os.environ | env, check=True, timeout=100)


def test_the_table_of_pandas(done):
    pytest.importorskip("pandas")
    page = ROOT / "docs" / "figures.md"
    done(blocks(page, "sh")[0].strip())
    (program,) = (text for text in blocks(page, "python") if "import pandas" in text)
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=done.folder, check=True, capture_output=True, text=True
    )
    _, table = ran.stdout.split("nbytes,")
    _, *rows = table.split()
    assert len(rows) == 5
    for _, *multiples in csv.reader(rows):
        assert min(map(float, multiples)) == 1


def test_the_reference_has_every_public_name():
    for package in (swing, netsim):
        page = (ROOT / "docs" / "api" / f"{package.__name__}.md").read_text()
        for name in package.__all__:
            if not inspect.ismodule(getattr(package, name)):
                assert re.search(rf"^\.\. \S+:: {name}$", page, re.MULTILINE), name


def test_the_reference_has_every_command():
    page = (ROOT / "docs" / "commands.md").read_text()
    assert set(re.findall(r":prog: python -m (\S+)", page)) == {
        "swing", "netsim", "mpi_bench", "mpi_bench.emulate"
    }  # fmt: skip


def test_every_page_is_in_the_contents():
    index = (ROOT / "docs" / "index.md").read_text()
    for path in sorted((ROOT / "docs").glob("*.md")):
        assert path.stem == "index" or f"\n{path.stem}\n" in index, path.name


def test_the_site_builds_without_a_warning(tmp_path):
    sphinx = shutil.which("sphinx-build", path=str(Path(sys.executable).parent))
    if not sphinx:
        pytest.skip("sphinx is not installed: make docs builds the site")
    subprocess.run([sphinx, "-W", "-q", ROOT / "docs", tmp_path], check=True, timeout=300)
