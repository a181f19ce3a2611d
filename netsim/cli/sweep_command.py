"""``python -m netsim sweep``: many schedules and sizes, and which wins where."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from time import monotonic

import click

from netsim.cli.options import JOBS, PLACE, RUN_OPTIONS, MachineOptions, Number, machine_options
from netsim.machine import Machine, columns
from netsim.models import own_sync
from netsim.network import Network
from netsim.rows import ResultRow, fastest, identity, in_order, known_rows, winners, write_csv
from netsim.search.case import AUTO
from netsim.search.sweep import DEFAULT_SIZES, cases_of, processes, pruned, simulate_cases
from netsim.topologies.topology import Topology
from swing.algorithms import ALGORITHMS
from swing.algorithms.spelling import parse, spell, without_collective
from swing.checks import counted
from swing.cli import JSON, collective_options, command
from swing.formats.files import check_writable, is_stream
from swing.parameters import SEVERAL, SIZES
from swing.progress import Progress
from swing.schedules.collectives import BARRIER
from swing.sizes import format_size
from swing.text_table import Column, number, rendered
from swing.torus import Torus

SAVE_SECONDS = 5.0
"""Interval at which a running sweep writes its rows."""


@command("sweep", short_help="Simulate many schedules and sizes.")
@click.option("--topology", "topologies", type=PLACE, multiple=True, required=True,
              help="A topology, such as torus:8x8; may be repeated.")  # fmt: skip
@click.option("--algorithm", "names", type=SEVERAL, multiple=True, default=["all"],
              show_default=True, help="An algorithm, with options as in bucket,segments=6; auto, "
              "which is chosen for each size; or all, which is every algorithm that the topology "
              "allows; may be repeated. One that runs on some topologies only is left out on the "
              "others.")  # fmt: skip
@click.option("--sizes", type=SIZES, default=DEFAULT_SIZES, show_default=True,
              help="Sizes of the vector.")  # fmt: skip
@collective_options
@machine_options(repeated=True)
@RUN_OPTIONS
@click.option("--prune", type=Number(1), help="Leave out variants that are more than this many "
              "times slower than another variant in the analytic model.")  # fmt: skip
@JOBS
@click.option("--csv", "path", type=click.Path(dir_okay=False),
              help="Write the rows to this file; without --resume they replace it.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Keep the rows in --csv; simulate only missing ones.")
@JSON
def sweep_command(
    topologies: tuple[Topology, ...], names: tuple[str, ...], sizes: list[int], collective: str,
    root: int | None, machines: MachineOptions, model: str, sync: str | None, parts: str, seed: int,
    prune: float | None, jobs: int | None, path: str | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Simulate many schedules and sizes; print the fastest algorithm for each size."""
    run_options = {"seed": seed, "sync": sync or own_sync(model), "parts": parts}
    every = chain.from_iterable(map(machines.networks, topologies))
    networks = list({tuple(columns(network).values()): network for network in every}.values())
    cases = cases_of(networks, names, collective, root, model, run_options, _tell_left_out)
    if resume and not path:
        raise ValueError("--resume goes with --csv")
    if path:
        check_writable(path)
    todo = pruned(cases, sizes, prune) if prune else dict.fromkeys(cases, sizes)
    rows: list[ResultRow] = known_rows(path) if path and resume and Path(path).exists() else []
    replaced = 0 if resume else _count_rows(path)
    known = {identity(r) for r in rows}
    todo = {case: [n for n in some if case.key(n) not in known] for case, some in todo.items()}
    left_out: list[str] = []
    total, before = sum(map(len, todo.values())), len(rows)
    interrupted = ""
    saved = monotonic()
    with (
        closing(simulate_cases(todo, processes(jobs, model), left_out.append)) as simulated,
        Progress() as progress,
    ):
        try:
            for found in progress.count("simulating", simulated, total):
                rows.append(found)
                if path and not is_stream(path) and monotonic() - saved > SAVE_SECONDS:
                    write_csv(path, in_order(rows))
                    saved = monotonic()
        except (KeyboardInterrupt, ChildProcessError) as error:
            interrupted = str(error) or "interrupted"
    done = len(rows) - before
    rows = in_order(rows)
    if path and (rows or not interrupted):
        write_csv(path, rows)
        if replaced:
            said = f"replaced {counted(replaced, 'row')} of {path}; with --resume they stay"
            click.echo(said, err=True)
    for line in dict.fromkeys(left_out):
        _tell_left_out(line)
    for r in rows if as_json else []:
        click.echo(json.dumps(r))
    if not as_json:
        for network in dict.fromkeys(case.network for case in cases):
            keys = {c.key(n) for c in cases if c.network is network for n in sizes}
            of_network = [r for r in rows if identity(r) in keys]
            title = _title(network, model, collective)
            notes = _notes(of_network, network.topology.torus, model)
            click.echo(_winners_table(of_network, title, notes, collective))
    if interrupted:
        kept = f"; {path} has them, and --resume goes on" if path and rows else ""
        raise ValueError(f"{interrupted} after {done} of {total} rows{kept}")


