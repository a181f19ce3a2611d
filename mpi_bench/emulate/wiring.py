"""Compute the network devices, addresses and routes of each node; makes no system calls.

Each directed link of `netsim.topologies.torus` is a device of the node that it leaves: ``up0``
sends towards higher coordinates of dimension 0, ``down0`` towards lower ones. The other end of the
cable is the neighbour's ``down0`` or ``up0``. So the bytes that the kernel counts as sent by a
device are the bytes on the link, and a ring of two nodes has both of its cables.

An address encodes the coordinates: 10.0.0.0/8, then the bits of x_0, of x_1, and so on; the last
bit is 1. Nodes that agree in the first coordinates share a prefix. So dimension-order routing needs
only one route per dimension and per other coordinate v in it: the prefix (x_0 … x_{j-1}, v) leaves
along dimension j, in the direction that `netsim.topologies.ties` gives. A node has Σ (d_j - 1)
routes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsim.topologies.ties import forward
from netsim.topologies.topology import Topology
from swing.torus import Torus

TIES = "positive"
"""Static routes cannot split traffic: half a ring away they go towards higher coordinates."""

_BITS = 23  # for coordinates; the last bit of an address is 1


@dataclass(frozen=True)
class Port:
    """A device of a node, and the directed link that leaves through it.

    Args:
        device: name of the device.
        link: number of the directed link in the topology.
        peer: node at the other end of the cable.
        peer_device: name of the device at the other end.
    """

    device: str
    link: int
    peer: int
    peer_device: str


@dataclass(frozen=True)
class Route:
    """A route: a prefix of destinations, as ``address/length``, and the device to send through."""

    prefix: str
    device: str


def ports(grid: Topology) -> list[list[Port]]:
    """Return the devices of each node."""
    by_node: list[list[Port]] = [[] for _ in range(grid.size)]
    columns = zip(grid.ends.tolist(), grid.direction, grid.dim, strict=True)
    for link, ((tail, head), direction, j) in enumerate(columns):
        here, there = (f"up{j}", f"down{j}") if direction > 0 else (f"down{j}", f"up{j}")
        by_node[tail].append(Port(here, link, head, there))
    return by_node


def address(torus: Torus, node: int) -> str:
    """Return the IPv4 address of a node."""
    return _dotted(_number(torus, _coordinates(torus, node)) | 1)


def hardware_address(node: int) -> str:
    """Return the MAC address that all devices of a node have."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in node.to_bytes(4, "big"))


def routes(torus: Torus, node: int) -> list[Route]:
    """Return the routes of a node."""
    table, own = [], _coordinates(torus, node)
    rng = np.random.default_rng(0)  # required by the interface; the rule "positive" draws nothing
    for j, (d, wrap) in enumerate(torus.sides):
        others = np.delete(np.arange(d), own[j])
        up = forward(d, wrap, np.full_like(others, own[j]), others, TIES, rng)
        for v, share in zip(others.tolist(), up.tolist(), strict=True):
            prefix = f"{_dotted(_number(torus, (*own[:j], v)))}/{8 + _ends(torus)[j]}"
            table.append(Route(prefix, f"{'up' if share else 'down'}{j}"))
    return table


def check(torus: Torus, most: int = 64) -> None:
    """Check that a torus is neither too small nor too large to emulate.

    Raises:
        ValueError: fewer than 2 or more than ``most`` nodes, or too many address bits.
    """
    if not 2 <= torus.size <= most:
        raise ValueError(f"emulate 2 to {most} nodes, not {torus.size}: each one runs a rank here")
    if _ends(torus)[-1] > _BITS:
        raise ValueError(f"{torus} needs more than {_BITS} address bits: use fewer dimensions")


def _ends(torus: Torus) -> list[int]:
    """Return for each dimension the number of bits of its coordinate and all earlier ones."""
    return [int(n) for n in np.cumsum([(d - 1).bit_length() for d in torus.dims])]


def _number(torus: Torus, coordinates: tuple[int, ...]) -> int:
    # Not strict, because a prefix has only the first coordinates.
    shifts = zip(coordinates, _ends(torus), strict=False)
    return 10 << 24 | sum(x << (24 - end) for x, end in shifts)


def _coordinates(torus: Torus, node: int) -> tuple[int, ...]:
    return tuple(int(x) for x in np.unravel_index(node, torus.dims))


def _dotted(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))
