"""Who sits where on real machines: helpers that make a `Torus` of what the machine says.

    swing.allreduce(comm, x, torus=swing.placement.fugaku(comm))
    swing.allreduce(comm, x, torus=swing.placement.tpu(comm, jax.local_devices()[0].coords))
    swing.allreduce(comm, x, torus=swing.placement.gathered(comm, my_coords))

Each is called by all ranks and gives all of them the same torus. Nothing is imported or loaded
before a function is called, and nothing of the machine is needed to import this file.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from swing.torus import Torus


class Ranks(Protocol):
    """What is asked of a communicator of mpi4py."""

    @property
    def rank(self) -> int:
        """This rank."""

    @property
    def handle(self) -> int:
        """MPI's own handle."""

    def allgather(self, sendobj: Any) -> list[Any]:
        """What each rank gives."""


_MAX_DIMS = 3  # dimensions of that torus


def gathered(
    comm: Ranks,
    coords: Sequence[int],
    dims: Sequence[int] | None = None,
    wrap: bool | Sequence[bool] = True,
) -> Torus:
    """The torus of ranks that each know their own coordinates.

    Coordinates may start anywhere and leave out rows that no rank is in (a slice of a machine):
    they are counted from 0 on without gaps. Where several ranks share a node, tell their places in
    it by one more coordinate.

    Args:
        comm: the communicator.
        coords: this rank's.
        dims: the size of each dimension; None to take it from the coordinates.
        wrap: whether each dimension closes to a ring.

    Raises:
        ValueError: coordinates that do not fill a grid, each place once.
    """
    table = np.array(comm.allgather(tuple(int(x) for x in coords)), dtype=np.int64)
    if table.ndim != 2:
        raise ValueError("all ranks must give the same number of coordinates")
    if dims is None:
        columns = [np.unique(column, return_inverse=True) for column in table.T]
        table = np.stack([place.ravel() for _, place in columns], axis=1)
        dims = [len(values) for values, _ in columns]
    if int(np.prod(dims)) != len(table):
        shape = "x".join(map(str, dims))
        raise ValueError(
            f"{len(table)} ranks do not fill a grid of {shape}: use a slice of the machine "
            "that is a box, or one more coordinate for ranks that share a node"
        )
    return Torus(dims, wrap, coords=table)


def fugaku(comm: Ranks, library: Any = None, logical: int = 0) -> Torus:
    """The logical torus of a job on Fugaku and its kin, as the job script's node shape has it.

    Ranks of a node follow each other along one more dimension, which has no links of its own and
    does not close.

    Args:
        comm: the communicator.
        library: what holds ``FJMPI_Topology_get_dimension`` and its kin; None for the MPI library
            of this process.
        logical: ``FJMPI_LOGICAL`` of Fujitsu's <mpi-ext.h>, should it not be the first number of
            its kind there: this has been tried with stand-ins only.

    Raises:
        ValueError: the MPI library is not Fujitsu's, or says that it can not tell.
    """
    mpi = ctypes.CDLL(None) if library is None else library
    if not hasattr(mpi, "FJMPI_Topology_get_dimension"):
        raise ValueError(
            "this MPI library has no FJMPI_Topology_get_dimension, so it is not Fujitsu's: "
            "pass torus=swing.placement.gathered(comm, coords)"
        )
    size = ctypes.c_int()
    _ask(mpi.FJMPI_Topology_get_dimension, ctypes.byref(size))
    shape = (ctypes.c_int * _MAX_DIMS)(1, 1, 1)
    _ask(mpi.FJMPI_Topology_get_shape, *(ctypes.byref(shape, 4 * i) for i in range(_MAX_DIMS)))
    dims = list(shape)[: size.value]
    coords = (ctypes.c_int * size.value)()
    handle = _handle(comm)
    _ask(mpi.FJMPI_Topology_get_coords, handle, comm.rank, logical, size.value, coords)
    node = tuple(coords)
    nodes = comm.allgather(node)
    each = nodes.count(node)
    if each == 1:
        return gathered(comm, node, dims)
    place = nodes[: comm.rank].count(node)
    return gathered(comm, (*node, place), (*dims, each), (*[True] * len(dims), False))


def tpu(
    comm: Ranks, coords: Sequence[int], core: int = 0, wrap: bool | Sequence[bool] = False
) -> Torus:
    """The torus of a TPU slice, from the ``coords`` (x, y, z) of each rank's device in JAX.

    Args:
        comm: the communicator, one rank a device.
        coords: ``device.coords`` of this rank's device.
        core: ``device.core_on_chip``, where a chip shows several.
        wrap: whether the slice closes in each dimension; only whole pods do.

    Raises:
        ValueError: devices that do not fill a box.
    """
    cores = max(comm.allgather(core)) + 1
    if cores == 1:
        return gathered(comm, coords, wrap=wrap)
    closes = [wrap] * len(coords) if isinstance(wrap, bool) else [*wrap]
    return gathered(comm, (*coords, core), wrap=[*closes, False])


def _ask(function: Any, *arguments: Any) -> None:
    status = function(*arguments)
    if status != 0:
        name = getattr(function, "__name__", "FJMPI_Topology")
        raise ValueError(f"{name} failed with status {status}: pass torus= yourself")


def _handle(comm: Ranks) -> Any:
    """A communicator as C has it: a pointer in Fujitsu's MPI, which comes from Open MPI."""
    return ctypes.c_void_p(comm.handle)
