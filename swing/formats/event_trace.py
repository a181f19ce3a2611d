"""What the text formats have in common: every rank's sends and receives, and what waits for what.

Such formats know bytes, not blocks. Reading one gives a schedule of the collective "traffic": a
block is a byte, and messages of b bytes carry the blocks 0 … b - 1. It can be simulated and
looked at; there is nothing in it to verify or to run.

A rank's step ends with a *join*, an event that waits for all its messages of the step and that
those of the next step wait for. A rank that rests has a join too, so that steps survive.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from swing.formats import limits
from swing.schedules.blocks import BlockRange
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Torus

SEND, RECV, JOIN = "send", "recv", "join"


@dataclass(slots=True)
class Event:
    """Something a rank does: a side of a message, or a join (then only ``after`` counts).

    Args:
        kind: SEND, RECV or JOIN.
        after: events of the same rank, by index, that must be over before.
    """

    kind: str
    peer: int = -1
    nbytes: int = 0
    tag: int = 0
    after: list[int] = field(default_factory=list)


class Sent(NamedTuple):
    """A message of a step; ``copy`` counts those before it of the same step, src and dst."""

    step: int
    src: int
    dst: int
    nbytes: int
    part: int
    copy: int


class About(NamedTuple):
    """What our files say in a comment; others do without."""

    torus: Torus
    nbytes: int
    name: str = ""
    variant: str = ""

    @classmethod
    def of(cls, schedule: Schedule, nbytes: int) -> About:
        """What there is to say about a schedule for a vector of some bytes."""
        return cls(schedule.torus, nbytes, schedule.name, schedule.variant)

    def __str__(self) -> str:
        dims, wrap = "x".join(map(str, self.torus.dims)), "".join("01"[w] for w in self.torus.wrap)
        words = [re.sub(r"[^\w.+-]", "_", w, flags=re.ASCII) for w in (self.name, self.variant)]
        return (
            f"torus-swing dims={dims} wrap={wrap} nbytes={self.nbytes} algorithm={':'.join(words)}"
        )

    @classmethod
    def parse(cls, line: str) -> About | None:
        """What a comment says, if it is one of ours."""
        found = _ABOUT.search(line)
        if not found:
            return None
        dims = [limits.whole(d, "a dimension", 1) for d in found[1].split("x")]
        size = 1
        for d in dims:
            size *= d
            limits.check_ranks(size)
        if len(found[2]) != len(dims):
            raise ValueError(
                f"wrap={found[2]} does not say 0 or 1 for each of {len(dims)} dimensions"
            )
        torus = Torus(dims, [w == "1" for w in found[2]])
        return cls(torus, limits.whole(found[3], "nbytes", 1), found[4], found[5])


_ABOUT = re.compile(
    r"torus-swing dims=([0-9x]{1,100}) wrap=([01]{1,32}) nbytes=([0-9]{1,16}) "
    r"algorithm=([\w.+-]{0,100}):([\w.+-]{0,100})",
    re.ASCII,
)


def messages(schedule: Schedule, nbytes: int) -> Iterator[list[Sent]]:
    """The messages of every step that have a byte to carry, by source and destination.

    Raises:
        ValueError: more than `safe.MAX_ROWS` of them.
    """
    traffic = schedule.collective == "traffic" and schedule.nblocks == nbytes
    ends = None if traffic else schedule.ends(nbytes)
    rows = 0
    for s, step in enumerate(schedule):
        src, dst, blocks, part = step.rows
        if ends is None:
            size = blocks.count
        elif isinstance(blocks, BlockRange):
            size = ends[blocks.start + blocks.count] - ends[blocks.start]
        else:
            each = np.diff(ends)
            size = np.array([each[blocks[i]].sum() for i in range(len(blocks))], dtype=np.int64)
        copies: defaultdict[tuple[int, int], int] = defaultdict(int)
        sent = []
        columns = zip(src.tolist(), dst.tolist(), size.tolist(), part.tolist(), strict=True)
        for a, b, n, j in sorted(columns, key=lambda row: row[:2]):
            if n:
                sent.append(Sent(s, a, b, n, j, copies[a, b]))
                copies[a, b] += 1
        rows += len(sent)
        if rows > limits.MAX_ROWS:
            raise ValueError(f"{schedule!r} has more than {limits.MAX_ROWS} messages: too many")
        yield sent


def traffic(about: About, rows: Sequence[Sequence[tuple[int, int, int]]]) -> Schedule:
    """A schedule of which only the bytes are known.

    Args:
        about: torus, and bytes of the vector.
        rows: for every step its (src, dst, bytes).
    """

    def step(s: int) -> Step:
        table = np.array(rows[s], dtype=np.int64).reshape(-1, 3)
        blocks = BlockRange(np.zeros(len(table), dtype=np.int64), table[:, 2])
        return Step(Op.COPY, table[:, 0], table[:, 1], blocks)

    return Schedule(
        about.name or "traffic",
        about.torus,
        about.nbytes,
        len(rows),
        step,
        collective="traffic",
        variant=about.variant,
    )


def recover(
    programs: Sequence[Sequence[Event]],
    about: About | None,
    torus: Torus | None,
    steps: Sequence[Sequence[int | None]] | None = None,
) -> Schedule:
    """The schedule that programs of events, one for each rank, come from.

    Args:
        programs: events by rank.
        about: what the file says of itself.
        torus: where the ranks sit, instead of what the file says.
        steps: the step of every event, where the file names it.

    Raises:
        ValueError: a message without its other side, sides that differ in size, or ranks that
            wait for each other in a circle.
    """
    if not programs:
        raise ValueError("there is no rank in it")
    rows = _steps(programs, steps)
    place = torus or (about.torus if about else Torus(max(1, len(programs))))
    if place.size != len(programs):
        raise ValueError(f"it has {len(programs)} ranks, and the torus {place} {place.size}")
    if about is None:
        about = About(place, max((n for step in rows for _, _, n in step), default=1))
    return traffic(about._replace(torus=place), rows)


def _steps(
    programs: Sequence[Sequence[Event]], named: Sequence[Sequence[int | None]] | None
) -> list[list[tuple[int, int, int]]]:
    """The messages of every step: that which is named, or as early as what they wait for allows.

    A message comes one step after what it waits for; a join is in the step of the messages
    before it, and one step after the join before it.
    """
    first = np.append(0, np.cumsum([len(events) for events in programs])).tolist()
    node = list(range(first[-1]))  # a send and its receive are one node, the send's
    for a, b in _matched(programs, first):
        node[b] = a
    later: list[list[tuple[int, int]]] = [[] for _ in node]
    waits = [0] * len(node)
    flat = [event for events in programs for event in events]
    for rank, events in enumerate(programs):
        for i, event in enumerate(events):
            for j in event.after:
                joins = event.kind == JOIN and events[j].kind != JOIN
                later[node[first[rank] + j]].append((node[first[rank] + i], 0 if joins else 1))
                waits[node[first[rank] + i]] += 1
    level = [0] * len(node)
    ready = deque(i for i in range(len(node)) if node[i] == i and not waits[i])
    done = sum(node[i] != i for i in range(len(node)))
    while ready:
        i = ready.popleft()
        done += 1
        for j, further in later[i]:
            level[j] = max(level[j], level[i] + further)
            waits[j] -= 1
            if not waits[j]:
                ready.append(j)
    if done < len(node):
        raise ValueError("ranks wait for each other in a circle: it never ends")
    given = [s for steps in named or () for s in steps]
    if given and None not in given:
        level = [s or 0 for s in given]
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(max(level, default=-1) + 1)]
    for rank, events in enumerate(programs):
        for i, event in enumerate(events, start=first[rank]):
            if event.kind == SEND:
                rows[level[i]].append((rank, flat[i].peer, flat[i].nbytes))
    return rows


def _matched(
    programs: Sequence[Sequence[Event]], first: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Sends and their receives: the k-th of a source, destination and tag match."""
    sides: dict[str, defaultdict[tuple[int, int, int], list[int]]] = {
        SEND: defaultdict(list),
        RECV: defaultdict(list),
    }
    for rank, events in enumerate(programs):
        for i, event in enumerate(events):
            if event.kind == JOIN:
                continue
            if not 0 <= event.peer < len(programs) or event.peer == rank:
                what = f"rank {rank} has a message with rank {event.peer}"
                raise ValueError(f"{what}: it has {len(programs)} ranks, from 0 on")
            ends = (rank, event.peer) if event.kind == SEND else (event.peer, rank)
            sides[event.kind][*ends, event.tag].append(first[rank] + i)
    flat = [event for events in programs for event in events]
    for key in sides[SEND].keys() | sides[RECV].keys():
        src, dst, tag = key
        sends, recvs = sides[SEND][key], sides[RECV][key]
        if len(sends) != len(recvs):
            what = f"{len(sends)} sends and {len(recvs)} receives from rank {src} to {dst}"
            raise ValueError(f"there are {what} with tag {tag}: they do not match")
        for a, b in zip(sends, recvs, strict=True):
            if flat[a].nbytes != flat[b].nbytes:
                what = f"sends {flat[a].nbytes} bytes, and {flat[b].nbytes} are received"
                raise ValueError(f"rank {src} to {dst}, tag {tag}: {what}")
            yield a, b
