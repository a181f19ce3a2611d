"""An algorithm as a newcomer would add it: one function of the step index, and one line.

``pytest -p tests.star -m theorem`` runs every theorem on it, and on it alone.
"""

from __future__ import annotations

import numpy as np

from swing.algorithms import SHIPPED
from swing.schedules.blocks import one_block
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Torus
from tests import cases


def star(torus: Torus) -> Schedule:
    """Every rank sends its vector to rank 0, which reduces them and sends the result to all."""
    others = np.arange(1, torus.size)
    center = np.zeros_like(others)

    def step(s: int) -> Step:
        if s == 0:
            return Step(Op.REDUCE, others, center, one_block(center))
        return Step(Op.COPY, center, others, one_block(center))

    return Schedule("star", torus, nblocks=1, nsteps=2 if torus.size > 1 else 0, step=step)


def pytest_configure() -> None:
    """Add it, where pytest loads this file as a plugin; an import alone changes nothing."""
    SHIPPED["star"] = star
    cases.NAMES[:] = ["star"]
