"""All messages of a schedule as columns, with the keys by which their receivers reduce them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from swing.executor.plan.order import rank_orders
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.torus import Array


class Messages(NamedTuple):
    """All messages of a schedule, ordered by step and part, and the blocks of each.

    Args:
        step, part, src, dst: (m,) columns of the messages.
        reduces: (m,) whether the receiver reduces a message.
        counts: (m,) the number of blocks of each.
        block: (Σ counts,) the blocks, message by message.
        mine, theirs: (Σ counts,) the reduction keys of the receiver's and of the sender's value.
    """

    step: Array
    part: Array
    src: Array
    dst: Array
    reduces: np.ndarray
    counts: Array
    block: Array
    mine: Array
    theirs: Array

    @classmethod
    def of(cls, schedule: Schedule) -> Messages:
        """List the messages of a schedule, as their receivers see them."""
        orders = rank_orders(schedule, schedule.torus.ranks.tolist())
        recvs = [order.messages.recvs for order in orders]
        blocks = Blocks.join([table.blocks for table in recvs])
        columns = (
            np.concatenate([getattr(table, name) for table in recvs])
            for name in ("step", "part", "peer", "reduces")
        )
        step, part, src, reduces = columns
        dst = np.repeat(np.arange(len(recvs)), [len(table.step) for table in recvs])
        mine, theirs = (np.concatenate(c) for c in zip(*(o.keys for o in orders), strict=True))
        all_ = cls(step, part, src, dst, reduces, blocks.counts, blocks.flat()[1], mine, theirs)
        return all_.take(np.lexsort((dst, part, step)))

    def take(self, rows: Array) -> Messages:
        """Select messages by their row numbers."""
        counts = self.counts[rows]
        first = (np.cumsum(self.counts) - self.counts)[rows]
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        cells = np.repeat(first, counts) + nth
        return Messages(
            self.step[rows], self.part[rows], self.src[rows], self.dst[rows], self.reduces[rows],
            counts, self.block[cells], self.mine[cells], self.theirs[cells],
        )  # fmt: skip

    def slices(self) -> Iterator[tuple[int, int, Messages]]:
        """Yield step, part and messages of each step and part that has any."""
        change = (np.diff(self.step) != 0) | (np.diff(self.part) != 0)
        first = np.flatnonzero(np.append(True, change))[: len(self.step)]
        last = np.append(first[1:], len(self.step))
        cells = np.append(0, np.cumsum(self.counts))
        for lo, hi in zip(first.tolist(), last.tolist(), strict=False):
            flat = slice(int(cells[lo]), int(cells[hi]))
            yield (
                int(self.step[lo]),
                int(self.part[lo]),
                Messages(
                    *(column[lo:hi] for column in self[:6]), *(column[flat] for column in self[6:])
                ),
            )
