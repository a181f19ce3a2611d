"""Products of ring patterns on a torus, and combinations of schedules.

`product` takes one ring pattern per dimension and interleaves their steps in any order. A block b
has a label b_j in each dimension j. In a step along dimension ω, the pattern maps the rank's
coordinate to a peer and a set of labels. The rank sends this peer the blocks whose label b_ω is in
the set and whose other labels b_j are pending, which means that the rank's coordinate r_j has not
passed them on in the steps so far along dimension j. A contribution follows the in-tree of each
dimension independently of the others, so every such product is a correct reduce-scatter, in which
each rank sends every block but its own once.

The other functions run schedules backwards, one after the other, or side by side on parts of the
vector.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from swing.build.layout import block_numbering, idle_step, product_step
from swing.build.pattern import PatternStep, RingPattern
from swing.build.product import RankProduct, outer
from swing.schedules.blocks import join
from swing.schedules.rank import RankMessages, Steps, stack, with_rank_view
from swing.schedules.schedule import Schedule
from swing.schedules.step import Rows, Step
from swing.torus import Array, Torus

Order = Sequence[int | tuple[int, ...] | None]
Variant = Literal["bandwidth", "latency", "hybrid"]


def in_turn(lines: Sequence[RingPattern], start: int = 0) -> Iterator[int]:
    """Yield the dimension of each step: all take turns, from ``start`` on, until each is finished.

    Steps that fold a dimension to a power of two come before all others.
    """
    turn = [(start + i) % len(lines) for i in range(len(lines))]
    for j in turn:
        yield from [j] * lines[j].folds
    for s in range(max(line.nsteps for line in lines)):
        for j in turn:
            if s < lines[j].nsteps - lines[j].folds:
                yield j


def product(
    torus: Torus, lines: Sequence[RingPattern], order: Order, k: int | None = None
) -> Schedule:
    """Multiply ring patterns into one part: a reduce-scatter, or an allreduce in three phases.

    The allreduce does k steps of reduce-scatter, then the remaining steps as an exchange of whole
    pending sets, then k steps of allgather.

    Args:
        torus: the ranks.
        lines: one pattern per dimension.
        order: the dimension of each step, a tuple of dimensions that act at once, or None for a
            step in which the part is idle. Where dimensions act at once, a rank exchanges
            messages directly with every rank that it would otherwise reach in up to one step
            along each of them.
        k: number of reduce-scatter steps. If None, the result is a reduce-scatter of all steps.
            Otherwise the steps after the k-th run in reverse order, long hops first, and partners
            exchange all blocks that are pending. The partial sums are then sums over the nested
            sets of the reduce-scatter, so all ranks add in the same tree and get the same bits.
    """
    steps = [() if at is None else (at,) if isinstance(at, int) else at for at in order]
    nsteps = len(steps)
    taken = [[0] * len(lines)]  # steps along each dimension before each step
    for dims in steps:
        taken.append([t + (j in dims) for j, t in enumerate(taken[-1])])
    split = nsteps if k is None else k
    if split < nsteps:
        # Blocks that no reduce-scatter step separates travel together, so they can be one block.
        lines = [line.coarse(t) for line, t in zip(lines, taken[split], strict=True)]
    numbering = block_numbering(lines, steps)

    def scatter_step(s: int) -> Step:
        pending = [line.pending(t) for line, t in zip(lines, taken[s], strict=True)]
        moves = {j: lines[j].step(taken[s][j]) for j in steps[s]}
        kept = {j: lines[j].pending(taken[s + 1][j]) for j in steps[s]}
        return product_step(torus, moves, kept, pending, numbering)

    def exchange_step(s: int) -> Step:
        t = nsteps - 1 - s
        pending = [line.pending(u) for line, u in zip(lines, taken[split], strict=True)]
        moves = {}
        for j in steps[t]:
            # Reverse the messages: a node receives from the nodes it would send its blocks to.
            dst, src, _ = lines[j].step(taken[t][j])
            by_sender = np.argsort(src, kind="stable")
            src, dst = src[by_sender], dst[by_sender]
            moves[j] = PatternStep(src, dst, pending[j].take(src))
        return product_step(torus, moves, dict(enumerate(pending)), pending, numbering)

    def signature(s: int) -> Hashable:
        acting = [(j, lines[j].signature(taken[s][j])) for j in steps[s]]
        # Traffic also depends on the sets that are pending along the other dimensions.
        return (*acting, *np.delete(taken[s], list(steps[s])).tolist()) if acting else None

    def owner() -> Array:
        ranks = np.empty(nblocks, dtype=np.int64)
        coords = np.ix_(*(line.owner for line in lines))
        ranks[outer(np.add, numbering)] = torus.grid[coords]
        return ranks

    nblocks = int(np.prod([line.nblocks for line in lines]))
    one_dim = all(len(dims) < 2 for dims in steps)
    rank_product = RankProduct(
        torus, lines, [dims[0] if dims else None for dims in steps], numbering
    )
    rs = Schedule(
        "product",
        torus,
        nblocks,
        split,
        Steps(scatter_step, lambda rank: rank_product.scatter(rank, split))
        if one_dim
        else scatter_step,
        collective="reduce_scatter",
        find_owner=owner,
        signature=signature,
    )
    if k is None:
        return rs
    exchange_steps = (
        Steps(exchange_step, lambda rank: rank_product.exchange(rank, split))
        if one_dim
        else exchange_step
    )
    exchange = Schedule("exchange", torus, nblocks, nsteps - k, exchange_steps)
    return replace(chain(rs, exchange, backwards(rs)), find_owner=None)


def backwards(reduce_scatter: Schedule) -> Schedule:
    """Make the allgather that sends the messages of a reduce-scatter back, last step first."""
    last = reduce_scatter.nsteps - 1

    def step(s: int) -> Step:
        return reduce_scatter.step(last - s).reversed()

    return replace(
        reduce_scatter,
        collective="allgather",
        step=with_rank_view(step, [reduce_scatter], lambda own: own[0].reversed(last + 1)),
        signature=lambda s: ("back", reduce_scatter.signature(last - s)),
        sync_phase=lambda s: ("back", reduce_scatter.sync_phase(last - s)),
    )


def chain(*schedules: Schedule) -> Schedule:
    """Make the allreduce that runs schedules of the same blocks one after the other."""
    index = [(i, s) for i, schedule in enumerate(schedules) for s in range(schedule.nsteps)]

    def step(s: int) -> Step:
        i, t = index[s]
        return schedules[i].step(t)

    def signature(s: int) -> Hashable:
        i, t = index[s]
        return schedules[i].signature(t)

    def sync_phase(s: int) -> Hashable:
        i, t = index[s]
        return i, schedules[i].sync_phase(t)

    def own(messages: Sequence[RankMessages]) -> RankMessages:
        delays = np.cumsum([0] + [schedule.nsteps for schedule in schedules]).tolist()
        sides = zip(*messages, strict=True)
        return RankMessages(
            *(stack([m.later(n) for m, n in zip(side, delays, strict=False)]) for side in sides)
        )

    return replace(
        schedules[0],
        collective="allreduce",
        nsteps=len(index),
        step=with_rank_view(step, schedules, own),
        signature=signature,
        sync_phase=sync_phase,
    )


def with_allgather(reduce_scatter: Schedule) -> Schedule:
    """Make the bandwidth-optimal allreduce: a reduce-scatter, then the reversed one."""
    return chain(reduce_scatter, backwards(reduce_scatter))


def collect(reduce_scatter: Schedule, collective: str) -> Schedule:
    """Make the schedule of a collective from a reduce-scatter.

    Args:
        reduce_scatter: a reduce-scatter, as of `product`.
        collective: "reduce_scatter" returns the schedule itself, "allgather" the reversed one,
            "allreduce" both in sequence.

    Raises:
        ValueError: another collective.
    """
    if collective == "reduce_scatter":
        return reduce_scatter
    if collective == "allgather":
        return backwards(reduce_scatter)
    if collective == "allreduce":
        return with_allgather(reduce_scatter)
    raise ValueError(
        f"collective must be allreduce, reduce_scatter or allgather, not {collective!r}"
    )


def make_variant(
    torus: Torus,
    lines: Sequence[RingPattern],
    order: Order,
    variant: Variant,
    k: int | None,
    collective: str,
) -> Schedule:
    """Make one part of an algorithm in the given variant.

    Args:
        torus: the ranks.
        lines: one pattern per dimension.
        order: the dimension or dimensions of each step, as in `product`.
        variant: "bandwidth", "latency" or "hybrid".
        k: number of reduce-scatter steps of the hybrid, not counting those that fold a dimension
            to a power of two; None for the other variants.
        collective: "allreduce", "reduce_scatter" or "allgather"; the latter two have the bandwidth
            variant only.

    Raises:
        ValueError: an option out of range, with the range.
    """
    folds = sum(line.folds for line in lines)
    max_k = len(order) - folds
    if k is not None and variant != "hybrid":
        raise ValueError(f"k needs variant='hybrid', not {variant!r}")
    if variant == "bandwidth":
        return collect(product(torus, lines, order), collective)
    if variant not in get_args(Variant):
        raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, not {variant!r}")
    if collective != "allreduce":
        raise ValueError(f"{collective} has no {variant} variant: use variant='bandwidth'")
    if variant == "latency":
        k = 0
    if k is None or not 0 <= k <= max_k:
        raise ValueError(f"variant='hybrid' needs k from 0 to {max_k} on {torus}, not {k}")
    return product(torus, lines, order, folds + k)


def halving_options(torus: Torus, ports: Iterable[int]) -> list[dict[str, Any]]:
    """Option sets of a halving algorithm: each variant and k with each number of ports."""
    steps = sum((d - 1).bit_length() for d in torus.dims)
    counts = list(dict.fromkeys(max(1, n) for n in ports))
    pure: list[dict[str, Any]] = [
        {"variant": variant, "ports": n} for variant in ("bandwidth", "latency") for n in counts
    ]
    # k = 0 is the latency variant and k = steps the bandwidth variant.
    hybrid = [{"variant": "hybrid", "k": k} for k in range(1, steps)]
    return pure + [{**options, "ports": n} for options in hybrid for n in counts]


def by_ports(
    name: str, torus: Torus, part: Callable[[int, bool], Schedule], variant: str, ports: int | None
) -> Schedule:
    """Run the first ``ports`` of an algorithm's 2D parts side by side.

    The first D parts each start in a different dimension; the other D are their mirror images.

    Args:
        name: the algorithm.
        torus: the ranks.
        part: makes the part that starts in a dimension, mirrored or not.
        variant: name of the variant in the schedule.
        ports: the number of parts, 1 … 2D; 2D if None.

    Raises:
        ValueError: ports out of range, with the range.
    """
    starts = [(dim, mirrored) for mirrored in (False, True) for dim in torus.active]
    max_ports = max(1, len(starts))
    ports = max_ports if ports is None else ports
    if not 1 <= ports <= max_ports:
        raise ValueError(f"{name} on {torus} uses 1 to {max_ports} ports, not {ports}")
    # A single rank has no active dimension, but still needs a part, of no steps.
    parts = [part(dim, mirrored) for dim, mirrored in starts[:ports] or [(0, False)]]
    return replace(parallel(parts), name=name, variant=variant)


def parallel(parts: Sequence[Schedule], weights: Sequence[float] | None = None) -> Schedule:
    """Run parts side by side in lockstep, each on its own share of the vector.

    Args:
        parts: schedules of the same torus.
        weights: relative size of each part's share; equal blocks if None.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    offsets = np.cumsum([0] + [part.nblocks for part in parts]).tolist()
    nsteps = max(part.nsteps for part in parts)

    def step(s: int) -> Step:
        steps = {j: part.step(s) for j, part in enumerate(parts) if s < part.nsteps}

        def rows() -> Rows:
            return Rows(
                np.concatenate([step.src for step in steps.values()]),
                np.concatenate([step.dst for step in steps.values()]),
                join([step.blocks.shift(offsets[j]) for j, step in steps.items()]),
                np.concatenate([np.full(len(step), j) for j, step in steps.items()]),
            )

        def only(j: int) -> Step:
            if j not in steps:
                return idle_step()
            # Build a fresh step; the one in `steps` would keep its rows in memory.
            alone = parts[j].step(s)

            def shifted() -> Rows:
                src, dst, blocks, _ = alone.rows
                return Rows(src, dst, blocks.shift(offsets[j]), np.full(len(src), j))

            return Step.lazy(alone.op, shifted, tuple(row._replace(part=j) for row in alone.line))

        ops = {step.op for step in steps.values()}
        op = (
            ops.pop()
            if len(ops) == 1
            else np.repeat(
                [step.op for step in steps.values()], [len(step) for step in steps.values()]
            )
        )
        line = tuple(row._replace(part=j) for j, step in steps.items() for row in step.line)
        # `line` must describe all traffic of a step or none of it.
        complete = all(step.line or not len(step) for step in steps.values())
        return Step.lazy(op, rows, line if complete else (), only)

    def own(messages: Sequence[RankMessages]) -> RankMessages:
        sides = zip(*messages, strict=True)
        return RankMessages(
            *(stack([m.shift(n) for m, n in zip(side, offsets, strict=False)]) for side in sides)
        )

    def owner() -> Array:
        return np.concatenate([part.owner for part in parts if part.owner is not None])

    shares = None
    if weights is not None:
        fractions = np.asarray(weights, dtype=float) / np.sum(weights)
        shares = np.concatenate(
            [np.full(p.nblocks, w / p.nblocks) for p, w in zip(parts, fractions, strict=True)]
        )
    return replace(
        first,
        nblocks=offsets[-1],
        nsteps=nsteps,
        step=with_rank_view(step, parts, own),
        find_owner=None if first.find_owner is None else owner,
        parts=tuple(part.nblocks for part in parts),
        shares=shares,
        signature=lambda s: tuple(part.signature(s) for part in parts if s < part.nsteps),
    )


