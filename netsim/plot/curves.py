"""Curves over the size of the vector: goodput, runtime, time against the best or a bound, gain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from netsim.bounds import lower_bound
from netsim.machine import network_of_row
from netsim.models import own_sync
from netsim.plot.style import COLORS, LINES, legend, panels, size_axis, styles
from netsim.rows import ResultRow, fastest
from swing.algorithms import ALGORITHMS, SHIPPED
from swing.algorithms.spelling import parse, without_collective
from swing.algorithms.swing import SWING

CONDITIONS = {
    "bandwidth_gbps": "{} Gb/s", "model": "{}", "collective": "{}", "ties": "ties {}",
    "sync": "sync {}", "parts": "parts {}", "seed": "seed {}", "machine": "{}",
    "placement": "{}", "dtype": "{}", "op": "{}",
    "ranks": "{} ranks", "mpi": "{}", "cores": "{} cores",
}  # fmt: skip
"""Columns that are constant along a curve, and the format of their values in a legend."""
TIMES = (1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100)
"""Labels of an axis of ratios."""
MAX_RATIO = 10.0
"""Largest ratio that such an axis shows; far slower curves leave the picture."""

Point = Callable[[str, int, float], float]
"""The height of a point of a curve, from the algorithm, bytes and seconds."""
HEIGHTS: dict[str, Point] = {
    "goodput": lambda _, n, seconds: n * 8 / seconds / 1e9,
    "runtime": lambda _, n, seconds: seconds * 1e6,
}
"""The kinds whose heights depend on nothing else in the figure."""


def goodput(rows: list[ResultRow], width: float | None = None) -> Figure:
    """Goodput against size, one panel per topology; of each algorithm the best variant per size."""
    return _curves(rows, width, "goodput, Gb/s", lambda _: HEIGHTS["goodput"])


def runtime(rows: list[ResultRow], width: float | None = None) -> Figure:
    """Runtime against size, one panel per topology; of each algorithm the best variant per size."""
    return _curves(rows, width, "time, us", lambda _: HEIGHTS["runtime"])


def ratio(rows: list[ResultRow], width: float | None = None) -> Figure:
    """Time as a multiple of the fastest algorithm's at the same size and conditions."""

    def against(curves: list[ResultRow]) -> Point:
        best: dict[int, float] = {}
        for (_, n), seconds in fastest(curves).items():
            best[n] = min(seconds, best.get(n, seconds))
        return lambda _, n, seconds: seconds / best[n]

    return _ratios(rows, width, "time ÷ best", against)


def bound(rows: list[ResultRow], width: float | None = None) -> Figure:
    """Time as a multiple of `netsim.lower_bound` on the rows' network.

    Raises:
        ValueError: the rows are not simulated, so that no network is known for them.
    """

    def against(curves: list[ResultRow]) -> Point:
        first = curves[0]
        if source(first) == "measured" or not first.get("bandwidth_gbps"):
            raise ValueError("a bound is known only for simulated rows, which have a bandwidth")
        network = network_of_row(first)
        collective = first.get("collective") or "allreduce"

        def point(name: str, n: int, seconds: float) -> float:
            root = parse(name)[1].get("root", 0)
            return seconds / lower_bound(network, n, collective, root)

        return point

    return _ratios(rows, width, "time ÷ lower bound", against)


def _ratios(
    rows: list[ResultRow], width: float | None, label: str, against: Callable[..., Point]
) -> Figure:
    figure = _curves(rows, width, label, against)
    for axes in figure.axes:
        heights = [float(np.max(line.get_ydata())) for line in axes.lines]
        top = max(1.5, min(1.1 * max(heights, default=1.0), MAX_RATIO))
        axes.set_yticks(TIMES)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.set_ylim(0.97, top)  # ticks above it would widen the axis
    return figure


