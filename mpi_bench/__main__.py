"""Entry point of ``mpiexec -n N python -m mpi_bench``."""

import sys

try:
    from mpi4py import MPI  # noqa: F401  starts MPI; raises RuntimeError without an MPI library
except (ImportError, RuntimeError):
    print("error: mpi_bench needs MPI: pip install 'torus-swing[mpi]'", file=sys.stderr)
    sys.exit(2)

from mpi_bench.cli import run

if __name__ == "__main__":
    sys.exit(run("python -m mpi_bench"))