def _tell_left_out(line: str) -> None:
    click.echo(f"left out: {line}", err=True)


def _title(network: Network, model: str, collective: str) -> str:
    where = columns(network)
    unit = "time in us" if collective == BARRIER else "goodput in Gb/s"
    title = f"{where['topology']}, {Machine.of(network).title}"
    return f"{title}: {unit} ({model} model, ties {where['ties']})"


def _spelled(row: ResultRow) -> str:
    """Return the algorithm of a row with its options, as ``--algorithm`` accepts it."""
    name, options = parse(row["algorithm"])
    if row["variant"] and ALGORITHMS[name].variants != ("",):
        options["variant"] = row["variant"]
    return without_collective(spell(name, options))


def _count_rows(path: str | None) -> int:
    """Return the number of rows in a file of an earlier sweep; 0 if it is not one."""
    try:
        return len(known_rows(path)) if path and Path(path).is_file() else 0
    except (OSError, ValueError):
        return 0


def _notes(rows: Sequence[ResultRow], torus: Torus, model: str) -> Iterator[str]:
    """Say in which respects the columns of a table of winners are not alike."""
    columns = [(name, *parse(name)) for name in dict.fromkeys(row["algorithm"] for row in rows)]
    segments = any("segments" in options or name == AUTO for _, name, options in columns)
    if model == "analytic" and segments:
        yield (
            "The analytic model does not let segments overlap, so it shows no gain from segments=, "
            "nor from auto where it chooses them: --model flow and --model packet do."
        )
    ports = 2 * len(torus.active)
    fewer = {
        name: ALGORITHMS[name].on_all_ports
        for _, name, options in columns
        if name != AUTO and "ports" not in options and ALGORITHMS[name].on_all_ports
    }
    if fewer and ports > 1:
        pairs = (f"{name}: 1 of {ports} ports (on all: {full})" for name, full in fewer.items())
        yield "; ".join(pairs).replace("_", " ")


def _winners_table(
    rows: Sequence[ResultRow], title: str, notes: Iterable[str], collective: str
) -> str:
    """Return the goodput of each algorithm's best variant, and the winner of each size."""
    shown: dict[tuple[str, int], float] = defaultdict(float)
    for (name, n), seconds in fastest(rows).items():
        goodput = n * 8 / seconds / 1e9 if seconds else 0.0
        shown[without_collective(name), n] = seconds * 1e6 if collective == BARRIER else goodput
    best = winners(rows)
    names = list(dict.fromkeys(name for name, _ in shown))
    # Where there is no room for all, the algorithms that win most stay.
    wins = [without_collective(row["algorithm"]) for row in best.values()]
    order = sorted(names, key=lambda name: -wins.count(name))
    heads = [Column(name.replace("_", " "), 1 + order.index(name)) for name in names]
    cells = [
        [format_size(n), *(number(shown[name, n]) for name in names), _spelled(row)]
        for n, row in best.items()
    ]
    columns = [Column("size"), *heads, Column("winner", is_text=True)]
    return rendered(columns, cells, title, list(notes))
