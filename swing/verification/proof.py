"""Proof that a schedule delivers every contribution exactly once, or the first error in it.

Blocks never mix, so each is proven separately, by one of two exact methods.

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
from swing.verification.moves import Flags, moves_of, ranks_of
from swing.verification.outcome import Report
from swing.verification.rows import read
from swing.verification.sets import prove_by_sets, words

# Blocks are proven in batches that bound the memory: each limit is 64 MB of state, and temporary
# arrays take a few times as much.
TOKENS = 2**24  # token counts (int32) per batch
WORDS = 2**23  # 64-bit words of contributor sets per batch


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
            its step, rank and block.

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
    same_bits = True
    for lo, hi in _pieces(schedule, max(1, TOKENS // p)):
        proven = _prove_by_tokens(schedule, lo, hi)
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


def _prove_by_tokens(schedule: Schedule, lo: int, hi: int) -> Flags:
    """(hi - lo,) whether tokens prove each of the blocks lo … hi - 1."""
    tokens = ranks_of(schedule.origin, schedule, lo, hi).astype(np.int32)
    total = np.where(schedule.origin[lo:hi] == ALL, schedule.torus.size, 1)
    alike = bool((total == total[0]).all())  # if so, no message needs a look-up of its total
    cells = tokens.reshape(-1)
    proven = np.ones(hi - lo, dtype=bool)
    for _, moves in moves_of(schedule, lo, hi):
        for reduces, source, target in moves:
            sent = cells[source]
            if reduces:
                # A cell that is sent twice in a step is subtracted twice, so its count falls
                # below 0.
                np.subtract.at(cells, source, sent)
                broken = (sent <= 0) | (cells[target] <= 0)
            else:
                full = total[0] if alike else total[source % (hi - lo)]
                broken = (sent != full) | (cells[target] != 0)
            np.add.at(cells, target, sent)
            proven[source[broken] % (hi - lo)] = False
        if not proven.any():
            return proven
    # A count below 0 or above the total never recovers, so checking the final counts suffices.
    proven &= (tokens.min(axis=0) >= 0) & (tokens.max(axis=0) <= total)
    incomplete = (tokens != total) & ranks_of(schedule.home, schedule, lo, hi)
    proven &= ~incomplete.any(axis=0)
    return proven
