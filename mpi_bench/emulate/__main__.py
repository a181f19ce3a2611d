"""Command line of the emulated torus: ``python -m mpi_bench.emulate``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from mpi_bench.emulate.compare import agreement, summary, table
from mpi_bench.emulate.namespaces import destroy, emulated, leftovers, requirements
from mpi_bench.emulate.study import NATIVE, Study, cases, measure
from mpi_bench.emulate.wiring import check
from netsim.cli.options import Number
from netsim.rows import CsvFile, ResultRow, read_csv
from netsim.topologies.names import topology
from swing import ALGORITHMS, Torus
from swing.algorithms.spelling import parse
from swing.checks import shown, unknown
from swing.cli import HELP, invoke
from swing.formats.files import check_writable
from swing.parameters import SIZES, TORUS
from swing.sizes import format_size

RATES = (1.0, 1000.0)
MAX_BYTES = 2**26
OURS = ("swing", "recursive_doubling", "ring", "bucket", "hamiltonian")


@click.group(invoke_without_command=True, context_settings=HELP)
@click.option("--topology", "torus", type=TORUS, default="torus:4x4",
              show_default=True, help="A torus or mesh of 2 to 64 nodes.")  # fmt: skip
@click.option("--rate", type=float, default=25.0, show_default=True,
              help=f"Of a link, each way, Mbit/s: {RATES[0]:g} to {RATES[1]:g}.")  # fmt: skip
@click.option("--sizes", type=SIZES, default="4KiB:1MiB:x4",
              show_default=True, help="Bytes each rank contributes, up to 64MiB.")  # fmt: skip
@click.option("--algorithm", "names", multiple=True, default=[*OURS, "auto"], show_default=True,
              help="One of swing.ALGORITHMS, with options as in bucket,segments=6, or auto; may "
              "be repeated.")  # fmt: skip
@click.option("--native", "native", multiple=True, type=click.Choice([*NATIVE, "all", "none"]),
              default=["auto"], show_default=True,
              help="Of MPICH's own; may be repeated.")  # fmt: skip
@click.option("--longest", type=Number(0), default=10.0, show_default=True,
              help="Leave out what is predicted to take more seconds.")  # fmt: skip
@click.option("--most", type=click.IntRange(1), default=7, show_default=True,
              help="Rounds of a size, at most.")  # fmt: skip
@click.option("--seconds", type=Number(0), default=3.0, show_default=True,
              help="For the rounds of a size, about.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a row.")
@click.option("--csv", "path", type=click.Path(dir_okay=False), help="Write the rows there too.")
@click.option("--cleanup", is_flag=True, help="Only remove what a killed run has left behind.")
@click.pass_context
def main(
    context: click.Context, torus: Torus, rate: float, sizes: list[int], names: tuple[str, ...],
    native: tuple[str, ...], longest: float, most: int, seconds: float, as_json: bool,
    path: str | None, cleanup: bool,
) -> None:  # fmt: skip
    """Measure allreduces on an emulated torus, and print netsim's predictions beside them.

    Needs Linux, root, iproute2 and MPICH. Each node is a network namespace with one rank, and links
    have the given rate. Nothing outside the namespaces is changed, and they are removed at the end.
    """
    if context.invoked_subcommand:
        return
    if cleanup:
        requirements()
        for name in leftovers():
            click.echo(f"removed {destroy(name)} namespaces of {name}")
        return
    study = _study(torus, sizes, names, native, (longest, most, seconds))
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"--rate goes from {RATES[0]:g} to {RATES[1]:g} Mbit/s, not {rate:g}")
    if path:
        check_writable(path)
    rows = _run(torus, rate, study, as_json, CsvFile(path) if path else None)
    if not as_json:
        click.echo(table(rows))


def _study(
    torus: Torus, sizes: list[int], names: tuple[str, ...], native: tuple[str, ...],
    limits: tuple[float, int, float],
) -> Study:  # fmt: skip
    check(torus)
    for name in names:
        key, options = parse(name)
        if key == "auto" and options:
            raise ValueError(f"auto takes no options, not {shown(name)}: write auto")
        if key not in (*ALGORITHMS, "auto"):
            raise unknown("algorithm", key, [*ALGORITHMS, "auto"])
    for size in sizes:
        if size % 4 or not 0 < size <= MAX_BYTES:
            raise ValueError(
                f"--sizes are whole float32 numbers up to {format_size(MAX_BYTES)}, "
                f"not {format_size(size)}"
            )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 6 * max(sizes) * torus.size > memory:
        raise ValueError(
            f"{torus.size} ranks with {format_size(max(sizes))} each exceed the memory: "
            "choose smaller --sizes, or fewer nodes"
        )
    native_names = NATIVE if "all" in native else tuple(n for n in native if n != "none")
    ours = cases([n for n in names if n != "auto"], torus)
    # "auto" chooses among the default algorithms even if only some of them are measured.
    auto_names = [n for n in dict.fromkeys([*OURS, *names]) if n != "auto"]
    auto = cases(auto_names, torus) if "auto" in names else []
    return Study(tuple(ours), tuple(sizes), native_names, tuple(auto), *limits)


def _run(
    torus: Torus, rate: float, study: Study, as_json: bool, file: CsvFile | None
) -> list[ResultRow]:
    rows: list[ResultRow] = []
    grid = topology(torus.name)
    with emulated(grid, rate * 1e6) as emulation:
        for row in measure(emulation, study, _tell):
            rows.append(row)
            if file:  # written at once, so that an interrupted run keeps its rows
                file.add([row])
            if as_json:
                click.echo(json.dumps(row))
            else:
                _tell(_line(row))
    return rows


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _line(row: ResultRow) -> str:
    name = " ".join(filter(None, (row["algorithm"], row["variant"])))
    ports = f", {row['ports']} ports" if row["ports"] else ""
    ratio = f", {row['ratio']:.3f} of the prediction" if row["ratio"] else ""
    return f"{format_size(row['nbytes'])} {name}{ports}: {row['seconds'] * 1e3:.2f} ms{ratio}"


@main.command("compare")
@click.argument("paths", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--out", type=click.Path(file_okay=False), help="Draw figures into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def compare_command(paths: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Print and plot measured against predicted times, from the files PATHS written by --csv."""
    rows = [row for path in paths for row in read_csv(path, ["rate_mbps", "predicted"])]
    groups = agreement(rows)
    for row in groups if as_json else []:
        click.echo(json.dumps(row))
    if not as_json:
        click.echo(table(rows))
        click.echo(summary(groups))
    if out:
        try:
            from mpi_bench.emulate.plot import plot
        except ImportError:
            raise ValueError("plots need matplotlib: pip install 'torus-swing[plot]'") from None
        for figure in plot(rows, Path(out)):
            _tell(f"wrote {figure}")


if __name__ == "__main__":
    sys.exit(invoke(main, "python -m mpi_bench.emulate"))
