"""Bucket: ring reduce-scatters along one dimension after the other.

Each of 2D parts starts in a different dimension and direction, so that in every step each link
carries the messages of one part. On a rectangle (a torus of unequal sizes) all parts change
dimension together: a part whose dimension is shorter waits for the others at the end of the phase.
Within a phase the parts do not wait for each other.

In segments (`swing.build.segments`) it approaches the bandwidth of all links on any torus.

Restrictions: none.

Cost: Λ = 2D·(d_max - 1)/log2 p, Ψ = 1, Ξ = 1 where all sizes are equal; 1.047 / 1.117 / 1.246 on
64x16 / 128x8 / 256x4. In segments: Λ = 2·Σ(d_i - 1)/log2 p, Ξ = 1 everywhere, and the time is the
larger of the two terms instead of their sum.

>>> import swing
>>> print(swing.schedule("bucket", swing.Torus((2, 2)), ports=1, collective="reduce_scatter"))
0 +  0→2:2-3  1→3:2-3  2→0:0-1  3→1:0-1
1 +  0→1:1  1→0:0  2→3:3  3→2:2

Source: Jain, Sabharwal 2010; Swing paper, §2.3.4; segments are our own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swing.algorithms.algorithm import Algorithm, always
from swing.build.combine import collect, product
from swing.build.pattern import ring_line
from swing.build.variants import by_ports
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def bucket(torus: Torus, *, ports: int | None = None, collective: str = "allreduce") -> Schedule:
    """Reduce and scatter round the rings of one dimension after the other.

    Args:
        torus: the ranks.
        ports: number of parts that run side by side, 1 … 2D; 2D if None.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: ports out of range.
    """
    ndim = len(torus.dims)

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [ring_line(d, -1 if mirrored else 1) for d in torus.dims]
        turn = [(start + i) % ndim for i in range(ndim)]
        order = [dim for dim in turn for _ in range(torus.dims[dim] - 1)]
        # Each dimension is a phase.
        rings = replace(product(torus, lines, order), phases=order.__getitem__)
        return collect(rings, collective)

    return by_ports("bucket", torus, part, "", ports)


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: the published algorithm, and numbers of segments.

    >>> family(Torus((4, 4)))
    [{}, {'segments': 1}, {'segments': 2}, {'segments': 4}, {'segments': 6}]
    """
    dims = [torus.dims[j] for j in torus.active]
    options: list[dict[str, Any]] = [{}, *({"segments": count} for count in (1, 2, 4, 6))]
    if len(set(dims)) > 1:
        longest = max(dims)
        for few, many in ((1, 4), (1, 6), (2, 4), (2, 6), (3, 6)):
            options.append({"segments": tuple(few if d == longest else many for d in dims)})
    return options


BUCKET = Algorithm(
    "bucket", bucket, source="Jain, Sabharwal 2010", style=("#009E73", "^"), family=family,
    published=always({}), shortlist=always({"segments": 1}, {"segments": 4}), rings=True,
    standard=True,
    others=always({}, {"segments": 1}, {"segments": 4}, {"chunks": 16}, {"chunks": 64}),
)  # fmt: skip
