"""Plot measured and predicted times on an emulated torus, and how well they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from mpi_bench.emulate.compare import BANDS, LINKS, shares
from mpi_bench.emulate.compare import point as point_of
from netsim.plot import save, size_axis, styles
from netsim.rows import ResultRow


def plot(rows: Sequence[ResultRow], out: Path) -> list[Path]:
    """Write two SVG files per topology, one of times and one of agreement; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in dict.fromkeys(r["topology"] for r in rows):
        topology_rows = [r for r in rows if r["topology"] == name]
        for kind, draw in (("times", _times), ("agreement", _agreement)):
            path = out / f"{name.replace(':', '-')}-{kind}.svg"
            save(_panels(topology_rows, draw), path)
            written.append(path)
    return written


def _panels(
    rows: Sequence[ResultRow],
    draw: Callable[[Axes, Sequence[ResultRow], Sequence[ResultRow]], None],
) -> Figure:
    rates = sorted({float(r["rate_mbps"]) for r in rows})
    figure = Figure(figsize=(5.2 * len(rates), 4.6), layout="constrained")
    sizes = sorted({int(r["nbytes"]) for r in rows})
    panels = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    for axes, rate in zip(panels, rates, strict=True):
        draw(axes, [r for r in rows if float(r["rate_mbps"]) == rate], rows)
        axes.set_title(f"{rows[0]['topology']}, {rate:g} Mbit/s a link")
        size_axis(axes, sizes)
    return figure


def _times(axes: Axes, rows: Sequence[ResultRow], _: Sequence[ResultRow]) -> None:
    """Draw measured times as markers and predicted ones as lines.

    Each algorithm appears with its fastest variant at each size.
    """
    ours = [r for r in rows if r["predicted"] not in (None, "")]
    handles = []
    looks = styles(dict.fromkeys(r["algorithm"] for r in ours))
    for curve in dict.fromkeys((r["algorithm"], int(r["ports"]) == 1) for r in ours):
        algorithm, single = curve
        curve_rows = [r for r in ours if (r["algorithm"], int(r["ports"]) == 1) == curve]
        color, marker = looks[algorithm]
        style = {"color": color, "linestyle": "--" if single else "-",
                 "markerfacecolor": "none" if single else color}  # fmt: skip
        for column, extra in (
            ("predicted", {"linewidth": 1.2}),
            ("seconds", {"marker": marker, "markersize": 4, "linestyle": ""}),
        ):
            best = _best(curve_rows, column)
            axes.loglog(list(best), list(best.values()), **(style | extra))
        label = f"{algorithm.replace('_', ' ')}, {'1 port' if single else 'all ports'}"
        handles.append(Line2D([], [], marker=marker, markersize=4, label=label, **style))  # type: ignore[arg-type]
    mpich = [r for r in rows if r["algorithm"] == "mpi"]
    others = mpich if len({r["variant"] for r in mpich}) > 1 else []
    for label, label_rows, marker in (
        ("MPICH's default", [r for r in mpich if r["variant"] == "auto"], "+"),
        ("MPICH's best", others, "_"),
    ):
        best = _best(label_rows, "seconds")
        if best:
            dots = {"color": "#333333", "marker": marker, "linestyle": ":", "label": label}
            handles += axes.loglog(list(best), list(best.values()), **dots)
    axes.set_ylabel("seconds (markers measured, lines predicted)")
    axes.legend(handles=handles, frameon=False, fontsize=7)


def _best(rows: Sequence[ResultRow], column: str) -> dict[int, float]:
    """Return the smallest value of a column at each size."""
    best: dict[int, float] = {}
    for r in rows:
        n = int(r["nbytes"])
        best[n] = min(float(r[column]), best.get(n, float("inf")))
    return dict(sorted(best.items()))


def _agreement(axes: Axes, rows: Sequence[ResultRow], all_rows: Sequence[ResultRow]) -> None:
    """Draw measured over predicted time: filled if bound by links, hollow if bound by cores."""
    share = shares(all_rows)
    axes.axhspan(*BANDS["several ports"], color="#009E73", alpha=0.12)
    axes.axhline(1, color="#333333", linewidth=0.8)
    handles = {}
    looks = styles(dict.fromkeys(r["algorithm"] for r in rows))
    for r in rows:
        if r["predicted"] in (None, ""):
            continue
        color, marker = looks[r["algorithm"]]
        links = share.get((point_of(r), float(r["rate_mbps"])), 0.0) >= LINKS
        style = {"color": color, "marker": marker, "linestyle": ""}
        fill = color if links else "none"
        axes.semilogy(
            int(r["nbytes"]), float(r["ratio"]), markerfacecolor=fill, markersize=5, **style
        )
        label = r["algorithm"].replace("_", " ")
        handles[r["algorithm"]] = Line2D([], [], label=label, **style)  # type: ignore[arg-type]
    axes.set(ylabel="measured over predicted", ylim=(0.5, 4))
    axes.set_yticks([0.5, 0.75, 1, 1.5, 2, 3, 4])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: ""))
    axes.legend(handles=list(handles.values()), frameon=False, fontsize=7)
