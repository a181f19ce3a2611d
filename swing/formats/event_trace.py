"""Event traces: each rank's sends and receives with their dependencies, for the trace formats.

Such formats have message sizes in bytes but no blocks. Reading one gives a schedule of the
collective "traffic": a block is a byte, and a message of b bytes carries the first b blocks of its
part. It can be simulated and printed, but not verified or run.

The step of a message follows from the events that its send waits for, see
`swing.formats.event_order`. Our own traces number their messages, see `swing.formats.trace_header`,
and no message comes earlier than the step that its number names. So a rank that is idle in a step
comes back as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from swing.formats import limits
from swing.formats.event_order import SEND, Event, Order
from swing.formats.trace_header import Header, byte_ends
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Torus


class Sent(NamedTuple):
    """One message: ``row`` is its position among the messages of its step."""

    step: int
    row: int
    src: int
    dst: int
    nbytes: int
    part: int


def messages(schedule: Schedule, nbytes: int) -> Iterator[list[Sent]]:
    """Yield the messages of each step in the schedule's order, without those of no bytes.

    Args:
        schedule: the messages.
        nbytes: size of the vector that one rank holds; an all-to-all has `Schedule.vectors` of it.

    Raises:
        ValueError: the schedule has more than `limits.MAX_ROWS` messages.
    """
    each = None if schedule.is_traffic else np.diff(schedule.ends(nbytes * schedule.vectors))
    rows = 0
    for s, step in enumerate(schedule):
        sizes = _sizes(schedule, step, nbytes) if each is None else step.blocks.sums(each).tolist()
        columns = step.src.tolist(), step.dst.tolist(), sizes, step.part.tolist()
        # A trace may have messages without bytes, but a rank sends no block of a vector so short.
        kept = [row for row in zip(*columns, strict=True) if row[2] or schedule.is_traffic]
        rows += len(kept)
        if rows > limits.MAX_ROWS:
            raise ValueError(f"{schedule!r} has more than {limits.MAX_ROWS} messages: too many")
        yield [Sent(s, i, *row) for i, row in enumerate(kept)]


def _sizes(schedule: Schedule, step: Step, nbytes: int) -> list[int]:
    """Return the bytes of each message in a step of traffic, whose blocks are too many to list."""
    firsts, counts = step.blocks.starts, step.blocks.counts
    if firsts is None:
        members = [step.blocks.members(i).tolist() for i in range(len(step))]
        return [
            sum(byte_ends(schedule, nbytes, [b + 1 for b in blocks]))
            - sum(byte_ends(schedule, nbytes, blocks))
            for blocks in members
        ]
    ends = byte_ends(schedule, nbytes, np.stack([firsts, firsts + counts], axis=1).ravel().tolist())
    return [last - first for first, last in zip(ends[::2], ends[1::2], strict=True)]


def numbered(schedule: Schedule, nbytes: int) -> tuple[Header, list[list[tuple[Sent, int]]]]:
    """Return the header of a schedule's trace, and the `messages` of each step with their tags.

    Raises:
        ValueError: the schedule has more messages than a trace holds.
    """
    steps = list(messages(schedule, nbytes))
    header = Header.of(schedule, nbytes, max(map(len, steps), default=0))
    return header, [[(m, header.tag(m.step, m.row, m.part)) for m in sent] for sent in steps]


def traffic(
    header: Header | None, torus: Torus, rows: Sequence[Sequence[tuple[int, int, int, int]]]
) -> Schedule:
    """Build a "traffic" schedule, in which only the size of each message is known.

    Args:
        header: size of the vector, names, parts and phases; None if the file does not say. Then
            the vector has the bytes of all messages together.
        torus: the torus of the ranks.
        rows: the messages of each step, as (src, dst, bytes, part).

    Raises:
        ValueError: the messages have too many bytes, or one is larger than its part of the vector.
    """
    if header is None:
        total = sum(row[2] for step in rows for row in step)
        header = Header(torus, max(1, limits.number(total, "the sum of all messages' bytes")))
    parts = header.parts or (header.nbytes,)
    firsts = np.array([0, *accumulate(parts)], dtype=np.int64)
    for src, dst, nbytes, part in (row for step in rows for row in step):
        if part >= len(parts) or nbytes > parts[part]:
            raise ValueError(
                f"the message of {nbytes} bytes from rank {src} to {dst} does not fit into part "
                f"{part} of the vector that the header describes"
            )

    def step(s: int) -> Step:
        src, dst, nbytes, part = np.array(rows[s], dtype=np.int64).reshape(-1, 4).T
        return Step(False, src, dst, Blocks(nbytes, firsts[part]), part)

    # A file whose dependencies contradict its header may have more steps than that says.
    known = 0 < len(rows) == header.nsteps
    phase, run = (_index(lengths) if known else None for lengths in (header.phases, header.runs))
    return Schedule(
        header.name or "traffic", torus, header.nbytes, len(rows), step, collective="traffic",
        variant=header.variant, parts=parts, signature=run, sync_phase=phase,
    )  # fmt: skip


def _index(lengths: Sequence[int]) -> Callable[[int], int]:
    """Return the function from a step to the index of the run that it is in."""
    index: list[int] = np.repeat(np.arange(len(lengths)), lengths).tolist()
    return index.__getitem__


def recover(
    programs: Sequence[Sequence[Event]],
    header: Header | None,
    torus: Torus | None,
    eager_limit: int | None = None,
) -> Schedule:
    """Recover the "traffic" schedule from the events of all ranks.

    Args:
        programs: the events of each rank.
        header: the header, if the file has one.
        torus: the torus of the ranks; it replaces the one in the header. Without either, the ranks
            form a ring.
        eager_limit: a send of more bytes is done when its receive is; None for no limit.

    Raises:
        ValueError: a send without its receive or the reverse, a receive smaller than its message,
            or ranks that wait for each other in a cycle.
    """
    if not programs:
        raise ValueError("the trace has no rank")
    ranks = torus or (header.torus if header else Torus(len(programs)))
    if ranks.size != len(programs):
        raise ValueError(
            f"the trace has {len(programs)} ranks, but the torus {ranks} has {ranks.size}"
        )
    order = Order(programs, eager_limit)
    numbers = header is not None and header.rows > 0
    places = {
        i: header.place(event.tag) if header and numbers else (0, i, 0)
        for i, event in enumerate(order.events)
        if event.kind == SEND
    }
    step_of = order.steps({i: place[0] for i, place in places.items()})
    nsteps = max([header.nsteps if header else 0, *(step_of[i] + 1 for i in places)])
    table: list[list[tuple[int, int, int, int, int]]] = [[] for _ in range(nsteps)]
    for i, (_, row, part) in places.items():
        event = order.events[i]
        table[step_of[i]].append((row, order.rank[i], event.peer, event.nbytes or 0, part))
    return traffic(header, ranks, [[row[1:] for row in sorted(step)] for step in table])
