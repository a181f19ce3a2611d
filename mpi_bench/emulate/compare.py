"""Compare measured with predicted times: tables, and the number of points that agree.

A point is a method at a size. If links are the bottleneck, its time is inversely proportional to
the link rate. So for a point measured at two or more rates, t = a + b/rate is fitted by least
squares of the relative errors, with a and b not below 0. The share of link time is (b/rate) / t.
Of these points, those with a share of at least `LINKS` count as bound by links, the others as bound
by cores. The classification does not use the prediction.

This module reads measured rows; it runs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from netsim.rows import ResultRow
from swing.sizes import format_size
from swing.text_table import Column, rendered

LINKS = 0.75
"""The share of link time from which a point counts as bound by links."""
BANDS = {"one port": (0.95, 1.10), "several ports": (0.95, 1.15)}
"""The range of measured over predicted time in which the two agree."""

Point = tuple[str, str, str, str, int]


def table(rows: Sequence[ResultRow]) -> str:
    """Return a table of times, predictions, their ratios, and ratios of link bytes.

    There is one line per method and size. The byte ratio is counted over expected bytes, as a
    range over all used links.
    """
    columns = [
        Column("topology", 5, is_text=True), Column("Mbit/s", 4), Column("size"),
        Column("algorithm", is_text=True), Column("ports", 3), Column("ms"), Column("predicted", 1),
        Column("ratio", 1), Column("bytes on links", 2), Column("#wrong", 1),
    ]  # fmt: skip
    cells = []
    for r in rows:
        predicted = r["predicted"] not in (None, "")
        cells.append([
            r["topology"], f"{float(r['rate_mbps']):g}", format_size(int(r["nbytes"])), name(r),
            str(r["ports"] or ""), f"{float(r['seconds']) * 1e3:.2f}",
            f"{float(r['predicted']) * 1e3:.2f}" if predicted else "",
            f"{float(r['ratio']):.3f}" if predicted else "",
            f"{float(r['links_least']):.3f}-{float(r['links_most']):.3f}" if predicted else "",
            str(r["wrong"]),
        ])  # fmt: skip
    return rendered(columns, cells)


def name(row: ResultRow) -> str:
    """Return algorithm and variant, in words."""
    algorithm = "MPICH" if row["algorithm"] == "mpi" else row["algorithm"]
    return f"{algorithm} {row['variant']}".strip().replace("_", " ")


def shares(rows: Iterable[ResultRow]) -> dict[tuple[Point, float], float]:
    """Return the share of link time, by point and rate, for points measured at two or more rates.

    >>> slow, fast = ({"topology": "torus:4x4", "algorithm": "ring", "variant": "", "ports": 1,
    ...                "nbytes": 4, "rate_mbps": r, "seconds": 1 + 3 / r} for r in (1, 3))
    >>> sorted(round(share, 2) for share in shares([slow, fast]).values())
    [0.5, 0.75]
    """
    times: dict[Point, dict[float, float]] = defaultdict(dict)
    for r in rows:
        times[point(r)][float(r["rate_mbps"])] = float(r["seconds"])
    by_rate = {}
    for key, seconds in times.items():
        if len(seconds) > 1:
            constant, per_rate = _line(seconds)
            for rate in seconds:
                by_rate[key, rate] = per_rate / (constant * rate + per_rate)
    return by_rate


def _line(seconds: dict[float, float]) -> tuple[float, float]:
    """Return a and b of t = a + b/rate, fitted with relative errors."""
    t, x = np.array(list(seconds.values())), 1 / np.array(list(seconds))
    a, b = np.linalg.lstsq(np.stack([1 / t, x / t], axis=1), np.ones(len(t)), rcond=None)[0]
    if a < 0:  # then the fit at the boundary a = 0
        return 0.0, float((x / t).sum() / ((x / t) ** 2).sum())
    return float(a), max(float(b), 0.0)


def point(row: ResultRow) -> Point:
    """Return the key of a row without its rate: the same point is measured at several rates."""
    return (
        row["topology"], row["algorithm"], row["variant"], str(row["ports"]), int(row["nbytes"])
    )  # fmt: skip


def agreement(rows: Sequence[ResultRow], least: float = LINKS) -> list[ResultRow]:
    """Count the points that agree, by topology, rate, number of ports, and bottleneck.

    Args:
        rows: the measured rows; those without a prediction are ignored.
        least: the share of link time from which a point counts as bound by links.

    Returns:
        A row per group: its key, the number of points and of agreeing points, and the least,
        median and largest ratio of measured over predicted time.
    """
    by_share = shares(rows)
    groups: dict[tuple[str, float, str, str], list[float]] = defaultdict(list)
    for r in rows:
        if r["predicted"] in (None, ""):
            continue
        rate = float(r["rate_mbps"])
        share = by_share.get((point(r), rate))
        bound = "unknown" if share is None else "links" if share >= least else "cores"
        ports = "one port" if int(r["ports"]) == 1 else "several ports"
        groups[r["topology"], rate, ports, bound].append(float(r["ratio"]))
    counted = []
    for (topology, rate, ports, bound), ratios in sorted(groups.items()):
        low, high = BANDS[ports]
        inside = sum(low <= ratio <= high for ratio in ratios)
        ratios.sort()
        counted.append(
            {"topology": topology, "rate_mbps": rate, "ports": ports, "bound": bound,
             "points": len(ratios), "agree": inside, "least": ratios[0],
             "median": ratios[len(ratios) // 2], "most": ratios[-1]}
        )  # fmt: skip
    return counted


def summary(groups: Sequence[ResultRow]) -> str:
    """Return the groups of `agreement` as a table."""
    bands = "; ".join(f"{ports} {low:g}-{high:g}" for ports, (low, high) in BANDS.items())
    columns = [
        Column("topology", is_text=True), Column("Mbit/s"), Column("ports", is_text=True),
        Column("bound by", is_text=True), Column("points", 1), Column("agree"), Column("least", 3),
        Column("median", 2), Column("most", 3),
    ]  # fmt: skip
    cells = [
        [
            r["topology"], f"{r['rate_mbps']:g}", r["ports"], r["bound"], str(r["points"]),
            f"{r['agree']} ({r['agree'] / r['points']:.0%})",
            *(f"{r[k]:.3f}" for k in ("least", "median", "most")),
        ]
        for r in groups
    ]  # fmt: skip
    return rendered(columns, cells, f"measured over predicted ({bands})")
