"""Algorithms of other packages: found by name, and everything works on them."""

from __future__ import annotations

import doctest
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import netsim
import swing
import swing.__main__
from mpi_bench.launcher import command
from netsim import plot
from netsim.__main__ import main
from netsim.report.data import describe
from netsim.report.page import page
from swing import formats
from swing.algorithms import SHIPPED
from swing.algorithms.plugins import GROUP
from swing.cli import invoke
from swing.formats.rules import RING, Rule, built_in
from tests.test_docs import blocks

EXAMPLE = Path(__file__).parent.parent / "examples" / "ring_of_rings"
PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


def install(folder, name, points, code=""):
    """What an installed package leaves behind."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {target}\n" for point, target in points.items()]
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + "".join(lines))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example, found as if pip had installed it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(tmp_path, "ring_of_rings", project["entry-points"][GROUP])
    shutil.copy(EXAMPLE / "ring_of_rings.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("ring_of_rings", None)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    points = {
        "absent": "no_such_module_of_mine:f", "raises": "broken:raises", "number": "broken:number",
        "nothing": "broken:nothing", "swing": "broken:nothing",
    }  # fmt: skip
    code = "number = 5\ndef nothing(torus): return None\ndef __getattr__(name): raise OSError(name)"
    install(tmp_path, "broken", points, code)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("broken", None)


def test_nothing_is_imported_before_it_is_asked_for(installed):
    assert list(swing.ALGORITHMS) == [*SHIPPED, "ring_of_rings"]
    assert "ring_of_rings" in swing.ALGORITHMS
    assert "ring_of_rings" not in sys.modules
    assert swing.schedule("ring_of_rings", swing.Torus((3, 4))).name == "ring_of_rings"
    assert swing.ALGORITHMS["ring_of_rings"].variants == ("",)


@pytest.mark.parametrize("dims", [(1, 1), (1, 5), (2, 2), (3, 4), (5, 2), (4, 4)])
def test_it_is_proven_and_simulated(installed, dims):
    torus = swing.Torus(dims)
    for options in ({}, {"ports": 1}, {"collective": "reduce_scatter"}):
        schedule = swing.schedule("ring_of_rings", torus, **options)
        assert swing.verify(schedule).same_bits
    network = netsim.paper_network(torus.name)
    run = netsim.simulate(swing.schedule("ring_of_rings", torus), network, 2**20)
    assert run.seconds >= netsim.lower_bound(network, 2**20)
    with pytest.raises(ValueError, match="two dimensions"):
        swing.schedule("ring_of_rings", swing.Torus(8))
    with pytest.raises(ValueError, match="takes ports, collective"):
        swing.schedule("ring_of_rings", torus, variant="latency")


def test_the_commands_know_it(installed):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    words = ["--algorithm", "ring_of_rings", "--topology", "torus:3x4", "--json"]
    for program in (["swing", "verify"], ["netsim", "simulate"]):
        done = subprocess.run(
            [sys.executable, "-m", *program, *words], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["algorithm"] == "ring_of_rings"


def test_the_page_registers_the_example_as_it_does():
    (shown,) = blocks(PAGE, "toml")
    assert shown in (EXAMPLE / "pyproject.toml").read_text()


def test_the_commands_of_the_page_run(installed):
    """Except for pip, in place of which stands `installed`; the program has a test of its own."""
    (shown,) = blocks(PAGE, "text")
    pip, *lines, program = map(shlex.split, shown.splitlines())
    at = str(EXAMPLE.relative_to(EXAMPLE.parents[1]))
    assert pip == ["pip", "install", f"./{at}"]
    assert program == ["mpiexec", "-n", "6", "python", f"{at}/run.py"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    for python, *words in lines:
        assert python == "python"
        subprocess.run([sys.executable, *words], env=env, cwd=installed, check=True)
    assert "ring_of_rings" in (installed / "report.html").read_text()


@pytest.mark.parametrize("name", ["schedule.json", "schedule.xml"])
def test_reports_show_it_and_files_bring_it_back(installed, name):
    torus, network = swing.Torus((3, 4)), netsim.paper_network("torus:3x4")
    schedule = swing.schedule("ring_of_rings", torus)
    (path,) = formats.write(schedule, installed / name)
    back = formats.read(path, torus=torus)
    assert back.name == "ring_of_rings"
    assert str(swing.verify(back)) == str(swing.verify(schedule))
    runs = [netsim.simulate(s, network, 2**20) for s in (schedule, back)]
    assert runs[0].seconds == pytest.approx(runs[1].seconds, rel=1e-12)
    assert "ring_of_rings" in page(describe(runs, [2**10, 2**20]))


def test_it_runs_under_mpi(installed):
    pytest.importorskip("mpi4py")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    argv, more = command(6, [sys.executable, str(EXAMPLE / "run.py")])
    more["SWING_ENGINE"] = "plain"  # which begins sooner
    done = subprocess.run(argv, env=env | more, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "same bits on every rank: yes" in done.stdout


def test_its_worked_example_is_printed_by_the_code(installed):
    import ring_of_rings

    failed, tried = doctest.testmod(ring_of_rings)
    assert (failed, tried > 0) == (0, True)


BROKEN = {
    "absent": "'absent' of broken cannot be loaded.*ModuleNotFoundError",
    "raises": "cannot be loaded.*OSError: raises",
    "number": "is 5, not a function",
    "nothing": "does not make a schedule for 4",
    "unheard_of": "no algorithm 'unheard_of'.*bucket.*absent",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_package_is_said(broken, name):
    with pytest.raises(ValueError, match=BROKEN[name]):
        swing.schedule(name, swing.Torus(4))


def test_a_package_may_state_the_facts_of_its_algorithm(tmp_path, monkeypatch):
    """Its entry point names an `Algorithm`; the name is that of the entry point."""
    code = (
        "import swing\nfrom swing.algorithms.algorithm import Algorithm\n"
        "def f(torus, *, k: int | None = None): return swing.schedule('ring', torus)\n"
        "F = Algorithm('f', f, source='2030', rings=True, style=('#000000', '*'))\n"
    )
    install(tmp_path, "facts", {"g": "facts:F"}, code)
    monkeypatch.syspath_prepend(tmp_path)
    algorithm = swing.ALGORITHMS["g"]
    assert (algorithm.name, algorithm.source, list(algorithm.options)) == ("g", "2030", ["k"])
    assert plot.styles(["g"]) == {"g": ("#000000", "*")}
    assert built_in([Rule(0, "g")], {RING: "theirs"}, ["theirs"]) == [Rule(0, "theirs")]
    with pytest.raises(ValueError, match="g has no option 'm': it takes k"):
        swing.schedule("g", swing.Torus(4), m=1)
    del sys.modules["facts"]


def test_figures_draw_what_cannot_be_imported(broken):
    assert len(set(plot.styles(["absent", "missing", "mpi", "auto"]).values())) == 4


def test_the_table_of_algorithms_leaves_out_what_cannot_be_loaded(broken, capsys):
    assert invoke(swing.__main__.main, "swing", ["algorithms", "--json"]) == 0
    found = capsys.readouterr()
    names = [json.loads(line)["name"] for line in found.out.splitlines()]
    assert names == [*SHIPPED, "nothing"]
    assert found.err.count("left out: ") == 3


def test_names_that_ship_stay_ours(broken):
    assert swing.ALGORITHMS["swing"] is SHIPPED["swing"]
    assert len(set(swing.ALGORITHMS)) == len(swing.ALGORITHMS) == len(SHIPPED) + 4
    assert swing.choose(swing.Torus((4, 4)), 2**20).algorithm in SHIPPED


def test_a_new_algorithm_is_one_function_and_one_line():
    """`tests.star` adds one with a step function only: every theorem holds for it."""
    words = ["-m", "pytest", "-q", "-p", "tests.star", "-p", "no:cacheprovider", "-m", "theorem"]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, *words, "tests"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 150


def test_an_algorithm_without_options_says_so(monkeypatch):
    monkeypatch.setitem(SHIPPED, "plain", lambda torus: swing.schedule("ring", torus))
    with pytest.raises(ValueError, match="plain has no option 'k': it takes none"):
        swing.schedule("plain", swing.Torus(4), k=1)


@pytest.mark.parametrize("prune", [(), ("--prune", "2")])
def test_an_algorithm_that_raises_costs_its_own_rows(prune, monkeypatch, capsys):
    def breaks(torus):
        raise KeyError("no such thing")

    monkeypatch.setitem(SHIPPED, "breaks", breaks)
    monkeypatch.setattr(
        "netsim.search.case.SHIPPED", {k: v for k, v in SHIPPED.items() if k != "breaks"}
    )
    monkeypatch.setattr("netsim.search.sweep.SHIPPED", {})
    words = ["sweep", "--topology", "torus:4", "--sizes", "32B,1KiB", "--jobs", "1", "--json"]
    assert invoke(main, "netsim", [*words, *prune]) == 0
    done = capsys.readouterr()
    assert done.err.splitlines() == ["left out: breaks on torus:4: KeyError: 'no such thing'"]
    assert {json.loads(line)["algorithm"] for line in done.out.splitlines()} == set(SHIPPED) - {
        "breaks"
    }
