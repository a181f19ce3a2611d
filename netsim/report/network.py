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
"""For each row of the report the (source, destination) nodes in it that occur in messages."""


MAX_LINKS = 5 * 10**6
"""The most links on all listed routes together."""


def axes(topology: Topology) -> tuple[int, ...]:
    """The number of nodes in a row of each kind that a report lists.

    A topology without rows is a single row of all its nodes, whatever its dimensions.
    """
    return topology.dims if topology.rows else (topology.size,)


def describe_network(network: Network, pairs: Pairs) -> Data:
    """Describe the dimensions, the rows, the rates of links, and the routes between nodes of a row.

    ``gbps`` is the rate of most links, and ``rates`` lists the others with theirs.

    Args:
        network: the network, with its topology and its rule for ties.
        pairs: for each of the `axes` the pairs of nodes whose routes are listed, in rows without a
            routing rule.

    Raises:
        ValueError: the routes have more than `MAX_LINKS` links.
    """
    topology = network.topology
    if topology.rows:
        columns = zip(topology.rows, topology.torus.wrap, pairs, strict=True)
        rows = [_row(row, wrap, network.ties, set(p)) for row, wrap, p in columns]
    else:
        rows = [_links(topology, topology.size) | _ways(topology, network.ties, pairs[0])]
    gbps = network.bandwidths * 8 / 1e9
    rates, count = np.unique(gbps, return_counts=True)
    usual = float(rates[count.argmax()]) if len(rates) else network.bandwidth * 8 / 1e9
    others = np.flatnonzero(gbps != usual)
    return {
        "name": topology.name,
        "dims": list(topology.dims),
        "rows": rows,
        "gbps": usual,
        "rates": list(zip(others.tolist(), gbps[others].tolist(), strict=True)),
    }


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
    if len(routes.links) > MAX_LINKS:
        raise ValueError(
            f"the messages cross {len(routes.links)} links on their routes, too many for a page: "
            "choose a smaller topology"
        )
    links = np.split(routes.links, routes.ptr[1:-1]) if len(ordered) else []
    ways: dict[str, list[Any]] = {f"{a}-{b}": [] for a, b in ordered.tolist()}
    for (a, b), share, route in zip(
        ordered[routes.message].tolist(), routes.share.tolist(), links, strict=True
    ):
        ways[f"{a}-{b}"].append([share, route.tolist()])
    return {"ways": ways}
