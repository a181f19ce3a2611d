"""Recursive multiplying: in each step a rank exchanges with m - 1 peers instead of one.

The time for a vector of a few bytes depends on the steps and hops only. With m - 1 peers per step,
each step multiplies the number of contributions that a rank has by m instead of by two, so there
are fewer steps. Each peer is the nearest member of its class (see `swing.build.partition`), so the
hops of all steps add up to little more than the diameter: a ring of 64 takes two steps of 32 + 4
hops, first among the nodes whose coordinates are equal modulo 8, then among neighbours. Steps that
act along several dimensions at once save further steps.

Restrictions: none.

Cost, latency-optimal: Λ = steps/log2 p. The hops are the diameter plus, for each further step along
a dimension, half the range of neighbours that the remaining steps cover. Bandwidth-optimal: twice
the steps, and p - 1 blocks out of each rank.

>>> import swing
>>> steps = ((2,), (2,))
>>> ring = swing.Torus(4)
>>> print(swing.schedule("recursive_multiplying", ring, radices=steps, variant="latency", ports=1))
0 +  0→2:0  1→3:0  2→0:0  3→1:0
1 +  0→1:0  1→0:0  2→3:0  3→2:0

Source: Ruefenacht, Bull, Booth 2017 for exchanges in groups, which are `radices` of one dimension;
r ± 3^k is the pattern of Trivance (arXiv 2602.17254); nearest members, several dimensions at once,
sizes that no radix divides and the hybrid are our own.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from swing.algorithms.algorithm import Algorithm, never, pure_variants
from swing.build.partition import digits_of, partition_pattern
from swing.build.variants import Variant, by_ports, make_variant
from swing.checks import shown
from swing.schedules.schedule import Schedule
from swing.torus import Torus

Radices = tuple[tuple[int, ...], ...]
MAX_RADIX = 16
"""Largest radix in the default steps: a rank sends one message per peer, one after the other."""
MAX_NODES_AT_ONCE = 128
"""Largest product of the radices of a step along several dimensions, in option sets of `family`."""
MAX_MESSAGES_AT_ONCE = 2**18
"""Largest number of messages of such a step, in option sets of `family`.

