"""Reader of MSCCL XML: recovers the schedule of a program from the operations of each rank.

`swing.formats.msccl_values` runs the program and finds out what data every message carries;
`swing.formats.msccl_steps` derives the steps. Additions from several peers belong to the same step,
as in our own schedules, unless a rank sends an intermediate sum on. If all sends have the attribute
``schedule_step``, which our own writer adds and MSCCL and RCCL ignore, they get those steps instead
of the earliest ones.

Loses: the order of additions in a step. In this library a rank adds in ascending order of the
lowest contributors, so that all ranks get the same bits (``same_bits`` of `swing.verify`). A GPU
adds in the order of the file, which may differ from rank to rank.

Refused: other collectives than allreduce, reducescatter, allgather and alltoall; programs in which
a rank uses two values of a block that do not follow each other, drops data that it received but
keeps the value that it had, or uses the same message both as it is and as part of a sum.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from swing.formats.msccl_steps import chains_of, steps_of_pieces
from swing.formats.msccl_values import Piece, Trace, run
from swing.formats.msccl_xml import SCHEDULE_PHASE, Program, parse
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array, Torus


class Row(NamedTuple):
    """What the pieces of one message of a step have in common."""

    part: int
    src: int
    dst: int
    reduces: bool


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """Read the schedule of a document.

    Args:
        data: the XML.
        torus: the torus of the ranks; a ring by default.

    Raises:
        ValueError: the document is not MSCCL XML, or contains something listed above as refused.
    """
    program = parse(data)
    layout = program.layout
    ranks = torus or Torus(layout.p)
    if ranks.size != layout.p:
        raise ValueError(f"the file has {layout.p} ranks, but the torus {ranks} has {ranks.size}")
    trace = run(program)
    chains = chains_of(program, trace)
    step_of = steps_of_pieces(program, trace, chains)
    parts, part_of = _parts(program, trace.pieces)
    copied = {change.copied for chain in chains for change in chain}
    steps: list[defaultdict[Row, list[int]]] = [
        defaultdict(list) for _ in range(max(step_of, default=-1) + 1)
    ]
    for n, piece in enumerate(trace.pieces):
        part = part_of[program.nodes[piece.message].block["chan"]]
        row = Row(part, piece.src, piece.dst, n not in copied)
        steps[step_of[n]][row].append(piece.value.block)
    tables = [_step(rows) for rows in steps]
    return Schedule(
        re.sub(r"[^\w.+-]", "_", program.name, flags=re.ASCII)[:100],
        ranks,
        layout.nblocks,
        len(tables),
        tables.__getitem__,
        origin=layout.origin,
        home=layout.home,
        parts=parts,
        signature=[_signature(table) for table in tables].__getitem__,
        sync_phase=_phases(program, trace, step_of),
    )


def _parts(program: Program, pieces: Sequence[Piece]) -> tuple[tuple[int, ...], dict[str, int]]:
    """Return the number of blocks of each part, and the part of each channel.

    Each channel is a part if their ranges of blocks are disjoint and ascend; otherwise there is
    one part.
    """
    ends: dict[str, tuple[int, int]] = {}
    for piece in pieces:
        channel, block = program.nodes[piece.message].block["chan"], piece.value.block
        lo, hi = ends.get(channel, (block, block))
        ends[channel] = min(lo, block), max(hi, block)
    channels = sorted(ends, key=int)
    if any(ends[a][1] >= ends[b][0] for a, b in pairwise(channels)):
        return (), dict.fromkeys(channels, 0)
    cuts = [0, *(ends[c][0] for c in channels[1:]), program.layout.nblocks]
    return tuple(b - a for a, b in pairwise(cuts)), {c: j for j, c in enumerate(channels)}


def _step(rows: dict[Row, list[int]]) -> Step:
    """Build a step; the pieces of a message that was split become one message again."""
    if not rows:
        return Step.empty()
    table = [(row, blocks) for row, listed in rows.items() for blocks in _distinct(listed)]
    part, src, dst, reduces = zip(*(row for row, _ in table), strict=True)
    source, target, parts = (np.array(c, dtype=np.int64) for c in (src, dst, part))
    return Step(np.array(reduces), source, target, _blocks([b for _, b in table]), parts)


def _distinct(listed: Sequence[int]) -> Iterator[Array]:
    """Yield the blocks in ascending order; those that occur again follow as a list of their own."""
    while listed:
        blocks = sorted(set(listed))
        yield np.array(blocks, dtype=np.int64)
        again = len(blocks) < len(listed)
        listed = list((Counter(listed) - Counter(blocks)).elements()) if again else []


def _blocks(members: Sequence[Array]) -> Blocks:
    first, last, count = (
        np.array(column, dtype=np.int64)
        for column in zip(*((m[0], m[-1], len(m)) for m in members), strict=True)
    )
    if (last - first + 1 == count).all():
        return Blocks(count, first)
    return Blocks.sets(count, members.__getitem__)


def _signature(step: Step) -> Hashable:
    """Return a key that steps share if they move the same bytes between the same ranks."""
    return tuple(column.tobytes() for column in (step.src, step.dst, step.blocks.counts, step.part))


def _phases(
    program: Program, trace: Trace, step_of: Sequence[int]
) -> Callable[[int], Hashable] | None:
    """Return the phase of each step, if all sends have one; a step without messages keeps it."""
    phases: dict[int, str] = {}
    for piece, step in zip(trace.pieces, step_of, strict=True):
        tag = program.nodes[piece.message].tag
        if SCHEDULE_PHASE not in tag:
            return None
        phases[step] = tag[SCHEDULE_PHASE]
    names = [""]
    for step in range(max(phases, default=-1) + 1):
        names.append(phases.get(step, names[-1]))
    return names[1:].__getitem__
