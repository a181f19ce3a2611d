"""Symmetry reduction: of equivalent nodes and links, one is simulated for all.

Shifting all nodes of a torus along a dimension, or flipping bits of their coordinates, maps links
to links. If such a permutation also maps the messages of every step to messages, it is a symmetry
of the simulation: whatever happens at a node or on a link happens at its image at the same time.
The symmetries divide nodes and links into orbits, and one node and one link of each orbit are
simulated. A message that crosses five links of one orbit crosses the link that stands for them
five times.

The flow model asks no more of equivalent nodes. In the packet model they also have to agree in the
order of their routers' ports and in where packets change channels, so that the result is the same
to the last bit: neither reflections nor routes through coordinate 0 of a ring are symmetries then.

Swing repeats every two nodes of a dimension and bucket every node. Recursive doubling repeats under
XOR with masks that keep neighbours neighbours. On a 64x64 torus 4, 1 and 256 of the 4,096 nodes
are simulated. All nodes are simulated where they differ: with slow links, random or SimGrid's ties,
late starts or slow ranks, on meshes, and for steps that are not described by lines (`LineRows`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np

from netsim.network import Network
from netsim.topologies.lines import first_links
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Row, Traffic, ports
from netsim.traffic.load import line_units, traffic
from netsim.traffic.messages import Links
from swing.schedules.body import Body
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows
from swing.torus import Array


class Rows(NamedTuple):
    """The messages of a step, weighted with fractions of the vector.

    Args:
        traffic: (m,) the messages.
        reduces: (m,) whether the receiver reduces each message.
        routes: their routes.
        part: (m,) the part that each message belongs to.
        peer: (m,) the receiver, as the number of the node that is as far from node 0 as the
            receiver is from the sender. It tells peers apart whose nodes are equivalent.
    """

    traffic: Traffic
    reduces: np.ndarray
    routes: Routes
    part: Array
    peer: Array

    def in_order(self) -> Rows:
        """Sort the messages that a node sends in one part by peer; other nodes' order is kept.

        So equivalent nodes send their messages in equivalent order.
        """
        senders = self.traffic.src * (1 + self.part.max(initial=0)) + self.part
        if len(np.unique(senders)) == len(senders):
            return self
        order = np.lexsort((self.peer, self.part))
        traffic = Traffic(*(column[order] for column in self.traffic))
        routes = self.routes.take(order)
        return Rows(traffic, self.reduces[order], routes, self.part[order], self.peer[order])


@dataclass(frozen=True, eq=False)
class Whole:
    """A network without symmetry reduction: every node and link is simulated."""

    schedule: Schedule
    network: Network

    @property
    def links(self) -> Links:
        """All links of the network."""
        net = self.network
        tail, head = net.topology.ends.T
        return Links(
            net.topology.size, net.bandwidths, net.hop_latencies, net.hop_delays,
            net.credit_latencies, tail, head, net.topology.port, net.topology.dateline,
        )  # fmt: skip

    def rows(self, body: Body, s: int, seed: Seed) -> Rows:
        """The messages of a step of some of the schedule's messages, and their routes."""
        step = body.step(s)
        flow = traffic(self.schedule, step)
        routes = self.network.topology.routes(flow.src, flow.dst, self.network.ties, seed)
        dims = self.schedule.torus.dims
        src, dst = (np.stack(np.unravel_index(nodes, dims)) for nodes in (flow.src, flow.dst))
        peer = np.ravel_multi_index(tuple(dst - src), dims, mode="wrap")
        return Rows(flow, step.reduces, routes, step.part, peer).in_order()


