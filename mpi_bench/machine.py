"""What the measured numbers were measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import mpi4py
import numpy as np
from mpi4py import MPI


@dataclass(frozen=True)
class MachineInfo:
    """The ranks of a communicator and what they run on.

    Args:
        ranks: how many there are.
        cores: cores of all nodes together that they may run on.
        shared: some node has more ranks than cores.
        memory: bytes a rank can have where each takes the same share of its node.
        mpi: name and version of the MPI library.
        software: the rest of what runs, with versions, and on what kind of machine.
    """

    ranks: int
    cores: int
    shared: bool
    memory: int
    mpi: str
    software: str

    def __str__(self) -> str:
        where = f"{_some(self.ranks, 'rank')} on {_some(self.cores, 'core')}"
        return f"{where}, {self.mpi}, {self.software}"


def machine(comm: MPI.Intracomm) -> MachineInfo:
    """What the ranks of a communicator run on; all of them must ask."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = len(set().union(*node.allgather(_my_cores())))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // node.size
    name, version = MPI.get_vendor()
    found = MachineInfo(
        ranks=comm.size,
        cores=comm.allreduce(cores if node.rank == 0 else 0),
        shared=comm.allreduce(node.size > cores, MPI.LOR),
        memory=comm.allreduce(memory, MPI.MIN),
        mpi=f"{name} {'.'.join(map(str, version))}",
        software=f"mpi4py {mpi4py.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )
    node.Free()
    return found


def _some(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _my_cores() -> set[int]:
    # A launcher may bind each rank to cores of its own: only their union counts those in use.
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