GROWTH = 1.3
"""Ratio of the sizes of successive segments of a part.

Segments of equal size would keep step with each other: all of them would wait for latencies, and
change dimension, at the same time.
"""


def segmented(
    parts: Sequence[Schedule], segments: int | Sequence[int], weights: Sequence[float] | None = None
) -> Schedule:
    """Run parts side by side, each cut into segments; segments never wait for each other.

    Args:
        parts: schedules of the same torus.
        segments: number of segments of each part; one number for all, or a sequence that is
            repeated if it is shorter than ``parts``.
        weights: relative size of each part's share; equal if None.

    Raises:
        ValueError: segments that are not whole numbers from 1 up, or a sequence whose length does
            not divide the number of parts.
    """
    counts = [*segments] if isinstance(segments, Sequence) else [segments]
    if not counts or len(parts) % len(counts) or not all(type(c) is int and c > 0 for c in counts):
        raise ValueError(
            f"segments must be a whole number from 1 up, or one for each dimension, "
            f"not {segments!r}"
        )
    pieces, shares = [], []
    for i, (part, weight) in enumerate(zip(parts, weights or [1] * len(parts), strict=True)):
        sizes = GROWTH ** np.arange(counts[i % len(counts)])
        pieces += [part] * len(sizes)
        shares += (weight * sizes / sizes.sum()).tolist()
    return replace(parallel(pieces, shares), sync_phase=lambda s: 0)
