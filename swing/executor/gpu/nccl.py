"""Messages between GPUs by NCCL, queued in order with the kernels of CuPy's current stream.

The host never waits: the sends and receives between two WAIT instructions of a plan form one NCCL
group, queued after the kernels that prepare them and before the kernels that use their result.
Plans are compiled with whole messages, not pieces: then every step is one group on every rank, and
groups cannot deadlock by waiting for each other.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from swing.settings import NCCL

INSTALL = 'pip install "nvidia-nccl-cu12"'


def is_wanted() -> bool:
    """Whether the user requests NCCL.

    Raises:
        ValueError: the environment variable SWING_NCCL is neither 0 nor 1.
    """
    return bool(NCCL.get())


class Nccl:
    """NCCL messages between the ranks of a communicator; construction is collective.

    It has the methods by which `swing.executor.engines.plain` begins messages and waits for them.

    Args:
        comm: a communicator whose ranks have one GPU each.

    Raises:
        RuntimeError: CuPy or NCCL is missing on a rank, or NCCL refuses the GPUs, for example if
            two ranks share one.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        name, why = b"", ""
        try:
            from cupy.cuda import nccl

            name = nccl.get_unique_id()  # AttributeError if CuPy has found no NCCL
        except (ImportError, AttributeError, RuntimeError) as error:
            why = f"rank {comm.rank}: {type(error).__name__}: {error}"
        # All ranks raise if one of them cannot go on. The identifier used is that of rank 0.
        replies = comm.allgather((name, why))
        failures = [why for _, why in replies if why]
        if failures:
            raise RuntimeError(f"{NCCL.name}=1 needs NCCL on every rank: {INSTALL} ({failures[0]})")
        self._nccl, self._comm = nccl, nccl.NcclCommunicator(comm.size, replies[0][0], comm.rank)
        # The next group: function, address, bytes and peer of every message.
        self._group: list[tuple[Any, int, int, int]] = []
        self._stream: Any = None

    def irecv(self, step: int, slot: int, message: tuple[Any, int]) -> None:
        """Add a receive to the next group."""
        self._add(self._comm.recv, message)

    def isend(self, step: int, slot: int, message: tuple[Any, int]) -> None:
        """Add a send to the next group."""
        self._add(self._comm.send, message)

    def take(self, step: int, slots: range) -> None:
        """Queue the next group: the messages to wait for are in it, or in an earlier one."""
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
        """Free NCCL's communicator after the last group, or at once if a call has failed."""
        if failed:  # a peer may never send what the stream waits for
            self._comm.abort()
            return
        if self._stream is not None:
            self._stream.synchronize()
        self._comm.destroy()

    def _add(self, call: Any, message: tuple[Any, int]) -> None:
        (data, nbytes, _), peer = message
        self._group.append((call, data.ctypes.data, nbytes, peer))
