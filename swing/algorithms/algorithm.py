"""Definition of an algorithm: the function that makes its schedules, and all facts about it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args, get_type_hints

import numpy as np

from swing.build.derive import IN_CHUNKS, check_chunks, derive, with_counts
from swing.build.segments import cut
from swing.checks import expect, shown, suggestion
from swing.schedules.collectives import (
    ALLTOALL,
    BARRIER,
    COLLECTIVES,
    check_collective,
    checked_root,
)
from swing.schedules.schedule import Schedule
from swing.torus import Torus

DERIVED: dict[str, Any] = {
    "root": int | None, "chunks": int | None, "segments": int | Sequence[int] | None,
}  # fmt: skip
"""Options, with their types, of an algorithm that makes reduce-scatters, besides its own."""

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
plain_and_tree = always({}, {"chunks": 1})
"""Lists no options and, which only a broadcast or a reduce takes, a tree."""
pure_variants = always({"variant": "bandwidth"}, {"variant": "latency"})
"""Lists the two variants that need no other option."""


@dataclass(frozen=True)
class Algorithm:
    """An algorithm: call it with a torus and options to make a schedule.

    The options, their types and their defaults are those of the function's keyword arguments. An
    algorithm that makes reduce-scatters serves every collective (`swing.build.derive`) and can be
    cut into segments (`swing.build.segments`); it then also takes the options ``root``, ``chunks``
    and ``segments``.

    Args:
        name: its name in `swing.ALGORITHMS`.
        function: makes the schedule from a `Torus` and options; for a torus or an option out of
            range it raises a ValueError that states the rule.
        makes: the collectives that the function itself makes; None for an allreduce, and if it has
            an option ``collective`` for a reduce-scatter and an allgather, too.
        source: the publication.
        family: the option sets that ``python -m netsim tune`` searches; if None, each variant.
        published: the option sets that have been published, which comparisons with the literature
            use.
        later: whether it was published after the Swing paper.
        shortlist: the few option sets for which `swing.choose` estimates the time.
        others: the option sets that `swing.choose` compares for collectives other than allreduce,
            which a search tries, too; sets that a collective does not take are left out.
        standard: whether its schedules of other collectives are those of a publication, which
            comparisons with the literature use.
        rings: whether blocks pass from neighbour to neighbour around rings. If so, a table for
            another library names that library's ring algorithm instead.
        rival: whether figures of Swing's gain include it among the algorithms that Swing is
            compared with.
        on_all_ports: the name of the algorithm that is this one on all ports of a torus, if it
            uses fewer by default.
        style: colour and marker of its curve in figures.
        restriction: the tori that it runs on, in words; empty if these are all.
    """

    name: str
    function: Callable[..., Schedule]
    source: str = ""
    makes: tuple[str, ...] | None = None
    family: OptionSets | None = None
    published: OptionSets = never
    later: bool = False
    shortlist: OptionSets = never
    others: OptionSets = plain_and_tree
    standard: bool = False
    rings: bool = False
    rival: bool = True
    on_all_ports: str = ""
    style: tuple[str, str] = ("#555555", ".")
    restriction: str = ""

    def __post_init__(self) -> None:
        # With this attribute, `inspect.signature` returns the function's signature.
        vars(self)["__wrapped__"] = self.function

    def __call__(self, torus: Torus, **options: Any) -> Schedule:
        """Make the schedule.

        Args:
            torus: the ranks.
            options: keyword arguments of the function, and

                - ``collective``: one of `collectives`; "allreduce" by default;
                - ``root``: the root of a broadcast, reduce, gather or scatter; 0 by default;
                - ``chunks``: for a broadcast or a reduce, the number of chunks that follow each
                  other along a tree; by default a broadcast is a scatter and an allgather;
                - ``segments``: number of segments that each part is cut into, so that one of them
                  uses a link while another waits; one number for all parts, or one for each
                  dimension that parts start in. By default the parts are whole, and in lockstep;
                - ``counts``: for an all-to-all, a (p, p) array of the bytes from each rank to each
                  rank. The vector of one rank then has their mean, Σ counts / p.

        Raises:
            TypeError: the value of an option that takes a whole number is not one.
            ValueError: an unknown option, a value out of range, or a collective that the algorithm
                does not serve.
        """
        expect(torus, Torus, "a torus, such as swing.Torus((4, 4))")
        counts = options.pop("counts", None)
        for option, value in options.items():
            if option not in self.options:
                meant = suggestion(option, self.options)
                takes = f"it takes {', '.join(self.options) or 'none'}"
                raise ValueError(f"{self.name} has no option {shown(option)}{meant}: {takes}")
            if self.options[option] in (int, int | None) and value is not None:
                try:
                    options[option] = operator.index(value)
                except TypeError:
                    raise TypeError(
                        f"{option} must be a whole number, not {shown(value)}"
                    ) from None
        collective = options.get("collective", "allreduce")
        self._check_collective(collective)
        root = checked_root(collective, options.get("root"), torus.size)
        # None is the default of these options, which the function need not know.
        options = {k: v for k, v in options.items() if v is not None or k not in DERIVED}
        own = {option: options[option] for option in options.keys() & self._declared.keys()}
        chunks = options.get("chunks")
        if "chunks" not in self._declared:
            check_chunks(collective, chunks)
        if counts is not None and collective != ALLTOALL:
            raise ValueError(f"{collective} has no counts: leave out counts=, or make an alltoall")
        segments = None if "segments" in self._declared else options.get("segments")
        if collective == BARRIER and segments is not None:
            raise ValueError("a barrier has no bytes to cut: leave out segments=")
        schedule = self._schedule(torus, collective, root, chunks, segments, own)
        return schedule if counts is None else with_counts(schedule, counts)

    def _schedule(
        self,
        torus: Torus,
        collective: str,
        root: int,
        chunks: int | None,
        segments: int | Sequence[int] | None,
        own: dict[str, Any],
    ) -> Schedule:
        """Make the schedule from that of the function with its own options."""

        def make(**options: Any) -> Schedule:
            schedule = self.function(torus, **options)
            return schedule if segments is None else cut(schedule, segments)

        if collective in self._made:
            return make(**own)
        if collective == BARRIER and own.get("variant", "latency") == "latency":
            exchange = self._exchange(torus, own)
            if exchange:
                return exchange
        if own.get("variant", "bandwidth") != "bandwidth":
            remedy = "chunks=1 for a tree" if collective in IN_CHUNKS else "variant='bandwidth'"
            raise ValueError(f"{collective} has no {own['variant']} variant: use {remedy}")
        reduce_scatter = make(**own | {"collective": "reduce_scatter"})
        return derive(reduce_scatter, collective, root, chunks)

    def _exchange(self, torus: Torus, own: dict[str, Any]) -> Schedule | None:
        """Return the barrier in which ranks exchange a block without bytes, if there is one."""
        if "latency" not in self.variants or "ports" not in self._declared:
            return None
        asked = own | {"collective": "allreduce", "variant": "latency"}
        self.function(torus, **asked)  # which checks the ports
        exchange = self.function(torus, **asked | {"ports": 1})
        return replace(exchange, shares=np.zeros(1)) if exchange.nblocks == 1 else None

    def _check_collective(self, collective: Any) -> None:
        if collective in self.collectives:
            return
        check_collective(collective)
        served = ", ".join(self.collectives)
        raise ValueError(f"{self.name} does not serve {collective}: it serves {served}")

    @cached_property
    def _made(self) -> tuple[str, ...]:
        """The collectives that the function makes."""
        if self.makes is not None:
            return self.makes
        more = ("reduce_scatter", "allgather") if "collective" in self._declared else ()
        return ("allreduce", *more)

    @cached_property
    def collectives(self) -> tuple[str, ...]:
        """The collectives that the algorithm serves."""
        derives = "reduce_scatter" in self._made
        return tuple(c for c in COLLECTIVES if derives or c in self._made)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The name of each option, with its type; None if unknown."""
        derived = DERIVED if "reduce_scatter" in self._made else {}
        return {**self._declared, **derived, **self._declared}

    @cached_property
    def _declared(self) -> dict[str, Any]:
        """The options of the function, with the types that it declares."""
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
