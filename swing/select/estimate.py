"""Estimate the time of a schedule from its message table: a latency-bandwidth cost model.

    T = Σ over phases of max(steps·step + hops·hop + own·n/B + sends·o, total·n/B,
                             all_sends·o + step + hop)

Here step and hop are the machine's costs, B its bandwidth, o the time that a message keeps its
sender busy, and n the bytes of the vector; the other factors are the fields of `Phase`. A step
costs a fixed time, its longest route, the bytes on its busiest link, and the messages of its
busiest sender. In a phase of several steps the parts proceed independently of each other, but meet
on their links about as they would in lockstep. The time is that of the slowest part, and at least
that of the link with the most bytes, and of the sender with the most messages, of all parts
together. The segments of a part queue for its links: their time follows from mean value analysis of
a closed queue, in which each segment is either in its latencies or at the links. How long the links
need for all bytes is found by `swing.select.fluid`.

Where a step is the same on all lines of a dimension (`Schedule.lines`), the cost is O(Σ d_i) per
step instead of O(messages). Nothing is simulated: delays between steps or parts are ignored.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from swing.build.parallel import Parallel, Placed, originals
from swing.byte_cache import ByteCache
from swing.ring import distance, ring_load
from swing.schedules.body import Body
from swing.schedules.collectives import ALLREDUCE
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Step
from swing.select.fluid import Run, drained
from swing.torus import Array, Torus

MAX_BYTES = 2**28
"""Limit on the costs of steps that are kept, since those of all links of 4,096 ranks take 8 MB."""


class CostModel(Protocol):
    """The properties of a network that an estimate needs; `netsim.Network` has them.

    A network may also have ``message_overhead`` and ``post_gap``: seconds that each message keeps
    its sender busy; and ``injection``: the rate at which messages leave a node, one after the
    other, relative to that of all its links together.
    """

    @property
    def bandwidth(self) -> float:
        """The bandwidth of a link, in bytes per second."""

    def latency(self, hops: int) -> float:
        """Return the seconds until the first byte of a message arrives over ``hops`` hops."""


class Phase(NamedTuple):
    """The cost of a phase, which is a maximal run of steps without synchronization of the parts.

    Args:
        steps: steps of the slowest part.
        hops: hops of its longest routes, summed over its steps.
        own: fraction of the vector on the busiest link in each step, summed over the steps; of all
            parts together, or of the slowest part if parts are segments, which queue instead.
        total: fraction of the vector on the busiest link, over all parts and steps together; of
            segments, what a link carries in the time after which all have passed through their
            links, if nothing has a latency (`swing.select.fluid`).
        sends: messages of its busiest sender in each step, summed over its steps.
        all_sends: messages of the busiest sender, over all parts and steps together.
        segments: the number of parts that send the same messages, each for its own bytes.
        peak: of segments, fraction of the vector on the busiest link in one step of all of them.
        in_order: like ``total``, if links do not share their bandwidth equally but take one message
            of each part in turn; in an allreduce, whose halves balance each other, equal to it.
        arrivals: of a single step of a gather or a reduce, for each number of hops the fraction of
            the vector that messages over as many hops or more bring over the busiest link. They
            meet on the last links before the root, where the bytes from near ranks pass while those
            from far ranks are on their way. (From a root, messages leave in the order in which they
            are posted, whatever their hops.)
        posted: of parts that do not wait for each other, the fraction of the vector that a rank has
            to send in some of them before anything arrives, divided by the ports of a node. What it
            passes on in other parts leaves it after that.
        in_step: whether the segments are equally large, and so keep step with each other.
    """

    steps: int
    hops: int
    own: float
    total: float
    sends: int = 0
    all_sends: int = 0
    segments: int = 1
    peak: float = 0.0
    in_order: float = 0.0
    arrivals: tuple[tuple[int, float], ...] = ()
    posted: float = 0.0
    in_step: bool = False


class _Cost(NamedTuple):
    """The cost of a step, or of one part's messages in it."""

    hops: int
    # Messages of each coordinate along a dimension, (d,), or under ANY those of each rank, (p,).
    sends: dict[int, Array]
    # Per dimension (lines, 2, d) fractions of the vector on the links of its lines, upwards and
    # downwards; one line stands for all if they are alike. Dimensions without messages have none.
    loads: dict[int, np.ndarray]

    @property
    def peak(self) -> float:
        return max((float(load.max(initial=0)) for load in self.loads.values()), default=0.0)

    @property
    def busiest(self) -> int:
        """The messages of the busiest sender: its coordinates may be those with most messages."""
        return sum(int(count.max()) for count in self.sends.values())

    @property
    def nbytes(self) -> int:
        return sum(load.nbytes for load in self.loads.values())

    def scaled(self, factor: float) -> _Cost:
        return self._replace(loads={j: load * factor for j, load in self.loads.items()})


