"""Transfers: the messages of one rank as columns, and the memory through which each one passes.

This is what the instructions of a plan follow from: which elements each message carries, which of
them are still in the send buffer, which messages go through the scratch buffer, and whether the
pieces of a message may be reduced one by one.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from swing.executor.plan.extents import Cells, Flags, extents, repeated
from swing.executor.plan.instruction import RECV, SCRATCH, SEND
from swing.executor.plan.order import RankOrder
from swing.torus import Array


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


SHORT = 16
"""A message of less than a piece ÷ `SHORT` is not copied: MPI libraries do so themselves."""
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


class Transfers:
    """All messages of one rank; for the arguments see `swing.executor.plan.plan.compile_plan`.

    Columns of messages list all received messages first, then all sent ones. "Home" is the place of
    a block in the user's vector: in the send buffer while the block is *fresh*, that is, until the
    rank receives it for the first time, and in the receive buffer from then on.

    Attributes:
        into, out: the cells of the received and of the sent messages.
        step, length: (messages,) the step and the number of elements of each message.
        first: (nblocks,) the step in which each block is received for the first time.
        fresh: (cells of ``out``,) whether a sent block is still in the send buffer.
        received, sent: the extents of ``into`` and ``out`` at home.
        apart: (nsteps + 1,) whether a piece may be reduced before later ones are sent and received.
        flows: the memory of each message.
        through_scratch: (messages,) whether that is in the scratch buffer.
        scratch: the number of elements of the scratch buffer.
    """

    def __init__(self, order: RankOrder, count: int, in_place: bool, piece: int) -> None:
        recvs, sends = order.messages.recvs, order.messages.sends
        self.order, self.piece, self.nsteps = order, piece, order.schedule.nsteps
        self.ends = order.schedule.ends(count)
        self.into, self.out = (Cells.of(each.blocks, self.ends) for each in (recvs, sends))
        self.step = np.concatenate([recvs.step, sends.step])
        self.length = np.concatenate([self.into.length, self.out.length])
        self.apart = self._are_pieces_apart()
        # The step in which each block is received for the first time: nsteps if it never is, and
        # -1 in place, so that no block is ever taken from the send buffer.
        self.first = np.full(order.schedule.nblocks, -1 if in_place else self.nsteps)
        if not in_place:
            # numpy keeps the last of several values for one index: reversed, the earliest step.
            self.first[self.into.block[::-1]] = recvs.step[self.into.row][::-1]
        # In the step of its first receive a block is still sent from the send buffer.
        self.fresh = self.first[self.out.block] >= sends.step[self.out.row]
        self.sent = extents(self.out.block, self.ends, self.out.row, self.fresh)
        self.received = extents(self.into.block, self.ends, self.into.row)
        self.flows = self._find_flows()

    @cached_property
    def pieces_of_step(self) -> Array:
        """(nsteps + 1,) the number of pieces of the longest message; the last step is the end."""
        npieces = np.zeros(self.nsteps + 1, np.int64)
        np.maximum.at(npieces, self.step, -(-self.length // self.piece))
        return npieces

    def _are_pieces_apart(self) -> Flags:
        """Find the steps in which a piece may be reduced before later ones are sent and received.

        It may if any two messages of the step share either no block or all blocks: then pieces of
        different numbers have no element in common. Otherwise all pieces are in flight at once and
        are reduced at the end of the step.
        """
        apart = np.ones(self.nsteps + 1, dtype=bool)
        has_long_message = np.zeros_like(apart)
        has_long_message[self.step[self.length > self.piece]] = True
        if not has_long_message.any():
            return apart  # every message is one piece: avoid the sort of all blocks
        # To avoid comparing all pairs: messages that share a block have equal sets of blocks if and
        # only if they begin with the same block, their lead, and each of their blocks is in as many
        # messages as the lead is.
        row = np.concatenate([self.into.row, self.out.row + len(self.into.length)])
        block = np.concatenate([self.into.block, self.out.block])
        row, block = (column[has_long_message[self.step[row]]] for column in (row, block))
        lead = np.full(len(self.step), -1)
        lead[row[::-1]] = block[::-1]  # reversed: the first block of a message is written last
        step = self.step[row]
        _, cell, count = np.unique(
            step * len(self.ends) + block, return_inverse=True, return_counts=True
        )
        nmessages = count[cell]  # messages of this step that carry the block
        lowest, highest = np.full(len(count), len(self.ends)), np.full(len(count), -1)
        np.minimum.at(lowest, cell, lead[row])
        np.maximum.at(highest, cell, lead[row])
        nmessages_of_lead = np.zeros(len(self.step), np.int64)
        nmessages_of_lead[row[::-1]] = nmessages[::-1]
        mixed = (lowest != highest)[cell] | (nmessages != nmessages_of_lead[row])
        apart[step[mixed]] = False
        return apart

    def _find_copied(self) -> Flags:
        """Find the sent messages of which a copy is sent, because this step reduces into them.

        The peer's core reads what is sent. To be written after that, each cache line has to come
        back: where vectors do not begin at a line, this takes longer than to copy them. What goes
        to several peers is not copied, since that would take a copy for each.
        """
        recvs, sends = self.order.messages.recvs, self.order.messages.sends
        width, reduced = len(self.ends), recvs.reduces[self.into.row]
        written = (recvs.step[self.into.row] * width + self.into.block)[reduced]
        read = sends.step[self.out.row] * width + self.out.block
        copied = np.zeros(len(sends.step), dtype=bool)
        copied[self.out.row[~self.fresh & np.isin(read, written) & ~repeated(read)]] = True
        copied[self.out.length < self.piece // SHORT] = False
        return copied

    def _find_flows(self) -> Flows:
        """Decide which messages go through the scratch buffer, and where in it."""
        recvs, sends = self.order.messages.recvs, self.order.messages.sends
        nrecvs = len(recvs.step)
        nextents = [
            np.bincount(cells.row[ranges.cell], minlength=len(cells.length))
            for cells, ranges in ((self.into, self.received), (self.out, self.sent))
        ]
        # A message that is not reduced is received directly into its home if it is contiguous
        # there and no other message of the step is sent from there or received there.
        width = len(self.ends)  # above every block, so that step · width + block is unique
        sent_from_home = (nextents[1] == 1)[self.out.row] & ~self.fresh
        keys = np.concatenate(
            [
                recvs.step[self.into.row] * width + self.into.block,
                (sends.step[self.out.row] * width + self.out.block)[sent_from_home],
            ]
        )
        crossed = np.zeros(nrecvs, dtype=bool)
        crossed[self.into.row[repeated(keys)[: len(self.into.row)]]] = True
        through_scratch = np.concatenate(
            [recvs.reduces | (nextents[0] > 1) | crossed, (nextents[1] > 1) | self._find_copied()]
        )
        apart = self.apart[self.step]
        two_pieces = np.minimum(self.length, 2 * self.piece)
        ring = np.where(through_scratch & apart, two_pieces, self.length)
        # Messages of one step lie side by side in the scratch buffer; every step begins at 0 again.
        order = np.argsort(self.step, kind="stable")
        needed = np.where(through_scratch, ring, 0)
        total = np.append(0, np.cumsum(needed[order]))
        first_of_step = np.searchsorted(self.step[order], self.step[order])
        at = np.empty_like(self.step)
        at[order] = total[:-1] - total[first_of_step]
        self.scratch = int((at + needed).max(initial=0))
        buffer = np.full(len(at), SCRATCH)
        send_home = np.where(self.fresh[self.sent.cell], SEND, RECV)
        for ranges, cells, first, home in (
            (self.received, self.into, 0, np.full(len(self.received.cell), RECV)),
            (self.sent, self.out, nrecvs, send_home),
        ):
            message = first + cells.row[ranges.cell]
            direct = ~through_scratch[message]  # these have a single extent
            at[message[direct]] = ranges.start[direct]
            buffer[message[direct]] = home[direct]
        self.through_scratch = through_scratch
        return Flows(buffer, at, np.maximum(ring, 1))  # 1: offsets are taken modulo the ring
