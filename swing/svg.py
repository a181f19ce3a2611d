"""What all SVG pictures share: a canvas, the axes of a grid on the page, and a circle of nodes."""

from __future__ import annotations

from html import escape

import numpy as np

from swing.torus import Torus

SLANT = ((1.0, 0.0), (0.0, 1.0), (0.3, -0.22), (0.14, 0.2))
"""Direction of each axis on the page, last dimension first: right, down, then into the page."""


def picture(size: tuple[float, float], content: str, label: str) -> str:
    """Return an image with a white background of its own, which is legible in dark themes too.

    Args:
        size: width and height, in pixels.
        content: the SVG elements.
        label: the text for those who cannot see it.
    """
    width, height = (round(x) for x in size)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" '
        'font-family="sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" '
        f'fill="#fff"/>{content}</svg>'
    )


def axes(torus: Torus) -> np.ndarray:
    """(len(dims), 2) the way on the page from a node to the next one, by dimension."""
    ways = np.zeros((len(torus.dims), 2))
    for i, j in enumerate(reversed(torus.active)):
        ways[j] = SLANT[min(i, len(SLANT) - 1)]
    # Slanting axes are drawn inside one cell of the two main axes, so those need more room.
    return ways * (1.9 if len(torus.active) > 2 else 1.0)


def circle(count: int) -> np.ndarray:
    """(count, 2) points around a circle, clockwise from the top."""
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1) * max(1.0, count * 0.15)
