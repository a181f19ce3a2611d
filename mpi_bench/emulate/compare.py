"""Measured against predicted: tables, and how many points agree; reads rows, runs nothing.

Where links are the bottleneck the time of a point is inversely proportional to their rate. So a
point measured at two rates or more tells its share of link time: t = a + b/rate, the least squares
of relative errors over all its rates, neither below 0; share = b/rate over that sum. Points with a
share of at least `LINKS` count as bound by links, all others by cores; the prediction has no say in
it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from netsim.sizes import format_size

LINKS = 0.75
BANDS = {"one port": (0.95, 1.10), "several ports": (0.95, 1.15)}
"""Measured over predicted where the two agree."""

ResultRow = dict[str, Any]
Point = tuple[str, str, str, str, int]


def table(rows: Sequence[ResultRow]) -> Table:
    """A line a method and size: time, prediction, their ratio, bytes counted over expected."""
    shown = Table()
    for title in ("topology", "Mbit/s", "size", "algorithm", "ports", "ms", "predicted", "ratio",
                  "bytes on links", "#wrong"):  # fmt: skip
        shown.add_column(title, justify="left" if title in ("topology", "algorithm") else "right")
    for r in rows:
        ours = r["predicted"] not in (None, "")
        shown.add_row(
            r["topology"], f"{float(r['rate_mbps']):g}", format_size(int(r["nbytes"])), name(r),
            str(r["ports"] or ""), f"{float(r['seconds']) * 1e3:.2f}",
            f"{float(r['predicted']) * 1e3:.2f}" if ours else "",
            f"{float(r['ratio']):.3f}" if ours else "",
            f"{float(r['links_least']):.3f}-{float(r['links_most']):.3f}" if ours else "",
            str(r["wrong"]),
        )  # fmt: skip
    return shown


def name(row: ResultRow) -> str:
    """Algorithm and variant, in words."""
    who = "MPICH" if row["algorithm"] == "mpi" else row["algorithm"]
    return f"{who} {row['variant']}".strip().replace("_", " ")


def shares(rows: Iterable[ResultRow]) -> dict[tuple[Point, float], float]:
    """The share of link time, of all points that were measured at two rates or more.

    >>> slow, fast = ({"topology": "torus:4x4", "algorithm": "ring", "variant": "", "ports": 1,
    ...                "nbytes": 4, "rate_mbps": r, "seconds": 1 + 3 / r} for r in (1, 3))
    >>> sorted(round(share, 2) for share in shares([slow, fast]).values())
    [0.5, 0.75]
    """
    times: dict[Point, dict[float, float]] = defaultdict(dict)
    for r in rows:
        times[point(r)][float(r["rate_mbps"])] = float(r["seconds"])
    found = {}
    for where, seconds in times.items():
        if len(seconds) > 1:
            rest, per_rate = _line(seconds)
            for rate in seconds:
                found[where, rate] = per_rate / (rest * rate + per_rate)
    return found


def _line(seconds: dict[float, float]) -> tuple[float, float]:
    """a and b of t = a + b/rate."""
    t, x = np.array(list(seconds.values())), 1 / np.array(list(seconds))
    a, b = np.linalg.lstsq(np.stack([1 / t, x / t], axis=1), np.ones(len(t)), rcond=None)[0]
    if a < 0:
        return 0.0, float((x / t).sum() / ((x / t) ** 2).sum())
    return float(a), max(float(b), 0.0)


def point(row: ResultRow) -> Point:
    """What is measured at several rates."""
    return (
        row["topology"], row["algorithm"], row["variant"], str(row["ports"]), int(row["nbytes"])
    )  # fmt: skip


def agreement(rows: Sequence[ResultRow], least: float = LINKS) -> list[ResultRow]:
    """By topology, rate and number of ports: how many points agree, bound by links and by cores.

    Args:
        rows: what was measured.
        least: the share of link time from which on a point counts as bound by links.
    """
    by_share = shares(rows)
    groups: dict[tuple[str, float, str, str], list[float]] = defaultdict(list)
    for r in rows:
        if r["predicted"] in (None, ""):
            continue
        rate = float(r["rate_mbps"])
        share = by_share.get((point(r), rate))
        bound = "unknown" if share is None else "links" if share >= least else "cores"
        many = "one port" if int(r["ports"]) == 1 else "several ports"
        groups[r["topology"], rate, many, bound].append(float(r["ratio"]))
    found = []
    for (topology, rate, many, bound), ratios in sorted(groups.items()):
        low, high = BANDS[many]
        inside = sum(low <= ratio <= high for ratio in ratios)
        ratios.sort()
        found.append(
            {"topology": topology, "rate_mbps": rate, "ports": many, "bound": bound,
             "points": len(ratios), "agree": inside, "least": ratios[0],
             "median": ratios[len(ratios) // 2], "most": ratios[-1]}
        )  # fmt: skip
    return found


def summary(found: Sequence[ResultRow]) -> Table:
    """The groups of `agreement` as a table."""
    bands = "; ".join(f"{many} {low:g}-{high:g}" for many, (low, high) in BANDS.items())
    shown = Table(title=f"measured over predicted ({bands})")
    for title in ("topology", "Mbit/s", "ports", "bound by", "points", "agree", "least", "median",
                  "most"):  # fmt: skip
        shown.add_column(title)
    for r in found:
        shown.add_row(
            r["topology"], f"{r['rate_mbps']:g}", r["ports"], r["bound"], str(r["points"]),
            f"{r['agree']} ({r['agree'] / r['points']:.0%})",
            *(f"{r[k]:.3f}" for k in ("least", "median", "most")),
        )  # fmt: skip
    return shown
