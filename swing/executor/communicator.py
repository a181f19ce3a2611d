"""Base of `swing.Comm`: an mpi4py communicator whose settings pass to those made from it.

mpi4py has a class for each kind of communicator, such as ``Intracomm`` and ``Cartcomm``, and users
derive classes of their own. The object made here is of the class of the communicator that it wraps
too, and of the class that was asked for.
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


class ClassMethods(type):
    """Gives a class the class methods of mpi4py's ``Intracomm``, such as ``Create_keyval``."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):  # tools ask for these, and take what they find for ours
            raise AttributeError(f"{cls.__name__} has no attribute {name}")
        return getattr(MPI.Intracomm, name)


class Communicator(Base, metaclass=ClassMethods):
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
        vars(self).update(getattr(comm, "__dict__", {}))  # attributes of a user's subclass
        self._spec = AlgorithmSpec(algorithm, torus, consistent, tuple(options.items()))
        self._spec.check()
        if timeout is not None:
            Deadline(timeout)  # raises unless it is a number of seconds
        self._timeout = timeout
        return self

    @classmethod
    def fromhandle(cls, handle: int) -> Any:
        """Create a communicator from an MPI handle."""
        return Communicator.__new__(_asked(cls), MPI.Comm.fromhandle(handle))

    @classmethod
    def f2py(cls, arg: int) -> Any:
        """Create a communicator from a Fortran handle."""
        return Communicator.__new__(_asked(cls), MPI.Comm.f2py(arg))

    @classmethod
    def Create_from_group(cls, *args: Any, **kwargs: Any) -> Any:
        """Create a communicator from a group; the arguments are those of mpi4py's method."""
        new = MPI.Intracomm.Create_from_group(*args, **kwargs)
        return Communicator.__new__(_asked(cls), new)

    def __reduce__(self) -> Any:
        """Pickle a communicator that MPI names, such as MPI.COMM_WORLD, as mpi4py does.

        Raises:
            ValueError: any other communicator, which other processes do not know.
        """
        reduced: Any = super().__reduce__()
        _, (_, constant) = reduced
        base = _base(self)
        # A class of mpi4py is found again by the communicator.
        users = None if base.__module__ == MPI.__name__ else base
        name = constant.__reduce__()  # such as "COMM_WORLD"
        return _restored, (_asked(type(self)), users, name, self._spec, self._timeout)

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
            derived = Communicator.__new__(_asked(type(self)), new)
        algorithm, torus, consistent, options = self._spec
        if not same_ranks:  # the torus and a schedule are for a fixed number of ranks in order
            torus = None
            if isinstance(algorithm, Schedule):
                algorithm = "auto"
        derived._spec = AlgorithmSpec(algorithm, torus, consistent, options)
        derived._timeout = self._timeout
        return derived


@cache
def _kind(cls: Any, base: Any) -> Any:
    """Make the subclass of `Comm` and of a communicator's class, such as ``Cartcomm``."""
    bases: tuple[type, ...] = cls, base
    own = {"__doc__": cls.__doc__, "__module__": cls.__module__}
    if base.__module__ != MPI.__name__:
        # The methods of a user's class come first, then ours, then mpi4py's, which both call by
        # ``super()``. Its constructor has been called already.
        bases = base, _kind(cls, _base_of(base, mpi4pys=True))
        own |= {name: getattr(cls, name) for name in ("__new__", "__init__", "__reduce__")}
    return type(cls)(cls.__name__, bases, own)


def _base(comm: MPI.Comm | None) -> Any:
    """Find the class of a communicator, or of the one that it wraps if it is a `Comm`."""
    cls: Any = type(comm)
    return MPI.Intracomm if comm is None else _base_of(cls)


@cache
def _base_of(cls: Any, mpi4pys: bool = False) -> Any:
    """Find the first class of communicators that is not ours, or the first one of mpi4py's."""
    return next(
        each
        for each in cls.__mro__
        if issubclass(each, MPI.Comm)
        and not issubclass(each, Communicator)
        and (each.__module__ == MPI.__name__ or not mpi4pys)
    )


@cache
def _asked(cls: Any) -> Any:
    """Find the class that the user asked for: the first of ours without mpi4py's classes."""
    ours = (each for each in cls.__mro__ if issubclass(each, Communicator))
    return next(each for each in ours if not issubclass(each, MPI.Comm))


def _restored(
    asked: Any, users: Any, name: str, spec: AlgorithmSpec, timeout: float | None
) -> Communicator:
    """Make a communicator that was pickled. Not collective: one rank alone may do so."""
    named = getattr(MPI, name)
    self = Communicator.__new__(_kind(asked, users or _base(named)), named)
    self._spec, self._timeout = spec, timeout
    return self


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
    "Shrink", "Ishrink",
):  # fmt: skip
    setattr(Communicator, _name, _deriving(_name, same_ranks=False))
