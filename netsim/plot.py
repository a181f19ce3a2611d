"""Figures of goodput, runtime, gain and link loads, drawn from CSV files only."""

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

from netsim.display import lane, lanes_of, positions
from netsim.rows import ResultRow, fastest, read_csv
from netsim.topologies.names import KINDS as TOPOLOGIES
from netsim.topologies.names import topology
from swing.algorithms import ALGORITHMS, SHIPPED
from swing.algorithms.algorithm import Algorithm
from swing.algorithms.swing import SWING
from swing.sizes import format_size
from swing.svg import circle
from swing.torus import Torus

COLORS = ("#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#555555")
"""Colours of networks: Okabe and Ito's, which colour-blind readers can tell apart, and grey."""
MAX_VECTORS = 5000
"""Links up to which an SVG has one curve per link; more are embedded as a bitmap."""
CONDITIONS = {
    "bandwidth_gbps": "{} Gb/s", "model": "{}", "collective": "{}", "ties": "ties {}",
    "sync": "sync {}", "parts": "parts {}", "seed": "seed {}", "dtype": "{}", "op": "{}",
    "ranks": "{} ranks", "mpi": "{}", "cores": "{} cores",
}  # fmt: skip
"""Columns that are constant along a curve, and the format of their values in a legend."""
LINES = ("-", "--", ":", "-.")


def plot(paths: Sequence[Path], out: Path, kind: str = "", name: str = "") -> list[Path]:
    """Draw the rows of some CSV files in one figure, as SVG and PNG.

    Args:
        paths: files of ``netsim sweep --csv`` or ``mpi_bench --csv``, or one of ``netsim simulate
            --links``. Of rows with the model ``paper``, only those for the topologies of the other
            files are drawn.
        out: the folder for ``<name>.svg`` and ``<name>.png``.
        kind: a key of `KINDS`; if empty, ``links`` or ``goodput``, as suits the first file.
        name: of the figure; the first file's if empty.

    Returns:
        The paths of the SVG and of the PNG.

    Raises:
        ValueError: a file is not of this kind, or has nothing to draw.
        OSError: a file cannot be read, or the folder cannot be written.
    """
    tables = [read_csv(path, ["topology", "algorithm", "nbytes"]) for path in paths]
    kind = kind or ("links" if "direction" in tables[0][0] else "goodput")
    needs = ["src", "dst", "step", "bytes"] if kind == "links" else ["seconds"]
    for path, table in zip(paths, tables, strict=True):
        for column in needs:
            if column not in table[0] and _source(table[0]) != "paper":
                raise ValueError(f"{path} has no column {column!r}: it is not made for {kind}")
    every = [r for table in tables for r in table]
    topologies = {r["topology"] for r in every if _source(r) != "paper"}
    rows = [r for r in every if r["topology"] in topologies and _takes_time(r)]
    if not rows:
        raise ValueError(f"{paths[0]} has nothing to draw: no row of ours that takes time")
    figure = KINDS[kind](rows)
    out.mkdir(parents=True, exist_ok=True)
    name = name or paths[0].stem
    figures = [out / f"{name}.svg", out / f"{name}.png"]
    save_svg(figure, figures[0])
    figure.savefig(figures[1], dpi=150)
    return figures


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG: the same rows give the same bytes."""
    with matplotlib.rc_context({"svg.hashsalt": "torus-swing"}):  # a fixed salt, and no date
        figure.savefig(path, metadata={"Date": None})


def goodput(rows: list[ResultRow]) -> Figure:
    """Goodput against size, one panel per topology; of each algorithm the best variant per size."""
    return _curves(rows, "goodput, Gb/s", lambda n, seconds: n * 8 / seconds / 1e9)


def runtime(rows: list[ResultRow]) -> Figure:
    """Runtime against size, one panel per topology; of each algorithm the best variant per size."""
    return _curves(rows, "time, us", lambda n, seconds: seconds * 1e6)


def gain(rows: list[ResultRow]) -> Figure:
    """Swing's gain over the best other algorithm, against size; see `swing_gain`.

    The paper's points are hollow; they come from a column ``gain_percent``.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    networks = list(dict.fromkeys(_network(r) for r in rows if _source(r) != "paper"))
    sources = dict.fromkeys((_network(r), _source(r)) for r in rows)
    names = {(name, rate): name + (f", {rate:g} Gb/s" if rate else "") for name, rate in networks}
    drawn = 0
    for network, source in ((n, s) for n in networks for other, s in sources if other == n):
        matches = [r for r in rows if (_network(r), _source(r)) == (network, source)]
        number, paper = networks.index(network), source == "paper"
        for nth, (conditions, curve) in enumerate(_by_conditions(matches).items()):
            points = (
                {int(r["nbytes"]): float(r["gain_percent"]) for r in curve}
                if paper
                else swing_gain(fastest(curve))
            )
            axes.plot(
                sorted(points), [points[n] for n in sorted(points)], marker="os^vDx"[number % 6],
                color=COLORS[number % 7], markersize=7 if paper else 4,
                linestyle="" if paper else LINES[nth % 4],
                markerfacecolor="none" if paper else None,
                label=None if paper else ", ".join(filter(None, [names[network], conditions])),
            )  # fmt: skip
            drawn += len(points)
    if not drawn:
        raise ValueError(
            "a gain compares Swing with another algorithm: the rows have no size with both"
        )
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set_ylabel("Swing's gain over the best other, %")
    size_axis(axes, _sizes(rows))
    axes.legend(frameon=False, fontsize=8)
    return figure


