"""Climb from the fastest schedules that are known to faster ones among their neighbours.

At each size the neighbours (`swing.select.neighbours`) of the fastest cases are tried, then those
of the cases that are then the fastest, until there are no new ones. The flow model, which is faster
than the packet model, picks the neighbours that are simulated with the search's own. What is the
fastest at one size is also simulated at the next smaller and larger one, so that a good schedule is
found once and tried wherever it may win. Estimates, which take milliseconds, leave out the
neighbours that have no chance: a step with many peers at once wins small vectors, and takes the
models minutes at sizes at which it is a hundred times too slow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from netsim.search.case import Case
from netsim.search.explore import (
    ESTIMATE,
    Search,
    Seconds,
    Tell,
    bounds_of,
    silent,
    simulate_pairs,
    times_of,
)
from swing.schedules.collectives import ALLREDUCE
from swing.select.neighbours import neighbours

NEAR = 1.02
"""A time of at most this factor times the lower bound is not climbed from."""
SLACK = 1.05
"""Neighbours count if the flow model has them at no more than so many times the fastest case."""
ROUGH = 1.5
"""Neighbours are tried by the flow model if their estimate is at most so many times the case's."""
MOST_PICKED = 4
"""Neighbours of a case at one size that the packet model simulates."""
MOST_ROUNDS = 12
"""Rounds of a climb; most end by themselves after four to eight."""


def climb(
    sizes: Sequence[int],
    asked: dict[str, Any],
    search: Search,
    found: Seconds,
    tell: Tell = silent,
) -> None:
    """Add the times of neighbours of the fastest cases, as long as they improve on them.

    Args:
        sizes: bytes of the vector on each rank, ascending.
        asked: the options of all cases that name the collective and its root.
        search: the limits of the search.
        found: the times so far, to which the new ones are added.
        tell: called as the climb advances.
    """
    bound = bounds_of(found, sizes)
    expanded: set[tuple[Case, int]] = set()
    by_flow: dict[tuple[Case, int], float] = {}
    rough: dict[tuple[Case, int], float] = {}

    def fastest(n: int) -> list[Case]:
        timed = [case for case in found if found[case].get(n, math.inf) < math.inf]
        return sorted(timed, key=lambda case: found[case][n])[: search.leaders]

    def is_open(n: int) -> bool:
        return any(found[case][n] > NEAR * bound[n] for case in fastest(n)[:1])

    with search.workers() as pool:

        def time(
            pairs: Iterable[tuple[Case, int]], model: str, times: dict[tuple[Case, int], float]
        ) -> None:
            todo = [pair for pair in dict.fromkeys(pairs) if pair not in times]
            for done, (case, n, seconds) in enumerate(times_of(pool, todo, lambda _: model), 1):
                times[case, n] = seconds
                tell("estimating", done, len(todo))

        def picked(case: Case, n: int, near: Sequence[Case]) -> list[Case]:
            """The neighbours that are worth a simulation with the search's own model."""
            limit = SLACK * by_flow[case, n]
            ranked = sorted((by_flow.get((c, n), math.inf), i) for i, c in enumerate(near))
            return [near[i] for seconds, i in ranked if seconds <= limit][:MOST_PICKED]

        def add(pairs: Iterable[tuple[Case, int]]) -> None:
            todo = [(c, n) for c, n in dict.fromkeys(pairs) if n not in found.get(c, {})]
            simulate_pairs(pool, todo, search, found, tell)

        for _ in range(MOST_ROUNDS):
            new = [(c, n) for n in sizes if is_open(n) for c in fastest(n)]
            new = [pair for pair in new if pair not in expanded]
            if not new:
                return
            expanded.update(new)
            near = {case: _near(case, asked) for case, _ in new}
            tried = [(c, case, n) for case, n in new for c in (case, *near[case])]
            time(((c, n) for c, _, n in tried), ESTIMATE, rough)
            likely = [(c, n) for c, case, n in tried if rough[c, n] <= ROUGH * rough[case, n]]
            time(likely, "flow", by_flow)
            add((other, n) for case, n in new for other in picked(case, n, near[case]))
            # The slice is the size before, the size itself and the size after.
            add(
                (case, m)
                for i, n in enumerate(sizes)
                for case in fastest(n)[:1]
                for m in sizes[max(i - 1, 0) : i + 2]
            )


def _near(case: Case, asked: dict[str, Any]) -> list[Case]:
    """Return the neighbours of a case, for the same collective."""
    own = tuple(option for option in case.options if option[0] not in asked)
    torus = case.network.topology.torus
    near = neighbours(torus, case.algorithm, own, asked.get("collective", ALLREDUCE))
    return [replace(case, options=(*options, *asked.items())) for options in near]
