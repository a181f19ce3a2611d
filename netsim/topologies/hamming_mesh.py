"""HammingMesh: square boards of nodes, with a fat tree joining each row and column of boards.

Neighbours on a board are joined by a short trace. Both ends of each row of a board have a cable
to the tree of that row, which is modelled as one switch without contention inside: from it a
message reaches either end of any other board. Hx2Mesh has boards of 2 x 2 nodes, Hx4Mesh of 4 x 4.

The Swing paper does not print the latencies of traces, boards and trees. They are fitted once to
its runtimes of 32 B on a 64x64 Hx2Mesh (Fig. 12). Bucket takes 252 steps, in which a block moves
on a board and between boards in turn; the mean of the two is 0.521 us. Recursive doubling takes 2
steps on boards and 10 between boards, 8.63 us in all. Hence a step on a board takes 0.223 us,
which leaves 8 ns for the trace and nothing for a router on the board; a step between boards takes
0.818 us, which leaves 0.4 us for the tree besides its two cables. `TRACE` and `TREE` express these
in units of a cable and of a router.

Source: Hoefler et al., HammingMesh, SC 2022; Swing paper, §5.4.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from swing.torus import Torus

TRACE = 0.08
"""Length of a trace on a board, in units of a cable."""
TREE = 1.33
"""Delay of a tree, in units of a router."""


def hamming_mesh(shape: Torus, board: int) -> Grid:
    """A HammingMesh whose boards have ``board`` nodes in every dimension.

    Raises:
        ValueError: a dimension that is neither 1 nor a multiple of ``board``.
    """
    for d in shape.dims:
        if d % board and d > 1:
            raise ValueError(f"hx{board}mesh needs dimensions that are multiples of {board}")
    rows = tuple(boards(d, board) for d in shape.dims)
    # The first router is the sender's, which is on a board and so has no delay.
    return Grid(f"hx{board}mesh:{shape}", shape, rows=rows, first_router=0.0)


def boards(d: int, board: int) -> LookupTable:
    """A row of boards and its tree, which is vertex d. A single board has no tree."""
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
        """Along the board if it is the same one, else over the nearer ends and the tree."""
        if a // board == b // board:
            step = 1 if b > a else -1
            return [links[pair] for pair in pairwise(range(a, b + step, step))] if a != b else []
        exit_, entry = (
            x - x % board + (0 if 2 * (x % board) < board else board - 1) for x in (a, b)
        )
        return [*route(a, exit_), links[exit_, d], links[d, entry], *route(entry, b)]

    ends = np.array(list(links), dtype=np.int64).reshape(-1, 2)
    routes = [route(a, b) for a in range(d) for b in range(d)]
    router = np.where(ends[:, 1] == d, TREE, 0.0)
    return LookupTable(d, ends, routes, np.array(wire), router)
