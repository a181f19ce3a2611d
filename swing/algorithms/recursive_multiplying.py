"""Recursive multiplying: several peers a step, one of each other class, the nearest.

A vector of a few bytes costs what its steps and its hops cost. m - 1 peers a step multiply by m
what a rank knows, where one doubles it, so there are fewer steps. And a rank that hears from the
nearest member of each class (see `swing.build.partition`) travels the diameter hardly more than
once: on a ring of 64, all-to-all among those whose coordinates are equal modulo 8, then among
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
from dataclasses import replace
from functools import lru_cache
from typing import Any

from swing.build.combine import Variant, by_ports, make_variant
from swing.build.partition import digits_of, partition_pattern
from swing.schedules.schedule import Schedule
from swing.torus import Torus

Radices = tuple[tuple[int, ...], ...]
MAX_RADIX = 16
"""By default no more nodes of a ring than these exchange in one step: each costs to inject."""
AT_ONCE = 128
"""Nodes that exchange in one step along several dimensions, at most."""
MAX_PATTERN_PEERS = 2**18
"""Messages of such a step, at most: it is no product of lines, so others have to look at each."""


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
            partition_pattern(
                digits_of(d, [step[j] for step in steps if step[j] > 1]), wrap, mirrored
            )
            for j, (d, wrap) in enumerate(zip(torus.dims, torus.wrap, strict=True))
        ]
        first = next((i for i, dims in enumerate(acts) if start in dims), 0)
        return make_variant(torus, lines, acts[first:] + acts[:first], variant, k, collective)

    return by_ports("recursive_multiplying", torus, part, variant, ports)


def trivance(
    torus: Torus,
    *,
    variant: Variant = "bandwidth",
    k: int | None = None,
    ports: int | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Two peers a step, at distance 3^s on either side: the pattern of Trivance, a rival.

    The pattern alone, not the code of its authors: other sizes than powers of three, the order
    of the steps (long hops first, for the same bits) and the parts are as in
    `recursive_multiplying`, and so are the options.
    """
    steps = steps_in_turn([(3,) * _steps(d, 3) for d in torus.dims])
    every = recursive_multiplying(
        torus, radices=steps, variant=variant, k=k, ports=ports, collective=collective
    )
    return replace(every, name="trivance")


def default(torus: Torus) -> Radices:
    """Dimensions in turn, each in as few steps as need no radix above `MAX_RADIX`."""
    return steps_in_turn([even(d, _steps(d, MAX_RADIX)) for d in torus.dims])


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
    """Radices of so many steps for more than 2^(nsteps - 1) nodes, ascending.

    They have few peers and leave few classes without a node.

    >>> even(64, 2), even(128, 2), even(61, 2), even(8, 3)
    ((8, 8), (8, 16), (7, 9), (2, 2, 2))
    """
    if nsteps < 2:
        return (d,) * nsteps
    firsts = range(2, math.ceil(d ** (1 / nsteps) - 1e-9) + 1)
    rests = {m: -(-d // m) for m in firsts if d > m * 2 ** (nsteps - 2)}
    found = [(m, *even(rest, nsteps - 1)) for m, rest in rests.items()]
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
    """What is worth a thought on a torus: the same rule for the radices of all dimensions.

    Alike as they can be below some bound, or one of the first few and then the rest in hardly
    any steps; along several dimensions at once where that makes few peers. Reduce-scatters end
    after whole rounds of the dimensions.

    >>> family(Torus(2))[:2]
    [{'radices': ((2,),), 'variant': 'latency', 'ports': 1}, {'radices': ((2,),), 'variant': 'bandwidth'}]
    """  # noqa: E501
    ndim = len(torus.active)
    found: list[dict[str, Any]] = []
    rules = [(0, widest) for widest in (2, 3, 4, 8, 16, 32, 64, 128)]
    rules += [(first, 32) for first in (2, 3, 4, 8)]
    apart = [steps_in_turn([_ruled(d, *rule) for d in torus.dims]) for rule in rules]
    joint = [_joined(steps) for steps in apart]
    for steps in dict.fromkeys(apart + joint):
        if not steps:
            continue
        messages = torus.size * max(map(math.prod, steps))
        alone = all(math.prod(step) == max(step) for step in steps)
        if alone or messages <= MAX_PATTERN_PEERS:
            ports = sorted({1, ndim if alone else 1})
            found += [{"radices": steps, "variant": "latency", "ports": n} for n in ports]
        if alone or messages <= MAX_PATTERN_PEERS // 16:
            rounds = range(ndim, len(steps), ndim) if alone else range(1, len(steps))
            found += [{"radices": steps, "variant": "hybrid", "k": k} for k in rounds]
            found += [{"radices": steps, "variant": "bandwidth"}]
    return found


def _ruled(d: int, first: int, widest: int) -> tuple[int, ...]:
    """Radices up to ``widest``, behind a ``first`` one if there is one and it leaves something."""
    if not 0 < first < d:
        return even(d, _steps(d, widest))
    rest = -(-d // first)
    return (first, *even(rest, _steps(rest, widest)))


def _joined(steps: Radices) -> Radices:
    """Steps along different dimensions in one, as long as it has at most so many peers."""
    found: list[tuple[int, ...]] = []
    for step in steps:
        if found:
            both = tuple(a * b for a, b in zip(found[-1], step, strict=True))
            apart = all(1 in pair for pair in zip(found[-1], step, strict=True))
            if apart and math.prod(both) <= AT_ONCE:
                found[-1] = both
                continue
        found.append(step)
    return tuple(found)
