"""Figures of goodput, runtime, ratios, gain and link loads, drawn from CSV files only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from netsim.plot.curves import (
    HEIGHTS,
    bound,
    gain,
    goodput,
    ratio,
    runtime,
    shade,
    source,
    swing_gain,
)
from netsim.plot.link_map import links
from netsim.plot.style import size_axis, styles
from netsim.rows import ResultRow, read_csv
from swing.checks import unknown

__all__ = [
    "FORMATS", "KINDS", "bound", "gain", "goodput", "links", "plot", "ratio", "runtime",
    "save", "shade", "size_axis", "styles", "swing_gain",
]  # fmt: skip

KINDS = {
    "goodput": goodput, "runtime": runtime, "ratio": ratio, "bound": bound, "gain": gain,
    "links": links,
}  # fmt: skip
"""The kinds of figures: a function from rows to a figure each."""
FORMATS = ("svg", "png", "pdf")
COLUMN_FONT = 8
"""Size in points of the text of a figure with a width of its own, which a page does not scale."""


def plot(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    kind: str = "",
    name: str = "",
    formats: Sequence[str] = ("svg", "png"),
    width: float | None = None,
    bands: Sequence[str | Path] = (),
) -> list[Path]:
    """Draw the rows of some CSV files in one figure.

    Args:
        paths: one or several files of ``netsim sweep --csv`` or ``mpi_bench --csv``, or one of
            ``netsim simulate --links``. Of rows with the model ``paper``, only those for the
            topologies of the other files are drawn.
        out: the folder for the files ``<name>.<format>``.
        kind: a key of `KINDS`; if empty, ``links`` or ``goodput``, as suits the first file.
        name: of the figure; if empty, the first file's, with the kind behind it unless it is the
            kind that suits the file: ``sweep`` and ``sweep-ratio``.
        formats: of `FORMATS`.
        width: of the figure in inches, such as 3.35 for a column of a paper; as large as the
            figure needs if None.
        bands: files of sweeps that are shaded from the least to the greatest height at each size,
            such as those of several seeds; only for goodput and runtime.

    Returns:
        The paths of the files, one for each format.

    Raises:
        ValueError: a kind or format that does not exist, no file, one that is not of this kind or
            has nothing to draw, or bands in another kind.
        OSError: a file cannot be read, or the folder cannot be written.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    _check(paths, kind, formats)
    tables = [read_csv(path, ["topology", "algorithm", "nbytes"]) for path in paths]
    suited = "links" if "direction" in tables[0][0] else "goodput"
    kind = kind or suited
    name = name or Path(paths[0]).stem + (f"-{kind}" if kind != suited else "")
    needs = ["src", "dst", "step", "bytes"] if kind == "links" else ["seconds"]
    for path, table in zip(paths, tables, strict=True):
        for column in needs:
            if column not in table[0] and source(table[0]) != "paper":
                writer = "simulate --links" if kind == "links" else "sweep --csv or mpi_bench --csv"
                raise ValueError(
                    f"{path} has no column {column!r}: draw {kind} of a file of {writer}"
                )
    every = [r for table in tables for r in sorted(table, key=_shape)]
    topologies = {r["topology"] for r in every if source(r) != "paper"}
    rows = [r for r in every if r["topology"] in topologies and _takes_time(r)]
    if not rows:
        raise ValueError(f"{paths[0]} has nothing to draw: no row of ours that takes time")
    if bands and kind not in HEIGHTS:
        raise ValueError(f"bands are drawn in figures of {' and '.join(HEIGHTS)}, not of {kind}")
    ranges = [r for path in bands for r in read_csv(path, ["topology", "nbytes", "seconds"])]
    with text_sizes(width):
        figure = KINDS[kind](rows, width)
        if ranges:
            shade(figure, ranges, kind, list(dict.fromkeys(r["topology"] for r in rows)))
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{name}.{suffix}" for suffix in formats]
        for file in files:
            save(figure, file)
    return files


def _check(paths: Sequence[str | Path], kind: str, formats: Sequence[str]) -> None:
    """Raise the errors of `plot` that need no look into the files."""
    if not paths:
        raise ValueError("there is nothing to plot: pass at least one CSV file")
    if kind and kind not in KINDS:
        raise unknown("kind of figure", kind, KINDS)
    for suffix in formats:
        if suffix not in FORMATS:
            raise unknown("format of figures", suffix, FORMATS)


def text_sizes(width: float | None) -> AbstractContextManager[None]:
    """Set the sizes of text for a figure of this width in inches; None for one without a width."""
    text = COLUMN_FONT if width else matplotlib.rcParams["font.size"]
    title = "medium" if width else "large"
    return matplotlib.rc_context(
        {"font.size": text, "axes.titlesize": title, "legend.fontsize": COLUMN_FONT - bool(width)}
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix: the same rows give the same bytes."""
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
    with matplotlib.rc_context({"svg.hashsalt": "torus-swing"}):  # a fixed salt, and no date
        figure.savefig(path, dpi=150, metadata=undated.get(path.suffix[1:]))


def _shape(r: ResultRow) -> tuple[int, int]:
    """Dimensions and ranks of a row's topology, by which the panels of a file are ordered."""
    dims = r["topology"].partition(":")[2].partition(":")[0].split("x")
    sizes = [int(d) for d in dims if d.isdecimal()]
    return len(sizes), prod(sizes)


def _takes_time(r: ResultRow) -> bool:
    """Whether a row has no time, or one above 0: logarithmic axes cannot show 0."""
    return "seconds" not in r or not r["seconds"] or float(r["seconds"]) > 0
