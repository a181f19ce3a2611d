"""Explore the candidates for the fastest schedule on a network at each vector size.

First all candidates are estimated, which takes milliseconds: on a torus whose links are all alike,
and for collectives other than allreduce, by `swing.select.estimate`, which knows that segments and
the chunks of a pipeline overlap, otherwise by the analytic model. Then, for each size, the
candidates are simulated in ascending order of their estimates, until

- the fastest time is within a factor of ``enough`` of the lower bound, so that no other candidate
  can be much faster, or
- the next estimate is more than ``keep`` times the best one, or
- ``most`` candidates have been simulated.

The winner at each size is also simulated at the neighbouring sizes, so that interpolation in a
table finds the size at which one winner overtakes the next.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass

from netsim.bounds import lower_bound
from netsim.checks import check_factor, check_number, whole_number
from netsim.search.case import Case
from netsim.search.sweep import MAX_JOBS, executor
from swing.sizes import MAX_BYTES

ESTIMATE = "estimate"
"""Stands for the model that estimates candidates before any of them is simulated."""

Tell = Callable[[str, int, int], object]
"""Told what is under way ("estimating" or "simulating"), how much is done, and how much at most."""

Seconds = dict[Case, dict[int, float]]
"""Simulated seconds by case and size in bytes."""


@dataclass(frozen=True)
class Search:
    """The limits of a search.

    Args:
        keep: candidates are simulated if their estimate is at most this factor times the best one.
        most: the maximum number of candidates simulated per size.
        enough: a time of at most this factor times the lower bound ends the search at a size.
        leaders: the number of fastest candidates of each size whose neighbours are simulated; 0
            for none, but then all candidates are tried in segments, too.
        packets: the largest size, in bytes, for the packet model; above it the flow model is used.
        jobs: number of processes.

    Raises:
        ValueError: ``keep`` is not a finite number from 1 up, ``most`` or ``jobs`` is not a
            whole number from 1 up, ``leaders`` is not one from 0 up, ``enough`` is not a number
            from 0 up, or ``packets`` is not a size.
    """

    keep: float = 3.0
    most: int = 100
    enough: float = 1.002
    leaders: int = 3
    packets: int = 2**23
    jobs: int = 1

    def __post_init__(self) -> None:
        check_factor("keep", self.keep)
        check_number("enough", self.enough)
        whole_number("most", self.most, 1, sys.maxsize)
        whole_number("leaders", self.leaders, 0, sys.maxsize)
        whole_number("packets", self.packets, 1, MAX_BYTES)
        whole_number("jobs", self.jobs, 1, MAX_JOBS)

    def model(self, nbytes: int) -> str:
        """Return the model that simulates a size."""
        return "packet" if nbytes <= self.packets else "flow"

    def workers(self) -> AbstractContextManager[Executor]:
        """Provide a pool of processes that have both models."""
        return executor(self.jobs, ("packet", "flow"))


def silent(what: str, done: int, total: int) -> None:
    """Tell nothing."""


def explore(
    cases: Sequence[Case],
    sizes: Sequence[int],
    search: Search,
    times: Seconds | None = None,
    tell: Tell = silent,
) -> Seconds:
    """Simulate the promising candidates at each size.

    Args:
        cases: the candidates, all on one network.
        sizes: bytes of the vector on each rank, ascending.
        search: the limits of the search.
        times: times of an earlier search. They are not simulated again; new times are added.
        tell: called as the search advances.

    Returns:
        The seconds of all simulated candidates; infinite for one that cannot finish. This is
        ``times``, if that was passed.
    """
    times = {} if times is None else times
    bound = bounds_of(cases, sizes)

    def best(n: int) -> Case | None:
        simulated = [case for case in cases if n in times.get(case, {})]
        return min(simulated, key=lambda case: times[case][n], default=None)

    def is_open(n: int) -> bool:
        leader = best(n)
        return leader is None or times[leader][n] > search.enough * bound[n]

    with search.workers() as pool:
        pairs = [(case, n) for case in cases for n in sizes]
        guess: dict[tuple[Case, int], float] = {}
        for case, n, seconds in times_of(pool, pairs, lambda n: ESTIMATE):
            guess[case, n] = seconds
            tell("estimating", len(guess), len(pairs))
        # The promising candidates of each size, fastest first by estimate.
        order = {n: sorted(cases, key=lambda case: guess[case, n]) for n in sizes}
        limit = {n: search.keep * guess[order[n][0], n] for n in sizes if cases}
        promising = {
            n: [case for case in order[n][: search.most] if guess[case, n] <= limit[n]]
            for n in sizes
        }
        known = sum(map(len, times.values()))
        at_most = sum(c not in times or n not in times[c] for n in sizes for c in promising[n])

        def run(pairs: Iterable[tuple[Case, int]]) -> None:
            todo = [(c, n) for c, n in dict.fromkeys(pairs) if n not in times.get(c, {})]

            def advance(what: str, *_: int) -> None:
                found = sum(map(len, times.values())) - known
                tell(what, found, max(at_most, found))

            simulate_pairs(pool, todo, search, times, advance)

        tell("simulating", 0, at_most)
        # All sizes advance together by one candidate, which gives the processes enough to do.
        for i in range(max(map(len, promising.values()), default=0)):
            run((promising[n][i], n) for n in sizes if i < len(promising[n]) and is_open(n))
        # The slice is the size before, the size itself and the size after.
        leaders = [best(n) for n in sizes]
        run(
            (leader, n)
            for i, leader in enumerate(leaders)
            for n in sizes[max(i - 1, 0) : i + 2]
            if leader
        )
    return times


def bounds_of(cases: Iterable[Case], sizes: Sequence[int]) -> dict[int, float]:
    """Return the lower bound at each size for cases of one collective on one network."""
    for case in cases:
        what = {key: value for key, value in case.options if key in ("collective", "root")}
        return {n: lower_bound(case.network, n, **what) for n in sizes}
    return {}


def simulate_pairs(
    pool: Executor,
    pairs: Sequence[tuple[Case, int]],
    search: Search,
    times: Seconds,
    tell: Tell = silent,
) -> None:
    """Simulate each case at its size, with the search's models.

    Args:
        pool: the processes, from `Search.workers`.
        pairs: cases and sizes in bytes.
        search: the models.
        times: earlier times, to which the new ones are added.
        tell: called for each new time.
    """
    for done, (case, n, seconds) in enumerate(times_of(pool, pairs, search.model), start=1):
        times.setdefault(case, {})[n] = seconds
        tell("simulating", done, len(pairs))


def times_of(
    pool: Executor, pairs: Sequence[tuple[Case, int]], model: Callable[[int], str]
) -> Iterator[tuple[Case, int, float]]:
    """Yield case, size and seconds, as soon as all sizes of the case are finished."""
    sizes: dict[Case, list[int]] = {}
    for case, n in pairs:
        sizes.setdefault(case, []).append(n)
    jobs = {
        pool.submit(_seconds, case, case_sizes, [model(n) for n in case_sizes]): case
        for case, case_sizes in sizes.items()
    }
    for done in as_completed(jobs):
        case = jobs[done]
        yield from ((case, n, t) for n, t in zip(sizes[case], done.result(), strict=True))


def _seconds(case: Case, sizes: Sequence[int], models: Sequence[str]) -> list[float]:
    """Return the seconds of one case at several sizes, in one process that builds it once.

    A schedule that deadlocks under a model gets an infinite time, so that it never wins.
    """

    def seconds(nbytes: int, model: str) -> float:
        try:
            if model == ESTIMATE:
                return case.estimate(nbytes)
            return float(case.run(nbytes, model)["seconds"])
        except ValueError:  # DeadlockError is one
            return math.inf

    return [seconds(n, model) for n, model in zip(sizes, models, strict=True)]
