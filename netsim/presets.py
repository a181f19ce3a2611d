"""Networks of machines by the names that their software reports, such as JAX's ``device_kind``."""

from __future__ import annotations

from netsim.network import Network
from netsim.topologies.names import named
from netsim.topologies.topology import Topology
from swing.checks import expect, unknown

TPU_LINKS = {
    "TPU v3": 1e11,
    "TPU v4": 4.5e10,
    "TPU v5": 1e11,
    "TPU v5p": 1e11,
    "TPU v5 lite": 5e10,
    "TPU v5e": 5e10,
    "TPU v6 lite": 1e11,
    "TPU v6e": 1e11,
}
"""Bytes per second of an inter-chip link of a TPU, in one direction, by device kind.

Source: Austin et al., "How to Scale Your Model", Part 2, table of interconnects, 2025,
https://jax-ml.github.io/scaling-book/tpus/.
"""
TPU_HOP = 0.5e-6
"""Seconds per hop, the same for all: the value that an exercise of that book assumes for v5e."""


def tpu_network(kind: str, where: Topology | str) -> Network:
    """Make the network of a TPU slice.

    The bandwidths are published, the latency is an assumption; no TPU was measured for either. All
    costs of starting a message are left out.

    Args:
        kind: a key of `TPU_LINKS`, which are the values of JAX's ``device.device_kind``.
        where: the slice's topology or its name, such as "torus:4x4x4".

    Raises:
        TypeError: ``kind`` is no text, or ``where`` is neither a topology nor a name.
        ValueError: an unknown kind of device, or an unknown name of a topology.

    >>> tpu_network("TPU v4", "torus:4x4x4").bandwidth
    45000000000.0
    """
    expect(kind, str, "the kind of device, such as 'TPU v4'")
    if kind not in TPU_LINKS:
        raise unknown("network of device", kind, TPU_LINKS)
    return Network(named(where), TPU_LINKS[kind], link_latency=TPU_HOP)
