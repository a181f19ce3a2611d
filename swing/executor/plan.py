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

from swing.executor.view import Flags, Leaders, View
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
    for turn, leaders in zip(view.turns, view.leaders, strict=True):
        draft = _Draft(ends, fresh)
        for message in turn.sends:
            draft.send(message)
        draft.receive(turn.recvs, leaders)
        if draft.sends or draft.recvs:
            rounds.append(draft.round(turn.step))
        scratch = max(scratch, draft.scratch)
    rest = _runs(ends, np.flatnonzero(fresh), fresh[fresh])
    if rest:
        copies = [Copy(Span(SEND, run), Span(RECV, run)) for run, _ in rest]
        rounds.append(Round(view.schedule.nsteps, copies, (), (), (), ()))
    return Plan(rounds, count, scratch)


class _Term(NamedTuple):
    """A message to be reduced: its blocks, their leaders, and where it lands."""

    blocks: Array
    leaders: Leaders
    landed: Span

    def place(self, ends: Array, run: slice) -> Span:
        """Where a run of elements, blocks of the message, has landed; nonsense for others."""
        if self.landed.buffer == RECV:
            return Span(RECV, run)
        before = self.blocks[ends[self.blocks] < run.start]
        start = self.landed.elements.start + int((ends[before + 1] - ends[before]).sum())
        return Span(SCRATCH, slice(start, start + run.stop - run.start))


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

    def receive(self, messages: Sequence[Message], leaders: Sequence[Leaders]) -> None:
        terms = []
        for message, order in zip(messages, leaders, strict=True):
            blocks = np.arange(len(self.fresh))[message.blocks]
            runs = _runs(self.ends, blocks, self.fresh[blocks])
            if not runs:
                continue
            home = [Span(RECV, run) for run, _ in runs]
            unused = message.op is Op.COPY or self.fresh[blocks].all()
            landed = home if unused and self._free(home) else self._scratch(home)
            self.recvs.append(Transfer(message.src, _hull(landed)))
            self.busy += [span.elements for span in home]
            if message.op is Op.REDUCE:
                terms.append(_Term(blocks, order, _hull(landed)))
            elif landed is not home:
                self.unpack += map(Copy, landed, home)
        if terms:
            self._reduce(terms)
        for message in messages:
            self.fresh[message.blocks] = False

    def _reduce(self, terms: Sequence[_Term]) -> None:
        """Add up each block's own value and what was received, in the order of their leaders."""
        mine = np.full(len(self.fresh), -1)
        for term in terms:
            mine[term.blocks] = term.leaders.mine
        own = np.flatnonzero(mine >= 0)
        block = np.concatenate([own, *(term.blocks for term in terms)])
        leader = np.concatenate([mine[own], *(term.leaders.theirs for term in terms)])
        who = np.repeat(np.arange(-1, len(terms)), [len(own), *(len(t.blocks) for t in terms)])
        order = np.lexsort((leader, block))
        rank = np.arange(len(block)) - np.searchsorted(block[order], block[order])
        table = np.full((len(own), rank.max() + 1), len(terms))  # filled up with no one
        table[np.searchsorted(own, block[order]), rank] = who[order]
        ways, way = np.unique(table, axis=0, return_inverse=True)
        runs = _runs(self.ends, own, 2 * way.ravel() + self.fresh[own])
        for run, flags in runs:
            places = {i: term.place(self.ends, run) for i, term in enumerate(terms)}
            places[-1] = Span(SEND if flags & 1 else RECV, run)
            self._add_up([places[i] for i in ways[flags >> 1].tolist() if i < len(terms)])

    def _add_up(self, operands: Sequence[Span]) -> None:
        """((x0 + x1) + x2) + …, into the block's home once nothing there is needed any more."""
        run = next(span.elements for span in operands if span.buffer != SCRATCH)
        home = Span(RECV, run)
        sum_ = operands[0]
        for i, operand in enumerate(operands[1:], 2):
            spare = sum_ if sum_.buffer == SCRATCH else operand
            out = spare if home in operands[i:] else home
            self.reduce.append(Combine(sum_, operand, out))
            sum_ = out

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
