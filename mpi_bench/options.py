"""What fits the ranks that are running, and in words what does not."""

from __future__ import annotations

import math

from mpi4py import MPI

from swing import Torus
from swing.executor.gpu import device
from swing.executor.session.infer_torus import shape_of
from swing.sizes import format_size


def fit(torus: Torus | None, comm: MPI.Intracomm) -> Torus:
    """The torus asked for, if it has as many ranks as are running; else what they make."""
    given, _ = shape_of(comm)
    if torus and torus.size != comm.size:
        raise ValueError(
            f"{torus.name} has {torus.size} ranks but {comm.size} are running: "
            f"mpiexec -n {torus.size}, or --topology {given.name}"
        )
    return torus or given


def use_gpu(comm: MPI.Intracomm) -> None:
    """Let each rank work on a GPU of its node; ValueError if some rank has none."""
    for trouble in comm.allgather(device.trouble()):
        if trouble:
            raise ValueError(trouble)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    device.use(node.rank)
    node.Free()


def counts(sizes: list[int], itemsize: int, memory: int) -> list[int]:
    """Elements of each size, if they are whole and three vectors fit the memory of a rank."""
    for size in sizes:
        if size % itemsize:
            raise ValueError(
                f"{format_size(size)} is no whole number of elements: "
                f"choose --sizes divisible by {itemsize}, or another --dtype"
            )
    if 3 * max(sizes) > memory:
        most = format_size(2 ** int(math.log2(memory / 3)))
        raise ValueError(
            f"{format_size(max(sizes))} needs three vectors of it on each rank, more than the "
            f"machine has: choose --sizes up to {most}, or fewer ranks"
        )
    return [size // itemsize for size in sizes]