def gain(rows: list[ResultRow], width: float | None = None) -> Figure:
    """Swing's gain over the best other algorithm, against size; see `swing_gain`.

    The paper's points are hollow; they come from a column ``gain_percent``.
    """
    figure, (axes,) = panels(1, width)
    networks = list(dict.fromkeys(_network(r) for r in rows if source(r) != "paper"))
    sources = dict.fromkeys((_network(r), source(r)) for r in rows)
    names = {(name, rate): name + (f", {rate:g} Gb/s" if rate else "") for name, rate in networks}
    drawn = 0
    for network, origin in ((n, s) for n in networks for other, s in sources if other == n):
        matches = [r for r in rows if (_network(r), source(r)) == (network, origin)]
        number, paper = networks.index(network), origin == "paper"
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
    size_axis(axes, (int(r["nbytes"]) for r in rows))
    legend(figure)
    return figure


def swing_gain(best: dict[tuple[str, int], float]) -> dict[int, float]:
    """Swing's gain over the best other algorithm in percent, by bytes, as the paper reports it.

    In goodputs it is swing/best - 1 where Swing is ahead, and -(best/swing - 1) otherwise. As in
    the paper, mirrored recursive doubling is not among the others (`Algorithm.rival`). Nor is auto.

    Args:
        best: seconds by (algorithm, bytes), of one collective and root, which the names may state.
    """
    times: dict[tuple[str, int], float] = {}
    for (full, n), seconds in best.items():
        key = without_collective(full), n
        times[key] = min(seconds, times.get(key, seconds))
    # What auto chooses may be Swing itself.
    apart = {SWING.name, "auto", *(name for name in SHIPPED if not ALGORITHMS[name].rival)}
    gains = {}
    for n in (n for name, n in times if name == SWING.name):
        others = [t for (other, m), t in times.items() if m == n and other not in apart]
        if others:
            ratio = min(others) / times[SWING.name, n]
            gains[n] = 100 * (ratio - 1 if ratio >= 1 else 1 - 1 / ratio)
    return gains


def _curves(
    rows: list[ResultRow],
    width: float | None,
    label: str,
    height: Callable[[list[ResultRow]], Point],
) -> Figure:
    """Draw one panel per topology.

    Args:
        rows: of all panels.
        width: of the figure in inches; as for `panels`.
        label: of the vertical axis.
        height: gives the function that places the points of curves with the same conditions.
    """
    topologies = list(dict.fromkeys(r["topology"] for r in rows))
    figure, each = panels(len(topologies), width)
    names = list(dict.fromkeys(r["algorithm"] for r in rows))
    looks, shown = styles(names), _shown(names)
    for name, axes in zip(topologies, each, strict=True):
        panel_rows = [r for r in rows if r["topology"] == name]
        sources = list(dict.fromkeys(map(source, panel_rows)))
        for origin in sources:
            series = _by_conditions([r for r in panel_rows if source(r) == origin])
            for nth, (conditions, curves) in enumerate(series.items()):
                _draw(axes, curves, height(curves), looks, shown, conditions, nth,
                      origin == sources[0])  # fmt: skip
        hollow = "".join(f", {origin} hollow" for origin in sources[1:])
        origins = _origin(panel_rows, sources[0]) + hollow
        axes.set(title=f"{name} ({origins})", ylabel=label)
        size_axis(axes, (int(r["nbytes"]) for r in panel_rows))
    legend(figure)
    return figure


def _draw(
    axes: Axes, rows: list[ResultRow], point: Point, looks: dict[str, tuple[str, str]],
    shown: dict[str, str], conditions: str, nth: int, first: bool,
) -> None:  # fmt: skip
    """Draw the curves of one source and one set of conditions, the ``nth`` of its source."""
    best = fastest(rows)
    for name in dict.fromkeys(name for name, _ in best):
        sizes = sorted(n for other, n in best if other == name)
        color, marker = looks[name]
        axes.loglog(
            sizes, [point(name, n, best[name, n]) for n in sizes], color=color, marker=marker,
            markersize=3 if first else 7, linewidth=1.4,
            linestyle=LINES[nth % 4] if first or nth else "",
            markerfacecolor=None if first else "none",
            label=", ".join(filter(None, [shown[name], conditions]))
            if first or conditions else None,
        )  # fmt: skip