class Orbits:
    """The orbits of nodes and links of one dimension.

    Args:
        row: the network of the dimension.
        moves: permutations of the nodes, which commute, each with its permutation of the links.

    Attributes:
        node: (d,) the orbit of every node.
        link: (nlinks,) the orbit of every link.
        nodes: (orbits,) the node that stands for each orbit, its lowest one.
        links: (orbits,) the link that stands for each orbit, its lowest one.
    """

    def __init__(self, row: Row, moves: Sequence[tuple[Array, Array]]) -> None:
        lowest_node, lowest_link = np.arange(row.d), np.arange(len(row.ends))
        for node_map, link_map in moves:
            lowest_node = _lowest_in_cycle(lowest_node, node_map)
            lowest_link = _lowest_in_cycle(lowest_link, link_map)
        self.row = row
        self.nodes, self.node = np.unique(lowest_node, return_inverse=True)
        self.links, self.link = np.unique(lowest_link, return_inverse=True)


def _lowest_in_cycle(label: Array, permutation: Array) -> Array:
    """For each element the lowest label on its cycle, by doubling the power of the permutation."""
    power = permutation
    for _ in range(len(permutation).bit_length()):
        label = np.minimum(label, label[power])
        power = power[power]
    return label


@dataclass(frozen=True, eq=False)
class Folded:
    """A network reduced by symmetry: one node and one link stand for each orbit.

    The orbits of the torus are the products of the orbits of its dimensions.
    """

    schedule: Schedule
    network: Network
    orbits: tuple[Orbits, ...]
    oriented: bool

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return tuple(len(o.nodes) for o in self.orbits)

    @cached_property
    def _first(self) -> list[int]:
        """Index of each dimension's first link; the last entry is the number of links."""
        size = int(np.prod(self._shape))
        each = [len(o.links) * (size // k) for o, k in zip(self.orbits, self._shape, strict=True)]
        first: list[int] = np.cumsum([0, *each]).tolist()
        return first

    @cached_property
    def links(self) -> Links:
        """The link that stands for each orbit."""
        size, rows = int(np.prod(self._shape)), self.network.topology.rows
        index = np.concatenate([
            np.tile(first + o.links, size // k)
            for first, o, k in zip(first_links(rows), self.orbits, self._shape, strict=False)
        ])  # fmt: skip
        tail, head = self._ends().T
        _, *columns = Whole(self.schedule, self.network).links
        links = Links(size, *(column[index] for column in columns))
        dateline = links.dateline & self.oriented
        return links._replace(tail=tail, head=head, dateline=dateline)

    def _ends(self) -> Array:
        """(nlinks, 2) the orbits of the vertices that each link leaves and reaches.

        Switches follow the nodes; every row of a dimension has its own.
        """
        switches = int(np.prod(self._shape))
        nodes, ends = np.arange(switches).reshape(self._shape), []
        for j, o in enumerate(self.orbits):
            rows = np.moveaxis(nodes, j, -1).reshape(-1, len(o.nodes))
            count = max(int(o.row.ends.max(initial=-1)) + 1 - o.row.d, 0)
            own = switches + np.arange(len(rows) * count).reshape(len(rows), count)
            switches += own.size
            column = np.append(o.node, len(o.nodes) + np.arange(count))
            ends.append(np.concatenate([rows, own], axis=1)[:, column[o.row.ends[o.links]]])
        return np.concatenate([e.reshape(-1, 2) for e in ends])

    def rows(self, body: Body, s: int, seed: Seed) -> Rows:
        """One message of each orbit of messages, and its routes."""
        lines = line_units(self.schedule, body.lines(s), self.network.ties)
        if not (lines and lines[0]):
            empty = np.zeros(0, dtype=np.int64)
            flow = Traffic(empty, empty, np.zeros(0))
            return Rows(flow, empty.astype(bool), Routes.single(empty, empty), empty, empty)
        parts = [self._line(line, unit, seed) for line, unit in zip(*lines, strict=True)]
        flows, routes, peers = zip(*parts, strict=True)
        counts = [len(flow.src) for flow in flows]
        reduces, part = (
            np.repeat([getattr(line, name) for line in lines[0]], counts)
            for name in ("reduces", "part")
        )
        flow = Traffic(*map(np.concatenate, zip(*flows, strict=True)))
        rows = Rows(flow, reduces, Routes.join(routes), part, np.concatenate(peers))
        return rows.in_order()

    def _line(self, line: LineRows, unit: float, seed: Seed) -> tuple[Traffic, Routes, Array]:
        """The messages of a line that the nodes standing for orbits send, their links, peers."""
        j, orbits = line.dim, self.orbits[line.dim]
        sent_by_orbits = np.flatnonzero(np.isin(line.src, orbits.nodes))
        line_src, line_dst = line.src[sent_by_orbits], line.dst[sent_by_orbits]
        # Axis j of nblocks goes over messages of the line, the others over orbits of a dimension.
        factors = [
            pending[o.nodes] if i != j else line.sent[sent_by_orbits]
            for i, (pending, o) in enumerate(zip(line.pending, self.orbits, strict=True))
        ]
        nblocks = reduce(np.multiply.outer, factors)
        nonempty = np.flatnonzero(nblocks)
        nodes = np.arange(int(np.prod(self._shape))).reshape(self._shape)
        src, dst = (
            np.take(nodes, orbits.node[ends], axis=j).ravel()[nonempty]
            for ends in (line_src, line_dst)
        )
        index = np.unravel_index(nonempty, nblocks.shape)
        other_dims = [1 if i == j else k for i, k in enumerate(self._shape)]
        row = np.ravel_multi_index([x * (i != j) for i, x in enumerate(index)], other_dims)
        along = orbits.row.routes(line_src, line_dst, self.network.ties, (*seed, j))
        routes = along.take(index[j])
        base = self._first[j] + row * len(orbits.links)
        links = orbits.link[routes.links] + base[routes.message[routes.per_link()]]
        stride = int(np.prod(self.schedule.torus.dims[j + 1 :]))
        peer = ((line_dst - line_src) % orbits.row.d * stride)[index[j]]
        flow = Traffic(src, dst, nblocks.ravel()[nonempty] * unit)
        return flow, routes._replace(links=links), peer


def fold(
    schedule: Schedule, network: Network, steps: Iterable[int], oriented: bool = False
) -> Whole | Folded:
    """Reduce a network by the symmetries that all given steps of a schedule share.

    Args:
        schedule: the schedule.
        network: the network it runs on.
        steps: the steps to simulate.
        oriented: whether nodes are equivalent only if their routers are too, with all their ports
            in one order, and if packets change channels alike.

    Returns:
        The whole network if no symmetry applies.
    """
    topology = network.topology
    whole = Whole(schedule, network)
    if network.by_dimension is None or network.ties in ("random", "simgrid"):
        return whole
    by_signature: dict[Hashable, tuple[LineRows, ...]] = {}
    for s in steps:
        if (signature := schedule.signature(s)) in by_signature:
            continue
        lines = schedule.lines(s)
        if lines is None or line_units(schedule, lines, network.ties) is None:
            return whole
        by_signature[signature] = lines
    every = [line for lines in by_signature.values() for line in lines]
    orbits = []
    for j, row in enumerate(topology.rows):
        along = [(line.src, line.dst, line.sent) for line in every if line.dim == j]
        pending = [(line.pending[j],) for line in every if line.dim != j]
        rule = network.ties, oriented, oriented and network.virtual_channels > 1
        orbits.append(_orbits(row, _distinct(along), _distinct(pending), *rule))
    folded = Folded(schedule, network, tuple(orbits), oriented)
    return folded if folded.links.nodes < topology.size else whole


def _distinct(columns: Iterable[tuple[Array, ...]]) -> list[np.ndarray]:
    """Stack each tuple of columns into a table, and drop tables that repeat."""
    tables = [np.stack(column) for column in columns]
    return list({table.tobytes(): table for table in tables}.values())


def _orbits(
    row: Row, along: Sequence[np.ndarray], pending: Sequence[np.ndarray], ties: str,
    oriented: bool, channels: bool,
) -> Orbits:  # fmt: skip
    """The coarsest orbits of a dimension whose moves leave its traffic unchanged.

    Args:
        row: the network of the dimension.
        along: (3, m) src, dst and blocks of the messages along it, one table per distinct step.
        pending: (1, d) block counts of its coordinates in steps along other dimensions.
        ties: the rule at half a ring.
        oriented: whether moves must keep the order of all routers' ports.
        channels: whether they must also keep the changes of virtual channels.
    """
    d, nodes = row.d, np.arange(row.d)
    shifts = [(nodes + q) % d for q in range(1, d) if d % q == 0]
    # Shifts and XOR masks do not commute with each other, so each kind is tried on its own.
    groups = [[(to, _link_map(row, to)) for to in shifts]]
    # A mask of ones reflects the ring, and the rule "positive" is not symmetric under reflection.
    if d & (d - 1) == 0 and ties != "positive":
        masks = {m for k in range(d.bit_length() - 1) for m in (1 << k, (2 << k) - 1)}
        groups.append([(nodes ^ m, _link_map(row, nodes ^ m, turned=True)) for m in sorted(masks)])
    candidates = []
    for group in groups:
        moves = [(to, links) for to, links in group if links is not None]
        if oriented:
            moves = [(to, links) for to, links in moves if _keeps_ports(row, links)]
        symmetries = [
            move for move in moves if _is_symmetry(row, along, pending, ties, channels, *move)
        ]
        candidates.append(Orbits(row, symmetries))
    return min(candidates, key=lambda orbits: len(orbits.nodes))


def _keeps_ports(row: Row, link_map: Array) -> bool:
    """Whether a permutation of links keeps the order of all ports; that of a switch it changes."""
    tail, head = row.ends.T
    port = ports(tail, head, row.d)
    return bool((port < row.d).all() and (port[link_map] == port).all())


def _is_symmetry(
    row: Row, along: Sequence[np.ndarray], pending: Sequence[np.ndarray], ties: str,
    channels: bool, node_map: Array, link_map: Array,
) -> bool:  # fmt: skip
    """Whether permuted nodes and links carry the same messages over the same routes."""
    if any((counts[:, node_map] != counts).any() for counts in pending):
        return False
    for table in along:
        src, dst, sent = table
        moved = np.stack([node_map[src], node_map[dst], sent])
        if (table[:, np.lexsort(table)] != moved[:, np.lexsort(moved)]).any():
            return False
    src, dst, _ = np.concatenate([np.zeros((3, 0), dtype=np.int64), *along], axis=1)
    routes = row.routes(src, dst, ties, ())
    moved_routes = row.routes(node_map[src], node_map[dst], ties, ())
    if channels:
        changes = (row.ends[:, 0] == 0) & (row.direction != 0)
        inner = np.delete(np.arange(len(routes.links)), routes.ptr[:-1])
        if (changes[routes.links] != changes[link_map[routes.links]])[inner].any():
            return False
    return all(map(np.array_equal, routes._replace(links=link_map[routes.links]), moved_routes))


def _link_map(row: Row, node_map: Array, turned: bool = False) -> Array | None:
    """(nlinks,) the permutation of links that a permutation of nodes induces; switches stay.

    Args:
        row: the network of the dimension.
        node_map: (d,) the image of every node.
        turned: whether parallel links, which only a ring of two has, change places.

    Returns:
        None if some link has no image, or one of another length or router delay.
    """
    vertices = 1 + int(row.ends.max(initial=row.d - 1))
    vertex_map = np.concatenate([node_map, np.arange(row.d, vertices)])
    # A link is identified by its ends, so matching sorted keys pairs every link with its image.
    keys, image_keys = (
        ends[:, 0] * vertices + ends[:, 1] for ends in (row.ends, vertex_map[row.ends])
    )
    number = np.arange(len(keys))
    order = np.lexsort((number, keys))
    image_order = np.lexsort((-number if turned else number, image_keys))
    if (keys[order] != image_keys[image_order]).any():
        return None
    link_map = np.empty_like(order)
    link_map[image_order] = order
    equal = (row.wire[link_map] == row.wire).all() and (row.router[link_map] == row.router).all()
    return link_map if equal else None
