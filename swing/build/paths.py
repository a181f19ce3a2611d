"""The paths that contributions take in a reduce-scatter: an in-tree for every block.

Each rank passes each block on once, to its *parent* in the tree of that block, after it has
received everything that passes through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from swing.schedules.schedule import Schedule
from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Paths:
    """The in-trees of a reduce-scatter of B blocks on p ranks.

    Args:
        size: (B, p) the number of contributions that pass through each rank, its own included.
        first: (B, p) the position of each rank in the depth-first order of each tree, from the home
            on.
    """

    size: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, reduce_scatter: Schedule) -> Paths:
        """Read the paths from the messages of a reduce-scatter."""
        p, nblocks = reduce_scatter.torus.size, reduce_scatter.nblocks
        size = np.ones((nblocks, p), dtype=np.int32)
        moves = []
        for step in reduce_scatter:
            row, block = step.blocks.flat()
            src, dst = step.src[row], step.dst[row]
            np.add.at(size, (block, dst), size[block, src])
            moves.append((block, src, dst))
        # From the home outwards: each rank's subtree takes the next free positions of its parent's.
        first = np.zeros_like(size)
        free = np.ones_like(size)
        for block, src, dst in reversed(moves):
            order = np.lexsort((src, dst, block))
            block, src, dst = block[order], src[order], dst[order]
            lengths = size[block, src]
            before = np.cumsum(lengths) - lengths
            same = (np.diff(block, prepend=-1) == 0) & (np.diff(dst, prepend=-1) == 0)
            group = np.maximum.accumulate(np.where(same, 0, np.arange(len(block))))
            first[block, src] = free[block, dst] + before - before[group]
            np.add.at(free, (block, dst), lengths)
            free[block, src] = first[block, src] + 1
        return cls(size, first)

    @cached_property
    def order(self) -> np.ndarray:
        """(B, p) the ranks in depth-first order of each tree."""
        return np.argsort(self.first, axis=1, kind="stable")

    def behind(self, block: Array, rank: Array) -> tuple[Array, Array]:
        """List the ranks whose contributions to each of m blocks pass through a rank.

        Returns:
            Two columns with one entry for each contribution: the index of the block, and the rank
            that contributes.
        """
        size, first = self.size[block, rank].astype(np.int64), self.first[block, rank]
        each = np.repeat(np.arange(len(block)), size)
        place = np.arange(len(each)) - (np.cumsum(size) - size - first)[each]
        origin: Array = self.order[block[each], place].astype(np.int64)
        return each, origin
