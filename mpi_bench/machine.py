"""Describe the machine of a measurement: ranks, cores, memory, and versions of the software."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import mpi4py
import numpy as np
from mpi4py import MPI


@dataclass(frozen=True)
class MachineInfo:
    """The machine that the ranks of a communicator run on.

    Args:
        ranks: number of ranks.
        cores: cores that they may run on, summed over all nodes.
        shared: whether any node has more ranks than cores.
        memory: bytes per rank if each takes an equal share of its node; the least over all nodes.
        mpi: name and version of the MPI library.
        software: versions of the other software, the system and the processor architecture.
    """

    ranks: int
    cores: int
    shared: bool
    memory: int
    mpi: str
    software: str

    def __str__(self) -> str:
        size = f"{_plural(self.ranks, 'rank')} on {_plural(self.cores, 'core')}"
        return f"{size}, {self.mpi}, {self.software}"


def machine(comm: MPI.Intracomm) -> MachineInfo:
    """Describe the machine of a communicator's ranks; a collective call."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = len(set().union(*node.allgather(_my_cores())))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // node.size
    name, version = MPI.get_vendor()
    info = MachineInfo(
        ranks=comm.size,
        cores=comm.allreduce(cores if node.rank == 0 else 0),
        shared=comm.allreduce(node.size > cores, MPI.LOR),
        memory=comm.allreduce(memory, MPI.MIN),
        mpi=f"{name} {'.'.join(map(str, version))}",
        software=f"mpi4py {mpi4py.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )
    node.Free()
    return info


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _my_cores() -> set[int]:
    # A launcher may bind each rank to its own cores, so the union over a node's ranks is counted.
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
