"""Start one MPI rank per namespace, and read the results that rank 0 prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mpi_bench.emulate.namespaces import Emulation, EmulationError
from mpi_bench.launcher import command

DEFAULTS = {"SWING_ENGINE": "plain"}  # importing numba would cost each rank 0.6 s and 100 MB
SETTINGS = {
    "MPIR_CVAR_NOLOCAL": "1",  # no shared memory, although the ranks are on one machine
    "MPIR_CVAR_CH4_NETMOD": "ofi",
    "FI_PROVIDER": "tcp",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # otherwise each rank starts threads that it never uses
}
ENTER = """
test -n "$PMI_RANK" || { echo "Error: only MPICH starts ranks inside namespaces" >&2; exit 1; }
exec ip netns exec "$0-$PMI_RANK" sh -c 'mount -t tmpfs swing /dev/shm && exec "$@"' sh "$@"
"""
"""Shell script that moves a rank into its namespace before it starts Python.

MPICH's launchers pass a rank its number in the environment, and communicate with it over an
inherited pipe, so the rank can enter any namespace first. ``ip netns exec`` also gives it its own
mounts: the tmpfs on /dev/shm disappears with the rank, even if it is killed."""


def run(
    emulation: Emulation, spec: Mapping[str, Any], additions: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Run `mpi_bench.emulate.rank` on all nodes; yields each JSON object that rank 0 prints.

    Args:
        emulation: the torus to run on.
        spec: the task of the ranks; topology and rate are added to it.
        additions: variables to add to the ranks' environment.

    Raises:
        EmulationError: MPI is not MPICH, or a rank has failed; the message has its last error.
    """
    task = {"topology": emulation.grid.name, "rate": emulation.rate, **spec}
    rank = [sys.executable, "-m", "mpi_bench.emulate.rank", json.dumps(task)]
    wrapped = ["sh", "-c", ENTER, emulation.name, *rank]
    argv, needed = command(emulation.grid.size, wrapped)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = (
        DEFAULTS | os.environ | {"PYTHONPATH": path} | needed | SETTINGS | dict(additions or {})
    )
    with tempfile.TemporaryFile("w+") as errors:
        ranks = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True,
                                 env=environment)  # fmt: skip
        try:
            assert ranks.stdout is not None
            for line in ranks.stdout:
                with suppress(json.JSONDecodeError):  # MPI may print warnings to standard output
                    yield json.loads(line)
            status = ranks.wait()
        finally:
            _end(ranks)
        if status:
            errors.seek(0)
            lines = [line.strip() for line in errors if line.strip()]
            # The launcher may print more after the rank's own error, so look back for that.
            last = next((x for x in reversed(lines) if "Error" in x), (lines or ["no output"])[-1])
            raise EmulationError(f"the ranks failed with status {status}: {last}")


def _end(ranks: subprocess.Popen[str]) -> None:
    """Stop the ranks if they still run; on SIGTERM the launcher stops its ranks itself."""
    if ranks.poll() is None:
        ranks.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            ranks.wait(5)
    if ranks.poll() is None:
        ranks.kill()
        ranks.wait()
