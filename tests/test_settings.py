"""The table of environment variables: what it says is what the code does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from swing import settings
from swing.__main__ import main
from swing.settings import MACHINE, SETTINGS, WAIT, table
from swing.waiting import POLICIES, Policy

ROOT = Path(__file__).parent.parent
WRONG = {
    "SWING_ENGINE": "fast", "SWING_CHECK": "no", "SWING_CHECK_TIMEOUT": "abc",
    "SWING_GPU_AWARE": "yes", "SWING_NCCL": "2", "SWING_WAIT": "never",
}  # fmt: skip


def test_every_variable_that_the_code_names_is_in_the_table():
    product = [*(ROOT / "swing").rglob("*.py"), *(ROOT / "netsim").rglob("*.py")]
    product += (ROOT / "mpi_bench").rglob("*.py")
    named = {name for path in product for name in re.findall(r"SWING_[A-Z_]+", path.read_text())}
    assert named == {setting.name for setting in SETTINGS}


def test_the_page_shows_the_table():
    assert f"```text\n{table()}\n```\n" in (ROOT / "docs" / "settings.md").read_text()


def test_the_command_prints_the_table_and_what_is_set(monkeypatch):
    monkeypatch.setenv("SWING_ENGINE", "plain")
    printed = CliRunner().invoke(main, ["settings"]).output
    assert printed == table() + "\n\nSWING_ENGINE is plain now\n"
    rows = [
        json.loads(line)
        for line in CliRunner().invoke(main, ["settings", "--json"]).output.splitlines()
    ]
    assert [row["name"] for row in rows] == [setting.name for setting in SETTINGS]
    assert {row["name"]: row["value"] for row in rows if row["value"]} == {"SWING_ENGINE": "plain"}


@pytest.mark.parametrize("getenv", [settings._getenv, None])
def test_a_value_is_the_one_that_the_program_has_set_last(monkeypatch, getenv):
    monkeypatch.setattr(settings, "_getenv", getenv)
    assert MACHINE.get() is None
    for text in ("node", "Straße.json", "\udcff.json"):  # the last one is no UTF-8
        os.environ["SWING_MACHINE"] = text
        assert MACHINE.get() == text
    with mock.patch.dict(os.environ, {"SWING_MACHINE": "cluster"}):
        assert MACHINE.get() == "cluster"
    os.environ["SWING_MACHINE"] = ""
    assert MACHINE.get() is None
    del os.environ["SWING_MACHINE"]
    assert MACHINE.get() is None


def test_a_new_way_of_waiting_is_one_line_of_its_table(monkeypatch):
    monkeypatch.setitem(POLICIES, "doze", Policy(1e-5, 1e-3, "tests, then sleeps"))
    assert "  values: one of spin, spin-yield, yield, event, doze\n" in table()
    assert "    doze: tests, then sleeps\n  default: spin-yield" in table()
    monkeypatch.setenv("SWING_WAIT", "doze")
    assert WAIT.get() == "doze"
    assert "SWING_WAIT is doze now" in CliRunner().invoke(main, ["settings"]).output
    monkeypatch.setenv("SWING_WAIT", "dose")
    with pytest.raises(ValueError, match=r"event, doze, not 'dose'$"):
        WAIT.get()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_a_wrong_value_is_one_line_that_names_the_variable(setting, monkeypatch):
    if setting.name not in WRONG:
        return  # any text may be the path of a selection table
    monkeypatch.setenv(setting.name, WRONG[setting.name])
    with pytest.raises(
        ValueError, match=f"^{setting.name} must be .*, not '{WRONG[setting.name]}'$"
    ):
        setting.get()
    monkeypatch.setenv(setting.name, "")
    assert setting.get() == setting.unset
    command = [sys.executable, "-m", "swing", "settings"]
    environment = {**os.environ, setting.name: WRONG[setting.name]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"error: {setting.name} must be .*\n", done.stderr)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("SWING_CHECK=no", "SWING_CHECK must be 0 or 1, not 'no'"),
        ("SWING_CHECK_TIMEOUT=abc", "SWING_CHECK_TIMEOUT must be a number of seconds"),
        ("SWING_MACHINE=moon", "SWING_MACHINE=moon: no machine 'moon'"),
        (
            "SWING_MACHINE=moon.json",
            "SWING_MACHINE=moon.json: no table can be read there (No such file",
        ),
        ("NUMBA_DISABLE_JIT=1", "engine: plain, because NUMBA_DISABLE_JIT is set"),
    ],
)
def test_a_call_says_what_is_wrong_with_a_variable(variable, words):
    program = (
        "from mpi4py import MPI\nimport numpy as np, swing\n"
        "try: print(swing.explain(MPI.COMM_WORLD, np.ones(3)))\n"
        "except ValueError as error: print(error)"
    )
    name, value = variable.split("=")
    environment = {**os.environ, name: value}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert words in done.stdout, done.stderr
