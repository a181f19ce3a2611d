"""Calibration of an emulated torus: the cost of a call, a step, a message and a hop.

All ranks send at the same time, and the following times are measured:

    start   until the last rank begins; the ranks take turns on the cores
    near    a step with one message per rank, to a neighbour      = fixed + overhead + hop
    ports   a step with 2D messages, one to each neighbour        = fixed + 2D·overhead + hop
    far     a step as in near, but as far as a dimension allows   = fixed + overhead + hops·hop

The fixed part of a step depends on neither the number of messages nor the distance.

``near`` and ``ports`` are measured with the executor: the time of bucket schedules with one element
per block, divided by their number of steps. All ranks have to send, because they share the cores: a
message costs more than between two ranks alone, which is measured as ``alone``.

The bandwidth is not fitted. It is the link rate, less the headers of each packet and its share of
an acknowledgement. The measured bandwidth only serves to confirm this.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpi_bench.emulate.namespaces import mtu
from netsim.network import Network
from netsim.topologies.topology import Topology

HEADERS = 14 + 20 + 20 + 12
"""Bytes per packet of Ethernet, IP and TCP headers and TCP timestamps; the rate includes them."""
ACKNOWLEDGED = 2
"""Full packets per acknowledgement of TCP."""


@dataclass(frozen=True)
class Calibration:
    """The measured times in seconds, and the measured bandwidth.

    Args:
        alone: a small message between two neighbours while the other ranks wait.
        start: as in the module's table.
        near: as in the module's table.
        ports: as in the module's table.
        far: the time of a message over ``hops`` hops, less that over one hop.
        nports: number of messages per rank in ``ports``, 2D on a torus.
        hops: number of hops in ``far``.
        bandwidth: bytes of messages per second over a link.
    """

    alone: float
    start: float
    near: float
    ports: float
    far: float
    nports: int
    hops: int
    bandwidth: float

    def __str__(self) -> str:
        figures = (self.start, self.near, self.overhead, self.hop, self.alone)
        start, step, message, hop, alone = (f"{seconds * 1e6:.0f} us" for seconds in figures)
        return (
            f"a call {start}, each step {step}, every further message {message}, hop {hop}; "
            f"two ranks alone {alone}"
        )

    @property
    def overhead(self) -> float:
        """Seconds per additional message of a step."""
        return max(0.0, (self.ports - self.near) / max(1, self.nports - 1))

    @property
    def work(self) -> float:
        """Seconds that a node is busy with a message, and equally with an acknowledgement.

        With P messages there are two cases. If the acknowledgements come after the last message is
        sent, they are processed while that message travels: ports = near + (P - 1)·work. If the
        first acknowledgement comes earlier, the node is busy all the time: ports = 2P·work plus the
        time of one direction, near/2 - work. The smaller solution holds. It is at most near/2,
        because near includes the work for a message and for an acknowledgement.
        """
        full = (self.ports - self.near / 2) / (2 * self.nports - 1)
        return max(0.0, min(self.overhead, full, self.near / 2))

    @property
    def hop(self) -> float:
        """Seconds per additional hop."""
        return max(0.0, self.far / (self.hops - 1)) if self.hops > 1 else 0.0

    def network(self, grid: Topology, rate: float) -> Network:
        """Return the emulated torus as a network of `netsim`.

        Args:
            grid: the topology.
            rate: of a link, in bits per second.
        """
        return Network(
            grid,
            payload_rate(grid, rate),
            link_latency=self.hop,
            injection_latency=max(0.0, self.near / 2 - self.work - self.hop),
            message_overhead=self.work,
            packet_bytes=payload(grid, rate),
            ties="positive",
        )


def payload(grid: Topology, rate: float) -> int:
    """Return the bytes of a message that fit into a full packet."""
    return mtu(grid, rate) - (HEADERS - 14)  # the MTU does not include the Ethernet header


def payload_rate(grid: Topology, rate: float) -> float:
    """Return the bytes of messages per second over a link of ``rate`` bits per second."""
    full = payload(grid, rate)
    return rate / 8 * full / (full + HEADERS + HEADERS / ACKNOWLEDGED)
