"""Staging: a plan on host memory that stands for a GPU's, with the copies between them.

All parts of a vector set out for the host at once. A part has to be there before the first
instruction that reads or writes it, and sets out for the device after the last one that writes it:
so copies, messages and reductions go on side by side, and what ranks send each other is what it is
without a GPU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from swing.executor.plan.instruction import RECV, SCRATCH, SEND, Instruction, Opcode, Place


def stage(plan: Iterable[Instruction], part: int, in_place: bool) -> list[Instruction]:
    """The instructions of a plan, with FETCH and PUT where they are needed.

    Args:
        plan: of one rank.
        part: elements of a part.
        in_place: the send buffer is the receive buffer.
    """
    groups = list(_groups(plan))
    first: dict[int, int] = {}  # of a part to be fetched: the group that is the first to touch it
    last: dict[int, int] = {}  # of a part to be put: the group after which it is what it shall be
    under_way: dict[int, Instruction] = {}  # received, by slot
    for g, group in enumerate(groups):
        for i in group:
            reads, writes = _memory(i)
            for place in (*reads, *writes):
                if place.buffer == SEND or (in_place and place.buffer != SCRATCH):
                    for k in _parts(place, i.length, part):
                        first.setdefault(k, g)
            done = [i]
            if i.do == Opcode.IRECV and len(group) == 1:
                under_way[i.slot], done = i, []
            elif i.do == Opcode.WAIT:
                slots = range(i.slot, i.slot + i.length)
                done = [under_way.pop(slot) for slot in slots if slot in under_way]
            for each in done:
                for place in _memory(each)[1]:
                    if place.buffer == RECV:
                        last |= dict.fromkeys(_parts(place, each.length, part), g)
    fetched, put = _by_group(first), _by_group(last)
    copies = []
    for g, group in enumerate(groups):
        copies += [
            Instruction(Opcode.COPY_TO_HOST, 0, length=part, a=Place(SEND, k * part))
            for k in fetched[g]
        ]
        copies += group
        copies += [
            Instruction(Opcode.COPY_TO_DEVICE, 0, length=part, a=Place(RECV, k * part))
            for k in put[g]
        ]
    return copies


def _groups(plan: Iterable[Instruction]) -> Iterator[list[Instruction]]:
    """Instructions that can not be taken apart: SENDRECV goes with the IRECV that follows it."""
    rows = iter(plan)
    for i in rows:
        yield [i, next(rows)] if i.do == Opcode.SENDRECV else [i]


def _memory(i: Instruction) -> tuple[Sequence[Place], Sequence[Place]]:
    """What an instruction reads and what it writes."""
    if i.do in (Opcode.ISEND, Opcode.SENDRECV):
        return [i.a], []
    if i.do == Opcode.IRECV:
        return [], [i.a]
    if i.do == Opcode.WAIT:
        return [], []
    return [i.a] if i.do == Opcode.COPY else [i.a, i.b], [i.out]


def _parts(place: Place, length: int, part: int) -> range:
    return range(place.at // part, -(-(place.at + length) // part))


def _by_group(groups: dict[int, int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for k, g in groups.items():
        found[g].append(k)
    return found
