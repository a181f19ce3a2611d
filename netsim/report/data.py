"""The data of a report as JSON values: results of netsim, and messages in compressed form.

Messages are listed once for all steps with the same signature. If a step does the same on all lines
of a dimension (`swing.schedules.step.LineRows`), only one line is listed: Σ d_i numbers instead of
one per rank and part. ``run.js`` expands them to the messages of a step, and ``place.js`` finds the
links of each message in the routes that are listed with the network.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from netsim.bounds import schedule_bound
from netsim.report.network import Pairs, axes, describe_network
from netsim.run import Run, row, simulate
from netsim.topologies.topology import Topology
from netsim.traffic.load import link_load
from swing.checks import expect
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Op, Step
from swing.torus import Array

Data = dict[str, Any]

MAX_RANKS = 2**16
MAX_MESSAGES = 10**6
"""The most messages that are listed one by one, over all steps with different signatures."""
SPELT = 40_000
"""The most messages of a schedule for which the report lists the blocks of each message."""
CURVE = "analytic"
"""The model of the curves of time against size: its run time does not grow with the size."""


def check_ranks(topology: Topology) -> None:
    """Raise ValueError if a topology has more ranks than a report shows."""
    if topology.size > MAX_RANKS:
        raise ValueError(f"a report shows {MAX_RANKS} ranks at most: choose a smaller topology")


def describe(
    runs: Sequence[Run],
    sizes: Sequence[int],
    variants: Sequence[Sequence[Schedule]] | None = None,
) -> Data:
    """Return the data of a report, as JSON values.

    Args:
        runs: runs of different schedules, on the same network with the same vector and model.
        sizes: sizes of the vector, in bytes, for the curves of time against size.
        variants: for each run the schedules that its curve considers: at each size it shows the
            fastest. By default only the schedule of the run.

    Raises:
        ValueError: there are no runs, they differ in more than the schedule, ``variants`` is not
            as long as ``runs``, there are too many ranks or messages, or the network breaks ties at
            random.
        TypeError: something in ``runs`` is not a run.
    """
    runs = list(runs)
    if not runs:
        raise ValueError("a report needs at least one algorithm")
    for run in runs:
        expect(run, Run, "a list of runs, the results of netsim.simulate")
    network, nbytes, model = runs[0].network, runs[0].nbytes, runs[0].model
    if any((run.network, run.nbytes, run.model) != (network, nbytes, model) for run in runs):
        raise ValueError("the runs of a report must have one network, one size and one model")
    check_ranks(network.topology)
    if network.ties == "random":
        raise ValueError("a report cannot show random ties: choose adaptive or split")
    pairs: Pairs = [set() for _ in axes(network.topology)]
    # This also fills `pairs` for `describe_network`.
    described = [_run(run, pairs) for run in runs]
    return {
        "place": describe_network(network, pairs),
        "nbytes": nbytes,
        "model": model,
        "ties": network.ties,
        "lower_bound": _least(runs, nbytes),
        "runs": described,
        "curves": _curves(
            runs, sizes, [[run.schedule] for run in runs] if variants is None else variants
        ),
    }


def _curves(
    runs: Sequence[Run], sizes: Sequence[int], variants: Sequence[Sequence[Schedule]]
) -> Data:
    """Seconds at each size of the fastest schedule of each run, and the variant if it has some."""
    if len(variants) != len(runs):
        raise ValueError(f"{len(runs)} runs need as many lists of variants, not {len(variants)}")
    least = [_least(runs, n) for n in sizes]
    fastest = [
        [
            min((simulate(s, run.network, n, CURVE).seconds, s.variant) for s in schedules)
            for n in sizes
        ]
        for run, schedules in zip(runs, variants, strict=True)
    ]
    return {
        "model": CURVE,
        "sizes": list(sizes),
        "lower_bound": None if None in least else least,
        "seconds": [[seconds for seconds, _ in curve] for curve in fastest],
        "variants": [
            [variant for _, variant in curve] if len(schedules) > 1 else None
            for curve, schedules in zip(fastest, variants, strict=True)
        ],
    }


def _least(runs: Sequence[Run], nbytes: int) -> float | None:
    """Seconds that the collective of all runs takes at least.

    None if they have different collectives, or one that has no known bound. Schedules may cut the
    vector into blocks of other sizes and so have other bounds; the least one holds for all.
    """
    bounds = [schedule_bound(run.network, nbytes, run.schedule) for run in runs]
    known = [bound for bound in bounds if bound is not None]
    alike = len({run.schedule.collective for run in runs}) == 1
    return min(known) if alike and len(known) == len(bounds) else None


def _run(run: Run, pairs: Pairs) -> Data:
    schedule, network = run.schedule, run.network
    number: dict[Hashable, int] = {}
    patterns: list[Data] = []
    steps: list[Data] = []
    listed = counted = 0
    for s in range(schedule.nsteps):
        key = schedule.signature(s)
        if key not in number:
            number[key] = len(patterns)
            patterns.append(_pattern(schedule, s))
            _add_pairs(pairs, run, s)
            listed += len(patterns[-1].get("src", ()))
            if listed > MAX_MESSAGES:
                raise ValueError(
                    f"{schedule.name} on {schedule.torus} has more than {MAX_MESSAGES} different "
                    "messages, too many for a page: choose a smaller topology"
                )
        # Counting stops above the limit, because it lists the messages of a large step.
        counted += len(schedule.step(s)) if counted <= SPELT else 0
        load = run.nbytes * link_load(schedule, s, network)
        slowest = int((load / network.bandwidths).argmax()) if load.size else -1
        most = float(load[slowest]) if load.size else 0.0
        shown = {"pattern": number[key], "op": _ops(schedule, s), "busiest": slowest, "bytes": most}
        steps.append(shown)
    torus = schedule.torus
    if counted <= SPELT:
        for described, step in zip(steps, schedule, strict=True):
            described["blocks"] = _spell(step)
    return {
        "name": schedule.name,
        "variant": schedule.variant,
        "collective": schedule.collective,
        "nblocks": schedule.nblocks,
        "ranks": None if (torus.rank_of == torus.ranks).all() else torus.rank_of.tolist(),
        "parts": len(schedule.parts),
        "seconds": run.seconds,
        "ends": np.cumsum(run.step_seconds).tolist(),
        "goodput_gbps": row(run)["goodput_gbps"],
        "congestion": run.congestion,
        "patterns": patterns,
        "steps": steps,
    }


def _pattern(schedule: Schedule, s: int) -> Data:
    """Describe the messages of a step: by lines if all lines are alike, else one by one."""
    lines = schedule.lines(s)
    units = [schedule.unit(line.part) for line in lines or ()]
    if lines and None not in units:
        return {"lines": [_line(a, u) for a, u in zip(lines, units, strict=True) if u]}
    step, node_of = schedule.step(s), schedule.torus.node_of
    return {
        "src": node_of[step.src].tolist(),
        "dst": node_of[step.dst].tolist(),
        "part": _short(step.part),
        "share": _short(schedule.share(step)),
    }


def _add_pairs(pairs: Pairs, run: Run, s: int) -> None:
    """Add the pairs of nodes between which the messages of a step go, along each of the `axes`."""
    shape, lines = axes(run.network.topology), run.schedule.lines(s)
    if lines and len(shape) == len(run.schedule.torus.dims):
        for line in lines:
            pairs[line.dim].update(zip(line.src.tolist(), line.dst.tolist(), strict=True))
        return
    step, node_of = run.schedule.step(s), run.schedule.torus.node_of
    src, dst = (np.unravel_index(node_of[ranks], shape) for ranks in (step.src, step.dst))
    for along, *ends in zip(pairs, src, dst, strict=True):
        along.update(map(tuple, np.unique(np.stack(ends, axis=1), axis=0).tolist()))


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
    """Return a list, or a single number if all values are equal."""
    same = len(values) > 0 and bool((values == values[0]).all())
    return values[0].item() if same else values.tolist()


def _ops(schedule: Schedule, s: int) -> str:
    """Return one character for all messages, or one per message."""
    lines = schedule.lines(s)
    # Lines that all reduce, or all copy, save listing the messages of a large step.
    reduces = [line.reduces for line in lines or ()]
    if not reduces or len(set(reduces)) > 1:
        reduces = schedule.step(s).reduces.tolist() or [True]
    ops = [(Op.REDUCE if each else Op.COPY).value for each in reduces]
    return ops[0] if len(set(ops)) == 1 else "".join(ops)


def _spell(step: Step) -> str:
    """Return the blocks of all messages, as ``0-3,8;4;…``."""
    blocks = step.blocks
    if blocks.starts is not None:
        first, last = blocks.starts, blocks.starts + blocks.counts - 1
        return ";".join(map(_range, first.tolist(), last.tolist()))
    return ";".join(map(_ranges, map(blocks.__getitem__, range(len(blocks)))))


def _ranges(blocks: slice | Array) -> str:
    if isinstance(blocks, slice):
        return _range(blocks.start, blocks.stop - 1)
    runs = np.split(blocks, np.flatnonzero(np.diff(blocks) != 1) + 1)
    return ",".join(_range(int(run[0]), int(run[-1])) for run in runs)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
