"""Fold: nodes that are alike are simulated once.

Moving all nodes of a torus along a dimension, or flipping bits of their coordinates, maps links to
links. If it also maps the messages of every step to messages, then what happens at a node happens
at the same time at its image, and on every link what happens on its image. So one node of each
such orbit, and one link, are followed for all of them: a message that passes five links of one
orbit passes the one that stands for them five times.

Nothing is approximated but adaptive ties: which of two equal packets is first, and so takes the
emptier way, follows the numbers of nodes, which an orbit has but one of.

Swing repeats after two nodes of a dimension, bucket after one, and the bits of XOR that keep
neighbours neighbours make recursive doubling repeat: on a 64x64 torus 4, 1 and 256 of 4,096 nodes
are followed. Where nodes differ - slow links, random and SimGrid's ties, late starts, meshes,
schedules without lines, steps that copy and reduce where reducing costs time - all are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from netsim.network import Network
from netsim.topologies.grid import Grid
from netsim.topologies.routes import Seed, Ways
from netsim.topologies.row import Row, Traffic
from netsim.traffic.load import line_units, traffic
from netsim.traffic.messages import Links
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Step
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Whole:
    """Every node and link of a network for itself."""

    schedule: Schedule
    network: Network

    @property
    def links(self) -> Links:
        """All links."""
        net = self.network
        return Links(net.topology.size, net.bandwidths, net.hop_latencies, net.credit_latencies)

    def rows(self, step: Step, seed: Seed) -> tuple[Traffic, Ways]:
        """The messages of a step, and their ways."""
        flow = traffic(self.schedule, step)
        return flow, self.network.topology.ways(flow.src, flow.dst, self.network.ties, seed)


class Orbits:
    """What stands for what in one dimension.

    Args:
        row: the network of the dimension.
        moves: permutations of its nodes that commute, each with the permutation of links it makes.

    Attributes:
        node, link: the orbit of every node, of every link.
        nodes, links: the node, the link, that stands for each orbit.
    """

    def __init__(self, row: Row, moves: Sequence[tuple[Array, Array]]) -> None:
        at, on = np.arange(row.d), np.arange(len(row.ends))
        for to, over in moves:
            at, on = _least(at, to), _least(on, over)
        self.row = row
        self.nodes, self.node = np.unique(at, return_inverse=True)
        self.links, self.link = np.unique(on, return_inverse=True)


def _least(label: Array, to: Array) -> Array:
    """The least label that the powers of a permutation lead to."""
    power = to
    for _ in range(len(to).bit_length()):
        label = np.minimum(label, label[power])
        power = power[power]
    return label


@dataclass(frozen=True, eq=False)
class Folded:
    """One node and one link of each orbit, for a step's lines."""

    schedule: Schedule
    network: Network
    orbits: tuple[Orbits, ...]

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return tuple(len(o.nodes) for o in self.orbits)

    @cached_property
    def _first(self) -> list[int]:
        """The number of each dimension's first link; last, the number of links."""
        size = int(np.prod(self._shape))
        each = [len(o.links) * (size // k) for o, k in zip(self.orbits, self._shape, strict=True)]
        first: list[int] = np.cumsum([0, *each]).tolist()
        return first

    @cached_property
    def links(self) -> Links:
        """One link of each orbit."""
        place = self.network.topology
        assert isinstance(place, Grid)
        size = int(np.prod(self._shape))
        index = np.concatenate([
            np.tile(first + o.links, size // k)
            for first, o, k in zip(place.first_links, self.orbits, self._shape, strict=False)
        ])  # fmt: skip
        net = self.network
        given = net.bandwidths, net.hop_latencies, net.credit_latencies
        return Links(size, *(values[index] for values in given))

    def rows(self, step: Step, seed: Seed) -> tuple[Traffic, Ways]:
        """One message of each orbit, and its ways."""
        found = line_units(self.schedule, step, self.network.ties)
        if not found:
            none = np.zeros(0, dtype=np.int64)
            return Traffic(none, none, np.zeros(0)), Ways.single(none, none)
        parts = [self._line(line, unit, seed) for line, unit in zip(*found, strict=True)]
        flows, ways = zip(*parts, strict=True)
        return Traffic(*map(np.concatenate, zip(*flows, strict=True))), Ways.join(ways)

    def _line(self, line: LineRows, unit: float, seed: Seed) -> tuple[Traffic, Ways]:
        j, orbits = line.dim, self.orbits[line.dim]
        mine = np.flatnonzero(np.isin(line.src, orbits.nodes))
        pending = [
            h[o.nodes] if i != j else line.sent[mine]
            for i, (h, o) in enumerate(zip(line.pending, self.orbits, strict=True))
        ]
        count = reduce(np.multiply.outer, pending)
        some = np.flatnonzero(count)
        nodes = np.arange(int(np.prod(self._shape))).reshape(self._shape)
        src, dst = (
            np.take(nodes, orbits.node[at[mine]], axis=j).ravel()[some]
            for at in (line.src, line.dst)
        )
        ends = np.unravel_index(some, count.shape)
        others = [1 if i == j else k for i, k in enumerate(self._shape)]
        row = np.ravel_multi_index([x * (i != j) for i, x in enumerate(ends)], others)
        along = orbits.row.ways(line.src[mine], line.dst[mine], self.network.ties, (*seed, j))
        ways = along.take(ends[j])
        base = self._first[j] + row * len(orbits.links)
        links = orbits.link[ways.links] + base[ways.message[ways.per_link()]]
        return Traffic(src, dst, count.ravel()[some] * unit), ways._replace(links=links)


def fold(schedule: Schedule, network: Network, steps: Iterable[int]) -> Whole | Folded:
    """What has to be followed of some steps of a schedule on a network."""
    place = network.topology
    whole = Whole(schedule, network)
    if not isinstance(place, Grid) or not network.uniform or network.ties in ("random", "simgrid"):
        return whole
    known: dict[Hashable, tuple[LineRows, ...]] = {}
    for s in steps:
        if (pattern := schedule.signature(s)) in known:
            continue
        step = schedule.step(s)
        if line_units(schedule, step, network.ties) is None and len(step):
            return whole
        if network.gamma and isinstance(step.op, np.ndarray):
            return whole  # a line does not tell what its receivers do
        known[pattern] = step.line
    lines = [line for step_lines in known.values() for line in step_lines]
    orbits = []
    for j, row in enumerate(place.rows):
        along = [(line.src, line.dst, line.sent) for line in lines if line.dim == j]
        pending = [(line.pending[j],) for line in lines if line.dim != j]
        orbits.append(_orbits(row, _different(along), _different(pending), network.ties))
    folded = Folded(schedule, network, tuple(orbits))
    return folded if folded.links.nodes < place.size else whole


def _different(columns: Iterable[tuple[Array, ...]]) -> list[np.ndarray]:
    """Tables of columns, each once."""
    tables = [np.stack(column) for column in columns]
    return list({table.tobytes(): table for table in tables}.values())


def _orbits(
    row: Row, along: Sequence[np.ndarray], pending: Sequence[np.ndarray], ties: str
) -> Orbits:
    """The fewest orbits of a dimension that its messages, and what its nodes hold, allow.

    Args:
        row: the network of the dimension.
        along: (3, m) src, dst and blocks of the messages of every step along it.
        pending: (1, d) what the nodes hold in steps along other dimensions.
        ties: the rule at half a ring.
    """
    d, nodes = row.d, np.arange(row.d)
    shifts = [(nodes + q) % d for q in range(1, d) if d % q == 0]
    groups = [[(to, _over(row, to)) for to in shifts]]
    if d & (d - 1) == 0 and ties != "positive":
        masks = {m for k in range(d.bit_length() - 1) for m in (1 << k, (2 << k) - 1)}
        groups.append([(nodes ^ m, _over(row, nodes ^ m, turned=True)) for m in sorted(masks)])
    found = []
    for group in groups:
        moves = [(to, over) for to, over in group if over is not None]
        found.append(Orbits(row, [m for m in moves if _same(row, along, pending, ties, *m)]))
    return min(found, key=lambda orbits: len(orbits.nodes))


def _same(
    row: Row, along: Sequence[np.ndarray], pending: Sequence[np.ndarray], ties: str, to: Array,
    over: Array,
) -> bool:  # fmt: skip
    """Whether the same happens if nodes and links are permuted."""
    if any((h[:, to] != h).any() for h in pending):
        return False
    for table in along:
        src, dst, sent = table
        moved = np.stack([to[src], to[dst], sent])
        if (table[:, np.lexsort(table)] != moved[:, np.lexsort(moved)]).any():
            return False
    src, dst, _ = np.concatenate([np.zeros((3, 0), dtype=np.int64), *along], axis=1)
    here, there = (row.ways(a, b, ties, ()) for a, b in ((src, dst), (to[src], to[dst])))
    return all(map(np.array_equal, here._replace(links=over[here.links]), there))


def _over(row: Row, to: Array, turned: bool = False) -> Array | None:
    """(nlinks,) where links go if nodes are permuted and switches stay; None if nowhere.

    Of the two links between nodes of a ring of two, each goes to the other one if ``turned``.
    """
    vertices = 1 + int(row.ends.max(initial=row.d - 1))
    to = np.concatenate([to, np.arange(row.d, vertices)])
    before, after = (ends[:, 0] * vertices + ends[:, 1] for ends in (row.ends, to[row.ends]))
    number = np.arange(len(before))
    order = np.lexsort((number, before))
    place = np.lexsort((-number if turned else number, after))
    if (before[order] != after[place]).any():
        return None
    over = np.empty_like(order)
    over[place] = order
    same = (row.wire[over] == row.wire).all() and (row.router[over] == row.router).all()
    return over if same else None
