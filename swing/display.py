"""Schedules as small pictures, for notebooks: SVG that is right on any background."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import numpy as np

from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Torus

MAX_RANKS, MAX_STEPS, MAX_MESSAGES = 64, 8, 800
"""What is drawn, one step at least; beyond, words must do."""
CELL = 26
SLANT = ((1.0, 0.0), (0.0, 1.0), (0.3, -0.22), (0.14, 0.2))
"""Where the axes point, the last one first: right, down, and into the page."""
COLOR = {"+": "#b8431f", "=": "#0b639c"}
STYLE = 'fill="none" stroke-width="1.1" stroke-opacity="0.75"'


def schedule_html(schedule: Schedule) -> str:
    """What the schedule is, and its first steps as pictures of who sends to whom."""
    title = f"<b>{escape(' '.join([schedule.name, schedule.variant]).strip())}</b>"
    words = (
        f"{title} {escape(schedule.collective)} on {schedule.torus}: {schedule.nsteps} steps, "
        f"{schedule.nblocks} blocks, {len(schedule.parts)} parts"
    )
    if schedule.torus.size > MAX_RANKS or not schedule.nsteps:
        return f"<div>{words}</div>"
    first = [schedule.step(s) for s in range(min(schedule.nsteps, MAX_STEPS))]
    shown = max(1, int((np.cumsum([len(step) for step in first]) <= MAX_MESSAGES).sum()))
    key = (
        f'<span style="color:{COLOR["+"]}">+ reduce</span>, '
        f'<span style="color:{COLOR["="]}">= copy</span>'
    )
    rest = f"; {schedule.nsteps - shown} more steps" if schedule.nsteps > shown else ""
    return f"<div>{words}<br>{_steps(schedule, shown)}<br><small>{key}{rest}</small></div>"


def _steps(schedule: Schedule, shown: int) -> str:
    at = _places(schedule.torus)
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
    return _picture(size, "".join(pictures), f"{shown} steps of {schedule.name}")


def step_svg(step: Step) -> str:
    """The ranks in a row, an arc for each message: above to higher ranks, below to lower."""
    ranks = np.unique(np.concatenate([step.src, step.dst])).tolist()
    if not ranks or len(ranks) > MAX_RANKS or len(step) > 16 * MAX_RANKS:
        return _picture((240, 24), f'<text x="4" y="16">{len(step)} messages</text>', "a step")
    x = {rank: CELL * (i + 0.7) for i, rank in enumerate(ranks)}
    far = max(abs(x[a] - x[b]) for a, b in zip(step.src.tolist(), step.dst.tolist(), strict=True))
    middle = 0.3 * far + 16
    arcs = [
        (
            step.message(i).op.value,
            f"M{x[a]:.0f} {middle:.0f}Q{(x[a] + x[b]) / 2:.0f} "
            f"{middle - 0.6 * (x[b] - x[a]):.0f} {x[b]:.0f} {middle:.0f}",
        )
        for i, (a, b) in enumerate(zip(step.src.tolist(), step.dst.tolist(), strict=True))
    ]
    at = np.array([[x[rank] / CELL, middle / CELL] for rank in ranks])
    return _picture(
        ((len(ranks) + 0.4) * CELL, 2 * middle),
        _paths(arcs) + _nodes(at, ranks),
        f"{len(step)} messages",
    )


def _places(torus: Torus) -> np.ndarray:
    """(p, 2) where the ranks are, in cells: a ring is a circle, all else a grid."""
    if _circular(torus):
        angle = 2 * np.pi * torus.coords[:, torus.active[0]] / torus.size
        return np.stack([np.sin(angle), -np.cos(angle)], axis=1) * max(1.0, torus.size * 0.15)
    at: np.ndarray = torus.coords @ _axes(torus)
    return at


def _circular(torus: Torus) -> bool:
    return len(torus.active) == 1 and torus.wrap[torus.active[0]] and torus.size > 2


def _axes(torus: Torus) -> np.ndarray:
    axes = np.zeros((len(torus.dims), 2))
    for i, j in enumerate(reversed(torus.active)):
        axes[j] = SLANT[min(i, len(SLANT) - 1)]
    # Slanting axes share one cell: the ranks of a long one stand closer.
    depth = max([torus.dims[j] for j in torus.active[:-2]], default=1)
    return axes * (1.9 if depth > 1 else 1.0)


def _arcs(schedule: Schedule, step: Step) -> Iterator[tuple[str, str]]:
    """Every message the shorter way; one that goes round comes in again at the other side."""
    torus = schedule.torus
    axes, dims, at = _axes(torus), np.array(torus.dims), _places(torus)
    src, dst = torus.coords[step.src], torus.coords[step.dst]
    hops = dst - src
    around = np.array(torus.wrap) & (2 * np.abs(hops) > dims) & (not _circular(torus))
    hops = hops - np.sign(hops) * dims * around
    start, end = at[step.src], at[step.dst]
    ops = np.broadcast_to(np.asarray(step.op, dtype=object), len(step))
    for a, b, by, goes, op in zip(start, end, hops @ axes, around.any(axis=1), ops, strict=True):
        ways = [(a, a + by), (b - by, b)] if goes else [(a, b)]
        for p, q in ways:
            (x0, y0), (x1, y1) = p * CELL, q * CELL
            far = max(float(np.hypot(x1 - x0, y1 - y0)) / CELL, 0.5)
            bend = 0.3 / far**0.5
            cx, cy = (x0 + x1) / 2 - (y1 - y0) * bend, (y0 + y1) / 2 + (x1 - x0) * bend
            yield op.value, f"M{x0:.0f} {y0:.0f}Q{cx:.0f} {cy:.0f} {x1:.0f} {y1:.0f}"


def _paths(arcs: Iterable[tuple[str, str]]) -> str:
    """One path for all arcs of a kind: half as long as a path for each."""
    whole: dict[str, list[str]] = {}
    for op, d in arcs:
        whole.setdefault(op, []).append(d)
    return "".join(
        f'<path d="{"".join(ds)}" {STYLE} stroke="{COLOR[op]}"/>' for op, ds in whole.items()
    )


def _nodes(at: np.ndarray, ranks: list[int] | None = None) -> str:
    names = range(len(at)) if ranks is None else ranks
    return "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7.5" fill="#fff" stroke="#555"/>'
        f'<text x="{x:.1f}" y="{y + 2.8:.1f}" font-size="8" text-anchor="middle">{name}</text>'
        for name, (x, y) in zip(names, at * CELL, strict=True)
    )


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
    (Schedule, "_repr_html_", schedule_html),
    (Step, "_repr_svg_", step_svg),
):
    setattr(kind, method, show)
