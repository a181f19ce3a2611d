"""Topologies by name, such as ``torus:8x8``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from netsim.topologies.hamming_mesh import hamming_mesh
from netsim.topologies.hyperx import hyperx
from netsim.topologies.topology import Topology
from netsim.topologies.torus import torus
from swing.checks import expect, shown, suggestion
from swing.torus import Torus

KINDS: dict[str, Callable[[Torus], Topology]] = {
    "torus": torus,
    "mesh": lambda shape: torus(Torus(shape.dims, wrap=False)),
    "hx2mesh": partial(hamming_mesh, board=2),
    "hx4mesh": partial(hamming_mesh, board=4),
    "hyperx": hyperx,
}

MEANINGS = {
    "hx2mesh:8x8": "a HammingMesh: boards of 2 x 2 nodes, joined by trees in each row and column",
    "hx4mesh:8x8": "the same with boards of 4 x 4 nodes",
    "hyperx:8x8": "a HyperX: all nodes of a row or a column are neighbours",
}
"""What topologies are besides tori and meshes."""


def named(where: Topology | str) -> Topology:
    """The topology itself, or the one of this name.

    Raises:
        TypeError: neither a topology nor a name.
        ValueError: as `topology` raises it.
    """
    if isinstance(where, str):
        return topology(where)
    expect(where, Topology, "a topology or its name, such as 'torus:8x8'")
    return where


def topology(name: str) -> Topology:
    """Make the topology with a name such as ``torus:8x8``, ``hx2mesh:64x64`` or ``hyperx:8x8``.

    Raises:
        TypeError: the name is not a string.
        ValueError: an unknown kind, or dimensions that are not positive whole numbers or do not
            suit the kind.
    """
    expect(name, str, "a topology's name, such as 'torus:8x8'")
    kind, colon, dims = name.partition(":")
    if not colon or kind not in KINDS:
        meant = suggestion(kind, KINDS)
        kinds = ", ".join(f"{kind}:8x8" for kind in KINDS)
        raise ValueError(f"no topology {shown(name)}{meant}: write {kinds}")
    shape = Torus.parse(dims)
    if kind != "torus" and ":" in dims:
        raise ValueError(f"only a torus takes wrap=: write torus:{shown(dims)[1:-1]}")
    return KINDS[kind](shape)
