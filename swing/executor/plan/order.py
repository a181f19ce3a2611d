"""Reduction order: the order in which a rank reduces its own value and the values it receives.

Ranks that exchange their partial sums must compute the same bits, but the result can depend on the
order of the operands: numpy's maximum of 0.0 and -0.0 is the second operand. So the values that a
rank receives in one step, and its own value, are reduced in ascending order of their *reduction
keys*. Two partial sums of the same contributions have the same key on every rank: the lowest
contributing rank, or a number that the schedule supplies (``keys`` of
`swing.schedules.rank.MessageTable`). `swing.verification.proof` proves that all ranks then get the
same bits.

Nothing here depends on the length of the vector, so one order serves the plans of all lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swing.schedules.rank import RankMessages, ReductionKeys
from swing.schedules.schedule import Schedule


class RankOrder(NamedTuple):
    """One rank's messages, and the order in which it reduces what it receives.

    Args:
        schedule: the schedule; an allreduce, a reduce-scatter or an allgather.
        messages: the messages that the rank sends and receives.
        keys: the reduction keys of the blocks that it receives, message by message.
    """

    schedule: Schedule
    messages: RankMessages
    keys: ReductionKeys

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays, for lists of blocks an estimate."""
        tables = self.messages.sends, self.messages.recvs
        listed = sum(int(t.blocks.counts.sum()) for t in tables if t.blocks.starts is None)
        return 8 * (listed + len(self.keys.mine) * 2 + 8 * sum(len(t.step) for t in tables))


def rank_order(schedule: Schedule, rank: int) -> RankOrder:
    """The messages of one rank and their reduction keys: `rank_orders` for one rank."""
    return rank_orders(schedule, [rank])[0]


def rank_orders(schedule: Schedule, ranks: Sequence[int]) -> list[RankOrder]:
    """The messages of several ranks and their reduction keys.

    It costs one pass over the whole schedule, in O(ranks · nblocks) memory, if every rank may
    compute the same sums and the schedule supplies no keys.
    """
    each = [schedule.rank(rank) for rank in ranks]
    without = [m.rank for m in each if m.recvs.keys is None] if schedule.is_allreduce else []
    lowest = _lowest_contributors(schedule, without) if without else {}
    return [RankOrder(schedule, m, lowest.get(m.rank) or _by_block(m)) for m in each]


def _by_block(messages: RankMessages) -> ReductionKeys:
    """The keys of the schedule, of which all blocks of a message share one."""
    recvs = messages.recvs
    # If a block has one home, its sum is computed once, so any fixed order will do. Otherwise the
    # schedule's keys agree between ranks.
    keys = recvs.keys or (np.full_like(recvs.peer, messages.rank), recvs.peer)
    return ReductionKeys(*(np.repeat(key, recvs.blocks.counts) for key in keys))


def _lowest_contributors(schedule: Schedule, ranks: Sequence[int]) -> dict[int, ReductionKeys]:
    """The lowest rank among the contributions to each partial sum that each of ``ranks`` reduces.

    A key belongs to a block of a message, in the order in which a rank receives these.
    """
    # lowest[r, b]: the lowest rank whose contribution to block b is in rank r's partial sum.
    lowest = np.repeat(schedule.torus.ranks[:, None], schedule.nblocks, axis=1)
    # np.concatenate needs one array at least, even if the schedule has no steps.
    none = ReductionKeys(np.zeros(0, np.int64), np.zeros(0, np.int64))
    keys = {rank: [none] for rank in ranks}
    for step in schedule:
        row, block = step.blocks.flat()
        # Indexing copies: every message of the step carries the value from before the step.
        theirs, dst = lowest[step.src[row], block], step.dst[row]
        mine = lowest[dst, block]
        for rank in ranks:
            is_mine = dst == rank
            keys[rank].append(ReductionKeys(mine[is_mine], theirs[is_mine]))
        reduced = step.reduces[row]
        copied = ~reduced
        lowest[dst[copied], block[copied]] = theirs[copied]
        # A rank may receive a block several times in a step; plain indexing would keep one of them.
        np.minimum.at(lowest, (dst[reduced], block[reduced]), theirs[reduced])
    return {
        rank: ReductionKeys(*map(np.concatenate, zip(*each, strict=True)))
        for rank, each in keys.items()
    }
