"""Network: a topology and its physical numbers; the one place that has units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np

from netsim.checks import check_number
from netsim.topologies.graph import GraphTopology
from netsim.topologies.names import Topology, topology
from netsim.topologies.ties import TIES

ARRIVALS = ("tail", "head")


@dataclass(frozen=True, eq=False)
class Network:
    """What links and routers cost. Seconds, bytes, bytes per second; every cost can be 0.

    Args:
        topology: the links.
        bandwidth: of a link, each direction.
        link_latency: of a link.
        router_latency: of a router; a message over h links crosses h + 1.
        injection_latency: of the link between a node and its router.
        ejection_latency: of the link between a router and its node.
        injection_bandwidth: of that link; None for no limit and no link.
        ejection_bandwidth: of that link; None for no limit and no link.
        message_overhead: what a node spends on each message it sends, one after the other.
        receive_overhead: what a node spends on each message it receives; those of a step come
            together, so that each counts when the node is through with all.
        flit_bytes: what a router waits for before it passes a message on.
        packet_bytes: what a message is cut into (packet model).
        header_bytes: ahead of every message, cut into packets with it (packet model).
        buffer_bytes: what the router behind a link can hold of what came over it, in whole flits;
            None for no bound (packet model).
        arrival: what of a packet has to be there before it goes on and counts: "tail", or "head",
            see `netsim.models.packet` (packet model).
        gamma: of reducing one byte. Parts that do not run in lockstep reduce, as they receive, at
            the same time.
        ties: the rule for messages to a peer half a ring away, see `netsim.topologies.ties.TIES`.
        slow: the fraction of its bandwidth that the link from one node to another has left.

    Raises:
        ValueError: a number that is negative or not finite, a bandwidth of 0, an unknown rule,
            a slow link that is not there.
    """

    topology: Topology
    bandwidth: float
    link_latency: float = 0.0
    router_latency: float = 0.0
    injection_latency: float = 0.0
    ejection_latency: float = 0.0
    injection_bandwidth: float | None = None
    ejection_bandwidth: float | None = None
    message_overhead: float = 0.0
    receive_overhead: float = 0.0
    flit_bytes: int = 0
    packet_bytes: int = 8192
    header_bytes: int = 0
    buffer_bytes: int | None = None
    arrival: str = "tail"
    gamma: float = 0.0
    ties: str = "split"
    slow: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.topology, Topology):
            raise TypeError(f"pass netsim.topology('torus:8x8') or the like, not {self.topology!r}")
        for f in fields(self):
            value = getattr(self, f.name)
            other = f.name in ("topology", "arrival", "ties", "slow")
            if other or (value is None and f.default is None):
                continue
            check_number(f.name, value, f.name.endswith("bandwidth") or f.name == "packet_bytes")
        for name, known in (("ties", TIES), ("arrival", ARRIVALS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        for pair, left in self.slow.items():
            check_number(f"what the slow link {pair} keeps", left, positive=True)
            if not (self.topology.ends == pair).all(axis=1).any():
                raise ValueError(f"there is no link {pair[0]}→{pair[1]} in {self.topology.name}")

    @property
    def uniform(self) -> bool:
        """Whether all links have the network's bandwidth."""
        return not self.slow and not isinstance(self.topology, GraphTopology)

    @cached_property
    def bandwidths(self) -> np.ndarray:
        """(nlinks,) of every link."""
        rates = np.full(self.topology.nlinks, self.bandwidth)
        if isinstance(self.topology, GraphTopology):
            given = self.topology.bandwidth
            rates = np.where(np.isnan(given), rates, given)
        for pair, left in self.slow.items():
            rates[(self.topology.ends == pair).all(axis=1)] *= left
        return rates

    @cached_property
    def hop_latencies(self) -> np.ndarray:
        """(nlinks,) from the first byte on a link to the first byte out of the router behind it."""
        return (
            self.credit_latencies
            + self.topology.router * self.router_latency
            + self.flit_bytes / self.bandwidths
        )

    @cached_property
    def credit_latencies(self) -> np.ndarray:
        """(nlinks,) a link's own latency: how soon it knows that the buffer behind it has room."""
        place = self.topology
        wire = place.wire * self.link_latency
        if isinstance(place, GraphTopology):
            wire = np.where(np.isnan(place.latency), wire, place.latency)
        return wire

    @property
    def end_latency(self) -> float:
        """What every message pays at its ends: injection, the first router, ejection."""
        seconds = self.injection_latency + self.ejection_latency
        seconds += self.topology.first_router * self.router_latency
        for link in (self.injection_bandwidth, self.ejection_bandwidth):
            if link is not None:
                seconds += self.flit_bytes / min(link, self.bandwidth)
        return seconds

    def latency(
        self, hops: float, wire: float | None = None, routers: float | None = None
    ) -> float:
        """Seconds until the first byte of a message over some hops arrives.

        hops·(link + flit) + (hops + 1)·router + injection + ejection (+ a flit on each of
        these links where there is one). Wires and routers are as many as hops if not given.
        """
        return (
            self.end_latency
            + (hops if wire is None else wire) * self.link_latency
            + (hops if routers is None else routers) * self.router_latency
            + hops * self.flit_bytes / self.bandwidth
        )


def paper_network(
    where: Topology | str, bandwidth: float = 50e9, ties: str = "adaptive"
) -> Network:
    """The network of the Swing paper's evaluation [§5]: 400 Gb/s, 100 ns links, 300 ns routers.

    The paper does not tell its buffers: they are what keeps a link busy, four packets at 400 Gb/s.
    It simulated with SST, whose network interface (firefly, `nicSendMachine.cc`) puts a header
    before every message, and whose routers and links (merlin) hand packets over with their heads.
    The header is some tens of bytes; any from 1 to 256 gives the same times to 0.03 %.

    Args:
        where: a topology or its name.
        bandwidth: of a link, bytes per second.
        ties: the rule at half a ring; the paper routes adaptively.
    """
    place = topology(where) if isinstance(where, str) else where
    if not isinstance(place, Topology):
        raise TypeError(f"pass a topology or its name, such as 'torus:8x8', not {where!r}")
    check_number("bandwidth", bandwidth, positive=True)
    ports = max(1, 2 * place.ndim)
    link, router, flit, packet = 100e-9, 300e-9, 256, 8192
    # Credits: a link can be kept busy by one stream if a buffer holds what it carries until the
    # first packet goes on and its credit is back.
    rows = [place] if isinstance(place, GraphTopology) else place.rows  # a row has all kinds
    longest = max(float((r.wire * link + r.router * router).max(initial=0.0)) for r in rows)
    busy = (longest + flit / bandwidth + link) * bandwidth
    return Network(
        place,
        bandwidth,
        link_latency=link,
        router_latency=router,
        injection_latency=link,
        ejection_latency=link,
        injection_bandwidth=ports * bandwidth,
        ejection_bandwidth=ports * bandwidth,
        flit_bytes=flit,
        packet_bytes=packet,
        header_bytes=32,
        arrival="head",
        buffer_bytes=packet * max(2, math.ceil(busy / packet)),
        ties=ties,
    )
