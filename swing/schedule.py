"""A schedule is a table of messages: one row is ``src → dst : blocks``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from swing.torus import Array, Torus


class Op(Enum):
    """What the receiver does with a message."""

    REDUCE = "+"
    COPY = "="

    def __repr__(self) -> str:
        return f"Op.{self.name}"


@dataclass(frozen=True, eq=False)
class BlockRange:
    """The blocks ``start[i] … start[i] + count[i] - 1`` of each message i: contiguous."""

    start: Array
    count: Array

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, i: int) -> slice:
        start = int(self.start[i])
        return slice(start, start + int(self.count[i]))

    def take(self, rows: Array) -> BlockRange:
        """The blocks of some of the messages."""
        return BlockRange(self.start[rows], self.count[rows])

    def shift(self, offset: int) -> BlockRange:
        """The same blocks, renumbered by an offset."""
        return BlockRange(self.start + offset, self.count) if offset else self


@dataclass(frozen=True, eq=False)
class BlockSets:
    """Any blocks: ``count[i]`` at hand, ``members(i)`` (distinct, ascending) on demand."""

    count: Array
    members: Callable[[int], Array]

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, i: int) -> slice | Array:
        found = self.members(i)
        lo, hi = int(found[0]), int(found[-1]) + 1
        return slice(lo, hi) if hi - lo == len(found) else found

    def take(self, rows: Array) -> BlockSets:
        """The blocks of some of the messages."""
        return BlockSets(self.count[rows], lambda i: self.members(int(rows[i])))

    def shift(self, offset: int) -> BlockSets:
        """The same blocks, renumbered by an offset."""
        return BlockSets(self.count, lambda i: self.members(i) + offset) if offset else self


Blocks = BlockRange | BlockSets


def one_block(index: Array) -> BlockRange:
    """Message i carries the single block ``index[i]``."""
    return BlockRange(index, np.ones_like(index))


def join(tables: Sequence[Blocks]) -> Blocks:
    """The blocks of several tables, one below the other."""
    if len(tables) == 1:
        return tables[0]
    count = np.concatenate([t.count for t in tables])
    if all(isinstance(t, BlockRange) for t in tables):
        return BlockRange(np.concatenate([t.start for t in tables]), count)  # type: ignore[union-attr]
    first = np.cumsum([0] + [len(t) for t in tables])

    def members(i: int) -> Array:
        t = int(np.searchsorted(first, i, side="right")) - 1
        found = tables[t][i - int(first[t])]
        return np.arange(found.start, found.stop) if isinstance(found, slice) else found

    return BlockSets(count, members)


class Rows(NamedTuple):
    """The columns of a step, one entry a message."""

    src: Array
    dst: Array
    blocks: Blocks
    part: Array


class LineRows(NamedTuple):
    """What one part does in a step along one dimension, the same on all its lines.

    A message goes from coordinate ``src[i]`` to ``dst[i]`` of dimension ``dim`` on every
    line, with ``sent[i]`` blocks along that dimension times ``held[j][x_j]`` along every
    other dimension j. This is Σ d_i numbers where the table has p rows.
    """

    part: int
    dim: int
    src: Array
    dst: Array
    sent: Array
    held: tuple[Array, ...]


class Step:
    """The messages that are sent at the same time; each carries the state before the step.

    Args:
        op: what receivers do, one `Op` for all messages or an array of them.
        src, dst: (m,) ranks.
        blocks: the blocks each message carries, global indices.
        part: (m,) the part (port) each message belongs to; 0 if absent.
    """

    __slots__ = ("_make", "_only", "_rows", "line", "op")

    def __init__(
        self,
        op: Op | np.ndarray,
        src: Array,
        dst: Array,
        blocks: Blocks,
        part: Array | None = None,
    ) -> None:
        self.op = op
        self.line: tuple[LineRows, ...] = ()
        self._rows: Rows | None = Rows(
            src, dst, blocks, np.zeros(len(src), dtype=np.int64) if part is None else part
        )
        self._make: Callable[[], Rows] | None = None
        self._only: Callable[[int], Step] | None = None

    @classmethod
    def lazy(
        cls,
        op: Op | np.ndarray,
        rows: Callable[[], Rows],
        line: tuple[LineRows, ...],
        only: Callable[[int], Step] | None = None,
    ) -> Step:
        """A step whose rows are made when first read; ``line`` tells its traffic before.

        ``only`` makes the messages of one part, where that is less work than to find them.
        """
        step = cls.__new__(cls)
        step.op, step.line, step._make, step._rows, step._only = op, line, rows, None, only
        return step

    @property
    def rows(self) -> Rows:
        """All columns at once."""
        if self._rows is None:
            assert self._make is not None
            self._rows = self._make()
        return self._rows

    @property
    def src(self) -> Array:
        """(m,) sending ranks."""
        return self.rows.src

    @property
    def dst(self) -> Array:
        """(m,) receiving ranks."""
        return self.rows.dst

    @property
    def blocks(self) -> Blocks:
        """The blocks of every message: ``blocks[i]`` is a slice or an index array."""
        return self.rows.blocks

    @property
    def part(self) -> Array:
        """(m,) the part every message belongs to."""
        return self.rows.part

    def __len__(self) -> int:
        return len(self.rows.src)

    @property
    def reduces(self) -> np.ndarray:
        """(m,) which messages the receiver reduces; the others it copies."""
        return np.full(len(self), self.op == Op.REDUCE)

    def message(self, i: int) -> Message:
        """Row i as a value of its own."""
        src, dst, blocks, part = self.rows
        op = self.op if isinstance(self.op, Op) else Op(self.op[i])
        return Message(int(src[i]), int(dst[i]), blocks[i], op, int(part[i]))

    def only(self, part: int) -> Step:
        """The messages of one part."""
        if self._only is not None:
            return self._only(part)

        def rows() -> Rows:
            some = np.flatnonzero(self.part == part)
            src, dst, blocks, parts = self.rows
            return Rows(src[some], dst[some], blocks.take(some), parts[some])

        op = self.op if isinstance(self.op, Op) else self.op[self.part == part]
        return Step.lazy(op, rows, tuple(row for row in self.line if row.part == part))

    def reversed(self) -> Step:
        """Every message sent back, to be copied: the allgather that undoes a reduce-scatter."""

        def rows() -> Rows:
            src, dst, blocks, part = self.rows
            return Rows(dst, src, blocks, part)

        line = tuple(row._replace(src=row.dst, dst=row.src) for row in self.line)
        return Step.lazy(Op.COPY, rows, line)

    def __str__(self) -> str:
        return spell(self.message(i) for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<step of {len(self)} messages>"

    def _repr_svg_(self) -> str:
        from swing.picture import step_svg

        return step_svg(self)


class Message(NamedTuple):
    """One row of a schedule."""

    src: int
    dst: int
    blocks: slice | Array
    op: Op
    part: int

    def __str__(self) -> str:
        return f"{self.src}→{self.dst}:{_spell(self.blocks)}"


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
        pattern: steps with equal patterns move the same bytes between the same ranks.
        phase: the parts meet where the phase changes. By default that is every step: lockstep.
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
    pattern: Callable[[int], Hashable] = field(default=lambda s: s)
    phase: Callable[[int], Hashable] = field(default=lambda s: s)

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

    def _repr_html_(self) -> str:
        from swing.picture import schedule_html

        return schedule_html(self)

    def __str__(self) -> str:
        width = len(str(self.nsteps - 1))
        return "\n".join(f"{s:{width}} {step}" for s, step in enumerate(self))


def spell(messages: Iterable[Message]) -> str:
    """Messages on one line: ``+`` and those to reduce, ``=`` and those to copy."""
    by_op: dict[Op, list[str]] = {}
    for message in messages:
        by_op.setdefault(message.op, []).append(str(message))
    return "  ".join("  ".join([op.value, *texts]) for op, texts in by_op.items())


def _spell(blocks: slice | Array) -> str:
    if isinstance(blocks, slice):
        last = blocks.stop - 1
        return str(last) if blocks.start == last else f"{blocks.start}-{last}"
    return ",".join(map(str, blocks))
