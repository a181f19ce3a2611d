"""Analytic model: steps run in lockstep, and each costs its longest latency plus its busiest link.

    T = Σ over steps of  o_s·sends + o_r·receives + latency
                         + n·max(busiest link, sent/B_in, received/B_out) + γ·n·reduced

Here n is the size of the vector, o_s and o_r are the overheads of a message at its sender and its
receiver, B_in and B_out the injection and ejection bandwidths, and γ the time to reduce a byte. The
figures of a step come from `netsim.traffic.load.StepLoad`, per byte of the vector; each is a
maximum over ranks, links or routes. Steps that repeat a pattern are computed once, and so are lines
of a torus that carry the same traffic, so that a million ranks take seconds.

In a phase of several steps the parts of the schedule do not run in lockstep
(`Schedule.sync_phase`). It lasts as long as its slowest part, and longer if the parts together load
some link, or some sending node, more than that. Skew adds the latest start, and slow ranks add the
largest delay to every step.

Left out: messages may cross a shared link at different times, and so not slow each other down.
For symmetric schedules the model equals max-min fair sharing. For vectors of a few KiB per rank on
long dimensions it overestimates the time.
"""

from __future__ import annotations

import numpy as np

from netsim.network import Network
from netsim.traffic.load import StepLoad, phase_loads
from netsim.traffic.message_graph import RunOptions
from swing.schedules.schedule import Schedule


def analytic(schedule: Schedule, network: Network, nbytes: int, options: RunOptions) -> np.ndarray:
    """(nsteps,) seconds of every step; all ranks wait for the last to start and the slowest.

    Args:
        schedule: the steps.
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.
        options: seed, skew and delay count; the model has no other rules of synchronization.
    """
    p = schedule.torus.size
    delay = float(options.delays(p).max()) if options.delay else 0.0
    seconds = np.zeros(schedule.nsteps)
    cache: dict[int, float] = {}  # by identity: steps of one pattern share one StepLoad object
    for steps, groups, _, drain in phase_loads(schedule, network, options.seed):
        if len(steps) == 1:
            load = groups[0][0]
            if id(load) not in cache:
                cache[id(load)] = _seconds(load, network, nbytes, delay)
            seconds[steps.start] = cache[id(load)]
            continue
        phase = slice(steps.start, steps.stop)
        times = [[_seconds(load, network, nbytes, delay) for load in loads] for loads in groups]
        slowest = int(np.argmax([sum(t) for t in times]))
        seconds[phase] = times[slowest]
        # Groups may share links or a node's injection link, which then take longer for all groups
        # together than for the slowest one. The difference is spread over the steps.
        every = [load for loads in groups for load in loads]
        total = max(
            drain, _ends(network, sum(x.sent for x in every), sum(x.received for x in every))
        )
        excess = total - sum(_drain(load, network) for load in groups[slowest])
        seconds[phase] += max(0.0, excess) * nbytes / len(steps)
        # Likewise a node works on the messages of all groups, one after the other.
        work = network.message_overhead * sum(load.sends for load in every)
        seconds[phase] += max(0.0, work - seconds[phase].sum()) / len(steps)
    if options.skew and schedule.nsteps:
        seconds[0] += options.starts(p).max()
    return seconds


def _seconds(load: StepLoad, network: Network, nbytes: int, delay: float) -> float:
    if not load.sends:
        return 0.0
    return (
        network.message_overhead * load.sends
        + network.receive_overhead * load.receives
        + load.latency
        + nbytes * (_drain(load, network) + network.gamma * load.reduced)
        + delay
    )


def _drain(load: StepLoad, network: Network) -> float:
    """Seconds per byte of the vector until every link and every node's own links are done."""
    return max(load.drain, _ends(network, load.sent, load.received))


def _ends(network: Network, sent: float, received: float) -> float:
    """Seconds per byte of the vector that the links between a node and its router need."""
    injection, ejection = network.injection_bandwidth, network.ejection_bandwidth
    return max(sent / injection if injection else 0.0, received / ejection if ejection else 0.0)
