"""Insert into a plan the copies between GPU buffers and the host buffers that stage them.

The copies of all parts of the send vector to the host begin together, before the plan. The staged
plan waits for a part before the first instruction that reads or writes it, and begins to copy a
part of the result to the device after the last instruction that writes it. So copies, messages and
reductions overlap, and the messages are those of the plan without a GPU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from swing.executor.plan.instruction import RECV, SCRATCH, SEND, Instruction, Opcode, Place


def stage(plan: Iterable[Instruction], part: int, in_place: bool) -> list[Instruction]:
    """The instructions of a plan, with COPY_TO_HOST and COPY_TO_DEVICE where they are needed.

    Args:
        plan: the plan of one rank.
        part: the number of elements of a part.
        in_place: whether the send buffer is the receive buffer.
    """
    groups = list(_groups(plan))
    first: dict[int, int] = {}  # part of the send vector: the first group that accesses it
    last: dict[int, int] = {}  # part of the receive vector: the last group that writes it
    pending: dict[int, Instruction] = {}  # slot: the IRECV in it
    for g, group in enumerate(groups):
        for i in group:
            reads, writes = _memory(i)
            # Writes count as well: a copy to the host that came later would overwrite them.
            for place in (*reads, *writes):
                if place.buffer == SEND or (in_place and place.buffer != SCRATCH):
                    for k in _parts(place, i.length, part):
                        first.setdefault(k, g)
            # A receive has written its memory once it has been waited for, unless it belongs to a
            # SENDRECV, which waits itself.
            done = [i]
            if i.do == Opcode.IRECV and len(group) == 1:
                pending[i.slot], done = i, []
            elif i.do == Opcode.WAIT:
                slots = range(i.slot, i.slot + i.length)
                done = [pending.pop(slot) for slot in slots if slot in pending]
            for each in done:
                for place in _memory(each)[1]:
                    if place.buffer == RECV:
                        last |= dict.fromkeys(_parts(place, each.length, part), g)
    parts_before, parts_after = _by_group(first), _by_group(last)
    staged = []
    for g, group in enumerate(groups):
        # In place, SEND and RECV are the same memory, so SEND serves both cases.
        staged += [
            Instruction(Opcode.COPY_TO_HOST, 0, length=part, a=Place(SEND, k * part))
            for k in parts_before[g]
        ]
        staged += group
        staged += [
            Instruction(Opcode.COPY_TO_DEVICE, 0, length=part, a=Place(RECV, k * part))
            for k in parts_after[g]
        ]
    return staged


def _groups(plan: Iterable[Instruction]) -> Iterator[list[Instruction]]:
    """Group the instructions: a SENDRECV with the IRECV that follows it, all others alone."""
    rows = iter(plan)
    for i in rows:
        yield [i, next(rows)] if i.do == Opcode.SENDRECV else [i]


def _memory(i: Instruction) -> tuple[Sequence[Place], Sequence[Place]]:
    """The operands that an instruction reads, and those that it writes."""
    if i.do in (Opcode.ISEND, Opcode.SENDRECV):
        return [i.a], []
    if i.do == Opcode.IRECV:
        return [], [i.a]
    if i.do == Opcode.WAIT:
        return [], []
    return [i.a] if i.do == Opcode.COPY else [i.a, i.b], [i.out]


def _parts(place: Place, length: int, part: int) -> range:
    """The numbers of the parts that an operand overlaps."""
    return range(place.at // part, -(-(place.at + length) // part))


def _by_group(group_of_part: dict[int, int]) -> dict[int, list[int]]:
    """The parts of each group."""
    parts: dict[int, list[int]] = defaultdict(list)
    for k, g in group_of_part.items():
        parts[g].append(k)
    return parts
