"""How long a schedule takes, from its lines alone: no links, no simulation.

    T = Σ over phases of max(steps·step + hops·hop + own·n/B, total·n/B)

A step costs the fixed `step`, its longest way, and the bytes on its busiest link. In a phase of
several steps each part goes its own way: the slowest counts, and so does the link that carries
the most of all parts together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np

from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Step
from swing.torus import Torus


class CostModel(Protocol):
    """What an estimate needs of a network; `netsim.Network` is one."""

    @property
    def bandwidth(self) -> float:
        """Of a link, in bytes per second."""

    def latency(self, hops: int) -> float:
        """Seconds until the first byte of a message over some hops arrives."""


class Phase(NamedTuple):
    """Steps and hops of the slowest part; fractions of the vector on the busiest link.

    Args:
        own: summed over the steps of that part alone.
        total: of all parts and steps together.
    """

    steps: int
    hops: int
    own: float
    total: float


class _Cost(NamedTuple):
    hops: int
    loads: tuple[np.ndarray, ...]  # of each dimension: (2, d) fractions, upwards and downwards

    @property
    def peak(self) -> float:
        return max((float(load.max(initial=0)) for load in self.loads), default=0.0)


def figures(schedule: Schedule) -> tuple[Phase, ...]:
    """The phases of a schedule.

    >>> import swing
    >>> figures(swing.schedule("bucket", swing.Torus((4, 4)), collective="reduce_scatter"))
    (Phase(steps=3, hops=3, own=0.1875, total=0.1875), Phase(steps=3, hops=3, own=0.046875, total=0.046875))
    """  # noqa: E501
    parts = range(len(schedule.parts))
    known: dict[tuple[Hashable, bool], list[_Cost]] = {}

    def costs(s: int, lockstep: bool) -> list[_Cost]:
        """Of all parts together, or of each one."""
        key = schedule.signature(s), lockstep
        if key not in known:
            step = schedule.step(s)
            known[key] = [
                _cost(schedule, each) for each in ([step] if lockstep else map(step.only, parts))
            ]
        return known[key]

    phases = []
    for _, group in groupby(range(schedule.nsteps), key=schedule.sync_phase):
        steps = list(group)
        table = [costs(s, len(steps) == 1) for s in steps]
        runs = [[c for c in run if c.hops] for run in zip(*table, strict=True)]
        slowest = max(runs, key=lambda run: sum(1 + c.hops for c in run))
        total = [np.zeros((2, d)) for d in schedule.torus.dims]
        for c in (c for run in runs for c in run):
            for load, more in zip(total, c.loads, strict=True):
                load += more
        phases.append(
            Phase(
                len(slowest),
                sum(c.hops for c in slowest),
                sum(c.peak for c in slowest),
                max(float(load.max(initial=0)) for load in total),
            )
        )
    return tuple(phases)


def seconds(phases: Sequence[Phase], machine: CostModel, nbytes: int) -> float:
    """The time of a vector of some bytes on each rank."""
    step, hop = machine.latency(0), machine.latency(1) - machine.latency(0)
    byte = nbytes / machine.bandwidth
    return sum(max(p.steps * step + p.hops * hop + p.own * byte, p.total * byte) for p in phases)


def _cost(schedule: Schedule, step: Step) -> _Cost:
    torus = schedule.torus
    if not step.line and not len(step):
        return _Cost(0, tuple(np.zeros((2, d)) for d in torus.dims))
    if not step.line:
        return _rows_cost(schedule, step)
    loads, hops = [np.zeros((2, d)) for d in torus.dims], 0
    for line in step.line:
        unit = schedule.unit(line.part)
        others = np.prod([h.max() for j, h in enumerate(line.pending) if j != line.dim])
        weight = line.sent * float(others) * (1 / schedule.nblocks if unit is None else unit)
        farthest, load = _ring(torus, line.dim, line, weight)
        loads[line.dim] += load
        hops = max(hops, farthest)
    return _Cost(hops, tuple(loads))


def _ring(torus: Torus, dim: int, line: LineRows, weight: np.ndarray) -> tuple[int, np.ndarray]:
    """Longest way along a line, and the (2, d) fractions of the vector over its links."""
    d = torus.dims[dim]
    up = (line.dst - line.src) % d if torus.wrap[dim] else line.dst - line.src
    down = (line.src - line.dst) % d if torus.wrap[dim] else -up
    goes_up = (up >= 0) & ((up <= down) | (down < 0))
    load = np.zeros((2, 2 * d))
    for way, first, hops in ((0, line.src, up), (1, line.dst, down)):
        some = goes_up if way == 0 else ~goes_up
        np.add.at(load[way], first[some], weight[some])
        np.add.at(load[way], first[some] + hops[some], -weight[some])
    load = np.cumsum(load, axis=1)
    farthest = int(np.where(goes_up, up, down).max(initial=0))
    return farthest, load[:, :d] + load[:, d:]


def _rows_cost(schedule: Schedule, step: Step) -> _Cost:
    """Of a step that is no product: loads as if all links of a dimension carried the same."""
    torus = schedule.torus
    share = schedule.share(step)
    src, dst = (torus.node_of[ranks] for ranks in (step.src, step.dst))
    hops, loads = np.zeros(len(step), dtype=np.int64), []
    for j, d in enumerate(torus.dims):
        a, b = (np.unravel_index(nodes, torus.dims)[j] for nodes in (src, dst))
        way = np.abs(a - b)
        if torus.wrap[j]:
            way = np.minimum(way, d - way)
        hops += way
        loads.append(np.full((2, d), float(way @ share) / (2 * torus.size)))
    return _Cost(int(hops.max(initial=0)), tuple(loads))
