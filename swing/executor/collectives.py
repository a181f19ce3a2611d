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
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.reading import pieces, vector, vectors
from swing.executor.buffers.reductions import reduction
from swing.executor.buffers.vector import Vector, check_apart, check_types
from swing.executor.engines.compiled import why_plain
from swing.executor.engines.plain import play
from swing.executor.engines.progress import Rounds, wait_for
from swing.executor.engines.wait import Deadline
from swing.executor.session import argument_check
from swing.executor.session.call import AlgorithmSpec, CollectiveCall, Options
from swing.executor.session.context import Context
from swing.executor.session.layouts import Layout
from swing.executor.tasks import (
    Delegated,
    Prepared,
    Task,
    check_delegated,
    delegate,
    or_delegate,
    surrounded,
    why_delegated,
)


@or_delegate
def allreduce(call: CollectiveCall) -> Prepared:
    """Prepare an allreduce; for the buffers see `swing.executor.buffers.reading.vectors`.

    Raises:
        TypeError, ValueError: as `swing.allreduce`. Nothing has been sent.
        TimeoutError: other ranks did not make a communicator's first call by the deadline.
    """
    why_not = why_delegated(call)
    if why_not:
        check_delegated(call, why_not)
        return Delegated(why_not)
    assert call.op is not None
    source, target = vectors(call.sendbuf, call.recvbuf, call.comm)
    send, recv, reduce = source.elements, target.elements, reduction(call.op, target)
    # This can wait for other ranks, so it comes after all checks that may refuse the arguments.
    context = argument_check.context(call, len(recv), recv.dtype, target.datatype)
    planner = context.planner
    resolved, why = planner.choose(call.spec, recv.nbytes)
    plan = planner.plan(resolved, len(recv), recv.itemsize, in_place=source is target)
    scratch = np.empty(plan.scratch, recv.dtype)
    why_not_compiled = why_plain(recv.dtype, reduce)
    return Task(
        context,
        surrounded(
            source.before(),
            lambda tag: play(plan, (send, recv, scratch), reduce, context.comm, tag),
            target.after(),
        ),
        planner.order(resolved).schedule,
        resolved.options,
        why,
        scratch.nbytes,
        (source, target, scratch),
        f"plain, because {why_not_compiled}" if why_not_compiled else "compiled",
    )


@or_delegate
def reduce_scatter_block(call: CollectiveCall) -> Prepared:
    """Prepare a reduce-scatter of pieces of equal length.

    Args:
        call: the call. Its ``sendbuf`` is all ranks' pieces in rank order, or ``MPI.IN_PLACE``; a
            count in it is the length of one piece. Its ``recvbuf`` is the buffer for this rank's
            piece. In place it holds all pieces, and the result replaces the first one.
    """
    why_not = why_delegated(call)
    if why_not:
        return delegate(call, why_not)
    p = call.comm.size
    if call.sendbuf is MPI.IN_PLACE:
        send = vector(call.recvbuf, "the buffer", call.comm, p, writable=True)
        n, remainder = divmod(len(send), p)
        if remainder:
            raise ValueError(
                f"{len(send)} elements do not make {p} equal pieces: use Reduce_scatter"
            )
        return _reduce_scatter(call, send, send.head(n), [n] * p)
    recv = vector(call.recvbuf, "recvbuf", call.comm, writable=True)
    send = vector(call.sendbuf, "sendbuf", call.comm, p)
    check_types(send, recv)
    check_apart(send, recv)
    if len(send) != p * len(recv):
        raise ValueError(
            f"sendbuf has {len(send)} elements, not {p} times the {len(recv)} of recvbuf: "
            "pass one piece for every rank"
        )
    return _reduce_scatter(call, send, recv, [len(recv)] * p)


@or_delegate
def reduce_scatter(call: CollectiveCall) -> Prepared:
    """Prepare a reduce-scatter of pieces of any length.

    Args:
        call: the call. Its ``sendbuf`` is all ranks' pieces in rank order, or ``MPI.IN_PLACE``.
            Its ``recvbuf`` is the buffer for this rank's piece. In place it holds all pieces, and
            the result goes to its beginning. Its ``recvcounts`` are (size,) elements of each
            piece; None gathers the length of every rank's ``recvbuf``.
    """
    why_not = why_delegated(call)
    if why_not:
        return delegate(call, why_not)
    comm, recvcounts, in_place = call.comm, call.recvcounts, call.sendbuf is MPI.IN_PLACE
    recv = vector(call.recvbuf, "the buffer" if in_place else "recvbuf", comm, writable=True)
    if recvcounts is not None:
        counts = [operator.index(n) for n in recvcounts]
    elif not in_place:
        counts = _lengths(comm, len(recv), call.deadline)
    else:
        raise ValueError("to reduce in place, pass recvcounts: the buffer holds all pieces")
    if len(counts) != comm.size or min(counts) < 0:
        raise ValueError(f"recvcounts needs {comm.size} lengths, one per rank, not {recvcounts!r}")
    if in_place:
        send, recv = recv, recv.head(counts[comm.rank])
    else:
        send = vector(call.sendbuf, "sendbuf", comm)
        check_types(send, recv)
        check_apart(send, recv)
        if len(recv) != counts[comm.rank]:
            raise ValueError(
                f"recvbuf has {len(recv)} elements but recvcounts[{comm.rank}] is "
                f"{counts[comm.rank]}: make them equal"
            )
    if len(send) != sum(counts):
        name = "the buffer" if in_place else "sendbuf"
        raise ValueError(f"{name} has {len(send)} elements, not the {sum(counts)} of recvcounts")
    return _reduce_scatter(call, send, recv, counts)


