"""Networks and runs as small pictures, for notebooks: SVG that is right on any background."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from netsim.network import Network
from netsim.run import Run
from netsim.sizes import UNITS, format_size
from netsim.topologies.graph import GraphTopology
from netsim.topologies.grid import Grid
from netsim.topologies.names import Topology

MAX_NODES = 256
CELL = 44
SLANT = ((1.0, 0.0), (0.0, 1.0), (0.3, -0.22), (0.14, 0.2))
"""Where the axes point, the last one first: right, down, and into the page."""
RAMP = ("#d9d6cf", "#f8d8bc", "#f6a47c", "#f16a4c", "#d52c47", "#981b5d", "#511e4d", "#30173a")
"""No bytes, then an eighth more of the most each: darker in grey too."""


def topology_svg(place: Topology, link_bytes: np.ndarray | None = None) -> str:
    """The links of a topology, each direction on its right-hand side, coloured by their bytes."""
    if place.size > MAX_NODES:
        return _picture((300, 24), f'<text x="4" y="16">{escape(place.name)}</text>', place.name)
    at = places(place)
    nodes, low = at[: place.size], at.min(axis=0) - 1.0
    size = (at.max(axis=0) + 1.0 - low) * CELL
    load = np.zeros(place.nlinks) if link_bytes is None else link_bytes
    most = float(load.max(initial=0))
    bins = np.ceil((len(RAMP) - 1) * load / most - 1e-9).astype(int) if most else load.astype(int)
    lanes = [
        _stroke((points - low) * CELL, RAMP[b], 1.0 if not b else 2.0 + 2 * b / len(RAMP))
        for b, points in ((bins[link], points) for link, points in lanes_of(place, at))
    ]
    radius = 8 if place.size <= 64 else 5
    drawn = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="#fff" stroke="#555"/>'
        + (
            f'<text x="{x:.1f}" y="{y + 3:.1f}" font-size="8.5" text-anchor="middle">{i}</text>'
            if place.size <= 64
            else ""
        )
        for i, (x, y) in enumerate(((nodes - low) * CELL).tolist())
    )
    hubs = "".join(
        f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="#777"/>'
        for x, y in ((at[place.size :] - low) * CELL).tolist()
    )
    return _picture((size[0], size[1]), "".join(lanes) + hubs + drawn, place.name)


def network_html(network: Network) -> str:
    """A network's links and numbers."""
    costs = {"link": network.link_latency, "router": network.router_latency}
    numbers = {
        "links": f"{network.topology.nlinks}, {network.bandwidth * 8 / 1e9:g} Gb/s each",
        **{what: f"{seconds * 1e9:g} ns" for what, seconds in costs.items()},
        "ties": network.ties,
    }
    return f"<div>{_table(network.topology.name, numbers)}{topology_svg(network.topology)}</div>"


def run_html(run: Run) -> str:
    """A run's figures, when its steps end, and the bytes on all links."""
    place, schedule = run.network.topology, run.schedule
    name = f"{schedule.name} {schedule.variant}".strip()
    figures = {
        "vector": format_size(run.nbytes),
        "time": f"{run.seconds * 1e6:.4g} us ({run.model} model)",
        "goodput": f"{run.goodput * 8 / 1e9:.4g} Gb/s",
        "congestion": f"{run.congestion:.4f}",
    }
    found = run.bottleneck
    if found:
        src, dst = found.link
        figures["bottleneck"] = (
            f"link {src}→{dst} in step {found.step}, messages: {len(found.messages)}"
        )
    table = _table(f"{name} on {place.name}", figures)
    if place.size > MAX_NODES:
        return f"<div>{table}</div>"
    most = float(run.link_bytes.max(initial=0))
    key = (
        f"<small>colour: bytes on a link in all steps, "
        f"0 {''.join(_swatch(color) for color in RAMP)} {_about(most)}</small>"
    )
    return f"<div>{table}{_bars(run)}<br>{topology_svg(place, run.link_bytes)}<br>{key}</div>"


def _about(nbytes: float) -> str:
    """Three figures and a unit."""
    unit = max((u for u in UNITS if UNITS[u] <= max(nbytes, 1)), key=UNITS.__getitem__)
    return f"{nbytes / UNITS[unit]:.3g} {unit}"


