"""Ring: every rank passes one block per step on to the next rank, 2(p - 1) times.

The ranks form one logical ring, in order. In the reduce-scatter every message goes to the
right-hand neighbour; the allgather sends the messages back. No rank sends more bytes than necessary
and, where neighbours on the ring are neighbours on the torus, no link is shared, but the number of
steps grows with the number of ranks. With two ports, half of the vector goes in the other
direction.

Restrictions: none.

Cost: Λ = 2(p - 1)/log2 p, Ψ = 2D/ports·(p - 1)/p, Ξ = 1 where neighbours share no link.

>>> import swing
>>> print(swing.schedule("ring", swing.Torus(3)))
0 +  0→1:2  1→2:0  2→0:1
1 +  0→1:1  1→2:2  2→0:0
2 =  1→0:1  2→1:2  0→2:0
3 =  1→0:2  2→1:0  0→2:1

Source: Patarasuk, Yuan 2009.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm, always
from swing.build.combine import collect
from swing.build.parallel import parallel
from swing.schedules.blocks import one_block
from swing.schedules.body import Body
from swing.schedules.rank import MessageTable, RankMessages, ReductionKeys
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array, Torus


def ring(torus: Torus, *, ports: int = 1, collective: str = "allreduce") -> Schedule:
    """Pass one block per step on to the next rank, round one ring of all ranks.

    Args:
        torus: the ranks.
        ports: 1, or 2 to send in both directions.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: another number of ports.
    """
    if ports not in (1, 2):
        raise ValueError(f"ring uses 1 or 2 ports, not {ports}")
    directions = [torus.ranks, torus.ranks[::-1]][:ports]
    return replace(around(torus, directions, collective), name="ring")


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: one or both directions, and on a ring also segments.

    >>> family(Torus((4, 4)))
    [{'ports': 1}, {'ports': 2}]
    """
    options: list[dict[str, Any]] = [{"ports": 1}, {"ports": 2}]
    if len(torus.active) == 1:
        options += [{"ports": 2, "segments": count} for count in (2, 4)]
    return options


def around(torus: Torus, cycles: Sequence[Array], collective: str) -> Schedule:
    """Run one ring part around each cycle.

    Args:
        torus: the ranks.
        cycles: (p,) arrays that list every rank once; block i belongs to the i-th rank.
        collective: "allreduce", "reduce_scatter" or "allgather".
    """
    return parallel([collect(_reduce_scatter(torus, cycle), collective) for cycle in cycles])


@dataclass(frozen=True, eq=False)
class Cycle(Body):
    """The reduce-scatter around one cycle of ranks.

    Args:
        cycle: (p,) every rank once; block i belongs to the i-th of them.
    """

    cycle: Array

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return len(self.cycle) - 1

    @cached_property
    def right(self) -> Array:
        """(p,) the next rank on the cycle."""
        return np.roll(self.cycle, -1)

    def step(self, s: int) -> Step:
        p = len(self.cycle)
        blocks = one_block(np.arange(-s - 1, p - s - 1) % p)
        return Step(True, src=self.cycle, dst=self.right, blocks=blocks)

    def rank(self, rank: int) -> RankMessages:
        p, steps = len(self.cycle), np.arange(self.nsteps)
        x = int(np.flatnonzero(self.cycle == rank)[0])

        def messages(peer: Array, sender: int) -> MessageTable:
            peers, ones = np.full(p - 1, peer), np.ones(p - 1, dtype=bool)
            blocks, part = one_block((sender - steps - 1) % p), np.zeros(p - 1, dtype=np.int64)
            keys = ReductionKeys(np.full(p - 1, rank), peers)
            return MessageTable(steps, peers, ones, blocks, part, keys)

        return RankMessages(rank, messages(self.right[x], x), messages(self.cycle[x - 1], x - 1))

    def signature(self, s: int) -> Hashable:
        return 0


def _reduce_scatter(torus: Torus, cycle: Array) -> Schedule:
    return Schedule("ring", torus, torus.size, body=Cycle(cycle), home=cycle.__getitem__)


RING = Algorithm(
    "ring",
    ring,
    source="Patarasuk, Yuan 2009",
    style=("#E69F00", "x"),
    family=family,
    rings=True,
    standard=True,
    on_all_ports="hamiltonian",
    others=always({"ports": 2}, *({"chunks": count} for count in (1, 16, 64, 256))),
)