def swing_gain(best: dict[tuple[str, int], float]) -> dict[int, float]:
    """Swing's gain over the best other algorithm in percent, by bytes, as the paper reports it.

    In goodputs it is swing/best - 1 where Swing is ahead, and -(best/swing - 1) otherwise. As in
    the paper, mirrored recursive doubling is not among the others (`Algorithm.rival`).
    """
    apart = {SWING.name, *(name for name in SHIPPED if not ALGORITHMS[name].rival)}
    gains = {}
    for n in (n for name, n in best if name == SWING.name):
        others = [t for (other, m), t in best.items() if m == n and other not in apart]
        if others:
            ratio = min(others) / best[SWING.name, n]
            gains[n] = 100 * (ratio - 1 if ratio >= 1 else 1 - 1 / ratio)
    return gains


def style(name: str) -> tuple[str, str]:
    """Colour and marker of an algorithm's curve."""
    try:
        return ALGORITHMS[name].style
    except (KeyError, ValueError):  # not one of ours, or of a package that cannot be imported
        return Algorithm.style


def _curves(rows: list[ResultRow], label: str, value: Callable[[int, float], float]) -> Figure:
    topologies = list(dict.fromkeys(r["topology"] for r in rows))
    npanels = len(topologies)
    figure = Figure(figsize=(6.4 * npanels, 4.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, npanels))
    for panel_topology, axes in zip(topologies, panels, strict=True):
        panel_rows = [r for r in rows if r["topology"] == panel_topology]
        sources = list(dict.fromkeys(map(_source, panel_rows)))
        for source in sources:
            series = _by_conditions([r for r in panel_rows if _source(r) == source])
            for nth, (conditions, curve) in enumerate(series.items()):
                best = fastest(curve)
                for name in dict.fromkeys(name for name, _ in best):
                    sizes = sorted(n for other, n in best if other == name)
                    color, marker = style(name)
                    first = source == sources[0]
                    axes.loglog(
                        sizes, [value(n, best[name, n]) for n in sizes], color=color,
                        marker=marker, markersize=3 if first else 7, linewidth=1.4,
                        linestyle=LINES[nth % 4] if first or nth else "",
                        markerfacecolor=None if first else "none",
                        label=", ".join(filter(None, [name.replace("_", " "), conditions]))
                        if first or conditions else None,
                    )  # fmt: skip
        origin = sources[0] + "".join(f", {source} hollow" for source in sources[1:])
        title = f"{panel_topology} ({origin})"
        axes.set(title=title, ylabel=label)
        size_axis(axes, _sizes(panel_rows))
        axes.legend(frameon=False, fontsize=8)
    return figure


def _by_conditions(rows: list[ResultRow]) -> dict[str, list[ResultRow]]:
    """Group rows of one topology and source into curves, by the `CONDITIONS` in which they differ.

    Models that have no size in common form one curve, such as packets for small vectors and flows
    for large ones.

    Returns:
        The rows of each curve, by its text for the legend.
    """
    differing = [c for c in CONDITIONS if len({r.get(c) or "" for r in rows}) > 1]
    if "model" in differing:
        others = [c for c in differing if c != "model"]
        models: dict[tuple[str, ...], set[str]] = {}
        for r in rows:
            key = (r["nbytes"], *(r.get(c) or "" for c in others))
            models.setdefault(key, set()).add(r["model"])
        if all(len(at_size) == 1 for at_size in models.values()):
            differing = others
    series: dict[str, list[ResultRow]] = {}
    for r in rows:
        values = [CONDITIONS[c].format(_short(r[c])) for c in differing if r.get(c)]
        series.setdefault(", ".join(values), []).append(r)
    return series


