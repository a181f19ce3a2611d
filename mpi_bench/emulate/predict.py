"""Predict times on an emulated torus: netsim's packet model, token buckets and acknowledgements.

In `netsim.simulate` a packet arrives when its time on the link ends, and a send completes when its
message has arrived. The emulation differs in two ways, both by construction and neither fitted:

- A token bucket (`namespaces.shaping`) releases a packet when its time on the link begins, and
  keeps the link busy until that time ends; an idle link saves up a little. netsim's packet model
  has an option for this.
- MPICH over libfabric's tcp provider completes a send when the receiver has acknowledged it. The
  acknowledgement is a small message that queues behind the receiver's own messages. So if two ranks
  exchange equal messages, neither continues before both have been transmitted in full.

The network's bandwidth already accounts for the headers of full packets. Each message and each
acknowledgement adds the headers of one further packet, which is not full.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpi_bench.emulate.calibrate import HEADERS
from mpi_bench.emulate.namespaces import saved
from netsim.models.packet import PacketRules, packet_times
from netsim.network import Network
from netsim.traffic.message_graph import RunOptions, messages_of, step_seconds
from netsim.traffic.messages import Messages
from swing.schedules.schedule import Schedule
from swing.torus import Array

MESSAGE, ACKNOWLEDGEMENT = 17 + HEADERS, 40 + HEADERS
"""Additional bytes of a message, and bytes of an acknowledgement: the provider's own (the links'
counters show 57 bytes for both together, and no others per message), and a packet's headers."""


def predict(schedule: Schedule, network: Network, nbytes: int) -> float:
    """Return the predicted seconds of a schedule on an emulated torus.

    Args:
        schedule: a schedule that our executor runs: it sends all messages of a step together, and
            ranks do not wait for each other beyond the messages.
        network: from `mpi_bench.emulate.calibrate.Calibration.network`.
        nbytes: size of the vector on each rank.
    """
    # The executor waits for all messages of a step, so the parts are synchronised in every step.
    schedule = replace(schedule, phases=lambda s: s)
    data, links = messages_of(schedule, network, nbytes, RunOptions(sync="rank", fold=False))
    both = _acknowledged(data, network)
    times = packet_times(
        both,
        links,
        PacketRules(
            packet_bytes=network.packet_bytes,
            message_overhead=network.message_overhead,
            # The kernel queues the packets of a node's messages in turn.
            packet_gap=network.packet_bytes / network.bandwidth,
            bucket=saved(network.topology.nlinks),
        ),
    )
    return float(step_seconds(schedule, both, times).sum())


def _acknowledged(data: Messages, network: Network) -> Messages:
    """Add an acknowledgement per message, for which the sender waits instead of the message."""
    m, ngroups = len(data), len(data.pending_count)
    # A new group per message: complete when the message arrives, it starts the acknowledgement.
    arrived = ngroups + np.arange(m)
    none = np.full(m, -1)
    back = network.topology.routes(data.dst, data.src, network.ties)
    routes_back = np.bincount(back.message, minlength=m)
    nroutes, nlinks = len(data.share), len(data.links)
    zeros = np.zeros(m)
    return Messages(
        src=_both(data.src, data.dst),
        dst=_both(data.dst, data.src),
        nbytes=np.concatenate([data.nbytes + MESSAGE, np.full(m, float(ACKNOWLEDGEMENT))]),
        step=_both(data.step, data.step),
        waits_for=_both(data.waits_for, arrived),
        ready=np.concatenate([data.ready, zeros]),
        signals=np.concatenate(
            [np.stack([data.signals[:, 0], arrived], 1), np.stack([data.signals[:, 1], none], 1)]
        ),
        pending_count=_both(data.pending_count, np.ones(m, dtype=np.int64)),
        successor=_both(data.successor, none),
        route_ptr=np.append(data.route_ptr, nroutes + np.cumsum(routes_back)),
        share=np.concatenate([data.share, back.share]),
        link_ptr=np.append(data.link_ptr, nlinks + back.ptr[1:]),
        links=_both(data.links, back.links),
        latency=np.concatenate([data.latency, np.zeros(len(back.share))]),
        # No message waits for another one's last packet, however short, to have had its turn.
        peer=np.arange(2 * m),
        cost=np.concatenate([data.cost, zeros]) + network.end_latency,
    )


def _both(first: Array, second: Array) -> Array:
    return np.concatenate([first, second])
