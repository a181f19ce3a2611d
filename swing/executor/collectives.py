"""Preparation of collectives: read and check the arguments, choose and plan a schedule.

Each function returns a `Task`, which can be started any number of times on the same buffers, or
`Delegated` if the MPI library has to run the collective. Nonblocking and persistent calls use
tasks, and so do blocking calls other than allreduce, whose faster path is in
`swing.executor.dispatch`. No data is sent before a task starts. Messages are exchanged here only to
set up a communicator at its first call, for ``SWING_CHECK=1``, and to gather ``recvcounts`` that
were not passed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
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
from swing.executor.session.planner import AlgorithmSpec, Planner
from swing.executor.session.private import NoCommunicatorError
from swing.schedules.schedule import Schedule


@dataclass(frozen=True)
class Task:
    """A collective that is ready to start.

    Args:
        context: the communicator's context.
        rounds: returns the generator that runs the operation with a message tag.
        schedule: the schedule to run.
        why: the reason for this schedule.
        scratch: bytes of scratch memory.
        keep: the buffers, which must stay in memory if the operation fails.
        engine: the engine that runs it in a blocking call, and why if it is not the compiled one.
    """

    context: Context
    rounds: Callable[[int], Rounds]
    schedule: Schedule
    why: str
    scratch: int
    keep: Any
    engine: str = "plain, the only engine for this collective"

    def start(self, tag: int) -> Operation:
        """Start the operation; all ranks start it with the same tag."""
        return self.context.begin(self.rounds(tag), self.keep)


@dataclass(frozen=True)
class Delegated:
    """A collective that the MPI library has to run, and the reason."""

    why: str


Prepared = Task | Delegated
Prepare = Callable[..., Prepared]
"""``prepare(comm, spec, sendbuf, recvbuf, *args, deadline=)``: one of the functions below."""


def _or_delegate(prepare: Prepare) -> Prepare:
    """Leave a call to the MPI library if it cannot make a private communicator for it."""

    @wraps(prepare)
    def prepared(*args: Any, **options: Any) -> Prepared:
        try:
            return prepare(*args, **options)
        except NoCommunicatorError as error:
            return Delegated(str(error))

    return prepared


@_or_delegate
def allreduce(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op,
    *,
    deadline: Deadline | None = None,
) -> Prepared:
    """Prepare an allreduce; for the buffers see `swing.executor.buffers.specs.vectors`.

    Raises:
        TypeError, ValueError: as `swing.allreduce`. Nothing has been sent.
        TimeoutError: other ranks did not make a communicator's first call by the deadline.
    """
    why_not = why_delegated(comm, sendbuf if recvbuf is None else recvbuf, op)
    if why_not:
        check_delegated(comm, sendbuf, recvbuf, op, spec, why_not, deadline)
        return Delegated(why_not)
    assert isinstance(comm, MPI.Intracomm)
    send, recv, datatype = vectors(sendbuf, recvbuf)
    reduce = reduction(op, recv.dtype, datatype)
    in_place = is_same(send, recv)
    shape = len(recv), recv.dtype, datatype
    # This can wait for other ranks, so it comes after all checks that may refuse the arguments.
    context = argument_check.context(comm, "Allreduce", *shape, op, spec, deadline)
    planner = context.planner
    resolved, why = planner.choose(spec, recv.nbytes)
    plan = planner.plan(resolved, len(recv), recv.itemsize, in_place)
    scratch = np.empty(plan.scratch, recv.dtype)
    why_not_compiled = why_plain(recv.dtype, reduce)
    return Task(
        context,
        lambda tag: play(plan, (send, recv, scratch), reduce, context.comm, tag),
        planner.order(resolved).schedule,
        why,
        scratch.nbytes,
        (send, recv, scratch),
        f"plain, because {why_not_compiled}" if why_not_compiled else "compiled",
    )


@_or_delegate
def reduce_scatter_block(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op,
    *,
    deadline: Deadline | None = None,
) -> Prepared:
    """Prepare a reduce-scatter of pieces of equal length.

    Args:
        comm: the communicator.
        spec: the algorithm, torus and options that were asked for.
        sendbuf: all ranks' pieces in rank order, or ``MPI.IN_PLACE``; a count in it is the length
            of one piece.
        recvbuf: the buffer for this rank's piece. In place it holds all pieces, and the result
            replaces the first one.
        op: the operation.
        deadline: when to give up waiting for other ranks; None waits without a limit.
    """
    why_not = why_delegated(comm, recvbuf, op)
    if why_not:
        return _delegate(comm, "Reduce_scatter", why_not, op, deadline)
    p = comm.size
    if sendbuf is MPI.IN_PLACE:
        recv, datatype = vector(recvbuf, "the buffer", p)
        n, remainder = divmod(len(recv), p)
        if remainder:
            raise ValueError(
                f"{len(recv)} elements do not make {p} equal pieces: use Reduce_scatter"
            )
        return _reduce_scatter(comm, spec, recv, recv[:n], datatype, [n] * p, op, deadline)
    recv, datatype = vector(recvbuf, "recvbuf")
    send, expected = vector(sendbuf, "sendbuf", p)
    check_types((send, expected), (recv, datatype))
    check_apart(send, recv)
    if len(send) != p * len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements, not {p} times the {len(recv)} of recvbuf: "
            "pass one piece for every rank"
        )
    return _reduce_scatter(comm, spec, send, recv, datatype, [len(recv)] * p, op, deadline)


@_or_delegate
def reduce_scatter(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    recvcounts: Sequence[int] | None,
    op: MPI.Op,
    *,
    deadline: Deadline | None = None,
) -> Prepared:
    """Prepare a reduce-scatter of pieces of any length.

    Args:
        comm: the communicator.
        spec: the algorithm, torus and options that were asked for.
        sendbuf: all ranks' pieces in rank order, or ``MPI.IN_PLACE``.
        recvbuf: the buffer for this rank's piece. In place it holds all pieces, and the result goes
            to its beginning.
        recvcounts: (size,) elements of each piece; None gathers the length of every rank's
            ``recvbuf``.
        op: the operation.
        deadline: when to give up waiting for other ranks; None waits without a limit.
    """
    why_not = why_delegated(comm, recvbuf, op)
    if why_not:
        return _delegate(comm, "Reduce_scatter", why_not, op, deadline)
    in_place = sendbuf is MPI.IN_PLACE
    recv, datatype = vector(recvbuf, "the buffer" if in_place else "recvbuf")
    if recvcounts is not None:
        counts = [operator.index(n) for n in recvcounts]
    elif not in_place:
        counts = _lengths(comm, len(recv), deadline)
    else:
        raise ValueError("to reduce in place, pass recvcounts: the buffer holds all pieces")
    if len(counts) != comm.size or min(counts) < 0:
        raise ValueError(f"recvcounts needs {comm.size} lengths, one per rank, not {recvcounts!r}")
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


@_or_delegate
def allgather(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    *,
    deadline: Deadline | None = None,
) -> Prepared:
    """Prepare an allgather of pieces of equal length.

    Args:
        comm: the communicator.
        spec: the algorithm, torus and options that were asked for.
        sendbuf: this rank's piece. In place it is already at its position in ``recvbuf``.
        recvbuf: the buffer for all ranks' pieces; a count in it is the length of one piece.
        deadline: when to give up waiting for other ranks; None waits without a limit.
    """
    why_not = why_delegated(comm, recvbuf, sendbuf=sendbuf)
    if why_not:
        return _delegate(comm, "Allgather", why_not, None, deadline)
    elements, _ = vector(recvbuf, "recvbuf", comm.size)
    n, remainder = divmod(len(elements), comm.size)
    if remainder:
        raise ValueError(
            f"recvbuf has {len(elements)} elements, which do not make {comm.size} equal pieces: "
            "use Allgatherv"
        )
    n *= elements.itemsize  # an allgather only moves data, so it works on bytes
    starts = [r * n for r in range(comm.size)]
    recv = elements.view(np.uint8)
    return _allgather(comm, spec, sendbuf, recv, [n] * comm.size, starts, deadline)


@_or_delegate
def allgatherv(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    *,
    deadline: Deadline | None = None,
) -> Prepared:
    """Prepare an allgather of pieces of any length.

    Args:
        comm: the communicator.
        spec: the algorithm, torus and options that were asked for.
        sendbuf: this rank's piece. In place it is already at its position in ``recvbuf``.
        recvbuf: the buffer for all ranks' pieces, ``[buf, counts, displacements, datatype]``.
        deadline: when to give up waiting for other ranks; None waits without a limit.
    """
    why_not = why_delegated(comm, recvbuf, sendbuf=sendbuf)
    if why_not:
        return _delegate(comm, "Allgather", why_not, None, deadline)
    recv, counts, starts = pieces(recvbuf, "recvbuf", comm.size)
    return _allgather(comm, spec, sendbuf, recv, counts, starts, deadline)


def staged(
    prepare: Prepare,
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recvbuf: Any,
    *args: Any,
    deadline: Deadline | None,
) -> Prepared:
    """Prepare a collective whose buffers may be in GPU memory, by staging these on the host.

    They are copied as a whole before and after the collective. A blocking `swing.allreduce`
    overlaps the copies with its messages instead.

    Raises:
        TypeError: GPU memory in a collective that the MPI library has to run.
        TypeError, ValueError, TimeoutError: as ``prepare``.
    """
    if not (device.is_on_device(sendbuf) or device.is_on_device(recvbuf)):
        return prepare(comm, spec, sendbuf, recvbuf, *args, deadline=deadline)
    device.check_writable(recvbuf)
    send, recv = device.host_for(sendbuf), device.host_for(recvbuf)
    task = prepare(comm, spec, send, recv, *args, deadline=deadline)
    if isinstance(task, Delegated):
        raise TypeError(
            f"the MPI library has to run this collective ({task.why}), which takes no GPU memory "
            "here: copy the buffers to the host"
        )
    host_rounds = task.rounds

    def rounds(tag: int) -> Rounds:
        device.fetch(sendbuf, send)
        # The receive buffer holds data too: the vector in place, and the gaps between pieces.
        device.fetch(recvbuf, recv)
        yield from host_rounds(tag)
        device.put(recv, recvbuf)

    return Task(task.context, rounds, task.schedule, task.why, task.scratch, task.keep)


def why_delegated(
    comm: MPI.Comm, recvbuf: Any, op: MPI.Op | None = None, sendbuf: Any = None
) -> str:
    """Return why the MPI library has to run a collective; empty if a schedule can."""
    if comm.is_inter:
        return "an intercommunicator joins two groups, not one torus"
    if op is not None and not op.Is_commutative():
        return "the operation does not commute: MPI reduces in rank order"
    if is_gapped(recvbuf) or is_gapped(sendbuf):
        return "the datatype has gaps, which must stay as they are"
    return ""


def check_delegated(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: MPI.Op,
    spec: AlgorithmSpec,
    why: str,
    deadline: Deadline | None = None,
) -> bool:
    """Check the arguments of an allreduce that the MPI library runs, as strictly as for a schedule.

    Returns:
        Whether the call is in place.

    Raises:
        TypeError, ValueError: as `swing.allreduce`. Nothing has been sent.
    """
    if is_gapped(sendbuf if recvbuf is None else recvbuf):
        in_place = check_gapped(sendbuf, recvbuf)
    else:
        send, recv, datatype = vectors(sendbuf, recvbuf)
        reduction(op, recv.dtype, datatype)
        in_place = is_same(send, recv)
    argument_check.leave(comm, "Allreduce", why, op, deadline)
    if isinstance(comm, MPI.Intracomm):
        try:
            planner = Context.of(comm, deadline).planner
        except NoCommunicatorError:
            planner = Planner(comm, is_one_node=False)
        planner.check(spec)
    return in_place


def _delegate(
    comm: MPI.Comm, name: str, why: str, op: MPI.Op | None, deadline: Deadline | None
) -> Delegated:
    argument_check.leave(comm, name, why, op, deadline)
    return Delegated(why)


def _lengths(comm: MPI.Comm, mine: int, deadline: Deadline | None) -> list[int]:
    """Gather one length from every rank."""
    own, counts = np.array([mine]), np.empty(comm.size, np.int64)
    # Call the method of mpi4py's class: `swing.Comm` overrides it and would come back here.
    request = MPI.Comm.Iallgather(comm, own, counts)
    try:
        wait_for(request, deadline, "MPI_Iallgather of recvcounts")
    except TimeoutError:
        _abandoned.append((own, counts))
        raise
    lengths: list[int] = counts.tolist()
    return lengths


_abandoned: list[object] = []
"""Buffers of calls that timed out, kept because MPI may still read and write them."""


def _reduce_scatter(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    send: np.ndarray,
    recv: np.ndarray,
    datatype: MPI.Datatype | None,
    counts: Sequence[int],
    op: MPI.Op,
    deadline: Deadline | None,
) -> Prepared:
    assert isinstance(comm, MPI.Intracomm)
    check_writable(recv)
    reduce = reduction(op, recv.dtype, datatype)
    shape = counts, recv.dtype, datatype
    context = argument_check.context(comm, "Reduce_scatter", *shape, op, spec, deadline)
    why, layout = _layout(context, "reduce_scatter", spec, counts, None, send.itemsize)
    work = np.empty(len(send), send.dtype)
    scratch = np.empty(layout.plan.scratch, send.dtype)
    first = sum(counts[: comm.rank])

    def rounds(tag: int) -> Rounds:
        # Reduce in a copy, which has the schedule's order of blocks and leaves the pieces of other
        # ranks in ``send`` untouched.
        for piece in layout.pieces:
            for user, ours in piece:
                work[ours] = send[user]
        yield from play(layout.plan, (work, work, scratch), reduce, context.comm, tag)
        for user, ours in layout.pieces[comm.rank]:
            recv[user.start - first : user.stop - first] = work[ours]

    nbytes = work.nbytes + scratch.nbytes
    return Task(context, rounds, layout.schedule, why, nbytes, (send, recv, work, scratch))


def _allgather(
    comm: MPI.Comm,
    spec: AlgorithmSpec,
    sendbuf: Any,
    recv: np.ndarray,
    counts: Sequence[int],
    starts: Sequence[int],
    deadline: Deadline | None,
) -> Prepared:
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
    # If the schedule's order of blocks is the ranks' order, gather in the receive buffer itself.
    same_order = all(user == ours for user, ours in moves)
    work = recv if same_order else np.empty(layout.plan.count, np.uint8)
    scratch = np.empty(layout.plan.scratch, np.uint8)

    def rounds(tag: int) -> Rounds:
        for user, ours in layout.pieces[comm.rank]:
            work[ours] = mine[user.start - first : user.stop - first]
        # The plan has no reductions, so the operation is never called.
        yield from play(layout.plan, (work, work, scratch), np.add, context.comm, tag)
        if not same_order:
            for user, ours in moves:
                recv[user] = work[ours]

    nbytes = scratch.nbytes + (0 if same_order else work.nbytes)
    return Task(context, rounds, layout.schedule, why, nbytes, (mine, recv, work, scratch))


def _layout(
    context: Context,
    collective: str,
    spec: AlgorithmSpec,
    counts: Sequence[int],
    starts: Sequence[int] | None,
    itemsize: int,
) -> tuple[str, Layout]:
    """Choose a schedule for the pieces and lay them out; the reason for the choice comes first."""
    total = sum(counts)
    if starts is None:  # the pieces follow each other
        starts = np.append(0, np.cumsum(counts)[:-1]).tolist()
    resolved, why = context.blocks.choose(collective, spec, total * itemsize)
    # Tuples, because layouts are cached by these arguments.
    layout = context.blocks.layout(collective, resolved, tuple(counts), tuple(starts), itemsize)
    return why, layout
