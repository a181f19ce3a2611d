"""``python -m netsim compare``: the fastest schedule for every size, and its lead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from netsim.bounds import lower_bounds, tightest
from netsim.cli.options import MachineOptions
from netsim.cli.tune_command import search_of, search_options
from netsim.machine import Machine, columns
from netsim.models import own_sync
from netsim.network import Network
from netsim.search.case import asked_collective
from netsim.search.explore import Search, Seconds
from netsim.search.tune import entry_of, find, models_in_words
from netsim.topologies.topology import Topology
from netsim.traffic.message_graph import RunOptions
from swing.algorithms.swing import SWING
from swing.cli import JSON, command
from swing.progress import Progress
from swing.select.candidates import published
from swing.select.choose import OVERHEAD
from swing.select.table import MESSAGES, PAPER, Entry, shipped
from swing.sizes import format_size
from swing.text_table import Column, number, rendered

COLUMNS = (
    Column("size"), Column("winner", is_text=True), Column("time"), Column("Swing", 3),
    Column("best published", 4, is_text=True), Column("its time", 2),
    Column("best published ÷ ours", 5), Column("bound", 1), Column("bound by", 7, is_text=True),
    Column("ours ÷ bound", 6),
)  # fmt: skip

WORDS = {PAPER: "", MESSAGES: str(Machine(others=(("message_overhead", OVERHEAD),)))}
"""How rows write the machines that tables are shipped for."""


@command("compare", short_help="Compare the fastest schedule with Swing and a bound.")
@search_options
@JSON
def compare_command(
    topologies: tuple[Topology, ...], sizes: list[int], collective: str, root: int | None,
    machines: MachineOptions, packets: int, most: int, keep: float, leaders: int, jobs: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare the fastest schedule with Swing, the best published one and the lower bound.

    The largest of four bounds is shown, with what it counts: the latency between two ranks
    ("latency"), and then what one rank must send or receive ("rank"), what must cross a cut
    ("cut"), or the bytes on all links together ("links").

    On the Swing paper's network, the times of the tori and sizes in the shipped selection table are
    read from it. All other times are simulated now, with the models that the title names.
    """
    if not topologies:
        raise ValueError("name a --topology, such as torus:8x8")
    search = search_of(keep, most, leaders, packets, jobs)
    for network in [machines.network(topology) for topology in dict.fromkeys(topologies)]:
        entry = _shipped(network, collective, root, models_in_words(search))
        if entry is None or not set(sizes) <= set(entry.sizes):
            entry = _searched(network, sizes, collective, root, search)
        where = columns(network)
        rows = [
            _row(entry, network, n, collective, root or 0) | _conditions(search.model(n))
            for n in sizes
        ]
        about = {key: where[key] for key in ("topology", "bandwidth_gbps", "machine")}
        about["collective"] = collective
        if as_json:
            for r in rows:
                click.echo(json.dumps(about | r))
            continue
        title = f"{collective} on {where['topology']}, {Machine.of(network).title}: microseconds"
        title += f" (models: {models_in_words(search)})"
        click.echo(rendered(COLUMNS, list(map(_cells, rows)), title))


def _conditions(model: str) -> dict[str, str]:
    """How a search runs every schedule: as `netsim.simulate` does by default."""
    return {"model": model, "sync": own_sync(model), "parts": RunOptions().parts}


def _shipped(network: Network, collective: str, root: int | None, models: str) -> Entry | None:
    """Return the entry of the shipped table, if it is for this network and from these models."""
    where = columns(network)
    if root or where["ties"] != "adaptive" or where["bandwidth_gbps"] != 400:
        return None
    for name, words in WORDS.items():
        table = shipped(collective, name)
        if where["machine"] == words and table.made.get("model") == models:
            return table.entries.get(network.topology.name)
    return None


def _searched(
    network: Network, sizes: list[int], collective: str, root: int | None, search: Search
) -> Entry:
    found: Seconds = {}
    asked = asked_collective(network.topology.torus, collective, root)
    with Progress(network.topology.whole.name) as progress:
        find(network, sizes, asked, search, found, progress.show)
    return entry_of(sizes, found)


def _row(entry: Entry, network: Network, n: int, collective: str, root: int) -> dict[str, Any]:
    ranked = entry.ranked(n)
    rivals = {*published(network.topology.torus, collective, later=True)}
    old = [(t, c) for t, c in ranked if (c.algorithm, c.options) in rivals]
    seconds, best = ranked[0]
    argument, bound = tightest(lower_bounds(network, n, collective, root))
    return {
        "nbytes": n,
        "winner": best.name,
        "seconds": seconds,
        "swing_s": next((t for t, c in old if c.algorithm == SWING.name), None),
        "published": old[0][1].name if old else None,
        "published_s": old[0][0] if old else None,
        "lower_bound_s": bound,
        "lower_bound_by": argument,
    }


def _cells(row: dict[str, Any]) -> Sequence[str]:
    def micro(seconds: float | None) -> str:
        return "" if seconds is None else number(seconds * 1e6)

    ours, theirs, bound = row["seconds"], row["published_s"], row["lower_bound_s"]
    return (
        format_size(row["nbytes"]), row["winner"], micro(ours), micro(row["swing_s"]),
        row["published"] or "", micro(theirs), f"{theirs / ours:.2f}" if theirs else "",
        micro(bound), row["lower_bound_by"], f"{ours / bound:.2f}" if bound else "",
    )  # fmt: skip
