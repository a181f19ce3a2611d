"""What README shows is what happens."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpi_bench.launcher import command

README = Path(__file__).parent.parent / "README.md"


def test_examples_print_what_they_say():
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert tried > 5
    assert failed == 0


def test_the_program_runs_under_mpiexec(tmp_path):
    pytest.importorskip("mpi4py")
    program = next(
        code
        for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "MPI.COMM_WORLD" in code
    )
    path = tmp_path / "program.py"
    argv, env = command(2, [sys.executable, str(path)])
    path.write_text(program + "assert (total == 1).all()\n")
    subprocess.run(argv, env=os.environ | env, check=True, timeout=60)
