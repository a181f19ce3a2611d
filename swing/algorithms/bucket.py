"""Bucket: ring reduce-scatters along one dimension after the other.

Each of 2D parts starts in a different dimension and direction, so that in every step each link
carries the messages of one part. On a rectangle (a torus of unequal sizes) all parts change
dimension together: a part whose dimension is shorter waits for the others at the end of the phase.
Within a phase the parts do not wait for each other.

With ``ways=2``, each part goes round the rings in both directions, which halves the steps: every
block takes the shorter way. In segments (`swing.build.segments`) bucket approaches the bandwidth of
all links on any torus.

Restrictions: none.

Cost: Λ = 2D·(d_max - 1)/log2 p, Ψ = 1, Ξ = 1 where all sizes are equal; 1.047 / 1.117 / 1.246 on
64x16 / 128x8 / 256x4. In segments: Λ = 2·Σ(d_i - 1)/log2 p, Ξ = 1 everywhere, and the time is the
larger of the two terms instead of their sum. With ``ways=2``, ⌊d_i/2⌋ steps take the place of
d_i - 1.

>>> import swing
>>> print(swing.schedule("bucket", swing.Torus((2, 2)), ports=1, collective="reduce_scatter"))
0 +  0→2:2-3  1→3:2-3  2→0:0-1  3→1:0-1
1 +  0→1:1  1→0:0  2→3:3  3→2:2

Source: Jain, Sabharwal 2010; Swing paper, §2.3.4; segments and ``ways`` are our own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swing.algorithms.algorithm import Algorithm, always
from swing.build.combine import collect, product
from swing.build.pattern import ring_line, two_way_line
from swing.build.variants import by_ports
from swing.checks import shown
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def bucket(
    torus: Torus, *, ways: int = 1, ports: int | None = None, collective: str = "allreduce"
) -> Schedule:
    """Reduce and scatter round the rings of one dimension after the other.

    Args:
        torus: the ranks.
        ways: 1 if all blocks of a part go round in one direction; 2 if each takes the shorter way.
        ports: number of parts that run side by side, 1 … 2D; 2D if None.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: ways or ports out of range.
    """
    if ways not in (1, 2):
        raise ValueError(f"bucket goes round its rings in 1 or 2 ways, not {shown(ways)}")
    line, ndim = two_way_line if ways == 2 else ring_line, len(torus.dims)

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [line(d, -1 if mirrored else 1) for d in torus.dims]
        turn = [(start + i) % ndim for i in range(ndim)]
        order = [dim for dim in turn for _ in range(lines[dim].nsteps)]
        # Each dimension is a phase.
        rings = replace(product(torus, lines, order), phases=order.__getitem__)
        return collect(rings, collective)

    return by_ports("bucket", torus, part, "", ports)


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: the published algorithm, and numbers of segments.

    >>> family(Torus((4, 4)))[:5]
    [{}, {'segments': 1}, {'segments': 2}, {'segments': 4}, {'segments': 6}]
    """
    dims = [torus.dims[j] for j in torus.active]
    options: list[dict[str, Any]] = [{}, *({"segments": count} for count in (1, 2, 4, 6))]
    options += [{"ways": 2, "segments": count} for count in (4, 8)]
    if len(set(dims)) > 1:
        longest, *_, shortest = sorted(set(dims), reverse=True)
        for few, many in ((1, 4), (1, 6), (2, 4), (2, 6), (3, 6)):
            options.append({"segments": tuple(few if d == longest else many for d in dims)})
        # As in `_others`, a part that starts in a long dimension is cut into fewer segments; of 28
        # such choices these were the fastest on 32x8x4 at 128 MiB.
        options += [
            {"ways": 2, "segments": tuple({longest: 1, shortest: 4}.get(d, some) for d in dims)}
            for some in ((3, 4) if len(set(dims)) > 2 else (4,))
        ]
    return options


def _others(torus: Torus) -> list[dict[str, Any]]:
    options: list[dict[str, Any]] = [{}, {"ways": 2}, {"chunks": 16}, {"chunks": 64}]
    cuts: list[int | tuple[int, ...]] = [1, 2, 4]
    sizes = sorted({torus.dims[j] for j in torus.active}, reverse=True)
    if len(sizes) > 1:
        # A part that starts in the longest dimension is in a long one again at its end, and holds
        # up the others there: it is cut into fewer segments.
        few = [min(16, 4 ** (1 + sizes.index(torus.dims[j]))) for j in torus.active]
        cuts += [tuple(few), tuple(count // 2 for count in few)]
    return options + [{"ways": 2, "segments": count} for count in cuts]


BUCKET = Algorithm(
    "bucket", bucket, source="Jain, Sabharwal 2010", style=("#009E73", "^"), family=family,
    published=always({}), rings=True, standard=True, others=_others,
    shortlist=always({"segments": 1}, {"segments": 4}, {"ways": 2, "segments": 8}),
)  # fmt: skip
