"""Lower one rank's messages to instructions, for all steps and messages at once.

Each kind of instruction is one numpy table, and `Lowering.code` sorts the rows of all tables by
step and *turn*, the position within a step. A step is a software pipeline over the pieces of its
messages. The turns of piece k are, with P the number of pieces of the longest message:

    4k          pack: copy what is not contiguous into the scratch buffer
    4k + 1      begin to send and receive
    4(k+1) + 2  wait
    4(k+1) + 3  reduce, or unpack

so the order is: … pack k, begin k, wait for k - 1, reduce k - 1, pack k + 1, …. Where pieces must
not be reduced one by one (see `Lowering._are_pieces_apart`), whole messages are packed in turn 0,
and waiting and reducing are moved to the end of the step, turns 4P + 2 and 4P + 3.

The cost is that of sorting the blocks of all messages, O(n log n) in numpy.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from swing.executor.plan.extents import Cells, Flags, Pieces, cut, extents, repeated
from swing.executor.plan.instruction import RECV, ROW, SCRATCH, SEND, Opcode
from swing.executor.plan.order import RankOrder
from swing.torus import Array

WHOLE = 2**61
"""A piece size in elements that no message exceeds, with room to be multiplied by 2 in 64 bits."""


class Places(NamedTuple):
    """A column of operands: the buffer and the index of the first element of each."""

    buffer: Array
    at: Array

    def take(self, rows: Array | Flags) -> Places:
        """The operands of the given rows."""
        return Places(self.buffer[rows], self.at[rows])

    def where(self, condition: Flags, other: Places) -> Places:
        """These operands where the condition holds, else those of ``other``, like ``np.where``."""
        return Places(*(np.where(condition, a, b) for a, b in zip(self, other, strict=True)))


NOWHERE = Places(np.zeros(1, np.int64), np.zeros(1, np.int64))


class Flows(NamedTuple):
    """The contiguous memory from which each message is sent, or into which it is received.

    Args:
        buffer: (messages,) SEND, RECV or SCRATCH.
        at: (messages,) the index of the first element.
        ring: (messages,) the number of elements before the memory is used again from its beginning,
            as a ring buffer: two pieces in the scratch buffer, else the whole message.
    """

    buffer: Array
    at: Array
    ring: Array

    def place(self, flow: Array, offset: Array) -> Places:
        """The operands for elements of messages, given by their offsets in the message."""
        # No piece wraps around: a ring that is shorter than its message has exactly two pieces.
        return Places(self.buffer[flow], self.at[flow] + offset % self.ring[flow])


class Lowering:
    """The lowering of one rank's messages; for the arguments see `compile_plan`.

    Columns of messages list all received messages first, then all sent ones. "Home" is the place of
    a block in the user's vector: in the send buffer while the block is *fresh*, that is, until the
    rank receives it for the first time, and in the receive buffer from then on.

    Attributes:
        scratch: the number of elements of the scratch buffer.
        slots: the largest number of requests that are in flight at the same time.
    """

    def __init__(self, order: RankOrder, count: int, in_place: bool, piece: int) -> None:
        recvs, sends = order.messages.recvs, order.messages.sends
        self._order, self._piece, self._nsteps = order, piece, order.schedule.nsteps
        self._ends = order.schedule.ends(count)
        self._into, self._out = (Cells.of(each.blocks, self._ends) for each in (recvs, sends))
        self._step = np.concatenate([recvs.step, sends.step])
        self._length = np.concatenate([self._into.length, self._out.length])
        self._apart = self._are_pieces_apart()
        # The step in which each block is received for the first time: nsteps if it never is, and
        # -1 in place, so that no block is ever taken from the send buffer.
        self._first = np.full(order.schedule.nblocks, -1 if in_place else self._nsteps)
        if not in_place:
            # numpy keeps the last of several values for one index: reversed, the earliest step.
            self._first[self._into.block[::-1]] = recvs.step[self._into.row][::-1]
        # In the step of its first receive a block is still sent from the send buffer.
        self._fresh = self._first[self._out.block] >= sends.step[self._out.row]
        self._sent = extents(self._out.block, self._ends, self._out.row, self._fresh)
        self._received = extents(self._into.block, self._ends, self._into.row)
        self._flows = self._find_flows()
        self._code: list[tuple[Array, np.ndarray]] = []
        self._transfer()
        self._pack_and_unpack()
        self._reduce()
        self._copy_untouched_blocks()

    @cached_property
    def code(self) -> np.ndarray:
        """(instructions,) records of `ROW`, in order."""
        when = np.concatenate([when for when, _ in self._code])
        rows = np.concatenate([rows for _, rows in self._code])
        # Stable: rows of one turn stay in the order of emission, on which `_reduce` relies.
        in_order: np.ndarray = rows[np.argsort(when, kind="stable")]
        return in_order

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
        """Add one instruction per element of ``step``; ``turn`` orders those of a step."""
        columns = do, step, peer, slot, length, *a, *b, *out
        rows = np.empty(len(step), ROW)
        for name, column in zip(ROW.fields or (), columns, strict=True):
            rows[name] = column
        nturns = 4 * int(self._pieces_of_step.max(initial=0)) + 8  # above every turn
        self._code.append((step * nturns + turn, rows))

    @cached_property
    def _pieces_of_step(self) -> Array:
        """(nsteps + 1,) the number of pieces of the longest message; the last step is the end."""
        npieces = np.zeros(self._nsteps + 1, np.int64)
        np.maximum.at(npieces, self._step, -(-self._length // self._piece))
        return npieces

    def _wait_turn(self, step: Array, piece: Array) -> Array:
        """The turn in which to wait for a piece; it is reduced in the turn after that."""
        return 4 * np.where(self._apart[step], piece + 1, self._pieces_of_step[step]) + 2

    def _are_pieces_apart(self) -> Flags:
        """(nsteps + 1,) whether a piece may be reduced before later ones are sent and received.

        It may if any two messages of the step share either no block or all blocks: then pieces of
        different numbers have no element in common. Otherwise all pieces are in flight at once and
        are reduced at the end of the step.
        """
        apart = np.ones(self._nsteps + 1, dtype=bool)
        has_long_message = np.zeros_like(apart)
        has_long_message[self._step[self._length > self._piece]] = True
        if not has_long_message.any():
            return apart  # every message is one piece: avoid the sort of all blocks
        # To avoid comparing all pairs: messages that share a block have equal sets of blocks if and
        # only if they begin with the same block, their lead, and each of their blocks is in as many
        # messages as the lead is.
        row = np.concatenate([self._into.row, self._out.row + len(self._into.length)])
        block = np.concatenate([self._into.block, self._out.block])
        row, block = (column[has_long_message[self._step[row]]] for column in (row, block))
        lead = np.full(len(self._step), -1)
        lead[row[::-1]] = block[::-1]  # reversed: the first block of a message is written last
        step = self._step[row]
        _, cell, count = np.unique(
            step * len(self._ends) + block, return_inverse=True, return_counts=True
        )
        nmessages = count[cell]  # messages of this step that carry the block
        lowest, highest = np.full(len(count), len(self._ends)), np.full(len(count), -1)
        np.minimum.at(lowest, cell, lead[row])
        np.maximum.at(highest, cell, lead[row])
        nmessages_of_lead = np.zeros(len(self._step), np.int64)
        nmessages_of_lead[row[::-1]] = nmessages[::-1]
        mixed = (lowest != highest)[cell] | (nmessages != nmessages_of_lead[row])
        apart[step[mixed]] = False
        return apart

    def _find_flows(self) -> Flows:
        """Decide which messages go through the scratch buffer, and where in it."""
        recvs, sends = self._order.messages.recvs, self._order.messages.sends
        nrecvs = len(recvs.step)
        nextents = [
            np.bincount(cells.row[ranges.cell], minlength=len(cells.length))
            for cells, ranges in ((self._into, self._received), (self._out, self._sent))
        ]
        # A message that is not reduced is received directly into its home if it is contiguous
        # there and no other message of the step is sent from there or received there.
        width = len(self._ends)  # above every block, so that step · width + block is unique
        sent_from_home = (nextents[1] == 1)[self._out.row] & ~self._fresh
        keys = np.concatenate(
            [
                recvs.step[self._into.row] * width + self._into.block,
                (sends.step[self._out.row] * width + self._out.block)[sent_from_home],
            ]
        )
        crossed = np.zeros(nrecvs, dtype=bool)
        crossed[self._into.row[repeated(keys)[: len(self._into.row)]]] = True
        through_scratch = np.concatenate(
            [recvs.reduces | (nextents[0] > 1) | crossed, nextents[1] > 1]
        )
        apart = self._apart[self._step]
        two_pieces = np.minimum(self._length, 2 * self._piece)
        ring = np.where(through_scratch & apart, two_pieces, self._length)
        # Messages of one step lie side by side in the scratch buffer; every step begins at 0 again.
        order = np.argsort(self._step, kind="stable")
        needed = np.where(through_scratch, ring, 0)
        total = np.append(0, np.cumsum(needed[order]))
        first_of_step = np.searchsorted(self._step[order], self._step[order])
        at = np.empty_like(self._step)
        at[order] = total[:-1] - total[first_of_step]
        self.scratch = int((at + needed).max(initial=0))
        buffer = np.full(len(at), SCRATCH)
        send_home = np.where(self._fresh[self._sent.cell], SEND, RECV)
        for ranges, cells, first, home in (
            (self._received, self._into, 0, np.full(len(self._received.cell), RECV)),
            (self._sent, self._out, nrecvs, send_home),
        ):
            message = first + cells.row[ranges.cell]
            direct = ~through_scratch[message]  # these have a single extent
            at[message[direct]] = ranges.start[direct]
            buffer[message[direct]] = home[direct]
        self._through_scratch = through_scratch
        return Flows(buffer, at, np.maximum(ring, 1))  # 1: offsets are taken modulo the ring

    def _transfer(self) -> None:
        """Begin to send and receive every piece, and wait for it."""
        nrecvs = len(self._into.length)
        piece = np.full(len(self._step), self._piece)
        flow, k, offset, length = cut(np.zeros_like(piece), self._length, piece)
        # By step, then piece, then message: sender and receiver begin the pieces between them in
        # the same order, and MPI matches them in that order.
        order = np.lexsort((flow, k, self._step[flow]))
        flow, k, offset, length = (each[order] for each in (flow, k, offset, length))
        step = self._step[flow]
        is_new = np.append(True, (step[1:] != step[:-1]) | (k[1:] != k[:-1]))[: len(step)]
        first = np.flatnonzero(is_new)  # the first row of each piece number of each step
        count = np.diff(np.append(first, len(step)))
        nth = np.arange(len(step)) - np.repeat(first, count)
        filled = self._length > 0  # empty messages have no pieces and need no slots
        nflows = np.bincount(self._step[filled], minlength=self._nsteps + 1)
        nsends = np.bincount(self._step[nrecvs:][filled[nrecvs:]], minlength=self._nsteps + 1)
        npieces = self._pieces_of_step
        in_flight = np.where(self._apart, np.minimum(2, npieces), npieces)  # pieces per message
        self.slots = int((in_flight * nflows).max(initial=0))
        slot = k % in_flight[step] * nflows[step]
        # One send and one receive of one piece each: a single MPI call instead of three.
        sendrecv = (npieces == 1) & (nflows == 2) & (nsends == 1)
        is_send = flow >= nrecvs
        send = np.where(sendrecv[step], Opcode.SENDRECV, Opcode.ISEND)
        do = np.where(is_send, send, Opcode.IRECV)
        peers = np.concatenate([self._order.messages.recvs.peer, self._order.messages.sends.peer])
        self._emit(
            do,
            step,
            # Received messages come first in the table, but the IRECV has to follow its SENDRECV.
            4 * k + 1 + (sendrecv[step] & ~is_send),
            length,
            self._flows.place(flow, offset),
            peer=peers[flow],
            slot=slot + nth,
        )
        waits = first[~sendrecv[step[first]]]
        self._emit(
            Opcode.WAIT,
            step[waits],
            self._wait_turn(step[waits], k[waits]),
            count[~sendrecv[step[first]]],
            slot=slot[waits],
        )

    def _cut(self, step: Array, offset: Array, length: Array) -> Pieces:
        """Cut extents into pieces, except in steps whose pieces are not apart."""
        return cut(offset, length, np.where(self._apart[step], self._piece, WHOLE))

    def _pack_and_unpack(self) -> None:
        """Copy messages that are not contiguous at home into the scratch buffer, or out of it."""
        recvs, sends = self._order.messages.recvs, self._order.messages.sends
        nrecvs = len(recvs.step)
        packed = self._through_scratch[nrecvs:][self._out.row[self._sent.cell]]
        cell, start, length = (column[packed] for column in self._sent)
        row, offset = self._out.row[cell], self._out.offset[cell]
        i, k, at, size = self._cut(sends.step[row], offset, length)
        home = Places(np.where(self._fresh[cell][i], SEND, RECV), (start - offset)[i] + at)
        scratch = self._flows.place(row[i] + nrecvs, at)
        self._emit(Opcode.COPY, sends.step[row][i], 4 * k, size, home, out=scratch)

        unpacked = self._through_scratch[:nrecvs] & ~recvs.reduces
        unpacked = unpacked[self._into.row[self._received.cell]]
        cell, start, length = (column[unpacked] for column in self._received)
        row, offset = self._into.row[cell], self._into.offset[cell]
        i, k, at, size = self._cut(recvs.step[row], offset, length)
        home = Places(np.full(len(i), RECV), (start - offset)[i] + at)
        step = recvs.step[row][i]
        scratch = self._flows.place(row[i], at)
        self._emit(Opcode.COPY, step, self._wait_turn(step, k) + 1, size, scratch, out=home)

    def _reduce(self) -> None:
        """Reduce this rank's value and the received values, in the order of the reduction keys."""
        recvs = self._order.messages.recvs
        reduced = recvs.reduces[self._into.row]
        if not reduced.any():
            return
        row, block, offset = (
            c[reduced] for c in (self._into.row, self._into.block, self._into.offset)
        )
        mine, theirs = (c[self._into.kept][reduced] for c in self._order.keys)
        width, own, absent = len(self._ends), -1, len(recvs.step)
        keys, first, group = np.unique(
            recvs.step[row] * width + block, return_index=True, return_inverse=True
        )
        step, block = keys // width, keys % width
        # A group is one block in one step. Its operands are this rank's own value (``own``) and the
        # messages that bring the block; row g of ``table`` lists those of group g in order.
        source = np.concatenate([np.full(len(keys), own), row])
        source_offset = np.concatenate([np.zeros(len(keys), np.int64), offset])
        group = np.concatenate([np.arange(len(keys)), group])
        # The key of the own value is the same in all messages of a group: take that of the first.
        order = np.lexsort((np.concatenate([mine[first], theirs]), group))
        count = np.bincount(group)
        nth = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
        table = np.full((len(keys), int(count.max())), absent)
        offsets = np.zeros_like(table)
        table[group[order], nth] = source[order]
        offsets[group[order], nth] = source_offset[order]
        fresh = self._first[block] >= step
        # Adjacent blocks are reduced together if they have the same operands in the same order.
        cell, start, length = extents(block, self._ends, step, fresh, *table.T)
        step, fresh, table, offsets, count = (c[cell] for c in (step, fresh, table, offsets, count))
        # Pieces are counted from the beginning of a message, and the own value is no message. Take
        # the first one: if it is cut at all, all messages of a group have the same offset.
        begin = np.where(table[:, 0] == own, offsets[:, 1], offsets[:, 0])
        i, k, at, size = self._cut(step, begin, length)
        step, table, count, at = step[i], table[i], count[i], at - begin[i]
        start = start[i] + at
        home = Places(np.full(len(i), RECV), start)
        value = Places(np.where(fresh[i], SEND, RECV), start)
        turn = self._wait_turn(step, k) + 1

        def operand(q: int) -> Places:
            # ``own`` and ``absent`` are no messages. The modulo makes them valid indices, and the
            # operands computed for them are not used.
            message = table[:, q] % len(recvs.step)
            received = self._flows.place(message, offsets[i, q] + at)
            return value.where(table[:, q] == own, received)

        # ((x0 + x1) + x2) + … is accumulated in the scratch memory of x0 until the own value has
        # been added, and at home from then on: before that, the sum would overwrite an own value
        # that is at home. This order also ensures that a reduction whose result replaces one
        # operand has scratch memory as the other one: it may overwrite that too, see `Reduction`.
        sum_, own_at = operand(0), np.argmax(table == own, axis=1)
        for q in range(1, table.shape[1]):
            to, rows = home.where(own_at <= q, sum_), count > q  # rows with a q-th operand
            operands = sum_.take(rows), operand(q).take(rows), to.take(rows)
            self._emit(Opcode.REDUCE, step[rows], turn[rows], size[rows], *operands)
            sum_ = to

    def _copy_untouched_blocks(self) -> None:
        """Copy the blocks that this rank never receives: they are part of the result already."""
        block = np.flatnonzero((self._first == self._nsteps) & (np.diff(self._ends) > 0))
        _, start, length = extents(block, self._ends)
        step = np.full(len(start), self._nsteps)
        a, out = (Places(np.full(len(start), buffer), start) for buffer in (SEND, RECV))
        self._emit(Opcode.COPY, step, np.zeros_like(step), length, a, out=out)
