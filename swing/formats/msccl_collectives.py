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


class Cell(NamedTuple):
    """A chunk of one of a rank's buffers."""

    rank: int
    buffer: str
    chunk: int


class _Rule(NamedTuple):
    """A collective, as functions of the rank r, the chunk k, n and c.

    Args:
        name: our name of the collective.
        spread: whether the input and the output of a rank have chunks for every rank.
        start: the block in chunk k of rank r's input.
        end: the block that must be in chunk k of rank r's output.
        origin, home: those of block b, from b, n and c; or `ALL`.
    """

    name: str
    spread: tuple[bool, bool]
    start: Callable[[int, int, int, int], int]
    end: Callable[[int, int, int, int], int]
    origin: Callable[[Array, int, int], Array] | int
    home: Callable[[Array, int, int], Array] | int


COLLECTIVES = {
    "allreduce": _Rule(
        "allreduce", (True, True), lambda r, k, n, c: k, lambda r, k, n, c: k, ALL, ALL
    ),
    "reducescatter": _Rule(
        "reduce_scatter", (True, False), lambda r, k, n, c: k, lambda r, k, n, c: r * c + k,
        ALL, lambda b, n, c: b // c,
    ),
    "allgather": _Rule(
        "allgather", (False, True), lambda r, k, n, c: r * c + k, lambda r, k, n, c: k,
        lambda b, n, c: b // c, ALL,
    ),
    "alltoall": _Rule(
        "alltoall", (True, True), lambda r, k, n, c: r * n + k,
        lambda r, k, n, c: k // c * n + r * c + k % c,
        lambda b, n, c: b // n, lambda b, n, c: b % n // c,
    ),
}  # fmt: skip
"""The collectives that can be read, by their names in MSCCL and RCCL."""
_SPELLINGS = {"reduce_scatter": "reducescatter"}  # as msccl-tools spells it


class Layout(NamedTuple):
    """The buffers of a program: its collective on ``p`` ranks, with ``n`` chunks per loop.

    Args:
        collective: a key of `COLLECTIVES`.
        p: number of ranks.
        n: number of chunks per loop.
        in_place: whether input and output share their memory.
    """

    collective: str
    p: int
    n: int
    in_place: bool

    @property
    def rule(self) -> _Rule:
        """The collective's entry in `COLLECTIVES`."""
        return COLLECTIVES[self.collective]

    @property
    def share(self) -> int:
        """Number of chunks for each rank."""
        return self.n // self.p

    @property
    def inputs(self) -> int:
        """Number of chunks of a rank's input buffer."""
        return self.n if self.rule.spread[0] else self.share

    @property
    def outputs(self) -> int:
        """Number of chunks of a rank's output buffer."""
        return self.n if self.rule.spread[1] else self.share

    @property
    def nblocks(self) -> int:
        """Number of blocks of the schedule."""
        return self.n * self.p if self.collective == "alltoall" else self.n

    @property
    def origin(self) -> Any:
        """The origin of all blocks, as `swing.Schedule` takes it."""
        rule = self.rule.origin
        return rule if isinstance(rule, int) else lambda b: rule(b, self.n, self.share)

    @property
    def home(self) -> Any:
        """The home of all blocks, as `swing.Schedule` takes it."""
        rule = self.rule.home
        return rule if isinstance(rule, int) else lambda b: rule(b, self.n, self.share)

    def sizes(self, declared: dict[str, str]) -> dict[str, int] | None:
        """Return the number of chunks in each buffer of a rank; None if it declares others.

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
        return self.rule.start(rank, chunk, self.n, self.share)

    def end(self, rank: int, chunk: int) -> int:
        """Return the block that a chunk of the output buffer must hold at the end."""
        return self.rule.end(rank, chunk, self.n, self.share)


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
    return Layout(name, p, n, in_place)
