"""Make edge-disjoint spanning trees shallower, by local search.

The trees have one root, and every rank has one parent in each tree, over a link that no other tree
uses. At one rank, two trees may exchange their parents. They remain edge-disjoint, and they remain
trees unless one of the new parents is a descendant of the rank. The search makes the exchanges that
reduce the penalty Σ max(0, depth - target)³ + depth/100 over all ranks and trees. Exchanges that
leave it equal are made now and then, so that the search can move on.
"""

from __future__ import annotations

import numpy as np

from swing.compilation import njit
from swing.torus import Array

SWEEPS = 60
"""Most sweeps over all ranks, after which trees that are deeper than wanted are kept."""


def shorten(parents: Array, root: int, target: int) -> Array:
    """Return trees on the same links whose depth is at most ``target``, if the search finds them.

    The result is the same in every run.

    Args:
        parents: (trees, p) the parent of every rank in each tree; the root is its own parent.
        root: the root of all trees.
        target: the depth at which the search ends.
    """
    shorter = parents.astype(np.int64)
    _search(shorter, root, target, SWEEPS)
    return shorter


@njit()
def _search(parents: Array, root: int, target: int, sweeps: int) -> None:
    trees, p = parents.shape
    depth = np.zeros((trees, p), np.int64)
    size = np.zeros((trees, p), np.int64)  # of the subtree below each rank
    first = np.zeros((trees, p), np.int64)  # position in depth-first order
    order = np.zeros((trees, p), np.int64)  # the ranks in depth-first order
    for t in range(trees):
        _measure(parents[t], root, depth[t], size[t], first[t], order[t])
    ranks = np.arange(p)
    state = np.uint64(1)  # numpy's random numbers may differ between versions
    for _ in range(sweeps):
        if depth.max() <= target:
            return
        for i in range(p - 1, 0, -1):
            state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            j = np.int64((state >> np.uint64(33)) % np.uint64(i + 1))
            ranks[i], ranks[j] = ranks[j], ranks[i]
        for v in ranks:
            for a in range(trees):
                for b in range(a):
                    up_a, up_b = parents[a, v], parents[b, v]
                    # The links of the root stay with the trees that begin with them.
                    if root in (v, up_a, up_b) or up_a == up_b:
                        continue
                    below_a = first[a, v] <= first[a, up_b] < first[a, v] + size[a, v]
                    below_b = first[b, v] <= first[b, up_a] < first[b, v] + size[b, v]
                    deeper_a = depth[a, up_b] + 1 - depth[a, v]
                    deeper_b = depth[b, up_a] + 1 - depth[b, v]
                    if (
                        below_a
                        or below_b
                        or (max(deeper_a, deeper_b) > 0 <= min(deeper_a, deeper_b))
                    ):
                        continue
                    more = _penalty(depth[a], order[a], first[a, v], size[a, v], deeper_a, target)
                    more += _penalty(depth[b], order[b], first[b, v], size[b, v], deeper_b, target)
                    state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                    if more < 0 or (more == 0 and (state >> np.uint64(33)) % np.uint64(8) == 0):
                        parents[a, v], parents[b, v] = up_b, up_a
                        _measure(parents[a], root, depth[a], size[a], first[a], order[a])
                        _measure(parents[b], root, depth[b], size[b], first[b], order[b])


@njit()
def _penalty(depth: Array, order: Array, first: int, size: int, deeper: int, target: int) -> float:
    """Return by how much the penalty of a subtree rises if it moves down by ``deeper``."""
    more = 0.01 * deeper * size
    for i in range(first, first + size):
        before = max(depth[order[i]] - target, 0)
        after = max(depth[order[i]] + deeper - target, 0)
        more += after**3 - before**3
    return more


@njit()
def _measure(
    parent: Array, root: int, depth: Array, size: Array, first: Array, order: Array
) -> None:
    """Fill in the depth, the size of the subtree and the depth-first order of a tree's ranks."""
    p = len(parent)
    depth[:] = -1
    depth[root] = 0
    for v in range(p):
        hops, w = 0, v
        while depth[w] < 0:
            hops, w = hops + 1, parent[w]
        below, w = depth[w] + hops, v
        while depth[w] < 0:
            depth[w], below, w = below, below - 1, parent[w]
    ends = np.cumsum(np.bincount(depth))
    by_depth = np.empty(p, np.int64)
    for v in range(p):
        ends[depth[v]] -= 1
        by_depth[ends[depth[v]]] = v
    size[:] = 1
    for v in by_depth[:0:-1]:
        size[parent[v]] += size[v]
    free = np.zeros(p, np.int64)  # the next free position below each rank
    first[root], free[root] = 0, 1
    for v in by_depth[1:]:
        first[v] = free[parent[v]]
        free[parent[v]] += size[v]
        free[v] = first[v] + 1
    for v in range(p):
        order[first[v]] = v
