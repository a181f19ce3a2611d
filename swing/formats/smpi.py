"""Time-independent traces of SimGrid's SMPI, all ranks in one file.

``smpirun -replay LIST -np P -platform torus.xml -hostfile hosts`` replays it, where LIST is a file
that names this one; `swing.formats.simgrid` writes the other two. A rank posts its receives and
sends of a step, and waits for all of them.

Loses: blocks and what is done with them (reductions take no time), parts, phases, owners and how
ranks are placed: the host file has that. Torus and size are in a comment.

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

from collections.abc import Iterator

from swing.formats import limits
from swing.formats.event_trace import JOIN, RECV, SEND, About, Event, messages, recover
from swing.schedules.schedule import Schedule
from swing.torus import Torus

BYTE = "6"  # SimGrid's number of MPI_BYTE
_SIZES = {"0": 8, "1": 4, "2": 1, "3": 2, "4": 8, "5": 4, "6": 1}  # double int char short long …
_SIDES = {"send": SEND, "isend": SEND, "recv": RECV, "irecv": RECV}


def write(schedule: Schedule, nbytes: int) -> Iterator[str]:
    """The trace for a vector of some bytes."""
    ranks = range(schedule.torus.size)
    steps = list(messages(schedule, nbytes))
    copies = 1 + max((m.copy for sent in steps for m in sent), default=0)
    yield f"# {About.of(schedule, nbytes)}\n" + "".join(f"{r} init\n" for r in ranks)
    for sent in steps:
        tags = [m.step * copies + m.copy for m in sent]
        pairs = list(zip(sent, tags, strict=True))
        by_dst = sorted(pairs, key=lambda pair: pair[0].dst)
        yield "".join(f"{m.dst} irecv {m.src} {tag} {m.nbytes} {BYTE}\n" for m, tag in by_dst)
        yield "".join(f"{m.src} isend {m.dst} {tag} {m.nbytes} {BYTE}\n" for m, tag in pairs)
        yield "".join(f"{r} waitall\n" for r in ranks)
    yield "".join(f"{r} finalize\n" for r in ranks)


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """The traffic of a trace that has messages between two ranks only; computation is left out."""
    about: About | None = None
    ranks: dict[int, _Rank] = {}
    for count, (number, line) in enumerate(limits.lines(limits.text(data))):
        where = f"line {number}"
        if count > limits.MAX_EVENTS:
            raise ValueError(f"it has more than {count} lines: too many")
        if line.startswith("#"):
            about = about or About.parse(line)
        elif line:
            first, *words = line.split()
            rank = limits.whole(first, f"{where}: a rank", 0, limits.MAX_RANKS - 1)
            ranks.setdefault(rank, _Rank()).act(words, where)
    for rank, program in ranks.items():
        if not program.over:
            raise ValueError(f"rank {rank} does not finalize: the trace ends too early")
    if sorted(ranks) != list(range(len(ranks))):
        raise ValueError(f"it has {len(ranks)} ranks, and they are not 0 to {len(ranks) - 1}")
    return recover([ranks[r].events for r in range(len(ranks))], about, torus)


class _Rank:
    """What one rank does, as the lines come."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last: int | None = None  # what the next event comes after
        self.open: dict[tuple[str, int, int], list[int]] = {}  # requests nobody waits for yet
        self.over = False

    def act(self, words: list[str], where: str) -> None:
        """One line."""
        action, *args = words or [""]
        if self.over:
            raise ValueError(f"{where}: after finalize comes nothing")
        if action in _SIDES:
            self._message(_SIDES[action], action[0] == "i", args, where)
        elif action == "waitall" and not args:
            self._join([i for found in self.open.values() for i in found])
            self.open.clear()
        elif action == "wait" and len(args) == 3:
            self._wait(args, where)
        elif action == "finalize":
            self.over = True
        elif action not in ("init", "compute", "sleep"):
            raise ValueError(
                f"{where}: only messages between two ranks, not {limits.short(action)}"
            )

    def _message(self, kind: str, later: bool, args: list[str], where: str) -> None:
        if len(args) not in (3, 4) or (args[3:] and args[3] not in _SIZES):
            raise ValueError(f"{where} is not: rank send|recv peer tag count [datatype]")
        peer, tag, count = (limits.whole(a, f"{where}: a number") for a in args[:3])
        size = _SIZES[args[3]] if args[3:] else 1
        if not 0 < count * size <= limits.MAX_INTEGER:
            raise ValueError(f"{where}: a message has bytes, up to {limits.MAX_INTEGER}")
        self.events.append(Event(kind, peer, count * size, tag, self._after()))
        if later:
            self.open.setdefault((kind, peer, tag), []).append(len(self.events) - 1)
        else:
            self.last = len(self.events) - 1

    def _wait(self, args: list[str], where: str) -> None:
        src, dst, tag = (limits.whole(a, f"{where}: a number") for a in args)
        for key in ((SEND, dst, tag), (RECV, src, tag)):
            if found := self.open.get(key):
                self._join([found.pop(0)], again=True)
                if not found:
                    del self.open[key]
                return
        raise ValueError(f"{where}: there is no request to wait for")

    def _join(self, waited: list[int], again: bool = False) -> None:
        """Wait for events; one ``wait`` after the other is one join."""
        last = len(self.events) - 1
        if again and self.last == last and last >= 0 and self.events[last].kind == JOIN:
            self.events[last].after += waited
            return
        self.events.append(Event(JOIN, after=waited + self._after()))
        self.last = last + 1

    def _after(self) -> list[int]:
        return [] if self.last is None else [self.last]
