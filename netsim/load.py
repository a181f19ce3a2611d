"""What a step puts on the links of a topology, in fractions of the vector."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np

from netsim.topology import TorusTopology, Traffic
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


@lru_cache(maxsize=4)  # a sweep asks for one schedule at many sizes
def phase_loads(
    schedule: Schedule, topology: TorusTopology, ties: str, seed: int = 0
) -> list[tuple[range, list[list[StepLoad]]]]:
    """Phase by phase: its steps, and their loads for every group of parts that runs together.

    In a phase of one step all parts are one group, in a longer one each part is its own. Steps
    of one pattern are computed once.

    Raises:
        ValueError: a schedule for other dimensions than the topology's.
    """
    check_dims(schedule, topology)
    known: dict[Hashable, StepLoad] = {}

    def measure(s: int, part: int | None) -> StepLoad:
        key = schedule.pattern(s), part
        if key not in known:
            step = schedule.step(s) if part is None else schedule.step(s).only(part)
            known[key] = _measure(schedule, step, topology, ties, seed)
        return known[key]

    phases = []
    for _, group in groupby(range(schedule.nsteps), key=schedule.phase):
        steps = list(group)
        alone = range(len(schedule.parts)) if len(steps) > 1 else [None]
        loads = [[measure(s, j) for s in steps] for j in alone]
        phases.append((range(steps[0], steps[-1] + 1), loads))
    return phases


def link_load(
    schedule: Schedule, step: Step, topology: TorusTopology, ties: str, seed: int = 0
) -> np.ndarray:
    """(ndim, 2, size) fraction of the vector that a step puts on every link."""
    units = _units(schedule, step)
    if units is not None:
        return topology.line_load(step.line, units, ties, seed)
    return topology.load(traffic(schedule, step), ties, seed)


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


def _units(schedule: Schedule, step: Step) -> list[float] | None:
    """The fraction of one block for each of the step's lines; None if rows are needed."""
    units = [schedule.unit(row.part) for row in step.line]
    return [u for u in units if u is not None] if units and None not in units else None


def _measure(
    schedule: Schedule, step: Step, topology: TorusTopology, ties: str, seed: int
) -> StepLoad:
    units = _units(schedule, step)
    reduces = isinstance(step.op, np.ndarray) or step.op is Op.REDUCE
    if units is not None:
        sends = sent = received = 0.0
        for j in range(len(topology.dims)):
            per_node = np.zeros((4, topology.dims[j]))
            for row, unit in zip(step.line, units, strict=True):
                if row.dim == j:
                    others = [h.max() for i, h in enumerate(row.held) if i != j and len(h)]
                    share = row.count * unit * np.prod(others, dtype=float)
                    per_node[0] += np.bincount(row.src, row.count > 0, topology.dims[j])
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
