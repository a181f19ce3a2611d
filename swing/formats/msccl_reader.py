"""Reader of MSCCL XML: recovers the schedule of a program from the operations of each rank.

`swing.formats.msccl_values` runs the program and finds out what data every message carries;
`swing.formats.msccl_steps` derives the steps. Additions from several peers belong to the same step,
as in our own schedules, unless a rank sends an intermediate sum on. If all sends have the attribute
``schedule_step``, which our own writer adds and MSCCL and RCCL ignore, they get those steps instead
of the earliest ones. The attribute ``schedule_row`` gives the order of the messages in a step, on
which times in the packet model depend.

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
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from swing.formats.msccl_steps import chains_of, steps_of_pieces
from swing.formats.msccl_values import Piece, Trace, run
from swing.formats.msccl_xml import SCHEDULE_PHASE, SCHEDULE_ROW, Program, parse
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
    parts, part_of, number = _parts(program, trace.pieces)
    copied = {change.copied for chain in chains for change in chain}
    steps: list[defaultdict[Row, list[int]]] = [
        defaultdict(list) for _ in range(max(step_of, default=-1) + 1)
    ]
    for n in sorted(range(len(trace.pieces)), key=partial(_row, program, trace)):
        piece = trace.pieces[n]
        part = part_of[_channel(program, piece)]
        row = Row(part, piece.src, piece.dst, n not in copied)
        steps[step_of[n]][row].append(int(number[piece.value.block]))
    tables = [_step(rows) for rows in steps]
    return Schedule(
        re.sub(r"[^\w.+-]", "_", program.name, flags=re.ASCII)[:100],
        ranks,
        layout.nblocks,
        len(tables),
        tables.__getitem__,
        origin=_renumbered(layout.origin, number),
        home=_renumbered(layout.home, number),
        parts=parts,
        signature=[_signature(table) for table in tables].__getitem__,
        sync_phase=_phases(program, trace, step_of),
    )


def _row(program: Program, trace: Trace, n: int) -> int:
    """Return the row of a piece's message in its step; 0 if the file does not say."""
    node = program.nodes[trace.pieces[n].message]
    return node.number(SCHEDULE_ROW) if SCHEDULE_ROW in node.tag else 0


def _parts(
    program: Program, pieces: Sequence[Piece]
) -> tuple[tuple[int, ...], dict[str, int], Array]:
    """Return the number of blocks of each part, the part of each channel, and each block's number.

    Each channel is a part if channels have no blocks in common; otherwise there is one part. The
    chunks of an allreduce keep their numbers, so its channels must have ranges of chunks as well,
    in ascending order. Other collectives have the chunks of each rank side by side; their blocks
    are numbered part by part.
    """
    layout = program.layout
    channel_of = {piece.value.block: _channel(program, piece) for piece in pieces}
    channels = sorted({_channel(program, piece) for piece in pieces}, key=int)
    part_of = {channel: j for j, channel in enumerate(channels)}
    same = np.arange(layout.nblocks)
    if any(channel_of[piece.value.block] != _channel(program, piece) for piece in pieces):
        return (), dict.fromkeys(channels, 0), same
    # A block that nobody sends belongs to the part of the block before it.
    part, parts = 0, np.zeros(layout.nblocks, dtype=np.int64)
    for block in range(layout.nblocks):
        part = part_of[channel_of[block]] if block in channel_of else part
        parts[block] = part
    number = same.copy()
    number[np.argsort(parts, kind="stable")] = same
    if layout.collective == "allreduce" and (number != same).any():
        return (), dict.fromkeys(channels, 0), same
    return tuple(np.bincount(parts, minlength=len(channels)).tolist()), part_of, number


def _channel(program: Program, piece: Piece) -> str:
    return program.nodes[piece.message].block["chan"]


def _renumbered(ranks: Any, number: Array) -> Any:
    """Return the origin or home of blocks under their new numbers."""
    if isinstance(ranks, int) or (np.diff(number) == 1).all():
        return ranks
    return ranks(np.argsort(number))


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
