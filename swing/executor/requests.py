"""What nonblocking and persistent calls return: requests of mpi4py, waited for as its own.

Behind each is a *generalized request*: MPI lets a library make requests of its own and say when
they are complete. So they mix with others in ``MPI.Request.Waitall`` and its kin, where the helper
thread of `swing.executor.engines.progress` carries them on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from mpi4py import MPI

from swing.executor.engines.plain import Deadline
from swing.executor.engines.progress import Operation, advance

Begin = Callable[[], Operation]

if TYPE_CHECKING:
    Base = MPI.Request
else:
    Base = object  # mpi4py's class comes second, and makes the object


class _Ours(Base):
    """A request that lets all operations go on when it is tested."""

    _operation: Operation | None = None
    _timeout: float | None = None

    def Wait(self, status: MPI.Status | None = None) -> Literal[True]:
        """Wait until the operation is over."""
        self._finish()
        return super().Wait(status)

    def Test(self, status: MPI.Status | None = None) -> bool:
        """Whether the operation is over."""
        self._look()
        return super().Test(status)

    def Get_status(self, status: MPI.Status | None = None) -> bool:
        """Whether the operation is over; the request stays as it is."""
        self._look()
        return super().Get_status(status)

    def wait(self, status: MPI.Status | None = None) -> Any:
        """Wait until the operation is over."""
        self._finish()
        return super().wait(status)

    def test(self, status: MPI.Status | None = None) -> tuple[bool, Any | None]:
        """Whether the operation is over."""
        self._look()
        return super().test(status)

    def _finish(self) -> None:
        if self._operation is not None:
            self._operation.wait(None if self._timeout is None else Deadline(self._timeout))

    def _look(self) -> None:
        advance()
        if self._operation is not None:
            self._operation.check()


class Request(_Ours, MPI.Request):
    """A nonblocking operation under way.

    Args:
        operation: the operation, started.
        timeout: seconds after which ``Wait`` gives up.
    """

    def __new__(cls, operation: Operation, timeout: float | None) -> Request:
        """See the class."""
        self = super().__new__(cls, _generalized(operation))
        self._operation, self._timeout = operation, timeout
        return self


class Prequest(_Ours, MPI.Prequest):
    """A persistent operation: ``Start`` it any number of times, each time ``Wait`` for it.

    Args:
        begin: what starts the operation.
        timeout: seconds after which ``Wait`` gives up.
    """

    _begin: Begin | None = None

    def __new__(cls, begin: Begin, timeout: float | None) -> Prequest:
        """See the class."""
        self = super().__new__(cls)
        self._begin, self._timeout = begin, timeout
        return self

    def Start(self) -> None:
        """Start the operation.

        Raises:
            RuntimeError: it is under way already, or the request has been freed.
        """
        if self._begin is None:
            raise RuntimeError("the request has been freed: make a new one")
        if super().__bool__():
            raise RuntimeError("the request is active: wait for it before it is started again")
        self._operation = self._begin()
        handle = _generalized(self._operation)
        # mpi4py has no way to give an existing request another handle.
        ctypes.memmove(MPI._addressof(self), MPI._addressof(handle), MPI._sizeof(MPI.Request))

    @classmethod
    def Startall(cls, requests: Iterable[MPI.Prequest]) -> None:
        """Start several persistent requests, ours or MPI's."""
        for request in requests:
            request.Start()

    def Free(self) -> None:
        """Give the request up; an operation under way is finished."""
        if super().__bool__():
            super().Free()
        self._begin = None

    def free(self) -> None:
        """As `Free`, and may be called twice."""
        self.Free()

    def __bool__(self) -> bool:
        return self._begin is not None


def _generalized(operation: Operation) -> MPI.Grequest:
    """A request of MPI's that is complete when the operation is over."""

    def query(status: MPI.Status) -> None:
        status.source = status.tag = MPI.UNDEFINED
        status.Set_elements(MPI.BYTE, 0)
        status.Set_cancelled(False)
        if operation.error is not None:
            raise MPI.Exception(MPI.ERR_OTHER)

    request = MPI.Grequest.Start(query)
    operation.when_done(request.Complete)
    return request
