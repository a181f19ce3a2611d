"""Candidate schedules on a torus: the algorithms and options that a selection considers.

`family` lists all candidates of a search, `published` those of the literature, and `shortlist` the
few that `swing.choose` estimates. Each `Algorithm` states its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swing.algorithms import ALGORITHMS, SHIPPED, make
from swing.algorithms.algorithm import Algorithm
from swing.select.table import Options
from swing.torus import Torus

Named = tuple[str, Options]
"""An algorithm and its options."""


def family(torus: Torus) -> list[Named]:
    """List every candidate for a search, for the algorithms that run on the torus.

    >>> len(family(Torus((2, 2)))) > 5
    True
    """

    def options(algorithm: Algorithm) -> list[dict[str, Any]]:
        if algorithm.family is None:
            return [{"variant": v} if v else {} for v in algorithm.variants]
        return algorithm.family(torus)

    return _candidates(torus, options)


def published(torus: Torus, *, later: bool = False) -> list[Named]:
    """List the published algorithms that run on the torus, including Swing's two variants.

    Args:
        torus: the ranks.
        later: whether to include those published after the Swing paper.
    """
    return _candidates(torus, lambda a: a.published(torus) if later or not a.later else [])


def shortlist(torus: Torus) -> list[Named]:
    """List a few candidates of which one is close to the best schedule at any vector size.

    Of candidates with equal times, the first is chosen. So those in segments come last, because
    they send more messages.
    """
    candidates = _candidates(torus, lambda a: a.shortlist(torus))
    return sorted(candidates, key=lambda named: "segments" in dict(named[1]))


def _candidates(torus: Torus, listed: Callable[[Algorithm], list[dict[str, Any]]]) -> list[Named]:
    """Return what is listed of each algorithm of this library, as far as the torus allows it."""
    return [
        (name, tuple(options.items()))
        for name in SHIPPED
        for options in listed(ALGORITHMS[name])
        if _serves(name, torus, options)
    ]


def _serves(name: str, torus: Torus, options: dict[str, Any]) -> bool:
    try:
        make(name, torus, **options)
    except ValueError:
        return False
    return True
