"""HammingMesh: square boards of nodes, with a fat tree joining each row and column of boards.

Neighbours on a board are joined by a short trace. Both ends of each row of a board have a cable
to the tree of that row, which is modelled as one switch without contention inside: from it a
message reaches either end of any other board. Hx2Mesh has boards of 2 x 2 nodes, Hx4Mesh of 4 x 4.

The Swing paper prints neither the latencies nor where a board begins. Both follow from its runtimes
of 32 B on a 64x64 Hx2Mesh (Fig. 12). Traces and cables take as long as a link of the torus, a tree
takes as long as a router, and nodes forward without delay. Then a step on a board takes 0.32 us and
one over a tree 0.72 us. Bucket does the two in turn: its 252 steps take 0.52 us in the mean.
Recursive doubling takes 0.72 us in all of its 12 steps, also in those with peers at distance 1. So
the ranks that it pairs first, 0 and 1 and so on, are on different boards: each row of boards begins
at coordinate 1, and the last board ends at coordinate 0. Nothing is fitted.

Source: Hoefler et al., HammingMesh, SC 2022; Swing paper, §5.4.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from netsim.topologies.grid import Grid
from netsim.topologies.lookup import LookupTable
from swing.torus import Torus


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
    """A row of boards and its tree, which is vertex d. A single board has no tree.

    Places are numbered from the first one on a board; node 1 has place 0, if there is a tree.
    """
    first = 1 if d > board else 0
    places = np.append((np.arange(d) + first) % d, d)  # place → node; the tree keeps its number
    links: dict[tuple[int, int], int] = {}

    def join(a: int, b: int) -> None:
        for pair in ((a, b), (b, a)):
            links[pair] = len(links)

    for a in range(d - 1):
        if (a + 1) % board:
            join(a, a + 1)
    if d > board:
        for a in range(d):
            if a % board in (0, board - 1):
                join(a, d)

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
    of_node = [(node - first) % d for node in range(d)]
    routes = [route(a, b) for a in of_node for b in of_node]
    wire = np.ones(len(ends))
    return LookupTable(d, places[ends], routes, wire, (ends[:, 1] == d).astype(float))
