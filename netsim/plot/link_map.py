"""Bytes on every directed link as a colour map, drawn from ``netsim simulate --links``."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path as Curve

from netsim.display import lane, lanes_of, positions
from netsim.rows import ResultRow
from netsim.topologies.names import KINDS as TOPOLOGIES
from netsim.topologies.names import topology
from swing.sizes import UNITS, format_size
from swing.svg import circle
from swing.torus import Torus

MAX_VECTORS = 5000
"""Links up to which an SVG has one curve per link; more are embedded as a bitmap."""


def links(rows: list[ResultRow], width: float | None = None) -> Figure:
    """Bytes on every directed link, as a colour map; a wraparound link is drawn as two stubs."""
    first = rows[0]
    at, size, lanes = _drawing(rows)
    curves = [Curve(points, [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3]) for _, points in lanes]
    # In pictures of three dimensions, the stubs of wraparound links reach far out.
    drawn = np.concatenate([at, *(points for _, points in lanes)])
    low, high = drawn.min(axis=0) - 0.5, drawn.max(axis=0) + 0.5
    inches = (high - low) * min(0.6, 9 / max(high - low))
    # Room for the colour bar and the title.
    figsize = np.maximum(inches + np.array((1.6, 0.6)), (5.2, 3.6))
    if width is not None:
        figsize *= width / figsize[0]
    figure = Figure(figsize=figsize, layout="constrained")
    axes = figure.subplots()
    unit, scale = _unit(max(float(r["bytes"]) for r in rows))
    collection = PathCollection(
        curves, facecolors="none", cmap="viridis_r", capstyle="round",
        array=[float(rows[link]["bytes"]) / scale for link, _ in lanes],
        linewidths=max(0.6, 3 - size / 100), clim=(0, None), rasterized=len(rows) > MAX_VECTORS,
    )  # fmt: skip
    axes.add_collection(collection)
    dots = max(1.0, 5 - size / 100)
    axes.plot(*at[:size].T, "o", color="#333333", markersize=dots)
    axes.plot(*at[size:].T, "s", color="#999999", markersize=dots)  # switches
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.set_axis_off()
    figure.colorbar(collection, ax=axes, label=f"{unit} on the link")
    algorithm = f"{first['algorithm']} {first['variant']}".strip().replace("_", " ")
    nbytes = format_size(int(first["nbytes"]))
    when = "all steps" if first["step"] == "all" else f"step {first['step']}"
    axes.set_title(f"{algorithm} on {first['topology']}, {nbytes}, {when}")
    return figure


def _unit(nbytes: float) -> tuple[str, int]:
    """The largest unit in which a number of bytes is at least 1, and its bytes."""
    return max((u for u in UNITS.items() if u[1] <= max(nbytes, 1)), key=lambda u: u[1])


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
