"""``python -m netsim tune``: the fastest schedule for every size, in a selection table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from netsim.cli.options import JOBS, PLACE, MachineOptions, Number, machine_options
from netsim.search.case import asked_collective
from netsim.search.explore import Search
from netsim.search.measured import measured_table
from netsim.search.sweep import processes
from netsim.search.tune import (
    DEFAULT_SIZES,
    check_made,
    check_tunable,
    entry_of,
    find,
    known_times,
    made_by,
    shortened,
    time_again,
)
from netsim.topologies import names
from netsim.topologies.topology import Topology
from swing.cli import JSON, collective_options, command, joined
from swing.formats.files import check_writable, store
from swing.parameters import SIZE, SIZES
from swing.progress import Progress
from swing.schedules.collectives import ALLREDUCE
from swing.select.table import Entry, SelectionTable

search_options = joined(
    click.option("--topology", "topologies", type=PLACE, multiple=True,
                 help="A topology, such as torus:8x8; may be repeated."),
    click.option("--sizes", type=SIZES, default=DEFAULT_SIZES, show_default=True,
                 help="Sizes of the vector."),
    collective_options,
    machine_options(),
    click.option("--packets", type=SIZE, default="8MiB", show_default=True,
                 help="Largest size for the packet model; above it, the flow model is used."),
    click.option("--most", type=click.IntRange(1), default=16, show_default=True,
                 help="Maximum number of candidates per size that the search starts from."),
    click.option("--keep", type=Number(1), default=2.0, show_default=True,
                 help="Start only from candidates that the analytic model estimates at "
                 "no more than this factor times the best."),
    click.option("--leaders", type=click.IntRange(0), default=3, show_default=True,
                 help="Number of fastest candidates per size whose neighbours are simulated; "
                 "0 for none, and all candidates in segments instead."),
    JOBS,
)  # fmt: skip
"""The options of a search, for `search_of`."""


def search_of(keep: float, most: int, leaders: int, packets: int, jobs: int | None) -> Search:
    """Return the limits of a search that a command line states."""
    workers = processes(jobs, "packet")
    return Search(keep, most, leaders=leaders, packets=packets, jobs=workers)


@command("tune", short_help="Write a table of the fastest schedules.")
@search_options
@click.option("--measured", "measured", type=click.Path(dir_okay=False), multiple=True,
              help="Take the times from this CSV file of mpi_bench instead; may be "
              "repeated.")  # fmt: skip
@click.option("--retime", is_flag=True, help="Do not search: simulate every time in the table "
              "again, for example after a change of the models.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False), required=True,
              help="The selection table; existing times are kept without --retime.")  # fmt: skip
@JSON
def tune_command(
    topologies: tuple[Topology, ...], sizes: list[int], collective: str, root: int | None,
    machines: MachineOptions, packets: int, most: int, keep: float, leaders: int, jobs: int | None,
    measured: tuple[str, ...], retime: bool, out: str, as_json: bool,
) -> None:  # fmt: skip
    """Search for the fastest schedule for every size; write a selection table."""
    if bool(topologies) == bool(measured) and not (retime and not measured):
        raise ValueError("name a --topology to simulate, or a file of --measured times")
    if measured and (retime or collective != ALLREDUCE or root is not None):
        raise ValueError("--measured has times of allreduces: no --retime, --collective or --root")
    check_writable(out)
    if measured:
        table = measured_table(measured)
        _store(out, table)
        for name, entry in table.entries.items():
            _tell(name, entry, entry.sizes, as_json)
        if not as_json:
            click.echo(f"wrote {out}")
        return
    search = search_of(keep, most, leaders, packets, jobs)
    file = Path(out)
    table = SelectionTable.read(file.read_text()) if file.is_file() else SelectionTable({}, {})
    entries = dict(table.entries)
    if retime and not entries:
        raise ValueError(f"{out} has no times to simulate again: leave out --retime")
    if retime:
        topologies = topologies or tuple(map(names.topology, entries))
    networks = [machines.network(topology) for topology in dict.fromkeys(topologies)]
    made = made_by(machines.machine, search, collective, root)
    if entries:
        # New times may be those of newer models.
        before = dict(table.made) | ({"model": made["model"]} if retime else {})
        check_made(made, before, out)
    for network in networks:
        check_tunable(network)
        if retime and network.topology.torus.name not in entries:
            raise ValueError(f"{out} has no {network.topology.name} to take the times of again")
    for network in networks:
        name = network.topology.torus.name
        asked = asked_collective(network.topology.torus, collective, root)
        old = entries.get(name)
        with Progress(name) as progress:
            if retime and old:
                wanted = list(old.sizes)
                found = time_again(old, network, asked, search, progress.show)
            else:
                found = known_times(old, network, asked)
                wanted = sorted({*sizes, *(old.sizes if old else ())})
                try:
                    find(network, wanted, asked, search, found, progress.show)
                except (KeyboardInterrupt, ChildProcessError) as error:
                    if not found:
                        raise
                    _store(out, SelectionTable(made, entries | {name: entry_of(wanted, found)}))
                    why = str(error) or "interrupted"
                    raise ValueError(
                        f"{why}: {out} keeps what was found, and the same command goes on"
                    ) from None
                found = shortened(network, asked, found)
        entries[name] = entry_of(wanted, found)
        _store(out, SelectionTable(made, entries))
        _tell(name, entries[name], wanted, as_json)
    if not as_json:
        click.echo(f"wrote {out}")


def _store(out: str, table: SelectionTable) -> None:
    store([(out, [str(table)])])


def _tell(name: str, entry: Entry, sizes: Iterable[int], as_json: bool) -> None:
    """With ``--json``, print the winner at each size; `compare` prints it as text."""
    for n in sizes if as_json else ():
        seconds, best = entry.ranked(n)[0]
        click.echo(json.dumps({"topology": name, "nbytes": n, "seconds": seconds,
                               "algorithm": best.algorithm,
                               "options": dict(best.options)}))  # fmt: skip
