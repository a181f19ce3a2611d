"""Proof that a schedule delivers every contribution exactly once, or the first error in it.

Blocks never mix, so each is proven separately, by the first of three exact methods that can.

*Holders.* A block with one origin and one home is followed on its way. Its holder is the rank that
received it last, at first its origin. If every message that carries the block is from the holder,
and the last holder is the home, then the block arrives. One number per block suffices, so that an
all-to-all among 4,096 ranks is proven with all its blocks.

*Tokens.* Every contribution is one token: a block has p tokens, one on each rank, if its origin is
`ALL`, and one token, on its origin, otherwise. A REDUCE moves all tokens of its sender to a
receiver that still has some. A COPY needs a sender with all tokens and a receiver with none, which
gets as many. No REDUCE loses or doubles a token, and a COPY moves complete sums only. A rank that
ends with all tokens therefore has every contribution once, and all complete ranks have copies of
the same sum. Bandwidth-optimal schedules obey these rules, and for them one number per rank and
block suffices.

*Sets.* A block that breaks these rules (because ranks exchange partial sums, or because of an
error) is run again. Now each value has the set of its contributors, one bit per rank, and its tree
of sums, in which a + b equals b + a. A REDUCE of overlapping sets adds a contribution twice; a set
that is not full at the end lacks one; equal trees on all ranks mean the same bits. A rank adds its
own value and all values that it receives in a step from left to right, in ascending order of their
lowest contributors: (x0 + x1) + x2 on every rank, whichever of the three is the rank's own.

Beyond `MAX_NAMED` ranks, a schedule that treats all ranks alike is proven by translation instead
(`swing.verification.translation`): its table is that of one rank, shifted over the torus.

Deadlock needs no search: a send and its receive are the same row, and all ranks take the steps in
the same order. A rank that posts all messages of a step before it waits can therefore only wait
for ranks in earlier steps. `swing.deadlock` checks programs that do not come from a schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from swing.schedules.collectives import ALL
from swing.schedules.schedule import Schedule, expect_schedule
from swing.verification.outcome import Report
from swing.verification.rows import check_columns, read
from swing.verification.sets import prove_by_sets, words
from swing.verification.tokens import prove_by_holders, prove_by_tokens
from swing.verification.translation import representatives

# Blocks are proven in batches that bound the memory: each limit is 64 MB of state, and temporary
# arrays take a few times as much.
TOKENS = 2**24  # token counts (int32) per batch
WORDS = 2**23  # 64-bit words of contributor sets per batch
MAX_NAMED = 4096
"""Most ranks among which every block is proven by itself, even if all ranks are alike."""


def verify(schedule: Schedule, tell: Callable[[str, int, int], object] | None = None) -> Report:
    """Prove a schedule correct, or raise the first error in it.

    The contributions to every block, which come from its origin (one rank, or all), must arrive
    exactly once at its home (one rank, or all). This rule covers every collective: an allreduce
    brings the contributions of all ranks to all ranks, and an allgather brings every block from one
    rank to all.

    Args:
        schedule: any schedule; its whole table of messages is checked.
        tell: called now and then with what is under way, the blocks that are proven, and all
            blocks.

    Returns:
        The properties of the schedule.

    Raises:
        ScheduleError: an invalid message, or a contribution that is missing or added twice, with
            its step, rank and block. If ranks are alike, beyond `MAX_NAMED` of them, the block is
            numbered as in `swing.verification.translation.representatives`.

    >>> import swing
    >>> print(verify(swing.schedule("swing", swing.Torus((2, 4)))))
    every contribution arrives exactly once
    same bits on every rank: yes
    6 steps, 192 messages, each one slice
    at most 4 out of a rank and 4 in at the same time
    blocks sent by a rank: 56
    """
    expect_schedule(schedule)
    report = read(schedule)
    p = schedule.torus.size
    batch = max(1, WORDS // (p * words(p)))
    one = representatives(schedule) if p > MAX_NAMED else None
    if one is not None:
        return replace(report, same_bits=verify(one).same_bits)
    check_columns(schedule)
    same_bits = True
    cells = max(1, TOKENS // p)
    followed = ALL not in (schedule.origin.constant, schedule.home.constant)
    for lo, hi in _pieces(schedule, TOKENS if followed else cells):
        proven = np.zeros(hi - lo, dtype=bool)
        if followed:
            proven = prove_by_holders(schedule, lo, hi)
        for first in range(lo, hi, cells):
            last = min(first + cells, hi)
            if not proven[first - lo : last - lo].all():
                proven[first - lo : last - lo] |= prove_by_tokens(schedule, first, last)
        for first in range(lo, hi, batch):
            last = min(first + batch, hi)
            if not proven[first - lo : last - lo].all():
                same_bits &= prove_by_sets(schedule, first, last)
            if tell is not None:
                tell("proving blocks", last, schedule.nblocks)
    return replace(report, same_bits=same_bits)


def _pieces(schedule: Schedule, size: int) -> Iterator[tuple[int, int]]:
    """Split the blocks into ranges of at most ``size``; if several, each is within one part."""
    ends = np.cumsum((0, *schedule.parts)).tolist()
    for lo, hi in pairwise(ends if schedule.nblocks > size else (0, schedule.nblocks)):
        for first in range(lo, hi, size):
            yield first, min(first + size, hi)
