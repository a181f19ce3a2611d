"""Private communicators: one for each ordered set of ranks, which the user's communicators share.

A private communicator keeps this library's messages apart from the user's: a pending
``Irecv(ANY_SOURCE, ANY_TAG)`` on the user's communicator would receive them otherwise. MPI
libraries have about two thousand communicators, and making one takes a hundred times as long as a
short allreduce. So the first call on a communicator reuses the private communicator of an earlier
one with the same ranks in the same order. What tells the two apart on it is their tags: each has a
*lane*, a range of tags of its own, which is never used again.

Rank 0 of the communicator decides which private communicator and which lane to use, and an
allreduce on the user's communicator tells the others. So threads may make first calls on several
communicators at the same time, and a first call waits for all ranks. Private communicators are kept
until MPI is finalized. Those of sessions, whose ranks have no numbers in MPI.COMM_WORLD, are not
shared: each is freed with the user's communicator, or when the last operation on it has ended.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from mpi4py import MPI

from swing.executor.engines.wait import Deadline, heed, until
from swing.executor.session.node import RECORD_BYTES, node_of, record

MAX_TAGS = 2**12
"""Tags of a lane, or fewer where MPI has few tags."""

Ranks = tuple[int, ...]
"""The ranks of a communicator, as ranks of MPI.COMM_WORLD."""


class NoCommunicatorError(RuntimeError):
    """MPI cannot make another communicator."""


@dataclass(eq=False)
class Private:
    """A private communicator.

    Args:
        number: its number among those of the same ranks, the same on every rank.
        comm: the communicator; it returns errors instead of aborting.
        is_one_node: whether all its ranks are on one node.
        ranks: its ranks, whose other communicators can share it; empty if they have no numbers in
            MPI.COMM_WORLD. Then it is freed with the user's communicator.
        lanes: counts the lanes on rank 0, which gives them out.
        tags: number of tags in a lane.
    """

    number: int
    comm: MPI.Intracomm
    is_one_node: bool
    ranks: Ranks
    lanes: count[int] = field(default_factory=count)
    tags: int = 0

    def __post_init__(self) -> None:
        # Errors are raised as exceptions, whatever the user has set for the original.
        self.comm.Set_errhandler(MPI.ERRORS_RETURN)
        # MPI attaches the largest tag to its world, and it is at least 2**15 - 1. Open MPI attaches
        # it to duplicates of the world as well, but to no other communicator.
        world = MPI.COMM_WORLD if self.ranks else self.comm
        self._ntags = int(world.Get_attr(MPI.TAG_UB) or 2**15 - 1) + 1
        self.tags = min(MAX_TAGS, self._ntags // 8)

    def new_lane(self) -> int:
        """Return the number of a lane that has not been used; -1 if all have been."""
        lane = next(self.lanes)
        return lane if (lane + 1) * self.tags <= self._ntags else -1

    def free(self) -> None:
        """Free the communicator, unless this has been done or MPI has ended."""
        if self.comm and not MPI.Is_finalized():
            with suppress(MPI.Exception):  # the session may have ended
                self.comm.Free()


class Lane:
    """The tags of one of the user's communicators on a private communicator.

    Blocking allreduces use the first tag and the argument check the last one. Those between are for
    other operations, every second one for persistent ones: a persistent operation may last for so
    long that the tags of others begin again.

    Args:
        private: the private communicator.
        number: the number of the lane, from 0 up.

    Attributes:
        first_tag: the first tag; there are ``private.tags`` of them.
    """

    def __init__(self, private: Private, number: int) -> None:
        self.private, self.first_tag = private, private.tags * number
        self._nth = [0, 0]

    @property
    def check_tag(self) -> int:
        """The tag of the argument check, which no operation uses."""
        return self.first_tag + self.private.tags - 1

    def tag(self, persistent: bool = False) -> int:
        """Return the tag of the next operation's messages, the same on all ranks."""
        # MPI requires all ranks to call collectives in the same order, so they count alike.
        self._nth[persistent] += 1
        nth = self._nth[persistent] % ((self.private.tags - 2) // 2)
        return self.first_tag + 1 + persistent + 2 * nth


_known: dict[Ranks, dict[int, Private]] = {}
"""The private communicators of each ordered set of ranks, by number; the latest one comes last."""
_numbers = count()
_lock = threading.Lock()

Opening = Generator[MPI.Request, None, Lane]
"""The first call on a communicator: it yields the requests that it waits for."""


def latest(comm: MPI.Intracomm) -> Private | None:
    """Return the private communicator that a communicator will probably share."""
    known = _known.get(world_ranks(comm))
    return next(reversed(known.values())) if known else None


def open_lane(comm: MPI.Intracomm, ranks: Ranks) -> Opening:
    """Find a lane for a communicator of these ranks; collective, like ``Dup``.

    Raises:
        NoCommunicatorError: MPI cannot make another communicator, on any of the ranks.
    """
    known = _known.setdefault(ranks, {}) if ranks else {}
    # Rank 0 proposes a private communicator and a lane on it, or a number for a new one.
    # An ``array`` is made in a fraction of the time of numpy's, in every first call.
    decision = array("q", [-1, -1, -1])
    if comm.rank == 0:
        with _lock:
            latest = next(reversed(known.values()), None)
            lane = -1 if latest is None else latest.new_lane()
            use = -1 if latest is None or lane < 0 else latest.number
            decision = array("q", [use, next(_numbers), lane])
    # A method of mpi4py's class, because that of `swing.Comm` would come back here.
    yield MPI.Comm.Iallreduce(comm, MPI.IN_PLACE, decision, MPI.MAX)
    use, number, lane = decision
    if use < 0:
        private = yield from _make(comm, number, ranks)
        if comm.rank == 0:
            lane = private.new_lane()
        with _lock:
            known[number] = private
        return Lane(private, max(lane, 0))
    while use not in known:  # another thread of this rank is still making it
        yield MPI.REQUEST_NULL
    return Lane(known[use], lane)


def _make(comm: MPI.Intracomm, number: int, ranks: Ranks) -> Generator[MPI.Request, None, Private]:
    try:
        # ``MPI.Intracomm(comm)``, because ``Idup`` of a `swing.Comm` would make a `swing.Comm`.
        duplicate, request = MPI.Intracomm(comm).Idup()
        yield request
    except MPI.Exception as error:
        raise NoCommunicatorError("MPI cannot make another communicator") from error
    mine = record()
    records = np.empty((comm.size, RECORD_BYTES), np.uint8)
    yield duplicate.Iallgather(mine, records)
    node = node_of(mine, records)
    heed(node.ranks, node.cores)
    return Private(number, duplicate, node.is_only, ranks)


def world_ranks(comm: MPI.Intracomm) -> Ranks:
    """Return the ranks of a communicator in MPI.COMM_WORLD; empty if some are not in it."""
    if not MPI.Is_initialized():  # a session without the world
        return ()
    mine, world = comm.Get_group(), MPI.COMM_WORLD.Get_group()
    try:
        ranks = tuple(MPI.Group.Translate_ranks(mine, None, world))
    finally:
        mine.Free()
        world.Free()
    return () if MPI.UNDEFINED in ranks else ranks


_unfinished: dict[int, tuple[Opening, MPI.Request]] = {}
"""First calls that timed out before all ranks took part, by communicator handle."""


def forget(handle: int) -> None:
    """Give up the unfinished first call on a communicator that is being freed."""
    _unfinished.pop(handle, None)


def finish(comm: MPI.Intracomm, ranks: Ranks, deadline: Deadline | None) -> Lane:
    """Make the first call on a communicator; after a timeout the next call continues it.

    Args:
        comm: the user's communicator.
        ranks: what `world_ranks` says of it.
        deadline: when to give up waiting for the other ranks; None waits without a limit.

    Raises:
        TimeoutError: not all ranks made the first call by the deadline.
        NoCommunicatorError: see `open_lane`.
    """
    handle = MPI._handleof(comm)
    start = open_lane(comm, ranks), MPI.REQUEST_NULL
    opening, request = _unfinished.pop(handle, start)
    while True:
        try:
            if not until(request.Test, deadline):
                _unfinished[handle] = opening, request
                raise TimeoutError(
                    f"not all ranks made their first call on this communicator within {deadline}: "
                    "make it on every rank, or raise timeout="
                )
            request = next(opening)
        except MPI.Exception as error:
            request = opening.throw(error)
        except StopIteration as end:
            lane: Lane = end.value
            return lane
