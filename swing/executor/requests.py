"""Requests of nonblocking and persistent collectives, usable like mpi4py's own.

Behind each request is an MPI *generalized request*, which a library creates and later declares
complete. So these requests can be mixed with others in ``MPI.Request.Waitall``, ``Waitany`` and the
like. MPI does not advance an operation in such calls: the helper thread of
`swing.executor.engines.progress` does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from mpi4py import MPI

from swing.executor.engines.progress import Operation, advance
from swing.executor.engines.wait import Deadline

Begin = Callable[[], Operation]

if TYPE_CHECKING:
    Base = MPI.Request
else:
    # The subclasses name mpi4py's class as their second base, so that ``super()`` reaches it here.
    Base = object


class _PolledRequest(Base):
    """Mixin for a request whose tests and waits also advance all operations of this process."""

    _operation: Operation | None = None
    _timeout: float | None = None

    def Wait(self, status: MPI.Status | None = None) -> Literal[True]:
        """Wait until the operation is complete."""
        self._finish()
        return super().Wait(status)

    def Test(self, status: MPI.Status | None = None) -> bool:
        """Test whether the operation is complete, and release the request if so."""
        self._poll()
        return super().Test(status)

    def Get_status(self, status: MPI.Status | None = None) -> bool:
        """Test whether the operation is complete, without releasing the request."""
        self._poll()
        return super().Get_status(status)

    def wait(self, status: MPI.Status | None = None) -> Any:
        """Wait until the operation is complete."""
        self._finish()
        return super().wait(status)

    def test(self, status: MPI.Status | None = None) -> tuple[bool, Any | None]:
        """Test whether the operation is complete, and release the request if so."""
        self._poll()
        return super().test(status)

    def _finish(self) -> None:
        # This raises the operation's error, if any. Otherwise MPI's own wait, which follows, finds
        # the request complete and only releases it.
        if self._operation is not None:
            self._operation.wait(None if self._timeout is None else Deadline(self._timeout))

    def _poll(self) -> None:
        advance()
        if self._operation is not None:
            self._operation.check()


class Request(_PolledRequest, MPI.Request):
    """A nonblocking collective that has been started.

    Args:
        operation: the operation, already started.
        timeout: seconds after which ``Wait`` raises TimeoutError; None waits without a limit.
    """

    def __new__(cls, operation: Operation, timeout: float | None) -> Request:
        """Create the request; see the class."""
        self = super().__new__(cls, _generalized(operation))
        self._operation, self._timeout = operation, timeout
        return self


class Prequest(_PolledRequest, MPI.Prequest):
    """A persistent collective: ``Start`` it any number of times, and ``Wait`` after each start.

    Args:
        begin: starts the operation and returns it.
        release: called once when the request is freed.
        timeout: seconds after which ``Wait`` raises TimeoutError; None waits without a limit.
    """

    _begin: Begin | None = None
    _release: Callable[[], object]

    def __new__(
        cls, begin: Begin, release: Callable[[], object], timeout: float | None
    ) -> Prequest:
        """Create the request; see the class."""
        self = super().__new__(cls)
        self._begin, self._release, self._timeout = begin, release, timeout
        return self

    def Start(self) -> None:
        """Start the operation.

        Raises:
            RuntimeError: the operation is still active, or the request has been freed.
        """
        if self._begin is None:
            raise RuntimeError("the request has been freed: make a new one")
        if super().__bool__():
            raise RuntimeError("the request is active: wait for it before starting it again")
        self._operation = self._begin()
        handle = _generalized(self._operation)
        # mpi4py offers no way to give an existing request another handle, so the handle's bytes
        # are copied into this object.
        ctypes.memmove(MPI._addressof(self), MPI._addressof(handle), MPI._sizeof(MPI.Request))

    @classmethod
    def Startall(cls, requests: Iterable[MPI.Prequest]) -> None:
        """Start several persistent requests, of this class or of mpi4py's.

        MPI's own ``Startall`` cannot: before ``Start`` there is no MPI request behind this one.
        """
        for request in requests:
            request.Start()

    def Free(self) -> None:
        """Free the request; an active operation still runs to its end."""
        if super().__bool__():  # the operation is active: there is a generalized request to free
            super().Free()
        if self._begin is not None:
            self._begin = None
            self._release()

    def free(self) -> None:
        """Free the request like `Free`; a second call does nothing."""
        self.Free()

    def __bool__(self) -> bool:
        # mpi4py would take an inactive request for a null one, because its handle is null.
        return self._begin is not None


def _generalized(operation: Operation) -> MPI.Grequest:
    """Make a generalized request that is complete once the operation is done."""

    def query(status: MPI.Status) -> None:
        # A collective has no source, tag or count. The standard leaves them to this function.
        status.source = status.tag = MPI.UNDEFINED
        status.Set_elements(MPI.BYTE, 0)
        status.Set_cancelled(False)
        if operation.error is not None:
            raise MPI.Exception(MPI.ERR_OTHER)

    request = MPI.Grequest.Start(query)
    operation.when_done(request.Complete)
    return request