The step has no compact description by lines (`LineRows`), so models must read every message.
"""
MANY_PEERS = 64
"""Ranks up to which `swing.choose` considers messages straight along each dimension in segments."""


def recursive_multiplying(
    torus: Torus,
    *,
    radices: Sequence[Sequence[int]] | None = None,
    variant: Variant = "bandwidth",
    k: int | None = None,
    ports: int | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Exchange with m - 1 peers at once in each step, so that there are fewer steps.

    Args:
        torus: the ranks.
        radices: for each step, its factor along each dimension; 1 where it does not act. Short
            hops come first, as in a reduce-scatter; an exchange runs the steps from the last to
            the first. If None, see `default`.
        variant: "bandwidth"-optimal, "latency"-optimal, or "hybrid": k steps of reduce-scatter,
            an exchange of the pending blocks, k steps of allgather.
        k: for "hybrid", from 0 to the number of steps.
        ports: number of parts that run side by side, 1 … 2D; 2D if None. Each part starts at the
            first step that acts along its dimension; all parts after the D-th are mirrored.
        collective: "allreduce", "reduce_scatter" or "allgather" (bandwidth only).

    Raises:
        ValueError: an option out of range, with the range.
    """
    steps = default(torus) if radices is None else _checked(torus, radices)
    along = [[step[j] for step in steps if step[j] > 1] for j in range(len(torus.dims))]
    acts = [tuple(j for j, m in enumerate(step) if m > 1) for step in steps]

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [
            partition_pattern(digits_of(d, own), wrap, mirrored)
            for (d, wrap), own in zip(torus.sides, along, strict=True)
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
    """Exchange with two peers at once, at distance 3^s on either side.

    This is the pattern of Trivance, but not its authors' code. Sizes other than powers of three,
    the order of the steps (long hops first, for the same bits on all ranks), the parts and the
    options are those of `recursive_multiplying`.
    """
    steps = steps_in_turn([(3,) * _steps(d, 3) for d in torus.dims])
    schedule = recursive_multiplying(
        torus, radices=steps, variant=variant, k=k, ports=ports, collective=collective
    )
    return replace(schedule, name="trivance")


def default(torus: Torus) -> Radices:
    """Make radices for dimensions in turn, each in the fewest steps with radices ≤ `MAX_RADIX`."""
    return steps_in_turn([even(d, _steps(d, MAX_RADIX)) for d in torus.dims])


def steps_in_turn(radices: Sequence[Sequence[int]]) -> Radices:
    """Arrange the radices of each dimension as steps along one dimension, in turn.

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
    """Choose ``nsteps`` ascending radices for d > 2^(nsteps - 1) nodes.

    A recursion over the first radix keeps Σ radices · (Π radices)^4 low: few peers, and above all a
    product close to d, which leaves few classes without a node.

    >>> even(64, 2), even(128, 2), even(61, 2), even(8, 3)
    ((8, 8), (8, 16), (7, 9), (2, 2, 2))
    """
    if nsteps < 2:
        return (d,) * nsteps
    firsts = range(2, math.ceil(d ** (1 / nsteps) - 1e-9) + 1)
    quotients = {m: -(-d // m) for m in firsts if d > m * 2 ** (nsteps - 2)}
    choices = [(m, *even(quotient, nsteps - 1)) for m, quotient in quotients.items()]
    return tuple(sorted(min(choices, key=lambda radices: sum(radices) * math.prod(radices) ** 4)))


def _steps(d: int, widest: int) -> int:
    """Return the fewest steps along d nodes for which radices of at most ``widest`` suffice."""
    nsteps = 0
    while widest**nsteps < d:
        nsteps += 1
    return nsteps


def _checked(torus: Torus, radices: Sequence[Sequence[int]]) -> Radices:
    ndim = len(torus.dims)
    example = shown(default(torus))
    rule = f"radices needs {ndim} whole numbers from 1 up for every step, such as {example}"
    try:
        steps = tuple(tuple(operator.index(m) for m in step) for step in radices)
    except TypeError:
        raise ValueError(f"{rule}, not {shown(radices)}") from None
    if any(len(step) != ndim or min(step) < 1 or max(step) < 2 for step in steps):
        raise ValueError(f"{rule}, one of them above 1, not {shown(radices)}")
    for j, d in enumerate(torus.dims):
        along = [step[j] for step in steps if step[j] > 1]
        if math.prod(along) < d or (along and math.prod(along[:-1]) >= d):
            raise ValueError(
                f"the product of the radices along dimension {j} must reach its size {d}, "
                f"and must not reach it without the last one; they are {shown(along)}"
            )
    return steps


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: the same rule for the radices of all dimensions.

    Radices are as equal as possible below a bound, or a small first one is followed by the fewest
    steps that cover the nodes. Both are tried with one dimension per step, in turn or one dimension
    after the other, and, where few peers result, with several at once. The reduce-scatter of a
    hybrid may end after any step.

    >>> family(Torus(2))[:2]
    [{'radices': ((2,),), 'variant': 'latency', 'ports': 1}, {'radices': ((2,),), 'variant': 'bandwidth'}]
    """  # noqa: E501
    ndim = len(torus.active)
    options: list[dict[str, Any]] = []
    rules = [(0, widest) for widest in (2, 3, 4, 8, 16, 32, 64, 128)]
    rules += [(first, 32) for first in (2, 3, 4, 8)]
    in_turn = [steps_in_turn([_radices(d, *rule) for d in torus.dims]) for rule in rules]
    in_sequence = [
        tuple(sorted(steps, key=lambda step: [m == 1 for m in step])) for steps in in_turn
    ]
    at_once = [_joined(steps) for steps in in_turn]
    for steps in dict.fromkeys(in_turn + in_sequence + at_once):
        if not steps:
            continue
        messages = torus.size * max(map(math.prod, steps))
        one_dim = all(math.prod(step) == max(step) for step in steps)
        if one_dim or messages <= MAX_MESSAGES_AT_ONCE:
            ports = sorted({1, ndim if one_dim else 1})
            options += [{"radices": steps, "variant": "latency", "ports": n} for n in ports]
        if one_dim or messages <= MAX_MESSAGES_AT_ONCE // 16:
            # Small vectors need half of the parts only: each rank then sends half of the messages.
            for k, some in itertools.product(range(1, len(steps)), ({}, {"ports": ndim})):
                options.append({"radices": steps, "variant": "hybrid", "k": k} | some)
            options.append({"radices": steps, "variant": "bandwidth"})
    return options


def _radices(d: int, first: int, widest: int) -> tuple[int, ...]:
    """Choose radices up to ``widest``, after a radix ``first`` unless that is 0 or covers d."""
    if not 0 < first < d:
        return even(d, _steps(d, widest))
    quotient = -(-d // first)
    return (first, *even(quotient, _steps(quotient, widest)))


def _joined(steps: Radices) -> Radices:
    """Join successive steps along different dimensions, up to `MAX_NODES_AT_ONCE` nodes."""
    joined: list[tuple[int, ...]] = []
    for step in steps:
        if joined:
            both = tuple(a * b for a, b in zip(joined[-1], step, strict=True))
            disjoint = all(1 in pair for pair in zip(joined[-1], step, strict=True))
            if disjoint and math.prod(both) <= MAX_NODES_AT_ONCE:
                joined[-1] = both
                continue
        joined.append(step)
    return tuple(joined)


def _shortlist(torus: Torus) -> list[dict[str, Any]]:
    one_each = max(1, len(torus.active))  # a port for each dimension
    small = {"variant": "latency", "ports": one_each}
    hybrids = [{"variant": "hybrid", "k": k} for k in (1, 2)]
    cut = [hybrid | {"segments": 4} for hybrid in hybrids]
    # Few ranks exchange with each other at once, or straight along one dimension after the other.
    few = 1 < torus.size <= MAX_NODES_AT_ONCE
    straight = steps_in_turn([(d,) * (d > 1) for d in torus.dims])
    at_once = {_joined(straight): 1, straight: one_each} if few else {}
    direct = [{"radices": r, "variant": "latency", "ports": n} for r, n in at_once.items()]
    # More steps send fewer bytes.
    finer = steps_in_turn([_alike(d, _steps(d, MAX_RADIX) + 1) for d in torus.dims])
    more: list[dict[str, Any]] = [
        small | {"segments": 2},
        small | {"radices": finer, "segments": 2},
        {"radices": finer, "variant": "hybrid", "k": one_each, "segments": 4},
    ]
    return [small, *direct, *hybrids, *cut, *(more if torus.size > 1 else [])]


def _alike(d: int, nsteps: int) -> tuple[int, ...]:
    """Choose radices of about the same size for d nodes, in ``nsteps`` steps or fewer, largest first.

    >>> _alike(13, 2), _alike(6, 2), _alike(64, 3), _alike(2, 2)
    ((4, 4), (3, 2), (4, 4, 4), (2,))
    """  # noqa: E501
    radices: tuple[int, ...] = ()
    while d > 1:
        radices += (math.ceil(d ** (1 / (nsteps - len(radices))) - 1e-9),)
        d = -(-d // radices[-1])
    return radices


def _others(torus: Torus) -> list[dict[str, Any]]:
    trees = [{"chunks": 1}, {"chunks": 1, "ports": 1}]
    whole = steps_in_turn([(d,) * (d > 1) for d in torus.dims])  # straight along each dimension
    direct = [{"radices": whole}] if whole else []
    # Among many peers, messages over several hops hold each other up.
    cut = [{"radices": whole, "segments": 4}] if 1 < torus.size <= MANY_PEERS else []
    return [{}, *direct, *cut, *trees]


RECURSIVE_MULTIPLYING = Algorithm(
    "recursive_multiplying", recursive_multiplying, source="Ruefenacht, Bull, Booth 2017",
    style=("#332288", "X"), family=family, shortlist=_shortlist, others=_others,
)  # fmt: skip
TRIVANCE = Algorithm(
    "trivance", trivance, source="arXiv 2602.17254", style=("#117733", "H"),
    family=never,  # the family of recursive multiplying includes radices up to 3
    others=never,
    published=pure_variants, later=True,
)  # fmt: skip
