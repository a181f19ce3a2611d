"""``python -m netsim plot``: figures of CSV files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from netsim.cli.options import Number
from swing.cli import JSON, command

# Not the keys of `netsim.plot.KINDS`: help must not need matplotlib.
KINDS = ("goodput", "runtime", "ratio", "bound", "gain", "links")


@command("plot", short_help="Plot CSV files of sweep, mpi_bench or simulate.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option(
    "--out", type=click.Path(file_okay=False), default=".", help="Folder for the figures."
)
@click.option("--kind", type=click.Choice(KINDS), help="ratio is time ÷ best, bound time ÷ "
              "lower bound, gain Swing's over the best other; by default, as suits the "
              "files.")  # fmt: skip
@click.option("--name", default="", help="File name of the figures; by default, the first file's, "
              "and behind it the --kind, as in sweep-ratio.")  # fmt: skip
@click.option("--format", "formats", type=click.Choice(["svg", "png", "pdf"]), multiple=True,
              default=["svg", "png"], show_default=True, help="May be repeated.")  # fmt: skip
@click.option("--band", "bands", multiple=True, type=click.Path(dir_okay=False),
              help="Shade the range of the rows in this file at each size, as of a sweep of "
              "several seeds; may be repeated.")  # fmt: skip
@click.option("--width", type=Number(1, 100), help="Width of the figure in inches, as 3.35 "
              "for a column of a paper or 7 for both; its text then has 8 points.")  # fmt: skip
@JSON
def plot_command(
    paths: tuple[str, ...], out: str, kind: str | None, name: str, formats: tuple[str, ...],
    bands: tuple[str, ...], width: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Plot CSV files of sweep or mpi_bench, or one of simulate --links, in one figure."""
    try:
        from netsim.plot import plot
    except ImportError:
        raise ValueError("plots need matplotlib: pip install 'torus-swing[plot]'") from None
    files, ranges = ([Path(path) for path in some] for some in (paths, bands))
    for figure in plot(files, Path(out), kind or "", name, formats, width, ranges):
        click.echo(json.dumps({"figure": str(figure)}) if as_json else f"wrote {figure}")
