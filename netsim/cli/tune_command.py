"""``python -m netsim tune`` and ``compare``: the fastest schedule, size by size, and its lead."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Grid

from netsim.bounds import lower_bound
from netsim.cli.options import BANDWIDTH, JOBS, PLACE, Number, network_of, processes
from netsim.network import Network
from netsim.search.measured import measured_table
from netsim.search.sweep import Case
from netsim.search.tune import Search, Seconds, simulate_pairs, tune
from netsim.topologies import names
from netsim.topologies.topology import Topology
from swing.algorithms.swing import SWING
from swing.cli import JSON, Parsed, asked_collective, collective_options, joined
from swing.formats.files import check_writable, store
from swing.schedules.collectives import ALLREDUCE
from swing.select.candidates import Named, family, published
from swing.select.table import Entry, SelectionTable, shipped
from swing.sizes import format_size, parse_size, parse_sizes

SEARCH_OPTIONS = joined(
    click.option("--topology", "topologies", type=PLACE, multiple=True,
                 help="A topology, such as torus:8x8; may be repeated."),
    click.option("--sizes", type=Parsed("sizes", parse_sizes), default="32B:2GiB:x4",
                 show_default=True, help="Sizes of the vector."),
    collective_options,
    BANDWIDTH,
    click.option("--packets", type=Parsed("size", parse_size), default="8MiB", show_default=True,
                 help="Largest size for the packet model; above it, the flow model is used."),
    click.option("--most", type=click.IntRange(1), default=16, show_default=True,
                 help="Maximum number of candidates to simulate per size."),
    click.option("--keep", type=Number(1), default=2.0, show_default=True,
                 help="Simulate only candidates that the analytic model estimates at "
                 "no more than this factor times the best."),
    JOBS,
)  # fmt: skip


@click.command("tune")
@SEARCH_OPTIONS
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
    bandwidth: float, packets: int, most: int, keep: float, jobs: int | None,
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
        store([(out, [str(table)])])
        for name, entry in table.entries.items():
            _tell(name, entry, entry.sizes, as_json)
        if not as_json:
            click.echo(f"wrote {out}")
        return
    search = Search(keep, most, packets=packets, jobs=processes(jobs))
    file, empty = Path(out), SelectionTable({}, {})
    table = SelectionTable.read(file.read_text()) if file.is_file() else empty
    entries = dict(table.entries)
    made = {
        "machine": f"the Swing paper's network, {bandwidth:g} Gb/s a link",
        "model": f"packet up to {format_size(packets)}, flow above",
        "command": "python -m netsim tune",
    }
    if collective != ALLREDUCE:
        made["collective"] = collective
    if entries and dict(table.made) != made:
        raise ValueError(f"{out} was made otherwise: {json.dumps(dict(table.made))}")
    if retime:
        topologies = topologies or tuple(map(names.topology, entries))
        for topology in topologies:
            if topology.name not in entries:
                raise ValueError(f"{out} has no {topology.name} to take the times of again")
    for topology in topologies:
        if topology.torus.name != topology.name:
            raise ValueError(f"tables are for tori and meshes, not {topology.name}")
        network_of(topology, bandwidth, "adaptive")
        asked = asked_collective(topology.torus, collective, root)
        old = entries.get(topology.name)
        if retime and old:
            found: Seconds = {}
            wanted = list(old.sizes)
            _time_again(old, topology, bandwidth, asked, search, found)
        else:
            found = _known(old, topology, bandwidth, asked)
            wanted = sorted({*sizes, *(old.sizes if old else ())})
            try:
                _search(topology, wanted, bandwidth, asked, search, found)
            except KeyboardInterrupt:
                if not found:
                    raise
                _store(out, SelectionTable(made, entries | {topology.name: _entry(wanted, found)}))
                raise ValueError(
                    f"interrupted: {out} keeps what was found, and the same command goes on"
                ) from None
        entries[topology.name] = _entry(wanted, found)
        _store(out, SelectionTable(made, entries))
        _tell(topology.name, entries[topology.name], wanted, as_json)
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


@click.command("compare")
@SEARCH_OPTIONS
@JSON
def compare_command(
    topologies: tuple[Topology, ...], sizes: list[int], collective: str, root: int | None,
    bandwidth: float, packets: int, most: int, keep: float, jobs: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare the fastest schedule with Swing, the best published one and the lower bound.

    On the Swing paper's network, the times of the tori and sizes in the shipped selection table are
    read from it. All other times are simulated now.
    """
    if not topologies:
        raise ValueError("name a --topology, such as torus:8x8")
    search = Search(keep, most, packets=packets, jobs=processes(jobs))
    for topology in topologies:
        network = network_of(topology, bandwidth, "adaptive")
        asked = asked_collective(topology.torus, collective, root)
        known = bandwidth == 400 and not root
        entry = shipped(collective).entries.get(topology.name) if known else None
        if entry is None or not set(sizes) <= set(entry.sizes):
            found: Seconds = {}
            _search(topology, sizes, bandwidth, asked, search, found)
            entry = _entry(sizes, found)
        rows = [_row(entry, network, n, collective, root or 0) for n in sizes]
        if as_json:
            for r in rows:
                click.echo(json.dumps({"topology": topology.name, "collective": collective} | r))
        else:
            _print(rows, f"{collective} on {topology.name}, {bandwidth:g} Gb/s: microseconds")


