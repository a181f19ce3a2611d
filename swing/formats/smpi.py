"""Time-independent traces for SimGrid's SMPI, with all ranks in one file.

``smpirun -replay LIST -np P -platform torus.xml -hostfile hosts`` replays a trace. LIST is a file
with the trace's name; `swing.formats.simgrid` writes the platform and the hosts. In each step a
rank posts its receives and sends, and waits for all of them.

A trace of another program may also have one file per rank. Then LIST has their names, one per line
in rank order, and `swing.formats.read` takes LIST; or ``prefix.ti`` for files that are called
``prefix.0.ti``, ``prefix.1.ti`` and so on.

Loses: blocks and their reductions (which take no time), origins and homes. A comment at the head
has everything else, see `swing.formats.trace_header`. SimGrid does not read it: there a rank waits
for its messages of all parts in every step, also in a phase in which the parts run on their own.

>>> import swing
>>> print("".join(write(swing.schedule("swing", swing.Torus(2), ports=1), 8)), end="")
# torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth parts=8 rows=2 phases=2*1 runs=2*1
0 init
1 init
1 irecv 0 0 4 6
0 irecv 1 1 4 6
0 isend 1 0 4 6
1 isend 0 1 4 6
0 waitall
1 waitall
0 irecv 1 2 4 6
1 irecv 0 3 4 6
1 isend 0 2 4 6
0 isend 1 3 4 6
0 waitall
1 waitall
0 finalize
1 finalize

Source: SimGrid, src/smpi/internals/smpi_replay.cpp; the datatypes are in
src/smpi/mpi/smpi_datatype.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from swing.formats import limits
from swing.formats.event_order import JOIN, RECV, SEND, Event
from swing.formats.event_trace import numbered, recover
from swing.formats.trace_header import Header
from swing.schedules.schedule import Schedule
from swing.torus import Torus

BYTE = 6  # SimGrid's number of MPI_BYTE
SIZES = (
    8, 4, 1, 2, 8, 4, 1,  # double, int, char, short, long, float, byte
    8, 1, 1, 2, 4, 8, 8,  # long long, signed and unsigned char, the other unsigned types
    16, 4, 1,  # long double, wide char, bool
    1, 2, 4, 8, 1, 2, 4, 8,  # int8 to int64, uint8 to uint64
    8, 16, 32,  # complex float, double and long double
    8, 8,  # address, offset
    8, 16, 16, 8, 8, 8, 16, 16,  # pairs with an int: float, long, double, short; pairs of one type
    4, 4, 8, 16, 8, 16, 16,  # Fortran's reals and complex numbers
    4, 2, 4, 8, 16,  # Fortran's integers
    32, 1, 8, 16, 32,  # long double with an int; C++'s bool and complex numbers
    0, 0, 1, 8, 8,  # upper and lower bound, packed, pointer, count
)  # fmt: skip
"""Bytes of SimGrid's datatypes on 64-bit Linux, by number."""
_SIDES = {"send": SEND, "isend": SEND, "recv": RECV, "irecv": RECV}
_IGNORED = ("compute", "sleep", "test", "comm_size", "comm_split", "comm_dup", "location")
"""Actions that move no bytes, and that no message waits for."""
_COUNT = re.compile(r"[0-9]{1,16}(?:\.[0-9]{0,16})?(?:[eE][+-]?[0-9]{1,2})?")


def write(schedule: Schedule, nbytes: int) -> Iterator[str]:
    """Yield the trace for a vector of ``nbytes`` bytes.

    Raises:
        ValueError: the schedule has too many messages.
    """
    ranks = range(schedule.torus.size)
    header, steps = numbered(schedule, nbytes)
    yield f"# {header}\n" + "".join(f"{r} init\n" for r in ranks)
    for sent in steps:
        yield "".join(f"{m.dst} irecv {m.src} {tag} {m.nbytes} {BYTE}\n" for m, tag in sent)
        yield "".join(f"{m.src} isend {m.dst} {tag} {m.nbytes} {BYTE}\n" for m, tag in sent)
        busy = {rank for m, _ in sent for rank in (m.src, m.dst)}
        yield "".join(f"{r} waitall\n" for r in sorted(busy))
    yield "".join(f"{r} finalize\n" for r in ranks)


