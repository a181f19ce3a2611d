"""``python -m netsim``: simulate schedules, sweep grids, plot what came out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from netsim.best import compare_command, tune_command
from netsim.bounds import lower_bound
from netsim.options import (
    BANDWIDTH,
    JOBS,
    JSON,
    MODEL,
    PART_RULE,
    PLACE,
    SEED,
    SYNC_RULE,
    TIE_RULE,
    Number,
    network_of,
    processes,
    with_progress,
)
from netsim.report.command import report_command
from netsim.rows import KEY, Row, in_order, read_csv, typed, winners, write_csv
from netsim.run import Run, row, simulate
from netsim.sizes import format_size, parse_size, parse_sizes
from netsim.sweep import Case, sweep
from netsim.sweep import prune as pruned
from netsim.topology import Topology, topology
from swing.cli import Parsed, every_way, invoke, named_schedule, schedule_options
from swing.files import check_writable, is_stream

SAVE_SECONDS = 5.0
"""How often a sweep under way writes its rows."""


@click.group()
def main() -> None:
    """Simulate collectives on torus networks."""


@main.command("simulate")
@click.option("--topology", "place", type=PLACE, help="Such as torus:8x8.")
@schedule_options
@click.option("--size", type=Parsed("size", parse_size), help="[default: 2MiB]")
@BANDWIDTH
@MODEL
@TIE_RULE
@SYNC_RULE
@PART_RULE
@SEED
@click.option("--links", type=click.Path(dir_okay=False), help="Write the bytes on every link.")
@click.option("--step", type=int, help="Only this step's, for --links.")
@JSON
def simulate_command(
    place: Topology | None, size: int | None, bandwidth: float, model: str, ties: str, sync: str,
    parts: str, seed: int, links: str | None, step: int | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Simulate one schedule: time, goodput, congestion, bottleneck."""
    known = None
    if place is None:
        known = named_schedule(None, **options)
        place = topology(known.torus.name)
    if size is None:
        size = known.nblocks if known is not None and known.collective == "traffic" else 2**21
    network = network_of(place, bandwidth, ties)
    if options["algorithm"] == "auto":
        options |= {"nbytes": size, "machine": network}
    if step is not None and not links:
        raise ValueError("--step goes with --links")
    if links:
        check_writable(links)
    run = simulate(
        named_schedule(place.torus, **options) if known is None else known,
        network,
        size,
        model,
        seed=seed,
        sync=sync,
        parts=parts,
    )
    if links:
        write_csv(links, _link_rows(run, step))
    bound = lower_bound(network, size) if run.schedule.collective == "allreduce" else None
    if as_json:
        click.echo(json.dumps(row(run) | {"lower_bound_s": bound}))
        return
    click.echo(f"{repr(run.schedule).strip('<>')}")
    click.echo(
        f"{format_size(size)}, {model} model, {place.name}, {bandwidth:g} Gb/s, ties {ties}, "
        f"seed {seed}"
    )
    least = "" if bound is None else f" (no allreduce under {bound * 1e6:.3f} us)"
    click.echo(f"time        {run.seconds * 1e6:.3f} us{least}")
    click.echo(f"goodput     {run.goodput * 8 / 1e9:.2f} Gb/s")
    click.echo(f"congestion  {run.congestion:.4f}")
    if run.bottleneck:
        src, dst = run.bottleneck.link
        click.echo(
            f"bottleneck  step {run.bottleneck.step}, link {src}→{dst}, "
            f"{len(run.bottleneck.messages)} messages, {run.bottleneck.seconds * 1e6:.3f} us"
        )


def _link_rows(run: Run, step: int | None) -> list[Row]:
    if step is not None and not 0 <= step < run.schedule.nsteps:
        raise ValueError(f"--step goes from 0 to {run.schedule.nsteps - 1}, not {step}")
    place = run.network.topology
    load = run.link_bytes if step is None else run.step_bytes(step)
    return [
        {
            "topology": place.name,
            "algorithm": run.schedule.name,
            "variant": run.schedule.variant,
            "nbytes": run.nbytes,
            "step": "all" if step is None else step,
            "dim": dim,
            "direction": {1: "+", -1: "-", 0: ""}[way],
            "src": src,
            "dst": dst,
            "bytes": nbytes,
        }
        for dim, way, (src, dst), nbytes in zip(
            place.dim.tolist(), place.way.tolist(), place.ends.tolist(), load.tolist(), strict=True
        )
    ]


@main.command("sweep")
@click.option("--topology", "places", type=PLACE, multiple=True, required=True,
              help="Such as torus:8x8; may be repeated.")  # fmt: skip
@click.option("--algorithm", "names", multiple=True, default=["all"], show_default=True,
              help="May be repeated; all: every one that the topology allows.")  # fmt: skip
@click.option("--sizes", type=Parsed("sizes", parse_sizes), default="32B:128MiB:x4",
              show_default=True)  # fmt: skip