def shade(figure: Figure, rows: list[ResultRow], kind: str, topologies: list[str]) -> None:
    """Shade the range of all rows of each algorithm and size, whatever their conditions.

    Args:
        figure: of one panel per topology.
        rows: of the ranges, such as those of several seeds.
        kind: of the figure, a key of `HEIGHTS`.
        topologies: of the panels, in order.
    """
    looks = styles(list(dict.fromkeys(r["algorithm"] for r in rows)))
    for place, axes in zip(topologies, figure.axes, strict=True):
        heights: dict[str, dict[int, list[float]]] = {}
        for r in rows:
            if r["topology"] == place:
                name, n = r["algorithm"], int(r["nbytes"])
                height = HEIGHTS[kind](name, n, float(r["seconds"]))
                heights.setdefault(name, {}).setdefault(n, []).append(height)
        for name, at_size in heights.items():
            sizes = sorted(at_size)
            least, most = ([f(at_size[n]) for n in sizes] for f in (min, max))
            axes.fill_between(sizes, least, most, color=looks[name][0], alpha=0.3, linewidth=0)


def _shown(names: list[str]) -> dict[str, str]:
    """Names as legends show them: without the collective and root, if these are all the same."""
    plain = {name: without_collective(name) for name in names}
    asked = {frozenset(name.split(",")) - {*plain[name].split(",")} for name in names}
    return {n: (plain[n] if len(asked) == 1 else n).replace("_", " ") for n in names}


def _by_conditions(rows: list[ResultRow]) -> dict[str, list[ResultRow]]:
    """Group rows of one topology and source into curves, by the `CONDITIONS` in which they differ.

    Models that have no size in common form one curve, such as packets for small vectors and flows
    for large ones.

    Returns:
        The rows of each curve, by its text for the legend.
    """
    differing = [c for c in CONDITIONS if len({_condition(r, c) for r in rows}) > 1]
    if "model" in differing:
        others = [c for c in differing if c != "model"]
        models: dict[tuple[str, ...], set[str]] = {}
        for r in rows:
            key = (r["nbytes"], *(_condition(r, c) for c in others))
            models.setdefault(key, set()).add(r["model"])
        if all(len(at_size) == 1 for at_size in models.values()):
            differing = others
    series: dict[str, list[ResultRow]] = {}
    for r in rows:
        given = {c: _condition(r, c) for c in differing}
        values = [CONDITIONS[c].format(_short(value)) for c, value in given.items() if value]
        series.setdefault(", ".join(values), []).append(r)
    return series


def _condition(r: ResultRow, column: str) -> str:
    """The value of a row in a column; a rule that its model follows unless told is none."""
    value: str = r.get(column) or ""
    return "" if column == "sync" and value == own_sync(r["model"]) else value


def _short(text: str) -> str:
    """Drop needless digits of a number; leave other texts alone."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _network(r: ResultRow) -> tuple[str, float]:
    """Topology, and bandwidth in Gb/s; 0 if the row has none."""
    return r["topology"], float(r.get("bandwidth_gbps") or 0)


def source(r: ResultRow) -> str:
    """The source of a row: "paper", "measured", or "simulated" for all models of the simulator."""
    return r["model"] if r.get("model") in ("paper", "measured") else "simulated"


def _origin(rows: list[ResultRow], first: str) -> str:
    """The first source of a panel in words: the model, if all simulated rows have the same."""
    models = {r["model"] for r in rows if source(r) == first and r.get("model")}
    return f"{models.pop()} model" if first == "simulated" and len(models) == 1 else first
