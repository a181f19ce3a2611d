"""Transport: how a vector in the user's memory reaches the other ranks.

The base class is the transport of host memory, which MPI and numpy access where it is. Those of
GPU memory are in `swing.executor.gpu`. `swing.executor.dispatch.transport_of` chooses one, and the
plain engine calls its methods without asking which one it is. The compiled engine runs on `HOST`
only. Only blocking allreduces use transports: other collectives copy whole GPU buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any

import numpy as np

from swing.executor.buffers.reductions import Reduction


class Kind(Enum):
    """The transports that a caller tells apart; the value is `Transport.staging`."""

    HOST = ""
    STAGED = "through pinned host memory, in parts and in order with CuPy's current stream"
    GPU_AWARE = "none: MPI reads GPU memory, the GPU reduces, on CuPy's current stream"
    NCCL = "none: NCCL moves GPU memory, the GPU reduces, both on CuPy's current stream"
    IPC = "none: ranks of a node read and write each other's GPU memory, by CUDA's handles"


class Transport:
    """Host memory.

    A subclass puts other memory in the place of the user's, and overrides what differs; `start` and
    `finish` are enough if it copies whole vectors. It is made for each call, and has to take
    ``[buf, …]`` specifications apart and to refuse a receive buffer that is read-only: later checks
    see its own buffers only. `finish` is called at the end even if an error came before `start`.

    Attributes:
        kind: which transport it is; HOST for one of plain host memory.
        on_gpu: whether kernels on the GPU copy and reduce.
        source, target: the buffers or specifications in place of the user's, with their types and
            lengths; in place, they are one object. `HOST` has none.
    """

    kind = Kind.HOST
    on_gpu = False
    source: Any
    target: Any

    @property
    def staging(self) -> str:
        """What moves the data, in words, for `swing.explain`."""
        return self.kind.value

    def active(self) -> AbstractContextManager[Any]:
        """A context in which the buffers' device is the current one."""
        return nullcontext()

    def start(self) -> None:
        """Begin to copy the send buffer, which can go on while the plan is prepared."""

    def finish(self) -> None:
        """Wait until nothing uses memory that ends with the call."""

    def before_mpi(self) -> None:
        """Make the whole send buffer ready for an MPI call, which takes the place of a plan."""
        self.start()

    def after_mpi(self) -> None:
        """Hand over the whole receive buffer that an MPI call has written."""

    def before_message(self) -> Callable[[], None] | None:
        """A function to be called before every message; None if none is needed."""
        return None

    def stage(self, plan: Any, dtype: np.dtype[Any], in_place: bool) -> Iterable[Any]:
        """The plan with the instructions that this transport adds."""
        instructions: Iterable[Any] = plan
        return instructions

    def fetch(self, part: np.ndarray) -> None:
        """Wait until a part of the send buffer is in host memory."""

    def put(self, part: np.ndarray) -> None:
        """Begin to hand over a part of the receive buffer in host memory."""

    def scratch(self, count: int, dtype: np.dtype[Any]) -> np.ndarray:
        """(count,) elements of new memory of this kind."""
        return np.empty(count, dtype)

    def copy(self, out: np.ndarray, array: np.ndarray) -> None:
        """Copy one vector to another."""
        np.copyto(out, array)

    def reduction(self, reduce: Reduction) -> Reduction:
        """The function that reduces vectors of this transport."""
        return reduce

    def chains(self, reduce: Reduction) -> bool:
        """Whether that function can reduce more than two vectors at once."""
        return False


HOST = Transport()
