"""What an algorithm is: the function that makes its schedules, and every fact about it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_type_hints

from swing.schedules.schedule import Schedule
from swing.torus import Torus

OptionSets = Callable[[Torus], list[dict[str, Any]]]
"""Lists options on a torus, one candidate each. The torus need not allow all of them."""


def always(*options: dict[str, Any]) -> OptionSets:
    """List the same options on every torus.

    >>> always({"segments": 1}, {"segments": 4})(Torus(3))
    [{'segments': 1}, {'segments': 4}]
    """
    return lambda torus: list(options)


never = always()
pure_variants = always({"variant": "bandwidth"}, {"variant": "latency"})


@dataclass(frozen=True)
class Algorithm:
    """An algorithm: call it with a torus and options to make a schedule.

    The options, their types and their defaults are those of the function's keyword arguments.

    Args:
        name: its name in `swing.ALGORITHMS`.
        function: makes the schedule from a `Torus` and options; raises a ValueError with the rule
            for a torus or an option out of range.
        source: the publication.
        family: the options that ``python -m netsim tune`` searches; None for each variant.
        published: the options that are compared in the literature, as published.
        later: whether it was published after the Swing paper.
        shortlist: the few options of which `swing.choose` estimates the time.
        rings: whether blocks pass from neighbour to neighbour around rings, so that a table for
            another library names its ring instead.
        rival: whether figures of Swing's gain count it among the others.
        style: colour and marker of its curve in figures.
    """

    name: str
    function: Callable[..., Schedule]
    source: str = ""
    family: OptionSets | None = None
    published: OptionSets = never
    later: bool = False
    shortlist: OptionSets = never
    rings: bool = False
    rival: bool = True
    style: tuple[str, str] = ("#555555", ".")

    def __post_init__(self) -> None:
        vars(self)["__wrapped__"] = self.function  # `inspect.signature` shows the function's

    def __call__(self, torus: Torus, **options: Any) -> Schedule:
        """Make the schedule.

        Raises:
            TypeError: an option that takes a whole number has another value.
            ValueError: an unknown option, or a value out of range.
        """
        for option, value in options.items():
            if option not in self.options:
                takes = f"it takes {', '.join(self.options) or 'none'}"
                raise ValueError(f"{self.name} has no option {option!r}: {takes}")
            if self.options[option] in (int, int | None) and value is not None:
                try:
                    options[option] = operator.index(value)
                except TypeError:
                    raise TypeError(f"{option} must be a whole number, not {value!r}") from None
        return self.function(torus, **options)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The name of each option, with the type that the function declares; None if unknown."""
        try:
            hints = get_type_hints(self.function)
        except (NameError, TypeError):  # a type that only type checkers import; no plain function
            hints = {}
        _, *names = inspect.signature(self.function).parameters
        return {name: hints.get(name) for name in names}

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that need no other option; ("",) if there is only one."""
        names = get_args(self.options.get("variant"))
        return tuple(name for name in names if name != "hybrid") or ("",)
