"""Notebook views of topologies, networks and runs: small HTML tables and SVG pictures.

Pictures have a white background of their own, so they are legible in dark themes too.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from netsim.machine import columns
from netsim.network import Network
from netsim.run import Run
from netsim.topologies.topology import Topology
from swing.sizes import UNITS, format_size
from swing.svg import axes, circle, picture

MAX_NODES = 256
"""Topologies with more nodes are shown by name only."""
CELL = 44
"""Distance between neighbours, in pixels."""
RAMP = ("#d9d6cf", "#f8d8bc", "#f6a47c", "#f16a4c", "#d52c47", "#981b5d", "#511e4d", "#30173a")
"""Colours for no bytes, then for equal steps up to the maximum, ever darker, also in grey."""


def topology_svg(topology: Topology, link_bytes: np.ndarray | None = None) -> str:
    """Draw the links of a topology; the two directions of a link keep to their right-hand sides.

    Args:
        topology: up to `MAX_NODES` nodes; a larger one is only named.
        link_bytes: (nlinks,) bytes by which to colour the links; None to draw all alike.
    """
    name = topology.name
    if topology.size > MAX_NODES:
        return picture((300, 24), f'<text x="4" y="16">{escape(name)}</text>', name)
    at = positions(topology)
    nodes, low = at[: topology.size], at.min(axis=0) - 1.0
    size = (at.max(axis=0) + 1.0 - low) * CELL
    load = np.zeros(topology.nlinks) if link_bytes is None else link_bytes
    peak = float(load.max(initial=0))
    # The tolerance keeps equal loads that rounding tells apart in one colour.
    bins = np.ceil((len(RAMP) - 1) * load / peak - 1e-9).astype(int) if peak else load.astype(int)
    lanes = [
        _stroke((points - low) * CELL, RAMP[b], 1.0 if not b else 2.0 + 2 * b / len(RAMP))
        for b, points in ((bins[link], points) for link, points in lanes_of(topology, at))
    ]
    circles = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="#fff" stroke="#555"/>'
        f'<text x="{x:.1f}" y="{y + 3:.1f}" font-size="8.5" text-anchor="middle">{i}</text>'
        if topology.size <= 64
        else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#fff" stroke="#555"/>'
        for i, (x, y) in enumerate(((nodes - low) * CELL).tolist())
    )
    switches = "".join(
        f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="#777"/>'
        for x, y in ((at[topology.size :] - low) * CELL).tolist()
    )
    return picture((size[0], size[1]), "".join(lanes) + switches + circles, name)


def network_html(network: Network) -> str:
    """A network as a table of its costs and a picture of its links."""
    costs = {"link": network.link_latency, "router": network.router_latency}
    machine = str(columns(network)["machine"])
    numbers = {
        "links": f"{network.topology.nlinks}, {columns(network)['bandwidth_gbps']:g} Gb/s"
        + (" each" if network.uniform else ""),
        **{part: f"{seconds * 1e9:g} ns" for part, seconds in costs.items()},
        "ties": network.ties,
        **({} if network.uniform or not machine else {"machine": machine}),
    }
    return f"<div>{_table(network.topology.name, numbers)}{topology_svg(network.topology)}</div>"


def run_html(run: Run) -> str:
    """A run as a table of its figures, a timeline of its steps, and the bytes on all links."""
    topology, schedule = run.network.topology, run.schedule
    name = f"{schedule.name} {schedule.variant}".strip()
    figures = {
        "vector": format_size(run.nbytes),
        "time": f"{run.seconds * 1e6:.4g} us ({run.model} model)",
        "goodput": f"{run.goodput * 8 / 1e9:.4g} Gb/s",
        "congestion": f"{run.congestion:.4f}",
    }
    if bottleneck := run.bottleneck:
        src, dst = bottleneck.link
        figures["bottleneck"] = (
            f"link {src}→{dst} in step {bottleneck.step}, messages: {len(bottleneck.messages)}"
        )
    table = _table(f"{name} on {topology.name}", figures)
    if topology.size > MAX_NODES:
        return f"<div>{table}</div>"
    peak = float(run.link_bytes.max(initial=0))
    key = (
        f"<small>colour: bytes on a link in all steps, "
        f"0 {''.join(_swatch(color) for color in RAMP)} {_rounded_size(peak)}</small>"
    )
    return f"<div>{table}{_bars(run)}<br>{topology_svg(topology, run.link_bytes)}<br>{key}</div>"


def _rounded_size(nbytes: float) -> str:
    """A size with three significant digits and a unit."""
    unit = max((u for u in UNITS if UNITS[u] <= max(nbytes, 1)), key=UNITS.__getitem__)
    return f"{nbytes / UNITS[unit]:.3g} {unit}"


def _swatch(color: str) -> str:
    return f'<span style="background:{color};padding:0 7px"></span>'


def _bars(run: Run) -> str:
    """A timeline of the steps, scaled so that the whole run fills its width."""
    width, ends = 420.0, np.cumsum(run.step_seconds)
    scale = width / run.seconds if run.seconds else 0.0
    starts = ends - run.step_seconds
    bars = "".join(
        f'<rect x="{a * scale:.1f}" y="2" width="{max((b - a) * scale - 1, 0.3):.1f}" height="14" '
        f'fill="#0b639c" fill-opacity="{0.9 if s % 2 else 0.55}"><title>step {s}: ends at '
        f"{b * 1e6:.4g} us</title></rect>"
        for s, (a, b) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    )
    caption = f"{run.schedule.nsteps} steps in {run.seconds * 1e6:.4g} us"
    text = f'<text x="{width + 6:.0f}" y="13">{caption}</text>'
    return picture((width + 190, 18), bars + text, caption)


def positions(topology: Topology) -> np.ndarray:
    """(vertices, 2) positions in units of `CELL`.

    Nodes are on their grid, or on a circle for a single ring or a graph. A switch of a grid is near
    the centre of the nodes that it joins.
    """
    torus = topology.torus
    nvertices = 1 + int(topology.ends.max(initial=topology.size - 1))
    if _is_circular(topology):
        return circle(nvertices)
    at = np.stack(np.unravel_index(np.arange(topology.size), torus.dims), axis=1) @ axes(torus)
    switches = []
    for switch in range(topology.size, nvertices):
        # The lower end of a link of a switch is a node: nodes are numbered before switches.
        joined = topology.ends[(topology.ends == switch).any(axis=1)].min(axis=1)
        x, y = at[np.unique(joined)].mean(axis=0)
        switches.append((x + 0.35, y + 0.35))
    return np.concatenate([at, np.array(switches).reshape(-1, 2)])


def _is_circular(topology: Topology) -> bool:
    """Whether nodes are drawn on a circle: single rings, and graphs, which have no grid."""
    if not topology.direction.any():
        return not topology.rows
    pairs = {tuple(pair) for pair in topology.ends.tolist()}
    return len(topology.torus.active) == 1 and topology.size > 2 and (0, topology.size - 1) in pairs


def lanes_of(topology: Topology, at: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (link, (3, 2) points): the start, the control point of the bend, and the end.

    A wraparound link comes twice, as a stub at either end.

    Args:
        topology: the links.
        at: (vertices, 2) their `positions`.
    """
    circular = _is_circular(topology)
    columns = topology.ends.tolist(), topology.direction.tolist(), topology.dim.tolist()
    for link, ((tail, head), direction, dim) in enumerate(zip(*columns, strict=True)):
        p, q = at[tail], at[head]
        stride = int(np.prod(topology.dims[dim + 1 :]))  # between neighbours of the dimension
        if circular or max(tail, head) >= topology.size:
            yield link, lane(p, q)
        elif direction and head - tail != direction * stride:
            outward = (p - q) / (topology.dims[dim] - 1)
            outward /= max(1.0, float(np.hypot(*outward)))  # neighbours may be several cells apart
            yield link, lane(p, p + 0.6 * outward)
            yield link, lane(q - 0.6 * outward, q)
        else:
            # Links that skip nodes, as in HyperX, bend around them.
            yield link, lane(p, q, 0.0 if abs(head - tail) == stride else 0.15)


