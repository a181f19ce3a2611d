"""Event traces: each rank's sends and receives with their dependencies, for the trace formats.

Such formats have message sizes in bytes but no blocks. Reading one gives a schedule of the
collective "traffic": a block is a byte, and a message of b bytes carries the blocks 0 … b - 1. It
can be simulated and printed, but not verified or run.

Each rank ends a step with a *join*: an event that waits for all the rank's messages of the step,
and that its messages of the next step wait for. A rank without messages in a step has a join too,
so that reading the trace finds the same steps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate
from operator import mul
from typing import NamedTuple

import numpy as np

from swing.formats import limits
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Torus

SEND, RECV, JOIN = "send", "recv", "join"
_Queues = defaultdict[tuple[int, int, int], list[int]]  # (src, dst, tag) → events


@dataclass(slots=True)
class Event:
    """A send, a receive or a join of one rank.

    Args:
        kind: SEND, RECV or JOIN; a join uses only ``after``.
        peer: the rank at the other end.
        nbytes: size of the message.
        tag: matches a send with its receive.
        after: events of the same rank, by index, that must finish before this one starts.
    """

    kind: str
    peer: int = -1
    nbytes: int = 0
    tag: int = 0
    after: list[int] = field(default_factory=list)


class Sent(NamedTuple):
    """One message; ``copy`` counts the earlier messages with the same step, src and dst."""

    step: int
    src: int
    dst: int
    nbytes: int
    part: int
    copy: int


class About(NamedTuple):
    """The comment at the head of our own files: torus, size and algorithm; other files lack it."""

    torus: Torus
    nbytes: int
    name: str = ""
    variant: str = ""

    @classmethod
    def of(cls, schedule: Schedule, nbytes: int) -> About:
        """Return the comment for a schedule of a vector of ``nbytes`` bytes."""
        return cls(schedule.torus, nbytes, schedule.name, schedule.variant)

    def __str__(self) -> str:
        dims, wrap = "x".join(map(str, self.torus.dims)), "".join("01"[w] for w in self.torus.wrap)
        # Colons and blanks separate fields, so names may not contain them.
        words = [re.sub(r"[^\w.+-]", "_", w, flags=re.ASCII) for w in (self.name, self.variant)]
        return (
            f"torus-swing dims={dims} wrap={wrap} nbytes={self.nbytes} algorithm={':'.join(words)}"
        )

    @classmethod
    def parse(cls, line: str) -> About | None:
        """Parse a comment; None if it is not one of ours.

        Raises:
            ValueError: the torus or the size is out of bounds.
        """
        match = _ABOUT.search(line)
        if not match:
            return None
        dims = [limits.whole(d, "a dimension", 1) for d in match[1].split("x")]
        for size in accumulate(dims, mul):
            limits.check_ranks(size)
        if len(match[2]) != len(dims):
            raise ValueError(
                f"wrap={match[2]} does not say 0 or 1 for each of {len(dims)} dimensions"
            )
        torus = Torus(dims, [w == "1" for w in match[2]])
        return cls(torus, limits.whole(match[3], "nbytes", 1), match[4], match[5])


_ABOUT = re.compile(
    r"torus-swing dims=([0-9x]{1,100}) wrap=([01]{1,32}) nbytes=([0-9]{1,16}) "
    r"algorithm=([\w.+-]{0,100}):([\w.+-]{0,100})",
    re.ASCII,
)


def messages(schedule: Schedule, nbytes: int) -> Iterator[list[Sent]]:
    """Yield the non-empty messages of each step, sorted by source and destination.

    Raises:
        ValueError: the schedule has more than `limits.MAX_ROWS` messages.
    """
    # In traffic a block is a byte. Its table of sizes would have an entry per byte of the vector.
    traffic = schedule.is_traffic and schedule.nblocks == nbytes
    each = None if traffic else np.diff(schedule.ends(nbytes))
    rows = 0
    for s, step in enumerate(schedule):
        size = step.blocks.counts if each is None else step.blocks.sums(each)
        # Several parts may send between the same two ranks in one step.
        copies: defaultdict[tuple[int, int], int] = defaultdict(int)
        sent = []
        columns = (column.tolist() for column in (step.src, step.dst, size, step.part))
        for a, b, n, j in sorted(zip(*columns, strict=True), key=lambda row: row[:2]):
            if n:
                sent.append(Sent(s, a, b, n, j, copies[a, b]))
                copies[a, b] += 1
        rows += len(sent)
        if rows > limits.MAX_ROWS:
            raise ValueError(f"{schedule!r} has more than {limits.MAX_ROWS} messages: too many")
        yield sent


def tagged(schedule: Schedule, nbytes: int) -> list[list[tuple[Sent, int]]]:
    """Return the `messages` of each step, each with a tag.

    Messages of one step between the same two ranks need different tags.

    Raises:
        ValueError: the schedule has more than `limits.MAX_ROWS` messages.
    """
    steps = list(messages(schedule, nbytes))
    copies = 1 + max((m.copy for sent in steps for m in sent), default=0)
    return [[(m, m.step * copies + m.copy) for m in sent] for sent in steps]


def traffic(
    about: About | None, torus: Torus, rows: Sequence[Sequence[tuple[int, int, int]]]
) -> Schedule:
    """Build a "traffic" schedule, in which only the size of each message is known.

    Args:
        about: the size of the vector, and the names; None if the file does not say.
        torus: the torus of the ranks.
        rows: the messages of each step, as (src, dst, bytes).
    """
    if about is None:
        # The vector's size is unknown; no message is larger than the vector.
        about = About(torus, max((n for step in rows for _, _, n in step), default=1))

    def step(s: int) -> Step:
        table = np.array(rows[s], dtype=np.int64).reshape(-1, 3)
        blocks = Blocks(table[:, 2], np.zeros(len(table), dtype=np.int64))
        return Step(False, table[:, 0], table[:, 1], blocks)

    name, variant = about.name or "traffic", about.variant
    return Schedule(
        name, torus, about.nbytes, len(rows), step, collective="traffic", variant=variant
    )


def recover(
    programs: Sequence[Sequence[Event]],
    about: About | None,
    torus: Torus | None,
    steps: Sequence[Sequence[int | None]] | None = None,
) -> Schedule:
    """Recover the "traffic" schedule from the events of all ranks.

    Args:
        programs: the events of each rank.
        about: the comment at the head of the file, if it has one.
        torus: the torus of the ranks; it replaces the one in ``about``. Without either, the ranks
            form a ring.
        steps: the step of every event, where the file names it.

    Raises:
        ValueError: a send without its receive or the reverse, a send and a receive that differ in
            size, or ranks that wait for each other in a cycle.
    """
    if not programs:
        raise ValueError("the trace has no rank")
    rows = _steps(programs, steps)
    ranks = torus or (about.torus if about else Torus(max(1, len(programs))))
    if ranks.size != len(programs):
        raise ValueError(
            f"the trace has {len(programs)} ranks, but the torus {ranks} has {ranks.size}"
        )
    return traffic(about, ranks, rows)


def _steps(
    programs: Sequence[Sequence[Event]], named: Sequence[Sequence[int | None]] | None
) -> list[list[tuple[int, int, int]]]:
    """Return the messages of each step, as (src, dst, bytes).

    If the file names the step of every event, those steps are used. Otherwise each event gets the
    earliest step that its dependencies allow: a message comes one step after the events that it
    waits for; a join is in the step of the messages before it, and one step after the join before
    it.

    The events are visited in topological order, which takes linear time.
    """
    first = np.append(0, np.cumsum([len(events) for events in programs])).tolist()
    # A send and its receive are one node of the graph, numbered like the send.
    node = list(range(first[-1]))
    for a, b in _matched(programs, first):
        node[b] = a
    earlier: list[list[tuple[int, int]]] = [[] for _ in node]
    for rank, events in enumerate(programs):
        for i, event in enumerate(events):
            for j in event.after:
                # A join belongs to the step of its messages; all other dependencies take a step.
                joins = event.kind == JOIN and events[j].kind != JOIN
                earlier[node[first[rank] + i]].append((node[first[rank] + j], 0 if joins else 1))
    level = [0] * len(node)
    order = TopologicalSorter({i: [j for j, _ in before] for i, before in enumerate(earlier)})
    try:
        for i in order.static_order():
            level[i] = max((level[j] + further for j, further in earlier[i]), default=0)
    except CycleError:
        raise ValueError(
            "the ranks wait for each other in a cycle, a deadlock: reorder the events"
        ) from None
    named_steps = [s for steps in named or () for s in steps]
    # Names of only some steps are ignored: they could contradict the levels of the others.
    if named_steps and None not in named_steps:
        level = [s or 0 for s in named_steps]
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(max(level, default=-1) + 1)]
    for rank, events in enumerate(programs):
        for i, event in enumerate(events, start=first[rank]):
            if event.kind == SEND:
                rows[level[i]].append((rank, event.peer, event.nbytes))
    return rows


def _matched(
    programs: Sequence[Sequence[Event]], first: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of a send and its receive, by their index among all events.

    As in MPI, the k-th send matches the k-th receive of the same source, destination and tag.
    """
    sides = {SEND: _Queues(list), RECV: _Queues(list)}
    for rank, events in enumerate(programs):
        for i, event in enumerate(events):
            if event.kind == JOIN:
                continue
            if not 0 <= event.peer < len(programs) or event.peer == rank:
                what = f"rank {rank} has a message with rank {event.peer}"
                raise ValueError(f"{what}: the peer is another rank from 0 to {len(programs) - 1}")
            ends = (rank, event.peer) if event.kind == SEND else (event.peer, rank)
            sides[event.kind][*ends, event.tag].append(first[rank] + i)
    flat = [event for events in programs for event in events]
    for key in sides[SEND].keys() | sides[RECV].keys():
        src, dst, tag = key
        sends, recvs = sides[SEND][key], sides[RECV][key]
        if len(sends) != len(recvs):
            what = f"{len(sends)} sends and {len(recvs)} receives from rank {src} to {dst}"
            raise ValueError(f"there are {what} with tag {tag}: their numbers must be equal")
        for a, b in zip(sends, recvs, strict=True):
            if flat[a].nbytes != flat[b].nbytes:
                what = f"{flat[a].nbytes} bytes are sent, but {flat[b].nbytes} are received"
                raise ValueError(f"rank {src} to {dst}, tag {tag}: {what}")
            yield a, b
