"""The scripts of docs/cluster.md, with stand-ins for what a cluster has: modules, pip and srun."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mpi_bench.launcher import command
from tests.test_docs import ROOT, blocks

pytest.importorskip("mpi4py")
INSTALL, FIRST, TUNED = blocks(ROOT / "docs" / "cluster.md", "text")
TRAIN = """
import numpy as np
import swing
from mpi4py import MPI

comm = swing.Comm(MPI.COMM_WORLD, torus=swing.Torus((2, 1)))
why = comm.explain("Allreduce", np.ones(8, np.float32), np.empty(8, np.float32))
if comm.rank == 0:
    print(why)
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script on two ranks, each `mpi_bench` in it with two rounds of short vectors."""
    argv, more = command(2, [])
    stand_ins = {
        "module": "",
        "pip": "",
        "python": f'exec {shlex.quote(sys.executable)} "$@"',
        "python3": 'mkdir -p "$3/bin" && touch "$3/bin/activate"',
        "srun": 'while [[ $1 == --* ]]; do shift; done; [[ "$*" == *mpi_bench* ]] && '
        f'set -- "$@" --iterations 2 --sizes 32B,1KiB\nexec {shlex.join(argv)} "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, script in stand_ins.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "train.py").write_text(TRAIN)
    env = os.environ | more | {
        "HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "SWING_ENGINE": "plain",  # which begins sooner
    }  # fmt: skip

    def call(script):
        text = script.replace("torus:8x4", "torus:2x1")
        done = subprocess.run(
            ["bash", "-e", "-c", text], env=env, cwd=tmp_path, capture_output=True, text=True,
            timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    call.folder = tmp_path
    call(INSTALL)
    return call


def test_the_installation_ends_with_the_name_of_the_library(run):
    assert run(INSTALL).startswith(("MPICH", "Open MPI"))


def test_the_first_job_shows_every_rank_and_measures_auto(run):
    said = run(FIRST)
    assert {"0 2", "1 2"} <= set(said.splitlines())
    assert "auto (" in said
    assert "torus:2x1" in said


def test_the_second_job_tunes_a_table_once_and_the_program_uses_it(run):
    said = run(TUNED)
    table = Path(run.folder / "table.json").read_bytes()
    assert "auto (" in said
    assert "why: by a table: " in said
    (run.folder / "rows.csv").unlink()
    assert "why: by a table: " in run(TUNED)
    assert Path(run.folder / "table.json").read_bytes() == table
    assert not (run.folder / "rows.csv").exists()


@pytest.mark.parametrize("script", [FIRST, TUNED])
def test_what_slurm_reads_stands_before_the_first_command(script):
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    head = [line for line in lines if line.startswith("#SBATCH ")]
    assert lines[1 : 1 + len(head)] == head
    assert len(head) == 6
