"""Linear and pairwise exchange: every rank sends each block straight to its home.

Linear sends to all other ranks at once. Pairwise exchange sends to one rank per step: in step k,
rank r sends to rank r + k and receives from rank r - k. No byte is sent twice, but messages cross
the torus in whatever way the ranks are numbered.

Restrictions: none.

Cost: pairwise Λ = 2(p - 1)/log2 p, linear Λ = 2/log2 p with p - 1 messages per step; as an
all-to-all, each block takes one message.

>>> import swing
>>> for name in ("linear", "pairwise"):
...     print(swing.schedule(name, swing.Torus(3), collective="reduce_scatter"))
0 +  0→1:1  0→2:2  1→2:2  1→0:0  2→0:0  2→1:1
0 +  0→1:1  1→2:2  2→0:0
1 +  0→2:2  1→0:0  2→1:1

Source: Thakur, Rabenseifner, Gropp 2005 (pairwise exchange); linear is the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm, never
from swing.build.combine import collect, over_ranks
from swing.build.pattern import PatternStep, RingPattern
from swing.schedules.blocks import Blocks, one_block
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus


def linear(torus: Torus, *, collective: str = "allreduce") -> Schedule:
    """Send every block straight to its home, to all other ranks at once.

    Args:
        torus: the ranks.
        collective: one of `Algorithm.collectives`.
    """
    steps = [np.arange(1, torus.size)] if torus.size > 1 else []
    return replace(_straight(torus, steps, collective), name="linear")


def pairwise(torus: Torus, *, collective: str = "allreduce") -> Schedule:
    """Send every block straight to its home, to one other rank in each step.

    Args:
        torus: the ranks.
        collective: one of `Algorithm.collectives`.
    """
    steps = [np.array([k]) for k in range(1, torus.size)]
    return replace(_straight(torus, steps, collective), name="pairwise")


def direct_line(d: int, steps: Sequence[Array]) -> RingPattern:
    """Make the reduce-scatter in which node x sends to nodes x + o, for the offsets o of each step.

    Args:
        d: number of nodes.
        steps: the offsets; together all from 1 to d - 1, each once.
    """
    nodes = np.arange(d)

    def step(s: int) -> PatternStep:
        src = np.repeat(nodes, len(steps[s]))
        dst = (src + np.tile(steps[s], d)) % d
        return PatternStep(src, dst, one_block(dst))

    def pending(s: int) -> Blocks:
        kept = np.concatenate([np.zeros(1, dtype=np.int64), *steps[s:]])
        return Blocks.sets(np.full(d, len(kept)), lambda x: np.sort((x + kept) % d))

    radices = (d,) + (1,) * (len(steps) - 1) if steps else ()
    return RingPattern(d, radices, nodes, step, pending)


def _straight(torus: Torus, steps: Sequence[Array], collective: str) -> Schedule:
    return collect(over_ranks(torus, direct_line(torus.size, steps)), collective)


def _others(torus: Torus) -> list[dict[str, Any]]:
    # There are p² messages, and at many ranks they only wait for each other.
    return [{}, {"chunks": 1}] if torus.size <= 1024 else []


LINEAR = Algorithm(
    "linear", linear, source="the definition", style=("#999999", "1"),
    family=never, others=_others, standard=True, rival=False,
)  # fmt: skip
PAIRWISE = Algorithm(
    "pairwise", pairwise, source="Thakur, Rabenseifner, Gropp 2005", style=("#8C564B", "2"),
    family=never, others=_others, standard=True, rival=False,
)  # fmt: skip
