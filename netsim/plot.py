"""Figures, drawn from CSV files only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path as Curve
from matplotlib.ticker import FuncFormatter

from netsim.display import circle, lane, lanes_of, places
from netsim.rows import ResultRow, fastest, read_csv, swing_gain
from netsim.sizes import format_size
from netsim.topologies.names import KINDS as TOPOLOGIES
from netsim.topologies.names import topology
from swing.torus import Torus

# Okabe and Ito's colours, told apart by the colour-blind; a marker each for print.
STYLES = {
    "swing": ("#D55E00", "o"),
    "recursive_doubling": ("#0072B2", "s"),
    "mirrored_recursive_doubling": ("#56B4E9", "D"),
    "bucket": ("#009E73", "^"),
    "hamiltonian": ("#CC79A7", "v"),
    "ring": ("#E69F00", "x"),
}
OTHERS = ("#555555", ".")
MAX_VECTORS = 5000
"""Links that are drawn one by one in an SVG; more of them are a picture in it."""
COLORS = [color for color, _ in STYLES.values()]
CONDITIONS = {
    "bandwidth_gbps": "{} Gb/s", "model": "{}", "collective": "{}", "ties": "ties {}",
    "sync": "sync {}", "parts": "parts {}", "seed": "seed {}", "dtype": "{}", "op": "{}",
    "ranks": "{} ranks", "mpi": "{}", "cores": "{} cores",
}  # fmt: skip
"""Columns in which the rows of one curve never differ, and their values in a legend."""
LINES = ("-", "--", ":", "-.")


def plot(paths: Sequence[Path], out: Path, kind: str = "", name: str = "") -> list[Path]:
    """Draw the files in one figure and return the paths of its SVG and PNG.

    Args:
        paths: written by ``netsim sweep --csv`` or ``mpi_bench --csv``, or one by ``simulate
            --links``. What the paper has is drawn for the topologies of the other files.
        out: the folder for ``<name>.svg`` and ``.png``.
        kind: a key of `KINDS`; what the file is made for if empty.
        name: of the figures; the first file's if empty.

    Raises:
        ValueError: not such a file.
        OSError: the file can not be read, or the folder not written.
    """
    tables = [read_csv(path, ["topology", "algorithm", "nbytes"]) for path in paths]
    kind = kind or ("links" if "direction" in tables[0][0] else "goodput")
    needs = ["src", "dst", "step", "bytes"] if kind == "links" else ["seconds"]
    for path, table in zip(paths, tables, strict=True):
        for column in needs:
            if column not in table[0] and _source(table[0]) != "paper":
                raise ValueError(f"{path} has no column {column!r}: it is not made for {kind}")
    places = {r["topology"] for table in tables for r in table if _source(r) != "paper"}
    rows = [r for table in tables for r in table if r["topology"] in places and _takes_time(r)]
    if not rows:
        raise ValueError(f"{paths[0]} has nothing to draw: no row of ours that takes time")
    figure = KINDS[kind](rows)
    out.mkdir(parents=True, exist_ok=True)
    name = name or paths[0].stem
    figures = [out / f"{name}.svg", out / f"{name}.png"]
    with matplotlib.rc_context({"svg.hashsalt": "torus-swing"}):
        figure.savefig(figures[0], metadata={"Date": None})
        figure.savefig(figures[1], dpi=150)
    return figures


def goodput(rows: list[ResultRow]) -> Figure:
    """Goodput against size, one panel a topology; variants of an algorithm merged, best first."""
    return _curves(rows, "goodput, Gb/s", lambda n, seconds: n * 8 / seconds / 1e9)


def runtime(rows: list[ResultRow]) -> Figure:
    """Runtime against size, one panel a topology; variants of an algorithm merged, best first."""
    return _curves(rows, "time, us", lambda n, seconds: seconds * 1e6)


def gain(rows: list[ResultRow]) -> Figure:
    """Swing's gain over the best of the others, mirrored ones aside, against size.

    The paper's points, hollow, have a column ``gain_percent``.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    places = list(dict.fromkeys((r["topology"], _rate(r)) for r in rows if _source(r) != "paper"))
    sources = dict.fromkeys((_place(r), _source(r)) for r in rows)
    named = {
        place: f"{place[0]}" + (f", {place[1]:g} Gb/s" if place[1] else "") for place in places
    }
    drawn = 0
    for place, source in ((place, s) for place in places for at, s in sources if at == place):
        here = [r for r in rows if (_place(r), _source(r)) == (place, source)]
        number, paper = places.index(place), source == "paper"
        for nth, (words, some) in enumerate(_by_conditions(here).items()):
            points = (
                {int(r["nbytes"]): float(r["gain_percent"]) for r in some}
                if paper
                else swing_gain(fastest(some))
            )
            axes.plot(
                sorted(points), [points[n] for n in sorted(points)], marker="os^vDx"[number % 6],
                color=[*COLORS, OTHERS[0]][number % 7], markersize=7 if paper else 4,
                linestyle="" if paper else LINES[nth % 4],
                markerfacecolor="none" if paper else None,
                label=None if paper else ", ".join(filter(None, [named[place], words])),
            )  # fmt: skip
            drawn += len(points)
    if not drawn:
        raise ValueError("a gain is Swing's over another algorithm: there are not both at a size")
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set(xlabel="vector on each rank", ylabel="Swing's gain over the best other, %")
    _size_axis(axes, sorted({int(r["nbytes"]) for r in rows}))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _curves(rows: list[ResultRow], label: str, value: Callable[[int, float], float]) -> Figure:
    places = list(dict.fromkeys(r["topology"] for r in rows))
    figure = Figure(figsize=(6.4 * len(places), 4.4), layout="constrained")
    for place, axes in zip(places, np.atleast_1d(figure.subplots(1, len(places))), strict=True):
        here = [r for r in rows if r["topology"] == place]
        sources = list(dict.fromkeys(map(_source, here)))
        for source in sources:
            series = _by_conditions([r for r in here if _source(r) == source])
            for nth, (words, some) in enumerate(series.items()):
                best = fastest(some)
                for name in dict.fromkeys(name for name, _ in best):
                    sizes = sorted(n for other, n in best if other == name)
                    color, marker = STYLES.get(name, OTHERS)
                    first = source == sources[0]
                    axes.loglog(
                        sizes, [value(n, best[name, n]) for n in sizes], color=color,
                        marker=marker, markersize=3 if first else 7, linewidth=1.4,
                        linestyle=LINES[nth % 4] if first or nth else "",
                        markerfacecolor=None if first else "none",
                        label=", ".join(filter(None, [name.replace("_", " "), words]))
                        if first or words else None,
                    )  # fmt: skip
        drawn = sources[0] + "".join(f", {source} hollow" for source in sources[1:])
        axes.set(title=f"{place} ({drawn})", xlabel="vector on each rank", ylabel=label)
        axes.set_xscale("log", base=2)
        _size_axis(axes, sorted({int(r["nbytes"]) for r in here}))
        axes.legend(frameon=False, fontsize=8)
    return figure


