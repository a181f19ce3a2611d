"""Plan: what one rank does with its memory, worked out once for a schedule and a count.

A plan is a list of instructions on three buffers: the send buffer, the receive buffer and a
scratch buffer. It copies no more than it must:

- A block lives in the send buffer until its first reduction, which reads it there and writes the
  receive buffer. So nothing is copied from one to the other beforehand; blocks that no message
  has touched are copied at the end.
- A message that is contiguous in one buffer is sent from where it lies. What is to be reduced is
  received in the scratch buffer, all else where its blocks live if nothing else needs that memory
  in the same step.
- Long messages travel in *pieces*. Two of each are under way: while one is reduced the next one
  comes. What is received is reduced while it is still in the cache, and the scratch buffer holds
  two pieces of each message and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from swing.executor.plan.instruction import Instruction, Place
from swing.executor.plan.lower import WHOLE, Lowering
from swing.executor.plan.order import RankOrder
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Plan:
    """The instructions of one rank.

    Args:
        code: (instructions, 11) the numbers of each `Instruction`, in order.
        count: elements of the vector.
        scratch: elements of the scratch buffer.
        slots: requests that are under way at the same time, at most.
    """

    code: Array
    count: int
    scratch: int
    slots: int

    @classmethod
    def of(cls, code: Sequence[Instruction], count: int, scratch: int, slots: int) -> Plan:
        """The plan of some instructions."""
        rows = [(*i[:5], *i.a, *i.b, *i.out) for i in code]
        return cls(np.array(rows, np.int64).reshape(-1, 11), count, scratch, slots)

    def __iter__(self) -> Iterator[Instruction]:
        for do, step, peer, slot, length, *places in self.code.tolist():
            a, b, out = (Place(*places[i : i + 2]) for i in (0, 2, 4))
            yield Instruction(do, step, peer, slot, length, a, b, out)


def compile_plan(order: RankOrder, count: int, in_place: bool, piece: int = WHOLE) -> Plan:
    """The plan of one rank for a vector of ``count`` elements.

    Messages between the same two ranks match in the order in which they are begun.

    Args:
        order: the rank's view of an allreduce schedule.
        count: elements of the vector; blocks, and so messages, can be empty: those are not sent.
        in_place: there is no send buffer, the vector is in the receive buffer already.
        piece: elements of a message that are sent at a time; the same on all ranks.
    """
    draft = Lowering(order, count, in_place, piece)
    return Plan(draft.code, count, draft.scratch, draft.slots)