ANY = -1
"""Stands for all dimensions together in `_Cost.sends`."""


def figures(schedule: Schedule) -> tuple[Phase, ...]:
    """Return the cost of each phase of a schedule.

    >>> import swing
    >>> for phase in figures(
    ...     swing.schedule("bucket", swing.Torus((4, 4)), collective="reduce_scatter")
    ... ):
    ...     print(phase.steps, phase.hops, phase.own, phase.total, phase.sends, phase.all_sends)
    3 3 0.1875 0.1875 3 12
    3 3 0.046875 0.046875 3 12
    """
    parts = _parts(schedule)
    cache = ByteCache[list[_Cost]](MAX_BYTES, lambda each: sum(cost.nbytes for cost in each))

    def costs(s: int, key: Hashable, lockstep: bool) -> list[_Cost]:
        """Return the cost of step s: one for all parts together, or one per part."""

        def make() -> list[_Cost]:
            each = [part(s) for part in parts]
            return [_together(each)] if lockstep else each

        return cache.get((key, lockstep), make)

    segments = max(Counter(originals(schedule)).values())
    phases = []
    start = 0
    for nsteps in schedule.phase_lengths():
        steps = range(start, start := start + nsteps)
        # Steps with equal signatures share a cost.
        keys = [schedule.signature(s) for s in steps]
        first = dict(zip(reversed(keys), reversed(steps), strict=True))
        table = [(n, costs(first[key], key, nsteps == 1)) for key, n in Counter(keys).items()]
        # Per part its costs in the steps in which it sends, and how often each of them occurs; a
        # part that is idle pays nothing.
        runs = [
            [(n, cost) for n, cost in column if cost.hops]
            for column in zip(*([(n, c) for c in row] for n, row in table), strict=True)
        ]
        slowest = max(range(len(runs)), key=lambda j: _latency_and_bytes(runs[j]))
        run = runs[slowest]
        length, hops = sum(n for n, _ in run), sum(n * c.hops for n, c in run)
        if nsteps > 1 and schedule.lines(steps[0]) is None:
            length, hops = _longest_chain(schedule, schedule.part(slowest), steps)
        queued = peak = 0.0
        if nsteps > 1 and (segments > 1 or schedule.lines(steps[0]) is not None):
            equal = [(len(list(same)), key) for key, same in itertools.groupby(keys)]
            alone = _over_links([(n, costs(first[key], key, False)) for n, key in equal])
            total = drained(alone)
            queued = total if schedule.collective == ALLREDUCE else drained(alone, in_order=True)
            peak = max(_together(row).peak for _, row in table)
        else:
            total = _together([c.scaled(n) for run in runs for n, c in run]).peak
        # Parts that are not segments meet on their links about as they would in lockstep.
        met = [[n * peak for peak in _peaks(row)] for n, row in table if segments == 1]
        own = max([sum(n * c.peak for n, c in run), *map(sum, zip(*met, strict=True))])
        sends = sum(n * c.busiest for n, c in run)
        posts = _summed({j: n * x for j, x in c.sends.items()} for run in runs for n, c in run)
        all_sends = _Cost(0, posts, {}).busiest
        to_root = schedule.collective in ("gather", "reduce")
        arrivals = _arrivals(schedule, steps[0]) if nsteps == 1 and to_root else ()
        in_order = queued or total
        pipelined = nsteps > 1 and schedule.lines(steps[0]) is None
        posted = _posted(schedule, steps) if pipelined and segments == 1 else 0.0
        in_step = pipelined and segments > 1 and bool(np.ptp(schedule.part_shares) == 0)
        phases.append(Phase(
            length, hops, own, total, sends, all_sends, segments, peak, in_order, arrivals, posted,
            in_step,
        ))  # fmt: skip
    return tuple(phases)


