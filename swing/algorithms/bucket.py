"""Bucket: ring reduce-scatters along one dimension after the other.

Each of 2D parts starts in a different dimension and direction, so that in every step each link
carries the messages of one part. On a rectangle (a torus of unequal sizes) all parts change
dimension together: a part whose dimension is shorter waits for the others at the end of the phase.
Within a phase the parts do not wait for each other.

The segmented variant approaches the bandwidth of all links on any torus. The parts have shares of
the vector that load all links equally, they never wait for each other, and each is cut into
segments of growing size that take the same route independently. While one segment waits for a
latency, or is in a dimension in which it has little left to send, another one uses the link.

Restrictions: none.

Cost: Λ = 2D·(d_max - 1)/log2 p, Ψ = 1, Ξ = 1 where all sizes are equal; 1.047 / 1.117 / 1.246 on
64x16 / 128x8 / 256x4. Segmented: Λ = 2·Σ(d_i - 1)/log2 p, Ξ = 1 everywhere, and the time is the
larger of the two terms instead of their sum.

>>> import swing
>>> print(swing.schedule("bucket", swing.Torus((2, 2)), ports=1, collective="reduce_scatter"))
0 +  0→2:2-3  1→3:2-3  2→0:0-1  3→1:0-1
1 +  0→1:1  1→0:0  2→3:3  3→2:2

Source: Jain, Sabharwal 2010; Swing paper, §2.3.4. Shares and segments are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm, always
from swing.build.combine import collect, product
from swing.build.parallel import segmented
from swing.build.pattern import ring_line
from swing.build.variants import by_ports
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def bucket(
    torus: Torus,
    *,
    ports: int | None = None,
    segments: int | Sequence[int] | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Reduce and scatter round the rings of one dimension after the other.

    Args:
        torus: the ranks.
        ports: number of parts that run side by side, 1 … 2D; 2D if None. Segmented, it must be 2D.
        segments: None for equal parts that change dimension together. Otherwise the number of
            segments of a part: one number for all parts, or one for each dimension that parts
            start in. Parts that start in a long dimension of a rectangle need fewer.
        collective: "allreduce", "reduce_scatter" or "allgather".

    Raises:
        ValueError: ports or segments out of range.
    """
    if segments is not None:
        return _segmented(torus, ports, segments, collective)
    ndim = len(torus.dims)
    starts = (torus.active * 2)[:ports] or (0,)  # dimensions that parts start in

    def part(start: int, mirrored: bool) -> Schedule:
        lines = [ring_line(d, -1 if mirrored else 1) for d in torus.dims]
        order: list[int | None] = []
        phase: list[int] = []
        for i in range(ndim):
            longest = max(torus.dims[(j + i) % ndim] for j in starts)
            dim = (start + i) % ndim
            order += [dim] * (torus.dims[dim] - 1) + [None] * (longest - torus.dims[dim])
            phase += [i] * (longest - 1)
        return collect(replace(product(torus, lines, order), phases=phase.__getitem__), collective)

    return by_ports("bucket", torus, part, "", ports)


def balanced(dims: Sequence[int]) -> np.ndarray:
    """Return the (D,) shares of the parts starting in each dimension that load all links equally.

    A part puts (d_i - 1)/d_i · Π 1/d_k of its share on the links of dimension i, where k runs over
    the dimensions that it takes before i. The shares make the sum over all parts (p - 1)/(pD) in
    every dimension.

    >>> [balanced(dims).round(3).tolist() for dims in ((8, 8), (128, 8), (256, 4))]
    [[0.5, 0.5], [0.433, 0.567], [0.335, 0.665]]
    """
    ndim = len(dims)
    load = np.zeros((ndim, ndim))
    for start in range(ndim):
        pending = 1.0  # fraction of the part's share that a rank has not yet passed on
        for i in range(start, start + ndim):
            d = dims[i % ndim]
            load[i % ndim, start] = pending * (d - 1) / d
            pending /= d
    return np.linalg.solve(load, np.full(ndim, load[:, 0].sum() / ndim))


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


def _segmented(
    torus: Torus, ports: int | None, segments: int | Sequence[int], collective: str
) -> Schedule:
    dims = [torus.dims[j] for j in torus.active]
    if ports not in (None, torus.ports):
        raise ValueError(f"a segmented bucket on {torus} uses {torus.ports} ports, not {ports}")
    if not dims:
        return bucket(torus, collective=collective)

    def part(start: int, direction: int) -> Schedule:
        lines = [ring_line(d, direction) for d in torus.dims]
        turn = torus.active[start:] + torus.active[:start]
        order = [dim for dim in turn for _ in range(torus.dims[dim] - 1)]
        return collect(product(torus, lines, order), collective)

    parts = [part(start, direction) for direction in (1, -1) for start in range(len(dims))]
    return replace(segmented(parts, segments, balanced(dims).tolist() * 2), name="bucket")


BUCKET = Algorithm(
    "bucket", bucket, source="Jain, Sabharwal 2010", style=("#009E73", "^"), family=family,
    published=always({}), shortlist=always({"segments": 1}, {"segments": 4}), rings=True,
    standard=True,
    others=always({}, {"segments": 1}, {"segments": 4}, {"chunks": 16}, {"chunks": 64}),
)  # fmt: skip
