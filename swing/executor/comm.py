"""A communicator of mpi4py whose allreduce, reduce-scatter and allgather run schedules.

    comm = swing.Comm(MPI.COMM_WORLD)

Everything else is mpi4py's own: a `Comm` *is* a communicator of mpi4py, on the same ranks and in
the same context as the one it is made of, and goes wherever one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from swing.executor import collectives, dispatch
from swing.executor.buffers.reductions import operation
from swing.executor.engines.plain import Deadline
from swing.executor.engines.progress import wait_for
from swing.executor.explanation import Explanation, explain
from swing.executor.requests import Prequest, Request
from swing.executor.session import argument_check
from swing.executor.session.planner import AlgorithmSpec, check_types
from swing.schedules.schedule import Schedule
from swing.torus import Torus

if TYPE_CHECKING:
    Base = MPI.Intracomm
else:
    Base = object  # the kind of communicator comes from the one that is wrapped: see `_kind`

AUTO: AlgorithmSpec = "auto", None, True, ()


class Comm(Base):
    """A communicator whose collectives run schedules.

    ``Allreduce``, ``Reduce_scatter``, ``Reduce_scatter_block``, ``Allgather`` and ``Allgatherv``,
    with their nonblocking (``I…``) and persistent (``…_init``) forms, take what mpi4py's take and
    run on the torus; MPI does what a schedule cannot (`explain` says what and why). Everything else
    is mpi4py's own, the lower-case methods for Python objects included. Communicators made of this
    one (``Dup``, ``Split``, ``Create_cart`` …) are `Comm` too: duplicates with the same torus and
    schedule, others with their own.

    All ranks make theirs together, as with ``Dup``: after that a nonblocking call waits for nobody.
    The first call on a communicator that was made of a `Comm` waits for all ranks.

    Args:
        comm: the communicator; it is not duplicated for MPI's own calls, and to free one is to
            free both.
        algorithm, torus, consistent, timeout, options: as in `swing.allreduce`. With ``timeout=``
            no call and no ``Wait`` of ours waits longer.

    Raises:
        TypeError, ValueError: arguments of wrong types or values.
        TimeoutError: not all ranks have come within ``timeout``.
    """

    _spec: AlgorithmSpec = AUTO
    _timeout: float | None = None

    def __new__(
        cls,
        comm: MPI.Comm | None = None,
        *,
        algorithm: str | Schedule = "auto",
        torus: Torus | None = None,
        consistent: bool = True,
        timeout: float | None = None,
        **options: Hashable,
    ) -> Comm:
        """See the class."""
        if comm is not None and not isinstance(comm, MPI.Comm):
            raise TypeError(f"comm is a {type(comm).__name__}: pass a communicator of mpi4py")
        if comm is not None or not issubclass(cls, MPI.Comm):
            base: Any = _base(comm)
            given: Any = cls
            cls = given if issubclass(given, base) else _kind(given, base)
        self = super().__new__(cls, comm)
        self._spec = algorithm, torus, consistent, tuple(options.items())
        check_types(self._spec)
        if timeout is not None:
            Deadline(timeout)
        self._timeout = timeout
        return self

    def __init__(self, comm: MPI.Comm | None = None, **given: Any) -> None:
        """Meet the other ranks."""
        if comm is not None and isinstance(self, MPI.Intracomm) and self:
            dispatch.meet(self, self._spec, self._deadline())

    # Allreduce

    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> None:
        """Reduce a vector over all ranks and give every rank the result."""
        given = self, *_pair(sendbuf, recvbuf), op, self._spec
        if self._timeout is not None or not dispatch.again(*given):
            dispatch.allreduce(*given, self._timeout)

    def Iallreduce(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> MPI.Request:
        """Begin an `Allreduce`."""
        return self._begin(collectives.allreduce, "Iallreduce", sendbuf, recvbuf, op)

    def Allreduce_init(
        self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Make an `Allreduce` ready, to be started any number of times."""
        return self._ready(collectives.allreduce, "Allreduce_init", info, sendbuf, recvbuf, op)

    # Reduce-scatter

    def Reduce_scatter_block(self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM) -> None:
        """Reduce a vector over all ranks and give each rank a piece of the same length."""
        self._run(collectives.reduce_scatter_block, "Reduce_scatter_block", sendbuf, recvbuf, op)

    def Ireduce_scatter_block(
        self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM
    ) -> MPI.Request:
        """Begin a `Reduce_scatter_block`."""
        make = collectives.reduce_scatter_block
        return self._begin(make, "Ireduce_scatter_block", sendbuf, recvbuf, op)

    def Reduce_scatter_block_init(
        self, sendbuf: Any, recvbuf: Any, op: MPI.Op = MPI.SUM, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Make a `Reduce_scatter_block` ready."""
        make = collectives.reduce_scatter_block
        return self._ready(make, "Reduce_scatter_block_init", info, sendbuf, recvbuf, op)

    def Reduce_scatter(
        self,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
    ) -> None:
        """Reduce a vector over all ranks and give each rank a piece of a length of its own."""
        self._run(collectives.reduce_scatter, "Reduce_scatter", sendbuf, recvbuf, recvcounts, op)

    def Ireduce_scatter(
        self,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
    ) -> MPI.Request:
        """Begin a `Reduce_scatter`."""
        make = collectives.reduce_scatter
        return self._begin(make, "Ireduce_scatter", sendbuf, recvbuf, recvcounts, op)

    def Reduce_scatter_init(
        self,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> MPI.Prequest:
        """Make a `Reduce_scatter` ready."""
        make = collectives.reduce_scatter
        return self._ready(make, "Reduce_scatter_init", info, sendbuf, recvbuf, recvcounts, op)

    # Allgather

    def Allgather(self, sendbuf: Any, recvbuf: Any) -> None:
        """Give every rank the pieces of all, each of the same length."""
        self._run(collectives.allgather, "Allgather", sendbuf, recvbuf)

    def Iallgather(self, sendbuf: Any, recvbuf: Any) -> MPI.Request:
        """Begin an `Allgather`."""
        return self._begin(collectives.allgather, "Iallgather", sendbuf, recvbuf)

    def Allgather_init(
        self, sendbuf: Any, recvbuf: Any, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Make an `Allgather` ready."""
        return self._ready(collectives.allgather, "Allgather_init", info, sendbuf, recvbuf)

    def Allgatherv(self, sendbuf: Any, recvbuf: Any) -> None:
        """Give every rank the pieces of all, each of a length of its own."""
        self._run(collectives.allgatherv, "Allgatherv", sendbuf, recvbuf)

    def Iallgatherv(self, sendbuf: Any, recvbuf: Any) -> MPI.Request:
        """Begin an `Allgatherv`."""
        return self._begin(collectives.allgatherv, "Iallgatherv", sendbuf, recvbuf)

    def Allgatherv_init(
        self, sendbuf: Any, recvbuf: Any, info: MPI.Info = MPI.INFO_NULL
    ) -> MPI.Prequest:
        """Make an `Allgatherv` ready."""
        return self._ready(collectives.allgatherv, "Allgatherv_init", info, sendbuf, recvbuf)

    def explain(
        self,
        name: str,
        sendbuf: Any,
        recvbuf: Any,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
    ) -> Explanation:
        """What a call of ours would do, and why: ``comm.explain("Allgather", sendbuf, recvbuf)``.

        Like the call, it is made by every rank.

        Args:
            name: of the blocking method.
            sendbuf: its first argument.
            recvbuf: its second one.
            recvcounts: the lengths of pieces, if it takes them.
            op: the operation, if it takes one.

        Raises:
            ValueError: a method that is MPI's; and what the call would raise.
        """
        if name not in _MAKE:
            raise ValueError(f"{name} is MPI's own; ours are {', '.join(_MAKE)}")
        if name == "Allreduce":
            return dispatch.explain(self, *_pair(sendbuf, recvbuf), op, self._spec)
        few: dict[str, tuple[Any, ...]] = {
            "Reduce_scatter": (recvcounts, op), "Allgather": (), "Allgatherv": ()
        }  # fmt: skip
        rest = few.get(name, (op,))
        return explain(_MAKE[name], name, self, self._spec, *_pair(sendbuf, recvbuf), *rest)

    def _run(self, make: collectives.Make, name: str, *args: Any) -> None:
        deadline = self._deadline()
        made = self._made(make, deadline, *args)
        if isinstance(made, collectives.Task):
            made.start(made.context.tag()).wait(deadline)
        elif deadline is None:
            getattr(super(), name)(*args)
        else:
            request = getattr(super(), f"I{name.lower()}")(*args)
            wait_for(request, deadline, f"MPI_{name}")

    def _begin(self, make: collectives.Make, name: str, *args: Any) -> MPI.Request:
        made = self._made(make, self._deadline(), *args)
        if isinstance(made, collectives.Task):
            return Request(made.start(made.context.tag()), self._timeout)
        request: MPI.Request = getattr(super(), name)(*args)
        return request

    def _ready(self, make: collectives.Make, name: str, info: MPI.Info, *args: Any) -> MPI.Prequest:
        made = self._made(make, self._deadline(), *args)
        if isinstance(made, collectives.Task):
            return Prequest(partial(made.start, made.context.tag(persistent=True)), self._timeout)
        request: MPI.Prequest = getattr(super(), name)(*args, info)
        return request

    def _deadline(self) -> Deadline | None:
        return None if self._timeout is None else Deadline(self._timeout)

    def _made(
        self,
        make: collectives.Make,
        deadline: Deadline | None,
        sendbuf: Any,
        recvbuf: Any,
        *rest: Any,
    ) -> collectives.Made:
        operation(self, rest[-1] if rest else None)
        given = *_pair(sendbuf, recvbuf), *rest
        try:
            return collectives.staged(make, self, self._spec, *given, deadline=deadline)
        except (TypeError, ValueError) as error:
            argument_check.refuse(self, error)
            raise

    def _derived(self, made: Any, same_ranks: bool) -> Any:
        """A communicator that mpi4py has made of this one, with what is asked of this one."""
        if isinstance(made, tuple):  # with a request
            return self._derived(made[0], same_ranks), *made[1:]
        derived = made if isinstance(made, Comm) else Comm.__new__(Comm, made)
        algorithm, torus, consistent, options = self._spec
        if not same_ranks:
            torus = None
            if isinstance(algorithm, Schedule):
                algorithm = "auto"
        derived._spec, derived._timeout = (algorithm, torus, consistent, options), self._timeout
        return derived


_MAKE: dict[str, collectives.Make] = {
    "Allreduce": collectives.allreduce,
    "Reduce_scatter_block": collectives.reduce_scatter_block,
    "Reduce_scatter": collectives.reduce_scatter,
    "Allgather": collectives.allgather,
    "Allgatherv": collectives.allgatherv,
}


def _pair(sendbuf: Any, recvbuf: Any) -> tuple[Any, Any]:
    """Send and receive buffer, where None says in place as it does to mpi4py."""
    if recvbuf is None:
        raise TypeError("recvbuf is None: pass a buffer for the result, in place as well")
    return MPI.IN_PLACE if sendbuf is None else sendbuf, recvbuf


@cache
def _kind(cls: type[Comm], base: type[MPI.Comm]) -> type[Comm]:
    """The class of communicators that are a `Comm` and one of mpi4py's kinds."""
    return type(cls.__name__, (cls, base), {"__doc__": cls.__doc__, "__module__": cls.__module__})


def _base(comm: MPI.Comm | None) -> type[MPI.Comm]:
    """mpi4py's own class of a communicator."""
    kinds = type(comm).__mro__ if comm is not None else (MPI.Intracomm,)
    found: type[MPI.Comm] = next(kind for kind in kinds if kind.__module__ == MPI.__name__)
    return found


def _deriving(name: str, same_ranks: bool) -> Callable[..., Any]:
    """A method of mpi4py's that makes a communicator, and ours of it."""

    def method(self: Comm, *args: Any, **kwargs: Any) -> Any:
        return self._derived(getattr(super(Comm, self), name)(*args, **kwargs), same_ranks)

    method.__name__ = name
    method.__doc__ = "As mpi4py's; the new communicator is a `Comm` too."
    return method


for _name in ("Clone", "Dup", "Dup_with_info", "Idup", "Idup_with_info"):
    setattr(Comm, _name, _deriving(_name, same_ranks=True))
for _name in (
    "Split", "Split_type", "Create", "Create_group", "Create_cart", "Create_graph",
    "Create_dist_graph", "Create_dist_graph_adjacent", "Create_intercomm", "Merge", "Sub",
):  # fmt: skip
    setattr(Comm, _name, _deriving(_name, same_ranks=False))