def _swatch(color: str) -> str:
    return f'<span style="background:{color};padding:0 7px"></span>'


def _bars(run: Run) -> str:
    """The steps on an axis of time, which ends with the run."""
    width, ends = 420.0, np.cumsum(run.step_seconds)
    scale = width / run.seconds if run.seconds else 0.0
    starts = ends - run.step_seconds
    bars = "".join(
        f'<rect x="{a * scale:.1f}" y="2" width="{max((b - a) * scale - 1, 0.3):.1f}" height="14" '
        f'fill="#0b639c" fill-opacity="{0.9 if s % 2 else 0.55}"><title>step {s}: ends at '
        f"{b * 1e6:.4g} us</title></rect>"
        for s, (a, b) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    )
    words = f"{run.schedule.nsteps} steps in {run.seconds * 1e6:.4g} us"
    text = f'<text x="{width + 6:.0f}" y="13">{words}</text>'
    return _picture((width + 190, 18), bars + text, words)


def places(place: Topology) -> np.ndarray:
    """(vertices, 2) nodes on their grid, in cells; switches amid what they serve, a bit aside."""
    torus = place.torus
    if _circular(place):
        return circle(1 + int(place.ends.max(initial=place.size - 1)))
    axes = np.zeros((len(torus.dims), 2))
    for i, j in enumerate(reversed(torus.active)):
        axes[j] = SLANT[min(i, len(SLANT) - 1)]
    deep = len(torus.active) > 2
    coords = np.stack(np.unravel_index(np.arange(place.size), torus.dims), axis=1)
    at = coords @ axes * (1.9 if deep else 1.0)
    count = 1 + int(place.ends.max(initial=place.size - 1))
    hubs = []
    for hub in range(place.size, count):
        served = place.ends[(place.ends == hub).any(axis=1)].min(axis=1)
        x, y = at[np.unique(served)].mean(axis=0)
        hubs.append((x + 0.35, y + 0.35))
    return np.concatenate([at, np.array(hubs).reshape(-1, 2)])


def circle(count: int) -> np.ndarray:
    """(count, 2) points around a circle, from the top on."""
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1) * max(1.0, count * 0.15)


def _circular(place: Topology) -> bool:
    """Rings, and graphs: these have no grid."""
    if not place.way.any():
        return not isinstance(place, Grid)
    pairs = {tuple(pair) for pair in place.ends.tolist()}
    return len(place.torus.active) == 1 and place.size > 2 and (0, place.size - 1) in pairs


def lanes_of(place: Topology, at: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Links, and (3, 2) where to draw each: from, a point that it bends to, to.

    A link that closes a ring comes twice, as a stub at either end.

    Args:
        place: whose links.
        at: (vertices, 2) by `places`.
    """
    circular = _circular(place)
    ends = zip(place.ends.tolist(), place.way.tolist(), place.dim.tolist(), strict=True)
    for link, ((tail, head), way, dim) in enumerate(ends):
        p, q = at[tail], at[head]
        one = int(np.prod(place.dims[dim + 1 :]))
        if circular or max(tail, head) >= place.size:
            yield link, lane(p, q)
        elif way and head - tail != way * one:
            out = (p - q) / (place.dims[dim] - 1)
            yield link, lane(p, p + 0.6 * out)
            yield link, lane(q - 0.6 * out, q)
        else:
            yield link, lane(p, q, 0.0 if abs(head - tail) == one else 0.15)


def lane(p: np.ndarray, q: np.ndarray, bend: float = 0.0) -> np.ndarray:
    """(3, 2) from, via, to: on the right-hand side of the line between two points."""
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


def _picture(size: tuple[float, float], content: str, words: str) -> str:
    width, height = (round(x) for x in size)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}" '
        'font-family="sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" '
        f'fill="#fff"/>{content}</svg>'
    )


# Notebooks show a value by a method of its class. The classes know nothing of pictures.
for kind, method, show in (
    (Grid, "_repr_svg_", topology_svg),
    (GraphTopology, "_repr_svg_", topology_svg),
    (Network, "_repr_html_", network_html),
    (Run, "_repr_html_", run_html),
):
    setattr(kind, method, show)
