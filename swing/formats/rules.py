"""Which algorithm from how many bytes on: what selection tables of libraries hold.

Their tables can name their own algorithms only. So an exported table names, for every choice of
ours, the library's algorithm of the same kind: the best of what is built in, not Swing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from swing.algorithms import ALGORITHMS
from swing.formats import limits
from swing.select.choose import choose
from swing.select.estimate import CostModel
from swing.select.table import SelectionTable
from swing.torus import Torus

MAX_RULES = 10_000
WHOLE, HALVES, RING = "whole", "halves", "ring"
"""Kinds: whole vectors in log p steps; halves, quarters …, and back; neighbours only."""

_RINGS = {"ring", "hamiltonian", "bucket"}


class Rule(NamedTuple):
    """``algorithm`` for vectors of ``first`` bytes and more, up to the next rule."""

    first: int
    algorithm: str


def chosen(torus: Torus, machine: str | CostModel | SelectionTable = "paper") -> list[Rule]:
    """What `swing.choose` says at powers of two up to 1 TiB, such as ``swing latency``.

    >>> chosen(Torus((8, 8)))[-1]
    Rule(first=4194304, algorithm='bucket')
    """
    found: list[Rule] = []
    nbytes = 1
    while nbytes <= 2**40:
        choice = choose(torus, nbytes, machine)
        name = f"{choice.algorithm} {choice.options.get('variant', '')}".strip()
        if not found or found[-1].algorithm != name:
            found.append(Rule(nbytes if found else 0, name))
        nbytes *= 2
    return found


def built_in(rules: Sequence[Rule], own: Mapping[str, str], known: Sequence[str]) -> list[Rule]:
    """The rules in a library's names.

    Args:
        rules: in our names, or in the library's.
        own: the library's algorithm of each kind.
        known: all its algorithms.

    Raises:
        ValueError: rules that do not ascend from 0, or an unknown algorithm.
    """
    check(rules)
    found: list[Rule] = []
    for first, algorithm in rules:
        name, _, variant = algorithm.partition(" ")
        if algorithm not in known:
            kind = WHOLE if variant == "latency" else RING if name in _RINGS else HALVES
            if name not in ALGORITHMS:
                raise ValueError(
                    f"{algorithm!r} is no algorithm: name ours, or one of {', '.join(known)}"
                )
            algorithm = own[kind]
        if not found or found[-1].algorithm != algorithm:
            found.append(Rule(first, algorithm))
    return found


def check(rules: Sequence[Rule]) -> None:
    """Refuse rules that do not ascend from 0."""
    firsts = [rule.first for rule in rules]
    if not firsts or firsts[0] != 0 or sorted(set(firsts)) != firsts:
        raise ValueError("rules begin with 0 bytes and ascend, each size once")
    if len(rules) > MAX_RULES or firsts[-1] > limits.MAX_INTEGER:
        raise ValueError(
            f"there are more than {MAX_RULES} rules, or sizes above {limits.MAX_INTEGER}"
        )


def spans(rules: Sequence[Rule]) -> Iterator[tuple[int, int | None, str]]:
    """First and last size of every rule, and its algorithm; the last rule has no last size."""
    for i, (first, algorithm) in enumerate(rules):
        yield first, rules[i + 1].first - 1 if i + 1 < len(rules) else None, algorithm
