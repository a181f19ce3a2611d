"""Edge-disjoint trees: 2·D spanning trees of a torus that use every link once, in chunks.

On a torus of D dimensions, each of the 2·D trees of a broadcast leaves the root through a link of
its own, and carries its own share of the vector in chunks that follow each other. No two trees
share a link, so every rank receives over all its links all the time. A reduce takes the same trees
the other way, and every rank sends as soon as it has what it passes on.

The tree of dimension j and direction + takes the dimensions in the order j, j + 1, …, and each of
them only in direction +, all the way round. A node whose offset from the root has the coordinates x
is thus reached along the last dimension in this order in which x is not 0. Where x_j is 0, that
would be the link of another tree, so the node is reached over the last link round dimension j. A
local search (`swing.build.shorten_trees`) then exchanges links between trees until their depth is
about the distance of the farthest node.

In a reduce, a leaf has all its chunks from the start. If it posts them at once, then what it passes
on in the other trees queues behind them at its network card. With a *window* of w chunks, a rank
sends chunk i + w of a tree only when chunk i has arrived from all its children in all trees: links
stay busy if w chunks take as long as a chunk's latency and its bytes.

Restrictions: none; where a dimension does not wrap, messages go back through all of it.

Cost: depth h = Σ⌊d_i/2⌋ + 1 or + 2 on squares and cubes, Σ(d_i - 1) + 1 at most. With c chunks of a
tree's share, T = h·(α + β·n/(2D·c)) + (c - 1)·β·n/(2D·c), where β is the time per byte of one link.

>>> import swing
>>> print(swing.schedule("disjoint_trees", swing.Torus((2, 2)), collective="broadcast"))
0 =  0→2:0  0→1:1  0→2:2  0→1:3
1 =  2→3:0  1→3:1  2→3:2  1→3:3
2 =  3→1:0  3→2:1  3→1:2  3→2:3

Source: the decomposition is our own; that one exists: Edmonds 1973.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm, never
from swing.build.combine import chain
from swing.build.parallel import parallel
from swing.build.reversal import reverse
from swing.build.tree import reduce_to_root
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus


def disjoint_trees(
    torus: Torus,
    *,
    chunks: int = 1,
    window: int | None = None,
    collective: str = "allreduce",
    root: int = 0,
) -> Schedule:
    """Send chunks one after the other along spanning trees that share no link.

    Args:
        torus: the ranks.
        chunks: number of chunks that follow each other along each tree.
        window: number of chunks of a tree that a rank sends before it waits for others; all chunks
            if None.
        collective: "broadcast", "reduce", or "allreduce" for both.
        root: the root of all trees.

    Raises:
        ValueError: chunks or a window below 1.
    """
    for name, count in (("chunks", chunks), ("window", 1 if window is None else window)):
        if count < 1:
            raise ValueError(f"{name} must be a whole number from 1 up, not {count}")
    trees = [(toward, depths(toward, root)) for toward in parents(torus, root)]

    def along(toward: Array, depth: Array, count: int) -> Schedule:
        """Send chunks along one tree."""
        src = np.flatnonzero(toward != torus.ranks)

        def tree(when: Array) -> Schedule:
            return reduce_to_root("disjoint_trees", torus, root, src, toward[src], when[src], count)

        # In a reduce, every rank sends as early as it can. With a window, a rank waits for chunks
        # that it passes on. The sooner they come, the fewer chunks of trees in which it is a leaf
        # are ahead of them at its network card.
        inwards, outwards = tree(heights(toward, depth)), reverse(tree(depth.max() - depth))
        if collective == "allreduce":
            return chain(inwards, outwards)
        return inwards if collective == "reduce" else outwards

    if window is None:
        return parallel([along(*tree, chunks) for tree in trees], lockstep=False)

    @cache
    def in_step(count: int) -> Schedule:
        """Send chunks along all trees, each chunk after the one before it has arrived."""
        return parallel([along(*tree, count) for tree in trees])

    # Chunks follow each other at a distance of the window, and do not wait for those in between.
    counts = [len(range(first, chunks, window)) for first in range(min(window, chunks))]
    return parallel(list(map(in_step, counts)), lockstep=False)


MAX_SEARCHED = 4096
"""Most ranks for which the trees are made shallower; the search takes a minute for so many."""


WINDOW = 8
"""A window that keeps links busy: 8 chunks of a packet or less take longer than its latency."""


def parents(torus: Torus, root: int) -> list[Array]:
    """List the (p,) parents of all ranks in each tree; the root is its own parent."""
    offsets = (torus.coords - torus.coords[root]) % torus.dims
    node = np.ravel_multi_index(tuple(offsets.T), torus.dims)
    trees = []
    for toward in shallow(torus.dims):
        up = np.stack(np.unravel_index(toward[node], torus.dims), axis=1)
        trees.append(torus.rank_at(up + torus.coords[root]))
    return trees


@lru_cache(maxsize=16)
def shallow(dims: tuple[int, ...]) -> Array:
    """Make the trees as shallow as a local search can: (trees, p) parents, with the root at node 0.

    >>> def deepest(trees):
    ...     return max(int(depths(tree, 0).max()) for tree in trees)
    >>> [(deepest(one_way(dims)), deepest(shallow(dims))) for dims in ((8, 8), (10, 10), (4, 4, 4))]
    [(15, 10), (19, 12), (10, 7)]
    """
    trees = one_way(dims)
    if math.prod(dims) > MAX_SEARCHED:
        return trees
    # Imported here because numba takes half a second.
    from swing.build.shorten_trees import shorten

    return shorten(trees, 0, sum(d // 2 for d in dims) + 1)


def one_way(dims: tuple[int, ...]) -> Array:
    """Make the trees that take each dimension in one direction: (trees, p) parents of the nodes.

    The root is node 0. The trees are those of direction + of every dimension longer than 1, then
    those of direction -.
    """
    active = [j for j, d in enumerate(dims) if d > 1]
    nodes = np.arange(math.prod(dims))
    coords = np.stack(np.unravel_index(nodes, dims), axis=1)
    trees = [nodes] if not active else []
    for direction in (1, -1):
        for j in range(len(active)):
            order = active[j:] + active[:j]
            visited = coords[:, order] != 0
            last = len(order) - 1 - visited[:, ::-1].argmax(axis=1)
            along = np.array(order)[np.where(visited[:, 0], last, 0)]
            up = coords.copy()
            up[nodes, along] -= direction
            toward = np.ravel_multi_index(tuple(up.T), dims, mode="wrap")
            toward[0] = 0
            trees.append(toward)
    return np.array(trees)


def depths(toward: Array, root: int) -> Array:
    """(p,) number of messages between the root and every rank in a tree."""
    depth, at = np.zeros_like(toward), np.arange(len(toward))
    while (away := at != root).any():
        depth += away
        at = toward[at]
    return depth


def heights(toward: Array, depth: Array) -> Array:
    """(p,) number of messages between every rank and the farthest rank below it in a tree."""
    height = np.zeros_like(toward)
    for level in range(int(depth.max(initial=0)), 0, -1):
        at = np.flatnonzero(depth == level)
        np.maximum.at(height, toward[at], height[at] + 1)
    return height


def _others(torus: Torus) -> list[dict[str, Any]]:
    # Of all trees together, 1280 chunks are five times a power of two, since a header makes a
    # message of a power of two bytes one packet longer.
    many = 1280 // max(1, 2 * len(torus.active))
    at_once = [{"chunks": count} for count in dict.fromkeys((1, 4, 16, 64, many, 1024))]
    # Equal numbers of chunks keep step with each other.
    return [*at_once, {"chunks": many // WINDOW * WINDOW, "window": WINDOW}]


DISJOINT_TREES = Algorithm(
    "disjoint_trees", disjoint_trees, source="Edmonds 1973; the decomposition is our own",
    makes=("allreduce", "broadcast", "reduce"), style=("#17BECF", "4"), family=never, rival=False,
    others=_others,
)  # fmt: skip
