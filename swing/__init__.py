"""Allreduce schedules for torus networks, and an allreduce that runs them."""

from swing.algorithms import ALGORITHMS
from swing.schedule import Op, Schedule, Step
from swing.select import choose, schedule
from swing.torus import Torus

__all__ = ["ALGORITHMS", "Op", "Schedule", "Step", "Torus", "choose", "schedule"]
