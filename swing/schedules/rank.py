"""The messages of one rank in all steps of a schedule.

A `Step` lists the messages of all ranks. To run a schedule, a rank needs only its own messages, but
in all steps. `filtered` selects them from the steps, for which it reads every row: on a ring, p
rows in each of p - 1 steps. Therefore a `swing.schedules.body.Body` may also compute the messages
of one rank directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from swing.schedules.blocks import Blocks
from swing.schedules.step import Message, Op, Step, abridge, spell
from swing.torus import Array


class ReductionKeys(NamedTuple):
    """Sort keys of the two operands of every message.

    Within a step, a rank reduces its own value and all values that it receives in ascending order
    of their keys. On all ranks that reduce the same values the keys put them in the same order, so
    these ranks get the same bits.

    Args:
        mine: (m,) the key of the rank's own value.
        theirs: (m,) the key of the peer's value.
    """

    mine: Array
    theirs: Array


class MessageTable(NamedTuple):
    """The messages that one rank sends, or those it receives: one row per message, ordered by step.

    Args:
        step: (m,) index of the step.
        peer: (m,) rank at the other end.
        reduces: (m,) whether the receiver reduces the message; otherwise it copies it.
        blocks: the blocks of each message.
        part: (m,) the part that each message belongs to.
        keys: the sort keys, which matter for messages that the rank receives and reduces. None if
            the schedule does not compute them; then the executor computes them from all steps.
    """

    step: Array
    peer: Array
    reduces: NDArray[np.bool_]
    blocks: Blocks
    part: Array
    keys: ReductionKeys | None = None

    def take(self, rows: Array) -> MessageTable:
        """Select the messages with the given row numbers."""
        return MessageTable(
            self.step[rows], self.peer[rows], self.reduces[rows], self.blocks.take(rows),
            self.part[rows],
            None if self.keys is None else ReductionKeys(*(key[rows] for key in self.keys)),
        )  # fmt: skip

    @classmethod
    def merge(cls, tables: Sequence[MessageTable]) -> MessageTable:
        """Merge tables, ordered by step; within a step, messages keep the order of the tables."""
        if len(tables) == 1:
            return tables[0]
        if not tables:
            none = np.zeros(0, dtype=np.int64)
            no_keys = ReductionKeys(none, none)
            return cls(none, none, none.astype(bool), Blocks(none, none), none, no_keys)
        step, peer, reduces, blocks, part, each = zip(*tables, strict=True)
        steps, peers, flags, parts = map(np.concatenate, (step, peer, reduces, part))
        keys = None
        if None not in each:
            keys = ReductionKeys(*map(np.concatenate, zip(*each, strict=True)))
        merged = cls(steps, peers, flags, Blocks.join(blocks), parts, keys)
        order = np.argsort(steps, kind="stable")
        # `take` makes arbitrary block sets slower to read, so skip it if the rows are in order.
        return merged if (order[1:] > order[:-1]).all() else merged.take(order)


class Turn(NamedTuple):
    """The messages of one rank in one step."""

    step: int
    sends: tuple[Message, ...]
    recvs: tuple[Message, ...]

    def __str__(self) -> str:
        return spell(self.sends + self.recvs, abridged=True)

    def __repr__(self) -> str:
        return f"<step {self.step}: {len(self.sends)} messages out, {len(self.recvs)} in>"


@dataclass(frozen=True, eq=False)
class RankMessages(Sequence[Turn]):
    """All messages that one rank sends and receives: a sequence of turns, and two tables.

    Steps in which the rank is idle have no turn.

    >>> import swing
    >>> ring = swing.schedule("ring", swing.Torus(4), collective="reduce_scatter")
    >>> mine = ring.rank(0)
    >>> mine.sends.blocks.starts.tolist(), mine.recvs.blocks.starts.tolist()
    ([3, 2, 1], [2, 1, 0])
    >>> print(mine)
    0 +  0→1:3  3→0:2
    1 +  0→1:2  3→0:1
    2 +  0→1:1  3→0:0
    """

    rank: int
    sends: MessageTable
    recvs: MessageTable

    @classmethod
    def merge(cls, each: Sequence[RankMessages]) -> RankMessages:
        """Merge the messages of one rank, ordered by step."""
        return cls(
            each[0].rank,
            MessageTable.merge([messages.sends for messages in each]),
            MessageTable.merge([messages.recvs for messages in each]),
        )

    def later(self, steps: int) -> RankMessages:
        """Delay every message by a number of steps."""
        sends, recvs = (t._replace(step=t.step + steps) for t in (self.sends, self.recvs))
        return RankMessages(self.rank, sends, recvs)

    def at(self, steps: Array) -> RankMessages:
        """Move the messages of every step s to step ``steps[s]``; the steps stay in order."""
        sends, recvs = (t._replace(step=steps[t.step]) for t in (self.sends, self.recvs))
        return RankMessages(self.rank, sends, recvs)

    def place(self, part: int, first_block: int) -> RankMessages:
        """Assign all messages to one part of a longer vector, at the block ``first_block``."""

        def moved(table: MessageTable) -> MessageTable:
            parts, offsets = (np.full_like(table.step, value) for value in (part, first_block))
            return table._replace(blocks=table.blocks.shift(offsets), part=parts)

        return RankMessages(self.rank, moved(self.sends), moved(self.recvs))

    def reversed(self, nsteps: int, flip: bool) -> RankMessages:
        """Turn every message round, and run the ``nsteps`` steps from the last to the first.

        With ``flip``, messages that were reduced are copied, and those that were copied reduced.
        """

        def back(table: MessageTable) -> MessageTable:
            step = nsteps - 1 - table.step
            turned = table._replace(step=step, reduces=table.reduces ^ flip)
            return turned.take(np.argsort(step, kind="stable"))

        return RankMessages(self.rank, back(self.recvs), back(self.sends))

    @cached_property
    def _turns(self) -> tuple[Turn, ...]:
        sends = _by_step(self.rank, self.sends, sends=True)
        recvs = _by_step(self.rank, self.recvs, sends=False)
        return tuple(
            Turn(s, tuple(sends.get(s, ())), tuple(recvs.get(s, ())))
            for s in sorted(sends.keys() | recvs.keys())
        )

    def __len__(self) -> int:
        return len(self._turns)

    @overload
    def __getitem__(self, i: int) -> Turn: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Turn]: ...
    def __getitem__(self, i: int | slice) -> Turn | Sequence[Turn]:
        return self._turns[i]

    def __str__(self) -> str:
        width = max((len(str(turn.step)) for turn in self), default=0)
        return "\n".join(abridge(self, lambda turn: f"{turn.step:{width}} {turn}"))

    def __repr__(self) -> str:
        return f"<rank {self.rank}: {len(self.sends.step)} messages out, {len(self.recvs.step)} in>"


def _by_step(rank: int, table: MessageTable, sends: bool) -> dict[int, list[Message]]:
    by_step: dict[int, list[Message]] = {}
    for i, (step, peer) in enumerate(zip(table.step.tolist(), table.peer.tolist(), strict=True)):
        src, dst = (rank, peer) if sends else (peer, rank)
        op = Op.REDUCE if table.reduces[i] else Op.COPY
        message = Message(src, dst, table.blocks[i], op, int(table.part[i]))
        by_step.setdefault(step, []).append(message)
    return by_step


def filtered(steps: Iterable[Step], rank: int) -> RankMessages:
    """Select the messages of one rank from all steps, every row of which is read.

    The sort keys are the ranks themselves. These suffice where only one rank computes each sum.
    """
    sends: list[MessageTable] = []
    recvs: list[MessageTable] = []
    for s, step in enumerate(steps):
        ends = (sends, step.src, step.dst), (recvs, step.dst, step.src)
        for tables, mine, peers in ends:
            rows = np.flatnonzero(mine == rank)
            if len(rows):
                peer = peers[rows]
                tables.append(
                    MessageTable(
                        np.full_like(rows, s), peer, step.reduces[rows], step.blocks.take(rows),
                        step.part[rows], ReductionKeys(np.full_like(rows, rank), peer),
                    )
                )  # fmt: skip
    return RankMessages(rank, MessageTable.merge(sends), MessageTable.merge(recvs))
