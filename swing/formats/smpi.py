"""Time-independent traces for SimGrid's SMPI, with all ranks in one file.

``smpirun -replay LIST -np P -platform torus.xml -hostfile hosts`` replays a trace. LIST is a file
with the trace's name; `swing.formats.simgrid` writes the platform and the hosts. In each step a
rank posts its receives and sends, and waits for all of them.

Loses: blocks and their reductions (which take no time), parts, phases, origins, homes and the
placement of ranks, which is in the host file. Torus and size are in a comment.

>>> import swing
>>> print("".join(write(swing.schedule("swing", swing.Torus(2), ports=1), 8)), end="")
# torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth
0 init
1 init
0 irecv 1 0 4 6
1 irecv 0 0 4 6
0 isend 1 0 4 6
1 isend 0 0 4 6
0 waitall
1 waitall
0 irecv 1 1 4 6
1 irecv 0 1 4 6
0 isend 1 1 4 6
1 isend 0 1 4 6
0 waitall
1 waitall
0 finalize
1 finalize

Source: SimGrid, src/smpi/internals/smpi_replay.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from swing.formats import limits
from swing.formats.event_trace import JOIN, RECV, SEND, About, Event, recover, tagged
from swing.schedules.schedule import Schedule
from swing.torus import Torus

BYTE = "6"  # SimGrid's number of MPI_BYTE
# Bytes of SimGrid's datatypes: double, int, char, short, long, float, byte.
_SIZES = {"0": 8, "1": 4, "2": 1, "3": 2, "4": 8, "5": 4, "6": 1}
_SIDES = {"send": SEND, "isend": SEND, "recv": RECV, "irecv": RECV}


def write(schedule: Schedule, nbytes: int) -> Iterator[str]:
    """Yield the trace for a vector of ``nbytes`` bytes.

    Raises:
        ValueError: the schedule has too many messages.
    """
    ranks = range(schedule.torus.size)
    steps = tagged(schedule, nbytes)
    yield f"# {About.of(schedule, nbytes)}\n" + "".join(f"{r} init\n" for r in ranks)
    for sent in steps:
        by_dst = sorted(sent, key=lambda pair: pair[0].dst)
        yield "".join(f"{m.dst} irecv {m.src} {tag} {m.nbytes} {BYTE}\n" for m, tag in by_dst)
        yield "".join(f"{m.src} isend {m.dst} {tag} {m.nbytes} {BYTE}\n" for m, tag in sent)
        # Idle ranks wait as well: otherwise a reader would count one step fewer for them.
        yield "".join(f"{r} waitall\n" for r in ranks)
    yield "".join(f"{r} finalize\n" for r in ranks)


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """Read a "traffic" schedule from a trace of point-to-point messages.

    Computation is ignored; collective operations are refused.

    Raises:
        ValueError: the file is not such a trace, or its sends and receives do not match.
    """
    about: About | None = None
    ranks: dict[int, _Rank] = {}
    for where, line in limits.lines(limits.text(data), limits.MAX_EVENTS):
        if line.startswith("#"):
            about = about or About.parse(line)
        elif line:
            first, *words = line.split()
            rank = limits.whole(first, f"{where}: a rank", 0, limits.MAX_RANKS - 1)
            ranks.setdefault(rank, _Rank()).act(words, where)
    for rank, program in ranks.items():
        if not program.over:
            raise ValueError(f"rank {rank} has no finalize: the trace ends too early")
    if sorted(ranks) != list(range(len(ranks))):
        raise ValueError(f"the {len(ranks)} ranks must be numbered 0 to {len(ranks) - 1}")
    return recover([ranks[r].events for r in range(len(ranks))], about, torus)


class _Rank:
    """The events of one rank, built up line by line."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last: int | None = None  # the blocking event or join that the next event waits for
        self.open: dict[tuple[str, int, int], list[int]] = {}  # requests without a wait so far
        self.over = False
        self.size = 1  # bytes of the default datatype

    def act(self, words: list[str], where: str) -> None:
        """Process one line, without its rank."""
        action, *args = words or [""]
        if self.over:
            raise ValueError(f"{where}: the rank has an action after its finalize")
        if action in _SIDES:
            self._message(_SIDES[action], action[0] == "i", args, where)
        elif action == "waitall" and not args:
            self._join([i for requests in self.open.values() for i in requests])
            self.open.clear()
        elif action == "wait" and len(args) == 3:
            self._wait(args, where)
        elif action == "finalize":
            self.over = True
        elif action == "init":
            # In SimGrid the default datatype is byte, or double if init has an argument.
            self.size = 8 if args else 1
        elif action not in ("compute", "sleep"):
            raise ValueError(
                f"{where}: only messages between two ranks can be read, not {limits.short(action)}"
            )

    def _message(self, kind: str, nonblocking: bool, args: list[str], where: str) -> None:
        if len(args) not in (3, 4) or (args[3:] and args[3] not in _SIZES):
            raise ValueError(f"{where}: write rank send|recv peer tag count [datatype]")
        peer, tag = (limits.whole(a, f"{where}: a number") for a in args[:2])
        count = _count(args[2], where)
        size = _SIZES[args[3]] if args[3:] else self.size
        if not 0 < count * size <= limits.MAX_INTEGER:
            raise ValueError(f"{where}: a message has 1 to {limits.MAX_INTEGER} bytes")
        self.events.append(Event(kind, peer, count * size, tag, self._after()))
        if nonblocking:
            self.open.setdefault((kind, peer, tag), []).append(len(self.events) - 1)
        else:
            self.last = len(self.events) - 1

    def _wait(self, args: list[str], where: str) -> None:
        src, dst, tag = (limits.whole(a, f"{where}: a number") for a in args)
        # The line does not say whether this rank is src or dst: an open request decides.
        for key in ((SEND, dst, tag), (RECV, src, tag)):
            if requests := self.open.get(key):
                self._join([requests.pop(0)], extend=True)
                if not requests:
                    del self.open[key]
                return
        raise ValueError(f"{where}: there is no request to wait for")

    def _join(self, waited: list[int], extend: bool = False) -> None:
        """Add a join that waits for events, or extend the join that was just added."""
        last = len(self.events) - 1
        # Consecutive waits are one join, because each join would otherwise begin another step.
        if extend and self.last == last and last >= 0 and self.events[last].kind == JOIN:
            self.events[last].after += waited
            return
        self.events.append(Event(JOIN, after=waited + self._after()))
        self.last = last + 1

    def _after(self) -> list[int]:
        return [] if self.last is None else [self.last]


def _count(text: str, where: str) -> int:
    """Read a number of elements; ``1e6`` is one, because SimGrid reads floating-point numbers."""
    match = re.fullmatch(r"([0-9]{1,16})(?:\.0*)?(?:[eE]\+?([0-9]{1,2}))?", text)
    if not match:
        raise ValueError(f"{where}: a count is a whole number, not {limits.short(text)}")
    power: int = 10 ** int(match[2] or 0)
    return int(match[1]) * power
