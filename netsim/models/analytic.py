"""Analytic: steps in lockstep, each as long as its longest latency and its busiest link need.

    T = Σ over steps of  o·sends + latency(hops) + n·max(peak/B, sent/B_in, received/B_out)
                         + γ·n·reduced

with the step's figures from `netsim.load.StepLoad` and the network's numbers. Steps that repeat
a pattern are computed once and lines of a torus that carry the same are computed once, so that
a million ranks take seconds.

A phase of several steps, in which parts do not run in lockstep (`Schedule.phase`), lasts as long
as its slowest part, and longer where the parts together put more on some link.

Left out: messages that reach a shared link at different times and do not meet. For symmetric
schedules it equals max-min fair sharing; for vectors of a few KiB a rank on long dimensions it
is too slow.
"""

from __future__ import annotations

import numpy as np

from netsim.load import StepLoad, phase_loads
from netsim.network import Network
from swing.schedule import Schedule


def analytic(
    schedule: Schedule, network: Network, nbytes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of every step and the share of the vector on its busiest link, (nsteps,) each."""
    seconds, peaks = np.zeros(schedule.nsteps), np.zeros(schedule.nsteps)
    for steps, groups, total in phase_loads(schedule, network.topology, network.ties, seed):
        here = slice(steps.start, steps.stop)
        times = [[_seconds(load, network, nbytes) for load in loads] for loads in groups]
        slowest = int(np.argmax([sum(t) for t in times]))
        seconds[here] = times[slowest]
        peaks[here] = [load.peak for load in groups[slowest]]
        # Where groups share links these need longer than any group alone.
        missing = max(0.0, total - peaks[here].sum()) / len(steps)
        peaks[here] += missing
        seconds[here] += missing * nbytes / network.bandwidth
    return seconds, peaks


def _seconds(load: StepLoad, network: Network, nbytes: int) -> float:
    if not load.sends:
        return 0.0
    slowest = load.peak / network.bandwidth
    if network.injection_bandwidth is not None:
        slowest = max(slowest, load.sent / network.injection_bandwidth)
    if network.ejection_bandwidth is not None:
        slowest = max(slowest, load.received / network.ejection_bandwidth)
    return (
        network.message_overhead * load.sends
        + network.latency(load.hops)
        + nbytes * (slowest + network.gamma * load.reduced)
    )
