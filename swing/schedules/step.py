"""One step of a schedule: the messages that are sent at the same time, as numpy columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from swing.schedules.blocks import BlockRange, Blocks, BlockSets, listed
from swing.torus import Array


class Op(Enum):
    """The receiver's operation on a message: reduce it into its own value, or copy it."""

    REDUCE = "+"
    COPY = "="

    def __repr__(self) -> str:
        return f"Op.{self.name}"


class Rows(NamedTuple):
    """The columns of a step, one entry per message."""

    src: Array
    dst: Array
    blocks: Blocks
    part: Array


class LineRows(NamedTuple):
    """Compact description of one part's traffic in a step along one dimension.

    Every line of nodes along dimension ``dim`` has the same messages: one from coordinate
    ``src[i]`` to coordinate ``dst[i]`` for each i. On the line through a node with coordinates x,
    that message carries ``sent[i]`` · Π ``pending[j][x_j]`` blocks, where j runs over all
    dimensions but ``dim``; ``pending[dim]`` is not used. The description takes O(Σ d_i) numbers,
    whereas the table of messages has O(p) rows.
    """

    part: int
    dim: int
    src: Array
    dst: Array
    sent: Array
    pending: tuple[Array, ...]


class Step:
    """Messages sent at the same time, each with the values that its sender had before the step.

    Args:
        op: the receivers' operation: one `Op` for all messages or an (m,) array of them.
        src, dst: (m,) sending and receiving ranks.
        blocks: the blocks of each message, by their numbers in the whole vector: `Blocks`, or a
            sequence with a slice or an ascending index array per message.
        part: (m,) the part that each message belongs to (see `Schedule`); 0 for all if None.
    """

    __slots__ = ("_make", "_only", "_rows", "line", "op")

    def __init__(
        self,
        op: Op | np.ndarray,
        src: Array,
        dst: Array,
        blocks: Blocks | Sequence[slice | Array],
        part: Array | None = None,
    ) -> None:
        self.op = op
        if not isinstance(blocks, BlockRange | BlockSets):
            blocks = listed(blocks)
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
        """Make a step whose rows are computed on first access.

        Args:
            op: the receivers' operation, as in the constructor.
            rows: computes the columns.
            line: compact description of the step's traffic, which network models read instead of
                the rows; empty if there is none.
            only: computes the messages of one part, where that is cheaper than selecting them.
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
        """The blocks of each message: ``blocks[i]`` is a slice or an index array."""
        return self.rows.blocks

    @property
    def part(self) -> Array:
        """(m,) the part that each message belongs to."""
        return self.rows.part

    def __len__(self) -> int:
        return len(self.rows.src)

    @property
    def reduces(self) -> np.ndarray:
        """(m,) whether the receiver reduces each message; it copies the others."""
        # `op` may be one operation or an array of them; np.full accepts both.
        return np.full(len(self), self.op == Op.REDUCE)

    def message(self, i: int) -> Message:
        """Return row ``i`` as a Message."""
        src, dst, blocks, part = self.rows
        op = self.op if isinstance(self.op, Op) else Op(self.op[i])
        return Message(int(src[i]), int(dst[i]), blocks[i], op, int(part[i]))

    def only(self, part: int) -> Step:
        """Select the messages of one part."""
        if self._only is not None:
            return self._only(part)

        def rows() -> Rows:
            index = np.flatnonzero(self.part == part)
            src, dst, blocks, parts = self.rows
            return Rows(src[index], dst[index], blocks.take(index), parts[index])

        op = self.op if isinstance(self.op, Op) else self.op[self.part == part]
        return Step.lazy(op, rows, tuple(row for row in self.line if row.part == part))

    def reversed(self) -> Step:
        """Send every message back, to be copied: an allgather step from a reduce-scatter step."""

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
    """One message of a schedule: a row of its table."""

    src: int
    dst: int
    blocks: slice | Array
    op: Op
    part: int

    def __str__(self) -> str:
        return f"{self.src}→{self.dst}:{_format(self.blocks)}"


def spell(messages: Iterable[Message]) -> str:
    """Write messages on one line: those to reduce after ``+``, those to copy after ``=``."""
    by_op: dict[Op, list[str]] = {}
    for message in messages:
        by_op.setdefault(message.op, []).append(str(message))
    return "  ".join("  ".join([op.value, *texts]) for op, texts in by_op.items())


def _format(blocks: slice | Array) -> str:
    if isinstance(blocks, slice):
        last = blocks.stop - 1
        return str(last) if blocks.start == last else f"{blocks.start}-{last}"
    return ",".join(map(str, blocks))
