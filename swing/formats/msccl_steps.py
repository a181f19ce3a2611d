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
from functools import partial
from typing import NamedTuple

from swing.formats.earliest import Constraints
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


def steps_of_pieces(program: Program, trace: Trace, chains: Sequence[Chain]) -> list[int]:
    """Return the step of each piece: as given in the file, or else the earliest one.

    Raises:
        ValueError: there are no such steps, or those in the file contradict the program.
    """
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
