"""Proof by sets: the contributors of every value, and its tree of sums, step by step.

This is the second method of `swing.verification.proof`, which describes it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swing.schedules.schedule import Schedule
from swing.torus import Array
from swing.verification.moves import Move, moves_of, ranks_of
from swing.verification.outcome import ScheduleError


def words(p: int) -> int:
    """Return the number of 64-bit words in a set of ranks."""
    return -(-p // 64)


def prove_by_sets(schedule: Schedule, lo: int, hi: int) -> bool:
    """Prove the blocks lo … hi - 1, or raise; return whether all ranks have equal trees of sums."""
    p, width, rank = schedule.torus.size, hi - lo, schedule.torus.ranks
    word, bit = rank // 64, np.uint64(1) << (rank % 64).astype(np.uint64)
    # `sets`, `trees` and `lowest` have one entry per cell; `by_rank` and `tree` are views of the
    # first two with axes (rank, block).
    by_rank = np.zeros((p, width, words(p)), dtype=np.uint64)
    by_rank[rank, :, word] = bit[:, None] * ranks_of(schedule.origin, schedule, lo, hi)
    full = np.bitwise_or.reduce(by_rank)
    tree = np.repeat(rank[:, None], width, axis=1)
    sets, trees = by_rank.reshape(p * width, -1), tree.reshape(-1)
    lowest = trees.copy()  # the lowest contributor of each value
    sums = np.zeros(0, dtype=np.int64)  # the table of trees, see `_add`
    partial: dict[int, ScheduleError] = {}  # for each block, the first copy of an incomplete value

    def fault(what: str, s: int, cell: int) -> ScheduleError:
        return ScheduleError(what, s, int(cell // width), int(lo + cell % width))

    def first_of(contributors: np.ndarray) -> str:
        return f"the contribution of rank {np.flatnonzero(contributors[word] & bit)[0]}"

    for s, moves in moves_of(schedule, lo, hi):
        # All messages of a step carry the values from before it, so read these before any write.
        before = [(sets[source], trees[source], lowest[source]) for _, source, _ in moves]
        for (reduces, source, target), (sent, terms, keys) in zip(moves, before, strict=True):
            if not reduces:
                for cell in _written_twice(target, moves)[:1]:
                    raise fault("is overwritten and received again in the same step", s, cell)
                sets[target], trees[target], lowest[target] = sent, terms, keys
                lacking = full[source % width] & ~sent
                short = np.flatnonzero(lacking.any(axis=1))
                for i in short[np.unique(source[short] % width, return_index=True)[1]]:
                    # The copy of a partial sum is an error only if the block ends incomplete.
                    what = f"is copied on without {first_of(lacking[i])}"
                    partial.setdefault(int(source[i] % width), fault(what, s, source[i]))
                continue
            for cell in source[~sent.any(axis=1)][:1]:
                raise fault("sends a message to reduce, but has no value of the block", s, cell)
            for cell in target[~sets[target].any(axis=1)][:1]:
                raise fault("receives a message to reduce, but has nothing to add it to", s, cell)
            for rows in _distinct_targets(target):
                cells = target[rows]
                both = sets[cells] & sent[rows]
                for i in np.flatnonzero(both.any(axis=1))[:1]:
                    raise fault(f"receives {first_of(both[i])} a second time", s, cells[i])
                sets[cells] |= sent[rows]
            sums = _reduce_in_order(sums, trees, lowest, target, terms, keys, p)

    homes = ranks_of(schedule.home, schedule, lo, hi)
    wrong = (by_rank != full).any(axis=2) & homes
    # If a partial sum was copied, that copy explains more than the incomplete end does.
    for block, error in partial.items():
        if wrong[:, block].any():
            raise error
    for cell in np.flatnonzero(wrong)[:1]:
        lacking = full[cell % width] & ~sets[cell]
        raise fault(f"ends without {first_of(lacking)}", schedule.nsteps - 1, cell)
    first_home = tree[homes.argmax(axis=0), np.arange(width)]
    return bool(((tree == first_home) | ~homes).all())


def _written_twice(copied: Array, moves: list[Move]) -> Array:
    """Return the cells that are copied to and written once more in the same step."""
    cell, count = np.unique(np.concatenate([move.target for move in moves]), return_counts=True)
    return np.intersect1d(copied, cell[count > 1])


def _distinct_targets(target: Array) -> Iterator[Array]:
    """Split the rows, in order, into groups in which no target occurs twice."""
    remaining = np.arange(len(target))
    while len(remaining):
        first = np.unique(target[remaining], return_index=True)[1]
        yield remaining[first]
        remaining = np.delete(remaining, first)


def _reduce_in_order(
    sums: Array, trees: Array, lowest: Array, target: Array, terms: Array, keys: Array, p: int
) -> Array:
    """Reduce the values received in a step into the trees, in place; return the extended ``sums``.

    A cell's own value and all values that it receives are added from left to right in ascending
    order of their lowest contributors (``lowest`` and ``keys``), as the executor does.
    """
    cells = np.unique(target)
    cell = np.concatenate([cells, target])
    term, key = np.concatenate([trees[cells], terms]), np.concatenate([lowest[cells], keys])
    order = np.lexsort((key, cell))
    cell, term = cell[order], term[order]
    start = np.unique(cell, return_index=True)[1]
    lowest[cells] = key[order[start]]
    trees[cells] = term[start]
    length = np.diff(np.append(start, len(cell)))
    for i in range(1, int(length.max(initial=0))):
        longer = np.flatnonzero(length > i)  # cells that have an i-th further term
        sums, trees[cells[longer]] = _add(sums, trees[cells[longer]], term[start[longer] + i], p)
    return sums


def _add(sums: Array, a: Array, b: Array, p: int) -> tuple[Array, Array]:
    """Number the trees a + b so that equal trees have equal numbers; return the extended ``sums``.

    Tree r < p is rank r's contribution; tree p + i is the sum of the two trees in ``sums[i]``, the
    smaller number in the upper 32 bits.
    """
    keys = np.concatenate([sums, np.minimum(a, b) << 32 | np.maximum(a, b)])
    _, first, key = np.unique(keys, return_index=True, return_inverse=True)
    order = np.sort(first)  # the sums already in the table come first and keep their numbers
    return keys[order], p + np.searchsorted(order, first)[key[len(sums) :]]
