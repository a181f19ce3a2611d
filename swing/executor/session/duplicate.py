"""Duplicate of a user's communicator, made when a call of MPI's own collectives first needs it."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI


class Duplicate:
    """A duplicate of a user's communicator, for calls of MPI's collectives.

    On a private communicator those of several of the user's communicators could meet, and on the
    user's own they could meet the user's.

    Attributes:
        user: the handle of the user's communicator, which does not keep the user's object alive.
    """

    def __init__(self) -> None:
        self.user = 0
        self._comm: MPI.Intracomm | None = None

    def get(self) -> MPI.Intracomm:
        """Return the duplicate; the first call is collective."""
        if self._comm is None:
            user: Any = MPI.Intracomm.fromhandle(self.user)
            self._comm = user.Dup()
            self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        return self._comm

    def free(self) -> None:
        """Free the duplicate if there is one; collective, but does not wait for other ranks."""
        if self._comm is not None:
            self._comm.Free()
            self._comm = None
