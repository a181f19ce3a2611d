"""The table of algorithms: from a name to the Algorithm that makes a Schedule on a Torus.

Each algorithm's module states its cost on a torus of p ranks and D dimensions in the notation of
the Swing paper: T = log2 p·α·Λ + n/D·β·Ψ·Ξ, where α is the latency of a step, β the time per byte
on one port, and n the bytes of the vector. Λ, Ψ and Ξ are the factors by which latency, bytes and
congestion exceed those of an ideal algorithm, so 1 is best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swing.algorithms.bruck import BRUCK
from swing.algorithms.bucket import BUCKET
from swing.algorithms.direct import LINEAR, PAIRWISE
from swing.algorithms.disjoint_trees import DISJOINT_TREES
from swing.algorithms.hamiltonian import HAMILTONIAN
from swing.algorithms.plugins import Algorithms
from swing.algorithms.recursive_doubling import MIRRORED_RECURSIVE_DOUBLING, RECURSIVE_DOUBLING
from swing.algorithms.recursive_multiplying import RECURSIVE_MULTIPLYING, TRIVANCE
from swing.algorithms.ring import RING
from swing.algorithms.swing import SWING
from swing.algorithms.windows import WINDOWS
from swing.checks import shown, unknown
from swing.schedules.schedule import Schedule
from swing.torus import Torus

SHIPPED: dict[str, Callable[..., Schedule]] = {
    algorithm.name: algorithm
    for algorithm in (
        SWING, RECURSIVE_DOUBLING, MIRRORED_RECURSIVE_DOUBLING, RECURSIVE_MULTIPLYING, TRIVANCE,
        RING, HAMILTONIAN, BUCKET, WINDOWS, DISJOINT_TREES, BRUCK, PAIRWISE, LINEAR,
    )
}  # fmt: skip
"""The algorithms of this library. `ALGORITHMS` makes an `Algorithm` of a plain function."""
ALGORITHMS = Algorithms(SHIPPED)
"""Algorithms by name: those of this library, then those of other packages (see `plugins`)."""
DEFAULT = SWING.name
"""Name of the default algorithm."""


def check_name(name: str) -> None:
    """Raise ValueError unless there is an algorithm of this name."""
    first, comma, _ = name.partition(",") if isinstance(name, str) else (name, "", "")
    if comma and first in ALGORITHMS:  # as commands write it
        raise ValueError(
            f"no algorithm {shown(name)}: pass {first!r}, and each option as an argument of its own"
        )
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise unknown("algorithm", name, [*ALGORITHMS, "auto"])


def make(name: str, torus: Torus, **options: Any) -> Schedule:
    """Make the schedule of an algorithm on a torus; see `swing.schedule`.

    Args:
        name: a key of `ALGORITHMS`.
        torus: the ranks.
        options: keyword arguments of the algorithm.

    Raises:
        TypeError: ``torus`` or an option has the wrong type.
        ValueError: an unknown algorithm or option, or a value out of range.
    """
    check_name(name)
    schedule = ALGORITHMS[name](torus, **options)
    # A function from another package may return anything.
    if name not in SHIPPED and not (isinstance(schedule, Schedule) and schedule.torus == torus):
        raise ValueError(
            f"algorithm {name!r} does not make a schedule for {torus}: {shown(schedule)}"
        )
    return schedule
