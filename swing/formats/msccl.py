"""Writer of MSCCL XML, the GPU programs of MSCCL and RCCL: collectives in place.

Each part is a channel. On each channel a rank has one thread block per peer it sends to and one per
peer it receives from, so that sending and receiving do not wait for each other. A chunk is a block.
MSCCL puts the chunks of each rank side by side, so the blocks of a reduce-scatter or allgather are
renumbered by rank. If the receiver of a message also sends some of the message's blocks in the same
step, the message goes into scratch memory first and is added or copied from there.

Operations wait for earlier ones of other thread blocks by the usual hazards: read after write,
write after write, write after read. The format allows one such dependency per step, so any further
ones are attached to no-op steps inserted before it.

The limits of MSCCL's readers are checked: 256 steps per thread block, 71 chunks per message (longer
messages are split), 32 peers per channel to send to and 32 to receive from, 32 channels, 32767
chunks.

Each send has the attributes ``schedule_step``, its step in the schedule, and ``schedule_row``, its
row in the table of that step; and ``schedule_phase`` if the parts synchronise in phases of several
steps. MSCCL and RCCL ignore them; `swing.formats.msccl_reader` restores the steps from them.

Loses: the torus, the variant as a field of its own, the name beyond 31 characters, and the order of
additions. A GPU adds what it receives in a step in the order in which the file lists it, which may
differ from rank to rank: if a rank receives the same block from several peers in one step, the same
bits on all ranks are not guaranteed. Unequal shares and other collectives are refused.

Source: RCCL, src/misc/msccl/msccl_parser.cc; msccl-tools, msccl/language/ir.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from swing.formats.msccl_collectives import INPUT, OUTPUT, SCRATCH
from swing.formats.msccl_xml import MAX_CHUNKS, SCHEDULE_PHASE, SCHEDULE_ROW, SCHEDULE_STEP
from swing.formats.native_json import Numbers, ranges
from swing.schedules.collectives import has_root
from swing.schedules.schedule import Schedule
from swing.schedules.step import Message, Op
from swing.torus import Array

MAX_STEPS = 256
MAX_COUNT = 71
MAX_PEERS = 32
MAX_CHANNELS = 32
MAX_NAME = 31


class Cells(NamedTuple):
    """Chunks ``first … first + length - 1`` of one of a rank's buffers."""

    buffer: str
    first: int
    length: int


class Where(NamedTuple):
    """Names a thread block of a rank: it sends to, or receives from, one peer on one channel."""

    channel: int
    sends: bool
    peer: int


@dataclass(eq=False)
class Operation:
    """A step of a thread block.

    Args:
        kind: the type in the XML: s (send), r (receive), rrc (receive and reduce), re (reduce),
            cpy (copy) or nop.
        block: number of the thread block.
        index: number of the step in the thread block.
        source: the chunks read; None where the type reads none.
        target: the chunks written; None where the type writes none.
        place: its step, phase and row in the schedule, as attributes in XML; empty except in sends.
        wait: a step of another thread block that must finish first.
        waited: another step waits for this one.
    """

    kind: str
    block: int
    index: int
    source: Cells | None = None
    target: Cells | None = None
    place: str = ""
    wait: Operation | None = None
    waited: bool = False


