"""The network of a report as JSON values: rows of links, and the routes that messages take."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from netsim.network import Network
from netsim.topologies.row import Row
from netsim.topologies.topology import Topology

Data = dict[str, Any]
Pairs = list[set[tuple[int, ...]]]
"""For each dimension the (source, destination) coordinates that occur in messages."""


def describe_network(network: Network, pairs: Pairs) -> Data:
    """Describe the dimensions, the rows, and the routes from one coordinate of a row to another.

    A topology without rows is a single row of all its nodes, whatever its dimensions.

    Args:
        network: the network, with its topology and its rule for ties.
        pairs: the pairs of coordinates whose routes are listed, in rows without a routing rule.
    """
    topology = network.topology
    if topology.rows:
        columns = zip(topology.rows, topology.torus.wrap, pairs, strict=True)
        rows = [_row(row, wrap, network.ties, set(p)) for row, wrap, p in columns]
    else:
        every = {(a, b) for a in range(topology.size) for b in range(topology.size)}
        rows = [_links(topology, topology.size) | _ways(topology, network.ties, every)]
    return {"name": topology.name, "dims": list(topology.dims), "rows": rows}


def _row(row: Row, wrap: bool, ties: str, pairs: Set[tuple[int, ...]]) -> Data:
    share = row.tie_share(ties)
    if share is None:
        return _links(row, row.d) | _ways(row, ties, pairs)
    # Only half a ring away are there two shortest routes: `up` is the fraction that goes up.
    return _links(row, row.d) | {"wrap": wrap, "up": share.tolist()}


def _links(row: Row | Topology, d: int) -> Data:
    return {"d": d, "ends": row.ends.tolist(), "way": row.direction.tolist()}


def _ways(row: Row | Topology, ties: str, pairs: Set[tuple[int, ...]]) -> Data:
    """The routes of each pair of nodes: for each its share of a message, and its links in order."""
    ordered = np.array(sorted((a, b) for a, b in pairs if a != b), dtype=np.int64).reshape(-1, 2)
    routes = row.routes(ordered[:, 0], ordered[:, 1], ties, (0,))
    links = np.split(routes.links, routes.ptr[1:-1]) if len(ordered) else []
    ways: dict[str, list[Any]] = {f"{a}-{b}": [] for a, b in ordered.tolist()}
    for (a, b), share, route in zip(
        ordered[routes.message].tolist(), routes.share.tolist(), links, strict=True
    ):
        ways[f"{a}-{b}"].append([share, route.tolist()])
    return {"ways": ways}
