"""Figures, drawn from CSV files only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

from netsim.rows import Row, fastest, read_csv, swing_gain
from netsim.sizes import format_size
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
COLORS = [color for color, _ in STYLES.values()]


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
    places = {r["topology"] for table in tables for r in table if _source(r) != "paper"}
    rows = [r for table in tables for r in table if r["topology"] in places]
    kind = kind or ("links" if "direction" in rows[0] else "goodput")
    figure = KINDS[kind](rows)
    out.mkdir(parents=True, exist_ok=True)
    name = name or paths[0].stem
    figures = [out / f"{name}.svg", out / f"{name}.png"]
    with matplotlib.rc_context({"svg.hashsalt": "torus-swing"}):
        figure.savefig(figures[0], metadata={"Date": None})
        figure.savefig(figures[1], dpi=150)
    return figures


def goodput(rows: list[Row]) -> Figure:
    """Goodput against size, one panel a topology; variants of an algorithm merged, best first."""
    return _curves(rows, "goodput, Gb/s", lambda n, seconds: n * 8 / seconds / 1e9)


def runtime(rows: list[Row]) -> Figure:
    """Runtime against size, one panel a topology; variants of an algorithm merged, best first."""
    return _curves(rows, "time, us", lambda n, seconds: seconds * 1e6)


def gain(rows: list[Row]) -> Figure:
    """Swing's gain over the best of the others, mirrored ones aside, against size.

    The paper's points, hollow, have a column ``gain_percent``.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    places = dict.fromkeys((r["topology"], _rate(r)) for r in rows if _source(r) != "paper")
    sources = dict.fromkeys((_place(r), _source(r)) for r in rows)
    for number, place in enumerate(places):
        for source in (source for where, source in sources if where == place):
            here = [r for r in rows if (_place(r), _source(r)) == (place, source)]
            points = (
                {int(r["nbytes"]): float(r["gain_percent"]) for r in here}
                if source == "paper"
                else swing_gain(fastest(here))
            )
            paper, rate = source == "paper", place[1]
            axes.plot(
                sorted(points), [points[n] for n in sorted(points)], marker="os^vDx"[number % 6],
                color=[*COLORS, OTHERS[0]][number % 7], markersize=7 if paper else 4,
                linestyle="" if paper else "-", markerfacecolor="none" if paper else None,
                label=None if paper else f"{place[0]}" + (f", {rate:g} Gb/s" if rate else ""),
            )  # fmt: skip
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set(xlabel="vector on each rank", ylabel="Swing's gain over the best other, %")
    _size_axis(axes, sorted({int(r["nbytes"]) for r in rows}))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _curves(rows: list[Row], label: str, value: Callable[[int, float], float]) -> Figure:
    places = list(dict.fromkeys(r["topology"] for r in rows))
    figure = Figure(figsize=(6.4 * len(places), 4.4), layout="constrained")
    for place, axes in zip(places, np.atleast_1d(figure.subplots(1, len(places))), strict=True):
        here = [r for r in rows if r["topology"] == place]
        sources = list(dict.fromkeys(map(_source, here)))
        for source in sources:
            best = fastest([r for r in here if _source(r) == source])
            for name in dict.fromkeys(name for name, _ in best):
                sizes = sorted(n for other, n in best if other == name)
                color, marker = STYLES.get(name, OTHERS)
                first = source == sources[0]
                axes.loglog(
                    sizes, [value(n, best[name, n]) for n in sizes], color=color, marker=marker,
                    linestyle="-" if first else "", markersize=3 if first else 7, linewidth=1.4,
                    markerfacecolor=None if first else "none",
                    label=name.replace("_", " ") if first else None,
                )  # fmt: skip
        drawn = sources[0] + "".join(f", {source} hollow" for source in sources[1:])
        axes.set(title=f"{place} ({drawn})", xlabel="vector on each rank", ylabel=label)
        axes.set_xscale("log", base=2)
        _size_axis(axes, sorted({int(r["nbytes"]) for r in here}))
        axes.legend(frameon=False, fontsize=8)
    return figure


def _place(r: Row) -> tuple[str, float]:
    return r["topology"], _rate(r)


def _rate(r: Row) -> float:
    return float(r.get("bandwidth_gbps") or 0)


def _source(r: Row) -> str:
    """Where a row comes from: all models of the simulator are one source."""
    return r["model"] if r.get("model") in ("paper", "measured") else "simulated"


def _size_axis(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes[:: max(1, len(sizes) // 6)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: format_size(round(n))))
    axes.grid(alpha=0.3)


def links(rows: list[Row]) -> Figure:
    """Bytes on every directed link: on the grid in two dimensions, else node by node."""
    first = rows[0]
    dims = Torus.parse(first["topology"].partition(":")[2]).dims
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    near = all(r["direction"] for r in rows)
    shown = _grid(axes, rows, dims) if len(dims) == 2 and near else _table(axes, rows, len(dims))
    figure.colorbar(shown, ax=axes, label="bytes")
    what = f"{first['algorithm']} {first['variant']}".strip().replace("_", " ")
    size = format_size(int(first["nbytes"]))
    axes.set_title(f"{what} on {first['topology']}, {size}, step {first['step']}")
    return figure


def _grid(axes: Axes, rows: list[Row], dims: tuple[int, ...]) -> LineCollection:
    # The two directions of a link lie side by side; links that wrap around leave the picture.
    segments = []
    for r in rows:
        x = np.array(np.unravel_index(int(r["src"]), dims)[::-1], dtype=float)
        way = np.zeros(2)
        way[1 - int(r["dim"])] = 1.0 if r["direction"] == "+" else -1.0
        side = 0.08 * np.array([-way[1], way[0]])
        segments.append([x + side + 0.12 * way, x + side + 0.88 * way])
    drawn = LineCollection(segments, array=[float(r["bytes"]) for r in rows], cmap="viridis_r")
    drawn.set(linewidth=3, clim=(0, None), capstyle="round")
    axes.add_collection(drawn)
    y, x = np.unravel_index(np.arange(int(np.prod(dims))), dims)
    axes.plot(x, y, "o", color="#333333", markersize=5)
    axes.set(xlim=(-1, dims[1]), ylim=(dims[0], -1), aspect="equal",
             xlabel="dimension 1", ylabel="dimension 0")  # fmt: skip
    return drawn


def _table(axes: Axes, rows: list[Row], ndim: int) -> AxesImage:
    # The busiest of the links that leave a node along a dimension.
    table = np.zeros((ndim, 1 + max(int(r["src"]) for r in rows)))
    for r in rows:
        at = int(r["dim"]), int(r["src"])
        table[at] = max(table[at], float(r["bytes"]))
    axes.set_yticks(range(ndim), [f"dimension {j}" for j in range(ndim)])
    axes.set(xlabel="node the link leaves")
    return axes.imshow(table, aspect="auto", interpolation="none", cmap="viridis_r", vmin=0)


KINDS = {"goodput": goodput, "runtime": runtime, "gain": gain, "links": links}
