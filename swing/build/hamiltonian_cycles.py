"""Edge-disjoint Hamiltonian cycles of a torus: all links of D dimensions in D cycles.

The links of each dimension are rings, many of them; dimension j begins with those of its own as
its *family*. Where two opposite links of a square belong to one family and the other two to
another, the families swap them: each node still has two links of each family, so these still are
rings. If the two links lay on different rings of a family, they are one ring afterwards. If they
lay on the same ring, it stays one if it ran through both in the same direction, and falls apart
if not. So we swap as long as rings become fewer, and what comes out is checked by counting: D
families of one ring each.

That every torus with no size below 3 has such cycles is a theorem [Kotzig 1973, Foregger 1978,
Aubert and Schneider 1982]; the search is our own.
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


class _Links(NamedTuple):
    """Link ``j·p + v`` goes from node v up along dimension j."""

    tail: Array
    head: Array


class _Rings(NamedTuple):
    """The rings of all families: their number, of each link its ring and direction, the nodes."""

    total: int
    ring: Array
    upwards: NDArray[np.bool_]
    nodes: list[Array]


@cache
def disjoint_cycles(dims: tuple[int, ...]) -> tuple[Array, ...] | None:
    """One cycle a dimension, each through all nodes (row-major), together over every link.

    Args:
        dims: sizes from 2 up; a ring of two has two links.

    Returns:
        (p,) nodes in order for every cycle; None if none were found, which happens on tori with
        rings of two and on long thin ones. The search takes a second for 4,096 nodes.
    """
    p = math.prod(dims)
    rng = np.random.default_rng(0)
    grid = np.arange(p).reshape(dims)
    up = [np.roll(grid, -1, axis=j).ravel() for j in range(len(dims))]
    links = _Links(np.tile(np.arange(p), len(dims)), np.concatenate(up))
    squares, turned = _squares(dims, up)
    family = np.repeat(np.arange(len(dims)), p)
    for _ in range(ROUNDS):
        rings = _walk(links, family, p)
        if rings.total == len(dims):
            return tuple(rings.nodes)
        a, b, c, d = family[squares]
        some = np.flatnonzero((a == b) & (c == d) & (a != c))
        more = sum(
            np.where(
                rings.ring[one] != rings.ring[two],
                -1,
                (rings.upwards[one] == rings.upwards[two]) == turned[k, some],
            )
            for k, (one, two) in enumerate(squares[:, some].reshape(2, 2, -1))
        )
        assert isinstance(more, np.ndarray)
        order = rng.permutation(len(some))
        order = order[np.argsort(more[order], kind="stable")]
        order = order[more[order] < 0] if more.min() < 0 else order[:1]
        _swap(squares[:, some[order]], family, rings)
    return None


def _squares(dims: tuple[int, ...], up: list[Array]) -> tuple[Array, NDArray[np.bool_]]:
    """(4, m) two opposite links along i, then two along j, of all squares.

    Also (2, m) whether these two links count upwards in opposite directions: between the nodes of
    a ring of two there is a second link, and it goes back.
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


def _walk(links: _Links, family: Array, p: int) -> _Rings:
    """Follow the rings of every family."""
    ring, upwards = np.zeros(len(family), dtype=np.int64), np.zeros(len(family), dtype=bool)
    count, nodes = 0, []
    tail, head = links.tail.tolist(), links.head.tolist()
    for f in range(family.max() + 1):
        own = np.flatnonzero(family == f)
        at = np.concatenate([links.tail[own], links.head[own]])
        two = np.tile(own, 2)[np.argsort(at, kind="stable")].reshape(p, 2).tolist()
        seen, path, way, up, number = [False] * p, [], [], [], []
        for start in range(p):
            x, link = start, two[start][0]
            while not seen[x]:
                seen[x] = True
                path.append(x)
                way.append(link)
                up.append(tail[link] == x)
                number.append(count)
                x = head[link] if up[-1] else tail[link]
                a, b = two[x]
                link = b if link == a else a
            count = number[-1] + 1
        ring[way], upwards[way] = number, up
        nodes.append(np.array(path))
    return _Rings(count, ring, upwards, nodes)


def _swap(squares: Array, family: Array, rings: _Rings) -> None:
    """Swap the links of the squares, one after the other, where what is known still holds."""
    root, torn = list(range(rings.total)), [False] * rings.total
    touched = np.zeros(len(family), dtype=bool)

    def find(x: int) -> int:
        while root[x] != x:
            x = root[x]
        return x

    for square in squares.T:
        own = rings.ring[square].tolist()
        now = [find(x) for x in own]
        pairs = [(own[k] == own[k + 1], now[k], now[k + 1]) for k in (0, 2)]
        if touched[square].any() or any(torn[x] if same else x == y for same, x, y in pairs):
            continue
        for same, x, y in pairs:
            torn[y] |= torn[x] | same  # a ring's directions hold until one of its own pairs goes
            root[x] = y
        touched[square] = True
        family[square] = family[square[[2, 3, 0, 1]]]
