"""Smallest cuts of any network, by maximum flows.

Let the bytes that must cross a cut be n·w (w vectors of n bytes). They get through in a time T
after the first of them only if

    n·w ≤ T·rate + packet·nlinks

with the bytes per second and the number of the links of the cut; the last term is there if messages
count before their last packet has left its link. The cut with the least (rate + y·nlinks) ÷ w is
the tightest one for y = packet ÷ T. Each cut is a line over y, so the tightest ones for all y are
the lower envelope of these lines, which has few corners (Eisner and Severance, 1976).

For one y, links have the capacity rate + y each. A rank can get what it needs of all others at some
pace if and only if there is a flow to it from a source that supplies each of these ranks at that
pace. The smallest cut between the two shows what is in the way if there is not. Its own pace is
tried next (Dinkelbach, 1967), until the flow is large enough. For an allgather this is how
ForestColl (arXiv 2402.06787) finds the bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from netsim.bounds.cuts import Cuts, Mask
from netsim.bounds.demand import Demand
from netsim.bounds.grid_cuts import leaving
from netsim.bounds.links import DirectedLinks
from netsim.bounds.max_flow import FlowNetwork
from swing.torus import Array

MAX_VERTICES = 256
"""The most ranks and switches of a network whose smallest cuts are looked for."""
TOLERANCE = 1e-13
"""Cuts whose capacities differ by less, relatively, are equally tight."""
_WHOLE = 2.0**60
"""Capacities become whole numbers with this sum, so that flows are exact."""


class _Line(NamedTuple):
    """A cut: its bytes per second and its links, both per vector that must cross it."""

    rate: float
    nlinks: float

    def at(self, y: float) -> float:
        return self.rate + y * self.nlinks


def smallest_cuts(links: DirectedLinks, demand: Demand, start: int | None) -> Iterator[Cuts]:
    """Yield the smallest cuts between ranks and those that need something of them.

    None if the network has more than `MAX_VERTICES` vertices, because it would take too long.

    Args:
        links: the links.
        demand: what the ranks need.
        start: the rank on whose input alone everything depends, if there is one.
    """
    p = links.network.topology.size
    if 1 + links.ends.max(initial=p - 1) > MAX_VERTICES:
        return
    origin = np.ones(p) if demand.origin is None else demand.origin
    if start is not None:
        origin = np.where(np.arange(p) == start, origin, 0.0)
    vectors = np.outer(origin, np.ones(p) if demand.home is None else demand.home)
    np.fill_diagonal(vectors, 0.0)
    flows, ends = _Flows(links, vectors), np.flatnonzero(vectors.any(axis=0))
    if start is None:
        yield _tightest(flows, ends, links.least)
        return
    seconds = links.message_seconds + links.seconds_from(start)
    for end in ends:
        yield _tightest(flows, np.array([end]), seconds[end])


def _tightest(flows: _Flows, ends: Array, latency: float) -> Cuts:
    """The tightest cuts around any of some ranks, for vectors of all sizes.

    Args:
        flows: the network.
        ends: the ranks.
        latency: seconds that all bytes over the cuts are under way.
    """
    rates, ones = flows.links.network.bandwidths, np.ones(len(flows.links.ends))
    lines = [flows.tightest(rates, ends)]
    if flows.links.credit(1):
        last = flows.tightest(ones, ends)  # for y without bound
        lines += [last, *_between(lines[0], last, lambda y: flows.tightest(rates + y * ones, ends))]
    rate, nlinks = np.array(lines).T
    one = np.ones(len(lines))
    return Cuts.single(one, latency * one, rate, flows.links.credit(nlinks))


def _between(low: _Line, high: _Line, tightest: Callable[[float], _Line]) -> Iterator[_Line]:
    """Yield the lines of the lower envelope between those for a smaller and for a larger y."""
    if low.nlinks <= high.nlinks:
        return
    y = (high.rate - low.rate) / (low.nlinks - high.nlinks)
    line = tightest(y)
    if line.at(y) < low.at(y) * (1 - TOLERANCE):
        yield line
        yield from _between(low, line, tightest)
        yield from _between(line, high, tightest)


class _Flows:
    """A network in which ranks supply others with vectors at equal pace.

    Args:
        links: the links.
        vectors: (p, p) what each rank (row) must send to each other one (column).
    """

    def __init__(self, links: DirectedLinks, vectors: np.ndarray) -> None:
        self.links, self.vectors = links, vectors
        p = len(vectors)
        self.vertices = 1 + int(links.ends.max(initial=p - 1))
        # Behind the vertices comes the source, which has an arc to every rank.
        supply = np.stack([np.full(p, self.vertices), np.arange(p)], axis=1)
        self.network = FlowNetwork(np.concatenate([links.ends, supply]), self.vertices + 1)

    def tightest(self, capacity: np.ndarray, ends: Array) -> _Line:
        """The cut with the least capacity per vector that must cross it to one rank beyond it.

        Args:
            capacity: (nlinks,) of each link.
            ends: the ranks that may be the one beyond the cut.
        """

        def crossing(side: Mask, end: int) -> float:
            return float(self.vectors[side[: len(self.vectors)], end].sum())

        def pace(side: Mask, end: int) -> float:
            return float(capacity[leaving(self.links.ends, side)].sum()) / crossing(side, end)

        every = np.arange(self.vertices)
        best = min(((every != end, end) for end in ends.tolist()), key=lambda cut: pace(*cut))
        for end in ends.tolist():
            while True:
                side = self._bottleneck(capacity, pace(*best), end)
                if not crossing(side, end) or pace(side, end) >= pace(*best) * (1 - TOLERANCE):
                    break
                best = side, end
        cut, vectors = leaving(self.links.ends, best[0]), crossing(*best)
        rate = float(self.links.network.bandwidths[cut].sum())
        return _Line(rate / vectors, len(cut) / vectors)

    def _bottleneck(self, capacity: np.ndarray, pace: float, end: int) -> Mask:
        """(vertices,) the source's side of the smallest cut between it and a rank."""
        most = capacity.sum()  # more never flows
        supply = np.minimum(pace * self.vectors[:, end], most)
        whole = np.rint(np.concatenate([capacity, supply]) * (_WHOLE / most)).astype(np.int64)
        return self.network.near_side(whole, self.vertices, end)[: self.vertices]
