"""Maximum flow and smallest cut between two vertices, by shortest augmenting paths.

Source: Edmonds and Karp, Theoretical improvements in algorithmic efficiency for network flow
problems, Journal of the ACM 19, 1972.
"""

from __future__ import annotations

import numpy as np

from swing.compilation import njit
from swing.torus import Array


class FlowNetwork:
    """Arcs on which flows are sought, for any capacities.

    Args:
        arcs: (narcs, 2) the vertices that each arc leaves and reaches.
        vertices: number of vertices.
    """

    def __init__(self, arcs: Array, vertices: int) -> None:
        # Behind each arc stands its twin, which leads back and takes flow from it.
        both = np.stack([arcs, arcs[:, ::-1]], axis=1).reshape(-1, 2)
        self._heads = np.ascontiguousarray(both[:, 1])
        self._leaving = np.argsort(both[:, 0], kind="stable")
        self._first = np.append(0, np.bincount(both[:, 0], minlength=vertices).cumsum())

    def near_side(self, capacity: Array, source: int, sink: int) -> np.ndarray:
        """(vertices,) the source's side of the smallest cut between two vertices: which are on it.

        Args:
            capacity: (narcs,) whole numbers.
            source: the vertex where the flow begins.
            sink: the vertex where it ends.
        """
        room = np.stack([capacity, np.zeros_like(capacity)], axis=1).ravel()
        side: np.ndarray = _augment(self._first, self._leaving, self._heads, room, source, sink)
        return side


@njit()
def _augment(
    first: Array, leaving: Array, heads: Array, room: Array, source: int, sink: int
) -> np.ndarray:
    """Fill shortest paths from the source to the sink until there are none.

    Args:
        first: (vertices + 1,) vertex v has the arcs leaving[first[v]] … leaving[first[v + 1] - 1].
        leaving: (2·narcs,) arcs by the vertex that they leave; the twin of arc a is a ^ 1.
        heads: (2·narcs,) the vertex that each arc reaches.
        room: (2·narcs,) how much more flow each arc can take; it is changed.
        source: the vertex where the flow begins.
        sink: the vertex where it ends.

    Returns:
        (vertices,) whether a path with room leads to each vertex at the end.
    """
    vertices = len(first) - 1
    queue = np.empty(vertices, dtype=np.int64)
    while True:
        came_by = np.full(vertices, -1)
        queue[0], done, seen = source, 0, 1
        while done < seen and came_by[sink] < 0:
            vertex = queue[done]
            done += 1
            for arc in leaving[first[vertex] : first[vertex + 1]]:
                head = heads[arc]
                if room[arc] > 0 and came_by[head] < 0 and head != source:
                    came_by[head] = arc
                    queue[seen] = head
                    seen += 1
        if came_by[sink] < 0:
            side = came_by >= 0
            side[source] = True
            return side
        smallest, vertex = room[came_by[sink]], sink
        while vertex != source:
            smallest = min(smallest, room[came_by[vertex]])
            vertex = heads[came_by[vertex] ^ 1]
        vertex = sink
        while vertex != source:
            room[came_by[vertex]] -= smallest
            room[came_by[vertex] ^ 1] += smallest
            vertex = heads[came_by[vertex] ^ 1]
