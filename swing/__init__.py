"""Allreduce schedules for torus networks, and an allreduce that runs them."""

from swing.algorithms import ALGORITHMS, schedule
from swing.schedule import Op, Schedule, Step
from swing.torus import Torus

__all__ = ["ALGORITHMS", "Op", "Schedule", "Step", "Torus", "schedule"]
