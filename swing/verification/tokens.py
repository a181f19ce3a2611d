"""Proofs by holders and by tokens: one number per block, or per block and rank, step by step.

These are the first two methods of `swing.verification.proof`, which describes them.
"""

from __future__ import annotations

import numpy as np

from swing.schedules.collectives import ALL
from swing.schedules.schedule import Schedule
from swing.torus import Array
from swing.verification.moves import Flags, Move, moves_of, ranks_of


def prove_by_holders(schedule: Schedule, lo: int, hi: int) -> Flags:
    """(hi - lo,) whether following their holders proves each of the blocks lo … hi - 1."""
    origin, home, width = schedule.origin[lo:hi], schedule.home[lo:hi], hi - lo
    proven: Flags = (origin != ALL) & (home != ALL)
    holder = origin.astype(np.int32)
    last = np.empty(width, dtype=np.int32)  # the last message that carries each block
    for _, moves in moves_of(schedule, lo, hi):
        for reduces, source, target in moves:
            sender, block = np.divmod(source, width)
            row = np.arange(len(block), dtype=np.int32)
            last[block] = row
            # A block that is sent twice in a step has no single holder after it.
            broken = (holder[block] != sender) | (last[block] != row) | reduces
            holder[block] = target // width
            proven[block[broken]] = False
    proven &= holder == home
    return proven


def prove_by_tokens(schedule: Schedule, lo: int, hi: int) -> Flags:
    """(hi - lo,) whether tokens prove each of the blocks lo … hi - 1."""
    tokens = ranks_of(schedule.origin, schedule, lo, hi).astype(np.int32)
    total = np.where(schedule.origin[lo:hi] == ALL, schedule.torus.size, 1)
    alike = bool((total == total[0]).all())  # if so, no message needs a look-up of its total
    cells = tokens.reshape(-1)
    proven = np.ones(hi - lo, dtype=bool)
    for _, moves in moves_of(schedule, lo, hi):
        for move in moves:
            full = total[0] if alike else total[move.source % (hi - lo)]
            broken = move_tokens(cells, move, full)
            proven[move.source[broken] % (hi - lo)] = False
        if not proven.any():
            return proven
    # A count below 0 or above the total never recovers, so checking the final counts suffices.
    proven &= (tokens.min(axis=0) >= 0) & (tokens.max(axis=0) <= total)
    incomplete = (tokens != total) & ranks_of(schedule.home, schedule, lo, hi)
    proven &= ~incomplete.any(axis=0)
    return proven


def move_tokens(cells: np.ndarray, move: Move, full: Array | int) -> Flags:
    """Move tokens as messages do.

    Args:
        cells: the tokens of each cell; changed.
        move: the messages.
        full: the number of tokens of a complete value; one, or one for each message.

    Returns:
        Whether each message breaks the rules of `swing.verification.proof`. A cell that is sent
        twice in a step is not told apart here, but it ends below 0.
    """
    reduces, source, target = move
    sent = cells[source]
    if reduces:
        np.subtract.at(cells, source, sent)
        broken = (sent <= 0) | (cells[target] <= 0)
    else:
        broken = (sent != full) | (cells[target] != 0)
    np.add.at(cells, target, sent)
    return broken
