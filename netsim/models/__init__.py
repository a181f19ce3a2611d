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
    from netsim.models.packet import PacketRules, packet_times

    messages, links = messages_of(schedule, network, nbytes, options, oriented=True)
    # A header precedes every message, and is cut into packets with it.
    messages = replace(messages, nbytes=messages.nbytes + network.header_bytes)
    rules = PacketRules(
        packet_bytes=network.packet_bytes,
        flit_bytes=network.flit_bytes,
        message_overhead=network.message_overhead + network.post_gap,
        packet_gap=network.packet_gap,
        injection_bandwidth=network.injection_bandwidth,
        ejection_bandwidth=network.ejection_bandwidth,
        injection_latency=network.injection_latency
        + network.topology.first_router * network.router_latency,
        ejection_latency=network.ejection_latency,
        crossbar_bandwidth=network.crossbar_bandwidth,
        arbitration=network.arbitration,
        virtual_channels=network.virtual_channels,
        buffer_bytes=network.buffer_bytes,
        adaptive=network.ties == "adaptive",
        local=options.sync == "local",
        bucket=0.0 if network.arrival == "head" else None,
    )
    times = packet_times(messages, links, rules)
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


def own_sync(model: str) -> str:
    """The rule of `netsim.traffic.message_graph.SYNC` that a model follows unless told otherwise.

    In the packet model a send is done when it is posted, because the door of a node keeps messages
    in order. Flows have no order, and those of a later step would take bandwidth from an earlier
    one: there a send is done when all its bytes are under way, so that the latency of a message
    does not keep its sender. The analytic model has steps only, and ignores the rule.
    """
    return {"packet": "receives", "flow": "local"}.get(model, "rank")


def load(model: str) -> None:
    """Import the compiled code of a model, which is otherwise imported at its first use.

    Child processes that are forked afterwards need not import it again.

    Args:
        model: a key of `MODELS`.
    """
    import_module(f"netsim.models.{model}")
