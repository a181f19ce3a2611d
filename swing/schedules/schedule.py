"""A communication schedule as a table of messages: one row is ``src → dst : blocks``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from swing.schedules.blocks import BlockRange
from swing.schedules.step import Message, Step
from swing.torus import Array, Torus


class Turn(NamedTuple):
    """The messages of one rank in one step."""

    step: int
    sends: tuple[Message, ...]
    recvs: tuple[Message, ...]


@dataclass(frozen=True, eq=False)
class Schedule(Sequence[Step]):
    """A sequence of steps, each computed from its index when it is read and never stored.

    Args:
        name: the algorithm.
        torus: the ranks and their coordinates.
        nblocks: number of blocks that the vector is cut into, in all parts together.
        nsteps: number of steps.
        step: maps an index in ``range(nsteps)`` to a Step.
        collective: "allreduce", "reduce_scatter" or "allgather".
        variant: variant of the algorithm, empty if there is only one.
        find_owner: computes `owner`; None where blocks have no single owner.
        parts: number of blocks of each part, a range of blocks with messages of its own (such as
            one part per port of a node). Part j has the j-th range. One part of all blocks if
            empty.
        shares: (nblocks,) fraction of the vector in each block; equal if None.
        signature: maps a step index to a key. Steps with equal keys move the same number of bytes
            between the same ranks.
        sync_phase: maps a step index to a key. The parts synchronise where the key changes; by
            default every step has its own key, so the parts run in lockstep.
    """

    name: str
    torus: Torus
    nblocks: int
    nsteps: int
    step: Callable[[int], Step]
    collective: str = "allreduce"
    variant: str = ""
    find_owner: Callable[[], Array] | None = None
    parts: tuple[int, ...] = ()
    shares: np.ndarray | None = None
    signature: Callable[[int], Hashable] = field(default=lambda s: s)
    sync_phase: Callable[[int], Hashable] = field(default=lambda s: s)

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", (self.nblocks,))

    def __len__(self) -> int:
        return self.nsteps

    @overload
    def __getitem__(self, s: int) -> Step: ...
    @overload
    def __getitem__(self, s: slice) -> Sequence[Step]: ...
    def __getitem__(self, s: int | slice) -> Step | Sequence[Step]:
        if isinstance(s, slice):
            return [self.step(i) for i in range(*s.indices(self.nsteps))]
        if not -self.nsteps <= s < self.nsteps:
            raise IndexError(f"step {s} of a schedule of {self.nsteps} steps")
        return self.step(s % self.nsteps)

    def __iter__(self) -> Iterator[Step]:
        return (self.step(s) for s in range(self.nsteps))

    @cached_property
    def owner(self) -> Array | None:
        """(nblocks,) rank that ends with each block, or starts with it in an allgather; or None."""
        return None if self.find_owner is None else self.find_owner()

    def share(self, step: Step) -> np.ndarray:
        """(m,) fraction of the vector in each message of a step."""
        blocks = step.blocks
        if self.shares is None:
            return blocks.count / self.nblocks
        if isinstance(blocks, BlockRange):
            ends = np.concatenate([[0.0], np.cumsum(self.shares)])
            return np.asarray(ends[blocks.start + blocks.count] - ends[blocks.start])
        return np.array([self.shares[blocks[i]].sum() for i in range(len(blocks))])

    def ends(self, count: int) -> Array:
        """(nblocks + 1,) boundaries of the blocks in a vector of ``count`` elements.

        Block b has the elements ``ends[b] … ends[b + 1] - 1``.
        """
        if self.shares is None:
            # This is b * count // nblocks without that product, which may not fit into 64 bits.
            quotient, remainder = divmod(count, self.nblocks)
            block = np.arange(self.nblocks + 1)
            return block * quotient + block * remainder // self.nblocks
        fractions = np.append(0.0, np.cumsum(self.shares))
        ends: Array = np.rint(fractions / fractions[-1] * count).astype(np.int64)
        return ends

    def unit(self, part: int) -> float | None:
        """Fraction of the vector in one block of a part; None if its blocks differ in size."""
        if self.shares is None:
            return 1 / self.nblocks
        first = sum(self.parts[:part])
        shares = self.shares[first : first + self.parts[part]]
        return float(shares[0]) if np.ptp(shares) == 0 else None

    def for_rank(self, rank: int) -> list[Turn]:
        """List the messages of one rank step by step; steps in which it is idle are left out.

        Raises:
            ValueError: a rank that is not on the torus.
        """
        if rank not in range(self.torus.size):
            raise ValueError(f"rank {rank} is not on the torus {self.torus}")
        turns = []
        for s, step in enumerate(self):
            sends, recvs = np.flatnonzero(step.src == rank), np.flatnonzero(step.dst == rank)
            if len(sends) or len(recvs):
                turns.append(
                    Turn(
                        s,
                        tuple(step.message(int(i)) for i in sends),
                        tuple(step.message(int(i)) for i in recvs),
                    )
                )
        return turns

    def __repr__(self) -> str:
        return (
            f"<{self.collective} {self.name} on {self.torus}: "
            f"{self.nsteps} steps, {self.nblocks} blocks, {len(self.parts)} parts>"
        )

    def __str__(self) -> str:
        width = len(str(self.nsteps - 1))
        return "\n".join(f"{s:{width}} {step}" for s, step in enumerate(self))