@or_delegate
def allgather(call: CollectiveCall) -> Prepared:
    """Prepare an allgather of pieces of equal length.

    Args:
        call: the call. Its ``sendbuf`` is this rank's piece. In place it is already at its
            position in ``recvbuf``. Its ``recvbuf`` is the buffer for all ranks' pieces; a count
            in it is the length of one piece.
    """
    why_not = why_delegated(call)
    if why_not:
        return delegate(call, why_not)
    comm = call.comm
    recv = vector(call.recvbuf, "recvbuf", comm, comm.size, writable=True)
    n, remainder = divmod(len(recv), comm.size)
    if remainder:
        raise ValueError(
            f"recvbuf has {len(recv)} elements, which do not make {comm.size} equal pieces: "
            "use Allgatherv"
        )
    n *= recv.elements.itemsize
    return _allgather(call, recv, [n] * comm.size, [r * n for r in range(comm.size)])


@or_delegate
def allgatherv(call: CollectiveCall) -> Prepared:
    """Prepare an allgather of pieces of any length.

    Args:
        call: the call. Its ``sendbuf`` is this rank's piece. In place it is already at its
            position in ``recvbuf``. Its ``recvbuf`` is the buffer for all ranks' pieces, ``[buf,
            counts, displacements, datatype]``.
    """
    why_not = why_delegated(call)
    if why_not:
        return delegate(call, why_not)
    return _allgather(call, *pieces(call.recvbuf, "recvbuf", call.comm))


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
    call: CollectiveCall, source: Vector, target: Vector, counts: Sequence[int]
) -> Prepared:
    assert call.op is not None
    send, recv, reduce = source.elements, target.elements, reduction(call.op, target)
    context = argument_check.context(call, counts, recv.dtype, target.datatype)
    why, options, layout = _layout(
        context, "reduce_scatter", call.spec, counts, None, send.itemsize
    )
    rank = call.comm.rank
    work = np.empty(len(send), send.dtype)
    scratch = np.empty(layout.plan.scratch, send.dtype)
    first = sum(counts[:rank])

    def rounds(tag: int) -> Rounds:
        # Reduce in a copy, which has the schedule's order of blocks and leaves the pieces of other
        # ranks in ``send`` untouched.
        for piece in layout.pieces:
            for user, ours in piece:
                work[ours] = send[user]
        yield from play(layout.plan, (work, work, scratch), reduce, context.comm, tag)
        for user, ours in layout.pieces[rank]:
            recv[user.start - first : user.stop - first] = work[ours]

    nbytes = work.nbytes + scratch.nbytes
    all_rounds = surrounded(source.before(), rounds, target.after())
    keep = source, target, work, scratch
    return Task(context, all_rounds, layout.schedule, options, why, nbytes, keep)


def _allgather(
    call: CollectiveCall, target: Vector, counts: Sequence[int], starts: Sequence[int]
) -> Prepared:
    rank = call.comm.rank
    first, last = starts[rank], starts[rank] + counts[rank]
    # An allgather only moves data, so it works on bytes.
    target = replace(target, elements=target.elements.view(np.uint8))
    recv = target.elements
    if call.sendbuf is MPI.IN_PLACE:
        source, mine = target, recv[first:last]
    else:
        source = vector(call.sendbuf, "sendbuf", call.comm)
        mine = source.elements.view(np.uint8)
        check_apart(source, target)
    if len(mine) != last - first:
        raise ValueError(
            f"sendbuf has {len(mine)} bytes and this rank's piece of recvbuf {last - first}: "
            "make them equal"
        )
    context = argument_check.context(call, counts, np.dtype(np.uint8), None)
    why, options, layout = _layout(context, "allgather", call.spec, counts, starts, 1)
    moves = [move for piece in layout.pieces for move in piece]
    # If the schedule's order of blocks is the ranks' order, gather in the receive buffer itself.
    same_order = all(user == ours for user, ours in moves)
    work = recv if same_order else np.empty(layout.plan.count, np.uint8)
    scratch = np.empty(layout.plan.scratch, np.uint8)

    def rounds(tag: int) -> Rounds:
        for user, ours in layout.pieces[rank]:
            work[ours] = mine[user.start - first : user.stop - first]
        # The plan has no reductions, so the operation is never called.
        yield from play(layout.plan, (work, work, scratch), np.add, context.comm, tag)
        if not same_order:
            for user, ours in moves:
                recv[user] = work[ours]

    nbytes = scratch.nbytes + (0 if same_order else work.nbytes)
    all_rounds = surrounded(source.before(), rounds, target.after())
    keep = source, target, work, scratch
    return Task(context, all_rounds, layout.schedule, options, why, nbytes, keep)


def _layout(
    context: Context,
    collective: str,
    spec: AlgorithmSpec,
    counts: Sequence[int],
    starts: Sequence[int] | None,
    itemsize: int,
) -> tuple[str, Options, Layout]:
    """Choose a schedule for the pieces and lay them out.

    Returns:
        The reason for the choice, the options of the schedule, and the layout.
    """
    total = sum(counts)
    if starts is None:  # the pieces follow each other
        starts = np.append(0, np.cumsum(counts)[:-1]).tolist()
    resolved, why = context.blocks.choose(collective, spec, total * itemsize)
    # Tuples, because layouts are cached by these arguments.
    layout = context.blocks.layout(collective, resolved, tuple(counts), tuple(starts), itemsize)
    return why, resolved.options, layout
