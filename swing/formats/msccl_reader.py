"""Reader of MSCCL XML: recovers the schedule of a program from the operations of each rank.

A schedule knows one value per rank and block. `swing.formats.msccl_values` runs the program; of the
values that occur, only those count that a rank sends or ends with. They must form a chain, in which
each value is the one before it plus further messages, or replaces it by a message. Intermediate
sums that nobody sees are no steps of their own, so additions from several peers belong to the same
step, as in our own schedules.

A message gets the earliest step after those that its value consists of, but not after the step in
which its sender's value changes. If all sends have the attribute ``schedule_step``, which our own
writer adds and MSCCL and RCCL ignore, they get those steps instead.

Loses: the order of additions in a step. In this library a rank adds in ascending order of the
lowest contributors, so that all ranks get the same bits (``same_bits`` of `swing.verify`). A GPU
adds in the order of the file, which may differ from rank to rank.

Refused: other collectives than allreduce, reducescatter, allgather and alltoall; programs in which
a rank uses two values of a block that do not follow each other, drops data that it received, or
uses the same message both as it is and as part of a sum.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from swing.formats.earliest import Constraints
from swing.formats.msccl_values import Piece, Trace, Value, run
from swing.formats.msccl_xml import SCHEDULE_PHASE, SCHEDULE_STEP, Program, parse
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array, Torus

Place = tuple[int, int]
"""A rank and a block."""


class Row(NamedTuple):
    """What the pieces of one message of a step have in common."""

    part: int
    src: int
    dst: int
    reduces: bool


class Change(NamedTuple):
    """A value of a rank that is sent or kept, and how it arises from the value before it.

    Args:
        copied: the piece that replaces the value before it; None if nothing does.
        added: the pieces that are then added.
        sent: the pieces that carry the value.
    """

    copied: int | None
    added: frozenset[int]
    sent: list[int]


Chain = list[Change]
"""The values of a block on a rank that are sent or kept, in their order."""


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
    chains = _chains(program, trace)
    step_of = _steps_of_pieces(program, trace, chains)
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


def _chains(program: Program, trace: Trace) -> list[Chain]:
    """Return the values of each block on each rank that are sent or kept, in their order."""
    values: defaultdict[Place, dict[Value, list[int]]] = defaultdict(dict)
    come: defaultdict[Place, list[int]] = defaultdict(list)
    for n, piece in enumerate(trace.pieces):
        block = piece.value.block
        values[piece.src, block].setdefault(piece.value, []).append(n)
        come[piece.dst, block].append(n)
    for place, value in trace.ends.items():
        if value.pieces or place in values:
            values[place].setdefault(value, [])
    chains = []
    for place in dict.fromkeys([*values, *come]):
        ordered = sorted(values[place], key=partial(_order, trace))
        chain = list(_changes(place, ordered, values[place], trace.received))
        if place in trace.ends and ordered and ordered[-1] != trace.ends[place]:
            raise _two_values(place)
        used = Counter(n for change in chain for n in (change.copied, *change.added))
        for n in come[place]:
            if used[n] != 1:
                what = "neither keeps nor sends on" if not used[n] else "uses in several ways"
                raise program.nodes[trace.pieces[n].message].error(
                    f"sends block {place[1]} to gpu {place[0]}, which {what} what it receives"
                )
        chains.append(chain)
    return chains


def _order(trace: Trace, value: Value) -> tuple[int, int]:
    """Sums with a rank's own contribution come first; the rest in the order of their arrival."""
    first = -1 if value.own else min(trace.received[n] for n in value.pieces)
    return first, len(value.pieces)


def _changes(
    place: Place, ordered: Iterable[Value], sent: dict[Value, list[int]], received: dict[int, int]
) -> Iterator[Change]:
    """Yield how each value of a chain arises from the one before it."""
    before: Value | None = None
    for value in ordered:
        if before is None:
            extends = value.own
        else:
            extends = before.own == value.own and before.pieces <= value.pieces
        if not extends and value.own:
            raise _two_values(place)
        copied = None if extends else min(value.pieces, key=received.__getitem__)
        known = {copied} if before is None or not extends else before.pieces
        yield Change(copied, value.pieces - known, sent[value])
        before = value


def _two_values(place: Place) -> ValueError:
    return ValueError(
        f"gpu {place[0]} uses two values of block {place[1]} at once, neither of which continues "
        "the other: a schedule has one value per rank and block"
    )


def _steps_of_pieces(program: Program, trace: Trace, chains: Sequence[Chain]) -> list[int]:
    """Return the step of each piece: as given in the file, or else the earliest one."""
    messages = [piece.message for piece in trace.pieces]
    number = {message: event for event, message in enumerate(dict.fromkeys(messages))}
    given = [program.nodes[message].tag.get(SCHEDULE_STEP) for message in number]
    least = [int(step or 0) for step in given] if None not in given else [0] * len(number)
    together = [number[message] for message in messages]
    # Pieces of a message go together, unless one has to leave before the other arises.
    times = _earliest(chains, together, least)
    if times is None and any(least):
        raise ValueError("no schedule has the steps that the attributes schedule_step name")
    if times is None:
        together = list(range(len(messages)))
        times = _earliest(chains, together, [0] * len(together))
    if times is None:
        raise ValueError(
            "the source of a message changes while it is in flight: no schedule of steps does that"
        )
    for message, event in number.items() if any(least) else ():
        if times[event] != least[event]:
            raise program.nodes[message].error(
                f"sends in schedule_step {least[event]}, but its data or its receiver allow step "
                f"{times[event]}"
            )
    return [times[event] for event in together]


def _earliest(
    chains: Iterable[Chain], events: Sequence[int], least: Sequence[int]
) -> list[int] | None:
    """Return the earliest step of each event; ``events`` has the event of each piece."""
    constraints = Constraints(len(least))
    for chain in chains:
        _constrain(constraints, chain, events)
    return constraints.earliest([*least, *[0] * (len(constraints.later) - len(least))])


def _constrain(constraints: Constraints, chain: Chain, events: Sequence[int]) -> None:
    """Demand that a rank sends each value of a block after it arises and before it changes."""
    arisen = last_send = constraints.event()
    for copied, added, sent in chain:
        arrivals = [events[n] for n in added]
        if copied is not None:
            # A step that replaces a value may not add to it as well.
            constraints.add(arisen, events[copied], 0)
            for event in arrivals:
                constraints.add(events[copied], event, 1)
            arrivals.append(events[copied])
        value, all_sent = constraints.event(), constraints.event()
        constraints.add(arisen, value, 0)
        constraints.add(last_send, all_sent, 0)
        for event in arrivals:
            # All messages of a step carry the values before it, so the same step is allowed.
            constraints.add(last_send, event, 0)
            constraints.add(event, value, 1)
        for n in sent:
            constraints.add(value, events[n], 0)
            constraints.add(events[n], all_sent, 0)
        arisen, last_send = value, all_sent


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
    columns = (np.array(column, dtype=np.int64) for column in (src, dst, part))
    source, target, parts = columns
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
