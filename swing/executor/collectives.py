"""Collectives made ready: everything is read, checked and planned, and nothing sent yet.

A `Task` can be started any number of times on the same buffers. It is what nonblocking and
persistent calls are made of, and those blocking calls that do not need to be faster.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.memory import check_apart, check_writable, is_same
from swing.executor.buffers.reductions import reduction
from swing.executor.buffers.specs import (
    check_gapped,
    check_types,
    is_gapped,
    pieces,
    vector,
    vectors,
)
from swing.executor.engines.compiled import why_plain
from swing.executor.engines.plain import Deadline, play
from swing.executor.engines.progress import Operation, Rounds, wait_for
from swing.executor.gpu import device
from swing.executor.session import argument_check
from swing.executor.session.context import Context
from swing.executor.session.layouts import Layout
from swing.executor.session.planner import AlgorithmSpec
from swing.schedules.schedule import Schedule


@dataclass(frozen=True)
class Task:
    """A collective made ready.

    Args:
        context: of the communicator.
        rounds: what is to be done, with messages under some tag.
        schedule: what is run, and ``why``.
        scratch: bytes of scratch memory that it needs.
        keep: what has to stay in memory if it fails.
        engine: what carries it out if it is blocking.
    """

    context: Context
    rounds: Callable[[int], Rounds]
    schedule: Schedule
    why: str
    scratch: int
    keep: Any
    engine: str = "plain, which is all there is for it"

    def start(self, tag: int) -> Operation:
        """Begin; all ranks do, with the same tag."""
        return self.context.begin(self.rounds(tag), self.keep)


@dataclass(frozen=True)
class Delegated:
    """A collective that MPI itself has to do, and why."""

    why: str


Made = Task | Delegated
Make = Callable[..., Made]


def allreduce(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op,
    *,
    deadline: Deadline | None = None,
) -> Made:
    """An allreduce of buffers as `swing.executor.buffers.specs.vectors` takes them.

    Raises:
        TypeError, ValueError: as `swing.allreduce`; nothing has been sent.
        TimeoutError: other ranks, for which a communicator's first call waits, have not come.
    """
    reason = delegated(comm, sendbuf if recvbuf is None else recvbuf, op)
    if reason:
        leave_to_mpi(comm, sendbuf, recvbuf, op, spec, reason, deadline)
        return Delegated(reason)
    assert isinstance(comm, MPI.Intracomm)
    send, recv, datatype = vectors(sendbuf, recvbuf)
    reduce = reduction(op, recv.dtype, datatype)
    in_place = is_same(send, recv)
    shape = len(recv), recv.dtype, datatype
    context = argument_check.context(comm, "Allreduce", *shape, op, spec, deadline)
    planner = context.planner
    resolved, why = planner.choose(spec, recv.nbytes)
    plan = planner.plan(resolved, len(recv), recv.itemsize, in_place)
    scratch = np.empty(plan.scratch, recv.dtype)
    reason = why_plain(recv.dtype, reduce)
    return Task(
        context,
        lambda tag: play(plan, (send, recv, scratch), reduce, context.comm, tag),
        planner.order(resolved).schedule,
        why,
        scratch.nbytes,
        (send, recv, scratch),
        f"plain, because {reason}" if reason else "compiled",
    )


def reduce_scatter_block(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op,
    *,
    deadline: Deadline | None = None,
) -> Made:
    """A reduce-scatter of pieces of equal length.

    Args:
        comm: the communicator.
        spec: what is to be run.
        sendbuf: the pieces of all ranks; a count, if it has one, is that of a single piece.
        recvbuf: where this rank's piece goes; if in place, all pieces, and then the first.
        op: the operation.
        deadline: for other ranks to come, if this call has to wait for them.
    """
    reason = delegated(comm, recvbuf, op)
    if reason:
        return _left(comm, "Reduce_scatter", reason, op, deadline)
    p = comm.size
    if sendbuf is MPI.IN_PLACE:
        recv, datatype = vector(recvbuf, "the buffer", p)
        n, rest = divmod(len(recv), p)
        if rest:
            raise ValueError(f"{len(recv)} elements are not {p} equal pieces: use Reduce_scatter")
        return _reduce_scatter(comm, spec, recv, recv[:n], datatype, [n] * p, op, deadline)
    recv, datatype = vector(recvbuf, "recvbuf")
    send, expected = vector(sendbuf, "sendbuf", p)
    check_types((send, expected), (recv, datatype))
    check_apart(send, recv)
    if len(send) != p * len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements, not {p} times the {len(recv)} of recvbuf: "
            "make it a piece for every rank"
        )
    return _reduce_scatter(comm, spec, send, recv, datatype, [len(recv)] * p, op, deadline)


def reduce_scatter(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    recvcounts: Sequence[int] | None,
    op: MPI.Op,
    *,
    deadline: Deadline | None = None,
) -> Made:
    """A reduce-scatter of pieces of any length.

    Args:
        comm: the communicator.
        spec: what is to be run.
        sendbuf: the pieces of all ranks.
        recvbuf: where this rank's piece goes; if in place, all pieces, and then this rank's first.
        recvcounts: the length of each piece; None to ask all ranks for that of their ``recvbuf``.
        op: the operation.
        deadline: for other ranks to come, if this call has to wait for them.
    """
    reason = delegated(comm, recvbuf, op)
    if reason:
        return _left(comm, "Reduce_scatter", reason, op, deadline)
    in_place = sendbuf is MPI.IN_PLACE
    recv, datatype = vector(recvbuf, "the buffer" if in_place else "recvbuf")
    if recvcounts is not None:
        counts = [operator.index(n) for n in recvcounts]
    elif not in_place:
        counts = _lengths(comm, len(recv), deadline)
    else:
        raise ValueError("to reduce in place, pass recvcounts: the buffer holds all pieces")
    if len(counts) != comm.size or min(counts) < 0:
        raise ValueError(f"recvcounts needs {comm.size} lengths, one a rank, not {recvcounts!r}")
    if in_place:
        send, recv = recv, recv[: counts[comm.rank]]
    else:
        send, expected = vector(sendbuf, "sendbuf")
        check_types((send, expected), (recv, datatype))
        check_apart(send, recv)
        if len(recv) != counts[comm.rank]:
            raise ValueError(
                f"recvbuf has {len(recv)} elements but recvcounts[{comm.rank}] is "
                f"{counts[comm.rank]}: make them equal"
            )
    if len(send) != sum(counts):
        name = "the buffer" if in_place else "sendbuf"
        raise ValueError(f"{name} has {len(send)} elements, not the {sum(counts)} of recvcounts")
    return _reduce_scatter(comm, spec, send, recv, datatype, counts, op, deadline)


def allgather(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    *,
    deadline: Deadline | None = None,
) -> Made:
    """An allgather of pieces of equal length.

    Args:
        comm: the communicator.
        spec: what is to be run.
        sendbuf: this rank's piece; in place, it is in ``recvbuf`` where it belongs.
        recvbuf: for the pieces of all ranks; a count, if it has one, is that of a single piece.
        deadline: for other ranks to come, if this call has to wait for them.
    """
    reason = delegated(comm, recvbuf, sendbuf=sendbuf)
    if reason:
        return _left(comm, "Allgather", reason, None, deadline)
    elements, _ = vector(recvbuf, "recvbuf", comm.size)
    n, rest = divmod(len(elements), comm.size)
    if rest:
        raise ValueError(
            f"recvbuf has {len(elements)} elements, which are not {comm.size} equal pieces: "
            "use Allgatherv"
        )
    n *= elements.itemsize
    starts = [r * n for r in range(comm.size)]
    recv = elements.view(np.uint8)
    return _allgather(comm, spec, sendbuf, recv, [n] * comm.size, starts, deadline)


def allgatherv(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    *,
    deadline: Deadline | None = None,
) -> Made:
    """An allgather of pieces of any length.

    Args:
        comm: the communicator.
        spec: what is to be run.
        sendbuf: this rank's piece; in place, it is in ``recvbuf`` where it belongs.
        recvbuf: for the pieces of all ranks, ``[buf, counts, displacements, datatype]``.
        deadline: for other ranks to come, if this call has to wait for them.
    """
    reason = delegated(comm, recvbuf, sendbuf=sendbuf)
    if reason:
        return _left(comm, "Allgather", reason, None, deadline)
    recv, counts, starts = pieces(recvbuf, "recvbuf", comm.size)
    return _allgather(comm, spec, sendbuf, recv, counts, starts, deadline)


def staged(
    make: Make,
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    *rest: Any,
    deadline: Deadline | None,
) -> Made:
    """What ``make`` makes, of device buffers too: they go through host memory."""
    if not (device.is_on_device(sendbuf) or device.is_on_device(recvbuf)):
        return make(comm, spec, sendbuf, recvbuf, *rest, deadline=deadline)
    device.check_writable(recvbuf)
    send, recv = device.host_for(sendbuf), device.host_for(recvbuf)
    task = make(comm, spec, send, recv, *rest, deadline=deadline)
    if isinstance(task, Delegated):
        raise TypeError(f"device memory can not be left to MPI: {task.why}")
    inner = task.rounds

    def rounds(tag: int) -> Rounds:
        device.fetch(sendbuf, send)
        device.fetch(recvbuf, recv)
        yield from inner(tag)
        device.put(recv, recvbuf)

    return Task(task.context, rounds, task.schedule, task.why, task.scratch, task.keep)


def delegated(comm: MPI.Comm, recvbuf: Any, op: MPI.Op | None = None, sendbuf: Any = None) -> str:
    """Why MPI itself does it; empty if a schedule of ours can."""
    if comm.is_inter:
        return "an intercommunicator joins two groups, not one torus"
    if op is not None and not op.Is_commutative():
        return "the operation does not commute: MPI reduces in rank order"
    if is_gapped(recvbuf) or is_gapped(sendbuf):
        return "the datatype has gaps, which must stay as they are"
    return ""


def leave_to_mpi(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op,
    spec: AlgorithmSpec,
    why: str,
    deadline: Deadline | None = None,
) -> bool:
    """Refuse from MPI's own Allreduce what a schedule would refuse; whether it is in place.

    Raises:
        TypeError, ValueError: as `swing.allreduce`; nothing has been sent.
    """
    if is_gapped(sendbuf if recvbuf is None else recvbuf):
        in_place = check_gapped(sendbuf, recvbuf)
    else:
        send, recv, datatype = vectors(sendbuf, recvbuf)
        reduction(op, recv.dtype, datatype)
        in_place = is_same(send, recv)
    argument_check.leave(comm, "Allreduce", why, op, deadline)
    if isinstance(comm, MPI.Intracomm):
        Context.of(comm, deadline).planner.check(spec)
    return in_place


def _left(
    comm: MPI.Comm, name: str, why: str, op: MPI.Op | None, deadline: Deadline | None
) -> Delegated:
    argument_check.leave(comm, name, why, op, deadline)
    return Delegated(why)


def _lengths(comm: MPI.Comm, mine: int, deadline: Deadline | None) -> list[int]:
    """What every rank says."""
    told, counts = np.array([mine]), np.empty(comm.size, np.int64)
    request = MPI.Comm.Iallgather(comm, told, counts)
    try:
        wait_for(request, deadline, "MPI_Iallgather of recvcounts")
    except TimeoutError:
        _given_up.append((told, counts))
        raise
    found: list[int] = counts.tolist()
    return found


_given_up: list[object] = []
"""Memory that MPI may still read and write."""


def _reduce_scatter(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    send: np.ndarray,
    recv: np.ndarray,
    datatype: MPI.Datatype | None,
    counts: Sequence[int],
    op: MPI.Op,
    deadline: Deadline | None,
) -> Made:
    assert isinstance(comm, MPI.Intracomm)
    check_writable(recv)
    reduce = reduction(op, recv.dtype, datatype)
    shape = counts, recv.dtype, datatype
    context = argument_check.context(comm, "Reduce_scatter", *shape, op, spec, deadline)
    why, layout = _layout(context, "reduce_scatter", spec, counts, None, send.itemsize)
    work = np.empty(len(send), send.dtype)
    scratch = np.empty(layout.plan.scratch, send.dtype)
    own = layout.pieces[comm.rank]
    first = sum(counts[: comm.rank])

    def rounds(tag: int) -> Rounds:
        for piece in layout.pieces:
            for user, ours in piece:
                work[ours] = send[user]
        yield from play(layout.plan, (work, work, scratch), reduce, context.comm, tag)
        for user, ours in own:
            recv[user.start - first : user.stop - first] = work[ours]

    needs = work.nbytes + scratch.nbytes
    return Task(context, rounds, layout.schedule, why, needs, (send, recv, work, scratch))


def _allgather(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recv: np.ndarray,
    counts: Sequence[int],
    starts: Sequence[int],
    deadline: Deadline | None,
) -> Made:
    assert isinstance(comm, MPI.Intracomm)
    check_writable(recv)
    first, last = starts[comm.rank], starts[comm.rank] + counts[comm.rank]
    if sendbuf is MPI.IN_PLACE:
        mine = recv[first:last]
    else:
        mine = vector(sendbuf, "sendbuf")[0].view(np.uint8)
        check_apart(mine, recv)
    if len(mine) != last - first:
        raise ValueError(
            f"sendbuf has {len(mine)} bytes and this rank's piece of recvbuf {last - first}: "
            "make them equal"
        )
    shape = counts, np.dtype(np.uint8), None
    context = argument_check.context(comm, "Allgather", *shape, None, spec, deadline)
    why, layout = _layout(context, "allgather", spec, counts, starts, 1)
    moves = [move for piece in layout.pieces for move in piece]
    direct = all(user == ours for user, ours in moves)
    work = recv if direct else np.empty(layout.plan.count, np.uint8)
    scratch = np.empty(layout.plan.scratch, np.uint8)

    def rounds(tag: int) -> Rounds:
        for user, ours in layout.pieces[comm.rank]:
            work[ours] = mine[user.start - first : user.stop - first]
        yield from play(layout.plan, (work, work, scratch), np.add, context.comm, tag)
        if not direct:
            for user, ours in moves:
                recv[user] = work[ours]

    needs = scratch.nbytes + (0 if direct else work.nbytes)
    return Task(context, rounds, layout.schedule, why, needs, (mine, recv, work, scratch))


def _layout(
    context: Context,
    collective: str,
    spec: AlgorithmSpec,
    counts: Sequence[int],
    starts: Sequence[int] | None,
    itemsize: int,
) -> tuple[str, Layout]:
    total = sum(counts)
    if starts is None:
        starts = np.append(0, np.cumsum(counts)[:-1]).tolist()
    resolved, why = context.blocks.choose(collective, spec, total * itemsize)
    given = collective, resolved, tuple(counts), tuple(starts), itemsize
    return why, context.blocks.layout(*given)