def _known(
    entry: Entry | None, topology: Topology, bandwidth: float, asked: dict[str, Any]
) -> Seconds:
    """Return the times in an entry, by case and size."""
    sizes, candidates = (entry.sizes, entry.candidates) if entry else ((), ())
    return {
        _case(topology, bandwidth, (c.algorithm, c.options), asked): {
            n: t for n, t in zip(sizes, c.seconds, strict=True) if t is not None
        }
        for c in candidates
    }


def _search(
    topology: Topology,
    sizes: list[int],
    bandwidth: float,
    asked: dict[str, Any],
    search: Search,
    found: Seconds,
) -> None:
    """Add the times that a search finds on a topology, and those of all published rivals."""
    rivals = replace(search, enough=0.0)  # simulate every rival, for the comparison
    collective = asked.get("collective", ALLREDUCE)
    for candidates, how in (
        (published(topology.torus, collective, later=True), rivals),
        (family(topology.torus, collective), search),
    ):
        cases = [_case(topology, bandwidth, named, asked) for named in candidates]
        tune(cases, sizes, how, found, partial(_progress, topology))


def _time_again(
    entry: Entry,
    topology: Topology,
    bandwidth: float,
    asked: dict[str, Any],
    search: Search,
    found: Seconds,
) -> None:
    """Simulate the times of an entry again, but none that the entry lacks."""
    known = _known(entry, topology, bandwidth, asked)
    todo = [(case, n) for case, times in known.items() for n in times]
    with search.workers() as pool:
        simulate_pairs(pool, todo, search, found, partial(_progress, topology))


def _case(topology: Topology, bandwidth: float, named: Named, asked: dict[str, Any]) -> Case:
    name, options = named
    full = (*options, *asked.items())
    return Case(topology.name, name, full, bandwidth)


def _progress(topology: Topology, line: str) -> None:
    """Print a new time on standard error, if that is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"{topology.name} {line}", err=True)


def _entry(sizes: Iterable[int], found: Seconds) -> Entry:
    """Return the table entry for the times found on one topology."""
    cases = sorted(found, key=lambda c: (c.algorithm, str(c.options)))
    times = ({n: ended(t) for n, t in found[c].items()} for c in cases)
    # The table as a whole is for one collective, and for any root.
    plain = (tuple(o for o in c.options if o[0] not in ("collective", "root")) for c in cases)
    rows = ((c.algorithm, o, t) for c, o, t in zip(cases, plain, times, strict=True))
    return Entry.of(sizes, rows)


def ended(seconds: float | None) -> float | None:
    """Replace an infinite time by None."""
    return None if seconds == math.inf else seconds


def _row(entry: Entry, network: Network, n: int, collective: str, root: int) -> dict[str, Any]:
    ranked = entry.ranked(n)
    rivals = {*published(network.topology.torus, collective, later=True)}
    old = [(t, c) for t, c in ranked if (c.algorithm, c.options) in rivals]
    seconds, best = ranked[0]
    return {
        "nbytes": n,
        "winner": best.name,
        "seconds": seconds,
        "swing_s": next((t for t, c in old if c.algorithm == SWING.name), None),
        "published": old[0][1].name if old else None,
        "published_s": old[0][0] if old else None,
        "lower_bound_s": lower_bound(network, n, collective, root),
    }


def _print(rows: Iterable[dict[str, Any]], title: str) -> None:
    table = Grid(title=title)
    for name in ("size", "winner", "time", "Swing", "best published", "time", "÷ ours", "bound",
                 "ours ÷"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("winner", "best published") else "right")

    def micro(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds * 1e6:.4g}"

    for r in rows:
        table.add_row(
            format_size(r["nbytes"]), r["winner"], micro(r["seconds"]), micro(r["swing_s"]),
            r["published"], micro(r["published_s"]),
            f"{r['published_s'] / r['seconds']:.2f}" if r["published_s"] else "",
            micro(r["lower_bound_s"]),
            f"{r['seconds'] / r['lower_bound_s']:.2f}" if r["lower_bound_s"] else "",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)
