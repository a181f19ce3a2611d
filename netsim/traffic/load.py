"""What a step puts on the links of a network, in fractions of the vector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from netsim.network import Network
from netsim.topologies.grid import Grid
from netsim.topologies.names import Topology
from netsim.topologies.routes import Seed
from netsim.topologies.row import Traffic
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Op, Step


@dataclass(frozen=True)
class StepLoad:
    """The figures of a step that time depends on.

    Args:
        peak: fraction of the vector on the busiest link.
        drain: seconds per byte of the vector until the slowest link has carried its share.
        latency: seconds of the longest way.
        sends, receives: most messages that one rank sends, receives.
        sent, received: largest fraction of the vector that one rank sends, receives.
        reduced: largest fraction of the vector that one rank reduces.
    """

    peak: float
    drain: float
    latency: float
    sends: int
    receives: int
    sent: float
    received: float
    reduced: float


class PhaseLoad(NamedTuple):
    """The steps of a phase, and their loads for every group of parts that runs together.

    Over the whole phase, of all groups: ``total`` is the fraction of the vector on the busiest
    link, ``drain`` the seconds per byte of the vector that the slowest link needs.
    """

    steps: range
    groups: list[list[StepLoad]]
    total: float
    drain: float


@lru_cache(maxsize=4)  # a sweep asks for one schedule at many sizes
def phase_loads(schedule: Schedule, network: Network, seed: int = 0) -> list[PhaseLoad]:
    """Every phase; in a phase of one step all parts are one group, else each is its own.

    Steps of one pattern are computed once.

    Raises:
        ValueError: a schedule for other dimensions than the topology's.
    """
    check_dims(schedule, network.topology)
    known: dict[Hashable, StepLoad] = {}

    def pattern(s: int) -> Hashable:
        return s if network.ties == "random" else schedule.signature(s)

    def measure(s: int, part: int | None) -> StepLoad:
        key = pattern(s), part
        if key not in known:
            step = schedule.step(s) if part is None else schedule.step(s).only(part)
            known[key] = _measure(schedule, step, network, (seed, s))
        return known[key]

    phases = []
    for _, group in groupby(range(schedule.nsteps), key=schedule.sync_phase):
        steps = list(group)
        if len(steps) == 1:
            load = measure(steps[0], None)
            phases.append(PhaseLoad(range(steps[0], steps[0] + 1), [[load]], load.peak, load.drain))
            continue
        first = {pattern(s): s for s in reversed(steps)}
        times = [(schedule.step(first[key]), n) for key, n in Counter(map(pattern, steps)).items()]
        total, drain = _peak(schedule, times, network, (seed, steps[0]))
        groups = [[measure(s, j) for s in steps] for j in range(len(schedule.parts))]
        phases.append(PhaseLoad(range(steps[0], steps[-1] + 1), groups, total, drain))
    return phases


@lru_cache(maxsize=4)
def congestion(schedule: Schedule, network: Network, seed: int = 0) -> float:
    """Σ over steps of the fraction of the vector on the busiest directed link, times D."""
    most = [
        max(phase.total, *(sum(load.peak for load in group) for group in phase.groups))
        for phase in phase_loads(schedule, network, seed)
    ]
    return sum(most) * network.topology.ndim


def link_load(schedule: Schedule, s: int, network: Network, seed: int = 0) -> np.ndarray:
    """(nlinks,) fraction of the vector that step s puts on every link."""
    step, place = schedule.step(s), network.topology
    lines = line_units(schedule, step, network.ties)
    if lines and isinstance(place, Grid):
        return place.line_load(*lines, network.ties, (seed, s))
    return place.load(traffic(schedule, step), network.ties, (seed, s))


def traffic(schedule: Schedule, step: Step) -> Traffic:
    """The messages of a step between nodes, weighted with their fraction of the vector."""
    nodes = schedule.torus.node_of
    return Traffic(nodes[step.src], nodes[step.dst], schedule.share(step))


def check_dims(schedule: Schedule, topology: Topology) -> None:
    """A schedule runs on a topology of the same dimensions only."""
    if schedule.torus.dims != topology.dims:
        raise ValueError(
            f"a schedule for {schedule.torus} cannot run on {topology.name}: "
            "make both with the same dimensions"
        )


def line_units(
    schedule: Schedule, step: Step, ties: str
) -> tuple[tuple[LineRows, ...], list[float]] | None:
    """The step's lines and the fraction of one block on each; None if rows are needed.

    They are where blocks of a part differ in size, and where lines differ because every message
    draws its own way.
    """
    units = [schedule.unit(line.part) for line in step.line]
    known = [u for u in units if u is not None]
    return (step.line, known) if units and len(known) == len(units) and ties != "random" else None


def _peak(
    schedule: Schedule, times: Sequence[tuple[Step, int]], network: Network, seed: Seed
) -> tuple[float, float]:
    """Largest fraction, and seconds per byte, of a link after steps taken n times each."""
    place = network.topology
    lines = [(n, line_units(schedule, step, network.ties)) for step, n in times]
    if network.uniform and isinstance(place, Grid) and all(found for _, found in lines):
        rows = [row for _, found in lines if found for row in found[0]]
        units = [n * unit for n, found in lines if found for unit in found[1]]
        peak = place.line_peak(rows, units, network.ties, seed)
        return peak, peak / network.bandwidth
    loads = [n * place.load(traffic(schedule, step), network.ties, seed) for step, n in times]
    total = np.sum(loads, axis=0)
    return float(total.max(initial=0)), float((total / network.bandwidths).max(initial=0))


def _measure(schedule: Schedule, step: Step, network: Network, seed: Seed) -> StepLoad:
    place = network.topology
    peak, drain = _peak(schedule, [(step, 1)], network, seed)
    lines = line_units(schedule, step, network.ties)
    reduces = isinstance(step.op, np.ndarray) or step.op is Op.REDUCE
    if lines and network.uniform and isinstance(place, Grid):
        latency = max(network.latency(*path) for path in place.line_paths(lines[0]).tolist())
        sends, receives, sent, received = _per_node(*lines, place.dims)
        reduced = received if reduces else 0.0
        count = round(sends), round(receives)
        return StepLoad(peak, drain, latency, *count, sent, received, reduced)
    flow = traffic(schedule, step)
    if not len(flow.src):
        return StepLoad(0.0, 0.0, 0.0, 0, 0, 0.0, 0.0, 0.0)
    columns = (
        (flow.src, np.ones(len(step))),
        (flow.dst, np.ones(len(step))),
        (flow.src, flow.weight),
        (flow.dst, flow.weight),
        (flow.dst, np.where(step.reduces, flow.weight, 0.0)),
    )
    sends, receives, sent, received, reduced = (
        float(np.bincount(node, weight, place.size).max()) for node, weight in columns
    )
    latency = _longest(network, flow, seed)
    count = round(sends), round(receives)
    return StepLoad(peak, drain, latency, *count, sent, received, reduced)


def _longest(network: Network, flow: Traffic, seed: Seed) -> float:
    """Seconds of the longest way."""
    place = network.topology
    if network.uniform:
        paths = np.unique(place.paths(flow.src, flow.dst), axis=0)
        return max(network.latency(*path) for path in paths.tolist())
    ways = place.ways(flow.src, flow.dst, network.ties, seed)
    hops = np.bincount(ways.per_link(), network.hop_latencies[ways.links], len(ways.share))
    return network.end_latency + float(hops.max())


def _per_node(
    lines: Sequence[LineRows], units: Sequence[float], dims: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """Most messages that a node sends and receives, and the largest shares.

    Of each dimension the most; the same node has the most in all of them, or no less is told.
    """
    most = np.zeros(4)
    for j, d in enumerate(dims):
        node = np.zeros((4, d))
        for line, unit in zip(lines, units, strict=True):
            if line.dim == j:
                others = [h.max() for i, h in enumerate(line.pending) if i != j]
                share = line.sent * unit * np.prod(others, dtype=float)
                node[0] += np.bincount(line.src, line.sent > 0, d)
                node[1] += np.bincount(line.dst, line.sent > 0, d)
                node[2] += np.bincount(line.src, share, d)
                node[3] += np.bincount(line.dst, share, d)
        most += node.max(axis=1)
    sends, receives, sent, received = most.tolist()
    return sends, receives, sent, received
