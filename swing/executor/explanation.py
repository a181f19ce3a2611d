"""Explanation of a collective call: the algorithm it would run, and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

from swing.executor.buffers.transport import Kind
from swing.executor.collectives import Delegated, Prepare
from swing.executor.engines.wait import chosen
from swing.executor.gpu import device
from swing.executor.session.planner import AlgorithmSpec, check_types
from swing.schedules.schedule import Schedule
from swing.torus import Torus


@dataclass(frozen=True)
class Explanation:
    """The algorithm that a call would run, and why; ``str()`` formats it in a few lines.

    Args:
        algorithm: the schedule's name, "shared memory" for buffers of `swing.alloc`, or
            "MPI_Allreduce" and the like if the MPI library runs the collective.
        variant: the schedule's variant; empty if the algorithm has only one.
        ports: the schedule's ports; 0 if no schedule is run.
        torus: the torus of the schedule; None if no schedule is run.
        torus_from: the origin of the torus: the call, the schedule, or the communicator.
        why: the reason for the algorithm.
        staging: how a GPU buffer reaches MPI; empty for host memory.
        scratch: bytes of scratch memory on this rank, without host memory for staging. All
            blocking allreduces on a communicator share it, and it is freed with the communicator.
        waiting: how ranks wait for each other, and why (see `swing.executor.engines.wait`); empty
            if the MPI library runs the collective.
        engine: the engine that runs the plan in a blocking call without ``timeout=``, and why if
            it is not the compiled one; empty if the MPI library runs the collective.
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
    waiting: str = ""

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
        if self.waiting:
            lines.append(f"waiting: {self.waiting}")
        return "\n".join([*lines, f"scratch memory: {self.scratch} bytes"])


def explain(
    prepare: Prepare, name: str, comm: MPI.Comm, spec: AlgorithmSpec, *args: Any
) -> Explanation:
    """Explain a collective call by preparing it; the task is not started.

    Args:
        prepare: the function of `swing.executor.collectives` that prepares the call.
        name: MPI's name of the collective, without ``MPI_``.
        comm: the communicator.
        spec: the algorithm, torus and options that were asked for.
        args: the other arguments of ``prepare``, the send and receive buffer first.

    Raises:
        TypeError, ValueError: as ``prepare``.
    """
    check_types(spec)
    staging = ""
    if any(map(device.is_on_device, args[:2])):
        staging = Kind.STAGED.value
        args = (*map(device.host_for, args[:2]), *args[2:])
    task = prepare(comm, spec, *args)
    if isinstance(task, Delegated):
        return Explanation(f"MPI_{name}", "", 0, None, "", task.why, staging, 0)
    schedule = task.schedule
    algorithm, torus, *_ = spec
    # A user's schedule has its own torus. A call of another collective runs another schedule: on
    # the torus that the call specifies, if any, else on that of the user's schedule.
    is_own = getattr(algorithm, "collective", "") == schedule.collective
    if torus is not None and not is_own:
        torus_from = "torus="
    elif isinstance(algorithm, Schedule):
        torus_from = "the schedule"
    else:
        torus_from = task.context.planner.origin
    return Explanation(
        schedule.name,
        schedule.variant,
        len(schedule.parts),
        schedule.torus,
        torus_from,
        task.why,
        staging,
        task.scratch,
        task.engine,
        "{}: {}".format(*chosen()),
    )
