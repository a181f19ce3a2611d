"""Nccl: messages between GPUs by NCCL, in order with the kernels of CuPy's current stream.

Nobody waits here: what is sent and received between two waits of a plan is one group of NCCL's,
queued behind the kernels that made it ready and before those that use it. Plans are of whole
messages, so that a step is a group on every rank and groups can not wait for each other.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from swing.executor.mpi_abi import asked

WANTED = "SWING_NCCL"
"""The environment variable that asks for it with 1, the same on all ranks."""

MEND = 'pip install "nvidia-nccl-cu12"'

NCCL = "none: NCCL moves GPU memory, the GPU reduces, both on CuPy's current stream"


def is_wanted() -> bool:
    """Whether messages between GPUs go by NCCL; ValueError if `WANTED` says neither 0 nor 1."""
    return bool(asked(WANTED))


class Nccl:
    """Messages under way between the ranks of a communicator, each with a GPU of its own.

    Args:
        comm: all of its ranks make theirs together.

    Raises:
        RuntimeError: CuPy or NCCL is missing on some rank, or NCCL can not serve these GPUs: two
            ranks on one, for example.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        name, why = b"", ""
        try:
            from cupy.cuda import nccl

            name = nccl.get_unique_id()  # not there where CuPy has found no NCCL
        except (ImportError, AttributeError, RuntimeError) as error:
            why = f"rank {comm.rank}: {type(error).__name__}: {error}"
        told = comm.allgather((name, why))
        trouble = [why for _, why in told if why]
        if trouble:
            raise RuntimeError(f"{WANTED}=1 needs NCCL on every rank: {MEND} ({trouble[0]})")
        self._nccl, self._comm = nccl, nccl.NcclCommunicator(comm.size, told[0][0], comm.rank)
        self._group: list[tuple[Any, int, int, int]] = []
        self._stream: Any = None

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
        self._stream = cupy.cuda.get_current_stream()
        self._nccl.groupStart()
        try:
            for call, address, nbytes, peer in group:
                call(address, nbytes, self._nccl.NCCL_UINT8, peer, self._stream.ptr)
        finally:
            self._nccl.groupEnd()

    def close(self, failed: bool) -> None:
        """Give up what NCCL keeps, once all is over; after a failure at once."""
        if failed:
            self._comm.abort()
            return
        if self._stream is not None:
            self._stream.synchronize()
        self._comm.destroy()

    def _add(self, call: Any, message: tuple[Any, int]) -> None:
        (data, nbytes, _), peer = message
        self._group.append((call, data.ctypes.data, nbytes, peer))