def _posted(schedule: Schedule, steps: Sequence[int]) -> float:
    """Return `Phase.posted` of some steps: of the rank that posts most among those that receive."""
    p = schedule.torus.size
    posted, receives = np.zeros(p), np.zeros(p, dtype=bool)
    for j in range(len(schedule.parts)):
        body, passes_on = schedule.part(j), np.zeros(p, dtype=bool)
        for _, run in itertools.groupby(steps, body.signature):
            first, *more = run
            step = body.step(first)
            own = ~passes_on[step.src]
            share = schedule.share(step)[own] * (1 + len(more))
            posted += np.bincount(step.src[own], share, p)
            passes_on[step.dst] = True
        receives |= passes_on
    ports = max(1, schedule.torus.ports)
    return float(posted[receives].max(initial=0)) / ports


def _arrivals(schedule: Schedule, s: int) -> tuple[tuple[int, float], ...]:
    """Return `Phase.arrivals` of a step; nothing if all ranks of a line send alike."""
    if schedule.lines(s) is not None:
        return ()
    step = schedule.step(s)
    hops = _hops(schedule.torus, step)
    return tuple(
        (least, _rows_cost(schedule, step.take(np.flatnonzero(hops >= least))).peak)
        for least in np.unique(hops).tolist()
    )


_KNOWN: WeakKeyDictionary[Schedule, ByteCache[_Cost]] = WeakKeyDictionary()
"""The costs of the steps of the parts in use, by signature. The segments of a part share them."""


def _parts(schedule: Schedule) -> list[Callable[[int], _Cost]]:
    """Return for each part a function that gives its cost in a step of the schedule."""
    body, count = schedule.body, len(schedule.parts)
    placed = body.parts if isinstance(body, Parallel) else ()
    if len(placed) != count or None in map(schedule.unit, range(count)):
        bodies = map(schedule.part, range(count))
        return [partial(_cost, schedule, each) for each in bodies]
    return [partial(_scaled, *each) for each in zip(placed, schedule.part_shares, strict=True)]


def _scaled(placed: Placed, share: float, s: int) -> _Cost:
    """Return the cost of a part in a step of the whole."""
    own = placed.own_step(s)
    if own is None:
        return _Cost(0, {}, {})
    known = _KNOWN.setdefault(placed.schedule, ByteCache[_Cost](MAX_BYTES, lambda c: c.nbytes))
    cost = known.get(
        placed.schedule.signature(own), lambda: _cost(placed.schedule, placed.schedule.body, own)
    )
    return cost.scaled(share)


def _together(costs: Sequence[_Cost]) -> _Cost:
    """Return the cost of a step from those of its parts."""
    hops = max((cost.hops for cost in costs), default=0)
    return _Cost(hops, _summed(c.sends for c in costs), _summed(c.loads for c in costs))


def _summed(each: Iterable[dict[int, np.ndarray]]) -> dict[int, np.ndarray]:
    """Add up arrays key by key."""
    total: dict[int, np.ndarray] = {}
    for arrays in each:
        for key, array in arrays.items():
            total[key] = total[key] + array if key in total else array
    return total


def _peaks(costs: Sequence[_Cost]) -> list[float]:
    """Return the load of each part's busiest link, with what the other parts send over it."""
    together = _together(costs).loads
    return [
        _Cost(0, {}, {j: np.where(own > 0, together[j], 0) for j, own in c.loads.items()}).peak
        for c in costs
    ]


def _over_links(steps: Sequence[tuple[int, Sequence[_Cost]]]) -> list[list[Run]]:
    """List the steps of each part with their loads on all links.

    Args:
        steps: runs of equal steps: their number, and the cost of each part in one of them.
    """
    costs = {id(cost): cost for _, each in steps for cost in each}
    # One line of a dimension stands for all, unless a step needs every line.
    shapes: dict[int, tuple[int, ...]] = {}
    for cost in costs.values():
        for j, load in cost.loads.items():
            shapes[j] = np.broadcast_shapes(shapes.get(j, ()), load.shape)
    size = {j: math.prod(shape) for j, shape in shapes.items()}
    first = dict(zip(shapes, itertools.accumulate(size.values(), initial=0), strict=False))

    def over_links(cost: _Cost) -> np.ndarray:
        links = np.zeros(sum(size.values()))
        for j, load in cost.loads.items():
            links[first[j] : first[j] + size[j]].reshape(shapes[j])[...] = _evened(load)
        return links

    links = {key: over_links(cost) for key, cost in costs.items()}
    runs = zip(*([(n, links[id(cost)]) for cost in each] for n, each in steps), strict=True)
    return list(map(list, runs))


