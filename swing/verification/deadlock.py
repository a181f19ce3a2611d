"""Deadlock detection for message programs: for each rank, a sequence of turns.

A turn is the messages of one rank in one step. The steps of a `Schedule` cannot deadlock, because
all ranks take them in the same order. Programs that are written by hand or read from a file can. A
deadlock is a cycle in the graph of turns that wait for each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import zip_longest

import numpy as np

from swing.checks import expect
from swing.schedules.rank import Turn
from swing.schedules.step import Message
from swing.verification.outcome import ScheduleError

_TurnId = tuple[int, int]  # a rank, and the index of one of its turns
_Posts = defaultdict[tuple[int, int], list[tuple[int, Message]]]  # (src, dst) → (turn, message)s


def deadlock(programs: Sequence[Sequence[Turn]]) -> None:
    """Check that the programs complete without buffering, or name the ranks that deadlock.

    A turn posts all its messages and completes when the matching send or receive of each has been
    posted too. The k-th send from one rank to another matches the k-th receive.

    Args:
        programs: the turns of each rank, such as ``schedule.for_rank(rank)``.

    Raises:
        ScheduleError: a send or receive without a match, a pair that disagrees on the operation or
            the blocks, or ranks that wait for each other in a circle.
    """
    for rank, turns in enumerate(programs):
        example = f"turns for rank {rank}, such as schedule.rank({rank})"
        expect(turns, Sequence, example)
        for turn in turns:
            expect(turn, Turn, example)
    sends, recvs = _Posts(list), _Posts(list)
    # `waiters[t]` are the turns that cannot complete before t has. A turn posts its messages when
    # its rank's previous turn has completed, so that is what both sides of a message wait for.
    # Index -1 stands for the start of a program.
    waiters = defaultdict[_TurnId, set[_TurnId]](set)
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
                fault = f"waits for {received[1]}, which rank {src} does not send"
                raise ScheduleError(fault, programs[dst][received[0]].step, dst)
            if received is None:
                fault = f"sends {sent[1]}, which rank {dst} does not receive"
                raise ScheduleError(fault, programs[src][sent[0]].step, src)
            (i, out), (j, into) = sent, received
            if out.op is not into.op or not np.array_equal(np.r_[out.blocks], np.r_[into.blocks]):
                fault = f"waits for {into.op.value} {into}, but is sent {out.op.value} {out}"
                fault += f" of step {programs[src][i].step}"
                raise ScheduleError(fault, programs[dst][j].step, dst)
            waiters[src, i - 1].add((dst, j))
            waiters[dst, j - 1].add((src, i))
    try:
        TopologicalSorter(waiters).prepare()
    except CycleError as error:
        circle = [(programs[rank][i].step, rank) for rank, i in error.args[1]]
        path = " → ".join(f"{rank} (step {step})" for step, rank in circle)
        raise ScheduleError(f"ranks wait in a circle: {path}", *circle[0]) from None
