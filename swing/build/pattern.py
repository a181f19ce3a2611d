"""Ring patterns: reduce-scatters on one ring of d nodes, from which torus algorithms are built.

A pattern states, step by step, which coordinate sends which blocks to which other coordinate. Each
node sends every block except its own exactly once, after it has received all contributions to that
block that pass through it. The routes of a block's contributions thus form an in-tree that ends at
its owner. `swing.build.combine` multiplies the patterns of several dimensions into one schedule.

Blocks are numbered by *labels*, chosen so that the sets of blocks that a pattern sends are ranges
of labels wherever possible; ``owner[label]`` is the coordinate that a block belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from swing.schedules.blocks import Blocks
from swing.torus import Array


class PatternStep(NamedTuple):
    """One step of a pattern: ``src[i]`` sends the i-th set of labels in ``sent`` to ``dst[i]``.

    Args:
        src, dst: (m,) coordinates.
        sent: the labels of each of the m messages.
    """

    src: Array
    dst: Array
    sent: Blocks


class NodeMessages(NamedTuple):
    """The messages that one coordinate of a pattern sends, or those it receives.

    In step ``step[i]`` the i-th set of labels in ``sent`` goes to, or comes from, coordinate
    ``peer[i]``.

    Args:
        step: (m,) indices of the steps.
        peer: (m,) coordinates.
        sent: the labels of each of the m messages.
    """

    step: Array
    peer: Array
    sent: Blocks


@dataclass(frozen=True, eq=False)
class RingPattern:
    """A reduce-scatter on one ring.

    Args:
        d: number of nodes of the ring.
        radices: for each step, the number of values of the digit that it adds to the labels; the
            product is the number of labels. A step that halves the labels has radix 2. In a
            pattern whose sets are not ranges, the first digit is the whole label.
        owner: (nblocks,) the coordinate that each label belongs to.
        step: maps an index in ``range(nsteps)`` to a PatternStep.
        pending: maps s in ``range(nsteps + 1)`` to the labels that each coordinate has not yet
            passed on before step s, one set per coordinate.
        folds: number of steps at the start that only reduce the active nodes to a power of two.
        signature: maps a step index to a key. Steps with equal keys move the same number of blocks
            between the same nodes.
        find_messages: computes the messages of one coordinate in all steps, where that is cheaper
            than selecting them from the steps; see `messages_of`.
    """

    d: int
    radices: tuple[int, ...]
    owner: Array
    step: Callable[[int], PatternStep]
    pending: Callable[[int], Blocks]
    folds: int = 0
    signature: Callable[[int], Hashable] = field(default=lambda s: s)
    find_messages: Callable[[int], tuple[NodeMessages, NodeMessages]] | None = None

    @property
    def nsteps(self) -> int:
        """Number of steps."""
        return len(self.radices)

    @property
    def nblocks(self) -> int:
        """Number of labels."""
        return len(self.owner)

    def messages_of(self, x: int, nsteps: int) -> tuple[NodeMessages, NodeMessages]:
        """Return the messages that coordinate ``x`` sends and receives in ``nsteps`` steps."""
        if self.find_messages is not None and nsteps == self.nsteps:
            return self.find_messages(x)
        steps = [self.step(s) for s in range(nsteps)]

        def find(ends: Sequence[Array], peers: Sequence[Array]) -> NodeMessages:
            rows = [np.flatnonzero(end == x) for end in ends]
            none = [np.zeros(0, dtype=np.int64)]  # np.concatenate refuses an empty list
            return NodeMessages(
                np.repeat(np.arange(nsteps), [len(row) for row in rows]),
                np.concatenate([peer[row] for peer, row in zip(peers, rows, strict=True)] + none),
                Blocks.join([step.sent.take(row) for step, row in zip(steps, rows, strict=True)]),
            )

        src, dst = [step.src for step in steps], [step.dst for step in steps]
        return find(src, dst), find(dst, src)

    def coarse(self, k: int) -> RingPattern:
        """Merge the labels that the first ``k`` steps do not separate.

        The result has one label for each set that is pending before step k. All sets of the pattern
        must be ranges.
        """
        start = self.pending(k).starts
        assert start is not None
        cuts = np.unique(start)

        def merge(sets: Blocks) -> Blocks:
            assert sets.starts is not None
            lo = np.searchsorted(cuts, sets.starts, side="right") - 1
            return Blocks.ranges(lo, np.searchsorted(cuts, sets.starts + sets.counts) - lo)

        def step(s: int) -> PatternStep:
            src, dst, sent = self.step(s)
            return PatternStep(src, dst, merge(sent))

        radices = self.radices[:k]
        if int(np.prod(radices, dtype=np.int64)) != len(cuts):
            radices = (len(cuts),) + (1,) * (k - 1)  # one digit for all labels

        def pending(s: int) -> Blocks:
            return merge(self.pending(s))

        radices += (1,) * (self.nsteps - k)
        return RingPattern(self.d, radices, self.owner[cuts], step, pending, self.folds)


def translates(pattern: RingPattern, s: int) -> list[tuple[int, Array]] | None:
    """Return the messages of a step of a ring pattern as translates, after a check that they are.

    Returns:
        For each message of a coordinate x the distance δ to its receiver x + δ, and the distances
        from x to the coordinates whose blocks it carries; None if coordinates send differently.

    >>> translates(ring_line(4), 0)
    [(1, array([3]))]
    >>> translates(halving([np.array([1, 0, 3, 2]), np.array([3, 2, 1, 0])]), 0) is None
    True
    """
    src, dst, sent = pattern.step(s)
    shifts = (dst - src) % pattern.d
    rows = [np.flatnonzero(shifts == shift) for shift in np.unique(shifts)]
    found = [(int(shifts[row[0]]), _alike(pattern, src[row], sent.take(row))) for row in rows]
    known = [(shift, offsets) for shift, offsets in found if offsets is not None]
    return known if len(known) == len(found) else None


def pending_offsets(pattern: RingPattern, s: int) -> Array | None:
    """Return the distances from each coordinate to those whose blocks are pending before step s.

    None if they differ from coordinate to coordinate.
    """
    return _alike(pattern, np.arange(pattern.d), pattern.pending(s))


def _alike(pattern: RingPattern, nodes: Array, sets: Blocks) -> Array | None:
    """Return the distances from each node to the owners of its set, if all nodes have the same."""
    d = pattern.d
    once = len(nodes) == d == pattern.nblocks == len(np.unique(nodes))
    if not once or np.ptp(sets.counts) or len(np.unique(pattern.owner)) < d:
        return None
    row, label = sets.flat()
    offsets = np.sort(((pattern.owner[label] - nodes[row]) % d).reshape(d, -1), axis=1)
    return offsets[0] if (offsets == offsets[0]).all() else None


def contributions(pattern: RingPattern) -> list[tuple[Array, Array]]:
    """Count the contributions that the coordinates of a ring pattern send and hold.

    Returns:
        For each step, and once more for the end: the (m,) contributions in each message, and the
        (d,) contributions that each coordinate holds before the step, over all labels.
    """
    held = np.ones((pattern.nblocks, pattern.d), dtype=np.int64)
    total = held.sum(axis=0)
    counts = []
    for s in range(pattern.nsteps):
        src, dst, sent = pattern.step(s)
        row, label = sent.flat()
        moved = held[label, src[row]]
        carried = np.bincount(row, moved, len(src)).astype(np.int64)
        counts.append((carried, total.copy()))
        np.subtract.at(total, src, carried)
        np.add.at(total, dst, carried)
        held[label, src[row]] -= moved
        np.add.at(held, (label, dst[row]), moved)
    return [*counts, (np.zeros(0, dtype=np.int64), total)]


def tree_order(peers: Sequence[Array]) -> Array:
    """List the coordinates in depth-first order of the tree that a sequence of pairings spans.

    If there are d = 2^len(peers) nodes, the blocks that a node sends in any step are one range of
    this order [De Sensi et al. 2024, §3.1.1].

    Args:
        peers: for each step, a (d,) array: ``peers[s][x]`` is the partner of x in step s.

    Returns:
        (2^len(peers),) coordinates; where d is smaller, some of them occur more than once.
    """
    owner = np.zeros(1, dtype=np.int64)
    for peer in peers:
        owner = np.stack([owner, peer[owner]], axis=1).ravel()
    return owner


def halving(peers: Sequence[Array]) -> RingPattern:
    """Recursive halving on 2^n nodes: in step s each node sends its partner half of its labels.

    The partner of node x in step s is ``peers[s][x]``. Node x keeps the half that contains its own
    block.

    >>> pattern = halving([np.array([1, 0, 3, 2]), np.array([3, 2, 1, 0])])
    >>> [pattern.owner[pattern.step(0).sent.members(x)].tolist() for x in range(4)]
    [[1, 2], [0, 3], [0, 3], [1, 2]]
    """
    d = 2 ** len(peers)
    owner = tree_order(peers)
    label = np.argsort(owner)
    nodes = np.arange(d)

    def step(s: int) -> PatternStep:
        half = d >> (s + 1)
        return PatternStep(nodes, peers[s], Blocks.ranges((label // half ^ 1) * half, half))

    def pending(s: int) -> Blocks:
        size = d >> s
        return Blocks.ranges(label // size * size, size)

    return RingPattern(d, (2,) * len(peers), owner, step, pending)


def fold_to_power_of_two(core: RingPattern, d: int, deliver: bool = False) -> RingPattern:
    """Extend a pattern on a power of two of nodes to d nodes, at most twice as many as it has.

    The first 2·(d - core.d) nodes form pairs. The even node of each pair sends its whole vector to
    its right-hand neighbour, and stays idle while the core runs. The blocks are those of the core.
    With ``deliver`` there are d blocks, one per node, an idle node does not send its own block, and
    a last step brings it that block complete.

    Args:
        core: the pattern; all its sets must be ranges.
        d: number of nodes, from core.d to 2·core.d.
        deliver: whether idle nodes own blocks too.

    >>> fold_to_power_of_two(halving([np.array([1, 0])]), 3).step(0).src
    array([0])
    """
    if d == core.d:
        return core
    extra = d - core.d
    idle = 2 * np.arange(extra)
    home = np.delete(np.arange(d), idle)  # coordinate of each core node
    if deliver:
        return _fold_and_deliver(core, d, idle, home)
    core_node = np.full(d, -1)  # -1 for idle nodes
    core_node[home] = np.arange(core.d)

    def step(s: int) -> PatternStep:
        if s == 0:
            everything = Blocks.ranges(np.zeros_like(idle), core.nblocks)
            return PatternStep(idle, idle + 1, everything)
        src, dst, sent = core.step(s - 1)
        return PatternStep(home[src], home[dst], sent)

    def pending(s: int) -> Blocks:
        if s == 0:
            return Blocks.ranges(np.zeros(d, dtype=np.int64), core.nblocks)
        inner = core.pending(s - 1)
        assert inner.starts is not None
        count = np.where(core_node < 0, 0, inner.counts[core_node])
        return Blocks.ranges(inner.starts[core_node], count)

    return RingPattern(d, (1, *core.radices), home[core.owner], step, pending, folds=1)


def _fold_and_deliver(core: RingPattern, d: int, idle: Array, home: Array) -> RingPattern:
    # A core node collects its own block and that of the idle node that it stands in for. The two
    # blocks get neighbouring labels, so ranges of the core's labels stay ranges.
    owners = [[home[x] - 1, home[x]] if home[x] - 1 in idle else [home[x]] for x in core.owner]
    owner = np.concatenate(owners).astype(np.int64)
    first = np.cumsum([0] + [len(o) for o in owners])
    label = np.argsort(owner)
    core_node = np.full(d, -1)  # -1 for idle nodes
    core_node[home] = np.arange(core.d)
    last = core.nsteps + 1

    def widen(sets: Blocks) -> Blocks:
        assert sets.starts is not None
        start = first[sets.starts]
        return Blocks.ranges(start, first[sets.starts + sets.counts] - start)

    def step(s: int) -> PatternStep:
        if s == 0:
            others = Blocks.sets(
                np.full(len(idle), d - 1), lambda i: np.delete(np.arange(d), label[idle[i]])
            )
            return PatternStep(idle, idle + 1, others)
        if s == last:
            return PatternStep(idle + 1, idle, Blocks.ranges(label[idle], 1))
        src, dst, sent = core.step(s - 1)
        return PatternStep(home[src], home[dst], widen(sent))

    def pending(s: int) -> Blocks:
        if s == 0:
            return Blocks.ranges(np.zeros(d, dtype=np.int64), d)
        if s > last:
            return Blocks.ranges(label, 1)
        inner = widen(core.pending(s - 1))
        assert inner.starts is not None
        alone = core_node < 0  # idle nodes have only their own block left
        return Blocks.ranges(
            np.where(alone, label, inner.starts[core_node]),
            np.where(alone, 1, inner.counts[core_node]),
        )

    return RingPattern(d, (d, *(1,) * last), owner, step, pending, folds=1)


def circulant_pattern(
    owner: Array, sign: Array, moves: Sequence[Sequence[tuple[int, Array]]]
) -> RingPattern:
    """Make a pattern in which all nodes send alike, relative to their position and direction.

    Args:
        owner: (d,) the coordinate that each label belongs to.
        sign: (d,) 1 or -1: the direction in which each coordinate counts.
        moves: for each step, pairs of a distance δ and an array of block offsets o: coordinate x
            sends the blocks of the coordinates x + sign·o to x + sign·δ, all modulo d.
    """
    d = len(owner)
    label, nodes = np.argsort(owner), np.arange(d)

    def around(offsets: Array) -> Blocks:
        if len(offsets) == 1:
            return Blocks.ranges(label[(nodes + sign * offsets) % d], 1)
        if len(offsets) == d:
            return Blocks.ranges(np.zeros(d, dtype=np.int64), d)
        count = np.full(d, len(offsets))
        return Blocks.sets(count, lambda x: np.sort(label[(x + sign[x] * offsets) % d]))

    # The step in which a coordinate passes on the block at each offset; its own stays.
    leaves = np.full(d, len(moves))
    for s, messages in enumerate(moves):
        leaves[np.concatenate([offsets for _, offsets in messages]) % d] = s

    def step(s: int) -> PatternStep:
        sets = [around(offsets) for _, offsets in moves[s]]
        dst = np.concatenate([(nodes + sign * delta) % d for delta, _ in moves[s]])
        return PatternStep(np.tile(nodes, len(sets)), dst, Blocks.join(sets))

    def pending(s: int) -> Blocks:
        return around(np.flatnonzero(leaves >= s))

    def signature(s: int) -> Hashable:
        return tuple((delta % d, len(offsets)) for delta, offsets in moves[s])

    radices = (d, *(1,) * (len(moves) - 1)) if moves else ()
    return RingPattern(d, radices, owner, step, pending, signature=signature)


def ring_line(d: int, direction: int = 1) -> RingPattern:
    """Make the pattern of the ring algorithm: in step s, node x sends block x - s - 1 to x + 1.

    With ``direction`` -1 everything is mirrored: node x sends block x + s + 1 to x - 1.
    """
    nodes = np.arange(d)
    right = (nodes + direction) % d

    def step(s: int) -> PatternStep:
        return PatternStep(nodes, right, Blocks.ranges((nodes - direction * (s + 1)) % d, 1))

    def pending(s: int) -> Blocks:
        # Before the first step all blocks are pending, and after the last step only a node's own.
        # In between, some sets wrap around from the last label to the first, so not all are ranges.
        if s in (0, d - 1):
            return Blocks.ranges(nodes * (s > 0), d - s)
        offsets = direction * np.arange(d - s)
        return Blocks.sets(np.full(d, d - s), lambda x: np.sort((x + offsets) % d))

    def find_messages(x: int) -> tuple[NodeMessages, NodeMessages]:
        steps, left = np.arange(d - 1), (x - direction) % d
        sent, received = (Blocks.ranges((y - direction * (steps + 1)) % d, 1) for y in (x, left))
        return (
            NodeMessages(steps, np.full(d - 1, right[x]), sent),
            NodeMessages(steps, np.full(d - 1, left), received),
        )

    radices = (d,) + (1,) * (d - 2) if d > 1 else ()
    return RingPattern(
        d, radices, nodes, step, pending, signature=lambda s: 0, find_messages=find_messages
    )


def two_way_line(d: int, direction: int = 1) -> RingPattern:
    """Make the pattern of a ring in both directions, which takes d // 2 steps.

    In the first step, node x sends on the blocks of the nodes that are farthest from it, each to
    its neighbour on the way there; in the last step those of its neighbours. In a ring of even size
    the block half a ring away goes in ``direction``.
    """
    ahead, behind = d // 2, (d - 1) // 2
    moves = [
        [
            (side, np.array([side * away]))
            for side, most in ((1, ahead), (-1, behind))
            if away <= most
        ]
        for away in range(ahead, 0, -1)
    ]
    return circulant_pattern(np.arange(d), np.full(d, direction), moves)
