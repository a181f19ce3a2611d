"""Swing: peers on alternating sides, at distances 1, 1, 3, 5, 11, … (ρ).

In step s of a reduce-scatter, rank r of a ring sends its peer π(r, s) = r ± ρ(s) (+ for even r)
the blocks that the peer will keep or pass on. Large messages thus travel short distances. The
allgather sends the messages back. On a torus the dimensions take turns, and 2D parts, each starting
in a different dimension and direction, use all 2D ports at once.

Restrictions: none; any size works in any dimension. Powers of two send contiguous blocks only. Even
sizes send each block in the last step from which its owner can still be reached. In odd sizes the
last node exchanges one block with each other node. The latency-optimal exchange and the hybrid cut
the ring of the next power of two: the peer is the nearest node of the half that the peer on that
larger ring is in.

Cost (T = log2 p·α·Λ + n/D·β·Ψ·Ξ): bandwidth-optimal Λ = 2, Ψ = 1, Ξ → 1.2 / 1.037 / 1.0084 on
2 / 3 / 4 dimensions; latency-optimal Λ = 1, Ψ = D·log2 p, Ξ = (4/3)·D·p^(1/D).

>>> import swing
>>> print(swing.schedule("swing", swing.Torus(4), ports=1))
0 +  0→1:2-3  1→0:0-1  2→3:0-1  3→2:2-3
1 +  0→3:1  1→2:3  2→1:2  3→0:0
2 =  3→0:1  2→1:3  1→2:2  0→3:0
3 =  1→0:2-3  0→1:0-1  3→2:0-1  2→3:2-3

Source: De Sensi, Bonato, Saam, Hoefler: Swing, NSDI 2024 (arXiv 2401.09356), §3, §4; odd sizes
inside a torus, the order of the latency-optimal steps and the cut rings are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from swing.algorithms.algorithm import Algorithm, pure_variants
from swing.build.partition import bits_of, partition_pattern
from swing.build.pattern import PatternStep, RingPattern, circulant_pattern, halving, tree_order
from swing.build.variants import Variant, arranged, by_ports, halving_options, make_variant
from swing.checks import shown
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.torus import Array, Torus

BlockRule = Literal["last", "early"]


def swing(
    torus: Torus,
    *,
    variant: Variant = "bandwidth",
    k: int | None = None,
    ports: int | None = None,
    order: int | Sequence[int] | None = None,
    blocks: BlockRule = "last",
    collective: str = "allreduce",
) -> Schedule:
    """Exchange with peers on alternating sides, at distances 1, 1, 3, 5, 11 and so on.

    Args:
        torus: the ranks.
        variant: "bandwidth"-optimal, "latency"-optimal, or "hybrid": k steps of reduce-scatter,
            an exchange of the pending blocks, k steps of allgather.
        k: for "hybrid", from 0 to the number of halving steps, Σ ⌈log2 d_i⌉.
        ports: number of parts that run side by side, 1 … 2D; 2D if None.
        order: the dimension of each step of a reduce-scatter, of which dimension j has
            ⌈log2 d_j⌉; dimensions take turns if None. The part that starts in dimension j begins at
            the first step along j, and the steps before it come last.
        blocks: which step of an even size sends a block that several steps could send. "last": the
            last of them, as in the paper; "early": as early as possible, so that as many blocks
            as possible travel short distances.
        collective: "allreduce", "reduce_scatter" or "allgather" (bandwidth only).

    Raises:
        ValueError: an option out of range, with the range.
    """
    if blocks not in get_args(BlockRule):
        names = ", ".join(get_args(BlockRule))
        raise ValueError(f"blocks must be one of {names}, not {shown(blocks)}")

    def part(start: int, mirrored: bool) -> Schedule:
        if variant == "bandwidth":
            lines = [swing_line(d, mirrored, blocks) for d in torus.dims]
        else:
            lines = [nested_line(d, wrap, mirrored) for d, wrap in torus.sides]
        return make_variant(torus, lines, arranged(lines, start, order), variant, k, collective)

    return by_ports("swing", torus, part, variant, ports)


def family(torus: Torus) -> list[dict[str, Any]]:
    """Option sets that `tune` searches: each variant and k, on all ports and on one.

    >>> len(family(Torus((8, 8))))
    14
    """
    options = halving_options(torus, (torus.ports, 1))
    if any(d % 2 == 0 and d & (d - 1) for d in torus.dims):  # `blocks` matters for these only
        options.append({"variant": "bandwidth", "blocks": "early"})
    return options


def rho(s: int) -> int:
    """Return ρ(s) = Σ (-2)^i for i = 0 … s: 1, -1, 3, -5, 11, -21 and so on."""
    return sum((-2) ** i for i in range(s + 1))


def peers(d: int, mirrored: bool = False) -> list[Array]:
    """List the peers of all nodes in each step, for d = 1 or even.

    π(r, s) = r + ρ(s) for even r and r - ρ(s) for odd r, modulo d; mirrored, the signs swap.
    """
    ranks = np.arange(d)
    sign = np.where(ranks % 2 == mirrored, 1, -1)
    return [(ranks + sign * rho(s)) % d for s in range((d - 1).bit_length())]


def swing_line(d: int, mirrored: bool = False, blocks: BlockRule = "last") -> RingPattern:
    """Make the reduce-scatter on one ring of any size."""
    if d & (d - 1) == 0:
        return halving(peers(d, mirrored))
    return _odd(d, mirrored, blocks) if d % 2 else _even(d, mirrored, blocks)


@lru_cache(maxsize=64)  # the parts of a schedule, and hybrids with different k, share patterns
def nested_line(d: int, wrap: bool = True, mirrored: bool = False) -> RingPattern:
    """Make the reduce-scatter on one ring of any size that halves the blocks in every step.

    The halves are those of the ring of the next power of two. A node exchanges with the nearest
    node of the half that its peer on that larger ring is in.
    """
    if d & (d - 1) == 0:
        return halving(peers(d, mirrored))
    nsteps = d.bit_length()
    label = np.argsort(tree_order(peers(2**nsteps)))
    nodes = np.arange(d)
    labels = label[-nodes % d if mirrored else nodes]
    return partition_pattern(bits_of(labels, nsteps), wrap, mirrored)


def _even(d: int, mirrored: bool, blocks: BlockRule) -> RingPattern:
    peer = peers(d, mirrored)
    sign = np.where(np.arange(d) % 2 == mirrored, 1, -1)
    kept = _kept_last(d) if blocks == "last" else _kept_least(d)
    order = tree_order(peer)
    # The tree has 2^steps leaves, more than d; keep the first leaf of each node.
    owner = order[np.sort(np.unique(order, return_index=True)[1])]
    return circulant_pattern(
        owner, sign, [[(rho(s), np.setdiff1d(kept[s], kept[s + 1]))] for s in range(len(peer))]
    )


def _kept_last(d: int) -> list[Array]:
    """List the block offsets pending before each step: all that a node reaches from then on.

    For an even node x, the block with offset o is that of node x + o; for an odd node x, it is that
    of node x - o. Step s takes the block to the peer, for which its offset is ρ(s) - o. The offsets
    that a node reaches through its peer are therefore ρ(s) - o for all offsets o that the peer
    itself reaches later.
    """
    kept: list[Array] = [np.zeros(1, dtype=np.int64)]
    for s in reversed(range((d - 1).bit_length())):
        kept.insert(0, np.union1d((rho(s) - kept[0]) % d, kept[0]))
    return kept


def _kept_least(d: int) -> list[Array]:
    """List the block offsets pending before each step when each step sends as many as it can.

    This leaves the fewest offsets, ⌈d / 2^s⌉ before step s: one offset from each of ⌈d / 2^s⌉ pairs
    of an even and an odd offset. The even ones are successive multiples of 2^s, and ``first``
    counts those below 0. Since ρ(s) - o maps an even offset to the odd one of the next
    pair to the right (odd s) or left (even s), neighbouring pairs merge in step s: one keeps its
    even offset and the other its odd one. If the number of pairs is odd, the last pair in that
    direction has no neighbour and stays as it is, so its offset has no image under the map. The
    loop runs backwards from the single offset 0 that is left at the end.
    """
    nsteps = (d - 1).bit_length()
    pairs = [-(-d // 2**s) for s in range(nsteps + 1)]
    first, kept = 0, [np.zeros(1, dtype=np.int64)]
    for s in reversed(range(nsteps)):
        moved = kept[0]
        if pairs[s] % 2:  # leave out the last pair, which has no neighbour
            last = 2 ** (s + 1) * ((pairs[s + 1] - 1 if s % 2 else 0) - first)
            moved = moved[~np.isin(moved, [last % d, (rho(s - 1) - last) % d])]
        first = 2 * first + (pairs[s] % 2 == 0 and s % 2 == 0)
        kept.insert(0, np.sort(np.concatenate([kept[0], (rho(s) - moved) % d])))
    return kept


def _odd(d: int, mirrored: bool, blocks: BlockRule) -> RingPattern:
    # All nodes but the last run the scheme of the even size d - 1. In each step the last node also
    # exchanges one block with half of the nodes that it has not met yet (Fig. 3 of the paper).
    inner = swing_line(d - 1, mirrored, blocks)
    last = d - 1
    met = [0]  # before step s the last node has met the nodes 0 … met[s] - 1
    while met[-1] < last:
        met.append(met[-1] + (last - met[-1] + 1) // 2)
    nsteps = len(met) - 1
    label = np.argsort(inner.owner)

    def step(s: int) -> PatternStep:
        new = np.arange(met[s], met[s + 1])
        own = np.full_like(new, last)  # the label of the last node's own block, too
        src, dst = np.append(new, own), np.append(own, new)
        sent = Blocks.ranges(np.append(own, label[new]), 1)
        if s < inner.nsteps:
            swing = inner.step(s)
            src, dst = np.append(swing.src, src), np.append(swing.dst, dst)
            sent = Blocks.join([swing.sent, sent])
        return PatternStep(src, dst, sent)

    def pending(s: int) -> Blocks:
        inside = inner.pending(min(s, inner.nsteps))
        unmet = np.arange(last) >= met[s]  # these nodes still have the last node's block

        def members(x: int) -> Array:
            if x == last:
                return np.sort(np.append(label[met[s] :], last))
            labels = inside.members(x)
            return np.append(labels, last) if unmet[x] else labels

        return Blocks.sets(np.append(inside.counts + unmet, 1 + last - met[s]), members)

    return RingPattern(d, (d,) + (1,) * (nsteps - 1), np.append(inner.owner, last), step, pending)


def _shortlist(torus: Torus) -> list[dict[str, Any]]:
    halvings = sum((d - 1).bit_length() for d in torus.dims)
    # At most five values of k, because each candidate costs an estimate.
    ks = range(2, halvings, max(2, -(-halvings // 5)))
    hybrids = [{"variant": "hybrid", "k": k} for k in ks]
    return [{"variant": "latency"}, *hybrids, {"variant": "bandwidth"}]


SWING = Algorithm(
    "swing", swing, source="De Sensi, Bonato, Saam, Hoefler, NSDI 2024", style=("#D55E00", "o"),
    family=family, published=pure_variants, shortlist=_shortlist, standard=True,
)  # fmt: skip
