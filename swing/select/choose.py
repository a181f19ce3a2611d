"""Which algorithm for this torus, size and machine: a table of times, else estimates.

A tuned table (`swing.select.table`) knows how long the candidates take on the tori it was made for.
For all other tori every algorithm of a short list is estimated from its lines
(`swing.select.estimate`): exact where steps run in lockstep and messages of a step meet on their
links, rough elsewhere. Neither simulates anything. Ranks that share one node have no links to
share: they use one port, latency-optimal up to `NODE_LATENCY_BYTES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from swing.algorithms import ALGORITHMS, make
from swing.schedules.schedule import Schedule
from swing.select.candidates import shortlist
from swing.select.estimate import CostModel, Phase, figures, seconds
from swing.select.table import Candidate, Entry, Options, SelectionTable, shipped
from swing.torus import Torus

NODE_LATENCY_BYTES = 32 * 1024
"""Measured on shared memory: from here on halving the traffic outweighs twice the steps."""


@dataclass(frozen=True)
class MachineModel:
    """Costs in seconds: of a step, of a hop, and bytes per second of a link."""

    step: float
    hop: float
    bandwidth: float

    def latency(self, hops: int) -> float:
        """Seconds until the first byte of a message over some hops arrives."""
        return self.step + hops * self.hop


PAPER = MachineModel(0.5102e-6, 0.4051e-6, 50e9)
"""§5 of the Swing paper; the table that is shipped was made for it."""

MACHINES: dict[str, CostModel] = {
    "paper": PAPER,
    "cluster": MachineModel(2e-6, 0.1e-6, 10e9),  # MPI over a torus of today, by rule of thumb
}


@dataclass(frozen=True)
class Choice:
    """An algorithm, its options, and why; ``others`` holds the predicted seconds of each rival."""

    algorithm: str
    options: dict[str, Any]
    why: str
    seconds: float | None = None
    others: dict[str, float] = field(default_factory=dict)

    def schedule(self, torus: Torus) -> Schedule:
        """The schedule that was chosen."""
        return make(self.algorithm, torus, **self.options)

    def __str__(self) -> str:
        name = " ".join([self.algorithm, *(f"{k}={v}" for k, v in self.options.items())])
        return f"{name}: {self.why}"


def choose(
    torus: Torus, nbytes: int, machine: str | CostModel | SelectionTable = "paper"
) -> Choice:
    """The algorithm to run.

    Args:
        torus: the ranks.
        nbytes: size of the vector on each rank, in bytes.
        machine: "node" (ranks that share memory), a key of `MACHINES`, a network, a table, or
            the path of one (``….json``, by ``python -m netsim tune``).

    Raises:
        ValueError: an unknown machine, or a file that is no table.
        OSError: a table that can not be read.

    >>> choose(Torus((8, 8)), 2**29).algorithm
    'bucket'
    """
    if machine == "node":
        small = nbytes <= NODE_LATENCY_BYTES
        variant = "latency" if small else "bandwidth"
        why = f"one node, {'up to' if small else 'above'} {NODE_LATENCY_BYTES} bytes"
        return Choice("swing", {"variant": variant, "ports": 1}, why)
    found = _entry(torus, machine)
    if isinstance(found, Entry):
        return _choice(found.ranked(nbytes), "by a table")
    if found is PAPER or _like_paper(found):
        entry = shipped().entries.get(torus.name)
        if entry:  # latencies agree: what counts is how long the bytes take
            same = round(nbytes * PAPER.bandwidth / found.bandwidth)
            return _choice(entry.ranked(same), "by a table")
    times = [
        (seconds(phases, found, nbytes), Candidate(name, options, ()))
        for (name, options), phases in _figures(torus).items()
    ]
    return _choice(sorted(times, key=lambda pair: pair[0]), "estimated")


def schedule(
    name: str,
    torus: Torus,
    *,
    nbytes: int | None = None,
    machine: str | CostModel | SelectionTable = "paper",
    **options: Any,
) -> Schedule:
    """The schedule an algorithm makes for a torus.

    Args:
        name: a key of `ALGORITHMS`, or "auto".
        torus: the ranks.
        nbytes: for "auto" only, as in `choose`.
        machine: for "auto" only, as in `choose`.
        options: what the algorithm's function takes by keyword.

    Raises:
        ValueError: no such algorithm or option, or a torus that the algorithm cannot serve.

    >>> schedule("swing", Torus((4, 4)), variant="latency")
    <allreduce swing on 4x4: 4 steps, 4 blocks, 4 parts>
    """
    if name != "auto":
        return make(name, torus, **options)
    if nbytes is None:
        raise ValueError("algorithm 'auto' depends on the size: pass nbytes=")
    if options:
        raise ValueError(f"algorithm 'auto' chooses {', '.join(options)} itself: name an algorithm")
    return choose(torus, nbytes, machine).schedule(torus)


def _entry(torus: Torus, machine: str | CostModel | SelectionTable) -> Entry | CostModel:
    """What a table says of a torus, or the network to estimate for."""
    if isinstance(machine, str) and machine.endswith(".json"):
        machine = _read(machine)
    if isinstance(machine, SelectionTable):
        if torus.name not in machine.entries:
            known = ", ".join(machine.entries)
            raise ValueError(f"the table has no {torus.name}, only {known}")
        return machine.entries[torus.name]
    if isinstance(machine, str):
        if machine not in MACHINES:
            names = ", ".join(["node", *MACHINES])
            raise ValueError(
                f"no machine {machine!r}: choose from {names}, or pass a network or a table.json"
            )
        return MACHINES[machine]
    return machine


def _like_paper(network: CostModel) -> bool:
    """Whether messages without bytes take as long as on the network of the table."""
    return all(math.isclose(network.latency(h), PAPER.latency(h), rel_tol=0.05) for h in (0, 1, 16))


def _choice(ranked: list[tuple[float, Candidate]], how: str) -> Choice:
    if not ranked:
        raise ValueError("the selection table has no time for this torus and size")
    (least, best), *others = ranked
    why = f"{how}: {least * 1e6:.1f} us"
    if others:
        why += f"; next is {others[0][1].name}: {others[0][0] * 1e6:.1f} us"
    names = {c.name: t for t, c in reversed(others)}
    return Choice(
        best.algorithm, dict(best.options), why, least, dict(reversed(list(names.items())))
    )


@lru_cache(maxsize=64)
def _figures(torus: Torus) -> dict[tuple[str, Options], tuple[Phase, ...]]:
    """The figures of the candidates that are always worth a thought."""
    return {
        (name, options): figures(make(name, torus, **dict(options)))
        for name, options in shortlist(torus)
    }


@lru_cache(maxsize=8)
def _read(path: str) -> SelectionTable:
    return SelectionTable.read(Path(path).read_text())


__all__ = ["ALGORITHMS", "MACHINES", "Choice", "MachineModel", "choose", "schedule"]
