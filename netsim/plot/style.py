"""The look of figures: a colour and a marker for each algorithm, and an axis of sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from swing.algorithms import ALGORITHMS
from swing.algorithms.algorithm import Algorithm
from swing.sizes import format_size

COLORS = ("#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#555555")
"""Colours of networks: Okabe and Ito's, which colour-blind readers can tell apart, and grey."""
LINES = ("-", "--", ":", "-.")
RESERVED = {"auto": ("#000000", "*"), "mpi": ("#777777", "P")}
"""Curves that are no algorithm: the selection table's choice, and the MPI library's allreduce."""
SPARE = (("#AA4499", "<"), ("#44AA99", ">"), ("#999933", "h"), ("#661100", "p"), ("#6699CC", "8"))
"""Styles for algorithms that state none, such as those of other packages: Paul Tol's colours."""


MAX_INSIDE = 7
"""Most curves whose legend has room between them."""
PANEL_INCHES = 2.2
"""Least width of one of several panels side by side."""
NARROW = 4.0
"""Width in inches below which a panel has no room for a legend between the curves."""
LINE_INCHES = 0.16
"""Height of a line of a legend below the panels."""
TICK_INCHES = 0.55
"""Width that the label of a size needs."""


def styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each curve of a figure, no two of them alike.

    An algorithm's own style stands in its file. Curves without one, and further curves of the same
    algorithm with other options, take those of `SPARE` in turn.
    """
    chosen: dict[str, tuple[str, str]] = {}
    spare = cycle(SPARE)
    for name in names:
        own = _own(name)
        chosen[name] = own if own and own not in chosen.values() else next(spare)
    return chosen


def _own(name: str) -> tuple[str, str] | None:
    """The style that an algorithm states; None if it states none or is not known."""
    if name in RESERVED:
        return RESERVED[name]
    try:
        style = ALGORITHMS[name.partition(",")[0]].style
    except (KeyError, ValueError):  # not one of ours, or of a package that cannot be imported
        return None
    return None if style == Algorithm.style else style


def panels(count: int, width: float | None) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels side by side, in as many rows as its width in inches needs."""
    if width is None:
        columns, rows = count, 1
        figure = Figure(figsize=(6.4 * count, 4.4), layout="constrained")
    else:
        columns = min(count, max(1, int(width / PANEL_INCHES)))
        rows = -(-count // columns)
        height = rows * (0.8 * width / columns + 0.4)
        figure = Figure(figsize=(width, height), layout="constrained")
    each = [*figure.subplots(rows, columns, squeeze=False).flat]
    for spare in each[count:]:
        spare.remove()
    return figure, each[:count]


def legend(figure: Figure) -> None:
    """Put short legends into the panels; if these are narrow, or it is long, one below them."""
    labelled = [axes.get_legend_handles_labels() for axes in figure.axes]
    most = max(len(labels) for _, labels in labelled)
    narrow = _panel_inches(figure.axes[0]) < NARROW
    if most <= MAX_INSIDE and not narrow:
        for axes in figure.axes:
            axes.legend(frameon=False)
        return
    pairs = [pair for handles, labels in labelled for pair in zip(labels, handles, strict=True)]
    by_label = dict(reversed(pairs))
    names = list(dict.fromkeys(label for label, _ in pairs))
    for columns in (3, 2, 1):  # as many as are not cut
        lines = -(-len(names) // columns)
        below = figure.legend(
            [by_label[name] for name in names], names, frameon=False, loc="outside lower center",
            ncols=-(-len(names) // lines),
        )  # fmt: skip
        if columns == 1 or below.get_window_extent().width <= figure.bbox.width:
            break
        below.remove()
    figure.set_figheight(figure.get_figheight() + lines * LINE_INCHES)  # panels keep their size


def size_axis(axes: Axes, sizes: Iterable[int]) -> None:
    """Make a logarithmic axis of sizes of the vector, and label those that have room."""
    room = max(2, int(_panel_inches(axes) / TICK_INCHES))
    axes.set_xscale("log", base=2)
    axes.set_xticks(_apart(sorted(set(sizes) - {0}), room))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: format_size(round(n))))
    axes.set_xlabel("vector on each rank")
    axes.grid(alpha=0.3)


def _apart(sizes: list[int], room: int) -> list[int]:
    """Return sizes of a logarithmic axis so far apart that ``room`` of them would fill it."""
    kept = sizes[:1]
    for n in sizes[1:]:
        if math.log(n / kept[-1]) * (room - 1) >= math.log(sizes[-1] / sizes[0]) - 1e-9:
            kept.append(n)
    return kept


def _panel_inches(axes: Axes) -> float:
    """Return the width of the part of a figure in which a panel lies, with its labels."""
    figure, place = axes.figure, axes.get_subplotspec()
    width = float(figure.bbox.width / figure.dpi)
    return width / place.get_gridspec().ncols if place else width
