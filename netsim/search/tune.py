"""tune: which schedule is the fastest on a topology, by search; part of the command line.

All candidates are judged by the analytic model first, which takes milliseconds. Then, size by
size, the most promising are simulated, best guess first, until

- the fastest found is within ``enough`` of the lower bound, so that no other can matter, or
- the next guess is ``keep`` times the best guess, or ``most`` have been simulated.

Whoever wins at a size is also simulated at the sizes beside it, so that a table can tell where
one overtakes the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass

from netsim.bounds import lower_bound
from netsim.search.sweep import Case, executor

Seconds = dict[Case, dict[int, float]]
"""By case and size in bytes."""


@dataclass(frozen=True)
class Search:
    """How much is simulated.

    Args:
        keep: guesses up to so many times the best one are followed up.
        most: at most so many candidates a size.
        enough: times the lower bound; who comes so near need not be beaten.
        packets: the largest size that is simulated by packets; above, flows are.
        jobs: processes.
    """

    keep: float = 3.0
    most: int = 100
    enough: float = 1.002
    packets: int = 2**23
    jobs: int = 1

    def model(self, nbytes: int) -> str:
        """The model for a size."""
        return "packet" if nbytes <= self.packets else "flow"


def tune(
    cases: Sequence[Case],
    sizes: Sequence[int],
    search: Search,
    found: Seconds | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Seconds:
    """Seconds of the candidates that were simulated; infinite where one can not end.

    Args:
        cases: the candidates, all on one network.
        sizes: bytes of the vector on each rank, ascending.
        search: how much is simulated.
        found: what was simulated before: it is not simulated again, but filled up.
        tell: is called with a line of text for every time found.
    """
    found = {} if found is None else found
    bound = {n: lower_bound(cases[0].network, n) for n in sizes}

    def best(n: int) -> Case | None:
        there = [case for case in cases if n in found.get(case, {})]
        return min(there, key=lambda case: found[case][n], default=None)

    def is_open(n: int) -> bool:
        leader = best(n)
        return leader is None or found[leader][n] > search.enough * bound[n]

    with executor(search.jobs, ("packet", "flow")) as pool:

        def run(pairs: Iterable[tuple[Case, int]]) -> None:
            todo = [(c, n) for c, n in dict.fromkeys(pairs) if n not in found.get(c, {})]
            _fill(pool, todo, search, found, tell)

        pairs = [(case, n) for case in cases for n in sizes]
        guess = {(case, n): t for case, n, t in _times(pool, pairs, lambda n: "analytic")}
        order = {n: sorted(cases, key=lambda case: guess[case, n]) for n in sizes}
        for i in range(min(search.most, len(cases))):
            run(
                (order[n][i], n)
                for n in sizes
                if is_open(n) and guess[order[n][i], n] <= search.keep * guess[order[n][0], n]
            )
        leaders = [best(n) for n in sizes]
        run(
            (leader, n)
            for i, leader in enumerate(leaders)
            for n in sizes[max(i - 1, 0) : i + 2]
            if leader
        )
    return found


def simulate_pairs(
    pairs: Sequence[tuple[Case, int]],
    search: Search,
    found: Seconds,
    tell: Callable[[str], None],
) -> None:
    """Simulate each case at its size, by the search's models, and put the seconds into found."""
    with executor(search.jobs, ("packet", "flow")) as pool:
        _fill(pool, pairs, search, found, tell)


def _fill(
    pool: Executor,
    pairs: Sequence[tuple[Case, int]],
    search: Search,
    found: Seconds,
    tell: Callable[[str], None],
) -> None:
    for case, n, seconds in _times(pool, pairs, search.model):
        found.setdefault(case, {})[n] = seconds
        tell(f"{n} B, {case.algorithm} {dict(case.options)}: {seconds * 1e6:.3f} us")


def _times(
    pool: Executor, pairs: Sequence[tuple[Case, int]], model: Callable[[int], str]
) -> Iterator[tuple[Case, int, float]]:
    """Case, size and seconds, as they come."""
    sizes: dict[Case, list[int]] = {}
    for case, n in pairs:
        sizes.setdefault(case, []).append(n)
    jobs = {
        pool.submit(_seconds, case, some, [model(n) for n in some]): case
        for case, some in sizes.items()
    }
    for done in as_completed(jobs):
        case = jobs[done]
        yield from ((case, n, t) for n, t in zip(sizes[case], done.result(), strict=True))


def _seconds(case: Case, sizes: Sequence[int], models: Sequence[str]) -> list[float]:
    """Of one case at some sizes: one process builds its schedule once.

    A schedule that a model can not carry to its end (buffers that block each other) never wins.
    """

    def seconds(nbytes: int, model: str) -> float:
        try:
            return float(case.run(nbytes, model)["seconds"])
        except ValueError:
            return math.inf

    return [seconds(n, model) for n, model in zip(sizes, models, strict=True)]