def _short(text: str) -> str:
    """Drop needless digits of a number; leave other texts alone."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _takes_time(r: ResultRow) -> bool:
    """Whether a row has no time, or one above 0: logarithmic axes cannot show 0."""
    return "seconds" not in r or not r["seconds"] or float(r["seconds"]) > 0


def _network(r: ResultRow) -> tuple[str, float]:
    """Topology, and bandwidth in Gb/s; 0 if the row has none."""
    return r["topology"], float(r.get("bandwidth_gbps") or 0)


def _source(r: ResultRow) -> str:
    """The source of a row: "paper", "measured", or "simulated" for all models of the simulator."""
    return r["model"] if r.get("model") in ("paper", "measured") else "simulated"


def size_axis(axes: Axes, ticks: list[int]) -> None:
    """Label a logarithmic axis of sizes of the vector."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: format_size(round(n))))
    axes.set_xlabel("vector on each rank")
    axes.grid(alpha=0.3)


def _sizes(rows: list[ResultRow]) -> list[int]:
    """The sizes to label: all, or every k-th of many."""
    sizes = sorted({int(r["nbytes"]) for r in rows})
    return sizes[:: max(1, len(sizes) // 6)]


def links(rows: list[ResultRow]) -> Figure:
    """Bytes on every directed link, as a colour map; a wraparound link is drawn as two stubs."""
    first = rows[0]
    at, size, lanes = _drawing(rows)
    curves = [Curve(points, [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3]) for _, points in lanes]
    low, high = at.min(axis=0) - 1, at.max(axis=0) + 1
    inches = (high - low) * min(0.6, 9 / max(high - low))
    width, height = inches[0] + 1.6, inches[1] + 0.6  # room for the colour bar and the title
    figure = Figure(figsize=(max(width, 5.2), max(height, 3.6)), layout="constrained")
    axes = figure.subplots()
    collection = PathCollection(
        curves, facecolors="none", cmap="viridis_r", capstyle="round",
        array=[float(rows[link]["bytes"]) for link, _ in lanes],
        linewidths=max(0.6, 3 - size / 100), clim=(0, None), rasterized=len(rows) > MAX_VECTORS,
    )  # fmt: skip
    axes.add_collection(collection)
    dots = max(1.0, 5 - size / 100)
    axes.plot(*at[:size].T, "o", color="#333333", markersize=dots)
    axes.plot(*at[size:].T, "s", color="#999999", markersize=dots)  # switches
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.set_axis_off()
    figure.colorbar(collection, ax=axes, label="bytes")
    algorithm = f"{first['algorithm']} {first['variant']}".strip().replace("_", " ")
    nbytes = format_size(int(first["nbytes"]))
    axes.set_title(f"{algorithm} on {first['topology']}, {nbytes}, step {first['step']}")
    return figure


def _drawing(rows: list[ResultRow]) -> tuple[np.ndarray, int, list[tuple[int, np.ndarray]]]:
    """The positions of vertices, the number of nodes among them, and the curves of links by row.

    A topology that `netsim.topology` cannot make from its name, such as one with failed links, is
    drawn as a circle.
    """
    kind, colon, _ = (name := rows[0]["topology"]).partition(":")
    if colon and kind in TOPOLOGIES and " " not in name:
        # Checked before the topology is made: a wrong name could ask for a huge one.
        if Torus.parse(name.partition(":")[2]).size > len(rows):
            raise ValueError(f"{len(rows)} rows are not all links of {name}")
        network = topology(name)
        if network.nlinks != len(rows):
            raise ValueError(f"{len(rows)} rows are not the {network.nlinks} links of {name}")
        at = positions(network)
        return at, network.size, list(lanes_of(network, at))
    ends = [(int(r["src"]), int(r["dst"])) for r in rows]
    at = circle(1 + max(map(max, ends)))
    return at, len(at), [(i, lane(at[tail], at[head])) for i, (tail, head) in enumerate(ends)]


KINDS = {"goodput": goodput, "runtime": runtime, "gain": gain, "links": links}
