"""Recursive multiplying: several peers a step, one of each other class, the nearest.

A vector of a few bytes costs what its steps and its hops cost. m - 1 peers a step multiply by m
what a rank knows, where one doubles it, so there are fewer steps. And a rank that hears from the
nearest member of each class (see `swing.classes`) travels the diameter hardly more than once:
on a ring of 64, all-to-all among those whose coordinates are equal modulo 8, then among
neighbours, 32 + 4 hops in two steps. Several dimensions at once save further steps.

Restrictions: none.

Cost, latency-optimal: Λ = steps/log2 p; hops: the diameter, and half a window a dimension for
every further step along it. Bandwidth-optimal: twice the steps, p - 1 blocks out of every rank.

>>> import swing
>>> steps = ((2,), (2,))
>>> ring = swing.Torus(4)
>>> print(swing.schedule("recursive_multiplying", ring, radices=steps, variant="latency", ports=1))
0 +  0→2:0  1→3:0  2→0:0  3→1:0
1 +  0→1:0  1→0:0  2→3:0  3→2:0

Source: Ruefenacht, Bull, Booth 2017 for exchanges in groups, `radices` of one dimension; r ± 3^k
is the pattern of Trivance (arXiv 2602.17254); nearest members, dimensions at once, sizes that no
radix divides and the hybrid are our own.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from swing.classes import class_line, digits_of
from swing.compose import Variant, by_ports, realise
from swing.schedule import Schedule
from swing.torus import Torus

Radices = tuple[tuple[int, ...], ...]
WIDEST = 16
"""By default no more nodes of a ring than these exchange in one step: each costs to inject."""
AT_ONCE = 128
"""Nodes that exchange in one step along several dimensions, at most."""


def recursive_multiplying(
    torus: Torus,
    *,
    radices: Sequence[Sequence[int]] | None = None,
    variant: Variant = "bandwidth",
    k: int | None = None,
    ports: int | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Recursive multiplying on any torus.

    Args:
        torus: the ranks.
        radices: for every step, by how much it multiplies along each dimension; 1 where it does
            not act. Short hops come first, as in a reduce-scatter; an exchange runs the steps
            from the last to the first. By default see `default`.
        variant: "bandwidth"-optimal, "latency"-optimal, or "hybrid": k steps of reduce-scatter,
            an exchange of what is left, k steps of allgather.
        k: for "hybrid", 0 … the number of steps.
        ports: parts that run side by side, 1 … 2D (None: all). Each begins the list of steps
            with another dimension; the second half are mirrored.
        collective: "allreduce", "reduce_scatter" or "allgather" (bandwidth only).

    Raises:
        ValueError: an option out of range, with the range.
    """
    steps = default(torus) if radices is None else _checked(torus, radices)
    acts = [tuple(j for j, m in enumerate(step) if m > 1) for step in steps]

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [
            class_line(digits_of(d, [step[j] for step in steps if step[j] > 1]), wrap, mirrored)
            for j, (d, wrap) in enumerate(zip(torus.dims, torus.wrap, strict=True))
        ]
        first = next((i for i, dims in enumerate(acts) if start in dims), 0)
        return realise(torus, lines, acts[first:] + acts[:first], variant, k, collective)

    return by_ports("recursive_multiplying", torus, part, variant, ports)


def default(torus: Torus) -> Radices:
    """Dimensions in turn, each in as few steps as need no radix above `WIDEST`."""
    return steps_in_turn([even(d, _steps(d, WIDEST)) for d in torus.dims])


def steps_in_turn(radices: Sequence[Sequence[int]]) -> Radices:
    """The radices of every dimension as steps, each along one dimension.

    >>> steps_in_turn([(2, 8), (4,)])
    ((2, 1), (1, 4), (8, 1))
    """
    longest = max(map(len, radices), default=0)
    return tuple(
        tuple(own[s] if i == j else 1 for i in range(len(radices)))
        for s in range(longest)
        for j, own in enumerate(radices)
        if s < len(own)
    )


@lru_cache(maxsize=1024)
def even(d: int, nsteps: int) -> tuple[int, ...]:
    """Radices of so many steps for d nodes: few peers, few classes left empty; ascending.

    >>> even(64, 2), even(128, 2), even(61, 2), even(8, 3)
    ((8, 8), (8, 16), (7, 9), (2, 2, 2))
    """
    if nsteps < 2:
        return (d,) * nsteps
    most = math.ceil(d ** (1 / nsteps) - 1e-9)
    found = [(m, *even(-(-d // m), nsteps - 1)) for m in range(2, most + 1)]
    return tuple(sorted(min(found, key=lambda some: sum(some) * math.prod(some) ** 4)))


def _steps(d: int, widest: int) -> int:
    """The fewest steps along d nodes in which no radix need be above ``widest``."""
    nsteps = 0
    while widest**nsteps < d:
        nsteps += 1
    return nsteps


def _checked(torus: Torus, radices: Sequence[Sequence[int]]) -> Radices:
    ndim = len(torus.dims)
    rule = f"radices needs for every step {ndim} whole numbers from 1 up, as in {default(torus)}"
    try:
        steps = tuple(tuple(operator.index(m) for m in step) for step in radices)
    except TypeError:
        raise ValueError(f"{rule}, not {radices!r}") from None
    if any(len(step) != ndim or min(step) < 1 or max(step) < 2 for step in steps):
        raise ValueError(f"{rule}, one of them above 1, not {radices!r}")
    for j, d in enumerate(torus.dims):
        along = [step[j] for step in steps if step[j] > 1]
        if math.prod(along) < d or (along and math.prod(along[:-1]) >= d):
            raise ValueError(
                f"the radices along dimension {j} must multiply to its size {d} or beyond it, "
                f"and only with the last one, not {along}"
            )
    return steps


def family(torus: Torus) -> list[dict[str, Any]]:
    """What is worth a thought on a torus: radices alike everywhere, in every variant.

    >>> len(family(Torus((8, 8)))) < 100
    True
    """
    found: list[dict[str, Any]] = []
    for steps in _choices(torus):
        found += [{"radices": steps, "variant": "latency", "ports": n} for n in _ports(torus)]
        found += [{"radices": steps, "variant": "hybrid", "k": k} for k in range(1, len(steps))]
        found += [{"radices": steps, "variant": "bandwidth"}]
    return found


def _choices(torus: Torus) -> list[Radices]:
    """Ways to multiply: for every bound on the radices; several dimensions at once if few peers."""
    widths = [2, 3, 4, 8, 16, 32, 64, 128]
    alike = [steps_in_turn([even(d, _steps(d, w)) for d in torus.dims]) for w in widths]
    joint = [_joined(steps, AT_ONCE) for steps in alike]
    return list(dict.fromkeys([*alike, *joint]))


def _joined(steps: Radices, most: int) -> Radices:
    """Steps that follow each other in one, as long as it has at most so many peers."""
    found: list[tuple[int, ...]] = []
    for step in steps:
        if found:
            both = tuple(a * b for a, b in zip(found[-1], step, strict=True))
            apart = all(1 in pair for pair in zip(found[-1], step, strict=True))
            if apart and math.prod(both) <= most:
                found[-1] = both
                continue
        found.append(step)
    return tuple(found)


def _ports(torus: Torus) -> list[int]:
    return sorted({1, max(1, len(torus.active))})
