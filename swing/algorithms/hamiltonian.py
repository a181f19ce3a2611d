"""Hamiltonian rings: D edge-disjoint cycles through all ranks, each in both directions.

Every link of the torus carries exactly one message a step, so that no bandwidth is lost; the
number of steps grows with the number of ranks. On two dimensions r x c, where r is a multiple of
c and has no divisor in common with c - 1, one cycle goes c - 1 steps along a row, then one down;
the other takes the links that are left, c - 1 steps down, then one along a row. On all others
`swing.build.hamiltonian_cycles` searches: it finds them unless a size is 2 or the torus long and
thin.

Restrictions: those; the search takes a second for 4,096 ranks.

Cost: Λ = 2p/log2 p, Ψ = 1, Ξ = 1.

>>> import swing
>>> first, second = cycles(swing.Torus((3, 3)))
>>> first.tolist(), second.tolist()
([0, 1, 2, 5, 3, 4, 7, 8, 6], [0, 3, 6, 7, 1, 4, 5, 8, 2])

Source: Swing paper, §2.3.2; Bae, Bose 2003 for the cycles of two dimensions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from swing.algorithms.ring import around
from swing.build.hamiltonian_cycles import disjoint_cycles
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus


def hamiltonian(
    torus: Torus, *, segments: int | None = None, collective: str = "allreduce"
) -> Schedule:
    """Rings along edge-disjoint Hamiltonian cycles, both ways round.

    Args:
        torus: the ranks.
        segments: that each ring's part is cut into; None for one, in lockstep.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: a torus without such cycles, or on which none were found; segments below 1.
    """
    ways = cycles(torus)
    return replace(
        around(torus, ways + [cycle[::-1] for cycle in ways], segments, collective),
        name="hamiltonian",
    )


def family(torus: Torus) -> list[dict[str, Any]]:
    """What is worth a thought on a torus: few ranks only, for every rank costs two steps.

    >>> family(Torus((4, 4)))
    [{}, {'segments': 4}]
    """
    return [{}, {"segments": 4}] if torus.size <= 64 else [{}] if torus.size <= 1024 else []


def cycles(torus: Torus) -> list[Array]:
    """Edge-disjoint Hamiltonian cycles that use every link, each a (p,) array of ranks."""
    dims = tuple(torus.dims[j] for j in torus.active)
    if len(dims) < 2:
        return [torus.rank_of]
    found = _by_rows(dims) or disjoint_cycles(dims)
    if not found:
        raise ValueError(f"hamiltonian finds no cycles on {torus}: use bucket or swing")
    return [torus.rank_of[cycle] for cycle in found]


def _by_rows(dims: tuple[int, ...]) -> list[Array] | None:
    """The two cycles of r x c, in either order; None where the rule is not met."""
    for rows in (0, 1)[: 2 * (len(dims) == 2)]:
        r, c = dims[rows], dims[1 - rows]
        if r % c == 0 and math.gcd(r, c - 1) == 1:
            i = np.arange(r * c)
            along = (i // c % r, (i % c - i // c) % c)
            down = ((i // c * (c - 1) + i % c) % r, i // c % c)
            ways = [way if rows == 0 else way[::-1] for way in (along, down)]
            return [np.ravel_multi_index(way, dims) for way in ways]
    return None
