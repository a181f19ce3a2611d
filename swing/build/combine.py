"""Schedules made of lines, and of schedules.

`product` interleaves the lines of a torus' dimensions in any order: at a step along dimension
ω a rank sends, to the peer whose coordinate ω the line names, the blocks b with b_ω in the
line's set and every other b_j in what coordinate r_j still holds after the steps taken along j.
Contributions walk each coordinate's in-tree independently, so every such product is a correct
reduce-scatter again, and p - 1 blocks leave every rank.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from swing.build.pattern import PatternStep, RingPattern, Sets
from swing.build.product import RankProduct, outer
from swing.schedules.blocks import BlockRange, BlockSets, join
from swing.schedules.rank import RankMessages, Steps, stack, with_rank_view
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Op, Rows, Step
from swing.torus import Array, Torus

Order = Sequence[int | tuple[int, ...] | None]
Variant = Literal["bandwidth", "latency", "hybrid"]


def in_turn(lines: Sequence[RingPattern], start: int = 0) -> Iterator[int]:
    """Dimensions in turn from ``start`` on, one step each; a finished one is skipped.

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
    """A part: reduce-scatter k steps, exchange the rest whole, allgather k steps.

    Args:
        torus: the ranks.
        lines: one line a dimension.
        order: the dimension of every step, several that act at once, or None for a step in
            which the part rests. At once: a rank deals directly with all that it would have
            reached through others in a step along each of them.
        k: steps of reduce-scatter. All of them if None, and then the result is only that
            reduce-scatter. Otherwise the steps after the k-th run in reverse order, long hops
            first, and partners swap all they hold: the partial sums are then sums over the
            nested sets of the reduce-scatter, so every rank adds up the same tree and gets the
            same bits.
    """
    steps = [() if at is None else (at,) if isinstance(at, int) else at for at in order]
    nsteps = len(steps)
    taken = [[0] * len(lines)]  # steps along each dimension before each step
    for dims in steps:
        taken.append([t + (j in dims) for j, t in enumerate(taken[-1])])
    split = nsteps if k is None else k
    if split < nsteps:
        lines = [line.coarse(t) for line, t in zip(lines, taken[split], strict=True)]
    place = _places(lines, steps)

    def scatter(s: int) -> Step:
        pending = [line.pending(t) for line, t in zip(lines, taken[s], strict=True)]
        moves = {j: lines[j].step(taken[s][j]) for j in steps[s]}
        kept = {j: lines[j].pending(taken[s + 1][j]) for j in steps[s]}
        return _along(torus, moves, kept, pending, place)

    def swap(s: int) -> Step:
        t = nsteps - 1 - s
        pending = [line.pending(u) for line, u in zip(lines, taken[split], strict=True)]
        moves = {}
        for j in steps[t]:  # whoever a node would send its blocks to is heard by it
            dst, src, _ = lines[j].step(taken[t][j])
            by_sender = np.argsort(src, kind="stable")
            src, dst = src[by_sender], dst[by_sender]
            moves[j] = PatternStep(src, dst, pending[j].take(src))
        return _along(torus, moves, dict(enumerate(pending)), pending, place)

    def pattern(s: int) -> Hashable:
        now = [(j, lines[j].signature(taken[s][j])) for j in steps[s]]
        return (*now, *np.delete(taken[s], list(steps[s])).tolist()) if now else None

    def owner() -> Array:
        ranks = np.empty(nblocks, dtype=np.int64)
        where = np.ix_(*(line.owner for line in lines))
        ranks[outer(np.add, place)] = torus.grid[where]
        return ranks

    nblocks = int(np.prod([line.nblocks for line in lines]))
    alone = all(len(dims) < 2 for dims in steps)
    seat = RankProduct(torus, lines, [dims[0] if dims else None for dims in steps], place)
    rs = Schedule(
        "product",
        torus,
        nblocks,
        split,
        Steps(scatter, lambda rank: seat.scatter(rank, split)) if alone else scatter,
        collective="reduce_scatter",
        find_owner=owner,
        signature=pattern,
    )
    if k is None:
        return rs
    whole = Steps(swap, lambda rank: seat.exchange(rank, split)) if alone else swap
    exchange = Schedule("exchange", torus, nblocks, nsteps - k, whole)
    return replace(chain(rs, exchange, backwards(rs)), find_owner=None)


