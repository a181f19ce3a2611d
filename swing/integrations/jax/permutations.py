"""Split the messages of a step into permutations, as few as possible.

A collective permute sends at most one message from each rank and at most one to each. The messages
of a step are the edges of a bipartite graph between senders and receivers, and a set of messages
that fits into one collective permute is a colour in a proper edge colouring. By Kőnig's theorem,
as many colours suffice as the busiest rank has messages to send or to receive.

Source: Kőnig 1916; the proof by alternating paths is the algorithm below.
"""

from __future__ import annotations

import numpy as np

from swing.torus import Array


def permutations(src: Array, dst: Array) -> Array:
    """Assign every message to a permutation.

    Args:
        src: (m,) the sender of each message.
        dst: (m,) the receiver of each message; two messages may have both ends in common.

    Returns:
        (m,) the number of each message's permutation, from 0 up.

    >>> permutations(np.array([0, 0, 1]), np.array([1, 2, 2])).tolist()
    [0, 1, 0]
    """
    for ends, others in ((src, dst), (dst, src)):  # in most schedules, either of these succeeds
        nth = _nth(ends)
        if _is_proper(others, nth):
            return nth
    return _alternating_paths(src, dst)


def _nth(ends: Array) -> Array:
    """(m,) how many earlier messages have the same end."""
    order = np.argsort(ends, kind="stable")
    nth = np.empty_like(ends)
    nth[order] = np.arange(len(ends)) - np.searchsorted(ends[order], ends[order])
    return nth


def _is_proper(ends: Array, colour: Array) -> bool:
    return len(np.unique(np.stack([ends, colour]), axis=1).T) == len(ends)


def _alternating_paths(src: Array, dst: Array) -> Array:
    """Colour one edge after the other, exchanging two colours along a path where they collide."""
    ncolours = max(int(np.bincount(ends).max()) for ends in (src, dst))
    ends = list(zip(src.tolist(), dst.tolist(), strict=True))
    # at[side][rank][colour] is the message of that colour that the rank sends (0) or receives (1).
    at: list[dict[int, list[int | None]]] = [
        {rank: [None] * ncolours for rank in set(column.tolist())} for column in (src, dst)
    ]
    colour = [0] * len(ends)

    def paint(edge: int, new: int) -> None:
        colour[edge] = new
        for side in (0, 1):
            at[side][ends[edge][side]][new] = edge

    for edge, (sender, receiver) in enumerate(ends):
        first, second = at[0][sender].index(None), at[1][receiver].index(None)
        # Follow the path of edges coloured first, second, first, … from the receiver. It cannot
        # reach the sender, which has no edge of the first colour.
        path, side, rank, wanted = list[int](), 1, receiver, first
        while (found := at[side][rank][wanted]) is not None:
            path.append(found)
            side = 1 - side
            rank, wanted = ends[found][side], first + second - wanted
        for each in path:
            for side in (0, 1):
                at[side][ends[each][side]][colour[each]] = None
        for each in path:
            paint(each, first + second - colour[each])
        paint(edge, first)
    return np.array(colour)
