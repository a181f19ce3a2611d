"""Plan: what one rank does with its memory, worked out once for a schedule and a count.

A plan names memory by *spans*: elements of the send buffer, the receive buffer or a scratch
buffer. It copies no more than it must:

- A block lives in the send buffer until its first reduction, which reads it there and writes the
  receive buffer. So nothing is copied from one to the other beforehand; blocks that no message
  has touched are copied at the end.
- A message that is contiguous in one buffer is sent from where it lies. It is received where its
  blocks live if nothing else needs that memory in the same step, else in the scratch buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from swing.executor.view import Flags, View
from swing.schedule import Message, Op, Schedule
from swing.torus import Array

SEND, RECV, SCRATCH = range(3)


class Span(NamedTuple):
    """Elements of one buffer: SEND, RECV or SCRATCH."""

    buffer: int
    elements: slice


class Transfer(NamedTuple):
    """A message to or from another rank."""

    peer: int
    span: Span


class Copy(NamedTuple):
    """target = source."""

    source: Span
    target: Span


class Combine(NamedTuple):
    """out = left ⊕ right; out may be either of them."""

    left: Span
    right: Span
    out: Span


class Round(NamedTuple):
    """One step of a rank: pack, exchange messages, unpack, reduce in this order.

    Messages between the same two ranks match in the order in which they are listed.
    """

    step: int
    pack: Sequence[Copy]
    sends: Sequence[Transfer]
    recvs: Sequence[Transfer]
    unpack: Sequence[Copy]
    reduce: Sequence[Combine]


@dataclass(frozen=True, eq=False)
class Plan:
    """The rounds of one rank, and the elements of its vector and of the scratch buffer."""

    rounds: Sequence[Round]
    count: int
    scratch: int


def compile_plan(view: View, count: int, in_place: bool) -> Plan:
    """The plan of one rank for a vector of ``count`` elements.

    Args:
        view: the rank's view of an allreduce schedule.
        count: elements of the vector; blocks, and so messages, can be empty: those are not sent.
        in_place: there is no send buffer, the vector is in the receive buffer already.
    """
    ends = _ends(view.schedule, count)
    fresh = np.full(view.schedule.nblocks, not in_place)  # still only in the send buffer
    rounds, scratch = [], 0
    for turn, own_first in zip(view.turns, view.own_first, strict=True):
        draft = _Draft(ends, fresh)
        for message in turn.sends:
            draft.send(message)
        for message, first in zip(turn.recvs, own_first, strict=True):
            draft.receive(message, first)
        if draft.sends or draft.recvs:
            rounds.append(draft.round(turn.step))
        scratch = max(scratch, draft.scratch)
    rest = _runs(ends, np.flatnonzero(fresh), fresh[fresh])
    if rest:
        copies = [Copy(Span(SEND, run), Span(RECV, run)) for run, _ in rest]
        rounds.append(Round(view.schedule.nsteps, copies, (), (), (), ()))
    return Plan(rounds, count, scratch)


class _Draft:
    """A round in the making. Sends are added before receives."""

    def __init__(self, ends: Array, fresh: Flags) -> None:
        self.ends, self.fresh, self.scratch = ends, fresh, 0
        self.pack: list[Copy] = []
        self.sends: list[Transfer] = []
        self.recvs: list[Transfer] = []
        self.unpack: list[Copy] = []
        self.reduce: list[Combine] = []
        self.busy: list[slice] = []  # of the receive buffer: being sent, or received already

    def send(self, message: Message) -> None:
        runs = _runs(self.ends, message.blocks, self.fresh[message.blocks])
        spans = [Span(SEND if fresh else RECV, run) for run, fresh in runs]
        if len(spans) == 1:
            self.sends.append(Transfer(message.dst, spans[0]))
            self.busy += [span.elements for span in spans if span.buffer == RECV]
        elif spans:
            packed = self._scratch(spans)
            self.pack += map(Copy, spans, packed)
            self.sends.append(Transfer(message.dst, _hull(packed)))

    def receive(self, message: Message, own_first: Flags) -> None:
        fresh = self.fresh[message.blocks]
        runs = _runs(self.ends, message.blocks, 2 * fresh + own_first)
        if not runs:
            return
        home = [Span(RECV, run) for run, _ in runs]
        unused = message.op is Op.COPY or fresh.all()
        landed = home if unused and self._free(home) else self._scratch(home)
        self.recvs.append(Transfer(message.src, _hull(landed)))
        self.busy += [span.elements for span in home]
        if message.op is Op.REDUCE:
            for (run, flags), came, out in zip(runs, landed, home, strict=True):
                mine = Span(SEND if flags & 2 else RECV, run)
                self.reduce.append(
                    Combine(mine, came, out) if flags & 1 else Combine(came, mine, out)
                )
        elif landed is not home:
            self.unpack += map(Copy, landed, home)
        self.fresh[message.blocks] = False

    def round(self, step: int) -> Round:
        return Round(step, self.pack, self.sends, self.recvs, self.unpack, self.reduce)

    def _free(self, spans: Sequence[Span]) -> bool:
        start, stop = spans[0].elements.start, spans[-1].elements.stop
        return _hull(spans).elements == slice(start, stop) and all(
            stop <= other.start or other.stop <= start for other in self.busy
        )

    def _scratch(self, spans: Sequence[Span]) -> list[Span]:
        taken = []
        for _, elements in spans:
            start, self.scratch = self.scratch, self.scratch + elements.stop - elements.start
            taken.append(Span(SCRATCH, slice(start, self.scratch)))
        return taken


def _hull(spans: Sequence[Span]) -> Span:
    """The one span that adjacent spans make; as long as they are together in any case."""
    start = spans[0].elements.start
    length = sum(s.stop - s.start for _, s in spans)
    return Span(spans[0].buffer, slice(start, start + length))


def _ends(schedule: Schedule, count: int) -> Array:
    """(nblocks + 1,) block b is the elements ends[b] … ends[b + 1] - 1."""
    if schedule.shares is None:
        return np.arange(schedule.nblocks + 1) * count // schedule.nblocks
    part = np.append(0.0, np.cumsum(schedule.shares))
    ends: Array = np.rint(part / part[-1] * count).astype(np.int64)
    return ends


def _runs(ends: Array, blocks: slice | Array, flags: Flags | Array) -> list[tuple[slice, int]]:
    """Elements of the blocks, as few slices as their flags and gaps allow; none is empty."""
    index = np.arange(blocks.start, blocks.stop) if isinstance(blocks, slice) else blocks
    some = ends[index] < ends[index + 1]
    index, flags = index[some], flags[some]
    if not len(index):
        return []
    start, stop = ends[index], ends[index + 1]
    cut = np.flatnonzero((start[1:] != stop[:-1]) | (flags[1:] != flags[:-1])) + 1
    first, last = np.append(0, cut), np.append(cut, len(index)) - 1
    return [
        (slice(a, b), f)
        for a, b, f in zip(
            start[first].tolist(), stop[last].tolist(), flags[first].tolist(), strict=True
        )
    ]
