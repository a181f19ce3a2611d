"""Draft: the instructions of one rank, worked out for all steps and messages at once.

Each kind of instruction is a table; `Lowering.code` puts the rows of all of them in order. In a
step the first piece of each message is begun; then the next one is, and the one before finished:

    pack k, begin k, wait for k - 1, reduce k - 1, pack k + 1, …
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from swing.executor.plan.extents import Cells, Flags, Pieces, cut, extents, repeated
from swing.executor.plan.instruction import RECV, SCRATCH, SEND, Opcode
from swing.executor.plan.order import RankOrder
from swing.torus import Array

WHOLE = 2**61
"""Elements of a piece that no message exceeds."""


class Places(NamedTuple):
    """Elements of buffers."""

    buffer: Array
    at: Array

    def take(self, rows: Array | Flags) -> Places:
        """Some of them."""
        return Places(self.buffer[rows], self.at[rows])

    def where(self, here: Flags, other: Places) -> Places:
        """These, or others."""
        return Places(*(np.where(here, a, b) for a, b in zip(self, other, strict=True)))


NOWHERE = Places(np.zeros(1, np.int64), np.zeros(1, np.int64))


class Flows(NamedTuple):
    """Messages on their way: elements that lie in a row in a buffer.

    In the scratch buffer there may be room for ``ring`` of them only: the others follow where the
    first ones have been.
    """

    buffer: Array
    at: Array
    ring: Array

    def place(self, flow: Array, offset: Array) -> Places:
        """Where elements of messages lie."""
        return Places(self.buffer[flow], self.at[flow] + offset % self.ring[flow])


class Lowering:
    """What a rank does for a vector of ``count`` elements; for the arguments see `compile_plan`.

    All that is received comes first in the columns of messages, then all that is sent.

    Attributes:
        scratch: elements of the scratch buffer.
        slots: requests that are under way at the same time, at most.
    """

    def __init__(self, order: RankOrder, count: int, in_place: bool, piece: int) -> None:
        recvs, sends = order.messages.recvs, order.messages.sends
        self._order, self._piece, self._nsteps = order, piece, order.schedule.nsteps
        self._ends = order.schedule.ends(count)
        self._into, self._out = (Cells.of(each.blocks, self._ends) for each in (recvs, sends))
        self._step = np.concatenate([recvs.step, sends.step])
        self._length = np.concatenate([self._into.length, self._out.length])
        self._apart = self._are_pieces_apart()
        # A block is in the send buffer until it is received for the first time.
        self._first = np.full(order.schedule.nblocks, -1 if in_place else self._nsteps)
        if not in_place:
            self._first[self._into.block[::-1]] = recvs.step[self._into.row][::-1]
        self._fresh = self._first[self._out.block] >= sends.step[self._out.row]
        self._sent = extents(self._out.block, self._ends, self._out.row, self._fresh)
        self._received = extents(self._into.block, self._ends, self._into.row)
        self._flows = self._find_flows()
        self._code: list[tuple[Array, Array]] = []
        self._transfer()
        self._pack_and_unpack()
        self._reduce()
        self._copy_the_rest()

    @cached_property
    def code(self) -> Array:
        """(instructions, 11) the numbers of each `Instruction`, in order."""
        when = np.concatenate([when for when, _ in self._code])
        rows = np.concatenate([rows for _, rows in self._code])
        return rows[np.argsort(when, kind="stable")]

    def _emit(
        self,
        do: Opcode | Array,
        step: Array,
        turn: Array,
        length: Array,
        a: Places = NOWHERE,
        b: Places = NOWHERE,
        out: Places = NOWHERE,
        peer: Array | int = 0,
        slot: Array | int = 0,
    ) -> None:
        """Add instructions to do in a step; in which ``turn`` of it, orders them."""
        columns = do, step, peer, slot, length, *a, *b, *out
        rows = np.empty((len(step), len(columns)), np.int64)
        for i, column in enumerate(columns):
            rows[:, i] = column
        last = 4 * int(self._pieces_of_step.max(initial=0)) + 8
        self._code.append((step * last + turn, rows))

    @cached_property
    def _pieces_of_step(self) -> Array:
        """(nsteps + 1,) of the longest message."""
        most = np.zeros(self._nsteps + 1, np.int64)
        np.maximum.at(most, self._step, -(-self._length // self._piece))
        return most

    def _done(self, step: Array, piece: Array) -> Array:
        """The turn in which pieces are waited for; they are reduced in the next one."""
        return 4 * np.where(self._apart[step], piece + 1, self._pieces_of_step[step]) + 2

    def _are_pieces_apart(self) -> Flags:
        """(nsteps + 1,) whether a piece may be reduced before later ones are sent and received.

        It may where two messages share no block, or all of them: a later piece has other elements
        then. If not, all pieces are under way at once and are reduced at the end.
        """
        apart = np.ones(self._nsteps + 1, dtype=bool)
        long = np.zeros_like(apart)
        long[self._step[self._length > self._piece]] = True
        if not long.any():
            return apart
        # Blocks that go in equal numbers of messages, all of which begin with the same block.
        row = np.concatenate([self._into.row, self._out.row + len(self._into.length)])
        block = np.concatenate([self._into.block, self._out.block])
        row, block = (column[long[self._step[row]]] for column in (row, block))
        lead = np.full(len(self._step), -1)
        lead[row[::-1]] = block[::-1]
        step = self._step[row]
        _, cell, count = np.unique(
            step * len(self._ends) + block, return_inverse=True, return_counts=True
        )
        many = count[cell]
        lowest, highest = np.full(len(count), len(self._ends)), np.full(len(count), -1)
        np.minimum.at(lowest, cell, lead[row])
        np.maximum.at(highest, cell, lead[row])
        of_lead = np.zeros(len(self._step), np.int64)
        of_lead[row[::-1]] = many[::-1]
        mixed = (lowest != highest)[cell] | (many != of_lead[row])
        apart[step[mixed]] = False
        return apart

    def _find_flows(self) -> Flows:
        recvs, sends = self._order.messages.recvs, self._order.messages.sends
        nrecvs = len(recvs.step)
        nruns = [
            np.bincount(cells.row[found.cell], minlength=len(cells.length))
            for cells, found in ((self._into, self._received), (self._out, self._sent))
        ]
        # What is copied comes straight to its home, if it lies in a row and no other message of
        # the step is sent from there or comes there.
        width = len(self._ends)
        there = (nruns[1] == 1)[self._out.row] & ~self._fresh
        keys = np.concatenate(
            [
                recvs.step[self._into.row] * width + self._into.block,
                (sends.step[self._out.row] * width + self._out.block)[there],
            ]
        )
        crossed = np.zeros(nrecvs, dtype=bool)
        crossed[self._into.row[repeated(keys)[: len(self._into.row)]]] = True
        through = np.concatenate(
            [recvs.reduce | (nruns[0] > 1) | crossed, nruns[1] > 1]
        )  # the scratch buffer
        apart = self._apart[self._step]
        ring = np.where(through & apart, np.minimum(self._length, 2 * self._piece), self._length)
        order = np.argsort(self._step, kind="stable")
        need = np.where(through, ring, 0)[order]
        total = np.append(0, np.cumsum(need))
        begin = np.searchsorted(self._step[order], self._step[order])
        at = np.empty_like(self._step)
        at[order] = total[:-1] - total[begin]
        self.scratch = int((at + np.where(through, ring, 0)).max(initial=0))
        buffer = np.full(len(at), SCRATCH)
        home = np.where(self._fresh[self._sent.cell], SEND, RECV)
        for found, cells, first, where in (
            (self._received, self._into, 0, np.full(len(self._received.cell), RECV)),
            (self._sent, self._out, nrecvs, home),
        ):
            message = first + cells.row[found.cell]
            direct = ~through[message]
            at[message[direct]] = found.start[direct]
            buffer[message[direct]] = where[direct]
        self._through = through
        return Flows(buffer, at, np.maximum(ring, 1))

    def _transfer(self) -> None:
        """Begin to send and receive every piece, and wait for it."""
        nrecvs = len(self._into.length)
        piece = np.full(len(self._step), self._piece)
        flow, k, offset, length = cut(np.zeros_like(piece), self._length, piece)
        order = np.lexsort((flow, k, self._step[flow]))
        flow, k, offset, length = (each[order] for each in (flow, k, offset, length))
        step = self._step[flow]
        new = np.append(True, (step[1:] != step[:-1]) | (k[1:] != k[:-1]))[: len(step)]
        first = np.flatnonzero(new)  # of every piece number of every step
        count = np.diff(np.append(first, len(step)))
        nth = np.arange(len(step)) - np.repeat(first, count)
        some = self._length > 0
        nflows = np.bincount(self._step[some], minlength=self._nsteps + 1)
        nsends = np.bincount(self._step[nrecvs:][some[nrecvs:]], minlength=self._nsteps + 1)
        ahead = np.where(self._apart, np.minimum(2, self._pieces_of_step), self._pieces_of_step)
        self.slots = int((ahead * nflows).max(initial=0))
        slot = k % ahead[step] * nflows[step]
        swap = (self._pieces_of_step == 1) & (nflows == 2) & (nsends == 1)
        is_send = flow >= nrecvs
        do = np.where(is_send, np.where(swap[step], Opcode.SENDRECV, Opcode.ISEND), Opcode.IRECV)
        peers = np.concatenate([self._order.messages.recvs.peer, self._order.messages.sends.peer])
        self._emit(
            do,
            step,
            4 * k + 1 + (swap[step] & ~is_send),  # of a swap the send comes first
            length,
            self._flows.place(flow, offset),
            peer=peers[flow],
            slot=slot + nth,
        )
        waits = first[~swap[step[first]]]
        self._emit(
            Opcode.WAIT,
            step[waits],
            self._done(step[waits], k[waits]),
            count[~swap[step[first]]],
            slot=slot[waits],
        )

    def _cut(self, step: Array, offset: Array, length: Array) -> Pieces:
        return cut(offset, length, np.where(self._apart[step], self._piece, WHOLE))

    def _pack_and_unpack(self) -> None:
        """Copy what is sent, and what has been received, through the scratch buffer."""
        recvs, sends = self._order.messages.recvs, self._order.messages.sends
        nrecvs = len(recvs.step)
        some = self._through[nrecvs:][self._out.row[self._sent.cell]]
        cell, start, length = (column[some] for column in self._sent)
        row, offset = self._out.row[cell], self._out.offset[cell]
        i, k, at, size = self._cut(sends.step[row], offset, length)
        home = Places(np.where(self._fresh[cell][i], SEND, RECV), (start - offset)[i] + at)
        there = self._flows.place(row[i] + nrecvs, at)
        self._emit(Opcode.COPY, sends.step[row][i], 4 * k, size, home, out=there)

        some = (self._through[:nrecvs] & ~recvs.reduce)[self._into.row[self._received.cell]]
        cell, start, length = (column[some] for column in self._received)
        row, offset = self._into.row[cell], self._into.offset[cell]
        i, k, at, size = self._cut(recvs.step[row], offset, length)
        home = Places(np.full(len(i), RECV), (start - offset)[i] + at)
        step = recvs.step[row][i]
        there = self._flows.place(row[i], at)
        self._emit(Opcode.COPY, step, self._done(step, k) + 1, size, there, out=home)

    def _reduce(self) -> None:
        """Add up each block's own value and what was received, in the order of their leaders."""
        recvs = self._order.messages.recvs
        some = recvs.reduce[self._into.row]
        if not some.any():
            return
        row, block, offset = (
            c[some] for c in (self._into.row, self._into.block, self._into.offset)
        )
        mine, theirs = (c[self._into.kept][some] for c in self._order.keys)
        width, own = len(self._ends), -1
        keys, first, group = np.unique(
            recvs.step[row] * width + block, return_index=True, return_inverse=True
        )
        step, block = keys // width, keys % width
        # Of every block in a step: its operands, each a message or its own value, in order.
        who = np.concatenate([np.full(len(keys), own), row])
        where = np.concatenate([np.zeros(len(keys), np.int64), offset])
        group = np.concatenate([np.arange(len(keys)), group])
        order = np.lexsort((np.concatenate([mine[first], theirs]), group))
        count = np.bincount(group)
        nth = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
        table = np.full((len(keys), int(count.max())), len(recvs.step))  # filled up with no one
        offsets = np.zeros_like(table)
        table[group[order], nth] = who[order]
        offsets[group[order], nth] = where[order]
        fresh = self._first[block] >= step
        cell, start, length = extents(block, self._ends, step, fresh, *table.T)
        step, fresh, table, offsets, count = (c[cell] for c in (step, fresh, table, offsets, count))
        begin = np.where(table[:, 0] == own, offsets[:, 1], offsets[:, 0])
        i, k, at, size = self._cut(step, begin, length)
        step, table, count, at = step[i], table[i], count[i], at - begin[i]
        start = start[i] + at
        home = Places(np.full(len(i), RECV), start)
        value = Places(np.where(fresh[i], SEND, RECV), start)
        turn = self._done(step, k) + 1

        def operand(q: int) -> Places:
            message = table[:, q] % len(recvs.step)
            there = self._flows.place(message, offsets[i, q] + at)
            return value.where(table[:, q] == own, there)

        # ((x0 + x1) + x2) + …, into the run's home once all that is left to add is scratch: so
        # a reduction into one operand never has the send buffer as the other, see `Reduction`.
        sum_, own_at = operand(0), np.argmax(table == own, axis=1)
        for q in range(1, table.shape[1]):
            to, rows = home.where(own_at <= q, sum_), count > q
            operands = sum_.take(rows), operand(q).take(rows), to.take(rows)
            self._emit(Opcode.REDUCE, step[rows], turn[rows], size[rows], *operands)
            sum_ = to

    def _copy_the_rest(self) -> None:
        """What no message has brought is the result as it is."""
        block = np.flatnonzero((self._first == self._nsteps) & (np.diff(self._ends) > 0))
        _, start, length = extents(block, self._ends)
        step = np.full(len(start), self._nsteps)
        a, out = (Places(np.full(len(start), buffer), start) for buffer in (SEND, RECV))
        self._emit(Opcode.COPY, step, np.zeros_like(step), length, a, out=out)
