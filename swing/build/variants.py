"""Variants of an algorithm, its ports, and the order in which dimensions take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import index
from typing import Any, Literal, get_args

import numpy as np

from swing.build.combine import Order, collect, product
from swing.build.parallel import parallel
from swing.build.pattern import RingPattern
from swing.checks import shown
from swing.schedules.collectives import is_scattered
from swing.schedules.schedule import Schedule
from swing.torus import Torus

Variant = Literal["bandwidth", "latency", "hybrid"]


def in_turn(lines: Sequence[RingPattern], start: int = 0) -> Iterator[int]:
    """Yield the dimension of each step: dimensions take turns until each has done all its steps.

    Steps that fold a dimension to a power of two come before all others.

    Args:
        lines: one pattern per dimension.
        start: the dimension that takes the first turn.

    >>> from swing.build.pattern import ring_line
    >>> list(in_turn([ring_line(2), ring_line(4)]))
    [0, 1, 1, 1]
    """
    turn = [(start + i) % len(lines) for i in range(len(lines))]
    for j in turn:
        yield from [j] * lines[j].folds
    for s in range(max(line.nsteps for line in lines)):
        for j in turn:
            if s < lines[j].nsteps - lines[j].folds:
                yield j


def arranged(
    lines: Sequence[RingPattern], start: int, order: int | Sequence[int] | None
) -> list[int]:
    """Return the dimension of each step in the order that a user asks for, or in turn.

    Args:
        lines: one pattern per dimension.
        start: the dimension that the part starts in. It begins at that dimension's first step, and
            the steps before it come last.
        order: the dimension of each step that does not fold; dimensions take turns if None.

    Raises:
        ValueError: the order does not list each dimension once for each of its steps.

    >>> from swing.build.pattern import ring_line
    >>> arranged([ring_line(3), ring_line(4)], 1, (0, 0, 1, 1, 1))
    [1, 1, 1, 0, 0]
    """
    turns = list(in_turn(lines, start))
    if order is None:
        return turns
    folds = sum(line.folds for line in lines)
    try:
        steps = [index(dim) for dim in np.atleast_1d(order)]
    except (TypeError, ValueError):
        steps = []
    if sorted(steps) != sorted(turns[folds:]):
        rule = "order must list each dimension once for each of its steps"
        raise ValueError(f"{rule}, as {shown(tuple(turns[folds:]))} does, not {shown(order)}")
    first = steps.index(start) if start in steps else 0
    return turns[:folds] + steps[first:] + steps[:first]


def make_variant(
    torus: Torus,
    lines: Sequence[RingPattern],
    order: Order,
    variant: Variant,
    k: int | None,
    collective: str,
) -> Schedule:
    """Make one part of an algorithm in the given variant.

    Args:
        torus: the ranks.
        lines: one pattern per dimension.
        order: the dimension or dimensions of each step, as in `product`.
        variant: "bandwidth", "latency" or "hybrid".
        k: number of reduce-scatter steps of the hybrid, not counting those that fold a dimension
            to a power of two; None for the other variants.
        collective: "allreduce", "reduce_scatter" or "allgather"; the last two have the bandwidth
            variant only.

    Raises:
        ValueError: an option out of range, with the range.
    """
    folds = sum(line.folds for line in lines)
    max_k = len(order) - folds
    if k is not None and variant != "hybrid":
        raise ValueError(f"k needs variant='hybrid', not {shown(variant)}")
    if variant == "bandwidth":
        return collect(product(torus, lines, order), collective)
    if variant not in get_args(Variant):
        names = ", ".join(get_args(Variant))
        raise ValueError(f"variant must be one of {names}, not {shown(variant)}")
    if is_scattered(collective):
        raise ValueError(f"{collective} has no {variant} variant: use variant='bandwidth'")
    if variant == "latency":
        k = 0
    if k is None or not 0 <= k <= max_k:
        raise ValueError(f"variant='hybrid' needs k from 0 to {max_k} on {torus}, not {shown(k)}")
    return product(torus, lines, order, folds + k)


def halving_options(torus: Torus, ports: Iterable[int]) -> list[dict[str, Any]]:
    """List the option sets of a halving algorithm: each variant and k, with each of ``ports``."""
    steps = sum((d - 1).bit_length() for d in torus.dims)
    counts = list(dict.fromkeys(max(1, n) for n in ports))
    pure: list[dict[str, Any]] = [
        {"variant": variant, "ports": n} for variant in ("bandwidth", "latency") for n in counts
    ]
    # k = 0 is the latency variant and k = steps the bandwidth variant.
    hybrid = [{"variant": "hybrid", "k": k} for k in range(1, steps)]
    return pure + [{**options, "ports": n} for options in hybrid for n in counts]


def by_ports(
    name: str,
    torus: Torus,
    part: Callable[[int, bool], Schedule],
    variant: str,
    ports: int | None,
    lockstep: bool = True,
) -> Schedule:
    """Run the first ``ports`` of an algorithm's 2D parts side by side.

    The first D parts each start in a different dimension; the other D are their mirror images.

    Args:
        name: the algorithm.
        torus: the ranks.
        part: makes the part that starts in the given dimension, mirrored if its second argument
            is True.
        variant: name of the variant in the schedule.
        ports: the number of parts, 1 … 2D; 2D if None.
        lockstep: whether the parts synchronise, as in `parallel`.

    Raises:
        ValueError: ports out of range, with the range.
    """
    starts = [(dim, mirrored) for mirrored in (False, True) for dim in torus.active]
    max_ports = max(1, len(starts))
    ports = max_ports if ports is None else ports
    if not 1 <= ports <= max_ports:
        raise ValueError(f"{name} on {torus} uses 1 to {max_ports} ports, not {shown(ports)}")
    # A single rank has no active dimension, but still needs a part, of no steps.
    parts = [part(dim, mirrored) for dim, mirrored in starts[:ports] or [(0, False)]]
    return replace(parallel(parts, lockstep=lockstep), name=name, variant=variant)
