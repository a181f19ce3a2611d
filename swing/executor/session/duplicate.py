"""Duplicate of a user's communicator, made when a call of MPI's own collectives first needs it."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI


class Duplicate:
    """A duplicate of one communicator, for calls of MPI's collectives.

    On a private communicator those of several of the user's communicators could meet, and on the
    user's own they could meet the user's.

    Args:
        comm: the user's communicator.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        # Made from the handle, so that it does not keep the user's object alive.
        self._user: Any = MPI.Intracomm.fromhandle(MPI._handleof(comm))
        self._comm: MPI.Intracomm | None = None

    def get(self) -> MPI.Intracomm:
        """Return the duplicate; the first call is collective."""
        if self._comm is None:
            self._comm = self._user.Dup()
            self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        return self._comm

    def free(self) -> None:
        """Free the duplicate if there is one; collective."""
        if self._comm is not None:
            self._comm.Free()
