"""A small calibration: what messages cost between neighbours, while all ranks send.

    start   until the last rank begins: they have their turns one after the other
    near    a step of one message a rank to a neighbour    = fixed + overhead + hop
    ports   a step of 2D, one to every neighbour           = fixed + 2D·overhead + hop
    far     as near, but half a dimension away             = fixed + overhead + hops·hop

``near`` and ``ports`` come from the executor itself: bucket schedules of one element a block, over
their number of steps. All ranks send at once, because they share the cores: what a message costs a
rank of p is not what it costs two ranks alone, which ``alone`` tells.

The bandwidth is not fitted. It is the rate less the headers of every packet and of its share of an
acknowledgement; the measured one is there to show that nothing else is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpi_bench.emulate.namespaces import mtu
from netsim.network import Network
from netsim.topologies.grid import Grid

HEADERS = 14 + 20 + 20 + 12
"""Bytes of Ethernet, IP, TCP and its timestamps that the rate limit counts with every packet."""
ACKNOWLEDGED = 2
"""Full packets that TCP acknowledges at once."""


@dataclass(frozen=True)
class Calibration:
    """Seconds of a message or a step, and what a link carried.

    Args:
        alone: a small message between two neighbours, the others waiting.
        start, near, ports: see above.
        far: what a message over some hops takes longer than one over one.
        nports: the neighbours of ``ports``, 2D on a torus.
        hops: how far ``far`` is.
        bandwidth: bytes of messages per second.
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
        """Seconds of every further message of a step."""
        return max(0.0, (self.ports - self.near) / max(1, self.nports - 1))

    @property
    def work(self) -> float:
        """Seconds that a node works for a message, and for the acknowledgement of one.

        The last of P messages is on its way when the others' acknowledgements are worked for,
        ports = near + (P - 1)·work; unless the first of them comes before the last message is
        sent: then ports = 2P·work and one way, near/2 - work. `near` holds two works at least.
        """
        full = (self.ports - self.near / 2) / (2 * self.nports - 1)
        return max(0.0, min(self.overhead, full, self.near / 2))

    @property
    def hop(self) -> float:
        """Seconds of every further hop."""
        return max(0.0, self.far / (self.hops - 1)) if self.hops > 1 else 0.0

    def network(self, place: Grid, rate: float) -> Network:
        """The emulated torus as `netsim` takes it; ``rate`` in bits per second."""
        return Network(
            place,
            payload_rate(place, rate),
            link_latency=self.hop,
            injection_latency=max(0.0, self.near / 2 - self.work - self.hop),
            message_overhead=self.work,
            packet_bytes=payload(place, rate),
            ties="positive",
        )


def payload(place: Grid, rate: float) -> int:
    """Bytes of a message in a full packet."""
    return mtu(place, rate) - (HEADERS - 14)


def payload_rate(place: Grid, rate: float) -> float:
    """Bytes of messages per second over a link of some bits per second."""
    full = payload(place, rate)
    return rate / 8 * full / (full + HEADERS + HEADERS / ACKNOWLEDGED)
