"""Every schedule worth a thought on a torus: algorithms with their options."""

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
"""What the Swing paper measures, and measures itself against: algorithms and variants."""

LATER: dict[str, tuple[str, ...]] = {"trivance": ("bandwidth", "latency")}
"""What was published after it."""


def family(torus: Torus) -> list[Named]:
    """All that an algorithm's own ``family`` lists, or its variants; for a search.

    >>> len(family(Torus((2, 2)))) > 5
    True
    """
    found = []
    for name, algorithm in SHIPPED.items():
        lister = getattr(sys.modules[algorithm.__module__], "family", None)
        ways = lister(torus) if lister else [{"variant": v} if v else {} for v in variants(name)]
        known = inspect.signature(algorithm).parameters
        for options in ways:
            if set(options) <= set(known) and _serves(name, torus, options):
                found.append((name, tuple(options.items())))
    return found


def published(torus: Torus, *, later: bool = False) -> list[Named]:
    """The rivals of the Swing paper, and its own two variants, that the torus allows.

    Args:
        torus: the ranks.
        later: with those that were published after it.
    """
    every = PUBLISHED | LATER if later else PUBLISHED
    ways = [(name, (("variant", v),) if v else ()) for name, some in every.items() for v in some]
    return [
        (name, options)
        for name, options in ways
        if (name != "hamiltonian" or _has_published_cycles(torus))
        and _serves(name, torus, dict(options))
    ]


def _has_published_cycles(torus: Torus) -> bool:
    """One dimension, or r x c with r a multiple of c, gcd(r, c - 1) = 1 [Swing paper, §2.3.2]."""
    *others, c, r = sorted([1, 1, *(torus.dims[j] for j in torus.active)])
    return max(others, default=1) == 1 and r % c == 0 and math.gcd(r, c - 1) in (1, r)


def shortlist(torus: Torus) -> list[Named]:
    """A few of the family, with many ports, that between them come near the best at any size."""
    halvings = sum((d - 1).bit_length() for d in torus.dims)
    some = range(2, halvings, max(2, -(-halvings // 5)))  # at most five: each has to be estimated
    found: list[tuple[str, dict[str, Any]]] = [
        ("swing", {"variant": "latency"}),
        *(("swing", {"variant": "hybrid", "k": k}) for k in some),
        ("swing", {"variant": "bandwidth"}),
        ("recursive_multiplying", {"variant": "latency", "ports": max(1, len(torus.active))}),
        *(("recursive_multiplying", {"variant": "hybrid", "k": k}) for k in (1, 2)),
        ("windows", {}),
        ("bucket", {"segments": 1}),
        ("bucket", {"segments": 4}),
    ]
    return [
        (name, tuple(options.items())) for name, options in found if _serves(name, torus, options)
    ]


def _serves(name: str, torus: Torus, options: dict[str, Any]) -> bool:
    try:
        make(name, torus, **options)
    except ValueError:
        return False
    return True
