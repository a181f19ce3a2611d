"""Check the options of mpi_bench against the ranks, GPUs and memory that there are."""

from __future__ import annotations

import math

from mpi4py import MPI

from swing import Torus
from swing.executor.gpu import device
from swing.executor.session.infer_torus import shape_of
from swing.sizes import format_size


def fit(torus: Torus | None, comm: MPI.Intracomm) -> Torus:
    """Return the torus, or by default the one that fits the ranks of a communicator.

    Raises:
        ValueError: the torus has another number of ranks.
    """
    given, _ = shape_of(comm)
    if torus and torus.size != comm.size:
        raise ValueError(
            f"{torus.name} has {torus.size} ranks but {comm.size} are running: "
            f"mpiexec -n {torus.size}, or --topology {given.name}"
        )
    return torus or given


def use_gpu(comm: MPI.Intracomm) -> None:
    """Let each rank work on a GPU of its node; a collective call.

    Raises:
        ValueError: some rank has none.
    """
    for trouble in comm.allgather(device.trouble()):
        if trouble:
            raise ValueError(trouble)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    device.use(node.rank)
    node.Free()


def counts(sizes: list[int], itemsize: int, memory: int) -> list[int]:
    """Return the number of elements of a vector of each size.

    Raises:
        ValueError: it is not whole, or three such vectors exceed the memory of a rank.
    """
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