@dataclass
class Rank:
    """A rank's thread blocks under construction, and the last accesses to each of its chunks.

    Args:
        blocks: the operations of each thread block.
        numbers: the number of each thread block.
        past: at [a, b] the last step of thread block b that thread block a has waited for.
        wrote: the operation that last wrote each chunk.
        read: for each chunk the last read per thread block since that write.
    """

    blocks: dict[Where, list[Operation]] = field(default_factory=dict)
    numbers: dict[Where, int] = field(default_factory=dict)
    past: dict[tuple[int, int], int] = field(default_factory=dict)
    wrote: dict[tuple[str, int], Operation] = field(default_factory=dict)
    read: defaultdict[tuple[str, int], dict[int, Operation]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def add(
        self,
        where: Where,
        kind: str,
        source: Cells | None = None,
        target: Cells | None = None,
        place: str = "",
    ) -> None:
        """Append an operation, with its dependencies on operations of other thread blocks."""
        reads, writes = list(_each(source)), list(_each(target))
        before = {self.wrote[cell] for cell in reads + writes if cell in self.wrote}
        before |= {operation for cell in writes for operation in self.read[cell].values()}
        steps = self.blocks.setdefault(where, [])
        block = self.numbers.setdefault(where, len(self.numbers))
        # Steps of a thread block run in order, so waiting for the latest one covers the others.
        latest: dict[int, Operation] = {}
        for other in sorted(before, key=lambda operation: operation.index):
            if other.block != block and other.index > self.past.get((block, other.block), -1):
                latest[other.block] = other
        waits: list[Operation | None] = [latest[b] for b in sorted(latest)] or [None]
        # A step has room for one dependency; no-op steps before it take the others.
        for first in waits[:-1]:
            steps.append(Operation("nop", block, len(steps), wait=first))
        operation = Operation(kind, block, len(steps), source, target, place, waits[-1])
        steps.append(operation)
        for other in latest.values():
            other.waited = True
            self.past[block, other.block] = other.index
        for cell in writes:
            self.wrote[cell] = operation
            self.read.pop(cell, None)
        # rrc overwrites the chunks that it reads, so the write above already covers the read.
        for cell in reads if kind != "rrc" else ():
            self.read[cell][block] = operation


def write(schedule: Schedule, least: int = 0, most: int = 2**40) -> Iterator[str]:
    """Yield the XML document, piece by piece.

    Args:
        schedule: an allreduce, reduce-scatter or allgather with blocks of equal size.
        least: the smallest vector that the program applies to, in bytes.
        most: the largest one, in bytes.

    Raises:
        ValueError: another collective, unequal blocks, or a limit of MSCCL's readers.
    """
    if schedule.shares is not None and (np.ptp(schedule.shares) > 0 or not schedule.shares.any()):
        raise ValueError(
            "MSCCL's chunks are of equal size and not empty: the schedule's blocks must be as well"
        )
    _check(len(schedule.parts), MAX_CHANNELS, "channels, one per part")
    _check(schedule.nblocks, MAX_CHUNKS, "chunks")
    collective, buffer, chunk_of = _chunks(schedule)
    ranks = [Rank() for _ in schedule.torus.ranks]
    scratch = False
    places = _places(schedule)
    for s, step in enumerate(schedule):
        messages = [step.message(i) for i in range(len(step))]
        split = [(m, _cells(buffer, np.sort(chunk_of[m.blocks]))) for m in messages]
        for rank, kind, row, cells in _operations(split):
            m = messages[row]
            if kind == "s":
                place = f'{places[s]} {SCHEDULE_ROW}="{row}"'
                ranks[rank].add(Where(m.part, True, m.dst), kind, cells, place=place)
                continue
            where = Where(m.part, False, m.src)
            if kind == "r":
                direct = "rrc" if m.op is Op.REDUCE else "r"
                ranks[rank].add(where, direct, cells if m.op is Op.REDUCE else None, cells)
                continue
            # Chunk i lands in scratch chunk i, so messages with different chunks cannot collide.
            scratch, landed = True, cells._replace(buffer=SCRATCH)
            ranks[rank].add(where, "r", target=landed)
            ranks[rank].add(where, "re" if m.op is Op.REDUCE else "cpy", landed, cells)
    # The document is written without escaping, so quotes and markup in names are replaced.
    full = "_".join(filter(None, (schedule.name, schedule.variant)))
    name = re.sub(r"[^\w.+-]", "_", full, flags=re.ASCII)
    yield (
        f'<algo name="{name[:MAX_NAME]}" proto="Simple" nchannels="{len(schedule.parts)}" '
        f'nchunksperloop="{schedule.nblocks}" ngpus="{len(ranks)}" coll="{collective}" '
        f'inplace="1" outofplace="0" minBytes="{least}" maxBytes="{most}">\n'
    )
    for number, program in enumerate(ranks):
        used = {buffer: schedule.nblocks, SCRATCH: schedule.nblocks if scratch else 0}
        chunks = " ".join(f'{b}_chunks="{used.get(b, 0)}"' for b in (INPUT, OUTPUT, SCRATCH))
        yield f' <gpu id="{number}" {chunks}>\n' + _thread_blocks(program) + " </gpu>\n"
    yield "</algo>\n"


def _chunks(schedule: Schedule) -> tuple[str, str, Array]:
    """Return MSCCL's name of the collective, the buffer that it uses, and each block's chunk."""
    if schedule.is_allreduce:
        return "allreduce", INPUT, np.arange(schedule.nblocks)
    collective = schedule.collective
    if collective not in ("reduce_scatter", "allgather"):
        why = "cannot name a root" if has_root(collective) else "is written for one buffer per rank"
        raise ValueError(
            f"MSCCL XML {why}: it holds allreduce, reduce_scatter and allgather, not {collective}"
        )
    scatters = collective == "reduce_scatter"
    rank_of = np.asarray(schedule.home if scatters else schedule.origin)
    counts = np.bincount(np.maximum(rank_of, 0), minlength=schedule.torus.size)
    if (rank_of < 0).any() or np.ptp(counts) > 0:
        raise ValueError(f"an MSCCL {collective} has equally many chunks of every rank")
    chunk_of = np.empty(schedule.nblocks, dtype=np.int64)
    chunk_of[np.argsort(rank_of, kind="stable")] = np.arange(schedule.nblocks)
    return ("reducescatter", INPUT, chunk_of) if scatters else ("allgather", OUTPUT, chunk_of)


def _places(schedule: Schedule) -> list[str]:
    """Return the attributes of the sends in each step."""
    steps = range(schedule.nsteps)
    number = Numbers(schedule.sync_phase)
    phases = [number(s) for s in steps]
    lockstep = len(set(phases)) == len(phases)
    return [
        f' {SCHEDULE_STEP}="{s}"' + ("" if lockstep else f' {SCHEDULE_PHASE}="{phases[s]}"')
        for s in steps
    ]


def _operations(
    split: Sequence[tuple[Message, list[Cells]]],
) -> Iterator[tuple[int, str, int, Cells]]:
    """Yield the rank, kind, row of the message and chunks of each operation of a step, sends first.

    The kind is s for a send, r for a receive, and l for a receive that has to go through scratch
    memory, because the rank also sends these chunks: the send must read their old value.
    """
    sent: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    # All sends come first, so that `sent` is complete before the receives are looked at.
    for row, (m, pieces) in enumerate(split):
        for cells in pieces:
            sent[m.src].update(_each(cells))
            yield m.src, "s", row, cells
    for row, (m, pieces) in enumerate(split):
        for cells in pieces:
            yield m.dst, "l" if sent[m.dst].intersection(_each(cells)) else "r", row, cells


def _cells(buffer: str, chunks: Array) -> list[Cells]:
    """Return the chunks of a message as ranges of at most `MAX_COUNT` chunks."""
    pairs = ranges(chunks)
    return [
        Cells(buffer, at, min(MAX_COUNT, first + count - at))
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
        _check(peers[where.channel, where.sends], MAX_PEERS, "peers per channel")
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
        f'depid="{wait[0]}" deps="{wait[1]}" hasdep="{int(o.waited)}"{o.place}/>\n'
    )


def _check(count: int, most: int, what: str) -> None:
    if count > most:
        raise ValueError(f"MSCCL allows {most} {what}: this schedule has {count}")
