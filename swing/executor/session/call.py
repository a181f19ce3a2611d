"""A collective call as an object: what the user passed, and what was asked for.

The object goes through checks, choice and preparation as it is. What it needs to be read for is
read once: the buffers by `swing.executor.buffers.reading`, the choices by the planner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from mpi4py import MPI

from swing.executor.engines.wait import Deadline
from swing.schedules.schedule import Schedule
from swing.torus import Torus

Options: TypeAlias = tuple[tuple[str, Any], ...]
"""Options of an algorithm, as pairs of name and value."""


class AlgorithmSpec(NamedTuple):
    """The choices in a call's arguments.

    Args:
        algorithm: a name, or a schedule.
        torus: the torus; None for that of the communicator.
        consistent: whether all ranks must get the same bits.
        options: the algorithm's options.
    """

    algorithm: str | Schedule = "auto"
    torus: Torus | None = None
    consistent: bool = True
    options: Options = ()

    def check(self) -> None:
        """Raise TypeError, which names the remedy, unless the choices have the right types."""
        algorithm, torus, _, options = self
        if not isinstance(algorithm, (str, Schedule)):
            raise TypeError(
                f"algorithm must be a name, such as 'swing', or a swing.Schedule, not {algorithm!r}"
            )
        if not (torus is None or isinstance(torus, Torus)):
            raise TypeError(
                f"torus must be a swing.Torus, such as swing.Torus((2, 4)), not {torus!r}"
            )
        for name, value in options:
            try:
                hash(value)  # plans are cached by it
            except TypeError:
                raise TypeError(
                    f"{name} must be a number, a name or a tuple of these, not {value!r}"
                ) from None


@dataclass(frozen=True, slots=True)
class CollectiveCall:
    """A call of a collective, with its arguments as the user passed them.

    Args:
        name: MPI's name of the collective, without ``MPI_``.
        comm: the communicator.
        sendbuf: the send buffer, or ``MPI.IN_PLACE``.
        recvbuf: the receive buffer; None in an allreduce that reduces ``sendbuf`` in place.
        op: the operation; None for a collective without one.
        spec: the algorithm, torus and options that were asked for.
        deadline: when to give up waiting for other ranks; None waits without a limit.
        recvcounts: (size,) elements of each rank's piece, for a reduce-scatter.
    """

    name: str
    comm: MPI.Comm
    sendbuf: Any
    recvbuf: Any
    op: MPI.Op | None
    spec: AlgorithmSpec
    deadline: Deadline | None = None
    recvcounts: Sequence[int] | None = None

    @property
    def kind(self) -> str:
        """The collective, without the ending by which MPI's name tells pieces of equal length."""
        return self.name.removesuffix("_block").removesuffix("v")

    @property
    def in_place(self) -> bool:
        """Whether the result replaces the vector."""
        return self.recvbuf is None or self.sendbuf is MPI.IN_PLACE

    @property
    def result(self) -> Any:
        """The buffer that receives the result."""
        return self.sendbuf if self.recvbuf is None else self.recvbuf

    @property
    def intracomm(self) -> MPI.Intracomm:
        """The communicator of a call that a schedule runs, which is never an intercommunicator."""
        assert isinstance(self.comm, MPI.Intracomm)
        return self.comm
