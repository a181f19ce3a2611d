"""Hamiltonian rings: two edge-disjoint cycles through all ranks, each in both directions.

Every link of a 2-D torus carries exactly one message a step, so that no bandwidth is lost; the
number of steps grows with the number of ranks. One cycle goes c - 1 steps along a row, then one
down; the other takes the links that are left, c - 1 steps down, then one along a row.

Restrictions: two dimensions r x c (in either order) with r a multiple of c and r and c - 1
without a common divisor; a 1-D torus is a cycle itself.

Cost: Λ = 2p/log2 p, Ψ = 1, Ξ = 1.

>>> import swing
>>> first, second = cycles(swing.Torus((3, 3)))
>>> first.tolist(), second.tolist()
([0, 1, 2, 5, 3, 4, 7, 8, 6], [0, 3, 6, 7, 1, 4, 5, 8, 2])

Source: Swing paper, §2.3.2; Bae, Bose 2003 for the cycles.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from swing.algorithms.ring import around
from swing.schedule import Schedule
from swing.torus import Array, Torus


def hamiltonian(torus: Torus, *, collective: str = "allreduce") -> Schedule:
    """Rings along edge-disjoint Hamiltonian cycles, both ways round.

    Args:
        torus: the ranks: one dimension, or two that meet the rule above.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: a torus without such cycles.
    """
    ways = cycles(torus)
    return replace(
        around(torus, ways + [cycle[::-1] for cycle in ways], collective), name="hamiltonian"
    )


def cycles(torus: Torus) -> list[Array]:
    """Edge-disjoint Hamiltonian cycles that use every link, each a (p,) array of ranks."""
    dims = [torus.dims[j] for j in torus.active]
    if len(dims) < 2:
        return [torus.rank_of]
    if len(dims) == 2:
        for rows in (0, 1):
            r, c = dims[rows], dims[1 - rows]
            if r % c == 0 and math.gcd(r, c - 1) == 1:
                i = np.arange(torus.size)
                along = (i // c % r, (i % c - i // c) % c)
                down = ((i // c * (c - 1) + i % c) % r, i // c % c)
                grid = torus.grid.reshape(dims)
                return [grid[way if rows == 0 else way[::-1]] for way in (along, down)]
    raise ValueError(
        f"hamiltonian needs a torus r x c with r a multiple of c and gcd(r, c - 1) = 1, "
        f"not {torus}: use bucket or swing"
    )
