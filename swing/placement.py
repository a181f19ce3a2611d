"""Rank placement on real machines: make a `Torus` from coordinates that the machine reports.

    swing.allreduce(comm, x, torus=swing.placement.fugaku(comm))
    swing.allreduce(comm, x, torus=swing.placement.tpu(comm, jax.local_devices()[0].coords))
    swing.allreduce(comm, x, torus=swing.placement.gathered(comm, my_coords))

All ranks call the function together and get equal tori. Importing this file needs none of the
machines' libraries; a function loads what it needs when it is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from swing.checks import shown
from swing.torus import Torus


class Ranks(Protocol):
    """The members of an mpi4py communicator that this module uses."""

    @property
    def rank(self) -> int:
        """Number of this rank."""

    @property
    def handle(self) -> int:
        """MPI's own handle, as an integer."""

    def allgather(self, sendobj: Any) -> list[Any]:
        """Return the objects of all ranks, in order."""


_MAX_DIMS = 3  # FJMPI_Topology_get_shape always writes three sizes


def gathered(
    comm: Ranks,
    coords: Sequence[int],
    dims: Sequence[int] | None = None,
    wrap: bool | Sequence[bool] = True,
) -> Torus:
    """Make a torus from the coordinates of all ranks, each of which knows only its own.

    Coordinates may start anywhere and skip values that no rank has (a slice of a machine): without
    ``dims`` they are renumbered from 0 without gaps. Where several ranks share a node, add one more
    coordinate that tells them apart.

    Args:
        comm: the communicator.
        coords: coordinates of this rank.
        dims: size of each dimension; None to find it from the coordinates.
        wrap: whether each dimension closes to a ring.

    Raises:
        ValueError: ranks with different numbers of coordinates, or coordinates that do not name
            each position of a grid exactly once.
    """
    return from_coords(comm.allgather(tuple(int(x) for x in coords)), dims, wrap)


def from_coords(
    coords: Sequence[Sequence[int]] | np.ndarray,
    dims: Sequence[int] | None = None,
    wrap: bool | Sequence[bool] = True,
) -> Torus:
    """Make a torus from a table of the coordinates of all ranks.

    Args:
        coords: (p, D) coordinates, in the order of the ranks; see `gathered`.
        dims: size of each dimension; None to find it from the coordinates.
        wrap: whether each dimension closes to a ring.

    Raises:
        ValueError: as `gathered`.

    >>> from_coords([(4, 0), (4, 2), (6, 0), (6, 2)])
    Torus(dims=(2, 2), wrap=(True, True))
    """
    try:
        if len({len(row) for row in coords}) != 1:
            raise ValueError("all ranks must give the same number of coordinates")
        table = np.array(coords)
    except TypeError:
        table = np.empty(0)
    if table.ndim != 2 or table.dtype.kind not in "iu":
        raise ValueError(f"coords must be a table of whole numbers, not {shown(coords)}")
    if dims is None:
        columns = [np.unique(column, return_inverse=True) for column in table.T]
        table = np.stack([index.ravel() for _, index in columns], axis=1)
        dims = [len(values) for values, _ in columns]
    torus = Torus(dims, wrap)
    if torus.size != len(table):
        raise ValueError(
            f"{len(table)} ranks do not fill a grid of {torus}: use a slice of the machine "
            "that is a box, or one more coordinate for ranks that share a node"
        )
    return Torus(dims, wrap, coords=table)


def fugaku(comm: Ranks, library: Any = None, logical: int = 0) -> Torus:
    """Make the logical torus of a job on Fugaku or a similar machine with Fujitsu's MPI.

    Its dimensions are those of the node shape in the job script. If nodes have several ranks, these
    follow each other along one more dimension, which has no links of its own and does not wrap.

    Args:
        comm: the communicator.
        library: object with the ``FJMPI_Topology_…`` functions; None for the MPI library of this
            process.
        logical: value of ``FJMPI_LOGICAL`` in Fujitsu's <mpi-ext.h>. The default is a guess:
            this function has been tested only with a mock library.

    Raises:
        ValueError: the MPI library is not Fujitsu's, or one of its functions fails.
    """
    mpi = ctypes.CDLL(None) if library is None else library
    if not hasattr(mpi, "FJMPI_Topology_get_dimension"):
        raise ValueError(
            "this MPI library has no FJMPI_Topology_get_dimension, so it is not Fujitsu's: "
            "pass torus=swing.placement.gathered(comm, coords)"
        )
    size = ctypes.c_int()
    _query(mpi.FJMPI_Topology_get_dimension, ctypes.byref(size))
    shape = (ctypes.c_int * _MAX_DIMS)(1, 1, 1)
    _query(mpi.FJMPI_Topology_get_shape, *(ctypes.byref(shape, 4 * i) for i in range(_MAX_DIMS)))
    dims = list(shape)[: size.value]
    coords = (ctypes.c_int * size.value)()
    # Fujitsu's MPI derives from Open MPI, whose C functions take communicators as pointers.
    handle = ctypes.c_void_p(comm.handle)
    _query(mpi.FJMPI_Topology_get_coords, handle, comm.rank, logical, size.value, coords)
    node = tuple(coords)
    nodes = comm.allgather(node)
    each = nodes.count(node)
    if each == 1:
        return gathered(comm, node, dims)
    index = nodes[: comm.rank].count(node)  # of this rank on its node
    return gathered(comm, (*node, index), (*dims, each), (*[True] * len(dims), False))


def tpu(
    comm: Ranks, coords: Sequence[int], core: int = 0, wrap: bool | Sequence[bool] = False
) -> Torus:
    """Make the torus of a TPU slice from the coordinates of each rank's device in JAX.

    Args:
        comm: the communicator, with one rank per device.
        coords: ``device.coords`` (x, y, z) of this rank's device.
        core: ``device.core_on_chip``, where a chip has several devices; they get a further
            dimension.
        wrap: whether the slice closes to a ring in each dimension; only whole pods do.

    Raises:
        ValueError: devices that do not fill a box.
    """
    cores = max(comm.allgather(core)) + 1
    if cores == 1:
        return gathered(comm, coords, wrap=wrap)
    wraps = [wrap] * len(coords) if isinstance(wrap, bool) else [*wrap]
    return gathered(comm, (*coords, core), wrap=[*wraps, False])


def _query(function: Any, *arguments: Any) -> None:
    status = function(*arguments)
    if status != 0:
        name = getattr(function, "__name__", "FJMPI_Topology")
        raise ValueError(f"{name} failed with status {status}: pass torus= yourself")