@click.option("--bandwidth", "rates", type=float, multiple=True, default=[400.0],
              show_default=True, help="Of a link, in Gb/s; may be repeated.")  # fmt: skip
@MODEL
@TIE_RULE
@SYNC_RULE
@PART_RULE
@SEED
@click.option("--prune", type=Number(1), help="Leave out variants of an algorithm that "
              "are so many times slower than another in the analytic model.")  # fmt: skip
@JOBS
@click.option("--csv", "path", type=click.Path(dir_okay=False), help="Write the rows there.")
@click.option("--resume", is_flag=True, help="Keep the rows in --csv and run only what is missing.")
@JSON
def sweep_command(
    places: tuple[Topology, ...], names: tuple[str, ...], sizes: list[int],
    rates: tuple[float, ...], model: str, ties: str, sync: str, parts: str, seed: int,
    prune: float | None, jobs: int | None, path: str | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Simulate many schedules and sizes; print which algorithm wins where."""
    conditions = (("seed", seed), ("sync", sync), ("parts", parts))
    cases = [
        Case(place.name, name, tuple(options.items()), rate, ties, model, conditions)
        for place in places
        for rate in rates
        if network_of(place, rate, ties)
        for name, options in every_way(names, place.torus)
    ]
    if resume and not path:
        raise ValueError("--resume goes with --csv")
    if path:
        check_writable(path)
    todo = pruned(cases, sizes, prune) if prune else {case: sizes for case in cases}
    had = read_csv(path, KEY) if path and resume and Path(path).exists() else []
    rows: list[Row] = [typed(r) for r in had]
    known = {tuple(str(r[k]) for k in KEY) for r in rows}
    todo = {c: [n for n in some if c.key(n) not in known] for c, some in todo.items()}
    jobs = jobs or (1 if model == "analytic" else processes(None))
    left_out: list[str] = []
    total, before = sum(map(len, todo.values())), len(rows)
    interrupted = False
    saved = monotonic()
    with closing(sweep(todo, jobs, left_out.append)) as simulated:
        try:
            for found in with_progress(simulated, total):
                rows.append(found)
                if path and not is_stream(path) and monotonic() - saved > SAVE_SECONDS:
                    write_csv(path, in_order(rows))
                    saved = monotonic()
        except KeyboardInterrupt:
            interrupted = True
    done = len(rows) - before
    rows = in_order(rows)
    if path and (rows or not interrupted):
        write_csv(path, rows)
    for line in left_out:
        click.echo(f"left out: {line}", err=True)
    for r in rows if as_json else []:
        click.echo(json.dumps(r))
    if not as_json:
        for place in places:
            for rate in rates:
                here = tuple(map(str, (place.name, model, rate, ties, sync, parts, seed)))
                keys = ("topology", "model", "bandwidth_gbps", "ties", "sync", "parts", "seed")
                _print_winners(
                    [r for r in rows if tuple(str(r[k]) for k in keys) == here],
                    f"{place.name}, {rate:g} Gb/s: goodput in Gb/s ({model} model, ties {ties})",
                )
    if interrupted:
        kept = f"; {path} has them, and --resume goes on" if path and rows else ""
        raise ValueError(f"interrupted after {done} of {total} rows{kept}")


def _print_winners(rows: Sequence[Row], title: str) -> None:
    names = list(dict.fromkeys(r["algorithm"] for r in rows))
    table = Table(title=title)
    for title in ["size", *names, "winner"]:
        table.add_column(title.replace("_", " "), justify="right")
    for n, best in winners(rows).items():
        goodput = {
            name: max(
                (
                    float(r["goodput_gbps"] or 0)
                    for r in rows
                    if (int(r["nbytes"]), r["algorithm"]) == (n, name)
                ),
                default=0.0,
            )
            for name in names
        }
        cells = [f"{goodput[name]:.4g}" for name in names]
        who = f"{best['algorithm']} {best['variant']}".strip()
        table.add_row(format_size(n), *cells, who.replace("_", " "))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


@main.command("plot")
@click.argument("paths", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--out", type=click.Path(file_okay=False), default=".", help="Folder of the figures.")
@click.option("--kind", type=click.Choice(["goodput", "runtime", "gain", "links"]), default=None,
              help="By default what the file is made for.")  # fmt: skip
@click.option("--name", default="", help="Of the figures; the first file's by default.")
@JSON
def plot_command(
    paths: tuple[str, ...], out: str, kind: str | None, name: str, as_json: bool
) -> None:
    """Draw CSV files of sweep or mpi_bench, or one of simulate --links, as SVG and PNG."""
    try:
        from netsim.plot import plot
    except ImportError:
        raise ValueError("plots need matplotlib: pip install 'torus-swing[plot]'") from None
    for figure in plot([Path(path) for path in paths], Path(out), kind or "", name):
        click.echo(json.dumps({"figure": str(figure)}) if as_json else f"wrote {figure}")


main.add_command(tune_command)
main.add_command(compare_command)
main.add_command(report_command)

if __name__ == "__main__":
    sys.exit(invoke(main, "python -m netsim"))
