"""How long `netsim`'s packets take where links are token buckets and sends are acknowledged.

`netsim.simulate` lets a packet arrive when its time on the link ends, and a send be over when its
message has arrived. Two things are otherwise here, both by construction, neither fitted:

- A token bucket (`namespaces.shaping`) lets a packet go when its time on the link begins, and keeps
  the link busy until that ends, and a link at rest saves up a little: netsim's packets can do that.
- MPICH over libfabric's tcp provider reports a send as done when the receiver has acknowledged it.
  The acknowledgement is a small message that queues behind what the receiver itself is sending;
  so of two that exchange equal messages neither goes on before these have been paid in full.

The network's bandwidth has the headers of full packets taken off; a message and an acknowledgement
have those of one packet more, which is not full.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpi_bench.emulate.calibrate import HEADERS
from mpi_bench.emulate.namespaces import saved
from netsim.models import step_seconds
from netsim.models.packet import packet_times
from netsim.network import Network
from netsim.traffic.message_graph import RunOptions, messages_of
from netsim.traffic.messages import Messages
from swing.schedules.schedule import Schedule
from swing.torus import Array

MESSAGE, ACKNOWLEDGEMENT = 17 + HEADERS, 40 + HEADERS
"""Bytes that a message has besides its own, and those of an acknowledgement: what the provider
needs (by the links' counters 57 together, and nothing else per message), and a packet's headers."""


def predict(schedule: Schedule, network: Network, nbytes: int) -> float:
    """Seconds of a schedule on an emulated torus.

    Args:
        schedule: run by our executor, a step's messages together, ranks on their own.
        network: by `mpi_bench.emulate.calibrate.Calibration.network`.
        nbytes: of the vector on each rank.
    """
    # The executor waits for all of a step, whichever part it belongs to.
    schedule = replace(schedule, sync_phase=lambda s: s)
    data, links = messages_of(schedule, network, nbytes, RunOptions(sync="rank", fold=False))
    both = _acknowledged(data, network)
    times = packet_times(
        both, links.bandwidth, links.latency,
        packet_bytes=network.packet_bytes, message_overhead=network.message_overhead,
        bucket=saved(network.topology.nlinks),
    )  # fmt: skip
    return float(step_seconds(schedule, both, times).sum())


def _acknowledged(data: Messages, network: Network) -> Messages:
    """The same, and for every message one back, which its sender waits for in its stead."""
    m, ngroups = len(data), len(data.pending_count)
    arrived = ngroups + np.arange(m)  # a group for each message, which gates its acknowledgement
    none = np.full(m, -1)
    place = network.topology
    back = place.ways(data.dst, data.src, network.ties)
    nways, nlinks = len(data.share), len(data.links)
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
        way_ptr=np.append(data.way_ptr, nways + np.cumsum(np.bincount(back.message, minlength=m))),
        share=np.concatenate([data.share, back.share]),
        link_ptr=np.append(data.link_ptr, nlinks + back.ptr[1:]),
        links=_both(data.links, back.links),
        latency=np.concatenate([data.latency, np.zeros(len(back.share))]),
        cost=np.concatenate([data.cost, zeros]) + network.end_latency,
    )


def _both(first: Array, second: Array) -> Array:
    return np.concatenate([first, second])
