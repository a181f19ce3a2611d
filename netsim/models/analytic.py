"""Analytic: steps in lockstep, each as long as its longest latency and its busiest link need.

    T = Σ over steps of  o_s·sends + o_r·receives + latency
                         + n·max(busiest link, sent/B_in, received/B_out) + γ·n·reduced

with the overheads o of a message at its sender and receiver, and the step's figures, the most of
one rank in every term, from `netsim.traffic.load.StepLoad`. Steps that repeat a pattern are
computed once and lines of a torus that carry the same are computed once, so that a million ranks
take seconds.

A phase of several steps, in which parts do not run in lockstep (`Schedule.sync_phase`), lasts as
long as its slowest part, and longer where the parts together put more on some link, or on the nodes
that send them. Skew adds the latest start, slow ranks the largest delay to every step.

Left out: messages that reach a shared link at different times and do not meet. For symmetric
schedules it equals max-min fair sharing; for vectors of a few KiB a rank on long dimensions it
is too slow.
"""

from __future__ import annotations

import numpy as np

from netsim.network import Network
from netsim.traffic.load import StepLoad, phase_loads
from netsim.traffic.message_graph import RunOptions
from swing.schedules.schedule import Schedule


def analytic(schedule: Schedule, network: Network, nbytes: int, options: RunOptions) -> np.ndarray:
    """(nsteps,) seconds of every step; all wait for the rank that starts or works last."""
    p = schedule.torus.size
    delay = float(options.delays(p).max()) if options.delay else 0.0
    seconds = np.zeros(schedule.nsteps)
    known: dict[int, float] = {}  # steps of one pattern have one load
    for steps, groups, _, drain in phase_loads(schedule, network, options.seed):
        if len(steps) == 1:
            load = groups[0][0]
            if id(load) not in known:
                known[id(load)] = _seconds(load, network, nbytes, delay)
            seconds[steps.start] = known[id(load)]
            continue
        here = slice(steps.start, steps.stop)
        times = [[_seconds(load, network, nbytes, delay) for load in loads] for loads in groups]
        slowest = int(np.argmax([sum(t) for t in times]))
        seconds[here] = times[slowest]
        # Where groups share links, or a node's own, these need longer than any group alone.
        every = [load for loads in groups for load in loads]
        total = max(
            drain, _ends(network, sum(x.sent for x in every), sum(x.received for x in every))
        )
        missing = total - sum(_drain(load, network) for load in groups[slowest])
        seconds[here] += max(0.0, missing) * nbytes / len(steps)
        work = network.message_overhead * sum(load.sends for load in every)
        seconds[here] += max(0.0, work - seconds[here].sum()) / len(steps)
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
    """Seconds per byte of the vector until the slowest link has carried its share."""
    return max(load.drain, _ends(network, load.sent, load.received))


def _ends(network: Network, sent: float, received: float) -> float:
    """Seconds per byte of the vector that the links between node and router need."""
    into, out = network.injection_bandwidth, network.ejection_bandwidth
    return max(sent / into if into else 0.0, received / out if out else 0.0)
