"""Lines of a grid: its diameter, and the load of a step that has one pattern on all its lines.

A line consists of the nodes of a row. The load of a step that repeats one pattern on all lines of a
dimension follows from the load of a single row, so its cost grows with Σ d_i instead of p.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from netsim.topologies.routes import Seed
from netsim.topologies.row import Path, Row, Traffic
from swing.schedules.step import LineRows


def first_links(rows: Sequence[Row]) -> list[int]:
    """List the index of each dimension's first link, and at the end the number of links."""
    size = math.prod(row.d for row in rows)
    first: list[int] = np.cumsum([0, *(len(row.ends) * (size // row.d) for row in rows)]).tolist()
    return first


def diameter(rows: Sequence[Row]) -> Path:
    """Return the `Path` between the two nodes that are farthest apart: the sum over dimensions."""
    total = Path(0, 0.0, 0.0)
    for row in rows:
        hops, wire, routers = _longest(row)[1]
        total = Path(total.hops + int(hops), total.wire + wire, total.routers + routers)
    return total


def farthest_node(rows: Sequence[Row]) -> tuple[int, ...]:
    """Return the coordinates of a node from which some other node is as far away as any."""
    return tuple(_longest(row)[0] for row in rows)


def _longest(row: Row) -> tuple[int, list[float]]:
    """The first node with a farthest peer in a row, and the largest `Path` of all pairs."""
    if row.d <= 1024:
        src, dst = np.divmod(np.arange(row.d**2), row.d)
    else:
        # All d² pairs would take too much memory. In rings, meshes and HyperX node 0 has a
        # farthest peer; in hx4mesh this may come out one board trace too short.
        src, dst = np.zeros(row.d, dtype=np.int64), np.arange(row.d)
    paths = row.path(src, dst)
    return int(src[paths[:, 0].argmax()]), paths.max(axis=0).tolist()


def line_peaks(
    rows: Sequence[Row], lines: Sequence[LineRows], units: Sequence[float], ties: str,
    seed: Seed = (),
) -> np.ndarray:  # fmt: skip
    """Return the (D,) largest weights on any link of each dimension, without loads of all lines.

    Lines of a dimension differ only in how many blocks the coordinates of the other dimensions
    hold, so one line for each combination of these numbers is enough.

    Args:
        rows: the network of each dimension.
        lines: the traffic of each part on all lines of a dimension, in any number of steps.
        units: weight of one block, for each entry of ``lines``.
        ties: a rule of `netsim.topologies.ties.TIES`.
        seed: for random ties.
    """
    peaks = np.zeros(len(rows))
    for j in range(len(rows)):
        along = [(line, u) for line, u in zip(lines, units, strict=True) if line.dim == j]
        if not along:
            continue
        per_block = np.concatenate([_load(rows[j], line, u, ties, seed) for line, u in along])
        factors = np.ones((len(along), 1))
        for i in range(len(rows)):
            if i != j:
                counts = _distinct(np.stack([line.pending[i] for line, _ in along]))
                factors = (factors[:, :, None] * counts[:, None, :]).reshape(len(along), -1)
        peaks[j] = (_distinct(factors).T @ per_block).max(initial=0)
    return peaks


def line_load(
    rows: Sequence[Row], lines: Sequence[LineRows], units: Sequence[float], ties: str,
    seed: Seed = (),
) -> np.ndarray:  # fmt: skip
    """Return the (nlinks,) total weight on every link; the arguments are those of `line_peaks`."""
    first = first_links(rows)
    total = np.zeros(first[-1])
    for line, unit in zip(lines, units, strict=True):
        factors = np.ones(1)  # at the end, one for each row of the dimension
        for i, pending in enumerate(line.pending):
            if i != line.dim:
                factors = np.multiply.outer(factors, pending).ravel()
        load = _load(rows[line.dim], line, unit, ties, seed)
        total[first[line.dim] : first[line.dim + 1]] += np.outer(factors, load).ravel()
    return total


def line_paths(rows: Sequence[Row], lines: Sequence[LineRows]) -> Iterator[tuple[int, Path]]:
    """Yield the dimension and the `Path` of all messages of ``lines`` that differ in either."""
    for j, row in enumerate(rows):
        paths = [row.path(line.src, line.dst) for line in lines if line.dim == j]
        if paths:
            for hops, wire, routers in _distinct(np.concatenate(paths).T).T.tolist():
                yield j, Path(int(hops), wire, routers)


def _distinct(table: np.ndarray) -> np.ndarray:
    """Return the different columns of a table.

    `numpy.unique` with an axis sorts them as records, which takes a hundred times as long.
    """
    key = np.zeros(table.shape[1], dtype=np.int64)
    for row in table:
        values, which = np.unique(row, return_inverse=True)
        # The number of different keys is at most that of columns, so the product fits in 64 bits.
        key = np.unique(key * len(values) + which, return_inverse=True)[1]
    columns: np.ndarray = table[:, np.unique(key, return_index=True)[1]]
    return columns


def _load(row: Row, line: LineRows, unit: float, ties: str, seed: Seed) -> np.ndarray:
    flow = Traffic(line.src, line.dst, line.sent * unit)
    return row.load(1, np.zeros_like(line.src), flow, ties, (*seed, line.dim))
