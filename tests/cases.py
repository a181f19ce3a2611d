"""The tori and schedules that the tests marked `theorem` run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import networkx as nx
from hypothesis import strategies as st

import swing
from swing.schedules.body import Function
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.select.candidates import family
from swing.torus import Torus

NAMES = list(swing.ALGORITHMS)
"""The algorithms that these tests run on; `tests.star` puts its own here instead."""

SHAPES = [
    (1,), (2,), (3,), (6,), (7,), (8,), (9,), (10,), (2, 2), (3, 3), (4, 4), (5, 7), (1, 8),
    (2, 1, 3), (9, 2), (8, 4), (2, 3, 4), (2, 2, 2, 2),
]  # fmt: skip


def restepped(schedule: Schedule, step: Callable[[int], Step], nsteps: int = -1) -> Schedule:
    """A schedule with other steps, and everything else as it was."""
    return replace(schedule, body=Function(schedule.nsteps if nsteps < 0 else nsteps, step))


def options_of(name: str, torus: Torus) -> Iterator[dict[str, object]]:
    """Yield the options that a torus allows: each variant with its default ports and with one."""
    for variant in swing.ALGORITHMS[name].variants:
        for ports in (None, 1):
            options: dict[str, object] = {"variant": variant} if variant else {}
            if ports:
                options["ports"] = ports
            try:
                swing.schedule(name, torus, **options)
            except ValueError:
                continue
            yield options


def schedules(torus: Torus) -> Iterator[Schedule]:
    """Yield the schedules of all algorithms and options on a torus."""
    for name in NAMES:
        for options in options_of(name, torus):
            yield swing.schedule(name, torus, **options)


def every_schedule(torus: Torus) -> Iterator[Schedule]:
    """Yield the schedules of all algorithms and collectives, and of options that a search tries.

    Every third of the search's options is enough here; tests of the selection prove all of them.
    """
    known = [(name, dict(options)) for name, options in family(torus)[::3] if name in NAMES]
    ours = [(name, options) for name in NAMES for options in options_of(name, torus)]
    cut = ("swing", "recursive_doubling", "windows", "ring", "bucket")
    several = [(name, {"segments": 2}) for name in cut if name in NAMES]
    for name, options in [*ours, *known, *several]:
        for collective in ("allreduce", "reduce_scatter", "allgather"):
            if collective == "allreduce" or options.get("variant", "bandwidth") == "bandwidth":
                try:
                    yield swing.schedule(name, torus, **options, collective=collective)
                except ValueError:  # no such cycles on this torus, or no such option
                    continue


@st.composite
def digraphs(draw: st.DrawFn) -> tuple[nx.MultiDiGraph[int], int]:
    """A strongly connected graph of some ranks and switches, with parallel links; the ranks."""
    p, switches = draw(st.integers(1, 7)), draw(st.integers(0, 4))
    vertices = p + switches
    links: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    links.add_nodes_from(range(p))
    links.add_nodes_from(range(p, vertices), switch=True)
    around = draw(st.permutations(range(vertices)))
    links.add_edges_from((a, around[i - 1]) for i, a in enumerate(around) if vertices > 1)
    vertex = st.integers(0, vertices - 1)
    links.add_edges_from(draw(st.lists(st.tuples(vertex, vertex), max_size=25)))
    return links, p
