"""GOAL, the input language of LogGOPSim: sends and receives of each rank, and their dependencies.

A rank's messages of a step require its join (``calc 0``) of the previous step; messages of part j
use ``nic j``. The tag of a message is its number.

Loses: blocks and their reductions (which take no time), origins and homes. A comment at the head
has everything else, see `swing.formats.trace_header`. LogGOPSim does not read it: there a rank
waits for its messages of all parts in every step, also in a phase in which the parts run on their
own.

>>> import swing
>>> print("".join(write(swing.schedule("swing", swing.Torus(2), ports=1), 8)), end="")
// torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth parts=8 rows=2 phases=2*1 runs=2*1
num_ranks 2
rank 0 {
s0: send 4b to 1 tag 0
r1: recv 4b from 1 tag 1
c2: calc 0
c2 requires s0
c2 requires r1
r3: recv 4b from 1 tag 2
r3 requires c2
s4: send 4b to 1 tag 3
s4 requires c2
c5: calc 0
c5 requires c2
c5 requires r3
c5 requires s4
}
rank 1 {
r0: recv 4b from 0 tag 0
s1: send 4b to 0 tag 1
c2: calc 0
c2 requires r0
c2 requires s1
s3: send 4b to 0 tag 2
s3 requires c2
r4: recv 4b from 0 tag 3
r4 requires c2
c5: calc 0
c5 requires c2
c5 requires s3
c5 requires r4
}

Source: LogGOPSim, src/LogGOPSim/txt2bin.re.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from swing.formats import limits
from swing.formats.event_order import JOIN, RECV, SEND, Event
from swing.formats.event_trace import numbered, recover
from swing.formats.trace_header import Header
from swing.schedules.schedule import Schedule
from swing.torus import Torus

MAX_NICS = 256  # LogGOPSim stores the number in a byte

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
    """Yield the program of each rank for a vector of ``nbytes`` bytes.

    Raises:
        ValueError: more parts than GOAL has network cards, or too many messages.
    """
    p, nparts = schedule.torus.size, len(schedule.parts)
    if nparts > MAX_NICS:
        raise ValueError(f"GOAL numbers up to {MAX_NICS} network cards, not one for {nparts} parts")
    header, steps = numbered(schedule, nbytes)
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
        for m, tag in sent:
            how = f"tag {tag}" + (f" nic {m.part}" if nparts > 1 else "")
            for rank, letter, what in (
                (m.src, "s", f"send {m.nbytes}b to {m.dst} {how}"),
                (m.dst, "r", f"recv {m.nbytes}b from {m.src} {how}"),
            ):
                new[rank].append(add(rank, letter, what, join[rank]))
        for rank in range(p):
            if new[rank]:
                join[rank] = add(rank, "c", "calc 0", join[rank], *new[rank])
    yield f"// {header}\nnum_ranks {p}\n"
    for rank, lines in enumerate(ranks):
        yield f"rank {rank} {{\n" + "".join(lines) + "}\n"


def read(data: bytes, torus: Torus | None = None, eager_limit: int | None = None) -> Schedule:
    """Read a "traffic" schedule from GOAL programs.

    Receives from any source or with any tag are refused: the message that they match depends on
    timing.

    Args:
        data: the programs.
        torus: the torus of the ranks; by default the one in the header, else a ring.
        eager_limit: a send of more bytes is done when its receive is; None for no limit.

    Raises:
        ValueError: the text is not GOAL, or its sends and receives do not match.
    """
    return recover(parse(data), Header.parse(limits.text(data)), torus, eager_limit)


def parse(data: bytes) -> list[list[Event]]:
    """Parse GOAL programs into the events of each rank.

    Raises:
        ValueError: the text is not GOAL, or too long.
    """
    programs: list[list[Event]] = []
    size: int | None = None
    labels: dict[str, int] = {}
    seen: set[int] = set()
    events: list[Event] | None = None
    for where, line in limits.lines(_uncommented(limits.text(data)), 2 * limits.MAX_EVENTS):
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
                    raise ValueError(f"{where}: rank {rank} occurs twice")
                seen.add(rank)
                events, labels = programs[rank], {}
            else:
                raise ValueError(f"{where}: expected {'rank R {' if size else 'num_ranks N'}")
        elif line == "}":
            events = None
        else:
            _item(line, where, events, labels)
    if size is None or events is not None:
        raise ValueError("the file ends too early: a closing brace or num_ranks is missing")
    if len(seen) < size:
        raise ValueError(f"the file has {len(seen)} of {size} ranks")
    return programs


def _item(line: str, where: str, events: list[Event], labels: dict[str, int]) -> None:
    label: str | None
    if needs := _NEEDS.fullmatch(line):
        for name in (needs[1], needs[3]):
            if name not in labels:
                raise ValueError(f"{where}: there is no label {limits.short(name)} above")
        i, j = labels[needs[1]], labels[needs[3]]
        # irequires only orders the starts of two events, so it does not separate steps.
        if needs[2] == "requires":
            events[i].after.append(j)
        return
    if match := _MESSAGE.fullmatch(line):
        label, kind, size, preposition, peer, tag = match.groups()
        if (kind == SEND) != (preposition == "to"):
            raise ValueError(f"{where}: write send … to, or recv … from")
        if "-1" in (peer, tag):
            raise ValueError(
                f"{where}: a wildcard rank or tag (-1) matches by timing: name the rank and the tag"
            )
        nbytes = limits.whole(size, f"{where}: bytes")
        partner = limits.whole(peer, f"{where}: rank")
        tag_number = limits.whole(tag or "0", f"{where}: tag")
        events.append(Event(SEND if kind == "send" else RECV, partner, nbytes, tag_number))
    elif match := _CALC.fullmatch(line):
        label = match[1]
        events.append(Event(JOIN))
    else:
        raise ValueError(
            f"{where}: expected send, recv, calc or requires, not {limits.short(line)}"
        )
    if label is not None:
        if label in labels:
            raise ValueError(f"{where}: the label {limits.short(label)} occurs twice")
        labels[label] = len(events) - 1


def _uncommented(text: str) -> str:
    """Remove comments, but keep their line ends so that line numbers stay right."""

    def line_ends(comment: re.Match[str]) -> str:
        if comment[1] == "":
            raise ValueError("a comment has no end: close it with */")
        return "\n" * comment[0].count("\n")

    return re.sub(r"//[^\n]*|/\*.*?(\*/|\Z)", line_ends, text, flags=re.DOTALL)
