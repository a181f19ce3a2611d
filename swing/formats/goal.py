"""GOAL, the language of LogGOPSim: sends, receives and what requires what.

A rank's messages of a step require the rank's join (``calc 0``) of the step before; messages of
part j go through ``nic j``. Tags tell the messages of a step between the same ranks apart.

Loses: blocks and what is done with them (reductions take no time), parts, phases, owners and how
ranks are placed. Torus and size are in a comment.

>>> import swing
>>> print("".join(write(swing.schedule("swing", swing.Torus(2), ports=1), 8)), end="")
// torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth
num_ranks 2
rank 0 {
s0: send 4b to 1 tag 0
r1: recv 4b from 1 tag 0
c2: calc 0
c2 requires s0
c2 requires r1
s3: send 4b to 1 tag 1
s3 requires c2
r4: recv 4b from 1 tag 1
r4 requires c2
c5: calc 0
c5 requires c2
c5 requires s3
c5 requires r4
}
rank 1 {
r0: recv 4b from 0 tag 0
s1: send 4b to 0 tag 0
c2: calc 0
c2 requires r0
c2 requires s1
r3: recv 4b from 0 tag 1
r3 requires c2
s4: send 4b to 0 tag 1
s4 requires c2
c5: calc 0
c5 requires c2
c5 requires r3
c5 requires s4
}

Source: LogGOPSim, src/LogGOPSim/txt2bin.re.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from swing.formats import limits
from swing.formats.event_trace import JOIN, RECV, SEND, About, Event, messages, recover
from swing.schedules.schedule import Schedule
from swing.torus import Torus

MAX_NICS = 256  # LogGOPSim keeps the number in a byte

_RANKS = re.compile(r"num_ranks\s+([0-9]+)")
_RANK = re.compile(r"rank\s+([0-9]+)\s*\{")
_PLACE = r"(?:\s+cpu\s+[0-9]{1,3})?(?:\s+nic\s+[0-9]{1,3})?"
_LABEL = r"([a-zA-Z][a-zA-Z0-9_]*)"
_MESSAGE = re.compile(
    rf"(?:{_LABEL}\s*:\s*)?(send|recv)\s+([0-9]+)b\s+(to|from)\s+(-1|[0-9]+)"
    rf"(?:\s+tag\s+(-1|[0-9]+))?{_PLACE}"
)
_CALC = re.compile(rf"(?:{_LABEL}\s*:\s*)?calc\s+[0-9]+(?:\s+cpu\s+[0-9]{{1,3}})?")
_NEEDS = re.compile(rf"{_LABEL}\s+(i?requires)\s+{_LABEL}")


def write(schedule: Schedule, nbytes: int) -> Iterator[str]:
    """The program of every rank for a vector of some bytes."""
    p, nparts = schedule.torus.size, len(schedule.parts)
    if nparts > MAX_NICS:
        raise ValueError(f"GOAL numbers up to {MAX_NICS} network cards, not one for {nparts} parts")
    steps = list(messages(schedule, nbytes))
    copies = 1 + max((m.copy for sent in steps for m in sent), default=0)
    ranks: list[list[str]] = [[] for _ in range(p)]
    number, join = [0] * p, [""] * p

    def add(rank: int, letter: str, what: str, *after: str) -> str:
        label = f"{letter}{number[rank]}"
        number[rank] += 1
        ranks[rank].append(f"{label}: {what}\n")
        ranks[rank] += [f"{label} requires {other}\n" for other in after if other]
        return label

    for sent in steps:
        new: list[list[str]] = [[] for _ in range(p)]
        for m in sent:
            tag = f"tag {m.step * copies + m.copy}" + (f" nic {m.part}" if nparts > 1 else "")
            for rank, letter, what in (
                (m.src, "s", f"send {m.nbytes}b to {m.dst} {tag}"),
                (m.dst, "r", f"recv {m.nbytes}b from {m.src} {tag}"),
            ):
                new[rank].append(add(rank, letter, what, join[rank]))
        for rank in range(p):
            join[rank] = add(rank, "c", "calc 0", join[rank], *new[rank])
    yield f"// {About.of(schedule, nbytes)}\nnum_ranks {p}\n"
    for rank, lines in enumerate(ranks):
        yield f"rank {rank} {{\n" + "".join(lines) + "}\n"


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """The traffic of the programs.

    Receives from any source or with any tag are refused: which message they take depends on time.
    """
    programs = parse(data)
    return recover(programs, About.parse(limits.text(data)), torus)


def parse(data: bytes) -> list[list[Event]]:
    """The events of every rank."""
    programs: list[list[Event]] = []
    size: int | None = None
    labels: dict[str, int] = {}
    seen: set[int] = set()
    events: list[Event] | None = None
    for count, (number, line) in enumerate(limits.lines(_uncommented(limits.text(data)))):
        where = f"line {number}"
        if count > 2 * limits.MAX_EVENTS:
            raise ValueError(f"it has more than {count} lines: too many")
        if not line:
            continue
        if events is None:
            if size is None and (head := _RANKS.fullmatch(line)):
                size = limits.whole(head[1], f"{where}: num_ranks", 1)
                limits.check_ranks(size)
                programs = [[] for _ in range(size)]
            elif size and (head := _RANK.fullmatch(line)):
                rank = limits.whole(head[1], f"{where}: rank", 0, size - 1)
                if rank in seen:
                    raise ValueError(f"{where}: rank {rank} is there twice")
                seen.add(rank)
                events, labels = programs[rank], {}
            else:
                raise ValueError(f"{where}: expected {'rank R {' if size else 'num_ranks N'}")
        elif line == "}":
            events = None
        else:
            _item(line, where, events, labels)
    if size is None or events is not None:
        raise ValueError("it ends too early: a rank or num_ranks is missing")
    if len(seen) < size:
        raise ValueError(f"it has {len(seen)} of {size} ranks")
    return programs


def _item(line: str, where: str, events: list[Event], labels: dict[str, int]) -> None:
    label: str | None
    if needs := _NEEDS.fullmatch(line):
        for name in (needs[1], needs[3]):
            if name not in labels:
                raise ValueError(f"{where}: there is no label {limits.short(name)} above")
        i, j = labels[needs[1]], labels[needs[3]]
        if needs[2] == "requires":  # irequires holds of the starts: it brings no step about
            events[i].after.append(j)
        return
    if found := _MESSAGE.fullmatch(line):
        label, kind, size, way, peer, tag = found.groups()
        if (kind == SEND) != (way == "to"):
            raise ValueError(f"{where}: one sends to a rank, and receives from one")
        if "-1" in (peer, tag):
            raise ValueError(
                f"{where}: from any rank or with any tag: which message depends on time"
            )
        nbytes = limits.whole(size, f"{where}: bytes", 1)
        to, mark = limits.whole(peer, f"{where}: rank"), limits.whole(tag or "0", f"{where}: tag")
        events.append(Event(SEND if kind == "send" else RECV, to, nbytes, mark))
    elif found := _CALC.fullmatch(line):
        label = found[1]
        events.append(Event(JOIN))
    else:
        raise ValueError(
            f"{where}: expected send, recv, calc or requires, not {limits.short(line)}"
        )
    if label is not None:
        if label in labels:
            raise ValueError(f"{where}: the label {limits.short(label)} is there twice")
        labels[label] = len(events) - 1


def _uncommented(text: str) -> str:
    """A text without its comments, line ends aside."""
    kept, at = [], 0
    while found := re.compile(r"//|/\*").search(text, at):
        kept.append(text[at : found.start()])
        at = text.find("\n" if found[0] == "//" else "*/", found.end())
        if at < 0 and found[0] == "/*":
            raise ValueError("a comment does not end")
        at = len(text) if at < 0 else at
        if found[0] == "/*":
            at += 2
            kept.append("\n" * text.count("\n", found.end(), at))
    return "".join([*kept, text[at:]])
