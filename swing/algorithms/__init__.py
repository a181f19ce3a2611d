"""The table of algorithms: from a name to a function that makes a Schedule on a Torus.

Each algorithm's module states its cost on a torus of p ranks and D dimensions in the notation of
the Swing paper: T = log2 p·α·Λ + n/D·β·Ψ·Ξ, where α is the latency of a step, β the time per byte
on one port, and n the bytes of the vector. Λ, Ψ and Ξ are the factors by which latency, bytes and
congestion exceed those of an ideal algorithm, so 1 is best.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

from swing.algorithms import (
    bucket,
    hamiltonian,
    recursive_doubling,
    recursive_multiplying,
    ring,
    swing,
    windows,
)
from swing.algorithms.plugins import Algorithms
from swing.schedules.schedule import Schedule
from swing.torus import Torus

SHIPPED: dict[str, Callable[..., Schedule]] = {
    "swing": swing.swing,
    "recursive_doubling": recursive_doubling.recursive_doubling,
    "mirrored_recursive_doubling": recursive_doubling.mirrored_recursive_doubling,
    "recursive_multiplying": recursive_multiplying.recursive_multiplying,
    "trivance": recursive_multiplying.trivance,
    "ring": ring.ring,
    "hamiltonian": hamiltonian.hamiltonian,
    "bucket": bucket.bucket,
    "windows": windows.windows,
}
ALGORITHMS = Algorithms(SHIPPED)
"""Algorithms by name: those of this library, then those of other packages (see `plugins`)."""


def make(name: str, torus: Torus, **options: Any) -> Schedule:
    """Make the schedule of an algorithm on a torus; see `swing.schedule`.

    Args:
        name: a key of `ALGORITHMS`.
        torus: the ranks.
        options: keyword arguments of the algorithm.

    Raises:
        TypeError: ``torus`` or an option of the wrong type.
        ValueError: an unknown algorithm or option, or a value out of range.
    """
    if not isinstance(torus, Torus):
        raise TypeError(f"pass a torus, such as swing.Torus((4, 4)), not {torus!r}")
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise ValueError(f"no algorithm {name!r}: choose from {', '.join(ALGORITHMS)}")
    algorithm = ALGORITHMS[name]
    parameters = [*inspect.signature(algorithm).parameters][1:]  # all but the torus
    for option, value in options.items():
        if option not in parameters:
            takes = f"it takes {', '.join(parameters)}" if parameters else "it takes none"
            raise ValueError(f"{name} has no option {option!r}: {takes}")
        if option in ("k", "ports", "extra") and not (value is None or isinstance(value, int)):
            raise TypeError(f"{option} must be a whole number, not {value!r}")
    schedule = algorithm(torus, **options)
    # A function from another package may return anything.
    if name not in SHIPPED and not (isinstance(schedule, Schedule) and schedule.torus == torus):
        raise ValueError(f"algorithm {name!r} does not make a schedule for {torus}: {schedule!r}")
    return schedule


def variants(name: str) -> tuple[str, ...]:
    """Return the variants of an algorithm that need no other option; ("",) if it has only one."""
    try:
        hints = get_type_hints(ALGORITHMS[name])
    except NameError:  # an annotation names a type that is only imported for type checkers
        hints = {}
    return tuple(v for v in get_args(hints.get("variant")) if v != "hybrid") or ("",)
