"""Recursive doubling: in step σ along a dimension, the peer is coordinate XOR 2^σ.

The dimensions of a torus take turns, so that short hops come first and carry the largest messages
(Rabenseifner's reduce-scatter and allgather in the torus order of Sack and Gropp). With one port
the other links are idle; more parts, half of them mirrored to step in the other direction, use
them.

Restrictions: none. A dimension whose size is not a power of two is folded to the next lower one.
The hybrid keeps all nodes instead: there the peer is the nearest node whose bit σ is the other one
and whose lower bits are the same.

Cost: bandwidth-optimal Λ = 2, Ψ = 2D (one port) or 1 (mirrored), Ξ = (2^D - 1)/(2^D - 2) for
one port; latency-optimal Λ = 1, Ψ = D·log2 p, Ξ = 2D·p^(1/D).

>>> import swing
>>> print(swing.schedule("recursive_doubling", swing.Torus(4)))
0 +  0→1:2-3  1→0:0-1  2→3:2-3  3→2:0-1
1 +  0→2:1  1→3:3  2→0:0  3→1:2
2 =  2→0:1  3→1:3  0→2:0  1→3:2
3 =  1→0:2-3  0→1:0-1  3→2:2-3  2→3:0-1

Source: Thakur, Rabenseifner, Gropp 2005; Sack, Gropp 2012; mirrored: Swing paper, §2.3, §5;
the hybrid is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from swing.algorithms.algorithm import Algorithm, never, pure_variants
from swing.build.partition import digits_of, partition_pattern
from swing.build.pattern import RingPattern, fold_to_power_of_two, halving
from swing.build.variants import Variant, arranged, by_ports, halving_options, make_variant
from swing.schedules.collectives import is_scattered
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus


def recursive_doubling(
    torus: Torus,
    *,
    variant: Variant = "bandwidth",
    k: int | None = None,
    ports: int | None = 1,
    order: int | Sequence[int] | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Exchange with the coordinate XOR 2^σ in step σ along a dimension, by default on one port.

    Args:
        torus: the ranks.
        variant: "bandwidth"-optimal, "latency"-optimal, or "hybrid": k steps of reduce-scatter,
            an exchange of the pending blocks, k steps of allgather.
        k: for "hybrid", from 0 to the number of halving steps, Σ ⌈log2 d_i⌉.
        ports: number of parts that run side by side, 1 … 2D; 2D if None. All parts after the D-th
            are mirrored.
        order: the dimension of each step of a reduce-scatter, apart from steps that fold a
            dimension; dimensions take turns if None. The part that starts in dimension j begins at
            the first step along j, and the steps before it come last.
        collective: "allreduce", "reduce_scatter" or "allgather" (bandwidth only).

    Raises:
        ValueError: an option out of range, with the range.
    """
    # A reduce-scatter must end with a block on every rank, even on those that folding leaves idle.
    deliver = is_scattered(collective)

    def part(start: int, mirrored: bool) -> Schedule:
        if variant == "hybrid":
            lines = [nested_line(d, wrap, mirrored) for d, wrap in torus.sides]
        else:
            lines = [xor_line(d, mirrored, deliver) for d in torus.dims]
        return make_variant(torus, lines, arranged(lines, start, order), variant, k, collective)

    return by_ports("recursive_doubling", torus, part, variant, ports)


def mirrored_recursive_doubling(
    torus: Torus,
    *,
    variant: Variant = "bandwidth",
    k: int | None = None,
    order: int | Sequence[int] | None = None,
    collective: str = "allreduce",
) -> Schedule:
    """Recursive doubling on all ports: half of the parts step in the other direction."""
    schedule = recursive_doubling(
        torus, variant=variant, k=k, ports=None, order=order, collective=collective
    )
    return replace(schedule, name="mirrored_recursive_doubling")


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: each variant and k, on one port and on all.

    >>> len(family(Torus((8, 8))))
    14
    """
    return halving_options(torus, (1, torus.ports))


def peers(d: int, mirrored: bool = False) -> list[Array]:
    """List the (d,) peers of all d = 2^m nodes in each step: x XOR 2^σ for node x.

    If mirrored, the peer is as far from x on the other side.
    """
    x = np.arange(d)
    steps = range(d.bit_length() - 1)
    return [(2 * x - (x ^ 2**s)) % d if mirrored else x ^ 2**s for s in steps]


def xor_line(d: int, mirrored: bool = False, deliver: bool = False) -> RingPattern:
    """Make the reduce-scatter on one ring of any size, folded to a power of two."""
    return fold_to_power_of_two(halving(peers(2 ** (d.bit_length() - 1), mirrored)), d, deliver)


@lru_cache(maxsize=64)  # the parts of a schedule, and hybrids with different k, share patterns
def nested_line(d: int, wrap: bool = True, mirrored: bool = False) -> RingPattern:
    """Make the reduce-scatter on 2^m nodes, or on the next higher power of two cut to d nodes."""
    if d & (d - 1) == 0:
        return halving(peers(d, mirrored))
    return partition_pattern(digits_of(d, (2,) * d.bit_length()), wrap, mirrored)


RECURSIVE_DOUBLING = Algorithm(
    "recursive_doubling", recursive_doubling, style=("#0072B2", "s"),
    source="Thakur, Rabenseifner, Gropp 2005; Sack, Gropp 2012",
    family=family, published=pure_variants, standard=True,
    on_all_ports="mirrored_recursive_doubling",
)  # fmt: skip
MIRRORED_RECURSIVE_DOUBLING = Algorithm(
    "mirrored_recursive_doubling", mirrored_recursive_doubling, style=("#56B4E9", "D"),
    source="De Sensi, Bonato, Saam, Hoefler, NSDI 2024",
    family=never,  # the family of recursive doubling includes these schedules
    others=never, published=pure_variants,
    rival=False,  # the paper's figures of the gain leave it out
)  # fmt: skip
