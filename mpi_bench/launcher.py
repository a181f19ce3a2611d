"""Start MPI ranks with the launcher of the MPI library in this environment."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Settings for more ranks than cores; each MPI library reads its own and ignores the others.
SHARED_CORES = {
    # Hydra (MPICH) starts each rank in its own session. Where the kernel schedules by session,
    # sched_yield() does not give the core to another session's process, so busy waiting is
    # 100 times slower than sleeping briefly, which this variable turns on.
    "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1",
    # Open MPI refuses to run as root, or to start more ranks than cores, without these.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def command(n: int, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs ``argv`` on n ranks, and additions to its environment.

    MPICH's gforker is preferred: its ranks share a session, so sched_yield() works between them and
    the variables of `SHARED_CORES` would only slow them down. MPI itself is not started here.

    This also removes shared memory that dead jobs have left behind (`sweep`).

    Raises:
        ValueError: there is no mpiexec.
    """
    sweep()
    folder = Path(sys.prefix) / "bin"
    path = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    gforker = shutil.which("mpiexec.gforker", path=str(folder))
    mpiexec = gforker or shutil.which("mpiexec", path=path)
    if mpiexec is None:
        raise ValueError(f"no mpiexec in {folder} or on PATH: pip install 'torus-swing[mpi]'")
    return [mpiexec, "-n", str(n), *argv], {} if gforker else dict(SHARED_CORES)


def sweep(folder: Path = Path("/dev/shm"), age: float = 60.0) -> list[str]:
    """Remove shared memory files that killed MPI jobs have left behind.

    MPICH names its file after mpiexec's process id alone. After a killed job, the next job whose
    mpiexec gets the same id fails in MPI_Init ("Out of memory"). A file is removed if no process
    has mapped it and it is older than ``age`` seconds: the file of a starting job is younger.

    Args:
        folder: the folder of shared memory files.
        age: seconds since the last change.

    Returns:
        The names of the removed files, sorted.
    """
    old = time.time() - age
    dead = {}
    for pattern in ("mpich_shm_*", "sm_segment.*"):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    dead[str(path)] = path
    # The sixth field of a line of /proc/PID/maps is the mapped file.
    for maps in Path("/proc").glob("[0-9]*/maps") if dead else ():
        with suppress(OSError):
            for line in maps.read_text().splitlines():
                dead.pop(line.split(maxsplit=5)[-1], None)
    removed = []
    for path in dead.values():
        with suppress(OSError):  # the file of another user
            path.unlink()
            removed.append(path.name)
    return sorted(removed)
