"""Allreduce schedules for torus networks, and an allreduce that runs them."""

from swing.algorithms import ALGORITHMS
from swing.correctness import Report, ScheduleError, verify
from swing.deadlock import deadlock
from swing.executor import allreduce, explain
from swing.schedule import Op, Schedule, Step
from swing.select import choose, schedule
from swing.torus import Torus

__all__ = [
    "ALGORITHMS",
    "Op",
    "Report",
    "Schedule",
    "ScheduleError",
    "Step",
    "Torus",
    "allreduce",
    "choose",
    "deadlock",
    "explain",
    "schedule",
    "verify",
]
