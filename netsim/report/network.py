"""The network of a report as plain data: rows of links, and the ways that messages take."""

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
"""For every dimension the (source, destination) coordinates of some message."""


def describe_place(network: Network, pairs: Pairs) -> Data:
    """Dimensions, rows, and how messages go from one coordinate of a row to another.

    A graph is one row of all its nodes, whatever its dimensions.

    Args:
        network: its topology and the rule for ties.
        pairs: those whose ways are told, where the ways follow no rule.
    """
    place = network.topology
    if isinstance(place, GraphTopology):
        every = {(a, b) for a in range(place.size) for b in range(place.size) if a != b}
        rows = [_row(place.table, network.ties, every)]
    else:
        rows = [_row(row, network.ties, set(p)) for row, p in zip(place.rows, pairs, strict=True)]
    return {"name": place.name, "dims": list(place.dims), "rows": rows}


def _row(row: Row, ties: str, pairs: Set[tuple[int, ...]]) -> Data:
    told: Data = {"d": row.d, "ends": row.ends.tolist(), "way": row.way.tolist()}
    if isinstance(row, Ring):
        x = np.arange(row.d)
        share = np.zeros(row.d)
        if row.wrap and row.d % 2 == 0:
            away = (x + row.d // 2) % row.d
            share = forward(row.d, True, x, away, ties, np.random.default_rng(0))
        # Of a message to the peer half a ring away, the fraction that goes up.
        return told | {"wrap": row.wrap, "up": share.tolist()}
    ordered = np.array(sorted((a, b) for a, b in pairs if a != b), dtype=np.int64).reshape(-1, 2)
    ways = row.ways(ordered[:, 0], ordered[:, 1], ties, (0,))
    links = np.split(ways.links, ways.ptr[1:-1]) if len(ordered) else []
    table = {
        f"{a}-{b}": way.tolist()
        for (a, b), way in zip(ordered[ways.message].tolist(), links, strict=True)
    }
    return told | {"ways": table}
