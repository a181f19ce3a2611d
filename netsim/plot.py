"""Figures, drawn from CSV files only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

from netsim.rows import Row, read_csv
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


def plot(paths: Sequence[Path], out: Path) -> list[Path]:
    """Draw the files in one figure and return the paths of its SVG and PNG.

    Args:
        paths: written by ``netsim sweep --csv`` or ``mpi_bench --csv``, or one by ``simulate
            --links``. The topologies of the first are drawn, with what the others have of them.
        out: the folder for ``<name of the first file>.svg`` and ``.png``.

    Raises:
        ValueError: not such a file.
        OSError: the file can not be read, or the folder not written.
    """
    tables = [read_csv(path, ["topology", "algorithm", "nbytes"]) for path in paths]
    places = {r["topology"] for r in tables[0]}
    rows = [r for table in tables for r in table if r["topology"] in places]
    figure = links(rows) if "direction" in rows[0] else goodput(rows)
    out.mkdir(parents=True, exist_ok=True)
    figures = [out / f"{paths[0].stem}.svg", out / f"{paths[0].stem}.png"]
    with matplotlib.rc_context({"svg.hashsalt": "torus-swing"}):
        figure.savefig(figures[0], metadata={"Date": None})
        figure.savefig(figures[1], dpi=150)
    return figures


def goodput(rows: list[Row]) -> Figure:
    """Goodput against size, one panel a topology; variants of an algorithm merged, best first."""
    places = list(dict.fromkeys(r["topology"] for r in rows))
    figure = Figure(figsize=(6.4 * len(places), 4.4), layout="constrained")
    for place, axes in zip(places, np.atleast_1d(figure.subplots(1, len(places))), strict=True):
        here = [r for r in rows if r["topology"] == place]
        models = list(dict.fromkeys(r["model"] for r in here))
        for name, model in dict.fromkeys((r["algorithm"], r["model"]) for r in here):
            best: dict[int, float] = {}
            for r in here:
                if (r["algorithm"], r["model"]) == (name, model) and r["goodput_gbps"]:
                    n, rate = int(r["nbytes"]), float(r["goodput_gbps"])
                    best[n] = max(rate, best.get(n, 0.0))
            color, marker = STYLES.get(name, OTHERS)
            first = model == models[0]
            axes.loglog(
                sorted(best), [best[n] for n in sorted(best)], color=color, marker=marker,
                linestyle="-" if first else "", markersize=3 if first else 7, linewidth=1.4,
                markerfacecolor=None if first else "none",
                label=name.replace("_", " ") if first else None,
            )  # fmt: skip
        drawn = f"{models[0]}" + "".join(f", {m} hollow" for m in models[1:])
        axes.set(title=f"{place} ({drawn})", xlabel="vector on each rank", ylabel="goodput, Gb/s")
        sizes = sorted({int(r["nbytes"]) for r in here})
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes[:: max(1, len(sizes) // 6)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: format_size(round(n))))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure


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
