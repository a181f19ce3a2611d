"""Network: a topology with bandwidths, latencies and other costs.

This is the only place where links have units: seconds, bytes and bytes per second.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from netsim.checks import check_choice, check_number, link_name
from netsim.topologies.lines import first_links
from netsim.topologies.names import named
from netsim.topologies.row import Path
from netsim.topologies.ties import TIES
from netsim.topologies.topology import Topology, most_at_a_node, no_link
from swing.checks import expect, shown

LINK_LATENCY = 100e-9
"""Seconds on a link of the Swing paper's network."""
ARBITRATIONS = ("least_recent", "oldest")
"""Which input of a router's crossbar is served first: by its last service, or by its packet."""
ARRIVALS = ("tail", "head")
"""The part of a packet that must have come before the packet moves on or counts as arrived."""


class LinkCosts(NamedTuple):
    """The costs of links that are alike.

    Args:
        bandwidth: bytes per second.
        latency: seconds on a link of length 1.
    """

    bandwidth: float
    latency: float


@dataclass(frozen=True, eq=False)
class Network:
    """The costs of a topology's links, routers and nodes.

    All are in seconds, bytes or bytes per second, and all but bandwidths and packet_bytes can be 0.

    Args:
        topology: the links.
        bandwidth: bytes per second of a link, in each direction.
        link_latency: seconds on a link.
        router_latency: seconds in a router; a message over h links crosses h + 1 routers.
        injection_latency: seconds on the link from a node to its router.
        ejection_latency: seconds on the link from a router to its node.
        injection_bandwidth: bytes per second of the link from a node to its router; None if there
            is no such link, and no limit.
        ejection_bandwidth: bytes per second of the link from a router to its node; None likewise.
        crossbar_bandwidth: bytes per second of each input and output of a node's router; None if
            the router moves packets at once (packet model).
        arbitration: a rule of `ARBITRATIONS` (packet model).
        virtual_channels: 1, or 2 if packets change their channel where they pass coordinate 0 of a
            ring (packet model).
        message_overhead: seconds of a node's work per message that it sends, one after the other.
        post_gap: seconds from message to message that a node sends, in addition: the time of a call
            (packet model).
        packet_gap: seconds from packet to packet of a message, before they queue at the node's
            injection link (packet model); 0: each as soon as the one before it has left the queue.
        receive_overhead: seconds of a node's work per message that it receives. The messages of a
            step are taken to come together, so each counts when the node has worked on all.
        flit_bytes: bytes that a router waits for before it passes a message on.
        packet_bytes: size of a full packet (packet model).
        header_bytes: bytes ahead of every message, cut into packets with it (packet model).
        buffer_bytes: capacity of a buffer, of which a router has one per input, output and virtual
            channel; used in whole flits; None for no bound (packet model).
        arrival: "tail" or "head", the part of a packet that must have come before the packet moves
            on or counts as arrived, see `netsim.models.packet` (packet model).
        gamma: seconds to reduce one byte. Parts of a schedule that do not run in lockstep receive
            and reduce at the same time.
        ties: the rule for messages to a peer half a ring away, see `netsim.topologies.ties.TIES`.
        slow: (tail, head) of slow links → the fraction of the bandwidth that each has left.

    Raises:
        TypeError: ``topology`` is not a topology.
        ValueError: a number is negative or not finite, a bandwidth or ``packet_bytes`` is 0, a rule
            is unknown, or a slow link does not exist.
    """

    topology: Topology
    bandwidth: float
    link_latency: float = 0.0
    router_latency: float = 0.0
    injection_latency: float = 0.0
    ejection_latency: float = 0.0
    injection_bandwidth: float | None = None
    ejection_bandwidth: float | None = None
    crossbar_bandwidth: float | None = None
    arbitration: str = "least_recent"
    virtual_channels: int = 1
    message_overhead: float = 0.0
    post_gap: float = 0.0
    packet_gap: float = 0.0
    receive_overhead: float = 0.0
    flit_bytes: int = 0
    packet_bytes: int = 8192
    header_bytes: int = 0
    buffer_bytes: int | None = None
    arrival: str = "tail"
    gamma: float = 0.0
    ties: str = "split"
    slow: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def __repr__(self) -> str:
        values = {f.name: repr(getattr(self, f.name)) for f in fields(self)}
        values["slow"] = reprlib.repr(dict(self.slow))  # the first few of many
        return f"Network({', '.join(f'{name}={value}' for name, value in values.items())})"

    def __post_init__(self) -> None:
        expect(self.topology, Topology, "netsim.topology('torus:8x8') or the like")
        for f in fields(self):
            value = getattr(self, f.name)
            not_a_number = f.name in ("topology", "arbitration", "arrival", "ties", "slow")
            if not_a_number or (value is None and f.default is None):
                continue
            check_number(f.name, value, f.name.endswith("bandwidth") or f.name == "packet_bytes")
        check_choice("ties", self.ties, TIES)
        check_choice("arrival", self.arrival, ARRIVALS)
        check_choice("arbitration", self.arbitration, ARBITRATIONS)
        if self.virtual_channels not in (1, 2):
            raise ValueError(
                f"virtual_channels must be 1 or 2, not {shown(self.virtual_channels)}: a packet "
                "changes its channel once per ring"
            )
        expect(self.slow, Mapping, "slow as {(tail, head): fraction of the bandwidth left}")
        links = set(map(tuple, self.topology.ends.tolist())) if self.slow else set()
        for pair, fraction in self.slow.items():
            link = link_name(pair)
            name = f"the fraction left of slow link {link}"
            check_number(name, fraction, positive=True)
            if fraction > 1:
                raise ValueError(f"{name} must be at most 1, not {shown(fraction)}")
            if pair not in links:
                raise no_link(self.topology, pair)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, which are all that is sent to another process."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def uniform(self) -> bool:
        """Whether all links have the network's bandwidth and latency, as far as is known.

        False for graphs, after failures and with slow links.
        """
        owns = self.topology.own_bandwidth, self.topology.own_latency
        return not self.slow and all(own is None for own in owns)

    @cached_property
    def by_dimension(self) -> tuple[LinkCosts, ...] | None:
        """The costs of the links of each dimension.

        None if links of one dimension differ, or if the topology has no rows.
        """
        topology = self.topology
        if not topology.rows or self.slow:
            return None
        usual = LinkCosts(self.bandwidth, self.link_latency)
        if self.uniform:
            return (usual,) * len(topology.rows)
        found = []
        for start, stop in pairwise(first_links(topology.rows)):
            along = slice(start, stop)
            bandwidth = one_value(self.bandwidths[along])
            latency = one_value(self.credit_latencies[along] / topology.wire[along])
            if bandwidth is not None and latency is not None:
                found.append(LinkCosts(bandwidth, latency))
            elif start == stop:
                found.append(usual)
            else:
                return None
        return tuple(found)

    def delay(self, dim: int, path: Path) -> float:
        """Seconds until the first byte of a message has gone along a dimension of `by_dimension`.

        Raises:
            ValueError: links of one dimension differ.
        """
        if self.by_dimension is None:
            raise ValueError(f"{self.topology.name} has links of one dimension that differ")
        bandwidth, latency = self.by_dimension[dim]
        flits = path.hops * self.flit_bytes / bandwidth
        return path.wire * latency + path.routers * self.router_latency + flits

    @cached_property
    def bandwidths(self) -> np.ndarray:
        """(nlinks,) bytes per second of every link."""
        rates = np.full(self.topology.nlinks, self.bandwidth)
        if (own := self.topology.own_bandwidth) is not None:
            rates = np.where(np.isnan(own), rates, own)
        for pair, fraction in self.slow.items():
            rates[(self.topology.ends == pair).all(axis=1)] *= fraction
        return rates

    @cached_property
    def node_rates(self) -> tuple[float, float]:
        """Bytes per second of all links out of a node together, and into one: the most of any."""
        topology = self.topology
        if self.uniform:
            out, into = topology.most_ports
            return out * self.bandwidth, into * self.bandwidth
        return most_at_a_node(topology.ends, topology.size, self.bandwidths)

    @cached_property
    def hop_latencies(self) -> np.ndarray:
        """(nlinks,) seconds from a first byte on the link until it leaves the router behind it."""
        return self.hop_delays + self.flit_bytes / self.bandwidths

    @cached_property
    def hop_delays(self) -> np.ndarray:
        """(nlinks,) seconds on the link and in the router behind it, without the time of a flit."""
        return self.credit_latencies + self.topology.router * self.router_latency

    @cached_property
    def credit_latencies(self) -> np.ndarray:
        """(nlinks,) seconds on the link alone, the time that a credit takes back over it."""
        wire = self.topology.wire * self.link_latency
        own = self.topology.own_latency
        return wire if own is None else np.where(np.isnan(own), wire, own)

    @property
    def injection(self) -> float | None:
        """Rate of the link from a node to its router, relative to that of all the node's links.

        None if there is no such link, or if nodes have no links of their own.
        """
        rate, links = self.injection_bandwidth, self.node_rates[0]
        return rate / links if rate is not None and links else None

    @property
    def end_latency(self) -> float:
        """Seconds that every message takes at its ends: injection, the first router, ejection."""
        seconds = self.injection_latency + self.ejection_latency
        seconds += self.topology.first_router * self.router_latency
        for limit in (self.injection_bandwidth, self.ejection_bandwidth):
            if limit is not None:
                seconds += self.flit_bytes / limit
        return seconds

    def latency(
        self, hops: float, wire: float | None = None, routers: float | None = None
    ) -> float:
        """Seconds until the first byte of a message arrives on an idle network.

        hops·(link + flit) + (hops + 1)·router + injection + ejection, and a flit on each of the
        injection and ejection links that exist.

        Args:
            hops: number of links.
            wire: their total length, in units of the link latency; ``hops`` if None.
            routers: total delay of the routers behind them, in units of the router latency;
                ``hops`` if None.

        Raises:
            ValueError: one of these is negative or not a finite number.
        """
        wire, routers = (hops if x is None else x for x in (wire, routers))
        for name, value in (("hops", hops), ("wire", wire), ("routers", routers)):
            check_number(name, value)
        return (
            self.end_latency
            + float(wire) * self.link_latency
            + float(routers) * self.router_latency
            + float(hops) * self.flit_bytes / self.bandwidth
        )


