"""Torus of a communicator: its Cartesian topology, or the most nearly square grid."""

from __future__ import annotations

from functools import lru_cache

from mpi4py import MPI

from swing.torus import Torus


def shape_of(comm: MPI.Intracomm) -> tuple[Torus, str]:
    """Return the torus of a communicator and, in words, its origin.

    It is the communicator's Cartesian topology if it has one, else two dimensions that are as equal
    as possible, the larger one first (3x2 for 6 ranks); a prime number of ranks makes a ring.
    """
    if comm.topology == MPI.CART:
        dims, periods, _ = MPI.Cartcomm(comm).Get_topo()
        # A Cartesian communicator may have no dimensions. Otherwise MPI numbers its ranks in
        # row-major order, as `Torus` does.
        if dims:
            return Torus(dims, [bool(p) for p in periods]), "the communicator's topology"
    return _nearly_square(comm.size), "the number of ranks"


@lru_cache(64)
def _nearly_square(size: int) -> Torus:
    return Torus([d for d in MPI.Compute_dims(size, 2) if d > 1] or 1)


def check_size(torus: Torus, size: int) -> None:
    """Raise ValueError, which names a torus that fits, unless ``torus`` has ``size`` ranks."""
    if torus.size != size:
        dims = tuple(d for d in MPI.Compute_dims(size, 2) if d > 1) or (1,)
        raise ValueError(
            f"torus {torus} has {torus.size} ranks but the communicator has {size}: "
            f"pass torus=swing.Torus({dims})"
        )
