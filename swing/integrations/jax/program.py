"""Compile a schedule into a program of collective permutes, which every device runs alike.

The devices of a mesh run one program, in which a collective permute is the only way to send. So a
step of a schedule becomes a few permutations (`swing.integrations.jax.permutations`), and whatever
differs between ranks becomes a table that each device reads at its own rank: the rows that it
sends, the rows that it receives, and the order in which it adds.

The data of a part is a buffer with one row per block. Steps that differ in these tables only become
a `Run`, which is compiled once and repeated: a ring of any length is two of them.

Nothing here depends on the length of the vector or needs JAX.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from swing.schedules.schedule import Schedule
from swing.torus import Array

OWN = 0
"""The operand that is a rank's own value; operand i is the message of the i-th permutation."""
ABSENT = -1
"""The operand of a rank that has fewer operands than others."""


class Rows(NamedTuple):
    """Rows of a buffer, in a table with an entry for each rank.

    Args:
        length: number of rows, the same on every rank.
        table: (p,) the first row of a range, or (p, length) row numbers; a number beyond the buffer
            stands for no row.
    """

    length: int
    table: np.ndarray


@dataclass(frozen=True, eq=False)
class PartStep:
    """One step of one part.

    Args:
        pairs: for each permutation, the pairs of sender and receiver.
        sent: for each permutation, the rows that ranks send.
        target: the rows in which ranks put the results.
        operands: (p, n) the operands of each rank in the order in which they are reduced; or
            (p, target.length, n) if they differ between the rows of a rank. Then an operand is an
            index into the rows of the target, followed by those of all messages.
    """

    pairs: tuple[tuple[tuple[int, int], ...], ...]
    sent: tuple[Rows, ...]
    target: Rows
    operands: np.ndarray

    @cached_property
    def key(self) -> Any:
        """A key that steps share if they differ in the tables of rows only."""
        rows = [(each.length, each.table.ndim) for each in (*self.sent, self.target)]
        return self.pairs, rows, self.operands.shape, self.operands.tobytes()


@dataclass(frozen=True, eq=False)
class Run:
    """Successive steps that differ in their tables of rows only.

    Args:
        steps: the steps; each has an entry for each part, None if the part is idle.
    """

    steps: tuple[tuple[PartStep | None, ...], ...]

    @property
    def parts(self) -> tuple[PartStep | None, ...]:
        """The first step, which stands for all."""
        return self.steps[0]

    @property
    def npermutes(self) -> int:
        """Number of collective permutes in one step."""
        return sum(len(part.pairs) for part in self.parts if part)

    def tables(self, j: int) -> list[np.ndarray]:
        """The tables of rows of part ``j``, with the steps as an axis in front."""
        each = [step[j] for step in self.steps]
        rows = [[*(r.table for r in part.sent), part.target.table] for part in each if part]
        return [np.stack(column) for column in zip(*rows, strict=True)]


@dataclass(frozen=True, eq=False)
class Selection:
    """The blocks that a rank passes in, or gets out.

    Args:
        pieces: number of equal pieces of the user's array that the blocks come from: one for each
            rank at the other end, or 1.
        rows: for each part, (p, pieces · blocks of a piece) the rows of the blocks, piece by piece.
        only: the only rank that passes in, or gets out, anything; None for all.
    """

    pieces: int
    rows: tuple[Array, ...]
    only: int | None


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """What every device runs for a schedule.

    Args:
        schedule: the schedule.
        nrows: for each part, the number of rows of its buffer: the most blocks of the part that a
            rank ever has.
        runs: the steps.
        entry: the blocks that a rank passes in.
        exit: the blocks that a rank gets out.
    """

    schedule: Schedule
    nrows: tuple[int, ...]
    runs: tuple[Run, ...]
    entry: Selection
    exit: Selection

    def __repr__(self) -> str:
        return repr(self.schedule)  # in the text of a jaxpr

    @property
    def npermutes(self) -> int:
        """Number of collective permutes in the compiled program; a loop counts its body once."""
        return sum(run.npermutes for run in self.runs)
