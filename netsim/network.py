"""Network: a topology and its physical numbers; the one place that has units."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from netsim.routing import TIES
from netsim.topology import TorusTopology, topology


@dataclass(frozen=True)
class Network:
    """What links and routers cost. Seconds, bytes, bytes per second; every cost can be 0.

    Args:
        topology: the links.
        bandwidth: of a link, each direction.
        link_latency: of a link.
        router_latency: of a router; a message over h links crosses h + 1.
        injection_latency, ejection_latency: of the links between a node and its router.
        injection_bandwidth, ejection_bandwidth: of these links; None for no limit and no link.
        message_overhead: what a node spends on each message it sends.
        flit_bytes: what a router waits for before it passes a message on.
        packet_bytes: what a message is cut into (packet model).
        gamma: of reducing one byte.
        ties: the rule for messages to a peer half a ring away, see `netsim.routing.TIES`.

    Raises:
        ValueError: a number that is negative or not finite, a bandwidth of 0, an unknown rule.
    """

    topology: TorusTopology
    bandwidth: float
    link_latency: float = 0.0
    router_latency: float = 0.0
    injection_latency: float = 0.0
    ejection_latency: float = 0.0
    injection_bandwidth: float | None = None
    ejection_bandwidth: float | None = None
    message_overhead: float = 0.0
    flit_bytes: int = 0
    packet_bytes: int = 8192
    gamma: float = 0.0
    ties: str = "split"

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("topology", "ties") or value is None:
                continue
            positive = f.name.endswith("bandwidth") or f.name == "packet_bytes"
            if not np.isfinite(value) or value < 0 or (positive and value == 0):
                what = "above 0" if positive else "0 or above"
                raise ValueError(f"{f.name} must be a number {what}, not {value}")
        if self.ties not in TIES:
            raise ValueError(f"ties must be one of {', '.join(TIES)}, not {self.ties!r}")

    def latency(self, hops: int) -> float:
        """Seconds until the first byte of a message over some hops arrives.

        hops·(link + flit) + (hops + 1)·router + injection + ejection (+ a flit on each of
        these links where there is one).
        """
        seconds = hops * self.link_latency + (hops + 1) * self.router_latency
        seconds += (
            self.injection_latency + self.ejection_latency + hops * self.flit_bytes / self.bandwidth
        )
        for link in (self.injection_bandwidth, self.ejection_bandwidth):
            if link is not None:
                seconds += self.flit_bytes / min(link, self.bandwidth)
        return seconds


def paper_network(
    where: TorusTopology | str, bandwidth: float = 50e9, ties: str = "adaptive"
) -> Network:
    """The network of the Swing paper's evaluation [§5]: 400 Gb/s, 100 ns links, 300 ns routers.

    Args:
        where: a topology or its name.
        bandwidth: of a link, bytes per second.
        ties: the rule at half a ring; the paper routes adaptively.
    """
    place = topology(where) if isinstance(where, str) else where
    ports = max(1, 2 * place.ndim)
    return Network(
        place,
        bandwidth,
        link_latency=100e-9,
        router_latency=300e-9,
        injection_latency=100e-9,
        ejection_latency=100e-9,
        injection_bandwidth=ports * bandwidth,
        ejection_bandwidth=ports * bandwidth,
        flit_bytes=256,
        ties=ties,
    )
