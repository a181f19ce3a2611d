"""Choose an algorithm for a torus, a vector size and a machine, from a table or by estimates.

A selection table (`swing.select.table`) has the times of the candidates on the tori that it was
tuned for. Two tables of allreduces are shipped: for the network of the Swing paper, on which a
message costs its sender nothing, and for the same network with messages that do. The other
collectives but the barrier have one table each, for a few small tori and the paper's network. A
network whose costs are within 5 % of those of a table's network has that table. For any other torus
or network, each algorithm of a short list is estimated (`swing.select.estimate`). The estimate is
exact if steps run in lockstep and all messages of a step use their links at the same time;
otherwise it is rough. Nothing is simulated.

On one node (machine "node"), ranks have no network links to share. An allreduce uses one port, and
the latency-optimal variant up to `NODE_LATENCY_BYTES`; for other collectives, estimates for `NODE`
are compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from swing.algorithms import ALGORITHMS, DEFAULT, make
from swing.algorithms.spelling import spell
from swing.checks import expect, shown
from swing.schedules.collectives import ALLREDUCE, check_collective, checked_root
from swing.schedules.schedule import Schedule
from swing.select.candidates import shortlist, spelled
from swing.select.estimate import CostModel, Phase, figures, overhead, seconds
from swing.select.table import SHIPPED, Candidate, Entry, Options, SelectionTable, shipped
from swing.torus import Torus

NODE_LATENCY_BYTES = 32 * 1024
"""Measured for allreduces on shared memory: above this size, less traffic outweighs twice as many
steps. For other collectives on one node, estimates for `NODE` are compared."""

IN_ORDER = 2 / 3
"""Weight of messages in order when parts share links, see `swing.select.estimate.seconds`.

It is for collectives other than allreduce, up to `SHORT` bytes, for which tables are made with the
packet model. There, as on real networks, messages to one peer stay in order, but flows share
equally: on 16x4 an allgather of 8 MiB in segments takes 76 µs in one model and 49 µs in the other.
The weight avoids schedules that only one of them likes. The two halves of an allreduce nearly
balance each other.
"""
SHORT = 2**23
"""Bytes up to which tables are made with the packet model, and with the flow model beyond."""

MOST_NAMES = 6
"""Tori of a table that an error names."""

MOST_BYTES = 2**62
"""The largest vector that `Schedule.ends` divides into blocks."""


@dataclass(frozen=True)
class MachineModel:
    """The costs of a network.

    Args:
        step: seconds per step, apart from hops and bytes.
        hop: seconds per hop.
        bandwidth: of a link, in bytes per second.
        message_overhead: seconds that each message keeps its sender busy.
        injection: rate at which messages leave a node, one after the other, relative to that of all
            its links together; None if there is no limit.
    """

    step: float
    hop: float
    bandwidth: float
    message_overhead: float = 0.0
    injection: float | None = None

    def latency(self, hops: int) -> float:
        """Return the seconds until the first byte of a message arrives over ``hops`` hops."""
        return self.step + hops * self.hop


PAPER = MachineModel(0.5102e-6, 0.4051e-6, 50e9, message_overhead=1.75e-9, injection=2.0)
"""The network of the Swing paper, §5, for which tables are shipped."""

OVERHEAD = 0.5e-6
"""Seconds that a message keeps its sender busy on the machine "messages".