def one_value(values: np.ndarray) -> float | None:
    """Return the value that all have, but for rounding; None if they differ, or there are none."""
    if not len(values):
        return None
    middle = float(np.median(values))
    return middle if np.allclose(values, middle, rtol=1e-9, atol=0.0) else None


def paper_network(
    where: Topology | str,
    bandwidth: float = 50e9,
    ties: str = "adaptive",
    link_latency: float = LINK_LATENCY,
) -> Network:
    """The network of the Swing paper's evaluation (§5), as its simulator models it.

    The paper states 400 Gb/s, 100 ns links and 300 ns routers. The other values were read in the
    simulator, a version of SST with the authors' changes, unless they are marked as fitted:

    - packets of 8192 B, flits of 256 B, a header before every message (any size from 1 to 256 B
      gives the same times), messages that count with the head of their last packet, and buffers so
      large that they never bound;
    - a door and a crossbar at twice the rate of all links of a node, two virtual channels, packets
      1 ns apart, and the least recently served input first;
    - ``post_gap``, fitted on runs of Swing on 8x8: any value above 1.67 and below 2 ns
      gives the same order of packets, and so the same times but for the step's first message;
    - 6 ns of ``ejection_latency`` beyond the link's 100 ns, fitted on runs of bucket on 8x8 with
      512 KiB and of recursive doubling on 8x8 with 8 KiB.

    Args:
        where: a topology or its name.
        bandwidth: bytes per second of a link.
        ties: the rule at half a ring; the paper routes adaptively.
        link_latency: seconds of a link between routers.

    Raises:
        TypeError: ``where`` is neither a topology nor a name.
        ValueError: the name is unknown, ``bandwidth`` is not above 0, or ``link_latency`` is
            negative.
    """
    topology = named(where)
    check_number("bandwidth", bandwidth, positive=True)
    check_number("link_latency", link_latency)
    # A failed link changes no other part of the machine.
    plain = Network(topology.whole, bandwidth, link_latency)
    node_rate = max(1, 2 * topology.ndim) * bandwidth
    if not (plain.uniform and plain.topology.rows):
        # Links may have bandwidths of their own, and nodes any number of them.
        node_rate = plain.node_rates[0] or bandwidth
    return Network(
        topology,
        bandwidth,
        link_latency=link_latency,
        router_latency=300e-9,
        injection_latency=LINK_LATENCY,
        ejection_latency=LINK_LATENCY + 6e-9,
        injection_bandwidth=2 * node_rate,
        ejection_bandwidth=2 * node_rate,
        crossbar_bandwidth=2 * node_rate,
        virtual_channels=2,
        post_gap=1.75e-9,
        packet_gap=1e-9,
        flit_bytes=256,
        packet_bytes=8192,
        header_bytes=32,
        arrival="head",
        ties=ties,
    )
