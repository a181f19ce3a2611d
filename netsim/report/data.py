"""What a report tells, as plain data: numbers of netsim, and messages in their shortest form.

Messages are listed once for all steps that have the same pattern. Where a step does the same on
all lines of a dimension (`swing.schedules.step.LineRows`) only that line is listed, Σ d_i numbers
in the place of p·parts; ``model.js`` makes the messages of a step from them, and finds their links
by the ways listed with the place.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from netsim.bounds import lower_bound
from netsim.report.network import Pairs, describe_place
from netsim.run import Run, simulate
from netsim.traffic.load import link_load
from swing.schedules.blocks import BlockRange
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Op, Step
from swing.torus import Array

Data = dict[str, Any]

MAX_RANKS = 2**16
MAX_MESSAGES = 10**6
"""Messages that may be listed one by one, of all patterns of a schedule."""
SPELT = 40_000
"""Messages of a schedule up to which the blocks of each are told."""
CURVE = "analytic"
"""The model of the curves over sizes: it takes no longer for large vectors."""


def describe(runs: Sequence[Run], sizes: Sequence[int]) -> Data:
    """All that a report of some runs shows.

    Args:
        runs: of different schedules on the same network, with the same vector.
        sizes: of the vector, in bytes, for the curves of time against size.

    Raises:
        ValueError: no runs, runs that differ in more than the schedule, too many ranks or
            messages, ties that each message settles for itself.
    """
    if not runs:
        raise ValueError("a report needs at least one algorithm")
    network, nbytes, model = runs[0].network, runs[0].nbytes, runs[0].model
    if any((run.network, run.nbytes, run.model) != (network, nbytes, model) for run in runs):
        raise ValueError("the runs of a report have one network, one size and one model")
    if network.topology.size > MAX_RANKS:
        raise ValueError(f"a report shows {MAX_RANKS} ranks at most: choose a smaller topology")
    if network.ties == "random":
        raise ValueError("a report needs ties that do not change: choose adaptive or split")
    pairs: Pairs = [set() for _ in network.topology.dims]
    told = [_run(run, pairs) for run in runs]
    return {
        "place": describe_place(network, pairs),
        "nbytes": nbytes,
        "model": model,
        "bandwidth_gbps": network.bandwidth * 8 / 1e9,
        "ties": network.ties,
        "lower_bound": lower_bound(network, nbytes),
        "runs": told,
        "curves": {
            "model": CURVE,
            "sizes": list(sizes),
            "lower_bound": [lower_bound(network, n) for n in sizes],
            "seconds": [
                [simulate(run.schedule, network, n, CURVE).seconds for n in sizes] for run in runs
            ],
        },
    }


def _run(run: Run, pairs: Pairs) -> Data:
    schedule, network = run.schedule, run.network
    number: dict[Hashable, int] = {}
    patterns: list[Data] = []
    steps: list[Data] = []
    listed = told = 0
    for s, step in enumerate(schedule):
        key = schedule.signature(s)
        if key not in number:
            number[key] = len(patterns)
            patterns.append(_pattern(schedule, step, pairs))
            listed += len(step) if "src" in patterns[-1] else 0
            if listed > MAX_MESSAGES:
                raise ValueError(
                    f"{schedule.name} on {schedule.torus} has more than {MAX_MESSAGES} different "
                    "messages, too many for a page: choose a smaller topology"
                )
        told += len(step) if told <= SPELT else 0
        load = run.nbytes * link_load(schedule, s, network)
        slowest = int((load / network.bandwidths).argmax()) if load.size else -1
        steps.append(
            {
                "pattern": number[key],
                "op": _ops(step),
                "busiest": slowest,
                "bytes": float(load[slowest]) if load.size else 0.0,
            }
        )
    torus = schedule.torus
    if told <= SPELT:
        for about, step in zip(steps, schedule, strict=True):
            about["blocks"] = _spell(step)
    return {
        "name": schedule.name,
        "variant": schedule.variant,
        "collective": schedule.collective,
        "nblocks": schedule.nblocks,
        "ranks": None if (torus.rank_of == torus.ranks).all() else torus.rank_of.tolist(),
        "parts": len(schedule.parts),
        "seconds": run.seconds,
        "ends": np.cumsum(run.step_seconds).tolist(),
        "goodput_gbps": run.goodput * 8 / 1e9 if run.seconds else None,
        "congestion": run.congestion,
        "patterns": patterns,
        "steps": steps,
    }


def _pattern(schedule: Schedule, step: Step, pairs: Pairs) -> Data:
    """Who sends how much to whom: by lines where they are all alike, else message by message."""
    units = [schedule.unit(line.part) for line in step.line]
    if step.line and None not in units:
        for line in step.line:
            pairs[line.dim].update(zip(line.src.tolist(), line.dst.tolist(), strict=True))
        return {"lines": [_line(a, u) for a, u in zip(step.line, units, strict=True) if u]}
    torus = schedule.torus
    src, dst = torus.node_of[step.src], torus.node_of[step.dst]
    ends = np.stack([np.unravel_index(nodes, torus.dims) for nodes in (src, dst)])
    for j, known in enumerate(pairs):
        known.update(map(tuple, np.unique(ends[:, j].T, axis=0).tolist()))
    return {
        "src": src.tolist(),
        "dst": dst.tolist(),
        "part": _short(step.part),
        "share": _short(schedule.share(step)),
    }


def _line(line: LineRows, unit: float) -> Data:
    return {
        "part": line.part,
        "dim": line.dim,
        "src": line.src.tolist(),
        "dst": line.dst.tolist(),
        "sent": _short(line.sent),
        "held": [_short(h) if j != line.dim else 1 for j, h in enumerate(line.pending)],
        "unit": unit,
    }


def _short(values: Array | np.ndarray) -> Any:
    """One number where all are the same."""
    same = len(values) > 0 and bool((values == values[0]).all())
    return values[0].item() if same else values.tolist()


def _ops(step: Step) -> str:
    """One character for all messages, or one for each."""
    return step.op.value if isinstance(step.op, Op) else "".join(op.value for op in step.op)


def _spell(step: Step) -> str:
    """The blocks of every message, as ``0-3,8;4;…``."""
    blocks = step.blocks
    if isinstance(blocks, BlockRange):
        first, last = blocks.start, blocks.start + blocks.count - 1
        return ";".join(map(_range, first.tolist(), last.tolist()))
    return ";".join(map(_ranges, map(blocks.__getitem__, range(len(blocks)))))


def _ranges(blocks: slice | Array) -> str:
    if isinstance(blocks, slice):
        return _range(blocks.start, blocks.stop - 1)
    runs = np.split(blocks, np.flatnonzero(np.diff(blocks) != 1) + 1)
    return ",".join(_range(int(run[0]), int(run[-1])) for run in runs)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
