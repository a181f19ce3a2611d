"""The one table of algorithms: a name and the function from Torus to Schedule."""

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
"""By name: those that ship, and those that other packages offer (see `plugins`)."""


def make(name: str, torus: Torus, **options: Any) -> Schedule:
    """The schedule that the algorithm of a name makes; see `swing.schedule`."""
    if not isinstance(torus, Torus):
        raise TypeError(f"pass a torus, such as swing.Torus((4, 4)), not {torus!r}")
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise ValueError(f"no algorithm {name!r}: choose from {', '.join(ALGORITHMS)}")
    algorithm = ALGORITHMS[name]
    known = [*inspect.signature(algorithm).parameters][1:]
    for option, value in options.items():
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{name} has no option {option!r}: {takes}")
        if option in ("k", "ports", "extra") and not (value is None or isinstance(value, int)):
            raise TypeError(f"{option} is a whole number, not {value!r}")
    made = algorithm(torus, **options)
    if name not in SHIPPED and not (isinstance(made, Schedule) and made.torus == torus):
        raise ValueError(f"algorithm {name!r} does not make a schedule for {torus}: {made!r}")
    return made


def variants(name: str) -> tuple[str, ...]:
    """The variants of an algorithm that need no further option; ("",) where it has but one."""
    try:
        hints = get_type_hints(ALGORITHMS[name])
    except NameError:  # of a type that is only imported for type checkers
        hints = {}
    return tuple(v for v in get_args(hints.get("variant")) if v != "hybrid") or ("",)
