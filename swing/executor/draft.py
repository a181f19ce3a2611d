"""Draft: the instructions of one rank in one step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from swing.executor.instruction import RECV, SCRATCH, SEND, Do, Instruction, Place
from swing.executor.view import Flags, Leaders
from swing.schedule import Message, Op, Schedule, Turn
from swing.torus import Array

Run: TypeAlias = tuple[slice, int]
"""Adjacent elements of the vector that have a flag in common."""

Part: TypeAlias = tuple[int, int, slice, int]
"""The piece of a message, an offset in the message, and a run that begins there."""


class Flow(NamedTuple):
    """A message on its way: elements that lie in a row in a buffer.

    In the scratch buffer there may be room for ``ring`` of them only: the others follow where the
    first ones have been.
    """

    peer: int
    length: int
    first: Place
    ring: int

    def place(self, offset: int) -> Place:
        """Where an element of the message lies."""
        return Place(self.first.buffer, self.first.at + offset % self.ring)


class Term(NamedTuple):
    """A message to be reduced: its blocks, their leaders, and how it comes."""

    blocks: Array
    leaders: Leaders
    flow: Flow


class Draft:
    """What a rank does in one step, for a vector that is cut into blocks in some way.

    Args:
        turn: the rank's messages.
        leaders: of each message received.
        ends: see `block_ends`.
        fresh: (nblocks,) which blocks are only in the send buffer; updated.
        piece: elements of a message that are sent at a time.

    Attributes:
        instructions: in order.
        scratch: elements of the scratch buffer that they use.
        slots: requests that they use.
    """

    def __init__(
        self, turn: Turn, leaders: Sequence[Leaders], ends: Array, fresh: Flags, piece: int
    ) -> None:
        self.ends, self.fresh = ends, fresh
        self.scratch = self.slots = 0
        self._step, self._piece = turn.step, piece
        self._apart = self._are_pieces_apart([*turn.sends, *turn.recvs])
        self._busy: list[slice] = []  # of the receive buffer: being sent, or received already
        self._pack: dict[int, list[Instruction]] = defaultdict(list)  # before a piece is sent
        self._reap: dict[int, list[Instruction]] = defaultdict(list)  # after it was received
        sends = [flow for message in turn.sends for flow in self._send(message)]
        recvs = self._receive(turn.recvs, leaders)
        self.instructions = list(self._in_order(sends, recvs))

    def _are_pieces_apart(self, messages: Sequence[Message]) -> bool:
        """Whether a piece may be reduced before later ones are sent and received.

        It may where two messages share no block, or all of them: a later piece has other elements
        then. If not, all pieces are under way at once and are reduced at the end.
        """
        blocks = {_index(m.blocks).tobytes(): _index(m.blocks) for m in messages}
        if all(self._length(b) <= self._piece for b in blocks.values()):
            return True
        every = np.concatenate(list(blocks.values()))
        return len(np.unique(every)) == len(every)

    def _send(self, message: Message) -> Iterator[Flow]:
        blocks = _index(message.blocks)
        found = runs(self.ends, blocks, self.fresh[blocks])
        if len(found) == 1:
            ((run, fresh),) = found
            if not fresh:
                self._busy.append(run)
            length = run.stop - run.start
            yield Flow(message.dst, length, Place(SEND if fresh else RECV, run.start), length)
        elif found:
            flow = self._through_scratch(message.dst, blocks)
            for k, offset, run, fresh in self._pieces(found):
                place = Place(SEND if fresh else RECV, run.start)
                self._copy(self._pack[k], run, place, flow.place(offset))
            yield flow

    def _receive(self, messages: Sequence[Message], leaders: Sequence[Leaders]) -> list[Flow]:
        flows, terms = [], []
        for message, order in zip(messages, leaders, strict=True):
            blocks = _index(message.blocks)
            found = runs(self.ends, blocks, np.zeros_like(blocks))
            if not found:
                continue
            if message.op is Op.COPY and len(found) == 1 and self._is_free(found[0][0]):
                run = found[0][0]
                length = run.stop - run.start
                flow = Flow(message.src, length, Place(RECV, run.start), length)
            else:
                flow = self._through_scratch(message.src, blocks)
                if message.op is Op.COPY:
                    for k, offset, run, _ in self._pieces(found):
                        place = Place(RECV, run.start)
                        self._copy(self._reap[k], run, flow.place(offset), place)
            flows.append(flow)
            if message.op is Op.REDUCE:
                terms.append(Term(blocks, order, flow))
            self._busy += [run for run, _ in found]
        if terms:
            self._reduce(terms)
        for message in messages:
            self.fresh[message.blocks] = False
        return flows

    def _reduce(self, terms: Sequence[Term]) -> None:
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
        turns = np.append(True, (table[1:] != table[:-1]).any(axis=1))  # another order from here on
        ways, way = table[turns], np.cumsum(turns) - 1
        for run, flags in runs(self.ends, own, 2 * way + self.fresh[own]):
            sources = [i for i in ways[flags >> 1].tolist() if i < len(terms)]
            offsets = {i: self._offset(terms[i].blocks, run.start) for i in sources if i >= 0}
            first = next(iter(offsets.values()))
            for k, offset, part, _ in self._pieces([(run, 0)], first):
                places = {i: terms[i].flow.place(o + offset - first) for i, o in offsets.items()}
                places[-1] = Place(SEND if flags & 1 else RECV, part.start)
                self._add_up(self._reap[k], part, [places[i] for i in sources])

    def _add_up(self, out: list[Instruction], run: slice, operands: Sequence[Place]) -> None:
        """((x0 + x1) + x2) + …, into the run's home once all that is left to add is scratch.

        So a reduction into one operand never has the send buffer as the other: see `Reduction`.
        """
        home, sum_ = Place(RECV, run.start), operands[0]
        for i, operand in enumerate(operands[1:], 2):
            spare = sum_ if sum_.buffer == SCRATCH else operand
            to = home if all(x.buffer == SCRATCH for x in operands[i:]) else spare
            length = run.stop - run.start
            out.append(Instruction(Do.REDUCE, self._step, 0, 0, length, sum_, operand, to))
            sum_ = to

    def _in_order(self, sends: Sequence[Flow], recvs: Sequence[Flow]) -> Iterator[Instruction]:
        """Begin the first piece of each message; then begin the next, and finish the one before."""
        flows = [(Do.IRECV, flow) for flow in recvs] + [(Do.ISEND, flow) for flow in sends]
        last = max((-(-flow.length // self._piece) for _, flow in flows), default=0)
        ahead = 2 if self._apart else last
        slots = [(k % ahead) * len(flows) for k in range(last)]
        self.slots = min(ahead, last) * len(flows)

        def begin(k: int) -> list[Instruction]:
            begun: list[Instruction] = []
            offset = k * self._piece
            for do, flow in flows:
                count = min(self._piece, flow.length - offset)
                if count > 0:
                    slot, place = slots[k] + len(begun), flow.place(offset)
                    begun.append(Instruction(do, self._step, flow.peer, slot, count, place))
            return begun

        if last == len(sends) == len(recvs) == 1:
            recv, send = begin(0)
            yield from [*self._pack[0], send._replace(do=Do.SWAP), recv, *self._reap[0]]
            return

        def finish(k: int) -> Instruction:
            count = sum(k * self._piece < flow.length for _, flow in flows)
            return Instruction(Do.WAIT, self._step, 0, slots[k], count)

        for k in range(last):
            yield from [*self._pack[k], *begin(k)]
            if k and self._apart:
                yield from [finish(k - 1), *self._reap[k - 1]]
        if last and self._apart:
            yield from [finish(last - 1), *self._reap[last - 1]]
        elif last:
            yield from [*map(finish, range(last)), *self._reap[0]]

    def _pieces(
        self, found: Sequence[Run], offset: int = 0
    ) -> Iterator[tuple[int, int, slice, int]]:
        """Runs of a message cut where its pieces are: piece, offset in the message, run, flag."""
        for run, flag in found:
            start = run.start
            while start < run.stop:
                k = offset // self._piece if self._apart else 0
                left = (k + 1) * self._piece - offset if self._apart else run.stop
                stop = min(run.stop, start + left)
                yield k, offset, slice(start, stop), flag
                offset, start = offset + stop - start, stop

    def _through_scratch(self, peer: int, blocks: Array) -> Flow:
        length = self._length(blocks)
        ring = min(length, 2 * self._piece) if self._apart else length
        self.scratch += ring
        return Flow(peer, length, Place(SCRATCH, self.scratch - ring), ring)

    def _is_free(self, run: slice) -> bool:
        return all(run.stop <= other.start or other.stop <= run.start for other in self._busy)

    def _copy(self, out: list[Instruction], run: slice, a: Place, to: Place) -> None:
        out.append(Instruction(Do.COPY, self._step, 0, 0, run.stop - run.start, a, out=to))

    def _length(self, blocks: Array) -> int:
        return int((self.ends[blocks + 1] - self.ends[blocks]).sum())

    def _offset(self, blocks: Array, element: int) -> int:
        """How far into a message of these blocks an element is."""
        return self._length(blocks[self.ends[blocks] < element])


def block_ends(schedule: Schedule, count: int) -> Array:
    """(nblocks + 1,) block b is the elements ends[b] … ends[b + 1] - 1 of count."""
    if schedule.shares is None:
        return np.arange(schedule.nblocks + 1) * count // schedule.nblocks
    part = np.append(0.0, np.cumsum(schedule.shares))
    ends: Array = np.rint(part / part[-1] * count).astype(np.int64)
    return ends


def runs(ends: Array, blocks: Array, flags: Flags | Array) -> list[Run]:
    """Elements of the blocks, as few slices as their flags and gaps allow; none is empty."""
    if len(blocks) == 1:  # nothing to join: the way of a ring, thousands of times
        only = slice(int(ends[blocks[0]]), int(ends[blocks[0] + 1]))
        return [(only, int(flags[0]))] if only.start < only.stop else []
    some = ends[blocks] < ends[blocks + 1]
    blocks, flags = blocks[some], flags[some]
    if not len(blocks):
        return []
    start, stop = ends[blocks], ends[blocks + 1]
    cut = np.flatnonzero((start[1:] != stop[:-1]) | (flags[1:] != flags[:-1])) + 1
    first, last = np.append(0, cut), np.append(cut, len(blocks)) - 1
    return [
        (slice(a, b), f)
        for a, b, f in zip(
            start[first].tolist(), stop[last].tolist(), flags[first].tolist(), strict=True
        )
    ]


def _index(blocks: slice | Array) -> Array:
    return np.arange(blocks.start, blocks.stop) if isinstance(blocks, slice) else blocks
