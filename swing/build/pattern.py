"""Line: a reduce-scatter on one ring of d nodes, the half of every torus algorithm.

A line says, step by step, which coordinate sends which block coordinates to which other
coordinate. Each node sends every block but its own exactly once, after it has received all it
will receive of it: the ways of a block's contributions form an in-tree that ends in its owner.
`swing.build.combine` makes tori of lines.

Blocks are named by *labels*, a numbering chosen so that the sets a line sends are ranges of
labels wherever that is possible; ``owner[label]`` is the coordinate a block belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Sets:
    """A family of sets of labels: set i has ``count[i]`` members, ``members(i)``.

    ``start`` is there when every set is the range ``start[i] … start[i] + count[i] - 1``.
    """

    count: Array
    members: Callable[[int], Array]
    start: Array | None = None

    @classmethod
    def ranges(cls, start: Array, count: Array | int) -> Sets:
        """Sets that are ranges of labels."""
        count = np.broadcast_to(count, start.shape)
        return cls(count, lambda i: np.arange(start[i], start[i] + count[i]), start)

    def take(self, rows: Array) -> Sets:
        """Some of the sets."""
        start = None if self.start is None else self.start[rows]
        return Sets(self.count[rows], lambda i: self.members(int(rows[i])), start)

    @classmethod
    def joined(cls, families: Sequence[Sets]) -> Sets:
        """The sets of several families, one after the other."""
        if not families:
            return cls.ranges(np.zeros(0, dtype=np.int64), 0)
        count = np.concatenate([family.count for family in families])
        starts = [family.start for family in families if family.start is not None]
        if len(starts) == len(families):
            return cls.ranges(np.concatenate(starts), count)
        first = np.cumsum([0] + [len(family.count) for family in families])

        def members(i: int) -> Array:
            f = int(np.searchsorted(first, i, side="right")) - 1
            return families[f].members(i - int(first[f]))

        return cls(count, members)


class PatternStep(NamedTuple):
    """One step of a line: coordinate ``src[i]`` sends the labels ``sent`` i to ``dst[i]``."""

    src: Array
    dst: Array
    sent: Sets


class NodeMessages(NamedTuple):
    """What one coordinate sends, or receives: in step ``step[i]`` the labels ``sent`` i.

    ``peer[i]`` is the coordinate that they go to, or come from.
    """

    step: Array
    peer: Array
    sent: Sets


@dataclass(frozen=True, eq=False)
class RingPattern:
    """A reduce-scatter on one ring.

    Args:
        d: nodes of the ring.
        radices: a digit of the label for every step; labels count to their product. A step
            that halves the labels has radix 2; a line whose sets are no ranges has one digit.
        owner: (nblocks,) the coordinate every label belongs to.
        step: the PatternStep of an index in ``range(nsteps)``.
        pending: for s in ``range(nsteps + 1)``, the labels every coordinate still answers for
            before step s.
        folds: leading steps that only bring the ring to a power of two.
        signature: steps with equal signatures move as many blocks between the same nodes.
        walks: what `walk` finds in all steps, where that is less work than to look for it.
    """

    d: int
    radices: tuple[int, ...]
    owner: Array
    step: Callable[[int], PatternStep]
    pending: Callable[[int], Sets]
    folds: int = 0
    signature: Callable[[int], Hashable] = field(default=lambda s: s)
    walks: Callable[[int], tuple[NodeMessages, NodeMessages]] | None = None

    @property
    def nsteps(self) -> int:
        """Number of steps."""
        return len(self.radices)

    @property
    def nblocks(self) -> int:
        """Number of labels."""
        return len(self.owner)

    def walk(self, x: int, nsteps: int) -> tuple[NodeMessages, NodeMessages]:
        """What coordinate x sends, and receives, in the first so many steps."""
        if self.walks is not None and nsteps == self.nsteps:
            return self.walks(x)
        steps = [self.step(s) for s in range(nsteps)]

        def find(ends: Sequence[Array], peers: Sequence[Array]) -> NodeMessages:
            rows = [np.flatnonzero(end == x) for end in ends]
            none = [np.zeros(0, dtype=np.int64)]
            return NodeMessages(
                np.repeat(np.arange(nsteps), [len(some) for some in rows]),
                np.concatenate([peer[some] for peer, some in zip(peers, rows, strict=True)] + none),
                Sets.joined([step.sent.take(r) for step, r in zip(steps, rows, strict=True)]),
            )

        src, dst = [step.src for step in steps], [step.dst for step in steps]
        return find(src, dst), find(dst, src)

    def coarse(self, k: int) -> RingPattern:
        """The same line with only the blocks that its first k steps tell apart.

        Labels that are held together before step k become one. The sets must be ranges.
        """
        start = self.pending(k).start
        assert start is not None
        cuts = np.unique(start)

        def merge(sets: Sets) -> Sets:
            assert sets.start is not None
            lo = np.searchsorted(cuts, sets.start, side="right") - 1
            return Sets.ranges(lo, np.searchsorted(cuts, sets.start + sets.count) - lo)

        def step(s: int) -> PatternStep:
            src, dst, sent = self.step(s)
            return PatternStep(src, dst, merge(sent))

        radices = self.radices[:k]
        if int(np.prod(radices, dtype=np.int64)) != len(cuts):
            radices = (len(cuts),) + (1,) * (k - 1)
        return RingPattern(
            self.d,
            radices + (1,) * (self.nsteps - k),
            self.owner[cuts],
            step,
            lambda s: merge(self.pending(s)),
            self.folds,
        )


def tree_order(peers: Sequence[Array]) -> Array:
    """Coordinates in depth-first order of the tree that a sequence of pairings spans.

    ``peers[s][x]`` is the partner of x in step s. For d = 2^len(peers) the blocks a node sends
    in any step are one range of this order [De Sensi et al. 2024, §3.1.1].
    """
    owner = np.zeros(1, dtype=np.int64)
    for peer in peers:
        owner = np.stack([owner, peer[owner]], axis=1).ravel()
    return owner


def halving(peers: Sequence[Array]) -> RingPattern:
    """A power of two of nodes: in step s, x sends its partner the half that x's side lacks.

    >>> line = halving([np.array([1, 0, 3, 2]), np.array([3, 2, 1, 0])])
    >>> [line.owner[line.step(0).sent.members(x)].tolist() for x in range(4)]
    [[1, 2], [0, 3], [0, 3], [1, 2]]
    """
    d = 2 ** len(peers)
    owner = tree_order(peers)
    label = np.argsort(owner)
    nodes = np.arange(d)

    def step(s: int) -> PatternStep:
        half = d >> (s + 1)
        return PatternStep(nodes, peers[s], Sets.ranges((label // half ^ 1) * half, half))

    def pending(s: int) -> Sets:
        size = d >> s
        return Sets.ranges(label // size * size, size)

    return RingPattern(d, (2,) * len(peers), owner, step, pending)


def fold_to_power_of_two(core: RingPattern, d: int, deliver: bool = False) -> RingPattern:
    """A line on the next lower power of two, made to serve d nodes.

    The first nodes pair up, and the even one of each pair hands everything to its neighbour
    before the core runs. Blocks are those of the core; with ``deliver`` there are d, one a
    node, and a last step brings the handed-over nodes theirs.

    >>> fold(halving([np.array([1, 0])]), 3).step(0).src
    array([0])
    """
    if d == core.d:
        return core
    extra = d - core.d
    idle = 2 * np.arange(extra)  # these hand over, to the node on their right
    home = np.delete(np.arange(d), idle)  # coordinate of every core node
    if deliver:
        return _fold_and_deliver(core, d, idle, home)
    rank = np.full(d, -1)
    rank[home] = np.arange(core.d)

    def step(s: int) -> PatternStep:
        if s == 0:
            everything = Sets.ranges(np.zeros_like(idle), core.nblocks)
            return PatternStep(idle, idle + 1, everything)
        src, dst, sent = core.step(s - 1)
        return PatternStep(home[src], home[dst], sent)

    def pending(s: int) -> Sets:
        if s == 0:
            return Sets.ranges(np.zeros(d, dtype=np.int64), core.nblocks)
        inner = core.pending(s - 1)
        assert inner.start is not None
        return Sets.ranges(inner.start[rank], np.where(rank < 0, 0, inner.count[rank]))

    return RingPattern(d, (1, *core.radices), home[core.owner], step, pending, folds=1)


def _fold_and_deliver(core: RingPattern, d: int, idle: Array, home: Array) -> RingPattern:
    # A core node answers for its own block and for that of the node it stands in for; the
    # labels of both are neighbours, so ranges stay ranges.
    owners = [[home[x] - 1, home[x]] if home[x] - 1 in idle else [home[x]] for x in core.owner]
    owner = np.concatenate(owners).astype(np.int64)
    first = np.cumsum([0] + [len(o) for o in owners])
    label = np.argsort(owner)
    rank = np.full(d, -1)
    rank[home] = np.arange(core.d)
    last = core.nsteps + 1

    def widen(sets: Sets) -> Sets:
        assert sets.start is not None
        start = first[sets.start]
        return Sets.ranges(start, first[sets.start + sets.count] - start)

    def step(s: int) -> PatternStep:
        if s == 0:
            others = Sets(
                np.full(len(idle), d - 1), lambda i: np.delete(np.arange(d), label[idle[i]])
            )
            return PatternStep(idle, idle + 1, others)
        if s == last:
            return PatternStep(idle + 1, idle, Sets.ranges(label[idle], 1))
        src, dst, sent = core.step(s - 1)
        return PatternStep(home[src], home[dst], widen(sent))

    def pending(s: int) -> Sets:
        if s == 0:
            return Sets.ranges(np.zeros(d, dtype=np.int64), d)
        if s > last:
            return Sets.ranges(label, 1)
        inner = widen(core.pending(s - 1))
        assert inner.start is not None
        own = rank < 0
        return Sets.ranges(
            np.where(own, label, inner.start[rank]), np.where(own, 1, inner.count[rank])
        )

    return RingPattern(d, (d, *(1,) * last), owner, step, pending, folds=1)


def circulant_pattern(
    owner: Array, sign: Array, moves: Sequence[Sequence[tuple[int, Array]]]
) -> RingPattern:
    """A line that looks the same from every node, up to its direction.

    Args:
        owner: (d,) the coordinate that every label belongs to.
        sign: (d,) 1 or -1: the direction in which each coordinate counts.
        moves: of every step, pairs of a distance δ and the offsets o of blocks: coordinate x
            sends those of x + sign·o to x + sign·δ.
    """
    d = len(owner)
    label, nodes = np.argsort(owner), np.arange(d)

    def around(offsets: Array) -> Sets:
        count = np.full(d, len(offsets))
        return Sets(count, lambda x: np.sort(label[(x + sign[x] * offsets) % d]))

    kept = [np.arange(d)]
    for step in moves:
        sent = np.concatenate([offsets for _, offsets in step])
        kept.append(np.setdiff1d(kept[-1], sent % d))

    def line_step(s: int) -> PatternStep:
        sets = [around(offsets) for _, offsets in moves[s]]
        return PatternStep(
            np.tile(nodes, len(sets)),
            np.concatenate([(nodes + sign * delta) % d for delta, _ in moves[s]]),
            Sets.joined(sets),
        )

    radices = (d, *(1,) * (len(moves) - 1)) if moves else ()
    return RingPattern(d, radices, owner, line_step, lambda s: around(kept[s]))


def ring_line(d: int, direction: int = 1) -> RingPattern:
    """A ring: in step s, x sends block x - s - 1 to its neighbour (mirrored if direction is -1)."""
    nodes = np.arange(d)
    right = (nodes + direction) % d

    def step(s: int) -> PatternStep:
        return PatternStep(nodes, right, Sets.ranges((nodes - direction * (s + 1)) % d, 1))

    def pending(s: int) -> Sets:
        if s in (0, d - 1):  # everything, or one's own block
            return Sets.ranges(nodes * (s > 0), d - s)
        offsets = direction * np.arange(d - s)
        return Sets(np.full(d, d - s), lambda x: np.sort((x + offsets) % d))

    def walks(x: int) -> tuple[NodeMessages, NodeMessages]:
        when, left = np.arange(d - 1), (x - direction) % d
        sent, come = (Sets.ranges((y - direction * (when + 1)) % d, 1) for y in (x, left))
        return (
            NodeMessages(when, np.full(d - 1, right[x]), sent),
            NodeMessages(when, np.full(d - 1, left), come),
        )

    radices = (d,) + (1,) * (d - 2) if d > 1 else ()
    return RingPattern(d, radices, nodes, step, pending, signature=lambda s: 0, walks=walks)
