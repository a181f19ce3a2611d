"""Compile a schedule into a plan: the instructions of one rank for a vector of a given length.

A plan is a list of instructions on three buffers: the send buffer, the receive buffer and a
scratch buffer. It avoids copies:

- A block stays in the send buffer until this rank receives it for the first time. If it is reduced
  then, the reduction reads the send buffer and writes the receive buffer. So the vector is never
  copied from one to the other in advance; blocks that are never received are copied at the end.
- A message that is contiguous in one buffer is sent from that buffer without packing, unless the
  same step reduces into that memory: then a copy is sent (see `Transfers`). A message to be reduced
  is received into the scratch buffer. Any other message is received directly into the receive
  buffer, unless it is not contiguous there or another message of the same step uses that memory.
- Long messages travel in *pieces*, of which two are in flight per message: while one piece is
  reduced, the next one arrives. A piece is reduced while it is still in the cache, and the scratch
  buffer holds at most two pieces per message. Where the messages of a step overlap in part, all
  pieces are in flight at once (see `swing.executor.plan.transfers`).

A plan depends neither on the element type nor on the operation or any address:
`swing.executor.engines` binds it to these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from swing.executor.plan.instruction import ROW, Instruction, Place
from swing.executor.plan.lower import WHOLE, Lowering
from swing.executor.plan.order import RankOrder


@dataclass(frozen=True, eq=False)
class Plan:
    """The instructions of one rank.

    Args:
        code: (instructions,) the instructions in order, records of `ROW`.
        count: the number of elements of the vector.
        scratch: the number of elements of the scratch buffer.
        slots: the largest number of requests that are in flight at the same time.
    """

    code: np.ndarray
    count: int
    scratch: int
    slots: int

    @classmethod
    def of(cls, code: Sequence[Instruction], count: int, scratch: int, slots: int) -> Plan:
        """The plan that consists of the instructions ``code``."""
        rows = [(*i[:5], *i.a, *i.b, *i.out) for i in code]
        return cls(np.array(rows, ROW), count, scratch, slots)

    def __iter__(self) -> Iterator[Instruction]:
        for do, step, peer, slot, length, *places in self.code.tolist():
            a, b, out = (Place(*places[i : i + 2]) for i in (0, 2, 4))
            yield Instruction(do, step, peer, slot, length, a, b, out)


def compile_plan(order: RankOrder, count: int, in_place: bool, piece: int = WHOLE) -> Plan:
    """The plan of one rank for a vector of ``count`` elements.

    Messages between the same two ranks match in the order in which they are begun, so the plans of
    all ranks must be compiled with equal ``count`` and ``piece``.

    Args:
        order: the rank's messages and reduction keys.
        count: the number of elements of the vector. If it is below the number of blocks, some
            blocks are empty; messages without elements are not sent.
        in_place: whether the vector is in the receive buffer already, so that there is no send
            buffer.
        piece: the number of elements per piece; by default every message is one piece.
    """
    lowering = Lowering(order, count, in_place, piece)
    return Plan(lowering.code, count, lowering.scratch, lowering.slots)
