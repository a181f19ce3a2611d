"""Hamiltonian rings: D edge-disjoint cycles through all ranks, each used in both directions.

Every link of the torus carries exactly one message per step, so no bandwidth is lost, but the
number of steps grows with the number of ranks. The rings wait for each other only between the
reduce-scatter and the allgather.

On an r x c torus where r is a multiple of c and has no divisor in common with c - 1, one cycle
repeats c - 1 steps along a row and one step down. The other takes the remaining links: it repeats
c - 1 steps down and one step along a row. On all other tori `swing.build.hamiltonian_cycles`
searches for the cycles.

Restrictions: the search may fail where a size is 2 or the torus is long and thin. It takes a second
for 4,096 ranks.

Cost: Λ = 2p/log2 p, Ψ = 1, Ξ = 1.

>>> import swing
>>> first, second = cycles(swing.Torus((3, 3)))
>>> first.tolist(), second.tolist()
([0, 1, 2, 5, 3, 4, 7, 8, 6], [0, 3, 6, 7, 1, 4, 5, 8, 2])

Source: Swing paper, §2.3.2; Bae, Bose 2003 for the cycles in two dimensions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm
from swing.algorithms.ring import around
from swing.build.hamiltonian_cycles import disjoint_cycles
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus


def hamiltonian(torus: Torus, *, collective: str = "allreduce") -> Schedule:
    """Pass blocks round edge-disjoint Hamiltonian cycles, each in both directions.

    Args:
        torus: the ranks.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: a torus on which no such cycles were found.
    """
    forward = cycles(torus)
    backward = [cycle[::-1] for cycle in forward]
    rings = around(torus, forward + backward, collective)
    return replace(rings, name="hamiltonian", phases=lambda s: s >= torus.size - 1)


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: none above 1,024 ranks, since each rank costs two steps.

    >>> family(Torus((4, 4)))
    [{}, {'segments': 4}]
    """
    return [{}, {"segments": 4}] if torus.size <= 64 else [{}] if torus.size <= 1024 else []


def _shortlist(torus: Torus) -> list[dict[str, Any]]:
    return [{"segments": 4}] if torus.size <= 64 else []


def cycles(torus: Torus) -> list[Array]:
    """Find edge-disjoint Hamiltonian cycles that use every link, each a (p,) array of ranks.

    Raises:
        ValueError: a torus on which the search finds none.
    """
    dims = tuple(torus.dims[j] for j in torus.active)
    if len(dims) < 2:
        return [torus.rank_of]
    positions = _by_rows(dims) or disjoint_cycles(dims)
    if not positions:
        raise ValueError(f"hamiltonian finds no cycles on {torus}: use bucket or swing")
    return [torus.rank_of[cycle] for cycle in positions]


def _by_rows(dims: tuple[int, ...]) -> list[Array] | None:
    """Return the two cycles of an r x c or c x r torus; None where r and c break the rule."""
    if len(dims) != 2:
        return None
    for rows in (0, 1):  # the dimension of size r
        r, c = dims[rows], dims[1 - rows]
        if r % c == 0 and math.gcd(r, c - 1) == 1:
            i = np.arange(r * c)
            along = (i // c % r, (i % c - i // c) % c)
            down = ((i // c * (c - 1) + i % c) % r, i // c % c)
            coords = [cycle if rows == 0 else cycle[::-1] for cycle in (along, down)]
            return [np.ravel_multi_index(x, dims) for x in coords]
    return None


def _published(torus: Torus) -> list[dict[str, Any]]:
    """List the options where the published construction of the cycles applies."""
    dims = tuple(torus.dims[j] for j in torus.active)
    return [{}] if len(dims) < 2 or _by_rows(dims) else []


HAMILTONIAN = Algorithm(
    "hamiltonian", hamiltonian, style=("#CC79A7", "v"),
    source="De Sensi, Bonato, Saam, Hoefler, NSDI 2024; Bae, Bose 2003",
    family=family, shortlist=_shortlist, others=family, published=_published, rings=True,
    restriction="those on which the search finds cycles; it fails on some with a size of 2",
)  # fmt: skip
