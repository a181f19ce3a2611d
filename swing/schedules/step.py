"""One step of a schedule: the messages that are sent at the same time, as numpy columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swing.checks import shown
from swing.schedules.blocks import Blocks
from swing.torus import Array

T = TypeVar("T")
MAX_SHOWN, EDGE = 24, 3
"""Most items that ``str`` writes in full, and those that it keeps at each end of a longer list."""


class Op(Enum):
    """The receiver's operation on a message: reduce it into its own value, or copy it."""

    REDUCE = "+"
    COPY = "="

    def __repr__(self) -> str:
        return f"Op.{self.name}"


class LineRows(NamedTuple):
    """Compact description of one part's traffic in a step along one dimension.

    Every line of nodes along dimension ``dim`` has the same messages: one from coordinate
    ``src[i]`` to coordinate ``dst[i]`` for each i. On the line through a node with coordinates x,
    that message carries ``sent[i]`` · Π ``pending[j][x_j]`` blocks, where j runs over all
    dimensions except ``dim``. The description takes O(Σ d_i) numbers, whereas the table of
    messages has O(p) rows.

    Args:
        part: the part that all messages belong to.
        dim: the dimension along which they go.
        src, dst: (m,) coordinates of the sender and the receiver of each message on a line.
        sent: (m,) number of blocks of each message, before the multiplication by Π.
        pending: for each dimension, the (d_i,) numbers by which its coordinates multiply the blocks
            of a message; the entry for ``dim`` is not used.
        reduces: whether the receivers reduce all of the messages; otherwise they copy all of them.
    """

    part: int
    dim: int
    src: Array
    dst: Array
    sent: Array
    pending: tuple[Array, ...]
    reduces: bool = True


class Step:
    """Messages sent at the same time, each with the values that its sender had before the step.

    Args:
        reduces: (m,) whether the receiver reduces each message into its own value; otherwise it
            replaces its value by the message. A single bool or `Op` stands for all messages, and
            an array may hold `Op` values.
        src, dst: (m,) sending and receiving ranks.
        blocks: the blocks of each message, by their numbers in the whole vector: `Blocks`, or a
            sequence with a slice or an ascending index array per message.
        part: (m,) the part that each message belongs to (see `swing.Schedule`); 0 for all if None.

    Raises:
        TypeError: ``reduces`` holds something other than bools or `Op` values.
        ValueError: a message has no blocks, or its blocks are not whole numbers.

    `swing.verify` checks everything else, such as the length of the columns.

    >>> import swing
    >>> print(swing.Step(swing.Op.COPY, src=[0, 2], dst=[1, 3], blocks=[slice(0, 2), [0, 3]]))
    =  0→1:0-1  2→3:0,3
    """

    __slots__ = ("blocks", "dst", "part", "reduces", "src")

    reduces: NDArray[np.bool_]
    src: Array
    dst: Array
    blocks: Blocks
    part: Array

    def __init__(
        self,
        reduces: bool | Op | np.ndarray,
        src: Array,
        dst: Array,
        blocks: Blocks | Sequence[slice | Array],
        part: Array | None = None,
    ) -> None:
        flags = np.asarray(reduces)
        if flags.dtype == object and all(isinstance(op, Op) for op in flags.flat):
            flags = np.asarray(flags == Op.REDUCE)
        if flags.size and flags.dtype.kind not in "biu":
            raise TypeError(f"reduces must be True, False or a swing.Op, not {shown(reduces)}")
        one = flags.ndim == 0
        self.reduces = np.full(len(src), flags) if one else np.asarray(flags, dtype=bool)
        self.src, self.dst = _whole(src), _whole(dst)
        self.blocks = blocks if isinstance(blocks, Blocks) else Blocks.listed(blocks)
        self.part = np.zeros(len(src), dtype=np.int64) if part is None else _whole(part)

    @classmethod
    def empty(cls) -> Step:
        """Make a step without messages."""
        none = np.zeros(0, dtype=np.int64)
        return cls(False, none, none, Blocks(none, none))

    def __len__(self) -> int:
        return len(self.src)

    def take(self, rows: Array) -> Step:
        """Select the messages with the given row numbers."""
        return Step(
            self.reduces[rows], self.src[rows], self.dst[rows], self.blocks.take(rows),
            self.part[rows],
        )  # fmt: skip

    def reversed(self, flip: bool) -> Step:
        """Turn every message round.

        With ``flip``, messages that were reduced are copied, and those that were copied reduced.
        """
        return Step(self.reduces ^ flip, self.dst, self.src, self.blocks, self.part)

    def message(self, i: int) -> Message:
        """Return the message in row ``i``."""
        op = Op.REDUCE if self.reduces[i] else Op.COPY
        return Message(int(self.src[i]), int(self.dst[i]), self.blocks[i], op, int(self.part[i]))

    def table(self) -> str:
        """Write all messages on one line; ``str`` and ``print`` abridge a long one."""
        return spell(self.message(i) for i in range(len(self)))

    def __str__(self) -> str:
        groups = {Op.REDUCE: np.flatnonzero(self.reduces), Op.COPY: np.flatnonzero(~self.reduces)}
        first = sorted((int(rows[0]), op) for op, rows in groups.items() if rows.size)
        return "  ".join(
            "  ".join([op.value, *abridge(groups[op], lambda i: str(self.message(i)))])
            for _, op in first
        )

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
        return f"{self.src}→{self.dst}:{_format(self.blocks, abridge)}"

    def table(self) -> str:
        """Write the message with all its blocks; ``str`` abridges a long list."""
        return f"{self.src}→{self.dst}:{_format(self.blocks, _all)}"


def spell(messages: Iterable[Message], abridged: bool = False) -> str:
    """Write messages on one line: those to reduce after ``+``, those to copy after ``=``."""
    by_op: dict[Op, list[Message]] = {}
    for message in messages:
        by_op.setdefault(message.op, []).append(message)
    return "  ".join(
        "  ".join([op.value, *(abridge(group, str) if abridged else _all(group, Message.table))])
        for op, group in by_op.items()
    )


def abridge(items: Sequence[T] | Array, text: Callable[[T], str]) -> list[str]:
    """Write items: all of them, or the first and last few of many with "…" between them.

    >>> abridge(range(1000), str)
    ['0', '1', '2', '…', '997', '998', '999']
    """
    if len(items) <= MAX_SHOWN:
        return _all(items, text)
    return [*_all(items[:EDGE], text), "…", *_all(items[-EDGE:], text)]


def _all(items: Sequence[T] | Array, text: Callable[[T], str]) -> list[str]:
    return [text(item) for item in items]


def _format(blocks: slice | Array, several: Callable[..., list[str]]) -> str:
    if isinstance(blocks, slice):
        last = blocks.stop - 1
        if last < blocks.start:
            return "-"  # a message without bytes, in traffic
        return str(last) if blocks.start == last else f"{blocks.start}-{last}"
    return ",".join(several(blocks, str))


def _whole(column: ArrayLike) -> Array:
    """A column of whole numbers; numpy takes an empty list for real numbers."""
    array = np.asarray(column)
    return array if array.size else array.astype(np.int64)
