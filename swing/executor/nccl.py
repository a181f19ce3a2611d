"""Nccl: messages between GPUs by NCCL, in order with the kernels of CuPy's current stream.

Nobody waits here: what is sent and received between two waits of a plan is one group of NCCL's,
queued behind the kernels that made it ready and before those that use it. Plans are of whole
messages, so that a step is a group on every rank and groups can not wait for each other.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from swing.executor.library import asked

WANTED = "SWING_NCCL"
"""The environment variable that asks for it with 1, the same on all ranks."""

NCCL = "none: NCCL moves GPU memory, the GPU reduces, both on CuPy's current stream"


def is_wanted() -> bool:
    """Whether messages between GPUs go by NCCL; ValueError if `WANTED` says neither 0 nor 1."""
    return bool(asked(WANTED))


class Nccl:
    """Messages under way between the ranks of a communicator, each with a GPU of its own.

    Args:
        comm: all of its ranks make theirs together.

    Raises:
        ImportError: CuPy or NCCL is missing.
        RuntimeError: NCCL can not serve these GPUs; two ranks on one, for example.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        try:
            from cupy.cuda import nccl
        except ImportError as error:
            raise ImportError(f'{WANTED}=1 needs NCCL: pip install "nvidia-nccl-cu12"') from error
        name = comm.bcast(nccl.get_unique_id() if comm.rank == 0 else None)
        self._nccl, self._comm = nccl, nccl.NcclCommunicator(comm.size, name, comm.rank)
        self._group: list[tuple[Any, int, int, int]] = []

    def irecv(self, step: int, slot: int, message: tuple[Any, int]) -> None:
        """Receive, with the next group."""
        self._add(self._comm.recv, message)

    def isend(self, step: int, slot: int, message: tuple[Any, int]) -> None:
        """Send, with the next group."""
        self._add(self._comm.send, message)

    def take(self, step: int, slots: range) -> None:
        """Queue the group; what is awaited now is in it or in one before."""
        import cupy

        group, self._group = self._group, []
        if not group:
            return
        stream = cupy.cuda.get_current_stream().ptr
        self._nccl.groupStart()
        for call, address, nbytes, peer in group:
            call(address, nbytes, self._nccl.NCCL_UINT8, peer, stream)
        self._nccl.groupEnd()

    def close(self) -> None:
        """Give up what NCCL keeps."""
        self._comm.destroy()

    def _add(self, call: Any, message: tuple[Any, int]) -> None:
        (data, nbytes, _), peer = message
        self._group.append((call, data.ctypes.data, nbytes, peer))
