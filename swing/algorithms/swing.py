"""Swing: neighbours on alternating sides, at distances 1, 1, 3, 5, 11, … (ρ).

In step s of a reduce-scatter rank r of a ring sends its peer π(r, s) = r ± ρ(s) (+ for even r)
the blocks that the peer will pass on, so large messages travel short ways; the allgather sends
them back. On a torus the dimensions take turns, and 2D parts, each starting in another
dimension and direction, use all 2D ports at once.

Restrictions: none. Powers of two send contiguous blocks only. Even sizes send each block in
the last step from which its owner is reached. In odd sizes the last node swaps one block with
each of the others. Any size works in any dimension. The latency-optimal exchange and the hybrid
cut the ring of the next power of two: a missing peer's place takes the nearest node of its half.

Cost (T = log2 p·α·Λ + n/D·β·Ψ·Ξ): bandwidth-optimal Λ = 2, Ψ = 1, Ξ → 1.2 / 1.037 / 1.0084 on
2 / 3 / 4 dimensions; latency-optimal Λ = 1, Ψ = D·log2 p, Ξ = (4/3)·D·p^(1/D).

>>> import swing
>>> print(swing.schedule("swing", swing.Torus(4), ports=1))
0 +  0→1:2-3  1→0:0-1  2→3:0-1  3→2:2-3
1 +  0→3:1  1→2:3  2→1:2  3→0:0
2 =  3→0:1  2→1:3  1→2:2  0→3:0
3 =  1→0:2-3  0→1:0-1  3→2:0-1  2→3:2-3

Source: De Sensi, Bonato, Saam, Hoefler: Swing, NSDI 2024 (arXiv 2401.09356), §3, §4; the odd
sizes inside a torus, the order of the latency-optimal steps and cut rings are our own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from swing.build.combine import Variant, by_ports, halving_options, in_turn, make_variant
from swing.build.partition import bits_of, partition_pattern
from swing.build.pattern import (
    PatternStep,
    RingPattern,
    Sets,
    circulant_pattern,
    halving,
    tree_order,
)
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus

BlockRule = Literal["last", "early"]


def swing(
    torus: Torus,
    *,
    variant: Variant = "bandwidth",
    k: int | None = None,
    ports: int | None = None,
    blocks: BlockRule = "last",
    collective: str = "allreduce",
) -> Schedule:
    """Swing on any torus.

    Args:
        torus: the ranks.
        variant: "bandwidth"-optimal, "latency"-optimal, or "hybrid": k steps of reduce-scatter,
            an exchange of what is left, k steps of allgather.
        k: for "hybrid", 0 … the number of halving steps, Σ ⌈log2 d_i⌉.
        ports: parts that run side by side, 1 … 2D; 2D if None.
        blocks: when even sizes send a block, where several steps can. "last": in the last of
            them, as the paper does; "early": as many blocks as can be go short ways.
        collective: "allreduce", "reduce_scatter" or "allgather" (bandwidth only).

    Raises:
        ValueError: an option out of range, with the range.
    """
    if blocks not in get_args(BlockRule):
        raise ValueError(f"blocks must be one of {', '.join(get_args(BlockRule))}, not {blocks!r}")

    def part(start: int, mirrored: bool) -> Schedule:
        if variant == "bandwidth":
            lines = [swing_line(d, mirrored, blocks) for d in torus.dims]
        else:
            lines = [
                nested_line(d, wrap, mirrored)
                for d, wrap in zip(torus.dims, torus.wrap, strict=True)
            ]
        return make_variant(torus, lines, list(in_turn(lines, start)), variant, k, collective)

    return by_ports("swing", torus, part, variant, ports)


def family(torus: Torus) -> list[dict[str, Any]]:
    """What is worth a thought on a torus: every variant, every k, all ports or one.

    >>> len(family(Torus((8, 8))))
    14
    """
    found = halving_options(torus, (torus.ports, 1))
    if any(d % 2 == 0 and d & (d - 1) for d in torus.dims):
        found.append({"variant": "bandwidth", "blocks": "early"})
    return found


def rho(s: int) -> int:
    """ρ(s) = Σ (-2)^i for i = 0 … s: 1, -1, 3, -5, 11, -21 and so on."""
    return sum((-2) ** i for i in range(s + 1))


def peers(d: int, mirrored: bool = False) -> list[Array]:
    """π(r, s) = r + ρ(s) for even r, r - ρ(s) for odd r, modulo d (even, or 1)."""
    ranks = np.arange(d)
    sign = np.where(ranks % 2 == mirrored, 1, -1)
    return [(ranks + sign * rho(s)) % d for s in range((d - 1).bit_length())]


def swing_line(d: int, mirrored: bool = False, blocks: BlockRule = "last") -> RingPattern:
    """The reduce-scatter on one ring of any size."""
    if d & (d - 1) == 0:
        return halving(peers(d, mirrored))
    return _odd(d, mirrored, blocks) if d % 2 else _even(d, mirrored, blocks)


@lru_cache(maxsize=64)  # parts and hybrids share them
def nested_line(d: int, wrap: bool = True, mirrored: bool = False) -> RingPattern:
    """The reduce-scatter whose blocks stay together in halves of halves, whatever the size.

    The halves are those of the next power of two. Nodes that are left out of it leave others
    without a peer: these deal with the nearest node of the half that their peer would be in.
    """
    if d & (d - 1) == 0:
        return halving(peers(d, mirrored))
    nsteps = d.bit_length()
    label = np.argsort(tree_order(peers(2**nsteps)))
    nodes = np.arange(d)
    return partition_pattern(
        bits_of(label[-nodes % d if mirrored else nodes], nsteps), wrap, mirrored
    )


def _even(d: int, mirrored: bool, blocks: BlockRule) -> RingPattern:
    peer = peers(d, mirrored)
    sign = np.where(np.arange(d) % 2 == mirrored, 1, -1)
    kept = _kept_last(d) if blocks == "last" else _kept_least(d)
    order = tree_order(peer)
    owner = order[np.sort(np.unique(order, return_index=True)[1])]
    return circulant_pattern(
        owner, sign, [[(rho(s), np.setdiff1d(kept[s], kept[s + 1]))] for s in range(len(peer))]
    )


def _kept_last(d: int) -> list[Array]:
    """The offsets that a node still answers for before each step: all it reaches from then on.

    The block of x ± o has offset o at x, + for even x. After step s it has ρ(s) - o, at the
    peer: what an even node reaches over its peer is the mirror image of what the peer reaches.
    """
    kept: list[Array] = [np.zeros(1, dtype=np.int64)]
    for s in reversed(range((d - 1).bit_length())):
        kept.insert(0, np.union1d((rho(s) - kept[0]) % d, kept[0]))
    return kept


def _kept_least(d: int) -> list[Array]:
    """The same, with the fewest offsets that can be: ⌈d / 2^s⌉ before step s.

    Before step s there are ⌈d / 2^s⌉ pairs of an even and an odd offset, one of which is kept.
    The even ones are neighbours among the multiples of 2^s, 0 is the ``first`` of them but so
    many, and ρ(s) takes them to the odd ones of their neighbours to the right (odd s) or left
    (even s). So neighbours merge: of the one the even, of the other the odd offset goes on. If
    the pairs are odd in number the last in that direction stays as it is; what is kept of it
    has no image. Backwards, this tells what is kept.
    """
    nsteps = (d - 1).bit_length()
    pairs = [-(-d // 2**s) for s in range(nsteps + 1)]
    first, kept = 0, [np.zeros(1, dtype=np.int64)]
    for s in reversed(range(nsteps)):
        moved = kept[0]
        if pairs[s] % 2:
            last = 2 ** (s + 1) * ((pairs[s + 1] - 1 if s % 2 else 0) - first)
            moved = moved[~np.isin(moved, [last % d, (rho(s - 1) - last) % d])]
        first = 2 * first + (pairs[s] % 2 == 0 and s % 2 == 0)
        kept.insert(0, np.sort(np.concatenate([kept[0], (rho(s) - moved) % d])))
    return kept


def _odd(d: int, mirrored: bool, blocks: BlockRule) -> RingPattern:
    # All nodes but the last run the even scheme. In each step the last node swaps blocks with
    # half of the nodes that it has not met yet (Fig. 3 of the paper).
    inner = swing_line(d - 1, mirrored, blocks)
    last = d - 1
    met = [0]
    while met[-1] < last:
        met.append(met[-1] + (last - met[-1] + 1) // 2)
    nsteps = len(met) - 1
    label = np.argsort(inner.owner)

    def step(s: int) -> PatternStep:
        some = np.arange(met[s], met[s + 1])
        direct = PatternStep(
            np.concatenate([some, np.full_like(some, last)]),
            np.concatenate([np.full_like(some, last), some]),
            Sets.ranges(np.concatenate([np.full_like(some, last), label[some]]), 1),
        )
        if s >= inner.nsteps:
            return direct
        swing = inner.step(s)
        return PatternStep(
            np.concatenate([swing.src, direct.src]),
            np.concatenate([swing.dst, direct.dst]),
            Sets.joined([swing.sent, direct.sent]),
        )

    def pending(s: int) -> Sets:
        inside = inner.pending(min(s, inner.nsteps))
        waits = np.arange(last) >= met[s]  # these still answer for the last node's block

        def members(x: int) -> Array:
            if x == last:
                return np.sort(np.append(label[met[s] :], last))
            found = inside.members(x)
            return np.append(found, last) if waits[x] else found

        return Sets(np.append(inside.count + waits, 1 + last - met[s]), members)

    return RingPattern(d, (d,) + (1,) * (nsteps - 1), np.append(inner.owner, last), step, pending)
