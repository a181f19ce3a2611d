"""``python -m netsim plot``: figures of CSV files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from swing.cli import JSON


@click.command("plot")
@click.argument("paths", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option(
    "--out", type=click.Path(file_okay=False), default=".", help="Folder for the figures."
)
@click.option("--kind", type=click.Choice(["goodput", "runtime", "gain", "links"]), default=None,
              help="By default, the kind that suits the files.")  # fmt: skip
@click.option(
    "--name", default="", help="File name of the figures; by default, the first file's name."
)
@JSON
def plot_command(
    paths: tuple[str, ...], out: str, kind: str | None, name: str, as_json: bool
) -> None:
    """Plot CSV files of sweep or mpi_bench, or one of simulate --links, as SVG and PNG."""
    try:
        from netsim.plot import plot
    except ImportError:
        raise ValueError("plots need matplotlib: pip install 'torus-swing[plot]'") from None
    for figure in plot([Path(path) for path in paths], Path(out), kind or "", name):
        click.echo(json.dumps({"figure": str(figure)}) if as_json else f"wrote {figure}")