def _evened(load: np.ndarray) -> np.ndarray:
    """Return the mean of a part's loads upwards and downwards where it sends both ways.

    The mirror image of a part sends more in one direction where the part sends less.
    """
    return np.where((load > 0).all(axis=1, keepdims=True), load.mean(axis=1, keepdims=True), load)


def _latency_and_bytes(run: Sequence[tuple[int, _Cost]]) -> tuple[int, float]:
    """Return the steps and hops of a part, and its bytes, by which its segments differ."""
    return sum(n * (1 + c.hops) for n, c in run), sum(n * c.peak for n, c in run)


def _longest_chain(schedule: Schedule, body: Body, steps: Sequence[int]) -> tuple[int, int]:
    """Return the number of messages, and the hops, of the longest chain of messages in some steps.

    Each message of a chain waits for the one before it. In a pipeline such chains are shorter than
    the number of steps: the chunks that follow each other wait for links, not for latencies.
    """
    torus = schedule.torus
    chain = np.zeros((2, torus.size), dtype=np.int64)  # messages and hops that end at each rank
    last: Hashable = None
    for s in steps:
        if body.signature(s) == last:
            continue  # the same messages again make no chain longer
        step = body.step(s)
        longer = chain[:, step.src] + np.stack([np.ones(len(step), int), _hops(torus, step)])
        order = np.argsort(longer.sum(axis=0), kind="stable")
        before = chain.copy()
        chain[:, step.dst[order]] = longer[:, order]  # the longest comes last and stays
        longer_now = chain.sum(axis=0) > before.sum(axis=0)
        chain = np.where(longer_now, chain, before)
        last = None if longer_now.any() else body.signature(s)
    length, hops = chain[:, chain.sum(axis=0).argmax()].tolist()
    return length, hops


def seconds(
    phases: Sequence[Phase], machine: CostModel, nbytes: int, in_order: float = 0.0
) -> float:
    """Return the estimated seconds.

    Args:
        phases: the costs of the schedule.
        machine: the costs of the network.
        nbytes: size of the vector on each rank, in bytes.
        in_order: how links serve messages: 0 for equal shares, as in the flow model, 1 for one
            after the other, or a weight between the two. It matters for segments, and for messages
            to a root.
    """
    step, hop = machine.latency(0), machine.latency(1) - machine.latency(0)
    byte, message = nbytes / machine.bandwidth, overhead(machine)
    injection: float | None = getattr(machine, "injection", None)

    def of_phase(p: Phase) -> float:
        latency = p.steps * step + p.hops * hop + p.sends * message
        drained = (p.total + in_order * (p.in_order - p.total)) * byte
        if p.segments > 1:
            # Segments begin together, so they all queue once, however small they are.
            least = latency + p.peak * byte
            queued = (
                p.segments * p.own * byte if p.in_step else _queued(latency, drained, p.segments)
            )
            drained = max(queued, drained, least)
        moved = latency + p.own * byte
        if injection:
            moved += in_order * p.posted * byte / injection
        if p.arrivals:
            arrived = max(step + hops * hop + load * byte for hops, load in p.arrivals)
            moved += in_order * (arrived + p.sends * message - moved)
        last = step + hop if p.steps else 0.0  # the last message of the busiest sender, one hop
        return max(moved, drained, p.all_sends * message + last)

    return sum(map(of_phase, phases))


def _queued(latency: float, service: float, segments: int) -> float:
    """Return the seconds that segments take whose bytes queue for the same links.

    Args:
        latency: seconds of latencies of each segment.
        service: seconds that the links need for the bytes of all segments.
        segments: their number.

    Source: mean value analysis, Reiser, Lavenberg 1980.
    """
    waiting, rate = 0.0, 1.0
    for customers in range(1, segments + 1):
        stay = service / segments * (1 + waiting)
        rate = customers / (latency + stay) if latency + stay else math.inf
        waiting = rate * stay if stay else 0.0
    return segments / rate


