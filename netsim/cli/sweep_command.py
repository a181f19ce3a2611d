"""``python -m netsim sweep``: many schedules and sizes, and which wins where."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.table import Column, Table

from netsim.cli.options import (
    JOBS,
    PLACE,
    RUN_OPTIONS,
    Number,
    network_of,
    processes,
    with_progress,
)
from netsim.models import own_sync
from netsim.rows import KEY, ResultRow, fastest, in_order, read_csv, typed, winners, write_csv
from netsim.search.sweep import Case, sweep
from netsim.search.sweep import prune as pruned
from netsim.topologies.topology import Topology
from swing.algorithms import ALGORITHMS
from swing.algorithms.spelling import parse, spell, without_collective
from swing.cli import JSON, Parsed, algorithm_cases, asked_collective, collective_options
from swing.formats.files import check_writable, is_stream
from swing.schedules.collectives import BARRIER
from swing.sizes import format_size, parse_sizes

SAVE_SECONDS = 5.0
"""Interval at which a running sweep writes its rows."""


@click.command("sweep")
@click.option("--topology", "topologies", type=PLACE, multiple=True, required=True,
              help="A topology, such as torus:8x8; may be repeated.")  # fmt: skip
@click.option("--algorithm", "names", multiple=True, default=["all"], show_default=True,
              help="An algorithm, with options as in bucket,segments=6; may be repeated. "
              "all: every algorithm that the topology allows.")  # fmt: skip
@click.option("--sizes", type=Parsed("sizes", parse_sizes), default="32B:128MiB:x4",
              show_default=True, help="Sizes of the vector.")  # fmt: skip
@click.option("--bandwidth", "rates", type=float, multiple=True, default=[400.0],
              show_default=True, help="Bandwidth of a link, in Gb/s; may be repeated.")  # fmt: skip
@collective_options
@RUN_OPTIONS
@click.option("--prune", type=Number(1), help="Leave out variants that are more than this many "
              "times slower than another variant in the analytic model.")  # fmt: skip
@JOBS
@click.option("--csv", "path", type=click.Path(dir_okay=False), help="Write the rows to this file.")
@click.option("--resume", is_flag=True, help="Keep the rows in --csv; simulate only missing ones.")
@JSON
def sweep_command(
    topologies: tuple[Topology, ...], names: tuple[str, ...], sizes: list[int],
    rates: tuple[float, ...], collective: str, root: int | None, model: str, ties: str,
    sync: str | None, parts: str, seed: int,
    prune: float | None, jobs: int | None, path: str | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Simulate many schedules and sizes; print the fastest algorithm for each size."""
    sync = sync or own_sync(model)
    run_options = (("seed", seed), ("sync", sync), ("parts", parts))
    cases = [
        Case(topology.name, name, tuple(options.items()), rate, ties, model, run_options)
        for topology in topologies
        for rate in rates
        if network_of(topology, rate, ties)
        for name, options in algorithm_cases(
            names, topology.torus, asked_collective(topology.torus, collective, root)
        )
    ]
    if resume and not path:
        raise ValueError("--resume goes with --csv")
    if path:
        check_writable(path)
    todo = pruned(cases, sizes, prune) if prune else {case: sizes for case in cases}
    had = read_csv(path, KEY) if path and resume and Path(path).exists() else []
    rows: list[ResultRow] = [typed(r) for r in had]
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
    for line in dict.fromkeys(left_out):
        click.echo(f"left out: {line}", err=True)
    for r in rows if as_json else []:
        click.echo(json.dumps(r))
    if not as_json:
        for topology in topologies:
            for rate in rates:
                here = tuple(map(str, (topology.name, model, rate, ties, sync, parts, seed)))
                keys = ("topology", "model", "bandwidth_gbps", "ties", "sync", "parts", "seed")
                _print_winners(
                    [r for r in rows if tuple(str(r[k]) for k in keys) == here],
                    f"{topology.name}, {rate:g} Gb/s: "
                    f"{'time in us' if collective == BARRIER else 'goodput in Gb/s'} "
                    f"({model} model, ties {ties})",
                    collective,
                )
    if interrupted:
        kept = f"; {path} has them, and --resume goes on" if path and rows else ""
        raise ValueError(f"interrupted after {done} of {total} rows{kept}")


def _spelled(row: ResultRow) -> str:
    """Return the algorithm of a row with its options, as ``--algorithm`` accepts it."""
    name, options = parse(row["algorithm"])
    # A file that is resumed may name algorithms of packages that are no longer here.
    if row["variant"] and (name not in ALGORITHMS or ALGORITHMS[name].variants != ("",)):
        options["variant"] = row["variant"]
    return spell(name, options)


def _print_winners(rows: Sequence[ResultRow], title: str, collective: str) -> None:
    shown: dict[tuple[str, int], float] = defaultdict(float)  # of the best variant
    for (name, n), seconds in fastest(rows).items():
        goodput = n * 8 / seconds / 1e9 if seconds else 0.0
        shown[without_collective(name), n] = seconds * 1e6 if collective == BARRIER else goodput
    names = list(dict.fromkeys(name for name, _ in shown))
    headers = [Column(h.replace("_", " "), justify="right") for h in ("size", *names, "winner")]
    table = Table(*headers, title=title)
    for n, best in winners(rows).items():
        cells = [f"{shown[name, n]:.4g}" for name in names]
        table.add_row(format_size(n), *cells, _spelled(best))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
