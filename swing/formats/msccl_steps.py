"""Steps of an MSCCL program: which values each rank has of a block, and when messages are sent.

A schedule knows one value per rank and block. Of the values that occur in a program, only those
count that a rank sends or ends with. They must form a chain, in which each value is the one before
it plus further messages, or replaces it by a message. Intermediate sums that nobody sees are no
steps of their own, so additions from several peers belong to the same step.

A message is later than those that its value consists of, and not later than those that change the
value at its sender. The earliest steps that satisfy all of this are the program's steps, unless the
file names them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from swing.formats.earliest import Constraints, ContradictionError
from swing.formats.msccl_values import Trace, Value
from swing.formats.msccl_xml import SCHEDULE_STEP, Program

Place = tuple[int, int]
"""A rank and a block."""


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


def chains_of(program: Program, trace: Trace) -> list[Chain]:
    """Return the values of each block on each rank that are sent or kept, in their order.

    Raises:
        ValueError: values that form no chain, or a message that is dropped or used twice.
    """
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
        useful = frozenset[int]().union(*(value.pieces for value in values[place]))
        dropped = [n for n in come[place] if n not in useful]
        # A piece that nobody sees is a value as well, if another one replaces it in time.
        values[place] |= {Value(place[1], False, frozenset((n,))): [] for n in dropped}
        try:
            chain = list(_changes(program, trace, place, values[place]))
        except ValueError:
            if dropped:
                raise _misused(program, trace, dropped[0], "neither keeps nor sends on") from None
            raise
        used = Counter(n for change in chain for n in (change.copied, *change.added))
        for n in come[place]:
            if used[n] > 1:
                raise _misused(program, trace, n, "uses in several ways")
        chains.append(chain)
    return chains


def _misused(program: Program, trace: Trace, n: int, what: str) -> ValueError:
    piece = trace.pieces[n]
    return program.nodes[piece.message].error(
        f"sends block {piece.value.block} to gpu {piece.dst}, which {what} what it receives"
    )


def _changes(
    program: Program, trace: Trace, place: Place, sent: dict[Value, list[int]]
) -> Iterator[Change]:
    """Yield how each value of a chain arises from the one before it."""

    def order(value: Value) -> tuple[int, int]:
        # Sums with the rank's own contribution come first; the rest in the order of their arrival.
        first = -1 if value.own else min(trace.received[n] for n in value.pieces)
        return first, len(value.pieces)

    before: Value | None = None
    for value in sorted(sent, key=order):
        if before is None:
            extends = value.own
        else:
            extends = before.own == value.own and before.pieces <= value.pieces
        if not extends and value.own:
            raise _two_values(program, place)
        copied = None if extends else min(value.pieces, key=trace.received.__getitem__)
        known = {copied} if before is None or not extends else before.pieces
        yield Change(copied, value.pieces - known, sent[value])
        before = value
    if before is not None and trace.ends.get(place, before) != before:
        raise _two_values(program, place)


def _two_values(program: Program, place: Place) -> ValueError:
    rank, block = place
    return program.error(
        rank,
        f"uses two values of block {block} of the {program.layout.collective} at once, neither of "
        "which continues the other: a schedule has one value per rank and block",
    )


def steps_of_pieces(program: Program, trace: Trace, chains: Sequence[Chain]) -> list[int]:
    """Return the step of each piece: as given in the file, or else the earliest one.

    Raises:
        ValueError: there are no such steps, or those in the file contradict the program.
    """
    messages = [piece.message for piece in trace.pieces]
    nodes = [program.nodes[message] for message in dict.fromkeys(messages)]
    number = {message: event for event, message in enumerate(dict.fromkeys(messages))}
    together = [number[message] for message in messages]
    if all(SCHEDULE_STEP in node.tag for node in nodes):
        least = [node.number(SCHEDULE_STEP) for node in nodes]
    else:
        least = [0] * len(nodes)
    try:
        times = _earliest(chains, together, least)
    except ContradictionError:
        # Pieces of a message go together, unless one has to leave before another one arises.
        return _steps_of_split_messages(program, chains, messages)
    for node, first, time in zip(nodes, least, times, strict=False):
        if any(least) and time != first:
            raise node.error(
                f"sends in schedule_step {first}, but its data or its receiver allow step {time}"
            )
    return [times[event] for event in together]


def _steps_of_split_messages(
    program: Program, chains: Sequence[Chain], messages: Sequence[int]
) -> list[int]:
    try:
        return _earliest(chains, range(len(messages)), [0] * len(messages))[: len(messages)]
    except ContradictionError as error:
        raise program.nodes[messages[error.event]].error(
            "sends data that changes while it is in flight: no schedule of steps does that"
        ) from None


def _earliest(chains: Iterable[Chain], events: Sequence[int], least: Sequence[int]) -> list[int]:
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
