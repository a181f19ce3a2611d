"""Candidate schedules on a torus: the algorithms and options that a selection considers.

`family` lists the candidates that a search starts from (`swing.select.neighbours` has more),
`published` those of the literature, and `shortlist` the few that `swing.choose` estimates. Each
`Algorithm` states its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from swing.algorithms import ALGORITHMS, SHIPPED, make
from swing.algorithms.algorithm import Algorithm
from swing.build.derive import IN_CHUNKS
from swing.build.segments import cut
from swing.schedules.collectives import ALLREDUCE, has_root
from swing.schedules.schedule import Schedule
from swing.select.table import Options
from swing.torus import Torus

Named = tuple[str, Options]
"""An algorithm and its options."""


def family(torus: Torus, collective: str = "allreduce") -> list[Named]:
    """List every candidate for a search, for the algorithms that serve the collective on the torus.

    >>> len(family(Torus((2, 2)))) > 5
    True
    """

    def options(algorithm: Algorithm) -> list[dict[str, Any]]:
        if algorithm.family is None:
            return [{"variant": v} if v else {} for v in algorithm.variants]
        return algorithm.family(torus)

    if collective == ALLREDUCE:
        return _candidates(torus, options)

    def full(algorithm: Algorithm) -> list[dict[str, Any]]:
        return [o for o in options(algorithm) if o.get("variant", "bandwidth") == "bandwidth"]

    return _candidates(torus, lambda a: [*a.others(torus), *full(a)], collective)


def published(torus: Torus, collective: str = ALLREDUCE, *, later: bool = False) -> list[Named]:
    """List the published algorithms that run on the torus, including Swing's two variants.

    For a broadcast or a reduce these include the trees: Bine trees are those of Swing, binomial
    trees those of recursive doubling, and chains those of the ring.

    Args:
        torus: the ranks.
        collective: the collective.
        later: whether to include those published after the Swing paper.
    """
    if collective == ALLREDUCE:
        return _candidates(torus, lambda a: a.published(torus) if later or not a.later else [])
    ways: list[dict[str, Any]] = [{}, {"chunks": 1}]
    return _candidates(torus, lambda a: ways if a.standard else [], collective)


MANY_STEPS = 512
"""Most steps of a gather, a scatter or an all-to-all on the short list.

In these, the steps of a ring differ, so the estimate of each step takes time; and on so many ranks
the blocks of a ring take long ways, so that even at large sizes a direct way is faster.
"""


def shortlist(torus: Torus, collective: str = ALLREDUCE) -> dict[Named, Schedule]:
    """Make a few candidates of which one is close to the best schedule at any vector size.

    Of candidates with equal times, the first is chosen. So those in segments come last, because
    they send more messages.
    """
    if collective == ALLREDUCE:
        made = _made(torus, lambda a: a.shortlist(torus))
    else:
        made = _made(torus, lambda a: a.others(torus), collective)
    if collective in ("gather", "scatter", "alltoall"):
        made = {named: each for named, each in made.items() if each.nsteps <= MANY_STEPS}
    if collective in IN_CHUNKS:
        made = {named: each for named, each in made.items() if not _late(named, each)}
    return dict(sorted(made.items(), key=lambda item: "segments" in dict(item[0][1])))


def _late(named: Named, schedule: Schedule) -> bool:
    """Return whether a broadcast or a reduce is slow at any size, because it takes many steps.

    `disjoint_trees` bring a large vector at the full rate of all links, in about as many steps as
    the farthest rank is hops away. What takes twice as many steps for a chunk, and shares links or
    sends all bytes twice, takes longer. On 256 ranks these are the rings, whose estimates would
    take half of the time of a choice.
    """
    torus = schedule.torus
    farthest = sum(d // 2 if wrap else d - 1 for d, wrap in torus.sides)
    chunks: int = dict(named[1]).get("chunks", 1)
    late: bool = schedule.nsteps - (chunks - 1) > 2 * farthest + len(torus.active)
    return late


def _candidates(
    torus: Torus,
    listed: Callable[[Algorithm], list[dict[str, Any]]],
    collective: str = ALLREDUCE,
) -> list[Named]:
    """Return what is listed of each algorithm of this library, as far as the torus allows it."""
    return list(_made(torus, listed, collective))


def _made(
    torus: Torus,
    listed: Callable[[Algorithm], list[dict[str, Any]]],
    collective: str = ALLREDUCE,
) -> dict[Named, Schedule]:
    """Make what is listed of each algorithm of this library, as far as the torus allows it."""
    made: dict[Named, Schedule] = {}

    def build(name: str, options: dict[str, Any]) -> Schedule:
        whole = tuple((key, value) for key, value in options.items() if key != "segments")
        if len(whole) < len(options) and (name, whole) in made and collective == ALLREDUCE:
            return cut(made[name, whole], options["segments"])  # shares the parts
        return make(name, torus, **options, **spelled(collective))

    for name in SHIPPED:
        for options in listed(ALGORITHMS[name]):
            named = name, tuple(options.items())
            if named not in made:
                with suppress(ValueError):
                    made[named] = build(name, options)
    return made


def spelled(collective: str, root: int = 0) -> dict[str, Any]:
    """Return the options that make the schedule of a collective; none for an allreduce.

    >>> spelled("gather", 3), spelled("allreduce")
    ({'collective': 'gather', 'root': 3}, {})
    """
    if collective == ALLREDUCE:
        return {}
    return {"collective": collective} | ({"root": root} if has_root(collective) else {})
