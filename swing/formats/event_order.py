"""Order of the events of a trace: the step of every message, from what each event waits for.

An event is a send, a receive, or a *join*, which waits for other events of its rank and takes no
time. The step of a message is the number of messages that must have arrived, one after the other,
before it can be sent:

- A send is done when it is handed over, so the events that wait for it need not wait for its
  message to arrive. If there is an eager limit, a send above it (by *rendezvous*) begins when its
  receive has been posted too, and is done when that receive is.
- A receive may be posted at any time after the events that it waits for. It is done when its
  message has arrived, one step after the step in which that was sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from swing.formats import limits

SEND, RECV, JOIN = "send", "recv", "join"
_Queues = defaultdict[tuple[int, int, int], list[int]]  # (src, dst, tag) → events


@dataclass(slots=True)
class Event:
    """A send, a receive or a join of one rank.

    Args:
        kind: SEND, RECV or JOIN; a join uses only ``after``.
        peer: the rank at the other end.
        nbytes: size of the message; of a receive, the most that it takes, or None for any number.
        tag: matches a send with its receive.
        after: events of the same rank, by index, that must be done before this one starts.
    """

    kind: str
    peer: int = -1
    nbytes: int | None = 0
    tag: int = 0
    after: list[int] = field(default_factory=list)


class Order:
    """The order of the events of all ranks, each known by its number.

    Args:
        programs: the events of each rank.
        eager_limit: a send of more bytes is done when its receive is; None for no limit.

    Attributes:
        events: all events, those of rank 0 first.
        rank: the rank of each event.
        partner: for each send the number of its receive, for each receive that of its send.
    """

    def __init__(self, programs: Sequence[Sequence[Event]], eager_limit: int | None) -> None:
        self.events = [event for events in programs for event in events]
        self.rank = [rank for rank, events in enumerate(programs) for _ in events]
        self.first = [0, *accumulate(map(len, programs))]
        self.limit = limits.MAX_INTEGER if eager_limit is None else eager_limit
        self.partner = [-1] * len(self.events)
        for send, receive in _matched(self.events, self.rank, len(programs)):
            self.partner[send], self.partner[receive] = receive, send

    def steps(self, least: dict[int, int]) -> list[int]:
        """Return the step of each send; of other events, that in which what waits for them begins.

        Args:
            least: for each send, the earliest step that it may have.

        Raises:
            ValueError: ranks wait for each other in a cycle.
        """
        n = len(self.events)
        followers: list[list[int]] = [[] for _ in range(n)]
        pending = [0] * n
        for i in range(n):
            for j in self._waits_for(i):
                followers[j].append(i)
                pending[i] += 1
        level = [least.get(i, 0) for i in range(n)]
        ready = [i for i in range(n) if not pending[i]]
        done = 0
        while ready:
            i = ready.pop()
            done += 1
            for j in followers[i]:
                level[j] = max(level[j], level[i] + (j == self.partner[i]))
                pending[j] -= 1
                if not pending[j]:
                    ready.append(j)
        if done < n:
            raise ValueError(
                "the ranks wait for each other in a cycle, a deadlock: reorder the events"
            )
        return level

    def _waits_for(self, i: int) -> Iterator[int]:
        """Yield the events that must be done before event ``i`` is."""
        yield from self._begins_after(i)
        if self.events[i].kind == RECV:
            yield self.partner[i]
        elif self._rendezvous(i):
            yield from self._begins_after(self.partner[i])

    def _begins_after(self, i: int) -> Iterator[int]:
        """Yield the events that must be done before event ``i`` begins."""
        first = self.first[self.rank[i]]
        for j in self.events[i].after:
            yield first + j
            if self._rendezvous(first + j):
                yield self.partner[first + j]

    def _rendezvous(self, i: int) -> bool:
        event = self.events[i]
        return event.kind == SEND and (event.nbytes or 0) > self.limit


def _matched(
    events: Sequence[Event], rank: Sequence[int], nranks: int
) -> Iterator[tuple[int, int]]:
    """Yield pairs of a send and its receive, by their index among all events.

    As in MPI, the k-th send matches the k-th receive of the same source, destination and tag, and
    a receive may have room for more bytes than are sent.
    """
    sides = {SEND: _Queues(list), RECV: _Queues(list)}
    for i, event in enumerate(events):
        if event.kind == JOIN:
            continue
        own = rank[i]
        if not 0 <= event.peer < nranks or event.peer == own:
            what = f"rank {own} has a message with rank {event.peer}"
            raise ValueError(f"{what}: the peer is another rank from 0 to {nranks - 1}")
        ends = (own, event.peer) if event.kind == SEND else (event.peer, own)
        sides[event.kind][*ends, event.tag].append(i)
    for key in sides[SEND].keys() | sides[RECV].keys():
        src, dst, tag = key
        sends, recvs = sides[SEND][key], sides[RECV][key]
        if len(sends) != len(recvs):
            what = f"{len(sends)} sends and {len(recvs)} receives from rank {src} to {dst}"
            raise ValueError(f"there are {what} with tag {tag}: their numbers must be equal")
        for a, b in zip(sends, recvs, strict=True):
            nbytes, room = events[a].nbytes or 0, events[b].nbytes
            if room is not None and nbytes > room:
                what = f"{nbytes} bytes are sent, but {room} are received"
                raise ValueError(f"rank {src} to {dst}, tag {tag}: {what}")
            yield a, b
