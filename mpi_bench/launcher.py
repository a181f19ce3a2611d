"""How to start ranks with the MPI library that mpi4py finds in this environment."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# What lets more ranks than cores run; each library reads its own and ignores the others'.
SHARED_CORES = {
    # Hydra (MPICH) puts each rank into a session of its own, and where the kernel groups by
    # session sched_yield() hands no core to another one: 100 times slower than sleeping a little.
    "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1",
    # Open MPI refuses to run as root, and to start more ranks than cores, unless told so.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def command(n: int, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command that runs ``argv`` on n ranks, and what to add to its environment.

    MPICH's gforker comes first: its ranks share a session, so that they yield to each other as
    they are (the variables above would only slow it down). MPI itself is not started to find out.

    What dead jobs have left in shared memory is removed on the way (`sweep`).

    Raises:
        ValueError: there is no mpiexec.
    """
    sweep()
    beside = Path(sys.prefix) / "bin"
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    gforker = shutil.which("mpiexec.gforker", path=str(beside))
    mpiexec = gforker or shutil.which("mpiexec", path=path)
    if mpiexec is None:
        raise ValueError(f"no mpiexec in {beside} or on PATH: pip install 'torus-swing[mpi]'")
    return [mpiexec, "-n", str(n), *argv], {} if gforker else dict(SHARED_CORES)


def sweep(folder: Path = Path("/dev/shm"), age: float = 60.0) -> list[str]:
    """Remove what dead MPI jobs left in shared memory, and name it.

    MPICH names its file after mpiexec's process number alone. Where a job was killed, the next one
    whose mpiexec gets that number ends in MPI_Init ("Out of memory"). A file is dead if no process
    has mapped it and it is older than ``age`` seconds: one that is being started is younger.
    """
    old = time.time() - age
    dead = {}
    for pattern in ("mpich_shm_*", "sm_segment.*"):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    dead[str(path)] = path
    for maps in Path("/proc").glob("[0-9]*/maps") if dead else ():
        with suppress(OSError):
            for line in maps.read_text().splitlines():
                dead.pop(line.split(maxsplit=5)[-1], None)
    gone = []
    for path in dead.values():
        with suppress(OSError):  # another user's
            path.unlink()
            gone.append(path.name)
    return sorted(gone)
