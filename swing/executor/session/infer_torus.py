"""Which torus the ranks of a communicator are."""

from __future__ import annotations

from mpi4py import MPI

from swing.torus import Torus


def shape_of(comm: MPI.Intracomm) -> tuple[Torus, str]:
    """The torus of a communicator, and where it comes from.

    It is the communicator's Cartesian topology if it has one, else as square as two dimensions
    allow (a prime number of ranks makes a ring).
    """
    if comm.topology == MPI.CART:
        dims, periods, _ = MPI.Cartcomm(comm).Get_topo()
        if dims:  # ranks of a Cartesian communicator are row-major
            return Torus(dims, [bool(p) for p in periods]), "the communicator's topology"
    dims = [d for d in MPI.Compute_dims(comm.size, 2) if d > 1]
    return Torus(dims or 1), "the number of ranks"


def check_size(torus: Torus, size: int) -> None:
    """Raise ValueError, naming the mend, unless a torus has as many ranks as a communicator."""
    if torus.size != size:
        dims = tuple(d for d in MPI.Compute_dims(size, 2) if d > 1) or (1,)
        raise ValueError(
            f"torus {torus} has {torus.size} ranks but the communicator has {size}: "
            f"pass torus=swing.Torus({dims})"
        )
