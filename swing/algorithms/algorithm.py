"""Definition of an algorithm: the function that makes its schedules, and all facts about it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_type_hints

from swing.checks import expect, shown
from swing.schedules.schedule import Schedule
from swing.torus import Torus

OptionSets = Callable[[Torus], list[dict[str, Any]]]
"""Lists option sets for a torus, one per candidate. Some may be out of range on that torus."""


def always(*options: dict[str, Any]) -> OptionSets:
    """Make a function that lists the given option sets on every torus.

    >>> always({"segments": 1}, {"segments": 4})(Torus(3))
    [{'segments': 1}, {'segments': 4}]
    """
    return lambda torus: list(options)


never = always()
"""Lists no option sets."""
pure_variants = always({"variant": "bandwidth"}, {"variant": "latency"})
"""Lists the two variants that need no other option."""


@dataclass(frozen=True)
class Algorithm:
    """An algorithm: call it with a torus and options to make a schedule.

    The options, their types and their defaults are those of the function's keyword arguments.

    Args:
        name: its name in `swing.ALGORITHMS`.
        function: makes the schedule from a `Torus` and options; for a torus or an option out of
            range it raises a ValueError that states the rule.
        source: the publication.
        family: the option sets that ``python -m netsim tune`` searches; if None, each variant.
        published: the option sets that have been published, which comparisons with the literature
            use.
        later: whether it was published after the Swing paper.
        shortlist: the few option sets for which `swing.choose` estimates the time.
        rings: whether blocks pass from neighbour to neighbour around rings. If so, a table for
            another library names that library's ring algorithm instead.
        rival: whether figures of Swing's gain include it among the algorithms that Swing is
            compared with.
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
        # With this attribute, `inspect.signature` returns the function's signature.
        vars(self)["__wrapped__"] = self.function

    def __call__(self, torus: Torus, **options: Any) -> Schedule:
        """Make the schedule.

        Raises:
            TypeError: the value of an option that takes a whole number is not one.
            ValueError: an unknown option, or a value out of range.
        """
        expect(torus, Torus, "a torus, such as swing.Torus((4, 4))")
        for option, value in options.items():
            if option not in self.options:
                takes = f"it takes {', '.join(self.options) or 'none'}"
                raise ValueError(f"{self.name} has no option {shown(option)}: {takes}")
            if self.options[option] in (int, int | None) and value is not None:
                try:
                    options[option] = operator.index(value)
                except TypeError:
                    raise TypeError(
                        f"{option} must be a whole number, not {shown(value)}"
                    ) from None
        return self.function(torus, **options)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The name of each option, with the type that the function declares; None if unknown."""
        try:
            hints = get_type_hints(self.function)
        except (NameError, TypeError):
            # A type may be imported for type checkers only, and a callable may have no hints.
            hints = {}
        try:
            _, *names = inspect.signature(self.function).parameters or [""]
        except ValueError:
            return {}  # some callables written in C do not tell their signature
        return {name: hints.get(name) for name in names}

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that need no other option; ("",) if the algorithm has no variants."""
        names = get_args(self.options.get("variant"))
        return tuple(name for name in names if name != "hybrid") or ("",)
