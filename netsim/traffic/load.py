"""Load of steps and phases on links and ranks, in fractions of the vector.

Where a step repeats one pattern on all lines of a dimension of a grid, its load is computed from
one line (`netsim.topologies.lines.line_peaks`), so that a step of a million ranks costs little
more than one of a single ring. Otherwise all its messages are routed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from netsim.network import Network
from netsim.topologies.lines import line_load, line_paths, line_peaks
from netsim.topologies.routes import Seed
from netsim.topologies.row import Traffic
from netsim.topologies.topology import Topology
from swing.schedules.body import Body
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Step
from swing.torus import Array


@dataclass(frozen=True)
class StepLoad:
    """The figures of a step that determine its time in the analytic model; 0 without messages.

    Args:
        peak: fraction of the vector on the busiest link.
        drain: seconds per byte of the vector until the slowest link has carried its load.
        latency: seconds until the first byte arrives on the longest route.
        sends: largest number of messages that one rank sends.
        receives: largest number of messages that one rank receives.
        sent: largest fraction of the vector that one rank sends.
        received: largest fraction of the vector that one rank receives.
        reduced: largest fraction of the vector that one rank reduces.
    """

    peak: float = 0.0
    drain: float = 0.0
    latency: float = 0.0
    sends: int = 0
    receives: int = 0
    sent: float = 0.0
    received: float = 0.0
    reduced: float = 0.0


class PhaseLoad(NamedTuple):
    """The steps of a phase, and their loads for every group of parts that run in lockstep.

    Args:
        steps: the steps of the phase.
        groups: one list per group, with the load of every step.
        total: fraction of the vector on the busiest link, summed over all steps and groups.
        drain: seconds per byte of the vector that the slowest link needs for all steps and groups.
    """

    steps: range
    groups: list[list[StepLoad]]
    total: float
    drain: float


@lru_cache(maxsize=4)  # a sweep asks for one schedule at many sizes
def phase_loads(schedule: Schedule, network: Network, seed: int = 0) -> list[PhaseLoad]:
    """The loads of every phase, in order.

    In a phase of one step all parts form one group, otherwise each part is a group of its own.
    Steps with the same signature are computed once and share one `StepLoad`.

    Raises:
        ValueError: the schedule and the topology have different dimensions.
    """
    check_dims(schedule, network.topology)
    cache: dict[Hashable, StepLoad] = {}

    def pattern(s: int) -> Hashable:
        # Random ties are drawn for each step, so that no two steps have the same load.
        return s if network.ties == "random" else schedule.signature(s)

    def measure(s: int, part: int | None) -> StepLoad:
        key = pattern(s), part
        if key not in cache:
            body = schedule.body if part is None else schedule.part(part)
            cache[key] = _measure(schedule, body, s, network, seed)
        return cache[key]

    phases = []
    for _, group in groupby(range(schedule.nsteps), key=schedule.sync_phase):
        steps = list(group)
        if len(steps) == 1:
            load = measure(steps[0], None)
            phases.append(PhaseLoad(range(steps[0], steps[0] + 1), [[load]], load.peak, load.drain))
            continue
        first = {pattern(s): s for s in reversed(steps)}  # the earliest step of each pattern
        times = [
            (first[key], n, line_units(schedule, schedule.lines(first[key]), network.ties))
            for key, n in Counter(map(pattern, steps)).items()
        ]
        total, drain = _peak(schedule, schedule.body, times, network, (seed, steps[0]))
        groups = [[measure(s, j) for s in steps] for j in range(len(schedule.parts))]
        phases.append(PhaseLoad(range(steps[0], steps[-1] + 1), groups, total, drain))
    return phases


@lru_cache(maxsize=4)
def congestion(schedule: Schedule, network: Network, seed: int = 0) -> float:
    """D · Σ over steps of the fraction of the vector on the busiest directed link.

    D is the number of dimensions. A phase of several steps counts as one: with the largest sum of
    any group of parts, or with the busiest link of all groups together if that is more.
    """
    peaks = [
        max(phase.total, *(sum(load.peak for load in group) for group in phase.groups))
        for phase in phase_loads(schedule, network, seed)
    ]
    return sum(peaks) * network.topology.ndim


def link_load(schedule: Schedule, s: int, network: Network, seed: int = 0) -> np.ndarray:
    """(nlinks,) fraction of the vector that crosses each link in step s."""
    topology = network.topology
    lines = line_units(schedule, schedule.lines(s), network.ties)
    if lines and topology.rows:
        return line_load(topology.rows, *lines, network.ties, (seed, s))
    return topology.load(traffic(schedule, schedule.step(s)), network.ties, (seed, s))


def traffic(schedule: Schedule, step: Step) -> Traffic:
    """The messages of a step between nodes, each weighted with its fraction of the vector."""
    nodes = schedule.torus.node_of
    return Traffic(nodes[step.src], nodes[step.dst], schedule.share(step))


def check_dims(schedule: Schedule, topology: Topology) -> None:
    """Check that a schedule was made for the dimensions of a topology.

    Raises:
        ValueError: the dimensions differ.
    """
    if schedule.torus.dims != topology.dims:
        raise ValueError(
            f"a schedule for {schedule.torus} cannot run on {topology.name}: "
            "make both with the same dimensions"
        )


LineUnits = tuple[tuple[LineRows, ...], list[float]]
"""The lines of a step, and for each the fraction of the vector in one block of its part."""


def line_units(
    schedule: Schedule, lines: tuple[LineRows, ...] | None, ties: str
) -> LineUnits | None:
    """Return the `LineUnits` of a step.

    Returns:
        None if the load cannot be computed from lines: the step has none, blocks of one part differ
        in size, or lines differ because every message draws its own direction.
    """
    if lines is None or ties == "random":
        return None
    units = [unit for line in lines if (unit := schedule.unit(line.part)) is not None]
    return (lines, units) if len(units) == len(lines) else None


def _peak(
    schedule: Schedule,
    body: Body,
    times: Sequence[tuple[int, int, LineUnits | None]],
    network: Network,
    seed: Seed,
) -> tuple[float, float]:
    """Load of the busiest link after some steps: (index, n, lines) is a step taken n times.

    Returns:
        Its fraction of the vector, and the seconds per byte of the vector that the slowest link
        needs.
    """
    topology = network.topology
    if network.by_dimension and all(lines for *_, lines in times):
        rows = [row for *_, lines in times if lines for row in lines[0]]
        units = [n * unit for _, n, lines in times if lines for unit in lines[1]]
        peaks = line_peaks(topology.rows, rows, units, network.ties, seed)
        rates = np.array([costs.bandwidth for costs in network.by_dimension])
        return float(peaks.max()), float((peaks / rates).max())
    loads = [
        n * topology.load(traffic(schedule, body.step(s)), network.ties, seed) for s, n, _ in times
    ]
    total = np.sum(loads, axis=0)
    return float(total.max(initial=0)), float((total / network.bandwidths).max(initial=0))


def _measure(schedule: Schedule, body: Body, s: int, network: Network, seed: int) -> StepLoad:
    topology = network.topology
    lines = line_units(schedule, body.lines(s), network.ties)
    peak, drain = _peak(schedule, body, [(s, 1, lines)], network, (seed, s))
    if lines and network.by_dimension:
        if not lines[0]:
            return StepLoad()
        delays = (network.delay(*each) for each in line_paths(topology.rows, lines[0]))
        latency = network.end_latency + max(delays)
        sends, receives, sent, received = _per_node(*lines, topology.dims)
        reduced = received if any(line.reduces for line in lines[0]) else 0.0
    else:
        step = body.step(s)
        flow = traffic(schedule, step)
        if not len(flow.src):
            return StepLoad()

        def most(nodes: Array, weight: np.ndarray | None = None) -> float:
            return float(np.bincount(nodes, weight, topology.size).max())

        sends, sent = most(flow.src), most(flow.src, flow.weight)
        receives, received = most(flow.dst), most(flow.dst, flow.weight)
        reduced = most(flow.dst, np.where(step.reduces, flow.weight, 0.0))
        latency = _longest(network, flow, (seed, s))
    return StepLoad(peak, drain, latency, round(sends), round(receives), sent, received, reduced)


def _longest(network: Network, flow: Traffic, seed: Seed) -> float:
    """Seconds until the first byte arrives on the slowest route."""
    topology = network.topology
    if network.uniform:
        paths = np.unique(topology.paths(flow.src, flow.dst), axis=0)
        return max(network.latency(*path) for path in paths.tolist())
    routes = topology.routes(flow.src, flow.dst, network.ties, seed)
    hops = np.bincount(routes.per_link(), network.hop_latencies[routes.links], len(routes.share))
    return network.end_latency + float(hops.max())


def _per_node(
    lines: Sequence[LineRows], units: Sequence[float], dims: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """Largest numbers of messages that a node sends and receives, and the largest fractions.

    The maxima of the dimensions are added up. That is exact if one node attains all of them, and
    an upper bound otherwise.
    """
    total = np.zeros(4)
    for j, d in enumerate(dims):
        by_node = np.zeros((4, d))
        for line, unit in zip(lines, units, strict=True):
            if line.dim == j:
                others = [h.max() for i, h in enumerate(line.pending) if i != j]
                share = line.sent * unit * np.prod(others, dtype=float)
                by_node[0] += np.bincount(line.src, line.sent > 0, d)
                by_node[1] += np.bincount(line.dst, line.sent > 0, d)
                by_node[2] += np.bincount(line.src, share, d)
                by_node[3] += np.bincount(line.dst, share, d)
        total += by_node.max(axis=1)
    sends, receives, sent, received = total.tolist()
    return sends, receives, sent, received
