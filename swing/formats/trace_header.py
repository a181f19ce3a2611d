"""Header of a trace: what a schedule has besides the messages that a trace lists.

A trace lists the sends and receives of every rank. The header, a comment in our own traces, adds
the torus with the node of every rank, the size of the vector, the algorithm, and how the messages
form a schedule. The tag of a message is its number,

    tag = (step · rows + row) · parts + part

from which a reader learns its step, its row in the table of that step, and its part. Traces of
other programs have no header; their steps follow from their dependencies, see
`swing.formats.event_trace`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby, pairwise
from operator import mul
from typing import NamedTuple

import numpy as np

from swing.formats import limits
from swing.schedules.body import run_lengths
from swing.schedules.schedule import Schedule
from swing.torus import Torus

MAX_TAG = 2**31 - 1  # tags are C ints
MAX_PARTS = 2**16
_HEADER = re.compile(r"torus-swing (dims=[^\n]*)")
_NAMES = re.compile(r"([\w.+-]{0,100}):([\w.+-]{0,100})", re.ASCII)


class Header(NamedTuple):
    """The header of a trace.

    Args:
        torus: the ranks.
        nbytes: size of the vector in bytes; in an all-to-all, of the vectors of all ranks together.
        name: name of the algorithm.
        variant: variant of the algorithm, empty if there is only one.
        parts: bytes in each part, which add up to ``nbytes``.
        rows: the largest number of messages in a step; 0 if tags do not number the messages.
        phases: number of steps in each synchronisation phase; empty if the steps are not known.
        runs: lengths of the runs of steps with equal signatures.
    """

    torus: Torus
    nbytes: int
    name: str = ""
    variant: str = ""
    parts: tuple[int, ...] = ()
    rows: int = 0
    phases: tuple[int, ...] = ()
    runs: tuple[int, ...] = ()

    @classmethod
    def of(cls, schedule: Schedule, nbytes: int, rows: int = 0) -> Header:
        """Return the header of a schedule for a vector of ``nbytes`` bytes on each rank.

        Raises:
            ValueError: a phase consists of steps that do not follow each other.
        """
        total = nbytes * schedule.vectors
        ends = byte_ends(schedule, total, [0, *accumulate(schedule.parts)])
        phases = [schedule.sync_phase(s) for s in range(schedule.nsteps)]
        runs = [schedule.signature(s) for s in range(schedule.nsteps)]
        lengths = tuple(run_lengths(phases))
        if len(lengths) != len(set(phases)):
            raise ValueError(f"a trace cannot hold a phase that is interrupted: {schedule!r}")
        return cls(
            schedule.torus, total, schedule.name, schedule.variant,
            tuple(b - a for a, b in pairwise(ends)), rows, lengths,
            tuple(run_lengths(runs)),
        )  # fmt: skip

    @property
    def nsteps(self) -> int:
        """Number of steps; 0 if they are not known."""
        return sum(self.phases)

    def tag(self, step: int, row: int, part: int) -> int:
        """Return the tag of a message.

        Raises:
            ValueError: the tag is above `MAX_TAG`.
        """
        tag = (step * self.rows + row) * len(self.parts) + part
        if tag > MAX_TAG:
            raise ValueError(
                f"{self.name} has more messages than there are tags: a trace has up to {MAX_TAG}"
            )
        return tag

    def place(self, tag: int) -> tuple[int, int, int]:
        """Return the step, row and part of the message with a tag.

        Raises:
            ValueError: the tag is beyond the last step.
        """
        number, part = divmod(tag, len(self.parts))
        step, row = divmod(number, self.rows)
        if step >= self.nsteps:
            raise ValueError(f"tag {tag} is beyond the {self.nsteps} steps that the header names")
        return step, row, part

    def __str__(self) -> str:
        dims, wrap = "x".join(map(str, self.torus.dims)), "".join("01"[w] for w in self.torus.wrap)
        # Colons and blanks separate fields, so names may not contain them.
        names = [re.sub(r"[^\w.+-]", "_", n, flags=re.ASCII) for n in (self.name, self.variant)]
        placed = (self.torus.node_of != self.torus.ranks).any()
        fields = {
            "dims": dims,
            "wrap": wrap,
            "nbytes": self.nbytes,
            "algorithm": ":".join(names),
            "nodes": _spell(self.torus.node_of.tolist()) if placed else "",
            "parts": _spell(self.parts),
            "rows": self.rows or "",
            "phases": _spell(self.phases),
            "runs": _spell(self.runs),
        }
        # A schedule without steps has empty phases, but a field that says nothing is left out.
        spelled = [f"{k}={v}" for k, v in fields.items() if v or k not in ("nodes", "rows")]
        return " ".join(["torus-swing", *spelled])

    @classmethod
    def parse(cls, text: str) -> Header | None:
        """Find the header in a text; None if it has none.

        A header may end after the algorithm. Then the steps are not known.

        Raises:
            ValueError: a field is malformed or out of bounds, or two fields contradict each other.
        """
        found = _HEADER.search(text)
        words = found[1].split() if found else []
        fields = {key: value for key, _, value in (word.partition("=") for word in words)}
        names = _NAMES.fullmatch(fields.get("algorithm", ""))
        if not names or not {"dims", "wrap", "nbytes"} <= fields.keys():
            return None
        header = cls(
            _torus(fields["dims"], fields["wrap"], fields.get("nodes", "")),
            limits.whole(fields["nbytes"], "the header's nbytes", 1),
            names[1],
            names[2],
        )
        if not {"parts", "phases", "runs"} <= fields.keys():
            return header
        parts = _read(fields["parts"], "parts", MAX_PARTS)
        rows = limits.whole(fields.get("rows", "0"), "the header's rows", 0, limits.MAX_ROWS)
        phases, runs = (_read(fields[key], key, limits.MAX_ROWS) for key in ("phases", "runs"))
        if sum(parts) != header.nbytes or sum(phases) != sum(runs) or not parts:
            raise ValueError(
                "the header contradicts itself: parts add up to nbytes, and phases and runs to the "
                "number of steps"
            )
        if sum(phases) > limits.MAX_ROWS:
            raise ValueError(f"the header has more than {limits.MAX_ROWS} steps: too many")
        return header._replace(parts=parts, rows=rows, phases=phases, runs=runs)


def byte_ends(schedule: Schedule, nbytes: int, blocks: Iterable[int]) -> list[int]:
    """Return the byte at which each of some blocks begins, of ``nbytes`` bytes of all vectors."""
    if schedule.shares is None:
        # `Schedule.ends` has an entry for every block, which in traffic is one for every byte.
        return [b * nbytes // schedule.nblocks for b in blocks]
    ends = schedule.ends(nbytes)
    return [int(ends[b]) for b in blocks]


def _torus(dims: str, wrap: str, nodes: str) -> Torus:
    sizes = [limits.whole(d, "a dimension of the header", 1) for d in dims.split("x")]
    for size in accumulate(sizes, mul):
        limits.check_ranks(size)
    if not re.fullmatch(f"[01]{{{len(sizes)}}}", wrap):
        raise ValueError(
            f"the header's wrap must say 0 or 1 for each of {len(sizes)} dimensions, not "
            f"{limits.short(wrap)}"
        )
    flags = [w == "1" for w in wrap]
    if not nodes:
        return Torus(sizes, flags)
    places = _read(nodes, "nodes", limits.MAX_RANKS)
    if sorted(places) != list(range(size)):
        raise ValueError(f"the header's nodes must name each of {size} nodes once")
    return Torus(sizes, flags, np.stack(np.unravel_index(places, sizes), axis=1))


def _spell(numbers: Sequence[int]) -> str:
    """Write numbers, and ``n*x`` for n equal ones in a row.

    >>> _spell([1, 1, 1, 4])
    '3*1,4'
    """
    runs = ((sum(1 for _ in run), number) for number, run in groupby(numbers))
    return ",".join(f"{n}*{number}" if n > 1 else f"{number}" for n, number in runs)


def _read(text: str, what: str, most: int) -> tuple[int, ...]:
    """Read up to ``most`` numbers, as `_spell` writes them."""
    numbers: list[int] = []
    for word in text.split(",") if text else ():
        times, _, number = word.rpartition("*")
        n = limits.whole(times or "1", f"the header's {what}: a number", 1, most)
        if len(numbers) + n > most:
            raise ValueError(f"the header's {what} has more than {most} entries: too many")
        numbers += [limits.whole(number, f"the header's {what}: a number")] * n
    return tuple(numbers)
