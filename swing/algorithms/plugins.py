"""Algorithms of other packages, found by name through an entry point.

A package offers a function from Torus to Schedule in its pyproject.toml:

    [project.entry-points."torus_swing.algorithms"]
    ring_of_rings = "my_package:ring_of_rings"

Nothing is imported until the name is asked for. Names that ship with this library stay its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from swing.schedules.schedule import Schedule

GROUP = "torus_swing.algorithms"

Algorithm = Callable[..., Schedule]


class Algorithms(Mapping[str, Algorithm]):
    """The algorithms that ship, then those of other packages."""

    def __init__(self, shipped: Mapping[str, Algorithm]) -> None:
        self.shipped = shipped

    def __getitem__(self, name: str) -> Algorithm:
        if name in self.shipped:
            return self.shipped[name]
        return _load(_offered()[name])

    def __contains__(self, name: object) -> bool:
        return name in self.shipped or name in _offered()

    def __iter__(self) -> Iterator[str]:
        yield from self.shipped
        yield from sorted(_offered().keys() - self.shipped.keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Algorithm:
    """The function of an entry point.

    Raises:
        ValueError: it can not be imported, or is no function.
    """
    package = point.dist.name if point.dist else "another package"
    try:
        found = point.load()
    except Exception as error:  # whatever a stranger's module does when it is imported
        what = f"algorithm {point.name!r} of {package} can not be loaded from {point.value}"
        raise ValueError(f"{what}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"algorithm {point.name!r} of {package} is {found!r}, not a function")
    function: Algorithm = found
    return function
