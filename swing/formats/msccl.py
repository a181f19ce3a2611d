"""MSCCL XML, which MSCCL and RCCL run on GPUs: the allreduce of a schedule, in place.

Each part is a channel; in each, a rank has a thread block for every peer it sends to and one for
every peer it receives from, so that neither waits for the other. A chunk is a block. A message
whose blocks the receiver also sends in that step lands in scratch memory and is added from there.
Operations wait for those that wrote what they read, and read or wrote what they write; a step can
wait for one only, so others go into steps that do nothing before it.

Limits of the readers, checked: 256 steps a thread block, messages of up to 71 chunks (longer ones
are cut), 32 peers a channel to send to and 32 to receive from, 32 channels, 32767 chunks.

Loses: the torus, phases, unequal shares (refused), steps (read back as early as data allows), and
the name beyond 31 letters. `swing.formats.msccl_reader` reads such files back.

Source: RCCL, src/misc/msccl/msccl_parser.cc; msccl-tools, msccl/language/ir.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from swing.formats.msccl_xml import MAX_CHUNKS
from swing.formats.native_json import ranges
from swing.schedules.schedule import Schedule
from swing.schedules.step import Message, Op

MAX_STEPS = 256
MAX_COUNT = 71
MAX_PEERS = 32
MAX_CHANNELS = 32
MAX_NAME = 31
INPUT, SCRATCH = "i", "s"


class Cells(NamedTuple):
    """Chunks ``first … first + length - 1`` of a buffer of the rank."""

    buffer: str
    first: int
    length: int


class Where(NamedTuple):
    """The thread block of a rank that sends to, or receives from, a peer on a channel."""

    channel: int
    sends: bool
    peer: int


@dataclass(eq=False)
class Operation:
    """A step of a thread block: ``kind`` s, r, rrc, re, cpy or nop."""

    kind: str
    block: int
    index: int
    source: Cells | None = None
    target: Cells | None = None
    wait: Operation | None = None
    waited: bool = False


@dataclass
class Rank:
    """A rank's thread blocks in the making, and who read and wrote each of its chunks last.

    ``past[a, b]`` is the last step of thread block b that thread block a has waited for.
    """

    blocks: dict[Where, list[Operation]] = field(default_factory=dict)
    numbers: dict[Where, int] = field(default_factory=dict)
    past: dict[tuple[int, int], int] = field(default_factory=dict)
    wrote: dict[tuple[str, int], Operation] = field(default_factory=dict)
    read: defaultdict[tuple[str, int], dict[int, Operation]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def add(self, where: Where, kind: str, source: Cells | None, target: Cells | None) -> None:
        """One more operation, after those that it has to wait for."""
        reads, writes = kind in ("s", "rrc", "re", "cpy"), target is not None
        before: set[Operation] = set()
        for cell in _each(source) if reads else ():
            before |= {self.wrote[cell]} if cell in self.wrote else set()
        for cell in _each(target) if writes else ():
            before |= {self.wrote[cell]} if cell in self.wrote else set()
            before |= set(self.read[cell].values())
        steps = self.blocks.setdefault(where, [])
        block = self.numbers.setdefault(where, len(self.numbers))
        latest: dict[int, Operation] = {}  # what comes last in a thread block stands for it all
        for other in before:
            if other.block != block and other.index > self.past.get((block, other.block), -1):
                known = latest.get(other.block, other)
                latest[other.block] = max(known, other, key=lambda o: o.index)
        waits: list[Operation | None] = [latest[b] for b in sorted(latest)] or [None]
        for first in waits[:-1]:
            steps.append(Operation("nop", block, len(steps), wait=first))
        operation = Operation(kind, block, len(steps), source, target, waits[-1])
        steps.append(operation)
        for other in latest.values():
            other.waited = True
            self.past[block, other.block] = other.index
        for cell in _each(target) if writes else ():
            self.wrote[cell] = operation
            self.read.pop(cell, None)
        for cell in _each(source) if reads and kind != "rrc" else ():
            self.read[cell][block] = operation


def write(schedule: Schedule, least: int = 0, most: int = 2**40) -> Iterator[str]:
    """The document, piece by piece.

    Args:
        schedule: an allreduce whose blocks are of equal size.
        least: bytes of the smallest vector it is for.
        most: bytes of the largest one.

    Raises:
        ValueError: another collective, unequal blocks, or a limit of the readers.
    """
    if schedule.collective != "allreduce":
        raise ValueError(f"MSCCL XML is written of an allreduce, not of {schedule.collective}")
    if schedule.shares is not None and np.ptp(schedule.shares) > 0:
        raise ValueError("MSCCL's chunks are of equal size, and the blocks here are not")
    _check(len(schedule.parts), MAX_CHANNELS, "channels, one a part")
    _check(schedule.nblocks, MAX_CHUNKS, "chunks")
    ranks = [Rank() for _ in schedule.torus.ranks]
    scratch = False
    for step in schedule:
        for rank, kind, m, cells in _turns(step.message(i) for i in range(len(step))):
            if kind == "s":
                ranks[rank].add(Where(m.part, True, m.dst), "s", cells, None)
                continue
            where = Where(m.part, False, m.src)
            if kind == "r":
                plain = "rrc" if m.op is Op.REDUCE else "r"
                ranks[rank].add(where, plain, cells if m.op is Op.REDUCE else None, cells)
                continue
            scratch, landed = True, cells._replace(buffer=SCRATCH)
            ranks[rank].add(where, "r", None, landed)
            ranks[rank].add(where, "re" if m.op is Op.REDUCE else "cpy", landed, cells)
    full = "_".join(filter(None, (schedule.name, schedule.variant)))
    name = re.sub(r"[^\w.+-]", "_", full, flags=re.ASCII)
    yield (
        f'<algo name="{name[:MAX_NAME]}" proto="Simple" nchannels="{len(schedule.parts)}" '
        f'nchunksperloop="{schedule.nblocks}" ngpus="{len(ranks)}" coll="allreduce" '
        f'inplace="1" outofplace="0" minBytes="{least}" maxBytes="{most}">\n'
    )
    for number, made in enumerate(ranks):
        chunks = f'i_chunks="{schedule.nblocks}" o_chunks="0" '
        chunks += f's_chunks="{schedule.nblocks if scratch else 0}"'
        yield f' <gpu id="{number}" {chunks}>\n' + _thread_blocks(made) + " </gpu>\n"
    yield "</algo>\n"


def _turns(messages: Iterable[Message]) -> Iterator[tuple[int, str, Message, Cells]]:
    """What ranks do in a step, sends first: s, r, or l where a message has to land in scratch."""
    kept = [(m, _cells(m)) for m in messages]
    sent: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    for m, pieces in kept:
        for cells in pieces:
            sent[m.src].update(_each(cells))
            yield m.src, "s", m, cells
    for m, pieces in kept:
        for cells in pieces:
            yield m.dst, "l" if sent[m.dst].intersection(_each(cells)) else "r", m, cells


def _cells(message: Message) -> list[Cells]:
    """The chunks of a message in ranges of up to `MAX_COUNT`."""
    pairs = ranges(message.blocks)
    return [
        Cells(INPUT, at, min(MAX_COUNT, first + count - at))
        for first, count in zip(pairs[::2], pairs[1::2], strict=True)
        for at in range(first, first + count, MAX_COUNT)
    ]


def _each(cells: Cells | None) -> Iterator[tuple[str, int]]:
    if cells is not None:
        for chunk in range(cells.first, cells.first + cells.length):
            yield cells.buffer, chunk


def _thread_blocks(rank: Rank) -> str:
    peers: defaultdict[tuple[int, bool], int] = defaultdict(int)
    lines = []
    for number, (where, steps) in enumerate(rank.blocks.items()):
        peers[where.channel, where.sends] += 1
        _check(peers[where.channel, where.sends], MAX_PEERS, "peers a channel")
        _check(len(steps), MAX_STEPS, "steps in a thread block")
        send, recv = (where.peer, -1) if where.sends else (-1, where.peer)
        lines.append(f'  <tb id="{number}" send="{send}" recv="{recv}" chan="{where.channel}">\n')
        lines += [_step(operation) for operation in steps]
        lines.append("  </tb>\n")
    return "".join(lines)


def _step(o: Operation) -> str:
    source, target = o.source or Cells(INPUT, -1, 0), o.target or Cells(INPUT, -1, 0)
    count = max(source.length, target.length)
    wait = (o.wait.block, o.wait.index) if o.wait else (-1, -1)
    return (
        f'   <step s="{o.index}" type="{o.kind}" srcbuf="{source.buffer}" srcoff="{source.first}" '
        f'dstbuf="{target.buffer}" dstoff="{target.first}" cnt="{count}" '
        f'depid="{wait[0]}" deps="{wait[1]}" hasdep="{int(o.waited)}"/>\n'
    )


def _check(count: int, most: int, what: str) -> None:
    if count > most:
        raise ValueError(f"MSCCL allows {most} {what}: this schedule has {count}")
