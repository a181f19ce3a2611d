"""Start a rank in every namespace and read what they find out."""

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

DEFAULTS = {
    "SWING_ENGINE": "plain",  # numba costs every rank 0.6 s and 100 MB at its start
}
SETTINGS = {
    "MPIR_CVAR_NOLOCAL": "1",  # ranks are on one machine and must not notice
    "MPIR_CVAR_CH4_NETMOD": "ofi",
    "FI_PROVIDER": "tcp",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # else every rank starts threads that it never uses
}
ENTER = """
test -n "$PMI_RANK" || { echo "Error: only MPICH starts ranks inside namespaces" >&2; exit 1; }
exec ip netns exec "$0-$PMI_RANK" sh -c 'mount -t tmpfs swing /dev/shm && exec "$@"' sh "$@"
"""
"""MPICH's launchers tell a rank its number before it starts, and talk to it over a pipe that they
have opened: it may go into any namespace first. ``ip netns exec`` gives it mounts of its own: what
MPICH puts into /dev/shm ends with it, even if it is killed."""


def run(
    emulation: Emulation, spec: Mapping[str, Any], more: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """What rank 0 of `mpi_bench.emulate.rank` prints, object by object.

    Args:
        emulation: where the ranks run.
        spec: for the ranks; they are told the topology and the rate as well.
        more: additions to their environment.

    Raises:
        EmulationError: MPI is not MPICH, or a rank has failed; with its last words.
    """
    whole = {"topology": emulation.place.name, "rate": emulation.rate, **spec}
    rank = [sys.executable, "-m", "mpi_bench.emulate.rank", json.dumps(whole)]
    wrapped = ["sh", "-c", ENTER, emulation.name, *rank]
    argv, needed = command(emulation.place.size, wrapped)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = (
        DEFAULTS | os.environ | {"PYTHONPATH": path} | needed | SETTINGS | dict(more or {})
    )
    with tempfile.TemporaryFile("w+") as errors:
        ranks = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True,
                                 env=environment)  # fmt: skip
        try:
            assert ranks.stdout is not None
            for line in ranks.stdout:
                with suppress(json.JSONDecodeError):
                    yield json.loads(line)
            status = ranks.wait()
        finally:
            _end(ranks)
        if status:
            errors.seek(0)
            words = [line.strip() for line in errors if line.strip()]
            last = next((w for w in reversed(words) if "Error" in w), (words or ["no word"])[-1])
            raise EmulationError(f"the ranks failed with status {status}: {last}")


def _end(ranks: subprocess.Popen[str]) -> None:
    """Stop what still runs; the launcher ends its ranks when it is asked to."""
    if ranks.poll() is None:
        ranks.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            ranks.wait(5)
    if ranks.poll() is None:
        ranks.kill()
        ranks.wait()
