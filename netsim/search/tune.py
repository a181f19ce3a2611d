"""Tune selection tables: search for the fastest schedule on each torus, size by size."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any

from netsim.machine import Machine, columns
from netsim.network import Network
from netsim.search.case import Case, Where, asked_collective, is_plain, networks_of
from netsim.search.climb import climb
from netsim.search.explore import Search, Seconds, Tell, explore, silent, simulate_pairs
from netsim.search.sweep import listed_sizes
from netsim.topologies.names import topology as topology_of
from swing.checks import expect
from swing.schedules.collectives import ALLREDUCE, BARRIER, check_collective
from swing.select.candidates import Named, family, published
from swing.select.choose import estimated
from swing.select.neighbours import in_segments
from swing.select.table import Entry, SelectionTable
from swing.sizes import format_size

DEFAULT_SIZES = "32B:2GiB:x4"


def tune(
    networks: Where | Sequence[Where],
    sizes: str | Sequence[int] = DEFAULT_SIZES,
    *,
    collective: str = ALLREDUCE,
    root: int | None = None,
    search: Search | None = None,
    tell: Tell = silent,
) -> SelectionTable:
    """Search for the fastest schedule for every size.

    Args:
        networks: the networks, of the same machine and with different tori; a topology or its name
            stands for the Swing paper's network.
        sizes: of the vector on each rank, in bytes, or as in ``32B:2GiB:x4``.
        collective: the collective.
        root: the root of a broadcast, reduce, gather or scatter; 0 if None.
        search: the limits of the search.
        tell: called as the search advances.

    Returns:
        A table that `swing.choose` takes as ``machine=``; its text, for a file, is ``str(table)``.

    Raises:
        ValueError: a topology that is no torus, networks of different machines, an unknown
            collective, or a wrong size.
        TypeError: ``networks`` has something else in it, or ``search`` is not a `netsim.Search`.

    >>> import swing
    >>> table = tune("torus:2x2", [2**10, 2**20])
    >>> swing.choose(swing.Torus((2, 2)), 2**20, table).why.startswith("by a table")
    True
    """
    check_collective(collective)
    expect(search, (Search, NoneType), "the limits of a search, such as netsim.Search(most=8)")
    wanted, limits = listed_sizes(sizes), search or Search()
    listed = networks_of(networks)
    for network in listed:
        check_tunable(network)
    made = made_by(common_machine(listed), limits, collective, root)
    entries = {}
    for network in listed:
        found: Seconds = {}
        asked = asked_collective(network.topology.torus, collective, root)
        find(network, wanted, asked, limits, found, tell)
        found = shortened(network, asked, found)
        entries[network.topology.torus.name] = entry_of(wanted, found)
    return SelectionTable(made, entries)


def check_tunable(network: Network) -> None:
    """Check that a table can have an entry for a network.

    Raises:
        ValueError: its topology is no torus and no mesh.
    """
    whole = network.topology.whole
    if whole.torus.name != whole.name:
        raise ValueError(f"tables are for tori and meshes, not {whole.name}")


def common_machine(networks: Sequence[Network]) -> Machine:
    """Return the machine that all networks are of.

    A dimension without links tells nothing of the machine, so the network with the most dimensions
    that have links tells which machine it is.

    Raises:
        ValueError: the networks are of different machines.
    """
    machine = Machine.of(max(networks, key=lambda network: network.topology.ndim))
    for network in networks:
        again = machine.network(topology_of(network.topology.whole.name))
        if columns(again) != columns(network):
            raise ValueError(
                f"{network.topology.whole.name} was made otherwise: a table is for one machine, "
                f"and another network is of {machine.title}, ties {machine.ties}"
            )
    return machine


def models_in_words(search: Search) -> str:
    """Return the models that give the times of a search.

    >>> models_in_words(Search())
    'packet up to 8 MiB, flow above'
    """
    return f"packet up to {format_size(search.packets)}, flow above"


def made_by(
    machine: Machine, search: Search, collective: str, root: int | None = None
) -> dict[str, str]:
    """Return what a table says of its origin; a root only if it is not 0, the usual one."""
    title = machine.title.replace("Gb/s", "Gb/s a link", 1)
    ties = "" if machine.ties == "adaptive" else f", ties {machine.ties}"
    made = {
        "machine": f"the Swing paper's network, {title}{ties}",
        "model": models_in_words(search),
        "command": "python -m netsim tune",
    }
    made |= {} if collective == ALLREDUCE else {"collective": collective}
    return made | ({"root": str(root)} if root else {})


def check_made(made: dict[str, str], before: dict[str, str], what: str) -> None:
    """Check that a table has one origin.

    Raises:
        ValueError: its times so far have another one.
    """
    if made != before:
        raise ValueError(f"{what} was made otherwise: {json.dumps(before)}")


def known_times(entry: Entry | None, network: Network, asked: dict[str, Any]) -> Seconds:
    """Return the times in an entry, by case and size."""
    sizes, candidates = (entry.sizes, entry.candidates) if entry else ((), ())
    return {
        _case(network, (c.algorithm, c.options), asked): {
            n: t for n, t in zip(sizes, c.seconds, strict=True) if t is not None
        }
        for c in candidates
    }


def find(
    network: Network,
    sizes: Sequence[int],
    asked: dict[str, Any],
    search: Search,
    found: Seconds,
    tell: Tell = silent,
) -> None:
    """Add the times that a search finds on a network, and those of all published rivals.

    What `swing.choose` would take without a table is tried along with the rivals, within the same
    limits. From the fastest candidates of each size the search climbs to faster neighbours of
    theirs. If it is not to climb, candidates are also tried in segments, where estimates are quick.
    """
    torus, collective = network.topology.torus, asked.get("collective", ALLREDUCE)
    every = replace(search, enough=0.0)  # no early stop at rivals, for the comparison
    likely = [estimated(torus, n, network, collective)[0][1] for n in sizes]
    untuned = dict.fromkeys((each.algorithm, each.options) for each in likely)
    whole = family(torus, collective)
    # A climb comes to segments by itself.
    cut = in_segments(torus, whole) if is_plain(network) and not search.leaders else []
    for candidates, limits in (
        ([*published(torus, collective, later=True), *untuned], every),
        ([*whole, *cut], search),
    ):
        cases = [_case(network, named, asked) for named in candidates]
        explore(cases, sizes, limits, found, tell)
    if search.leaders and collective != BARRIER:  # whose only size is 0
        climb(sizes, asked, search, found, tell)


KEPT = 8
"""Of the candidates that a search simulates, a table keeps so many at each size, the fastest."""


def shortened(network: Network, asked: dict[str, Any], found: Seconds) -> Seconds:
    """Return the times that a table keeps: of the fastest cases at each size, and of all rivals."""
    rivals = published(network.topology.torus, asked.get("collective", ALLREDUCE), later=True)
    kept = {_case(network, named, asked) for named in rivals}
    for n in {n for times in found.values() for n in times}:
        timed = [case for case in found if n in found[case]]
        kept.update(sorted(timed, key=lambda case: found[case][n])[:KEPT])
    return {case: times for case, times in found.items() if case in kept}


def time_again(
    entry: Entry, network: Network, asked: dict[str, Any], search: Search, tell: Tell = silent
) -> Seconds:
    """Simulate the times of an entry again, but none that the entry lacks."""
    found: Seconds = {}
    known = known_times(entry, network, asked)
    todo = [(case, n) for case, times in known.items() for n in times]
    with search.workers() as pool:
        simulate_pairs(pool, todo, search, found, tell)
    return found


def entry_of(sizes: Iterable[int], found: Seconds) -> Entry:
    """Return the table entry for the times found on one network."""
    cases = sorted(found, key=lambda c: (c.algorithm, str(c.options)))
    times = ({n: _ended(t) for n, t in found[c].items()} for c in cases)
    # The table as a whole is for one collective and root, see `made_by`.
    plain = (tuple(o for o in c.options if o[0] not in ("collective", "root")) for c in cases)
    rows = ((c.algorithm, o, t) for c, o, t in zip(cases, plain, times, strict=True))
    return Entry.of(sizes, rows)


def _case(network: Network, named: Named, asked: dict[str, Any]) -> Case:
    name, options = named
    return Case(network, name, (*options, *asked.items()))


def _ended(seconds: float | None) -> float | None:
    """Replace an infinite time by None."""
    return None if seconds == math.inf else seconds
