"""Decompose a torus of D dimensions into D edge-disjoint Hamiltonian cycles, by local search.

The links are split into D *families*; at first family j holds the links along dimension j, which
form many rings. If two opposite links of a square belong to one family and the other two to
another, the two families can swap them: each node still has two links of each family, so each
family still consists of rings. If the two links lay on different rings of a family, these rings
merge. If they lay on the same ring, it stays whole if it ran through both links in the same
direction, and splits otherwise. The search makes swaps that reduce the number of rings, and where
none does, a random one of those that add the fewest, until each family is a single ring.

Every torus with no size below 3 has such cycles [Kotzig 1973, Foregger 1978, Aubert and Schneider
1982]; the search is our own.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.torus import Array

ROUNDS = 1000
"""Largest number of rounds of swaps before the search gives up."""


class _Links(NamedTuple):
    """End nodes of each link: link ``j·p + v`` goes from node v up along dimension j."""

    tail: Array
    head: Array


class _Rings(NamedTuple):
    """The rings of all families.

    Args:
        total: number of rings.
        ring: (links,) number of each link's ring.
        upwards: (links,) whether its ring runs through the link from tail to head.
        nodes: for each family, the nodes in order, ring after ring.
    """

    total: int
    ring: Array
    upwards: NDArray[np.bool_]
    nodes: list[Array]


@cache
def disjoint_cycles(dims: tuple[int, ...]) -> tuple[Array, ...] | None:
    """Find one cycle per dimension, each through all nodes, which together use every link once.

    Args:
        dims: sizes from 2 up; a ring of two nodes has two links.

    Returns:
        For each cycle a (p,) array of row-major nodes in order. None if the search fails, as it may
        on tori with rings of two and on long thin ones. The search takes a second for 4,096 nodes.
    """
    p = math.prod(dims)
    rng = np.random.default_rng(0)  # all ranks must find the same cycles
    grid = np.arange(p).reshape(dims)
    up = [np.roll(grid, -1, axis=j).ravel() for j in range(len(dims))]
    links = _Links(np.tile(np.arange(p), len(dims)), np.concatenate(up))
    squares, turned = _squares(dims, up)
    family = np.repeat(np.arange(len(dims)), p)
    for _ in range(ROUNDS):
        rings = _trace_rings(links, family, p)
        if rings.total == len(dims):
            return tuple(rings.nodes)
        a, b, c, d = family[squares]
        swappable = np.flatnonzero((a == b) & (c == d) & (a != c))
        change = sum(  # by how much each swap changes the number of rings
            np.where(
                rings.ring[one] != rings.ring[two],
                -1,
                (rings.upwards[one] == rings.upwards[two]) == turned[k, swappable],
            )
            for k, (one, two) in enumerate(squares[:, swappable].reshape(2, 2, -1))
        )
        assert isinstance(change, np.ndarray)
        order = rng.permutation(len(swappable))
        order = order[np.argsort(change[order], kind="stable")]
        # Where no swap reduces the rings, leave the local minimum by one that adds the fewest.
        order = order[change[order] < 0] if change.min() < 0 else order[:1]
        _swap(squares[:, swappable[order]], family, rings)
    return None


def _squares(dims: tuple[int, ...], up: list[Array]) -> tuple[Array, NDArray[np.bool_]]:
    """List all squares of links, in every plane of two dimensions i < j.

    Returns:
        (4, m) the links of each square: two opposite ones along i, then two along j.
        (2, m) whether the two links of each pair point, from tail to head, in opposite directions.
        They do so only on rings of two nodes, which a second link joins in the other direction.
    """
    p = math.prod(dims)
    squares, turned = [], []
    for i, j in itertools.combinations(range(len(dims)), 2):
        far = up[i][up[j]]
        for back_i in (False, True)[: 1 + (dims[i] == 2)]:
            for back_j in (False, True)[: 1 + (dims[j] == 2)]:
                across = i * p + (far if back_i else up[j]), j * p + (far if back_j else up[i])
                squares.append([i * p + np.arange(p), across[0], j * p + np.arange(p), across[1]])
                turned.append([np.full(p, back_i), np.full(p, back_j)])
    return np.concatenate(squares, axis=1), np.concatenate(turned, axis=1)


def _trace_rings(links: _Links, family: Array, p: int) -> _Rings:
    """Follow the rings of each family."""
    ring, upwards = np.zeros(len(family), dtype=np.int64), np.zeros(len(family), dtype=bool)
    count, nodes = 0, []
    tail, head = links.tail.tolist(), links.head.tolist()
    for f in range(family.max() + 1):
        members = np.flatnonzero(family == f)
        ends = np.concatenate([links.tail[members], links.head[members]])
        # Each node has exactly two links of the family, so sorting by node gives pairs.
        two = np.tile(members, 2)[np.argsort(ends, kind="stable")].reshape(p, 2).tolist()
        seen, path, passed, up, number = [False] * p, [], [], [], []
        for start in range(p):
            x, link = start, two[start][0]
            while not seen[x]:
                seen[x] = True
                path.append(x)
                passed.append(link)
                up.append(tail[link] == x)
                number.append(count)
                x = head[link] if up[-1] else tail[link]
                a, b = two[x]
                link = b if link == a else a
            count = number[-1] + 1
        ring[passed], upwards[passed] = number, up
        nodes.append(np.array(path))
    return _Rings(count, ring, upwards, nodes)


def _swap(squares: Array, family: Array, rings: _Rings) -> None:
    """Swap the links of the squares in turn, skipping swaps whose effect is no longer certain.

    ``rings`` describes the state before the first swap. Rings that have merged since are followed
    with a union-find. Once a ring has lost two links of its own, its directions are unknown.
    """
    root, torn = list(range(rings.total)), [False] * rings.total
    touched = np.zeros(len(family), dtype=bool)

    def find(x: int) -> int:
        while root[x] != x:
            x = root[x]
        return x

    for square in squares.T:
        before = rings.ring[square].tolist()
        now = [find(x) for x in before]
        pairs = [(before[k] == before[k + 1], now[k], now[k + 1]) for k in (0, 2)]
        if touched[square].any() or any(torn[x] if same else x == y for same, x, y in pairs):
            continue
        for same, x, y in pairs:
            torn[y] |= torn[x] | same  # directions stay right until a ring loses a pair of its own
            root[x] = y
        touched[square] = True
        family[square] = family[square[[2, 3, 0, 1]]]
