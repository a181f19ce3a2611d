"""Trees of ranks, along which the chunks of a vector follow each other: reduce, and its reverse."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from swing.schedules.blocks import one_block
from swing.schedules.body import Body
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array, Torus


@dataclass(frozen=True, eq=False)
class Pipeline(Body):
    """Chunks that take the same messages towards the root of a tree, one step after each other.

    Args:
        src, dst: (p - 1,) the messages of one chunk, ordered by step.
        when: (p - 1,) the step of each message, for the first chunk.
        length: number of steps of one chunk.
        chunks: number of chunks; each is a block.
    """

    src: Array
    dst: Array
    when: Array
    length: int
    chunks: int

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.length + self.chunks - 1 if self.length else 0

    def step(self, s: int) -> Step:
        # Chunk i is i steps behind the first one.
        lo, hi = np.searchsorted(self.when, [s - self.chunks + 1, s + 1])
        rows = np.arange(lo, hi)
        return Step(True, self.src[rows], self.dst[rows], one_block(s - self.when[rows]))

    def signature(self, s: int) -> Hashable:
        # While all chunks are under way, every step has the same messages.
        full = self.length - 1 <= s < self.chunks
        return ("full",) if full else s


def reduce_to_root(
    name: str, torus: Torus, root: int, src: Array, dst: Array, when: Array, chunks: int
) -> Schedule:
    """Make a reduce along a tree.

    Args:
        name: the algorithm.
        torus: the ranks.
        root: the root of the tree.
        src: (p - 1,) the other ranks.
        dst: (p - 1,) their parents.
        when: (p - 1,) the step in which each rank sends, after all its children.
        chunks: number of chunks that the vector is cut into.
    """
    order = np.argsort(when, kind="stable")
    length = int(when.max(initial=-1)) + 1
    body = Pipeline(src[order], dst[order], when[order], length, chunks)
    return Schedule(name, torus, chunks, body=body, home=root)


def reduce_along(reduce_scatter: Schedule, block: int, chunks: int) -> Schedule:
    """Make the reduce of a whole vector along the tree that a reduce-scatter has for one block."""
    none = np.zeros(0, dtype=np.int64)
    found = [(none, none, none)]  # np.concatenate refuses an empty list
    for s, step in enumerate(reduce_scatter):
        rows = np.flatnonzero(step.blocks.carrying(block))
        found.append((step.src[rows], step.dst[rows], np.full(len(rows), s)))
    src, dst, when = map(np.concatenate, zip(*found, strict=True))
    torus, root = reduce_scatter.torus, int(reduce_scatter.home[block])
    tree = reduce_to_root(reduce_scatter.name, torus, root, src, dst, when, chunks)
    return replace(tree, variant=reduce_scatter.variant)
