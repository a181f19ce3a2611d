"""GPU memory that all ranks of a node can access, by CUDA's interprocess (IPC) memory handles.

It needs ranks that share a GPU, or GPUs with peer access to each other's memory. An allreduce in
such memory runs the plan of `swing.executor.plan.shared`, with kernels on CuPy's current stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.plan.shared import Open

BLOCK = 2**21
"""Bytes of the blocks in which CUDA allocates memory."""


class DeviceWindow(Open):
    """A window in GPU memory; made by `open_window`."""

    def __init__(
        self, comm: MPI.Intracomm, memory: Any, starts: Sequence[int], nbytes: int
    ) -> None:
        super().__init__(starts, nbytes, comm.rank)
        # The last barrier may outlive the caller's communicator, which must not be freed before.
        self._comm, self._memory, self._gpu = comm.Dup(), memory, memory.device
        self._root = _Root(memory)

    def array(self, shape: Any, dtype: np.dtype[Any]) -> Any:
        """This rank's memory as a CuPy array."""
        import cupy

        whole = cupy.cuda.UnownedMemory(self._memory.ptr, self._nbytes, self._root)
        return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(whole, 0))

    def free(self) -> None:
        """Free the memory as soon as no rank uses it."""
        with self._gpu:
            _close(self._starts, self._rank)
        # CUDA requires that all other processes have closed their handles before memory is freed.
        _closing.append((self._comm.Ibarrier(), self._comm, self._root))
        del self._root, self._memory
        release()


class _Root:
    """The owner of a window's memory: it lives as long as any view of the window's array."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory


_closing: list[tuple[MPI.Request, MPI.Intracomm, _Root]] = []
"""Windows that this rank has freed: the barrier that all ranks enter then, its communicator, and
the memory."""


def release() -> None:
    """Drop the memory of windows that all ranks have freed."""
    for closing in [*_closing]:
        barrier, comm, _ = closing
        if barrier.Test():
            comm.Free()
            _closing.remove(closing)


def open_window(comm: MPI.Intracomm, nbytes: int) -> DeviceWindow | None:
    """Allocate a window in GPU memory; collective.

    Args:
        comm: a communicator whose ranks are on one node.
        nbytes: the number of bytes per rank.

    Returns:
        The window; None on every rank if one of them has no CuPy or too little GPU memory, or
        cannot access another rank's memory.
    """
    release()
    memory: Any = None
    mine: bytes | None = None
    with suppress(ImportError, RuntimeError, MemoryError):  # bases of CuPy's errors
        import cupy

        # A handle gives access to the whole block that CUDA has allocated, from its beginning. So
        # bypass CuPy's pool and allocate whole blocks, which no other allocation shares.
        memory = cupy.cuda.Memory(max(-(-nbytes // BLOCK), 1) * BLOCK)
        mine = cupy.cuda.runtime.ipcGetMemHandle(memory.ptr)
    # Every rank takes part in all collective calls that follow, even if something failed on it.
    handles, starts = comm.allgather(mine), []
    with suppress(RuntimeError):
        for rank, handle in enumerate(handles if None not in handles else ()):
            own = rank == comm.rank  # a process cannot open its own handle
            starts.append(memory.ptr if own else cupy.cuda.runtime.ipcOpenMemHandle(handle))
    if comm.allreduce(len(starts) == comm.size, MPI.LAND):
        return DeviceWindow(comm, memory, starts, nbytes)
    _close(starts, comm.rank)
    comm.Barrier()  # see `DeviceWindow.free`
    return None


def _close(starts: Sequence[int], rank: int) -> None:
    """Close the other ranks' memory, after the kernels on CuPy's current stream have finished."""
    if not starts:
        return
    import cupy

    with suppress(RuntimeError):  # reports errors of earlier kernels, too
        cupy.cuda.get_current_stream().synchronize()
    for other, start in enumerate(starts):
        if other != rank:
            with suppress(RuntimeError):
                cupy.cuda.runtime.ipcCloseMemHandle(start)
