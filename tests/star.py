"""Example of a new algorithm: one function of the step index, and one line that registers it.

``pytest -p tests.star -m theorem`` runs the tests marked `theorem` on this algorithm alone.
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
    """Send all vectors to rank 0, which reduces them and sends the result to all."""
    others = np.arange(1, torus.size)
    center = np.zeros_like(others)

    def step(s: int) -> Step:
        if s == 0:
            return Step(Op.REDUCE, others, center, one_block(center))
        return Step(Op.COPY, center, others, one_block(center))

    return Schedule("star", torus, nblocks=1, nsteps=2 if torus.size > 1 else 0, step=step)


def pytest_configure() -> None:
    """Register the algorithm when pytest loads this file as a plugin; an import does not."""
    SHIPPED["star"] = star
    cases.NAMES[:] = ["star"]
