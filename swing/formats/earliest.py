"""Earliest times that satisfy constraints of the form "b is at least 0 or 1 later than a"."""

from __future__ import annotations

from collections.abc import Sequence


class ContradictionError(Exception):
    """No times satisfy the constraints.

    Args:
        event: the first of the events that would have to be later than themselves.
    """

    def __init__(self, event: int) -> None:
        super().__init__(f"event {event} would have to be later than itself")
        self.event = event


class Constraints:
    """Times of events, in whole steps, and how far apart they must be.

    Args:
        count: number of events, 0 … count - 1.

    >>> constraints = Constraints(3)
    >>> constraints.add(0, 1, 1)    # event 1 is later than event 0
    >>> constraints.add(1, 2, 0)    # events 1 and 2 are at the same time
    >>> constraints.add(2, 1, 0)
    >>> constraints.earliest([0, 0, 0])
    [0, 1, 1]
    """

    def __init__(self, count: int) -> None:
        self.later: list[list[int]] = [[] for _ in range(count)]

    def event(self) -> int:
        """Add an event, and return its number."""
        self.later.append([])
        return len(self.later) - 1

    def add(self, a: int, b: int, steps: int) -> None:
        """Demand that event ``b`` is at least ``steps``, 0 or 1, later than event ``a``."""
        self.later[a].append(2 * b + steps)

    def earliest(self, least: Sequence[int]) -> list[int]:
        """Return the earliest time of each event.

        Args:
            least: the earliest time allowed for each event.

        Raises:
            ContradictionError: no times satisfy the constraints.
        """
        # Events that must not be later than each other are at the same time: they form a strongly
        # connected component. Components are found in reverse topological order.
        component, members = self._components()
        times = [max(least[e] for e in events) for events in members]
        for c in reversed(range(len(members))):
            for event in members[c]:
                for edge in self.later[event]:
                    other, steps = component[edge >> 1], edge & 1
                    if other == c and steps:
                        raise ContradictionError(min(members[c]))
                    times[other] = max(times[other], times[c] + steps)
        return [times[c] for c in component]

    def _components(self) -> tuple[list[int], list[list[int]]]:
        """Return the component of each event, and the events of each (Tarjan's algorithm)."""
        count = len(self.later)
        component, index, low = [-1] * count, [-1] * count, [0] * count
        members: list[list[int]] = []
        stack: list[int] = []
        visited = 0
        for root in range(count):
            path = [root] if index[root] < 0 else []
            edges = [iter(self.later[root])]
            while path:
                event = path[-1]
                if index[event] < 0:
                    index[event] = low[event] = visited
                    visited += 1
                    stack.append(event)
                for edge in edges[-1]:
                    other = edge >> 1
                    if index[other] < 0:
                        path.append(other)
                        edges.append(iter(self.later[other]))
                        break
                    if component[other] < 0:
                        low[event] = min(low[event], index[other])
                else:
                    path.pop()
                    edges.pop()
                    if path:
                        low[path[-1]] = min(low[path[-1]], low[event])
                    if low[event] == index[event]:
                        members.append([])
                        while component[event] < 0:
                            component[stack[-1]] = len(members) - 1
                            members[-1].append(stack.pop())
        return component, members
