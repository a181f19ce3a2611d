"""Cuts around single ranks: what must enter a rank, and after which latency."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netsim.bounds.cuts import Cuts
from netsim.bounds.demand import Demand
from netsim.bounds.links import DirectedLinks
from swing.torus import Array

MAX_WATCHED = 128
"""The most ranks whose latencies are all looked at, if their links are not alike."""


def sole_starts(links: DirectedLinks, demand: Demand) -> list[int]:
    """List ranks on whose input alone everything depends that any rank needs.

    This is the root if there is one. If all ranks contribute to every block, it is any of them;
    then those are listed that are far from a rank which needs a block. If blocks start on ranks of
    their own, there is no such rank.
    """
    p = links.network.topology.size
    if demand.origin is not None:
        return [] if demand.root is None else [demand.root]
    root = demand.reversed.root
    if root is not None and (links.alike or p > MAX_WATCHED):
        return [int(links.reversed.seconds_from(root)[:p].argmax())]
    return _watched(links, np.arange(p))


def around_ranks(links: DirectedLinks, demand: Demand, starts: list[int]) -> Iterator[Cuts]:
    """Yield cuts around ranks that need something.

    Args:
        links: the links.
        demand: what the ranks need.
        starts: ranks on whose input alone everything depends, by `sole_starts`.
    """
    for start in starts:
        yield from _from_start(links, demand, start)
    ends = np.flatnonzero(demand.entering(links.network.topology.size))
    if not starts:
        for end in _watched(links, ends):
            yield _to_end(links, demand, end)
    if not links.alike or not _equal(demand.home, ends):
        yield _after_one_message(links, demand, ends)


def _watched(links: DirectedLinks, ranks: Array) -> list[int]:
    """The ranks of some that are looked at one by one: all of them, or one that is far from others.

    One is enough if all links are alike. With many ranks, all would take too long. The choice
    depends on no bandwidth and no latency, for otherwise a slower link could lower the bound.
    """
    if not links.alike and len(ranks) <= MAX_WATCHED:
        return [int(rank) for rank in ranks]
    far = links.network.topology.remote
    return [far if far in ranks else int(ranks[0])]


def _equal(home: np.ndarray | None, ranks: Array) -> bool:
    """Whether some ranks need equally large parts of a vector."""
    return home is None or not np.ptp(home[ranks])


def _from_start(links: DirectedLinks, demand: Demand, start: int) -> Iterator[Cuts]:
    """Yield the cuts around all ranks that need something which depends on one rank's input.

    If all links and needs are alike, only a rank that is farthest away is tried.
    """
    p = links.network.topology.size
    needed = np.ones(p) if demand.home is None else demand.home
    vectors = needed * (1.0 if demand.origin is None else demand.origin[start])
    seconds = links.seconds_from(start)
    ends = np.flatnonzero((vectors > 0) & (np.arange(p) != start))
    if not len(ends):
        return
    if links.alike and _equal(demand.home, ends):
        ends = ends[[seconds[ends].argmax()]]
    vectors, latency = vectors[ends], links.message_seconds + seconds[ends]
    group, tails, rate, hop = links.into(ends)
    # A byte gets to the head of a link no sooner than over its tail.
    known = tails < len(seconds)  # in grids the latencies of switches are not
    over = links.message_seconds + seconds[np.where(known, tails, start)] + hop
    arrival = np.maximum(latency[group], np.where(known, over, 0.0))
    order = np.lexsort((arrival, group))
    columns = arrival, rate, links.credit(np.ones(len(rate)))
    arrivals, *rest = (_padded(column[order], group[order]) for column in columns)
    yield Cuts(vectors, np.maximum.accumulate(arrivals, axis=1), *rest)
    if links.door is not None:
        yield Cuts.single(vectors, latency, *links.capacity_into(ends))


def _to_end(links: DirectedLinks, demand: Demand, end: int) -> Cuts:
    """The cut around one rank that needs blocks of other ranks, once for each of their latencies.

    Of the blocks of ranks that are at least as far away as some latency, none arrives before it.
    """
    assert demand.origin is not None
    vectors = demand.origin * (1.0 if demand.home is None else demand.home[end])
    seconds = links.reversed.seconds_from(end)
    starts = np.flatnonzero((vectors > 0) & (np.arange(len(vectors)) != end))
    levels, level = np.unique(seconds[starts], return_inverse=True)
    from_there_on = np.bincount(level, vectors[starts])[::-1].cumsum()[::-1]
    rate, credit = links.capacity_into(np.array([end]))
    ones = np.ones(len(levels))
    latency = links.message_seconds + levels
    return Cuts.single(from_there_on, latency, rate * ones, credit * ones)


def _after_one_message(links: DirectedLinks, demand: Demand, ends: Array) -> Cuts:
    """The cuts around ranks, for all that they need and the least latency of any message."""
    vectors = demand.entering(links.network.topology.size)[ends]
    return Cuts.single(vectors, np.full(len(ends), links.least), *links.capacity_into(ends))


def _padded(values: np.ndarray, group: Array) -> np.ndarray:
    """(groups, size of the largest) the values of each group in a row, followed by zeros.

    Args:
        values: (m,) the values.
        group: (m,) the number of each one's group, ascending; no group is empty.
    """
    size = np.bincount(group)
    table = np.zeros((len(size), size.max()))
    table[group, np.arange(len(group)) - (np.cumsum(size) - size)[group]] = values
    return table