def lane(p: np.ndarray, q: np.ndarray, bend: float = 0.0) -> np.ndarray:
    """(3, 2) start, control point and end of a curve on the right-hand side of the line p–q.

    Args:
        p: (2,) start of the line.
        q: (2,) end of the line.
        bend: how far the curve bulges, as a fraction of its length.
    """
    length = max(float(np.hypot(*(q - p))), 1e-9)
    aside = np.array([p[1] - q[1], q[0] - p[0]]) / length
    return np.stack([p, (p + q) / 2 + bend * length * aside, q]) + 0.055 * aside


def _stroke(points: np.ndarray, color: str, width: float) -> str:
    (x0, y0), (x, y), (x1, y1) = points.tolist()
    bent = abs((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) > 1e-6
    curve = f"Q{x:.0f} {y:.0f} {x1:.1f} {y1:.1f}" if bent else f"L{x1:.1f} {y1:.1f}"
    return (
        f'<path d="M{x0:.1f} {y0:.1f}{curve}" fill="none" stroke="{color}" '
        f'stroke-width="{width:.1f}"/>'
    )


def _table(title: str, rows: dict[str, str]) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(k)}</th><td style="text-align:left">{escape(v)}'
        "</td></tr>"
        for k, v in rows.items()
    )
    head = f'<caption style="text-align:left;white-space:nowrap"><b>{escape(title)}</b></caption>'
    return f"<table>{head}{cells}</table>"


# Notebooks look for a method of the class. It is added from outside, so that the simulator does not
# depend on drawing.
Topology._repr_svg_ = topology_svg  # type: ignore[attr-defined]
Network._repr_html_ = network_html  # type: ignore[attr-defined]
Run._repr_html_ = run_html  # type: ignore[attr-defined]
