"""Pictures of schedules and steps for notebooks, as HTML and SVG that suit any background.

Importing this file registers them as the notebook formatters of `Schedule` and `Step`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import numpy as np

from swing.checks import counted
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.svg import axes, circle, picture
from swing.torus import Torus

MAX_RANKS, MAX_STEPS, MAX_MESSAGES = 64, 8, 800
"""Limits of a picture, which shows at least one step; larger tori get a line of text only."""
CELL = 26
"""Size of the cell around a rank, in SVG units."""
COLOR = {"+": "#b8431f", "=": "#0b639c"}
PAPER = "background:#fff;color:#222;padding:0 4px"
"""The background of the pictures, for their key too: its colours are too dark for dark pages."""
STYLE = 'fill="none" stroke-width="1.1" stroke-opacity="0.75"'


def schedule_html(schedule: Schedule) -> str:
    """Return a line that describes the schedule, and pictures of its first steps."""
    title = f"<b>{escape(' '.join([schedule.name, schedule.variant]).strip())}</b>"
    summary = (
        f"{title} {escape(schedule.collective)} on {schedule.torus}: "
        f"{counted(schedule.nsteps, 'step')}, {counted(schedule.nblocks, 'block')}, "
        f"{counted(len(schedule.parts), 'part')}"
    )
    if schedule.torus.size > MAX_RANKS or not schedule.nsteps:
        return f"<div>{summary}</div>"
    first = [schedule.step(s) for s in range(min(schedule.nsteps, MAX_STEPS))]
    shown = max(1, int((np.cumsum([len(step) for step in first]) <= MAX_MESSAGES).sum()))
    key = (
        f'<span style="color:{COLOR["+"]}">+ reduce</span>, '
        f'<span style="color:{COLOR["="]}">= copy</span>'
    )
    omitted = f"; {schedule.nsteps - shown} more steps" if schedule.nsteps > shown else ""
    key = f'<small><span style="{PAPER}">{key}{omitted}</span></small>'
    return f"<div>{summary}<br>{_steps(schedule, shown)}<br>{key}</div>"


def _steps(schedule: Schedule, shown: int) -> str:
    """Draw the first ``shown`` steps in rows, as many side by side as fit into 840 pixels."""
    at = _positions(schedule.torus)
    low, high = at.min(axis=0) - 0.7, at.max(axis=0) + 0.7
    width, height = (high - low) * CELL + 8
    corner = f"{low[0] * CELL - 4:.1f} {low[1] * CELL - 4:.1f}"
    columns = max(1, min(shown, int(840 // width)))
    down = height + 16
    pictures = [
        f'<svg x="{s % columns * width:.0f}" y="{s // columns * down:.0f}" width="{width:.0f}" '
        f'height="{down:.0f}"><text x="{width / 2:.0f}" y="12" font-size="11" '
        f'text-anchor="middle">step {s}</text><svg y="16" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="{corner} {width:.1f} '
        f'{height:.1f}">{_paths(_arcs(schedule, schedule.step(s)))}{_nodes(at)}</svg></svg>'
        for s in range(shown)
    ]
    size = columns * width, -(-shown // columns) * down
    return picture(size, "".join(pictures), f"{shown} steps of {schedule.name}")


def step_svg(step: Step) -> str:
    """Draw the ranks in a row and an arc per message: above to higher ranks, below to lower."""
    ranks = np.unique(np.concatenate([step.src, step.dst])).tolist()
    if not ranks or len(ranks) > MAX_RANKS or len(step) > 16 * MAX_RANKS:
        return picture((240, 24), f'<text x="4" y="16">{len(step)} messages</text>', "a step")
    x = {rank: CELL * (i + 0.7) for i, rank in enumerate(ranks)}
    ends = list(zip(step.src.tolist(), step.dst.tolist(), strict=True))
    longest = max(abs(x[a] - x[b]) for a, b in ends)
    middle = 0.3 * longest + 16  # the curves rise to half the height of their control points
    arcs = [
        _arc(reduces, x[a], middle, (x[a] + x[b]) / 2, middle - 0.6 * (x[b] - x[a]), x[b], middle)
        for reduces, (a, b) in zip(step.reduces, ends, strict=True)
    ]
    at = np.array([[x[rank] / CELL, middle / CELL] for rank in ranks])
    size = (len(ranks) + 0.4) * CELL, 2 * middle
    return picture(size, _paths(arcs) + _nodes(at, ranks), f"{len(step)} messages")


def _positions(torus: Torus) -> np.ndarray:
    """(p, 2) position of each rank, in cells: a ring is drawn as a circle, other tori as a grid."""
    if _circular(torus):
        return circle(torus.size)[torus.coords[:, torus.active[0]]]
    at: np.ndarray = torus.coords @ axes(torus)
    return at


def _circular(torus: Torus) -> bool:
    return len(torus.active) == 1 and torus.wrap[torus.active[0]] and torus.size > 2


def _arcs(schedule: Schedule, step: Step) -> Iterator[tuple[str, str]]:
    """Yield the operation and SVG path of each message, along the shorter way round.

    A message that crosses the edge of the grid is two arcs: one leaves at the edge and the other
    enters on the opposite side.
    """
    torus = schedule.torus
    ways, dims, at = axes(torus), np.array(torus.dims), _positions(torus)
    src, dst = torus.coords[step.src], torus.coords[step.dst]
    hops = dst - src
    crosses = np.array(torus.wrap) & (2 * np.abs(hops) > dims) & (not _circular(torus))
    hops = hops - np.sign(hops) * dims * crosses
    start, end = at[step.src], at[step.dst]
    edge = crosses.any(axis=1)
    columns = zip(start, end, hops @ ways, edge, step.reduces, strict=True)
    for a, b, shift, crossing, reduces in columns:
        for p, q in [(a, a + shift), (b - shift, b)] if crossing else [(a, b)]:
            (x0, y0), (x1, y1) = p * CELL, q * CELL
            length = max(float(np.hypot(x1 - x0, y1 - y0)) / CELL, 0.5)
            bend = 0.3 / length**0.5
            cx, cy = (x0 + x1) / 2 - (y1 - y0) * bend, (y0 + y1) / 2 + (x1 - x0) * bend
            yield _arc(reduces, x0, y0, cx, cy, x1, y1)


def _arc(reduces: bool, *points: float) -> tuple[str, str]:
    """Return the operation and the path of an arc, from its start, control point and end."""
    path = "M{:.0f} {:.0f}Q{:.0f} {:.0f} {:.0f} {:.0f}".format(*points)
    return str((Op.REDUCE if reduces else Op.COPY).value), path


def _paths(arcs: Iterable[tuple[str, str]]) -> str:
    """Draw all arcs of an operation as one path, which is half as long as a path per arc."""
    by_op: dict[str, list[str]] = {}
    for op, d in arcs:
        by_op.setdefault(op, []).append(d)
    return "".join(
        f'<path d="{"".join(ds)}" {STYLE} stroke="{COLOR[op]}"/>' for op, ds in by_op.items()
    )


def _nodes(at: np.ndarray, ranks: list[int] | None = None) -> str:
    names = range(len(at)) if ranks is None else ranks
    return "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7.5" fill="#fff" stroke="#555"/>'
        f'<text x="{x:.1f}" y="{y + 2.8:.1f}" font-size="8" text-anchor="middle">{name}</text>'
        for name, (x, y) in zip(names, at * CELL, strict=True)
    )


# Notebooks call these methods of a value's class. They are set from here, so that the data model
# does not depend on pictures.
Schedule._repr_html_ = schedule_html  # type: ignore[attr-defined]
Step._repr_svg_ = step_svg  # type: ignore[attr-defined]
