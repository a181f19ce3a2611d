"""What a call would do, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

from swing.executor.collectives import Delegated, Make
from swing.executor.gpu import device
from swing.executor.session.planner import AlgorithmSpec, check_types
from swing.torus import Torus


@dataclass(frozen=True)
class Explanation:
    """What a call would do; ``str()`` says it in a few lines.

    Args:
        algorithm, variant, ports: of the schedule; "MPI_Allreduce" and the like where MPI does it.
        torus: the ranks as the schedule sees them, and where that comes from.
        why: the reason for the algorithm.
        staging: how a device buffer reaches MPI; empty for host memory.
        scratch: bytes of scratch memory on this rank, staging not counted. An allreduce keeps it
            until the communicator is freed, for all allreduces on it.
        engine: what carries it out, and why if it is not compiled code; empty where MPI does.
    """

    algorithm: str
    variant: str
    ports: int
    torus: Torus | None
    torus_from: str
    why: str
    staging: str
    scratch: int
    engine: str = ""

    def __str__(self) -> str:
        lines = [f"algorithm: {' '.join(filter(None, (self.algorithm, self.variant)))}"]
        if self.torus is not None:
            lines[0] += f", {self.ports} port{'s' * (self.ports > 1)}"
        lines.append(f"why: {self.why}")
        if self.torus is not None:
            lines.append(f"torus: {self.torus}, from {self.torus_from}")
        if self.staging:
            lines.append(f"staging: {self.staging}")
        if self.engine:
            lines.append(f"engine: {self.engine}")
        return "\n".join([*lines, f"scratch memory: {self.scratch} bytes"])


def explain(make: Make, name: str, comm: MPI.Comm, spec: AlgorithmSpec, *args: Any) -> Explanation:
    """What a call would do.

    Args:
        make: what makes its task.
        name: what MPI calls it.
        comm: the communicator.
        spec: what is asked for.
        args: those of ``make``.
    """
    check_types(spec)
    staging = ""
    if any(map(device.is_on_device, args[:2])):
        staging = device.STAGING
        args = (*map(device.host_for, args[:2]), *args[2:])
    made = make(comm, spec, *args)
    if isinstance(made, Delegated):
        return Explanation(f"MPI_{name}", "", 0, None, "", made.why, staging, 0)
    schedule = made.schedule
    ours = getattr(spec[0], "collective", "") == schedule.collective
    given = "the schedule" if ours else spec[1] and "torus="
    return Explanation(
        schedule.name,
        schedule.variant,
        len(schedule.parts),
        schedule.torus,
        given or made.context.planner.origin,
        made.why,
        staging,
        made.scratch,
        made.engine,
    )
