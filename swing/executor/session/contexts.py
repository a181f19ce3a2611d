"""The contexts of all communicators: made in a first call, ended when the communicator is freed.

A context is an MPI attribute of the user's communicator. When that is freed, and no operation is
active or can still be started, the context becomes *idle*: the next communicator of the same ranks
and torus takes it over. Only the tags are new.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any

from mpi4py import MPI

from swing.byte_cache import ByteCache
from swing.executor.engines.wait import Deadline, policy
from swing.executor.session.call_cache import known_calls
from swing.executor.session.context import Context
from swing.executor.session.infer_torus import shape_of
from swing.executor.session.private import Private, finish, forget, latest, world_ranks
from swing.settings import ENGINE, MACHINE

contexts: dict[int, Context] = {}
"""The contexts by communicator handle. This dictionary is five times faster to read than the MPI
attribute, whose delete function removes the entry."""


_idle = ByteCache[Context](2**22, lambda context: context.nbytes, known_calls.forget)
"""Contexts of freed communicators, which other communicators can take over."""


def context_of(
    comm: MPI.Intracomm, deadline: Deadline | None = None, likely: Context | None = None
) -> Context:
    """Return the context of a communicator; the first call for it is collective.

    Args:
        comm: the user's communicator.
        deadline: when to give up waiting for the other ranks; None waits without a limit.
        likely: the context that `likely_context` has returned, if it was asked.

    Raises:
        TimeoutError: not all ranks made the first call by the deadline.
        RuntimeError: an earlier call on the communicator failed after it had sent messages.
    """
    context = contexts.get(MPI._handleof(comm)) or _open(comm, deadline, likely)
    if context.failure is not None:
        raise RuntimeError(
            f"an earlier call failed on this communicator ({context.failure[0]}) and "
            "its messages may still arrive: go on with a new communicator, comm.Dup()"
        )
    return context


def likely_context(comm: MPI.Intracomm) -> Context | None:
    """Return the idle context that a communicator will take over, unless another one does."""
    private = latest(comm) if comm else None
    return None if private is None else _idle.peek(_key(comm, private))


def _open(comm: MPI.Intracomm, deadline: Deadline | None, likely: Context | None) -> Context:
    """Make the first call on a communicator; collective."""
    ranks = likely.lane.private.ranks if likely else world_ranks(comm)
    try:
        lane = finish(comm, ranks, deadline)
    except TimeoutError:
        # An attribute without a context: its delete function removes what is kept for a freed
        # communicator, whose handle MPI may use again. Setting it a second time would call that
        # function as well.
        if comm.Get_attr(_keyval()) is None:
            comm.Set_attr(_keyval(), _UNFINISHED)
        raise
    usual = likely is not None and likely.lane.private is lane.private
    key = likely.key if likely and usual else _key(comm, lane.private)
    context = _idle.pop(key) or Context(comm, lane.private, key)
    context.serve(comm, lane)
    comm.Set_attr(_keyval(), context)
    contexts[MPI._handleof(comm)] = context
    return context


def _close(context: Context) -> None:
    """Make the context of a freed communicator idle, or end it."""
    context.leave()
    if context.is_reusable and context.nbytes <= _idle.limit:
        known_calls.retire(context)
        _idle.put(context.key, context)
    else:
        context.end()


_keys: dict[Hashable, Hashable] = {}


def _key(comm: MPI.Intracomm, private: Private) -> Hashable:
    """What communicators have in common that can take over each other's context.

    Equal keys are one object, which takes less time to look up than a tuple. A private communicator
    that is not shared ends with its context, so nothing is kept for it.
    """
    key = private, *shape_of(comm), MACHINE.get(), ENGINE.get(), policy()
    return _keys.setdefault(key, object()) if private.ranks else key


_UNFINISHED = object()
"""The attribute of a communicator whose first call has timed out."""


@cache
def _keyval() -> int:
    """Return the key of the attribute that closes a context when its communicator is freed."""

    def delete(comm: MPI.Comm, keyval: int, value: Any) -> None:
        contexts.pop(MPI._handleof(comm), None)
        forget(MPI._handleof(comm))
        if isinstance(value, Context):
            _close(value)

    return MPI.Comm.Create_keyval(delete_fn=delete)
