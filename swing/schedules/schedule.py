"""A schedule is a table of messages: one row is ``src → dst : blocks``."""

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
    """What one rank does in one step."""

    step: int
    sends: tuple[Message, ...]
    recvs: tuple[Message, ...]


@dataclass(frozen=True, eq=False)
class Schedule(Sequence[Step]):
    """A sequence of steps; a step is a function of its index and never stored.

    Args:
        name: the algorithm.
        torus: who sits where.
        nblocks: blocks the vector is cut into, all parts together.
        nsteps: number of steps.
        step: the step of an index in ``range(nsteps)``.
        collective: "allreduce", "reduce_scatter" or "allgather".
        variant: which of its variants, where the algorithm has several.
        find_owner: makes ``owner``; None where no rank owns a block alone.
        parts: blocks of each part, in order; part j owns the j-th range of blocks.
        shares: (nblocks,) fraction of the vector each block is; equal if None.
        signature: steps with equal signatures move the same bytes between the same ranks.
        sync_phase: the parts meet where the phase changes. By default that is every step: lockstep.
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
        """(nblocks,) the rank that ends with (or starts from) each block alone, if any."""
        return None if self.find_owner is None else self.find_owner()

    def share(self, step: Step) -> np.ndarray:
        """(m,) fraction of the vector in every message of a step."""
        blocks = step.blocks
        if self.shares is None:
            return blocks.count / self.nblocks
        if isinstance(blocks, BlockRange):
            ends = np.concatenate([[0.0], np.cumsum(self.shares)])
            return np.asarray(ends[blocks.start + blocks.count] - ends[blocks.start])
        return np.array([self.shares[blocks[i]].sum() for i in range(len(blocks))])

    def ends(self, count: int) -> Array:
        """(nblocks + 1,) block b is the elements ends[b] … ends[b + 1] - 1 of a vector of count."""
        if self.shares is None:
            # b·count // nblocks, where the product may be too large for 64 bits
            each, rest = divmod(count, self.nblocks)
            block = np.arange(self.nblocks + 1)
            return block * each + block * rest // self.nblocks
        part = np.append(0.0, np.cumsum(self.shares))
        ends: Array = np.rint(part / part[-1] * count).astype(np.int64)
        return ends

    def unit(self, part: int) -> float | None:
        """Fraction of the vector in one block of a part; None if its blocks differ."""
        if self.shares is None:
            return 1 / self.nblocks
        first = sum(self.parts[:part])
        shares = self.shares[first : first + self.parts[part]]
        return float(shares[0]) if np.ptp(shares) == 0 else None

    def for_rank(self, rank: int) -> list[Turn]:
        """What one rank sends and receives, step by step; steps without either are left out."""
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
