"""Ipc: GPU memory that all ranks of a node can read and write, by CUDA's interprocess handles.

That is so where the ranks share a GPU, and where their GPUs reach each other's memory. An allreduce
there is the one of `swing.executor.plan.shared`, with kernels on CuPy's current stream for its
loops.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.plan.shared import Open

IPC = "none: ranks of a node read and write each other's GPU memory, by CUDA's handles"


BLOCK = 2**21
"""Bytes that CUDA allocates at a time."""


class DeviceWindow(Open):
    """GPU memory of all ranks that lies open to all of them; made by `open_window`."""

    def __init__(
        self, comm: MPI.Intracomm, memory: Any, starts: Sequence[int], nbytes: int
    ) -> None:
        super().__init__(starts, nbytes, comm.rank)
        self._comm, self._memory, self._gpu = comm, memory, memory.device

    def array(self, shape: Any, dtype: np.dtype[Any]) -> Any:
        """This rank's memory: a CuPy array."""
        import cupy

        root = _Root(self._memory)
        self._root = weakref.ref(root)
        whole = cupy.cuda.UnownedMemory(self._memory.ptr, self._nbytes, root)
        return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(whole, 0))

    def free(self) -> None:
        """Give the memory back; collective."""
        with self._gpu:
            _close(self._starts, self._rank)
        self._comm.Barrier()
        self._memory = None


class _Root:
    """What keeps the memory of an array, and is kept by all its views."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory


def open_window(comm: MPI.Intracomm, nbytes: int) -> DeviceWindow | None:
    """GPU memory of all ranks, open to all; collective.

    None on every rank if some GPU can not reach another one's memory, or has too little.

    Args:
        comm: its ranks are on one node.
        nbytes: of every rank.
    """
    memory: Any = None
    mine: bytes | None = None
    with suppress(ImportError, RuntimeError, MemoryError):  # CuPy's errors are of these
        import cupy

        # Of no pool, and in CUDA's own blocks: a handle opens all of its block.
        memory = cupy.cuda.Memory(max(-(-nbytes // BLOCK), 1) * BLOCK)
        mine = cupy.cuda.runtime.ipcGetMemHandle(memory.ptr)
    handles, starts = comm.allgather(mine), []
    with suppress(RuntimeError):
        for rank, handle in enumerate(handles if None not in handles else ()):
            own = rank == comm.rank
            starts.append(memory.ptr if own else cupy.cuda.runtime.ipcOpenMemHandle(handle))
    if comm.allreduce(len(starts) == comm.size, MPI.LAND):
        return DeviceWindow(comm, memory, starts, nbytes)
    _close(starts, comm.rank)
    comm.Barrier()
    return None


def _close(starts: Sequence[int], rank: int) -> None:
    """Close what has been opened of other ranks, once no kernel uses it any more."""
    if not starts:
        return
    import cupy

    with suppress(RuntimeError):  # an error of some kernel before
        cupy.cuda.get_current_stream().synchronize()
    for other, start in enumerate(starts):
        if other != rank:
            with suppress(RuntimeError):
                cupy.cuda.runtime.ipcCloseMemHandle(start)
