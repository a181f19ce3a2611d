"""Allreduce schedules for torus networks, and an allreduce that runs them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from swing import display, executor, placement
from swing.algorithms import ALGORITHMS
from swing.executor import alloc, allreduce, explain
from swing.schedules.collectives import ALL
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.select.choose import choose, schedule
from swing.torus import Torus
from swing.verification.deadlock import deadlock
from swing.verification.outcome import Report, ScheduleError
from swing.verification.proof import verify

if TYPE_CHECKING:
    from swing.executor.comm import Comm as Comm

__all__ = [
    "ALGORITHMS", "ALL", "Op", "Report", "Schedule", "ScheduleError", "Step", "Torus", "alloc",
    "allreduce", "choose", "deadlock", "display", "explain", "placement", "schedule", "verify",
]  # fmt: skip

_OLD_NAMES = ("compose", "export", "line", "machines")
"""Modules that have moved: see `swing.deprecated`."""


def __getattr__(name: str) -> Any:
    """``swing.Comm`` is derived from mpi4py's class when it is first asked for, and needs MPI."""
    if name == "Comm":
        return executor.load("comm").Comm
    if name == "__version__":
        # Imported here because it takes a fifth of the time that `import swing` does.
        return import_module("importlib.metadata").version("torus-swing")
    if name in _OLD_NAMES:
        return import_module(f"swing.{name}")
    raise AttributeError(f"module 'swing' has no attribute {name!r}")
