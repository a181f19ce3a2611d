"""Cost models by name: each maps (schedule, network, bytes, options) to the seconds per step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np

from netsim.models import analytic
from netsim.network import Network
from netsim.traffic.message_graph import RunOptions, messages_of, step_seconds, with_ends
from swing.schedules.schedule import Schedule

Model = Callable[[Schedule, Network, int, RunOptions], np.ndarray]


def by_flow(schedule: Schedule, network: Network, nbytes: int, options: RunOptions) -> np.ndarray:
    """(nsteps,) seconds that each step adds, by `netsim.models.flow`."""
    from netsim.models.flow import flow_times

    messages, links = messages_of(schedule, network, nbytes, options)
    messages, links = with_ends(messages, links, network)
    local = options.sync == "local"
    times = flow_times(messages, links.bandwidth, network.message_overhead, local)
    return step_seconds(schedule, messages, times)


def by_packet(schedule: Schedule, network: Network, nbytes: int, options: RunOptions) -> np.ndarray:
    """(nsteps,) seconds that each step adds, by `netsim.models.packet`."""
    from netsim.models.packet import packet_times

    messages, links = messages_of(schedule, network, nbytes, options)
    # The flow model gets end_latency from Messages.latency, which the packet model does not read.
    # A header precedes every message, and is cut into packets with it.
    messages = replace(
        messages,
        cost=messages.cost + network.end_latency,
        nbytes=messages.nbytes + network.header_bytes,
    )
    messages, links = with_ends(messages, links, network)
    times = packet_times(
        messages,
        links.bandwidth,
        links.latency,
        packet_bytes=network.packet_bytes,
        flit_bytes=network.flit_bytes,
        message_overhead=network.message_overhead,
        adaptive=network.ties == "adaptive",
        local=options.sync == "local",
        buffer_bytes=network.buffer_bytes,
        credit_latency=links.credit,
        bucket=0.0 if network.arrival == "head" else None,
    )
    return step_seconds(schedule, messages, times)


MODELS: dict[str, Model] = {"analytic": analytic.analytic, "flow": by_flow, "packet": by_packet}
MEANINGS = {
    "analytic": "lockstep: a step takes its longest latency plus its busiest link; takes seconds "
    "for a million ranks",
    "flow": "messages share links max-min fairly, and each starts when its dependencies allow",
    "packet": "messages are cut into packets that queue at links; the most detailed model and the "
    "slowest",
}
"""What each model simulates."""


def load(model: str) -> None:
    """Import the compiled code of a model, which is otherwise imported at its first use.

    Child processes that are forked afterwards need not import it again.

    Args:
        model: a key of `MODELS`.
    """
    import_module(f"netsim.models.{model}")
