"""A step: the messages that are sent at the same time, as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

import numpy as np

from swing.schedules.blocks import Blocks
from swing.torus import Array


class Op(Enum):
    """What the receiver does with a message."""

    REDUCE = "+"
    COPY = "="

    def __repr__(self) -> str:
        return f"Op.{self.name}"


class Rows(NamedTuple):
    """The columns of a step, one entry a message."""

    src: Array
    dst: Array
    blocks: Blocks
    part: Array


class LineRows(NamedTuple):
    """What one part does in a step along one dimension, the same on all its lines.

    A message goes from coordinate ``src[i]`` to ``dst[i]`` of dimension ``dim`` on every
    line, with ``sent[i]`` blocks along that dimension times ``pending[j][x_j]`` along every
    other dimension j. This is Σ d_i numbers where the table has p rows.
    """

    part: int
    dim: int
    src: Array
    dst: Array
    sent: Array
    pending: tuple[Array, ...]


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


class Message(NamedTuple):
    """One row of a schedule."""

    src: int
    dst: int
    blocks: slice | Array
    op: Op
    part: int

    def __str__(self) -> str:
        return f"{self.src}→{self.dst}:{_spell(self.blocks)}"


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
