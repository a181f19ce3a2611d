"""HammingMesh: boards of a x a nodes; a row of boards is joined by a fat tree.

On a board neighbours have a short trace between them. Both ends of each row of a board have a
cable to that row's tree, which is taken as one switch without contention inside: from it a
message reaches either end of any other board. Hx2Mesh has boards of 2 x 2, Hx4Mesh of 4 x 4.

The paper does not print the latencies of traces, boards and trees. They are identified once from
its runtimes of 32 B on a 64x64 Hx2Mesh (Fig. 12): bucket takes 252 times the mean of a step on a
board and one between boards, 0.521 us; recursive doubling takes 2 of the one and 10 of the other,
8.63 us. So a step on a board takes 0.223 us, which leaves 8 ns for the trace and nothing for a
router on the board; one between boards takes 0.818 us, which leaves 0.4 us for the tree beside two
cables. `TRACE` and `TREE` are these, in units of a cable and a router.

Source: Hoefler et al., HammingMesh, SC 2022; Swing paper, §5.4.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from swing.torus import Torus

TRACE = 0.08
TREE = 1.33


def hamming_mesh(where: Torus, board: int) -> Grid:
    """A HammingMesh of boards of ``board`` nodes in every dimension.

    Raises:
        ValueError: a dimension that is no whole number of boards.
    """
    for d in where.dims:
        if d % board and d > 1:
            raise ValueError(f"hx{board}mesh needs dimensions that are multiples of {board}")
    return Grid(f"hx{board}mesh", where, tuple(boards(d, board) for d in where.dims), 0.0)


def boards(d: int, board: int) -> LookupTable:
    """A row of boards and its tree, which is vertex d."""
    links: dict[tuple[int, int], int] = {}
    wire: list[float] = []

    def join(a: int, b: int, length: float) -> None:
        for pair in ((a, b), (b, a)):
            links[pair] = len(links)
            wire.append(length)

    for a in range(d - 1):
        if (a + 1) % board:
            join(a, a + 1, TRACE)
    if d > board:
        for a in range(d):
            if a % board in (0, board - 1):
                join(a, d, 1.0)

    def route(a: int, b: int) -> list[int]:
        if a // board == b // board:
            step = 1 if b > a else -1
            return [links[pair] for pair in pairwise(range(a, b + step, step))] if a != b else []
        out, into = (x - x % board + (0 if 2 * (x % board) < board else board - 1) for x in (a, b))
        return [*route(a, out), links[out, d], links[d, into], *route(into, b)]

    ends = np.array(list(links), dtype=np.int64).reshape(-1, 2)
    routes = [route(a, b) for a in range(d) for b in range(d)]
    router = np.where(ends[:, 1] == d, TREE, 0.0)
    return LookupTable(d, ends, routes, np.array(wire), router)
