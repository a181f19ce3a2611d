"""Allreduce schedules for torus networks, and an allreduce that runs them."""

from typing import TYPE_CHECKING, Any

from swing import executor, machines
from swing.algorithms import ALGORITHMS
from swing.correctness import Report, ScheduleError, verify
from swing.deadlock import deadlock
from swing.executor import alloc, allreduce, explain
from swing.schedule import Op, Schedule, Step
from swing.select import choose, schedule
from swing.torus import Torus

if TYPE_CHECKING:
    from swing.executor.comm import Comm as Comm

__all__ = [
    "ALGORITHMS",
    "Op",
    "Report",
    "Schedule",
    "ScheduleError",
    "Step",
    "Torus",
    "alloc",
    "allreduce",
    "choose",
    "deadlock",
    "explain",
    "machines",
    "schedule",
    "verify",
]


def __getattr__(name: str) -> Any:
    """``swing.Comm`` is a class of mpi4py's: it is made when it is asked for, with MPI."""
    if name == "Comm":
        return executor.load("comm").Comm
    raise AttributeError(f"module 'swing' has no attribute {name!r}")
