"""How to start ranks with the MPI library that mpi4py finds in this environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
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

    Raises:
        ValueError: there is no mpiexec.
    """
    beside = Path(sys.prefix) / "bin"
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    gforker = shutil.which("mpiexec.gforker", path=str(beside))
    mpiexec = gforker or shutil.which("mpiexec", path=path)
    if mpiexec is None:
        raise ValueError(f"no mpiexec in {beside} or on PATH: pip install 'torus-swing[mpi]'")
    return [mpiexec, "-n", str(n), *argv], {} if gforker else dict(SHARED_CORES)