def _by_conditions(rows: list[ResultRow]) -> dict[str, list[ResultRow]]:
    """The rows of each curve, all of one place and source, by what tells the curves apart.

    Models that share no size continue each other: packets for small vectors, flows for large.
    """
    differ = [c for c in CONDITIONS if len({r.get(c) or "" for r in rows}) > 1]
    if "model" in differ:
        rest = [c for c in differ if c != "model"]
        models: dict[tuple[str, ...], set[str]] = {}
        for r in rows:
            key = (r["nbytes"], *(r.get(c) or "" for c in rest))
            models.setdefault(key, set()).add(r["model"])
        if all(len(some) == 1 for some in models.values()):
            differ = rest
    series: dict[str, list[ResultRow]] = {}
    for r in rows:
        words = [CONDITIONS[c].format(_short(r[c])) for c in differ if r.get(c)]
        series.setdefault(", ".join(words), []).append(r)
    return series


def _short(text: str) -> str:
    """A number without needless digits; other words as they are."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _takes_time(r: ResultRow) -> bool:
    """Whether a row, if it says how long it takes, takes longer than nothing."""
    return "seconds" not in r or not r["seconds"] or float(r["seconds"]) > 0


def _place(r: ResultRow) -> tuple[str, float]:
    return r["topology"], _rate(r)


def _rate(r: ResultRow) -> float:
    return float(r.get("bandwidth_gbps") or 0)


def _source(r: ResultRow) -> str:
    """Where a row comes from: all models of the simulator are one source."""
    return r["model"] if r.get("model") in ("paper", "measured") else "simulated"


def _size_axis(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes[:: max(1, len(sizes) // 6)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: format_size(round(n))))
    axes.grid(alpha=0.3)


def links(rows: list[ResultRow]) -> Figure:
    """Bytes on every directed link, each on its right-hand side; rings end in stubs."""
    first = rows[0]
    at, size, lanes = _drawing(rows)
    curves = [Curve(points, [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3]) for _, points in lanes]
    low, high = at.min(axis=0) - 1, at.max(axis=0) + 1
    inches = (high - low) * min(0.6, 9 / max(high - low))
    width, height = (inch + more for inch, more in zip(inches, (1.6, 0.6), strict=True))
    figure = Figure(figsize=(max(width, 5.2), max(height, 3.6)), layout="constrained")
    axes = figure.subplots()
    drawn = PathCollection(curves, facecolors="none", cmap="viridis_r", capstyle="round",
                           array=[float(rows[link]["bytes"]) for link, _ in lanes],
                           linewidths=max(0.6, 3 - size / 100), clim=(0, None),
                           rasterized=len(rows) > MAX_VECTORS)  # fmt: skip
    axes.add_collection(drawn)
    dots = max(1.0, 5 - size / 100)
    axes.plot(*at[:size].T, "o", color="#333333", markersize=dots)
    axes.plot(*at[size:].T, "s", color="#999999", markersize=dots)  # switches
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.set_axis_off()
    figure.colorbar(drawn, ax=axes, label="bytes")
    what = f"{first['algorithm']} {first['variant']}".strip().replace("_", " ")
    nbytes = format_size(int(first["nbytes"]))
    axes.set_title(f"{what} on {first['topology']}, {nbytes}, step {first['step']}")
    return figure


def _drawing(rows: list[ResultRow]) -> tuple[np.ndarray, int, list[tuple[int, np.ndarray]]]:
    """Where vertices are, how many of them are nodes, and how to draw the links, by row.

    A topology that has no name of its own, such as one with failed links, is drawn as a circle.
    """
    kind, colon, _ = (name := rows[0]["topology"]).partition(":")
    if colon and kind in TOPOLOGIES and " " not in name:
        if Torus.parse(name.partition(":")[2]).size > len(rows):
            raise ValueError(f"{len(rows)} rows are not all links of {name}")
        place = topology(name)
        if place.nlinks != len(rows):
            raise ValueError(f"{len(rows)} rows are not the {place.nlinks} links of {name}")
        at = places(place)
        return at, place.size, list(lanes_of(place, at))
    ends = [(int(r["src"]), int(r["dst"])) for r in rows]
    at = circle(1 + max(map(max, ends)))
    return at, len(at), [(i, lane(at[tail], at[head])) for i, (tail, head) in enumerate(ends)]


KINDS = {"goodput": goodput, "runtime": runtime, "gain": gain, "links": links}