def read(
    files: bytes | Sequence[bytes], torus: Torus | None = None, eager_limit: int | None = None
) -> Schedule:
    """Read a "traffic" schedule from a trace of point-to-point messages.

    Computation is ignored; collective operations are refused.

    Args:
        files: the trace, or the contents of each rank's file.
        torus: the torus of the ranks; by default the one in the header, else a ring.
        eager_limit: a send of more bytes is done when its receive is; None for no limit. SimGrid
            calls it ``smpi/send-is-detached-thresh``.

    Raises:
        ValueError: the file is not such a trace, or its sends and receives do not match.
    """
    header: Header | None = None
    ranks: dict[int, _Rank] = {}
    shared = isinstance(files, bytes) or len(files) == 1
    for owner, data in enumerate([files] if isinstance(files, bytes) else files):
        for line_number, line in limits.lines(limits.text(data), limits.MAX_EVENTS):
            where = line_number if shared else f"rank {owner}'s file, {line_number}"
            if line.startswith("#"):
                header = header or Header.parse(line)
            elif line:
                first, *words = line.split()
                rank = limits.whole(first, f"{where}: a rank", 0, limits.MAX_RANKS - 1)
                if not shared and rank != owner:
                    raise ValueError(f"{where} is an action of rank {rank}")
                ranks.setdefault(rank, _Rank()).act(words, where)
    for rank, program in ranks.items():
        if not program.over:
            raise ValueError(f"rank {rank} has no finalize: the trace ends too early")
    if sorted(ranks) != list(range(len(ranks))):
        raise ValueError(f"the {len(ranks)} ranks must be numbered 0 to {len(ranks) - 1}")
    return recover([ranks[r].events for r in range(len(ranks))], header, torus, eager_limit)


def listed(data: bytes) -> list[str]:
    """Return the names of the files in a list for ``smpirun -replay``; none for a trace.

    A line of a trace has two words or more.
    """
    words = [line for _, line in limits.lines(limits.text(data)) if line and line[0] != "#"]
    return words if words and not any(len(line.split()) > 1 for line in words) else []


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
        elif action == "sendRecv":
            self._exchange(args, where)
        elif action == "waitall" and not args:
            self._join([i for requests in self.open.values() for i in requests])
            self.open.clear()
        elif action == "wait":
            self._wait(args, where)
        elif action == "finalize":
            self.over = True
        elif action == "init":
            # In SimGrid the default datatype is byte, or double if init has an argument.
            self.size = 8 if args else 1
        elif action not in _IGNORED:
            raise ValueError(
                f"{where}: only messages between two ranks can be read, not {limits.short(action)}"
            )

    def _message(self, kind: str, nonblocking: bool, args: list[str], where: str) -> None:
        if len(args) not in (3, 4):
            raise ValueError(f"{where}: write rank send|recv peer tag count [datatype]")
        peer, tag = (limits.whole(a, f"{where}: a number") for a in args[:2])
        # A receive of -1 elements takes whatever comes.
        anything = kind == RECV and args[2] == "-1"
        nbytes = None if anything else self._bytes(args[2], args[3:], where)
        self.events.append(Event(kind, peer, nbytes, tag, self._after()))
        if nonblocking:
            self.open.setdefault((kind, peer, tag), []).append(len(self.events) - 1)
        else:
            self.last = len(self.events) - 1

    def _exchange(self, args: list[str], where: str) -> None:
        if not 4 <= len(args) <= 6:
            raise ValueError(
                f"{where}: write rank sendRecv count dst count src [datatype datatype]"
            )
        dst, src = (limits.whole(a, f"{where}: a rank") for a in args[1:4:2])
        sent, received = (
            self._bytes(count, datatype, where)
            for count, datatype in ((args[0], args[4:5]), (args[2], args[5:6]))
        )
        n = len(self.events)
        self.events.append(Event(SEND, dst, sent, 0, self._after()))
        self.events.append(Event(RECV, src, received, 0, self._after()))
        self._join([n, n + 1])

    def _bytes(self, count: str, datatype: Sequence[str], where: str) -> int:
        """Return the bytes of a number of elements, of a datatype if one is named."""
        size = self.size
        if datatype:
            size = SIZES[limits.whole(datatype[0], f"{where}: a datatype", 0, len(SIZES) - 1)]
        # SimGrid reads floating-point numbers, so 1e6 is a count too.
        number = Decimal(count) if _COUNT.fullmatch(count) else None
        if number is None or number * max(1, size) > limits.MAX_INTEGER or number % 1:
            raise ValueError(
                f"{where}: a count is a whole number, of up to {limits.MAX_INTEGER} bytes, not "
                f"{limits.short(count)}"
            )
        return int(number) * size

    def _wait(self, args: list[str], where: str) -> None:
        if len(args) != 3:
            raise ValueError(f"{where}: write rank wait src dst tag")
        src, dst, tag = (limits.whole(a, f"{where}: a number") for a in args)
        # The line does not say whether this rank is src or dst: an open request decides.
        for key in ((SEND, dst, tag), (RECV, src, tag)):
            if requests := self.open.get(key):
                self._join([requests.pop(0)])
                if not requests:
                    del self.open[key]
                return
        raise ValueError(f"{where}: there is no request to wait for")

    def _join(self, waited: list[int]) -> None:
        self.events.append(Event(JOIN, after=waited + self._after()))
        self.last = len(self.events) - 1

    def _after(self) -> list[int]:
        return [] if self.last is None else [self.last]