def backwards(reduce_scatter: Schedule) -> Schedule:
    """The allgather that sends the messages of a reduce-scatter back, last step first."""
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
    """Schedules on the same blocks, one after the other: an allreduce."""
    find = [(i, s) for i, sched in enumerate(schedules) for s in range(sched.nsteps)]

    def step(s: int) -> Step:
        i, t = find[s]
        return schedules[i].step(t)

    def pattern(s: int) -> Hashable:
        i, t = find[s]
        return schedules[i].signature(t)

    def phase(s: int) -> Hashable:
        i, t = find[s]
        return i, schedules[i].sync_phase(t)

    def own(every: Sequence[RankMessages]) -> RankMessages:
        before = np.cumsum([0] + [schedule.nsteps for schedule in schedules]).tolist()
        sides = zip(*every, strict=True)
        return RankMessages(
            *(stack([m.later(n) for m, n in zip(s, before, strict=False)]) for s in sides)
        )

    return replace(
        schedules[0],
        collective="allreduce",
        nsteps=len(find),
        step=with_rank_view(step, schedules, own),
        signature=pattern,
        sync_phase=phase,
    )


def with_allgather(reduce_scatter: Schedule) -> Schedule:
    """The bandwidth-optimal allreduce: a reduce-scatter, then its messages back."""
    return chain(reduce_scatter, backwards(reduce_scatter))


def collect(reduce_scatter: Schedule, collective: str) -> Schedule:
    """What is asked for of a reduce-scatter: itself, the allgather that undoes it, or both."""
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
    """A part in one of its variants: see `product` for what k does."""
    folds = sum(line.folds for line in lines)
    most = len(order) - folds
    if k is not None and variant != "hybrid":
        raise ValueError(f"k goes with variant='hybrid', not with {variant!r}")
    if variant == "bandwidth":
        return collect(product(torus, lines, order), collective)
    if variant not in get_args(Variant):
        raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, not {variant!r}")
    if collective != "allreduce":
        raise ValueError(f"{collective} has no {variant} variant: use variant='bandwidth'")
    if variant == "latency":
        k = 0
    if k is None or not 0 <= k <= most:
        raise ValueError(f"variant='hybrid' needs k from 0 to {most} on {torus}, not {k}")
    return product(torus, lines, order, folds + k)


def halving_options(torus: Torus, ports: Iterable[int]) -> list[dict[str, Any]]:
    """Options of an algorithm that halves: every variant, every k, with each number of ports."""
    steps = sum((d - 1).bit_length() for d in torus.dims)
    every = list(dict.fromkeys(max(1, n) for n in ports))
    found: list[dict[str, Any]] = [
        {"variant": variant, "ports": n} for variant in ("bandwidth", "latency") for n in every
    ]
    hybrid = [{"variant": "hybrid", "k": k} for k in range(1, steps)]
    return found + [{**options, "ports": n} for options in hybrid for n in every]


def by_ports(
    name: str, torus: Torus, part: Callable[[int, bool], Schedule], variant: str, ports: int | None
) -> Schedule:
    """The first of the 2D parts, or all: one from each dimension on, then their mirror images."""
    ways = [(dim, mirrored) for mirrored in (False, True) for dim in torus.active]
    most = max(1, len(ways))
    ports = most if ports is None else ports
    if not 1 <= ports <= most:
        raise ValueError(f"{name} on {torus} uses 1 to {most} ports, not {ports}")
    parts = [part(dim, mirrored) for dim, mirrored in ways[:ports] or [(0, False)]]
    return replace(parallel(parts), name=name, variant=variant)


def parallel(parts: Sequence[Schedule], weights: Sequence[float] | None = None) -> Schedule:
    """Parts that run side by side in lockstep, each on its own share of the vector.

    Args:
        parts: schedules of the same torus.
        weights: the share of each part, relative to the others; equal if None.
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
                return _rest()
            alone = parts[j].step(s)  # anew: what is kept are no rows

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
        known = all(step.line or not len(step) for step in steps.values())
        return Step.lazy(op, rows, line if known else (), only)

    def own(every: Sequence[RankMessages]) -> RankMessages:
        sides = zip(*every, strict=True)
        return RankMessages(
            *(stack([m.shift(n) for m, n in zip(s, offsets, strict=False)]) for s in sides)
        )

    def owner() -> Array:
        return np.concatenate([part.owner for part in parts if part.owner is not None])

    shares = None
    if weights is not None:
        each = np.asarray(weights, dtype=float) / np.sum(weights)
        shares = np.concatenate(
            [np.full(p.nblocks, w / p.nblocks) for p, w in zip(parts, each, strict=True)]
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
"""Of a part's segments each is so much larger than the one before.

