"""Neighbours of a candidate: schedules that differ from it in one choice.

A search starts from the candidates of `swing.select.candidates.family`, which follow a few simple
rules, and then climbs: it tries the neighbours of the fastest candidates, and theirs in turn, as
long as the time falls. So it reaches schedules that no rule describes, such as radices that differ
by dimension, and steps in an order of their own.

The moves are: one step of reduce-scatter more or less in a hybrid; more or fewer segments (of all
parts, or of those that start in one dimension), chunks, ports or extra steps; two successive steps
swapped, joined or split; and a factor moved from one step to another one along the same dimension.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from swing.algorithms import ALGORITHMS, make
from swing.algorithms.recursive_multiplying import MAX_MESSAGES_AT_ONCE, MAX_NODES_AT_ONCE, Radices
from swing.schedules.collectives import ALLREDUCE
from swing.select.candidates import Named, spelled
from swing.select.table import Options
from swing.torus import Torus

SEGMENTS = (1, 2, 3, 4, 6, 8, 12, 16)
"""The numbers of segments that a search tries, each a neighbour of the two beside it."""
MAX_IN_SEGMENTS = 2**19
"""Largest number of messages of a step in segments: the models need ten kilobytes for each."""
CHUNKS = tuple(sorted({first * 2**k for first in (2, 3) for k in range(10)} | {1}))
"""The numbers of chunks that a search tries, each a neighbour of the two on either side."""


def neighbours(
    torus: Torus, name: str, options: Options, collective: str = ALLREDUCE
) -> list[Options]:
    """List the options of an algorithm that differ from the given ones by one move.

    Args:
        torus: the ranks.
        name: a key of `swing.ALGORITHMS`.
        options: its options, without those of the collective.
        collective: the collective.

    >>> near = neighbours(Torus((4, 4)), "swing", (("variant", "hybrid"), ("k", 2)))
    >>> [dict(each)["k"] for each in near[:2]]
    [1, 3]
    """
    own, takes = dict(options), ALGORITHMS[name].options
    moves = itertools.chain(
        _steps_scattered(own),
        ({**own, "extra": own.get("extra", 0) + by} for by in (-1, 1) if "extra" in takes),
        (_with(own, "ports", ports) for ports in _ports(torus) if "ports" in takes),
        _segments(own) if "segments" in takes else (),
        ({**own, "chunks": c} for c in _beside(CHUNKS, own["chunks"])) if "chunks" in own else (),
        ({**own, "radices": steps} for steps in _radices(own.get("radices") or ())),
        ({**own, "order": order} for order in _orders(torus, own) if "order" in takes),
    )
    found: dict[Options, None] = {}
    for changed in moves:
        if changed != own and _messages(torus, changed) <= MAX_MESSAGES_AT_ONCE:
            with suppress(ValueError):  # a move that leads out of the range of an option
                make(name, torus, **changed, **spelled(collective))
                found[tuple((key, changed[key]) for key in takes if key in changed)] = None
    return list(found)


def in_segments(torus: Torus, candidates: Sequence[Named]) -> list[Named]:
    """List the candidates that can be cut into segments, in each number of `SEGMENTS`.

    >>> len(in_segments(Torus((4, 4)), [("swing", ()), ("ring", (("segments", 2),))]))
    7
    """
    return [
        (name, (*options, ("segments", count)))
        for name, options in candidates
        for count in SEGMENTS[1:]
        if "segments" in ALGORITHMS[name].options
        and not {"segments", "chunks"} & set(dict(options))
        and _messages(torus, {**dict(options), "segments": count}) <= MAX_MESSAGES_AT_ONCE
        and _messages(torus, {**dict(options), "segments": count}, least=1) <= MAX_IN_SEGMENTS
    ]


def _messages(torus: Torus, options: dict[str, Any], least: int = 2) -> float:
    """Return the most messages of a step that acts along some dimensions at once; 0 if none.

    The segments of all parts may be in this step at the same time.

    Args:
        torus: the ranks.
        options: of the algorithm.
        least: the least number of dimensions along which a step acts that counts.
    """
    steps = [step for step in options.get("radices") or () if sum(m > 1 for m in step) >= least]
    peers = max(map(math.prod, steps), default=0)
    if least > 1 and peers > MAX_NODES_AT_ONCE:
        return math.inf
    ports = options.get("ports") or 2 * len(torus.active)
    return torus.size * peers * ports * float(np.max(options.get("segments", 1)))


def _with(own: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Set an option, or leave it out if the value is None, which stands for the default."""
    others = {k: v for k, v in own.items() if k != key}
    return others if value is None else {**others, key: value}


def _steps_scattered(own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if own.get("variant") == "latency":
        yield {**own, "variant": "hybrid", "k": 1}
    if own.get("variant") == "hybrid":
        for by in (-1, 1):
            yield {**own, "k": own.get("k", 0) + by}


def _ports(torus: Torus) -> list[int | None]:
    """One port, a port for each dimension, and the default, which is all ports in most cases."""
    return [*dict.fromkeys((1, len(torus.active), None))]


def _segments(own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    number = own.get("segments", 1)
    if isinstance(number, int):
        for count in _beside(SEGMENTS, number):
            yield _with(own, "segments", count if count > 1 else None)
        return
    for j, own_number in enumerate(number):
        for count in _beside(SEGMENTS, own_number):
            yield {**own, "segments": (*number[:j], count, *number[j + 1 :])}


def _beside(counts: Sequence[int], number: int) -> list[int]:
    """Return the two counts below a number and the two above it."""
    fewer, more = ([c for c in counts if c < number], [c for c in counts if c > number])
    return fewer[-2:] + more[:2]


def _orders(torus: Torus, own: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Yield the dimensions of the steps of an algorithm that halves, two of them swapped."""
    halvings = [(d - 1).bit_length() for d in torus.dims]
    turns = [j for s in range(max(halvings)) for j, n in enumerate(halvings) if s < n]
    order = tuple(own.get("order", turns))
    for i, (a, b) in enumerate(itertools.pairwise(order)):
        if a != b:
            yield (*order[:i], b, a, *order[i + 2 :])


def _radices(steps: Radices) -> Iterator[Radices]:
    """Yield the radices of recursive multiplying after one move."""
    for i, (a, b) in enumerate(itertools.pairwise(steps)):
        before, after = steps[:i], steps[i + 2 :]
        yield (*before, b, a, *after)
        yield (*before, tuple(m * n for m, n in zip(a, b, strict=True)), *after)
    for at, step in enumerate(steps):
        for j, m in enumerate(step):
            for first in (2, 3, 4, m) if m > 1 else ():
                one = tuple(first if i == j else 1 for i in range(len(step)))
                rest = tuple(-(-m // first) if i == j else n for i, n in enumerate(step))
                if max(rest) > 1:
                    yield (*steps[:at], one, rest, *steps[at + 1 :])
                    yield (*steps[:at], rest, one, *steps[at + 1 :])
    for j in range(len(steps[0]) if steps else 0):
        along = [i for i, step in enumerate(steps) if step[j] > 1]
        for up, down in itertools.permutations(along, 2):
            changed = [list(step) for step in steps]
            changed[up][j], changed[down][j] = 2 * changed[up][j], -(-changed[down][j] // 2)
            yield tuple(tuple(step) for step in changed if max(step) > 1)
