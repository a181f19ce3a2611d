"""Collectives of MSCCL XML: where each block of the vector starts and ends in the ranks' buffers.

A rank has an input buffer ``i`` and an output buffer ``o``, which are cut into chunks. In a program
of n chunks per loop on p ranks, with c = n/p chunks for each rank, chunk k of rank r holds:

    collective      input, at the start    output, at the end
    allreduce       n: block k             n: block k
    reducescatter   n: block k             c: block r·c + k
    allgather       c: block r·c + k       n: block k
    alltoall        n: block r·n + k       n: block (k ÷ c)·n + r·c + k mod c

A program that works in place has one buffer instead of two. If one of them is smaller, it is rank
r's share of the larger one.

Source: msccl-tools, msccl/language/collectives.py; NCCL's rules for collectives in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from swing.checks import shown
from swing.schedules.collectives import ALL
from swing.torus import Array

INPUT, OUTPUT, SCRATCH = "i", "o", "s"


class Contents(NamedTuple):
    """What the ranks' buffers hold: a way to number their chunks.

    Args:
        whole: whether a rank has n chunks; otherwise it has c.
        block: the block in chunk k of rank r, from r, k, n and c.
        rank: the rank that has block b, from b, n and c; `ALL` if all ranks have it.
    """

    whole: bool
    block: Callable[[int, int, int, int], int]
    rank: Callable[[Array, int, int], Array] | int


VECTOR = Contents(True, lambda r, k, n, c: k, ALL)
SHARE = Contents(False, lambda r, k, n, c: r * c + k, lambda b, n, c: b // c)
SENT = Contents(True, lambda r, k, n, c: r * n + k, lambda b, n, c: b // n)
RECEIVED = Contents(
    True, lambda r, k, n, c: k // c * n + r * c + k % c, lambda b, n, c: b % n // c
)  # fmt: skip
COLLECTIVES = {
    "allreduce": (VECTOR, VECTOR),
    "reducescatter": (VECTOR, SHARE),
    "allgather": (SHARE, VECTOR),
    "alltoall": (SENT, RECEIVED),
}
"""The contents of input and output, by the names that MSCCL and RCCL have for collectives."""
_SPELLINGS = {"reduce_scatter": "reducescatter"}  # as msccl-tools spells it


class Cell(NamedTuple):
    """A chunk of one of a rank's buffers."""

    rank: int
    buffer: str
    chunk: int


class Layout(NamedTuple):
    """The buffers of a program: its collective on ``p`` ranks, with ``n`` chunks per loop.

    Args:
        collective: a key of `COLLECTIVES`.
        input, output: the contents of the buffers, at the start and at the end.
        p: number of ranks.
        n: number of chunks per loop.
        in_place: whether input and output share their memory.
    """

    collective: str
    input: Contents
    output: Contents
    p: int
    n: int
    in_place: bool

    @property
    def share(self) -> int:
        """Number of chunks for each rank."""
        return self.n // self.p

    @property
    def inputs(self) -> int:
        """Number of chunks of a rank's input buffer."""
        return self.n if self.input.whole else self.share

    @property
    def outputs(self) -> int:
        """Number of chunks of a rank's output buffer."""
        return self.n if self.output.whole else self.share

    @property
    def nblocks(self) -> int:
        """Number of blocks of the schedule."""
        return self.n * self.p if self.collective == "alltoall" else self.n

    @property
    def origin(self) -> Any:
        """The origin of all blocks, as `swing.Schedule` takes it."""
        return self._ranks(self.input)

    @property
    def home(self) -> Any:
        """The home of all blocks, as `swing.Schedule` takes it."""
        return self._ranks(self.output)

    def _ranks(self, contents: Contents) -> Callable[[Array], Array] | int:
        rule = contents.rank
        return rule if isinstance(rule, int) else lambda b: rule(b, self.n, self.share)

    def sizes(self, declared: dict[str, str]) -> dict[str, int] | None:
        """Return the number of chunks in each buffer of a rank; None if it should have others.

        A program in place may leave out the buffer that is part of the other one.
        """
        sizes = {b: max(0, int(declared[f"{b}_chunks"])) for b in (INPUT, OUTPUT, SCRATCH)}
        for buffer, size in ((INPUT, self.inputs), (OUTPUT, self.outputs)):
            if sizes[buffer] != size and not (self.in_place and sizes[buffer] == 0):
                return None
        return sizes

    def cell(self, rank: int, buffer: str, chunk: int) -> Cell:
        """Return a chunk; in place, a chunk of the smaller buffer is one of the larger."""
        larger = INPUT if self.inputs >= self.outputs else OUTPUT
        if not self.in_place or buffer in (larger, SCRATCH):
            return Cell(rank, buffer, chunk)
        shift = 0 if self.inputs == self.outputs else rank * self.share
        return Cell(rank, larger, chunk + shift)

    def start(self, cell: Cell) -> int | None:
        """Return the block that a chunk holds at the start; None if it is empty."""
        rank, buffer, chunk = cell
        if buffer == OUTPUT and self.in_place:  # the input is part of the output
            buffer, chunk = INPUT, chunk - rank * self.share
        if buffer != INPUT or not 0 <= chunk < self.inputs:
            return None
        return self.input.block(rank, chunk, self.n, self.share)

    def end(self, rank: int, chunk: int) -> int:
        """Return the block that a chunk of the output buffer must hold at the end."""
        return self.output.block(rank, chunk, self.n, self.share)


def layout(collective: str, p: int, n: int, in_place: bool) -> Layout:
    """Make the layout of a program's buffers.

    Raises:
        ValueError: another collective, or chunks that cannot be divided among the ranks.
    """
    name = _SPELLINGS.get(collective, collective)
    if name not in COLLECTIVES:
        raise ValueError(
            f"the collective {shown(collective)} cannot be read, only {', '.join(COLLECTIVES)}"
        )
    if name != "allreduce" and n % p:
        raise ValueError(f"the {n} chunks of the {name} cannot be divided among {p} gpus")
    return Layout(name, *COLLECTIVES[name], p, n, in_place)
