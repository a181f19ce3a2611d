"""Topologies by name."""

from __future__ import annotations

from collections.abc import Callable

from netsim.topology.torus import TorusTopology, Traffic
from swing.torus import Torus

KINDS: dict[str, Callable[[Torus], TorusTopology]] = {
    "torus": TorusTopology,
    "mesh": lambda torus: TorusTopology(Torus(torus.dims, wrap=False)),
}


def topology(name: str) -> TorusTopology:
    """The topology of a name such as ``torus:8x8`` or ``mesh:4x4x4``.

    Raises:
        ValueError: an unknown kind, or dimensions that are no whole numbers from 1 up.
    """
    kind, colon, dims = name.partition(":")
    if not colon or kind not in KINDS:
        kinds = ", ".join(f"{kind}:8x8" for kind in KINDS)
        raise ValueError(f"no topology {name!r}: write {kinds}")
    return KINDS[kind](Torus.parse(dims))


__all__ = ["KINDS", "TorusTopology", "Traffic", "topology"]
