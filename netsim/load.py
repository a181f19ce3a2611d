"""What a step puts on the links of a topology, in fractions of the vector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from netsim.topology import TorusTopology, Traffic
from netsim.topology.torus import Seed
from swing.schedule import Op, Schedule, Step


@dataclass(frozen=True)
class StepLoad:
    """The figures of a step that time depends on.

    Args:
        peak: fraction of the vector on the busiest link.
        hops: links on the longest way.
        sends: most messages that one rank sends.
        sent, received: largest fraction of the vector that one rank sends, receives.
        reduced: largest fraction of the vector that one rank reduces.
    """

    peak: float
    hops: int
    sends: int
    sent: float
    received: float
    reduced: float


class PhaseLoad(NamedTuple):
    """The steps of a phase, and their loads for every group of parts that runs together.

    ``total`` is the fraction of the vector on the busiest link over the whole phase, of all
    groups.
    """

    steps: range
    groups: list[list[StepLoad]]
    total: float


@lru_cache(maxsize=4)  # a sweep asks for one schedule at many sizes
def phase_loads(
    schedule: Schedule, topology: TorusTopology, ties: str, seed: int = 0
) -> list[PhaseLoad]:
    """Every phase; in a phase of one step all parts are one group, else each is its own.

    Steps of one pattern are computed once.

    Raises:
        ValueError: a schedule for other dimensions than the topology's.
    """
    check_dims(schedule, topology)
    known: dict[Hashable, StepLoad] = {}

    def pattern(s: int) -> Hashable:
        return s if ties == "random" else schedule.pattern(s)

    def measure(s: int, part: int | None) -> StepLoad:
        key = pattern(s), part
        if key not in known:
            step = schedule.step(s) if part is None else schedule.step(s).only(part)
            known[key] = _measure(schedule, step, topology, ties, (seed, s))
        return known[key]

    phases = []
    for _, group in groupby(range(schedule.nsteps), key=schedule.phase):
        steps = list(group)
        if len(steps) == 1:
            load = measure(steps[0], None)
            phases.append(PhaseLoad(range(steps[0], steps[0] + 1), [[load]], load.peak))
            continue
        first = {pattern(s): s for s in reversed(steps)}
        times = [(schedule.step(first[key]), n) for key, n in Counter(map(pattern, steps)).items()]
        total = _phase_peak(schedule, times, topology, ties, (seed, steps[0]))
        groups = [[measure(s, j) for s in steps] for j in range(len(schedule.parts))]
        phases.append(PhaseLoad(range(steps[0], steps[-1] + 1), groups, total))
    return phases


def _phase_peak(
    schedule: Schedule,
    times: Sequence[tuple[Step, int]],
    topology: TorusTopology,
    ties: str,
    seed: Seed,
) -> float:
    """The fraction of the vector on the busiest link after steps that are each taken n times."""
    units = [(step, n, _units(schedule, step, ties)) for step, n in times]
    if all(some is not None for _, _, some in units):
        rows = [row for step, _ in times for row in step.line]
        scaled = [n * unit for _, n, some in units for unit in some or ()]
        return topology.line_peak(rows, scaled, ties, seed)
    loads = (n * topology.load(traffic(schedule, step), ties, seed) for step, n in times)
    return float(np.max(sum(loads)))


def link_load(
    schedule: Schedule, s: int, topology: TorusTopology, ties: str, seed: int = 0
) -> np.ndarray:
    """(ndim, 2, size) fraction of the vector that step s puts on every link."""
    step = schedule.step(s)
    units = _units(schedule, step, ties)
    if units is not None:
        return topology.line_load(step.line, units, ties, (seed, s))
    return topology.load(traffic(schedule, step), ties, (seed, s))


def traffic(schedule: Schedule, step: Step) -> Traffic:
    """The messages of a step between nodes, weighted with their fraction of the vector."""
    nodes = schedule.torus.node_of
    return Traffic(nodes[step.src], nodes[step.dst], schedule.share(step))


def check_dims(schedule: Schedule, topology: TorusTopology) -> None:
    """A schedule runs on a topology of the same dimensions only."""
    if schedule.torus.dims != topology.dims:
        raise ValueError(
            f"a schedule for {schedule.torus} cannot run on {topology.name}: "
            "make both with the same dimensions"
        )


def _units(schedule: Schedule, step: Step, ties: str) -> list[float] | None:
    """The fraction of one block for each of the step's lines; None if rows are needed.

    They are where blocks of a part differ in size, and where lines differ because every message
    draws its own way.
    """
    if ties == "random":
        return None
    units = [schedule.unit(row.part) for row in step.line]
    return [u for u in units if u is not None] if units and None not in units else None


def _measure(
    schedule: Schedule, step: Step, topology: TorusTopology, ties: str, seed: Seed
) -> StepLoad:
    units = _units(schedule, step, ties)
    reduces = isinstance(step.op, np.ndarray) or step.op is Op.REDUCE
    if units is not None:
        sends = sent = received = 0.0
        for j in range(len(topology.dims)):
            per_node = np.zeros((4, topology.dims[j]))
            for row, unit in zip(step.line, units, strict=True):
                if row.dim == j:
                    others = [h.max() for i, h in enumerate(row.held) if i != j and len(h)]
                    share = row.sent * unit * np.prod(others, dtype=float)
                    per_node[0] += np.bincount(row.src, row.sent > 0, topology.dims[j])
                    per_node[1] += np.bincount(row.src, share, topology.dims[j])
                    per_node[2] += np.bincount(row.dst, share, topology.dims[j])
            sends += per_node[0].max()
            sent += per_node[1].max()
            received += per_node[2].max()
        return StepLoad(
            topology.line_peak(step.line, units, ties, seed),
            topology.line_hops(step.line),
            int(sends),
            sent,
            received,
            received if reduces else 0.0,
        )
    flow = traffic(schedule, step)
    p = topology.size
    ops = np.broadcast_to(np.asarray(step.op, dtype=object), len(step))
    weights = np.where(ops == Op.REDUCE, flow.weight, 0.0)
    return StepLoad(
        float(topology.load(flow, ties, seed).max(initial=0)),
        int(topology.hops(flow.src, flow.dst).max(initial=0)),
        int(np.bincount(flow.src, minlength=p).max(initial=0)),
        float(np.bincount(flow.src, flow.weight, p).max(initial=0)),
        float(np.bincount(flow.dst, flow.weight, p).max(initial=0)),
        float(np.bincount(flow.dst, weights, p).max(initial=0)),
    )
