"""Algorithms from other packages, found through Python entry points.

A package registers a function from Torus to Schedule, or an `Algorithm`, in its pyproject.toml:

    [project.entry-points."torus_swing.algorithms"]
    ring_of_rings = "my_package:ring_of_rings"

The package is imported only when its algorithm is looked up. It cannot replace an algorithm of this
library: where two have the same name, this library's own is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from swing.algorithms.algorithm import Algorithm
from swing.checks import shown
from swing.schedules.schedule import Schedule

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "torus_swing.algorithms"
"""The entry point group that packages register their algorithms in."""

Function = Callable[..., Schedule]


class Algorithms(Mapping[str, Algorithm]):
    """The algorithms of this library, then those of other packages."""

    def __init__(self, shipped: Mapping[str, Function]) -> None:
        self.shipped = shipped

    def __getitem__(self, name: str) -> Algorithm:
        value = self.shipped[name] if name in self.shipped else _load(_registered()[name])
        if not isinstance(value, Algorithm):
            return Algorithm(name, value)
        return value if value.name == name else replace(value, name=name)

    def __contains__(self, name: object) -> bool:
        return name in self.shipped or name in _registered()

    def __iter__(self) -> Iterator[str]:
        yield from self.shipped
        yield from sorted(_registered().keys() - self.shipped.keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _registered() -> dict[str, EntryPoint]:
    # Imported here because it takes a fifth of the time that `import swing` does.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Function:
    """Import the function of an entry point.

    Raises:
        ValueError: it cannot be imported, or is not a function.
    """
    package = point.dist.name if point.dist else "another package"
    try:
        value = point.load()
    except Exception as error:  # importing another package may raise anything
        problem = f"algorithm {point.name!r} of {package} cannot be loaded from {point.value}"
        raise ValueError(f"{problem}: {type(error).__name__}: {error}") from error
    if not callable(value):
        raise ValueError(f"algorithm {point.name!r} of {package} is {shown(value)}, not a function")
    function: Function = value
    return function
