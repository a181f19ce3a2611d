"""Candidate schedules on a torus: the algorithms and options that a selection considers.

`family` lists all candidates of a search, `published` those of the literature, and `shortlist` the
few that `swing.choose` estimates.
"""

from __future__ import annotations

import inspect
import math
import sys
from typing import Any

from swing.algorithms import SHIPPED, make, variants
from swing.select.table import Options
from swing.torus import Torus

Named = tuple[str, Options]
"""An algorithm and its options."""

PUBLISHED: dict[str, tuple[str, ...]] = {
    "swing": ("bandwidth", "latency"),
    "recursive_doubling": ("bandwidth", "latency"),
    "mirrored_recursive_doubling": ("bandwidth", "latency"),
    "bucket": ("",),
    "hamiltonian": ("",),
}
"""The algorithms and variants that the Swing paper compares."""

LATER: dict[str, tuple[str, ...]] = {"trivance": ("bandwidth", "latency")}
"""The algorithms and variants that were published after the Swing paper."""


def family(torus: Torus) -> list[Named]:
    """List every candidate for a search, for the algorithms that run on the torus.

    An algorithm's module may define ``family(torus)`` to list options; otherwise each variant is a
    candidate.

    >>> len(family(Torus((2, 2)))) > 5
    True
    """
    candidates = []
    for name, algorithm in SHIPPED.items():
        lister = getattr(sys.modules[algorithm.__module__], "family", None)
        listed = lister(torus) if lister else [{"variant": v} if v else {} for v in variants(name)]
        # Algorithms of one module share its list, but each may take only some of the options.
        parameters = inspect.signature(algorithm).parameters
        for options in listed:
            if set(options) <= set(parameters) and _serves(name, torus, options):
                candidates.append((name, tuple(options.items())))
    return candidates


def published(torus: Torus, *, later: bool = False) -> list[Named]:
    """List the published algorithms that run on the torus, including Swing's two variants.

    Args:
        torus: the ranks.
        later: whether to include those published after the Swing paper.
    """
    algorithms = PUBLISHED | LATER if later else PUBLISHED
    pairs = [(name, variant) for name, names in algorithms.items() for variant in names]
    candidates = [(name, (("variant", v),) if v else ()) for name, v in pairs]
    return [
        (name, options)
        for name, options in candidates
        if (name != "hamiltonian" or _has_published_cycles(torus))
        and _serves(name, torus, dict(options))
    ]


def _has_published_cycles(torus: Torus) -> bool:
    """Return whether the published construction of Hamiltonian cycles applies to the torus.

    It needs one dimension, or r x c with r a multiple of c and gcd(r, c - 1) = 1.
    Source: Swing paper, §2.3.2.
    """
    # gcd(r, 0) is r, so a single dimension (c = 1) passes as well.
    *others, c, r = sorted([1, 1, *(torus.dims[j] for j in torus.active)])
    return max(others, default=1) == 1 and r % c == 0 and math.gcd(r, c - 1) in (1, r)


def shortlist(torus: Torus) -> list[Named]:
    """List a few candidates of which one is close to the best schedule at any vector size."""
    halvings = sum((d - 1).bit_length() for d in torus.dims)
    # At most five values of k, because each candidate costs an estimate.
    ks = range(2, halvings, max(2, -(-halvings // 5)))
    candidates: list[tuple[str, dict[str, Any]]] = [
        ("swing", {"variant": "latency"}),
        *(("swing", {"variant": "hybrid", "k": k}) for k in ks),
        ("swing", {"variant": "bandwidth"}),
        ("recursive_multiplying", {"variant": "latency", "ports": max(1, len(torus.active))}),
        *(("recursive_multiplying", {"variant": "hybrid", "k": k}) for k in (1, 2)),
        ("windows", {}),
        ("bucket", {"segments": 1}),
        ("bucket", {"segments": 4}),
    ]
    return [
        (name, tuple(options.items()))
        for name, options in candidates
        if _serves(name, torus, options)
    ]


def _serves(name: str, torus: Torus, options: dict[str, Any]) -> bool:
    try:
        make(name, torus, **options)
    except ValueError:
        return False
    return True
