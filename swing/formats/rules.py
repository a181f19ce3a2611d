"""Selection rules: the algorithm to use from each vector size on, for other libraries' tables.

The table of a library can only name the library's own algorithms. So an exported table replaces
each algorithm that `swing.choose` selects by the library's algorithm of the same kind. It cannot
make the library run Swing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import groupby
from typing import NamedTuple

from swing.algorithms import ALGORITHMS
from swing.checks import shown
from swing.formats import limits
from swing.select.choose import choose
from swing.select.estimate import CostModel
from swing.select.table import SelectionTable
from swing.torus import Torus

MAX_RULES = 10_000
DEFAULT = "default"
"""The name of a library's own choice, for sizes that a table leaves to it."""
WHOLE, HALVES, RING = "whole", "halves", "ring"
"""Kinds of algorithms: exchange whole vectors in log p steps; exchange halves, quarters and so on
(reduce-scatter), then gather; pass blocks around a ring of neighbours."""


class Rule(NamedTuple):
    """Use ``algorithm`` for vectors of at least ``first`` bytes, up to the next rule."""

    first: int
    algorithm: str


def chosen(torus: Torus, machine: str | CostModel | SelectionTable = "paper") -> list[Rule]:
    """Return the choices of `swing.choose` at powers of two up to 1 TiB, as rules.

    An algorithm is named with its variant, such as ``swing latency``.

    Args:
        torus: the ranks.
        machine: as for `swing.choose`.

    >>> chosen(Torus((8, 8)))[-1]
    Rule(first=1048576, algorithm='windows')
    """
    rules: list[Rule] = []
    for nbytes in (2**n for n in range(41)):
        choice = choose(torus, nbytes, machine)
        name = f"{choice.algorithm} {choice.options.get('variant', '')}".strip()
        rules.append(Rule(nbytes if rules else 0, name))  # the first rule covers 0 bytes
    return merged(rules)


def merged(rules: Iterable[Rule]) -> list[Rule]:
    """Drop each rule whose algorithm is that of the rule before it."""
    return [next(equal) for _, equal in groupby(rules, key=lambda rule: rule.algorithm)]


def built_in(rules: Sequence[Rule], own: Mapping[str, str], known: Sequence[str]) -> list[Rule]:
    """Translate rules into a library's names, and merge neighbours that become equal.

    Args:
        rules: rules with our names, or already with the library's.
        own: the library's algorithm of each kind.
        known: all of the library's algorithms.

    Raises:
        ValueError: the rules do not ascend from 0, or an algorithm is unknown.
    """
    check(rules)
    translated = []
    for first, algorithm in rules:
        name, _, variant = algorithm.partition(" ")
        if algorithm not in known:
            if name not in ALGORITHMS:
                raise ValueError(
                    f"unknown algorithm {shown(algorithm)}: use one of swing.ALGORITHMS, "
                    f"or of {', '.join(known)}"
                )
            kind = RING if ALGORITHMS[name].rings else HALVES
            algorithm = own[WHOLE if variant == "latency" else kind]
        translated.append(Rule(first, algorithm))
    # Several of our algorithms become the same one of the library's.
    return merged(translated)


def check(rules: Sequence[Rule]) -> None:
    """Check that rules begin at 0 bytes and ascend.

    Raises:
        ValueError: they do not, or there are more than `MAX_RULES`, or a size is out of bounds.
    """
    firsts = [rule.first for rule in rules]
    if not firsts or firsts[0] != 0 or sorted(set(firsts)) != firsts:
        raise ValueError("rules must begin at 0 bytes and ascend, with each size once")
    if len(rules) > MAX_RULES or firsts[-1] > limits.MAX_INTEGER:
        raise ValueError(
            f"a table has at most {MAX_RULES} rules, and sizes up to {limits.MAX_INTEGER}"
        )


def first_matches(entries: Sequence[tuple[int, int, str]]) -> list[Rule]:
    """Return the rules of a table in which the first entry that covers a size applies.

    Args:
        entries: the smallest and the largest size, and the algorithm, of each entry.

    Returns:
        Rules for all sizes from 0 on, with `DEFAULT` for those that no entry covers. Without
        entries there are no rules.

    >>> first_matches([(8, 15, "tree"), (4, 11, "ring")])
    [Rule(first=0, algorithm='default'), Rule(first=4, algorithm='ring'), \
Rule(first=8, algorithm='tree'), Rule(first=16, algorithm='default')]
    """
    bounds = {0, *(b for first, last, _ in entries for b in (first, last + 1))}
    waiting = sorted(range(len(entries)), key=lambda i: entries[i][0], reverse=True)
    covering: list[int] = []  # a heap of entries, the first one in the table at its root
    rules = []
    for size in sorted(b for b in bounds if b <= limits.MAX_INTEGER):
        while waiting and entries[waiting[-1]][0] <= size:
            heappush(covering, waiting.pop())
        while covering and entries[covering[0]][1] < size:
            heappop(covering)
        rules.append(Rule(size, entries[covering[0]][2] if covering else DEFAULT))
    return merged(rules) if entries else []


def spans(rules: Sequence[Rule]) -> Iterator[tuple[int, int | None, str]]:
    """Yield the smallest size, the largest size (None for the last rule) and the algorithm."""
    for i, (first, algorithm) in enumerate(rules):
        yield first, rules[i + 1].first - 1 if i + 1 < len(rules) else None, algorithm
