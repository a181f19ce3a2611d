"""Base of `swing.Comm`: an mpi4py communicator whose settings pass to those made from it.

mpi4py has a class for each kind of communicator, such as ``Intracomm`` and ``Cartcomm``. The object
made here is of that class too, and of the class that the user asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from swing.executor.engines.wait import Deadline
from swing.executor.session.call import AlgorithmSpec
from swing.schedules.schedule import Schedule
from swing.torus import Torus

if TYPE_CHECKING:
    Base = MPI.Intracomm
else:
    Base = object  # `_kind` adds mpi4py's class, which depends on the communicator wrapped


class Communicator(Base):
    """An mpi4py communicator with an algorithm and a timeout; `swing.Comm` has the arguments."""

    _spec: AlgorithmSpec = AlgorithmSpec()
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
    ) -> Communicator:
        """Create the communicator; see the class."""
        if comm is not None and not isinstance(comm, MPI.Comm):
            raise TypeError(f"comm is a {type(comm).__name__}: pass a communicator of mpi4py")
        # mpi4py calls this without ``comm``, on a class that `_kind` has made, for the result of a
        # method such as ``Dup``. That class is complete already.
        if comm is not None or not issubclass(cls, MPI.Comm):
            base: Any = _base(comm)
            requested: Any = cls
            cls = requested if issubclass(requested, base) else _kind(requested, base)
        self = super().__new__(cls, comm)
        self._spec = AlgorithmSpec(algorithm, torus, consistent, tuple(options.items()))
        self._spec.check()
        if timeout is not None:
            Deadline(timeout)  # raises unless it is a number of seconds
        self._timeout = timeout
        return self

    def _deadline(self) -> Deadline | None:
        return None if self._timeout is None else Deadline(self._timeout)

    def _derived(self, new: Any, same_ranks: bool) -> Any:
        """Give a communicator that mpi4py has made from this one the same algorithm and timeout."""
        if isinstance(new, tuple):  # ``Idup`` returns the communicator and a request
            return self._derived(new[0], same_ranks), *new[1:]
        # Depending on the method, mpi4py returns this communicator's class or its own. ``__init__``
        # is collective, so it is not called: ``Create_group`` is not collective over all ranks, and
        # ``Idup`` must not wait.
        derived: Any = new
        if not isinstance(new, Communicator):
            # The class that the user asked for is the first without a base class of mpi4py.
            classes: tuple[Any, ...] = type(self).__mro__
            asked = next(cls for cls in classes if not issubclass(cls, MPI.Comm))
            derived = Communicator.__new__(asked, new)
        algorithm, torus, consistent, options = self._spec
        if not same_ranks:  # the torus and a schedule are for a fixed number of ranks in order
            torus = None
            if isinstance(algorithm, Schedule):
                algorithm = "auto"
        derived._spec = AlgorithmSpec(algorithm, torus, consistent, options)
        derived._timeout = self._timeout
        return derived


@cache
def _kind(cls: type[Communicator], base: type[MPI.Comm]) -> type[Communicator]:
    """Make the subclass of `Comm` and of one of mpi4py's classes, such as ``Cartcomm``."""
    return type(cls.__name__, (cls, base), {"__doc__": cls.__doc__, "__module__": cls.__module__})


def _base(comm: MPI.Comm | None) -> type[MPI.Comm]:
    """Find the mpi4py class of a communicator, which may itself be a `Comm`."""
    classes = type(comm).__mro__ if comm is not None else (MPI.Intracomm,)
    base: type[MPI.Comm] = next(cls for cls in classes if cls.__module__ == MPI.__name__)
    return base


def _deriving(name: str, same_ranks: bool) -> Callable[..., Any]:
    """Wrap an mpi4py method that makes a communicator, so that the result has this class."""

    def method(self: Communicator, *args: Any, **kwargs: Any) -> Any:
        return self._derived(getattr(super(Communicator, self), name)(*args, **kwargs), same_ranks)

    method.__name__ = name
    method.__doc__ = "Call mpi4py's method; the new communicator is a `Comm` too."
    return method


for _name in ("Clone", "Dup", "Dup_with_info", "Idup", "Idup_with_info"):
    setattr(Communicator, _name, _deriving(_name, same_ranks=True))
for _name in (
    "Split", "Split_type", "Create", "Create_group", "Create_cart", "Create_graph",
    "Create_dist_graph", "Create_dist_graph_adjacent", "Create_intercomm", "Merge", "Sub",
):  # fmt: skip
    setattr(Communicator, _name, _deriving(_name, same_ranks=False))
