"""Explanation of a collective call: the algorithm it would run, and the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

from swing.algorithms.spelling import spell
from swing.executor.buffers.transport import Kind
from swing.executor.engines.wait import chosen
from swing.executor.gpu import device
from swing.executor.session.call import CollectiveCall, Options
from swing.executor.tasks import Delegated, Prepare
from swing.schedules.schedule import Schedule
from swing.settings import ENGINE
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
            blocking allreduces on a communicator share it, and it is freed with the communicator
            or, if it is small, passes to the next one of the same ranks.
        waiting: how ranks wait for each other, and why (see `swing.executor.engines.wait`); empty
            if the MPI library runs the collective.
        engine: the engine that runs the plan in a blocking call without ``timeout=``, and why if
            it is not the compiled one; empty if the MPI library runs the collective.
        options: the options that were asked for, or chosen by "auto".
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
    options: Options = ()

    @property
    def name(self) -> str:
        """The algorithm with its options, as command lines take it."""
        return spell(self.algorithm, dict(self.options))

    def __str__(self) -> str:
        lines = [f"algorithm: {self.name}", f"why: {self.why}"]
        # What the options leave to the algorithm's defaults is added in words.
        said = dict(self.options)
        if self.variant and "variant" not in said:
            lines[0] += f", variant {self.variant}"
        if self.torus is not None and "ports" not in said:
            lines[0] += f", {self.ports} port{'s' * (self.ports > 1)}"
        if self.torus is not None:
            lines.append(f"torus: {self.torus}, from {self.torus_from}")
        if self.staging:
            lines.append(f"staging: {self.staging}")
        if self.engine:
            lines.append(f"engine: {self.engine}")
        if self.waiting:
            lines.append(f"waiting: {self.waiting}")
        return "\n".join([*lines, f"scratch memory: {self.scratch} bytes"])


def explain(prepare: Prepare, call: CollectiveCall) -> Explanation:
    """Explain a collective call by preparing it; the task is not started.

    Args:
        prepare: the function of `swing.executor.collectives` that prepares the call.
        call: the call.

    Raises:
        TypeError, ValueError: as ``prepare``.
    """
    call.spec.check()
    staging = ""
    if device.is_on_device(call.sendbuf) or device.is_on_device(call.recvbuf):
        staging = Kind.STAGED.value
        host = map(device.host_for, (call.sendbuf, call.recvbuf))
        call = replace(call, **dict(zip(("sendbuf", "recvbuf"), host, strict=True)))
    task = prepare(call)
    if isinstance(task, Delegated):
        return Explanation(f"MPI_{call.name}", "", 0, None, "", task.why, staging, 0)
    schedule = task.schedule
    algorithm, torus, *_ = call.spec
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
        engine_of(task.engine),
        "{}: {}".format(*chosen()),
        task.options,
    )


def engine_of(engine: str) -> str:
    """Return a description of an engine that also says if SWING_ENGINE asks for another one."""
    if ENGINE.get() == "compiled" and engine.startswith("plain"):
        return f"{engine}; SWING_ENGINE=compiled does not apply"
    return engine
