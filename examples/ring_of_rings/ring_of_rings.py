"""Ring of rings: a ring allreduce on a 2-D torus, first along the rows, then along the columns.

A reduce-scatter around the ring of each row leaves every node with a piece of the row's sum. A
reduce-scatter around the ring of each column adds up the same pieces of all rows. The allgather
sends everything back. The second half of the vector goes along the columns first and in the
opposite direction, so that two of the four ports work at any time.

Restrictions: two dimensions, of any size.

Cost, on r x c = p ranks, in the terms of the Swing paper: Λ = 2·(r + c - 2)/log2 p, Ψ = 2, Ξ = 1 on
squares. It has half as many parts as bucket, and half of its bandwidth.

>>> import swing
>>> print(ring_of_rings(swing.Torus((2, 2)), ports=1, collective="reduce_scatter"))
0 +  0→1:2-3  1→0:0-1  2→3:2-3  3→2:0-1
1 +  0→2:1  1→3:3  2→0:0  3→1:2
"""

from __future__ import annotations

from dataclasses import replace

from swing.build.combine import collect, product
from swing.build.parallel import parallel
from swing.build.pattern import ring_line
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def ring_of_rings(
    torus: Torus, *, ports: int | None = None, collective: str = "allreduce"
) -> Schedule:
    """Ring of rings on a torus of two dimensions.

    Args:
        torus: the ranks.
        ports: parts that run side by side: 1, or 2 if None.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: another number of dimensions or ports.
    """
    if len(torus.dims) != 2:
        raise ValueError(f"ring_of_rings needs two dimensions, such as 4x4, not {torus}")
    if ports not in (None, 1, 2):
        raise ValueError(f"ring_of_rings uses 1 or 2 ports, not {ports}")
    rows, columns = torus.dims

    def part(first: int, direction: int) -> Schedule:
        patterns = [ring_line(d, direction) for d in torus.dims]
        inner, outer = (columns, rows) if first == 1 else (rows, columns)
        order = [first] * (inner - 1) + [1 - first] * (outer - 1)
        return collect(product(torus, patterns, order), collective)

    parts = [part(1, 1), part(0, -1)][:ports]
    return replace(parallel(parts), name="ring_of_rings")
