"""Bucket: ring reduce-scatters along one dimension after the other.

Each of 2D parts starts in another dimension and direction, so that in every step each link
carries one part's messages. On a rectangle all parts change dimension together: a part whose
dimension is shorter waits for the others at the end of the phase; within a phase each part runs
on its own.

Restrictions: none.

Cost: Λ = 2D·(d_max - 1)/log2 p, Ψ = 1, Ξ = 1 on squares; 1.047 / 1.117 / 1.246 on
64x16 / 128x8 / 256x4.

>>> import swing
>>> print(swing.schedule("bucket", swing.Torus((2, 2)), ports=1, collective="reduce_scatter"))
0 +  0→2:2-3  1→3:2-3  2→0:0-1  3→1:0-1
1 +  0→1:1  1→0:0  2→3:3  3→2:2

Source: Jain, Sabharwal 2010; Swing paper, §2.3.4.
"""

from __future__ import annotations

from dataclasses import replace

from swing.compose import by_ports, collect, product
from swing.line import ring_line
from swing.schedule import Schedule
from swing.torus import Torus


def bucket(torus: Torus, *, ports: int | None = None, collective: str = "allreduce") -> Schedule:
    """Bucket on any torus.

    Args:
        torus: the ranks.
        ports: parts that run side by side, 1 … 2D; 2D if None.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: ports out of range.
    """
    ndim = len(torus.dims)
    starts = (torus.active * 2)[:ports] or (0,)

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [ring_line(d, -1 if mirrored else 1) for d in torus.dims]
        order: list[int | None] = []
        phase: list[int] = []
        for i in range(ndim):
            longest = max(torus.dims[(j + i) % ndim] for j in starts)
            dim = (start + i) % ndim
            order += [dim] * (torus.dims[dim] - 1) + [None] * (longest - torus.dims[dim])
            phase += [i] * (longest - 1)
        return collect(replace(product(torus, lines, order), phase=phase.__getitem__), collective)

    return by_ports("bucket", torus, part, "", ports)