def overhead(machine: CostModel) -> float:
    """Return the seconds that each message keeps its sender busy; 0 if the machine has none."""
    costs = (getattr(machine, name, 0.0) or 0.0 for name in ("message_overhead", "post_gap"))
    return float(sum(costs))


def _cost(schedule: Schedule, body: Body, s: int) -> _Cost:
    torus = schedule.torus
    lines = body.lines(s)
    if lines is None:
        return _rows_cost(schedule, body.step(s))
    each = []
    for line in lines:
        unit = schedule.unit(line.part)
        # The busiest line runs through the coordinates with most blocks in all other dimensions.
        others = np.prod([h.max() for j, h in enumerate(line.pending) if j != line.dim])
        weight = line.sent * float(others) * (1 / schedule.nblocks if unit is None else unit)
        farthest, load = _ring(torus, line.dim, line, weight)
        sends = np.bincount(line.src, minlength=torus.dims[line.dim])
        each.append(_Cost(farthest, {line.dim: sends}, {line.dim: load[np.newaxis]}))
    return _together(each)


def _ring(torus: Torus, dim: int, line: LineRows, weight: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the most hops of a message on a line, and the (2, d) load on the line's links.

    The load is the fraction of the vector over each link upwards and downwards.
    """
    d, wrap = torus.dims[dim], torus.wrap[dim]
    hops = distance(d, wrap, line.src, line.dst)
    # Link i joins coordinates i and i + 1, so a message downwards begins with its destination's.
    first = np.stack([line.src, 2 * d + line.dst])
    up = _upwards(d, wrap, line.src, line.dst)
    sent = weight * np.stack([up, 1 - up])
    ends = np.concatenate([first.ravel(), (first + hops).ravel()])
    changes = np.bincount(ends, np.concatenate([sent.ravel(), -sent.ravel()]), 4 * d)
    return int(hops.max(initial=0)), ring_load(changes.reshape(2, 2 * d))


def _upwards(d: int, wrap: bool, src: Array, dst: Array) -> np.ndarray:
    """Return the (m,) fraction of the messages along a dimension that goes upwards.

    Half of the messages to the opposite node of a ring go either way.
    """
    if not wrap:
        return (dst > src).astype(float)
    ahead = 2 * ((dst - src) % d)
    fraction: np.ndarray = np.where(ahead == d, 0.5, ahead < d)
    return fraction


def _rows_cost(schedule: Schedule, step: Step) -> _Cost:
    """Return the cost of a step without lines: messages take one dimension after the other."""
    torus, share = schedule.torus, schedule.share(step)
    at, loads = torus.coords[step.src], {}
    for j, (d, wrap) in enumerate(torus.sides):
        src, dst = at[:, j].copy(), torus.coords[step.dst, j]
        hops = distance(d, wrap, src, dst)
        up = _upwards(d, wrap, src, dst)
        line = _line(torus, at, j)
        # Link i joins coordinates i and i + 1, so a message downwards begins with its destination.
        first = 4 * d * line + np.stack([src, 2 * d + dst])
        weight = share * np.stack([up, 1 - up])
        ends = np.concatenate([first.ravel(), (first + hops).ravel()])
        sent = np.concatenate([weight.ravel(), -weight.ravel()])
        changes = np.bincount(ends, sent, 4 * torus.size).reshape(-1, 2 * d)
        if changes.any():
            loads[j] = ring_load(changes).reshape(-1, 2, d)
        at[:, j] = dst
    sends = {ANY: np.bincount(step.src, minlength=torus.size)}
    return _Cost(int(_hops(torus, step).max(initial=0)), sends, loads)


def _line(torus: Torus, at: Array, dim: int) -> Array:
    """Return the (m,) number, among the p/d lines along a dimension, of the one through a node."""
    line = np.zeros(len(at), dtype=np.int64)
    for j, d in enumerate(torus.dims):
        if j != dim:
            line = line * d + at[:, j]
    return line


def _hops(torus: Torus, step: Step) -> Array:
    """(m,) hops of the messages of a step."""
    src, dst = torus.coords[step.src].T, torus.coords[step.dst].T
    ways = (distance(*side, *ends) for side, *ends in zip(torus.sides, src, dst, strict=True))
    hops: Array = sum(ways, np.zeros(len(step), dtype=np.int64))
    return hops
