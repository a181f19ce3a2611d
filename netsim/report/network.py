"""The network of a report as JSON values: rows of links, and the routes that messages take."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from netsim.network import Network
from netsim.topologies.graph import GraphTopology
from netsim.topologies.row import Row
from netsim.topologies.ties import forward
from netsim.topologies.torus import Ring

Data = dict[str, Any]
Pairs = list[set[tuple[int, ...]]]
"""For each dimension the (source, destination) coordinates that occur in messages."""


def describe_network(network: Network, pairs: Pairs) -> Data:
    """Describe the dimensions, the rows, and the routes from one coordinate of a row to another.

    A graph is a single row of all its nodes, whatever its dimensions.

    Args:
        network: the network, with its topology and its rule for ties.
        pairs: the pairs of coordinates whose routes are listed, in rows without a routing rule.
    """
    topology = network.topology
    if isinstance(topology, GraphTopology):
        every = {(a, b) for a in range(topology.size) for b in range(topology.size) if a != b}
        rows = [_row(topology, network.ties, every)]
    else:
        rows = [
            _row(row, network.ties, set(p)) for row, p in zip(topology.rows, pairs, strict=True)
        ]
    return {"name": topology.name, "dims": list(topology.dims), "rows": rows}


def _row(row: Row | GraphTopology, ties: str, pairs: Set[tuple[int, ...]]) -> Data:
    described: Data = {"d": row.d, "ends": row.ends.tolist(), "way": row.direction.tolist()}
    if isinstance(row, Ring):
        x = np.arange(row.d)
        share = np.zeros(row.d)
        if row.wrap and row.d % 2 == 0:
            opposite = (x + row.d // 2) % row.d
            share = forward(row.d, True, x, opposite, ties, np.random.default_rng(0))
        # Only half a ring away are there two shortest routes: `up` is the fraction that goes up.
        return described | {"wrap": row.wrap, "up": share.tolist()}
    ordered = np.array(sorted((a, b) for a, b in pairs if a != b), dtype=np.int64).reshape(-1, 2)
    routes = row.routes(ordered[:, 0], ordered[:, 1], ties, (0,))
    links = np.split(routes.links, routes.ptr[1:-1]) if len(ordered) else []
    table = {
        f"{a}-{b}": route.tolist()
        for (a, b), route in zip(ordered[routes.message].tolist(), links, strict=True)
    }
    return described | {"ways": table}
