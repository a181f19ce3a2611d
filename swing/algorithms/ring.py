"""Ring: every rank passes one block a step on to the next, 2(p - 1) times.

Every message goes to the right-hand neighbour of one logical ring, by rank. No bytes are sent
twice and, where neighbours on the ring are neighbours on the torus, no link is shared; but
there are as many steps as ranks. With two ports, half of the vector goes the other way round.
Segments of the vector go round on their own: one uses a link while another waits for a latency.

Restrictions: none.

Cost: Λ = 2(p - 1)/log2 p, Ψ = D/ports·(p - 1)/p relative to all 2D ports, Ξ = 1 on a ring.

>>> import swing
>>> print(swing.schedule("ring", swing.Torus(3)))
0 +  0→1:2  1→2:0  2→0:1
1 +  0→1:1  1→2:2  2→0:0
2 =  1→0:1  2→1:2  0→2:0
3 =  1→0:2  2→1:0  0→2:1

Source: Patarasuk, Yuan 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from swing.build.combine import collect, parallel, segmented
from swing.schedules.blocks import one_block
from swing.schedules.rank import MessageTable, RankMessages, Steps
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Array, Torus


def ring(
    torus: Torus,
    *,
    ports: int = 1,
    segments: int | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """A ring through all ranks in order.

    Args:
        torus: the ranks.
        ports: 1, or 2 for both directions.
        segments: that each direction's part is cut into; None for one, in lockstep.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: another number of ports, segments below 1.
    """
    if ports not in (1, 2):
        raise ValueError(f"ring uses 1 or 2 ports, not {ports}")
    ways = [torus.ranks, torus.ranks[::-1]][:ports]
    return replace(around(torus, ways, segments, collective), name="ring")


def family(torus: Torus) -> list[dict[str, Any]]:
    """What is worth a thought on a torus: where it is one ring, and anywhere as a baseline.

    >>> family(Torus((4, 4)))
    [{'ports': 1}, {'ports': 2}]
    """
    found: list[dict[str, Any]] = [{"ports": 1}, {"ports": 2}]
    if len(torus.active) == 1:
        found += [{"ports": 2, "segments": count} for count in (2, 4)]
    return found


def around(
    torus: Torus, cycles: Sequence[Array], segments: int | None, collective: str
) -> Schedule:
    """One part around each cycle; a cycle names every rank once, block i is its i-th rank's."""
    parts = [collect(_reduce_scatter(torus, cycle), collective) for cycle in cycles]
    return parallel(parts) if segments is None else segmented(parts, segments)


def _reduce_scatter(torus: Torus, cycle: Array) -> Schedule:
    p, i = torus.size, torus.ranks
    right = cycle[(i + 1) % p]

    def step(s: int) -> Step:
        return Step(Op.REDUCE, src=cycle, dst=right, blocks=one_block((i - s - 1) % p))

    def own(rank: int) -> RankMessages:
        at, when = int(np.flatnonzero(cycle == rank)[0]), np.arange(p - 1)

        def messages(peer: Array, sender: int) -> MessageTable:
            peers, blocks = np.full(p - 1, peer), one_block((sender - when - 1) % p)
            return MessageTable.to_reduce(when, peers, blocks, np.full(p - 1, rank), peers)

        return RankMessages(messages(right[at], at), messages(cycle[at - 1], at - 1))

    return Schedule(
        "ring",
        torus,
        nblocks=p,
        nsteps=p - 1,
        step=Steps(step, own),
        collective="reduce_scatter",
        find_owner=lambda: cycle,
        signature=lambda s: 0,
    )
