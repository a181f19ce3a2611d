"""What a node of the emulated torus is given: devices, an address, routes. Pure; no kernel.

Every directed link of `netsim.topologies.torus` is one device of the node that it leaves: ``up0``
sends towards higher coordinates of dimension 0, ``down0`` towards lower ones; the other end of the
cable is a ``down0`` or ``up0`` of the neighbour. So the kernel's count of bytes that a device has
sent is what the link has carried, and the two cables between the nodes of a ring of two are both
there.

Addresses are coordinates: 10.0.0.0/8, then the bits of x_0, of x_1, …, a 1. Nodes that agree in
the first coordinates share a prefix, so dimension-order routing takes one route for every other
coordinate of every dimension: (x_0 … x_{j-1}, v)/… leaves along dimension j, on the side that
`netsim.topologies.ties` names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.ties import forward
from swing.torus import Torus

TIES = "positive"
"""A static route goes one way: half a ring away it is the one to higher coordinates."""

_BITS = 23  # for coordinates; the last bit of an address is 1


@dataclass(frozen=True)
class Port:
    """A device of a node: the directed link that leaves by it, and where that leads.

    Args:
        device: its name.
        link: the number of the directed link in the topology.
        peer: the node at the other end of the cable, and its device there.
    """

    device: str
    link: int
    peer: int
    peer_device: str


@dataclass(frozen=True)
class Route:
    """Destinations, as ``address/length``, and the device that they leave by."""

    prefix: str
    device: str


def ports(place: Grid) -> list[list[Port]]:
    """The devices of every node."""
    sides = zip(place.way, place.dim, strict=True)
    names = [f"{'up' if way > 0 else 'down'}{j}" for way, j in sides]
    found: list[list[Port]] = [[] for _ in range(place.size)]
    for link, (name, (tail, head)) in enumerate(zip(names, place.ends.tolist(), strict=True)):
        other = name.replace("up", "down") if name.startswith("up") else name.replace("down", "up")
        found[tail].append(Port(name, link, head, other))
    return found


def address(torus: Torus, node: int) -> str:
    """The address of a node."""
    return _dotted(_number(torus, _coordinates(torus, node)) | 1)


def hardware_address(node: int) -> str:
    """What all devices of a node answer to."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in node.to_bytes(4, "big"))


def routes(torus: Torus, node: int) -> list[Route]:
    """The routes of a node."""
    found, own = [], _coordinates(torus, node)
    rng = np.random.default_rng(0)  # the rule draws nothing
    for j, (d, wrap) in enumerate(zip(torus.dims, torus.wrap, strict=True)):
        others = np.delete(np.arange(d), own[j])
        up = forward(d, wrap, np.full_like(others, own[j]), others, TIES, rng)
        for v, share in zip(others.tolist(), up.tolist(), strict=True):
            prefix = _dotted(_number(torus, (*own[:j], v)))
            found.append(
                Route(f"{prefix}/{8 + _ends(torus)[j]}", f"{'up' if share else 'down'}{j}")
            )
    return found


def check(torus: Torus, most: int = 64) -> None:
    """Refuse a torus that is too small or too large to emulate.

    Raises:
        ValueError: with the rule.
    """
    if not 2 <= torus.size <= most:
        raise ValueError(f"emulate 2 to {most} nodes, not {torus.size}: each one runs a rank here")
    if _ends(torus)[-1] > _BITS:
        raise ValueError(f"{torus} needs more than {_BITS} bits of addresses: fewer dimensions")


def _ends(torus: Torus) -> list[int]:
    """For each dimension the bits of its coordinate and of those before."""
    return [int(n) for n in np.cumsum([(d - 1).bit_length() for d in torus.dims])]


def _number(torus: Torus, coordinates: tuple[int, ...]) -> int:
    places = zip(coordinates, _ends(torus), strict=False)
    return 10 << 24 | sum(x << (24 - end) for x, end in places)


def _coordinates(torus: Torus, node: int) -> tuple[int, ...]:
    return tuple(int(x) for x in np.unravel_index(node, torus.dims))


def _dotted(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))
