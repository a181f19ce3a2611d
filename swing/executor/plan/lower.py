"""Lower one rank's messages to instructions, for all steps and messages at once.

Each kind of instruction is one numpy table, and `Lowering.code` sorts the rows of all tables by
step and *turn*, the position within a step. A step is a software pipeline over the pieces of its
messages. The turns of piece k are, with P the number of pieces of the longest message:

    4k          pack: copy what is not contiguous into the scratch buffer
    4k + 1      begin to send and receive
    4(k+1) + 2  wait
    4(k+1) + 3  reduce, or unpack

so the order is: … pack k, begin k, wait for k - 1, reduce k - 1, pack k + 1, …. Where pieces must
not be reduced one by one (see `Transfers.apart`), whole messages are packed in turn 0,
and waiting and reducing are moved to the end of the step, turns 4P + 2 and 4P + 3.

The cost is that of sorting the blocks of all messages, O(n log n) in numpy.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from swing.executor.plan.extents import Pieces, cut, extents
from swing.executor.plan.instruction import RECV, ROW, SEND, Opcode
from swing.executor.plan.order import RankOrder
from swing.executor.plan.transfers import NOWHERE, Places, Transfers
from swing.torus import Array

WHOLE = 2**61
"""A piece size in elements that no message exceeds, with room to be multiplied by 2 in 64 bits."""


class Lowering:
    """The lowering of one rank's messages; for the arguments see `compile_plan`.

    Attributes:
        scratch: the number of elements of the scratch buffer.
        slots: the largest number of requests that are in flight at the same time.
    """

    def __init__(self, order: RankOrder, count: int, in_place: bool, piece: int) -> None:
        self._transfers = Transfers(order, count, in_place, piece)
        self.scratch = self._transfers.scratch
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
        t = self._transfers
        columns = do, step, peer, slot, length, *a, *b, *out
        rows = np.empty(len(step), ROW)
        for name, column in zip(ROW.fields or (), columns, strict=True):
            rows[name] = column
        nturns = 4 * int(t.pieces_of_step.max(initial=0)) + 8  # above every turn
        self._code.append((step * nturns + turn, rows))

    def _wait_turn(self, step: Array, piece: Array) -> Array:
        """The turn in which to wait for a piece; it is reduced in the turn after that."""
        t = self._transfers
        return 4 * np.where(t.apart[step], piece + 1, t.pieces_of_step[step]) + 2

    def _transfer(self) -> None:
        """Begin to send and receive every piece, and wait for it."""
        t = self._transfers
        nrecvs = len(t.into.length)
        piece = np.full(len(t.step), t.piece)
        flow, k, offset, length = cut(np.zeros_like(piece), t.length, piece)
        # By step, then piece, then message: sender and receiver begin the pieces between them in
        # the same order, and MPI matches them in that order.
        order = np.lexsort((flow, k, t.step[flow]))
        flow, k, offset, length = (each[order] for each in (flow, k, offset, length))
        step = t.step[flow]
        is_new = np.append(True, (step[1:] != step[:-1]) | (k[1:] != k[:-1]))[: len(step)]
        first = np.flatnonzero(is_new)  # the first row of each piece number of each step
        count = np.diff(np.append(first, len(step)))
        nth = np.arange(len(step)) - np.repeat(first, count)
        filled = t.length > 0  # empty messages have no pieces and need no slots
        nflows = np.bincount(t.step[filled], minlength=t.nsteps + 1)
        nsends = np.bincount(t.step[nrecvs:][filled[nrecvs:]], minlength=t.nsteps + 1)
        npieces = t.pieces_of_step
        in_flight = np.where(t.apart, np.minimum(2, npieces), npieces)  # pieces per message
        self.slots = int((in_flight * nflows).max(initial=0))
        slot = k % in_flight[step] * nflows[step]
        # One send and one receive of one piece each: a single MPI call instead of three.
        sendrecv = (npieces == 1) & (nflows == 2) & (nsends == 1)
        is_send = flow >= nrecvs
        send = np.where(sendrecv[step], Opcode.SENDRECV, Opcode.ISEND)
        do = np.where(is_send, send, Opcode.IRECV)
        peers = np.concatenate([t.order.messages.recvs.peer, t.order.messages.sends.peer])
        self._emit(
            do,
            step,
            # Received messages come first in the table, but the IRECV has to follow its SENDRECV.
            4 * k + 1 + (sendrecv[step] & ~is_send),
            length,
            t.flows.place(flow, offset),
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
        t = self._transfers
        return cut(offset, length, np.where(t.apart[step], t.piece, WHOLE))

    def _pack_and_unpack(self) -> None:
        """Copy messages that are not contiguous at home into the scratch buffer, or out of it."""
        t = self._transfers
        recvs, sends = t.order.messages.recvs, t.order.messages.sends
        nrecvs = len(recvs.step)
        packed = t.through_scratch[nrecvs:][t.out.row[t.sent.cell]]
        cell, start, length = (column[packed] for column in t.sent)
        row, offset = t.out.row[cell], t.out.offset[cell]
        i, k, at, size = self._cut(sends.step[row], offset, length)
        home = Places(np.where(t.fresh[cell][i], SEND, RECV), (start - offset)[i] + at)
        scratch = t.flows.place(row[i] + nrecvs, at)
        self._emit(Opcode.COPY, sends.step[row][i], 4 * k, size, home, out=scratch)

        unpacked = t.through_scratch[:nrecvs] & ~recvs.reduces
        unpacked = unpacked[t.into.row[t.received.cell]]
        cell, start, length = (column[unpacked] for column in t.received)
        row, offset = t.into.row[cell], t.into.offset[cell]
        i, k, at, size = self._cut(recvs.step[row], offset, length)
        home = Places(np.full(len(i), RECV), (start - offset)[i] + at)
        step = recvs.step[row][i]
        scratch = t.flows.place(row[i], at)
        self._emit(Opcode.COPY, step, self._wait_turn(step, k) + 1, size, scratch, out=home)

    def _reduce(self) -> None:
        """Reduce this rank's value and the received values, in the order of the reduction keys."""
        t = self._transfers
        recvs = t.order.messages.recvs
        reduced = recvs.reduces[t.into.row]
        if not reduced.any():
            return
        row, block, offset = (c[reduced] for c in (t.into.row, t.into.block, t.into.offset))
        mine, theirs = (c[t.into.kept][reduced] for c in t.order.keys)
        width, own, absent = len(t.ends), -1, len(recvs.step)
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
        fresh = t.first[block] >= step
        # Adjacent blocks are reduced together if they have the same operands in the same order.
        cell, start, length = extents(block, t.ends, step, fresh, *table.T)
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
            received = t.flows.place(message, offsets[i, q] + at)
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
        t = self._transfers
        block = np.flatnonzero((t.first == t.nsteps) & (np.diff(t.ends) > 0))
        _, start, length = extents(block, t.ends)
        step = np.full(len(start), t.nsteps)
        a, out = (Places(np.full(len(start), buffer), start) for buffer in (SEND, RECV))
        self._emit(Opcode.COPY, step, np.zeros_like(step), length, a, out=out)
