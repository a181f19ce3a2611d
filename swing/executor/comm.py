"""mpi4py communicator whose allreduce, reduce-scatter and allgather run schedules on a torus.

    comm = swing.Comm(MPI.COMM_WORLD)

A `Comm` *is* an mpi4py communicator, with the ranks and the handle of the one it wraps. It can be
passed wherever mpi4py expects a communicator, and all its other methods are mpi4py's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mpi4py import MPI

from swing.executor import collectives, dispatch
from swing.executor.buffers.reductions import operation
from swing.executor.communicator import Communicator
from swing.executor.engines.progress import wait_for
from swing.executor.engines.wait import Deadline
from swing.executor.explanation import Explanation, explain
from swing.executor.requests import Prequest, Request
from swing.executor.session import argument_check
from swing.executor.session.call import CollectiveCall
from swing.executor.session.contexts import contexts
from swing.executor.tasks import Prepare, Prepared, Task, staged, with_remedy


class Comm(Communicator):
    """An mpi4py communicator whose collectives run schedules.

    ``Allreduce``, ``Reduce_scatter``, ``Reduce_scatter_block``, ``Allgather`` and ``Allgatherv``,
    with their nonblocking (``I…``) and persistent (``…_init``) forms, take the same arguments as in
    mpi4py and run a schedule on the torus. Calls for which no schedule works, such as those with an
    operation that does not commute, are left to the MPI library; `explain` says which, and why. All
    other methods are mpi4py's, including the lower-case ones for Python objects.

    Communicators made from this one (``Dup``, ``Split``, ``Create_cart`` and the like) are `Comm`
    too. Duplicates keep the torus and the algorithm. The others, whose ranks differ, find a torus
    of their own, and "auto" replaces an algorithm that was passed as a `Schedule`.

    Construction is collective, like ``Dup``. Thereafter no nonblocking call waits for another rank,
    except ``Ireduce_scatter`` without ``recvcounts``.
    Communicators made from a `Comm` are set up at their first call, which waits for all ranks.

    Example:
        Overlap an allreduce with computation::

            comm = swing.Comm(MPI.COMM_WORLD)
            request = comm.Iallreduce(gradient, total)
            compute()
            request.Wait()

    Args:
        comm: the communicator. The two share one handle: freeing one frees the other.
        algorithm, torus, consistent, options: as in `swing.allreduce`.
        timeout: seconds after which a blocking method, or the ``Wait`` of a request from this
            communicator, raises TimeoutError; None waits without a limit.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a negative ``timeout``.
        TimeoutError: not all ranks constructed their `Comm` within ``timeout``.
    """

    def __init__(self, comm: MPI.Comm | None = None, **options: Any) -> None:
        """Set up the communicator, together with the other ranks."""
        # On an intercommunicator MPI runs everything, and COMM_NULL has no ranks.
        if comm is not None and isinstance(self, MPI.Intracomm) and self:
            dispatch.set_up(self, self._deadline())

    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> None:
        """Reduce a vector over all ranks and give every rank the result."""
        args = self, *_pair(sendbuf, recvbuf), op, self._spec
        if self._timeout is not None or not dispatch.run_cached(*args):
            dispatch.allreduce(*args, self._timeout)

    def Iallreduce(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> MPI.Request:
        """Start a nonblocking `Allreduce`."""
        return self._begin("Iallreduce", sendbuf, recvbuf, op)

    def Allreduce_init(
        self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Prepare a persistent `Allreduce`, to be started any number of times."""
        return self._init("Allreduce_init", info, sendbuf, recvbuf, op)

    def Reduce_scatter_block(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> None:
        """Reduce a vector over all ranks and give each rank one of its equal pieces."""
        self._run("Reduce_scatter_block", sendbuf, recvbuf, op)

    def Ireduce_scatter_block(
        self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM
    ) -> MPI.Request:
        """Start a nonblocking `Reduce_scatter_block`."""
        return self._begin("Ireduce_scatter_block", sendbuf, recvbuf, op)

    def Reduce_scatter_block_init(
        self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Prepare a persistent `Reduce_scatter_block`."""
        return self._init("Reduce_scatter_block_init", info, sendbuf, recvbuf, op)

    def Reduce_scatter(
        self,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
    ) -> None:
        """Reduce a vector over all ranks and give each rank a piece of ``recvcounts[rank]``.

        Without ``recvcounts`` the length of every rank's ``recvbuf`` is gathered first, so the call
        waits for all ranks, also in its nonblocking and persistent forms.
        """
        self._run("Reduce_scatter", sendbuf, recvbuf, recvcounts, op)

    def Ireduce_scatter(
        self,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
    ) -> MPI.Request:
        """Start a nonblocking `Reduce_scatter`."""
        return self._begin("Ireduce_scatter", sendbuf, recvbuf, recvcounts, op)

    def Reduce_scatter_init(
        self,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> MPI.Prequest:
        """Prepare a persistent `Reduce_scatter`."""
        return self._init("Reduce_scatter_init", info, sendbuf, recvbuf, recvcounts, op)

    def Allgather(self, sendbuf: Any, recvbuf: Any) -> None:
        """Give every rank the pieces of all ranks, which have equal lengths."""
        self._run("Allgather", sendbuf, recvbuf)

    def Iallgather(self, sendbuf: Any, recvbuf: Any) -> MPI.Request:
        """Start a nonblocking `Allgather`."""
        return self._begin("Iallgather", sendbuf, recvbuf)

    def Allgather_init(
        self, sendbuf: Any, recvbuf: Any, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Prepare a persistent `Allgather`."""
        return self._init("Allgather_init", info, sendbuf, recvbuf)

    def Allgatherv(self, sendbuf: Any, recvbuf: Any) -> None:
        """Give every rank the pieces of all ranks, whose lengths may differ."""
        self._run("Allgatherv", sendbuf, recvbuf)

    def Iallgatherv(self, sendbuf: Any, recvbuf: Any) -> MPI.Request:
        """Start a nonblocking `Allgatherv`."""
        return self._begin("Iallgatherv", sendbuf, recvbuf)

    def Allgatherv_init(
        self, sendbuf: Any, recvbuf: Any, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Prepare a persistent `Allgatherv`."""
        return self._init("Allgatherv_init", info, sendbuf, recvbuf)

    def Disconnect(self) -> None:
        """Wait until all operations have ended, and free the communicator.

        Raises:
            TimeoutError: they have not ended in time; the communicator is not freed.
        """
        context = contexts.get(MPI._handleof(self))
        if context is not None:
            context.wait(self._deadline())
        super().Disconnect()

    def explain(
        self,
        name: str,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
    ) -> Explanation:
        """Explain which algorithm a method would run with these arguments, and why.

        The call is collective like the method, but sends none of the buffers' data.

        Example:
            ``why = comm.explain("Allgather", sendbuf, recvbuf)`` on all ranks, then
            ``if comm.rank == 0: print(why)``

        Args:
            name: the name of the blocking method.
            sendbuf: the method's send buffer.
            recvbuf: the method's receive buffer.
            recvcounts: the lengths of the pieces, for ``Reduce_scatter``.
            op: the operation, for a method that reduces.

        Returns:
            The explanation; ``str()`` formats it in a few lines.

        Raises:
            ValueError: a method that always runs in the MPI library.
            TypeError, ValueError: as the method.
        """
        if name not in _PREPARE:
            raise ValueError(f"{name} is mpi4py's own: explain takes {', '.join(_PREPARE)}")
        if name == "Allreduce":
            return dispatch.explain(self, *_pair(sendbuf, recvbuf), op, self._spec, self._timeout)
        call = self._call(name, sendbuf, recvbuf, op, recvcounts)
        return explain(_PREPARE[name], call)

    def _run(self, name: str, *args: Any) -> None:
        deadline = self._deadline()
        task = self._prepare(name, deadline, *args)
        if isinstance(task, Task):
            task.start(task.context.tag()).wait(deadline)
        elif deadline is None:
            self._by_mpi(name, *args)
        else:  # MPI's blocking calls have no deadline, so wait for the nonblocking form
            request = self._by_mpi(f"I{name.lower()}", *args)
            wait_for(request, deadline, f"MPI_{name}")

    def _begin(self, name: str, *args: Any) -> MPI.Request:
        task = self._prepare(name[1:].capitalize(), self._deadline(), *args)
        if isinstance(task, Task):
            return Request(task.start(task.context.tag()), self._timeout)
        request: MPI.Request = self._by_mpi(name, *args)
        return request

    def _init(self, name: str, info: MPI.Info, *args: Any) -> MPI.Prequest:
        task = self._prepare(name.removesuffix("_init"), self._deadline(), *args)
        if isinstance(task, Task):
            # All starts use one tag: only one of them is active at a time.
            start = partial(task.start, task.context.tag(persistent=True))
            return Prequest(start, task.context.release, self._timeout)
        request: MPI.Prequest = self._by_mpi(name, *args, info)
        return request

    def _by_mpi(self, name: str, sendbuf: Any, recvbuf: Any, *others: Any) -> Any:
        """Call mpi4py's method of the same name."""
        with with_remedy(recvbuf):
            return getattr(super(), name)(sendbuf, recvbuf, *others)

    def _prepare(self, name: str, deadline: Deadline | None, *args: Any) -> Prepared:
        """Prepare a call of a method with mpi4py's arguments: buffers, counts, operation."""
        sendbuf, recvbuf, *others = args
        # The operation, if the collective has one, is the last argument.
        op = operation(self, others[-1]) if others else None
        recvcounts = others[0] if len(others) > 1 else None
        call = self._call(name, sendbuf, recvbuf, op, recvcounts, deadline)
        try:
            return staged(_PREPARE[name], call)
        except (TypeError, ValueError) as error:
            argument_check.refuse(self, error)
            raise

    def _call(
        self,
        name: str,
        sendbuf: Any,
        recvbuf: Any,
        op: MPI.Op | None,
        recvcounts: Sequence[int] | None = None,
        deadline: Deadline | None = None,
    ) -> CollectiveCall:
        op = None if name.startswith("Allgather") else op
        buffers = _pair(sendbuf, recvbuf)
        return CollectiveCall(name, self, *buffers, op, self._spec, deadline, recvcounts)


_PREPARE: dict[str, Prepare] = {
    "Allreduce": collectives.allreduce,
    "Reduce_scatter_block": collectives.reduce_scatter_block,
    "Reduce_scatter": collectives.reduce_scatter,
    "Allgather": collectives.allgather,
    "Allgatherv": collectives.allgatherv,
}


def _pair(sendbuf: Any, recvbuf: Any) -> tuple[Any, Any]:
    """Check the send and receive buffer; ``sendbuf=None`` means in place, as in mpi4py."""
    if recvbuf is None:
        raise TypeError("recvbuf is None: pass a buffer for the result, also to reduce in place")
    return MPI.IN_PLACE if sendbuf is None else sendbuf, recvbuf