Measured between two ranks of one node (MPICH 4, persistent requests as the executor has them): each
further message of 32 bytes that a rank sends and receives takes 0.7 µs more. Most of it is taken to
be the sender's.
"""

NODE = MachineModel(1e-6, 0.0, 10e9)
"""Rule of thumb for ranks that share memory: messages cross no links."""

MACHINES: dict[str, CostModel] = {
    "paper": PAPER,
    "messages": replace(PAPER, message_overhead=OVERHEAD),
    # A rule of thumb for MPI on a current torus.
    "cluster": MachineModel(2e-6, 0.1e-6, 10e9, OVERHEAD),
}


@dataclass(frozen=True)
class Choice:
    """The chosen algorithm, and the reason.

    Args:
        algorithm: a key of `ALGORITHMS`.
        options: its options.
        why: the reason, in words.
        seconds: predicted time; None for an allreduce on one node, where a size limit decides.
        others: predicted seconds of the other candidates, fastest first, by name and options.
        collective: the collective that it was chosen for.
        root: the root of that collective, if it has one.
    """

    algorithm: str
    options: dict[str, Any]
    why: str
    seconds: float | None = None
    others: dict[str, float] = field(default_factory=dict)
    collective: str = ALLREDUCE
    root: int = 0

    def schedule(self, torus: Torus) -> Schedule:
        """Build the chosen schedule."""
        return make(self.algorithm, torus, **self.options, **spelled(self.collective, self.root))

    def __str__(self) -> str:
        return f"{spell(self.algorithm, self.options)}: {self.why}"


def choose(
    torus: Torus,
    nbytes: int,
    machine: str | CostModel | SelectionTable = "paper",
    *,
    collective: str = ALLREDUCE,
    root: int | None = None,
) -> Choice:
    """Choose the algorithm with the shortest predicted time.

    Args:
        torus: the ranks.
        nbytes: size of the vector on each rank, in bytes.
        machine: "node" (ranks that share memory), a key of `MACHINES`, a network, a table, or the
            path of a table (``….json``, written by ``python -m netsim tune``).
        collective: a name in `swing.schedules.collectives.COLLECTIVES`.
        root: the root of a broadcast, reduce, gather or scatter; 0 if None.

    Raises:
        ValueError: the machine is unknown, the file is not a table, or the table has no time for
            this torus, size and collective; an unknown collective, or a root that is not a rank.
        OSError: the table cannot be read.
        TypeError: ``torus`` is no torus, or ``machine`` is none of the above.

    >>> choose(Torus((8, 8)), 2**29).algorithm
    'windows'
    """
    expect(torus, Torus, "a torus, such as swing.Torus((4, 4))")
    if not isinstance(nbytes, (int, np.integer)) or not 0 <= nbytes <= MOST_BYTES:
        raise ValueError(f"nbytes must be a whole number from 0 to 2^62, not {shown(nbytes)}")
    check_collective(collective)
    at = checked_root(collective, root, torus.size)
    if isinstance(machine, str) and machine == "node" and collective == ALLREDUCE:
        small = nbytes <= NODE_LATENCY_BYTES
        variant = "latency" if small else "bandwidth"
        why = f"one node, {'up to' if small else 'above'} {NODE_LATENCY_BYTES} bytes"
        return Choice(DEFAULT, {"variant": variant, "ports": 1}, why)
    how, ranked = _ranked(torus, nbytes, machine, collective)
    return replace(_choice(ranked, how), collective=collective, root=at)


def _ranked(
    torus: Torus, nbytes: int, machine: str | CostModel | SelectionTable, collective: str
) -> tuple[str, list[tuple[float, Candidate]]]:
    """Return where the times of the candidates are from, and the candidates, fastest first."""
    source = _entry_or_model(torus, machine, collective)
    if isinstance(source, Entry):
        return "by a table", source.ranked(nbytes)
    how = "estimated"
    tables = {name: shipped(collective, name).entries.get(torus.name) for name in SHIPPED}
    near = sorted((_apart(source, MACHINES[name]), name) for name in SHIPPED if tables[name])
    for factor, name in near[:1]:
        table = tables[name]
        if table and factor <= ALIKE:
            # Latencies agree, so scaling the size by the bandwidths gives the same time.
            equivalent = round(nbytes * MACHINES[name].bandwidth / source.bandwidth)
            return f"by the table of machine {name!r}", table.ranked(equivalent)
        far = f" up to {factor:.3g}-fold" if factor < math.inf else ""
        how = (
            f"estimated, since the nearest table, of machine {name!r}, is for messages whose costs "
            f"differ{far}"
        )
    return how, estimated(torus, nbytes, source, collective)


def estimated(
    torus: Torus, nbytes: int, machine: CostModel, collective: str = ALLREDUCE
) -> list[tuple[float, Candidate]]:
    """Return the candidates of the short list with their estimated seconds, fastest first."""
    weight = 0.0 if collective == ALLREDUCE or nbytes > SHORT else IN_ORDER
    times = [
        (seconds(phases, machine, nbytes, weight), Candidate(name, options, ()))
        for (name, options), phases in _figures(torus, collective).items()
    ]
    return sorted(times, key=lambda pair: pair[0])


def schedule(
    name: str,
    torus: Torus,
    *,
    nbytes: int | None = None,
    machine: str | CostModel | SelectionTable = "paper",
    **options: Any,
) -> Schedule:
    """Build the schedule of an algorithm on a torus.

    Args:
        name: a key of `ALGORITHMS`, or "auto".
        torus: the ranks.
        nbytes: size of the vector on each rank, in bytes; required for "auto", otherwise ignored.
        machine: the machine that "auto" chooses for, as in `choose`.
        options: keyword arguments of the algorithm's function.

    Raises:
        ValueError: an unknown algorithm or option, or an algorithm that does not run on the torus.

    >>> schedule("swing", Torus((4, 4)), variant="latency")
    <allreduce swing on 4x4: 4 steps, 4 blocks, 4 parts>
    """
    if name != "auto":
        return make(name, torus, **options)
    if nbytes is None:
        raise ValueError("algorithm 'auto' depends on the size: pass nbytes=")
    asked = {key: options.pop(key) for key in ("collective", "root") if key in options}
    if options:
        raise ValueError(f"algorithm 'auto' chooses {', '.join(options)} itself: name an algorithm")
    return choose(torus, nbytes, machine, **asked).schedule(torus)


def _entry_or_model(
    torus: Torus, machine: str | CostModel | SelectionTable, collective: str
) -> Entry | CostModel:
    """Return the entry of a table for the torus, or the network to estimate for."""
    if isinstance(machine, str) and machine.endswith(".json"):
        machine = _read(machine)
    if isinstance(machine, SelectionTable):
        if machine.collective != collective:
            raise ValueError(
                f"the table is for {machine.collective}, not for {collective}: tune one for that"
            )
        if torus.name not in machine.entries:
            tori = ", ".join([*machine.entries][:MOST_NAMES])
            tori += " and others" * (len(machine.entries) > MOST_NAMES)
            raise ValueError(
                f"the table has no {torus.name}, only {tori}: "
                "pass the torus that it was tuned for as torus=, or tune it for this one"
            )
        return machine.entries[torus.name]
    if isinstance(machine, str):
        if machine == "node":
            return NODE
        if machine not in MACHINES:
            raise ValueError(
                f"no machine {shown(machine)}: choose from {_names()}, or pass a network or a "
                "table.json"
            )
        return MACHINES[machine]
    if not hasattr(machine, "latency"):
        raise TypeError(
            f"machine must be one of {_names()}, a network or a table, not {shown(machine)}"
        )
    return machine


def _names() -> str:
    return ", ".join(["node", *MACHINES])


ALIKE = 1.05
"""Two machines are alike if no message costs more than so many times as much on one of them."""


def _apart(one: CostModel, other: CostModel) -> float:
    """Return the largest factor between the costs of messages on two machines, bytes apart.

    The messages are one over 0, 1 and 16 hops, and 16 of one sender.
    """

    def costs(machine: CostModel) -> list[float]:
        own = overhead(machine)
        each = [machine.latency(hops) + own for hops in (0, 1, 16)]
        return [*each, machine.latency(1) + 16 * own]

    ratios = (
        max(a / b, b / a) if a and b else 1.0 if a == b else math.inf
        for a, b in zip(costs(one), costs(other), strict=True)
    )
    return max(ratios)


def _choice(ranked: list[tuple[float, Candidate]], how: str) -> Choice:
    if not ranked:
        raise ValueError("the selection table has no time for this torus and size")
    (least, best), *others = ranked
    why = f"{how}: {least * 1e6:.1f} us"
    if others:
        why += f"; next is {others[0][1].name}: {others[0][0] * 1e6:.1f} us"
    names: dict[str, float] = {}
    for t, c in others:
        names.setdefault(c.name, t)  # of equal names the fastest stays
    return Choice(best.algorithm, dict(best.options), why, least, names)


@lru_cache(maxsize=64)
def _figures(torus: Torus, collective: str) -> dict[tuple[str, Options], tuple[Phase, ...]]:
    """Return the phases of each candidate on the short list."""
    return {named: figures(made) for named, made in shortlist(torus, collective).items()}


@lru_cache(maxsize=8)
def _read(path: str) -> SelectionTable:
    return SelectionTable.read(Path(path).read_text())


__all__ = ["ALGORITHMS", "MACHINES", "Choice", "MachineModel", "choose", "schedule"]
