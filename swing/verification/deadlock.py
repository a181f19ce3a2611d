"""deadlock: do programs of messages, one for each rank, wait for each other in a circle?

The steps of a `Schedule` cannot: all ranks take them in the same order. Programs that were
written by hand, or come from a file, can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import zip_longest

import numpy as np

from swing.schedules.schedule import Turn
from swing.schedules.step import Message
from swing.verification.proof import ScheduleError

_Turn = tuple[int, int]  # a rank, and which of its turns
_Sides = defaultdict[tuple[int, int], list[tuple[int, Message]]]  # (src, dst): turn, message


def deadlock(programs: Sequence[Sequence[Turn]]) -> None:
    """Run every rank's turns without buffers, or name the ranks that wait for each other.

    A turn posts all its messages, and ends when the other side of each is posted too. The k-th
    send from one rank to another meets the k-th receive.

    Args:
        programs: the turns of every rank, such as ``schedule.for_rank(rank)``.

    Raises:
        ScheduleError: a message without its other side, one whose sides disagree about the
            blocks, or a circle of ranks.
    """
    sends, recvs = _Sides(list), _Sides(list)
    waiters = defaultdict[_Turn, set[_Turn]](set)  # turns that end only after a turn has
    for rank, turns in enumerate(programs):
        for i, turn in enumerate(turns):
            waiters[rank, i - 1].add((rank, i))
            for message in turn.sends:
                sends[rank, message.dst].append((i, message))
            for message in turn.recvs:
                recvs[message.src, rank].append((i, message))
    for src, dst in sorted(sends.keys() | recvs.keys()):
        for sent, received in zip_longest(sends[src, dst], recvs[src, dst]):
            if sent is None:
                what = f"waits for {received[1]}, which rank {src} does not send"
                raise ScheduleError(what, programs[dst][received[0]].step, dst)
            if received is None:
                what = f"sends {sent[1]}, which rank {dst} does not receive"
                raise ScheduleError(what, programs[src][sent[0]].step, src)
            (i, out), (j, into) = sent, received
            if out.op is not into.op or not np.array_equal(np.r_[out.blocks], np.r_[into.blocks]):
                what = f"waits for {into.op.value} {into}, and is sent {out.op.value} {out}"
                what += f" of step {programs[src][i].step}"
                raise ScheduleError(what, programs[dst][j].step, dst)
            waiters[src, i - 1].add((dst, j))
            waiters[dst, j - 1].add((src, i))
    try:
        TopologicalSorter(waiters).prepare()
    except CycleError as error:
        circle = [(programs[rank][i].step, rank) for rank, i in error.args[1]]
        what = " → ".join(f"{rank} (step {step})" for step, rank in circle)
        raise ScheduleError(f"ranks wait in a circle: {what}", *circle[0]) from None