Equal ones would keep step: all would wait for latencies, and change dimension, at the same time.
"""


def segmented(
    parts: Sequence[Schedule], segments: int | Sequence[int], weights: Sequence[float] | None = None
) -> Schedule:
    """Parts side by side, each cut into segments; all of them run on their own.

    Args:
        parts: schedules of the same torus.
        segments: of every part; a shorter sequence is repeated.
        weights: the share of each part, relative to the others; equal if None.

    Raises:
        ValueError: segments that are not whole numbers from 1 up, or do not fit the parts.
    """
    counts = [*segments] if isinstance(segments, Sequence) else [segments]
    if not counts or len(parts) % len(counts) or not all(type(c) is int and c > 0 for c in counts):
        raise ValueError(
            f"segments must be a whole number from 1 up, or one for each dimension, "
            f"not {segments!r}"
        )
    every, shares = [], []
    for i, (part, weight) in enumerate(zip(parts, weights or [1] * len(parts), strict=True)):
        sizes = GROWTH ** np.arange(counts[i % len(counts)])
        every += [part] * len(sizes)
        shares += (weight * sizes / sizes.sum()).tolist()
    return replace(parallel(every, shares), sync_phase=lambda s: 0)


def _places(lines: Sequence[RingPattern], steps: Sequence[tuple[int, ...]]) -> list[Array]:
    """For each dimension the amount every label adds to a block's number.

    The number of a block is a mixed-radix number with a digit for every step, the first step's
    digit foremost: blocks that part in the first step lie in different halves.
    """
    place = [np.zeros(line.nblocks, dtype=np.int64) for line in lines]
    rest = [line.nblocks for line in lines]  # labels that the digits so far do not tell apart
    taken = [0] * len(lines)
    stride = int(np.prod(rest))
    for dim in itertools.chain(*steps):
        radix = lines[dim].radices[taken[dim]]
        taken[dim] += 1
        stride //= radix
        rest[dim] //= radix
        place[dim] += np.arange(lines[dim].nblocks) // rest[dim] % radix * stride
    return place


def _along(
    torus: Torus,
    moves: dict[int, PatternStep],
    kept: dict[int, Sets],
    pending: Sequence[Sets],
    place: Sequence[Array],
) -> Step:
    """The step that sends along some dimensions the products of one set of every dimension.

    ``moves`` is the step of the line of each of these dimensions, ``kept`` what coordinates keep
    in it: of several dimensions a message moves along some and stays where it is in the others.
    ``pending`` is what coordinates hold along all other dimensions.
    """
    if not moves:
        return _rest()
    src = [np.arange(d) for d in torus.dims]
    dst, sets = list(src), list(pending)
    for j, (tail, head, sent) in moves.items():
        src[j], dst[j], sets[j] = tail, head, sent
        if len(moves) > 1:
            nodes = np.arange(torus.dims[j])
            src[j], dst[j] = np.append(tail, nodes), np.append(head, nodes)
            sets[j] = Sets.joined([sent, kept[j]])
    counts = [s.count for s in sets]

    def rows() -> Rows:
        count = outer(np.multiply, counts).ravel()
        shape = [len(c) for c in counts]
        tails, heads = (torus.grid[np.ix_(*ends)].ravel() for ends in (src, dst))
        some = np.flatnonzero((count > 0) & (tails != heads))
        if len(moves) > 1:
            hops = outer(np.add, [_hops(torus, j, src[j], dst[j]) for j in range(len(src))])
            some = some[np.argsort(-hops.ravel()[some], kind="stable")]  # injected in this order
        blocks = _blocks(sets, place, count, shape).take(some)
        return Rows(tails[some], heads[some], blocks, np.zeros(len(some), dtype=np.int64))

    if len(moves) > 1:
        return Step.lazy(Op.REDUCE, rows, ())
    (dim,) = moves
    line = LineRows(0, dim, src[dim], dst[dim], counts[dim], tuple(counts))
    return Step.lazy(Op.REDUCE, rows, (line,))


def _hops(torus: Torus, dim: int, src: Array, dst: Array) -> Array:
    d = torus.dims[dim]
    return np.minimum((dst - src) % d, (src - dst) % d) if torus.wrap[dim] else abs(dst - src)


def _blocks(
    sets: Sequence[Sets], place: Sequence[Array], count: Array, shape: Sequence[int]
) -> BlockRange | BlockSets:
    starts = [s.start for s in sets]
    if all(start is not None for start in starts):
        last = [np.maximum(s.start + s.count - 1, 0) for s in sets]  # type: ignore[operator]
        lo = outer(np.add, [p[s] for p, s in zip(place, starts, strict=True)]).ravel()
        hi = outer(np.add, [p[s] for p, s in zip(place, last, strict=True)]).ravel()
        if ((hi - lo + 1 == count) | (count == 0)).all():
            return BlockRange(lo, count)

    def members(i: int) -> Array:
        where = np.unravel_index(i, shape)
        labels = [s.members(int(x)) for s, x in zip(sets, where, strict=True)]
        found = outer(np.add, [p[m] for p, m in zip(place, labels, strict=True)]).ravel()
        return np.sort(found)

    return BlockSets(count, members)


def _rest() -> Step:
    none = np.zeros(0, dtype=np.int64)
    return Step(Op.REDUCE, none, none, BlockRange(none, none))
