"""Argument check (SWING_CHECK=1): all ranks compare a call's arguments before they send data.

Ranks that call with different counts, types, operations, algorithms or tori would wait for messages
that never arrive. With the environment variable ``SWING_CHECK=1`` every call begins with an
exchange of the arguments. If they differ, every rank raises `Disagreement`, which names the
arguments and the ranks. The check covers memory of `swing.alloc`, of which all ranks must pass the
same parts or none, and calls that one rank alone refuses. If a rank makes no call, the others raise
TimeoutError after ``SWING_CHECK_TIMEOUT`` seconds (30 by default) and name it. Both variables are
read when this module is imported, that is, at the first call that needs MPI.

Per call every rank sends 2 KiB to every other rank, so the check is for debugging.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import type_name
from swing.executor.engines.messages import abandon
from swing.executor.engines.wait import Deadline, until
from swing.executor.session.call import CollectiveCall
from swing.executor.session.context import Context
from swing.executor.session.contexts import context_of
from swing.schedules.schedule import Schedule
from swing.settings import CHECK, CHECK_TIMEOUT
from swing.torus import Torus

ON: bool = CHECK.get()
_SECONDS: float = CHECK_TIMEOUT.get()
_NBYTES = 2048  # length of a message: one rank's facts as JSON, padded with zero bytes

_OPS = (
    "SUM",
    "PROD",
    "MAX",
    "MIN",
    "LAND",
    "LOR",
    "LXOR",
    "BAND",
    "BOR",
    "BXOR",
    "MINLOC",
    "MAXLOC",
)
_NAMES = {MPI._handleof(getattr(MPI, name)): name for name in _OPS}

Facts = dict[str, str]
"""A rank's arguments as text, by name."""


class Disagreement(ValueError):
    """The error for ranks that make different calls."""


def context(
    call: CollectiveCall,
    counts: int | Sequence[int],
    dtype: np.dtype[Any],
    datatype: MPI.Datatype | None,
    memory: str = "",
) -> Context:
    """Return a communicator's context; with SWING_CHECK=1, compare the ranks' arguments first.

    It is collective with SWING_CHECK=1, and at the first call on a communicator.

    Args:
        call: the call. Without a deadline, SWING_CHECK=1 waits ``SWING_CHECK_TIMEOUT`` seconds.
        counts: elements of the vector, or of each rank's piece.
        dtype: the elements' type in numpy.
        datatype: their type in MPI; None if MPI lacks it.
        memory: the part of the buffers' memory that all ranks must have in common, in words.

    Raises:
        Disagreement: ranks differ, or one refused the call.
        TimeoutError: other ranks made no call by the deadline.
        RuntimeError: an earlier call on this communicator failed after it had sent messages.
    """
    if not ON:
        return context_of(call.intracomm, call.deadline)
    algorithm, torus, consistent, options = call.spec
    facts = {
        "call": call.kind,
        "count": _short(counts),
        "type": type_name(dtype, datatype),
        "op": "none" if call.op is None else _name(call.op),
        "algorithm": algorithm if isinstance(algorithm, str) else _digest(algorithm),
        "torus": "the communicator's" if torus is None else _describe(torus),
        "options": ", ".join(f"{name}={value}" for name, value in options) or "none",
        "consistent": str(consistent),
        "memory": memory,
    }
    return _agree(call.intracomm, facts, call.deadline)


def leave(call: CollectiveCall, why: str) -> None:
    """With SWING_CHECK=1, check that all ranks leave a call to the MPI library."""
    if ON and isinstance(call.comm, MPI.Intracomm):
        name = "none" if call.op is None else _name(call.op)
        facts = {"call": f"MPI's own {call.kind}, because {why}", "op": name}
        _agree(call.comm, facts, call.deadline)


def refuse(comm: MPI.Comm, error: Exception) -> None:
    """With SWING_CHECK=1, inform the other ranks that this one refuses a call, and why.

    They are in the exchange of `context`, and compare their arguments with this refusal.
    """
    if isinstance(error, Disagreement):
        return  # every rank raises it
    if ON and isinstance(comm, MPI.Intracomm) and comm:
        # The caller raises the original error, which says more than the exchange's errors.
        with suppress(ValueError, TimeoutError, RuntimeError):
            _agree(comm, {"call": f"refused ({error})"})


def _agree(comm: MPI.Intracomm, facts: Facts, deadline: Deadline | None = None) -> Context:
    deadline = deadline or Deadline(_SECONDS)
    context = context_of(comm, deadline)
    facts_by_rank = _exchange(context, facts, deadline)
    if any(other != facts_by_rank[0] for other in facts_by_rank):
        raise Disagreement(_difference(facts_by_rank))
    return context


def _exchange(context: Context, facts: Facts, deadline: Deadline) -> list[Facts]:
    """Send this rank's facts to all ranks, and return every rank's, in rank order."""
    comm = context.comm
    tag = context.lane.check_tag
    mine = np.zeros(_NBYTES, np.uint8)
    text = json.dumps(facts).encode()
    if len(text) > _NBYTES:  # long options or a long error: shorten every value alike
        text = json.dumps({name: value[:200] for name, value in facts.items()}).encode()[:_NBYTES]
    mine[: len(text)] = np.frombuffer(text, np.uint8)
    table = np.zeros((comm.size, _NBYTES), np.uint8)
    others = [r for r in range(comm.size) if r != comm.rank]
    table[comm.rank] = mine
    requests = [comm.Irecv(table[r], r, tag) for r in others]
    requests += [comm.Isend(mine, r, tag) for r in others]
    # Messages rather than MPI_Iallgather, because the error has to name the ranks that are late.
    if not until(lambda: MPI.Request.Testall(requests), deadline):
        # The receives come first, in the order of `others`.
        late = [r for r, request in zip(others, requests, strict=False) if not request.Test()]
        abandon(requests, len(others))
        error = TimeoutError(
            f"{_ranks(late)} made no call within {deadline}; this rank did: {_spell(facts)}"
        )
        context.fail(error, mine)
        raise error
    return [json.loads(bytes(row).rstrip(b"\0")) for row in table]


def _difference(facts_by_rank: list[Facts]) -> str:
    """Describe all differences between the ranks' facts."""
    # A rank that leaves the call to MPI or refuses it states fewer facts, but always the call.
    names = [
        name
        for name in facts_by_rank[0]
        if name == "call" or all(name in facts for facts in facts_by_rank)
    ]
    differences = []
    for name in names:
        by_value: dict[str, list[int]] = {}
        for rank, facts in enumerate(facts_by_rank):
            by_value.setdefault(facts[name], []).append(rank)
        if len(by_value) > 1:
            values = " but ".join(f"{v} on {_ranks(r)}" for v, r in by_value.items())
            differences.append(f"{name} is {values}")
    return f"ranks do not agree: {'; '.join(differences)}: pass the same on all ranks"


def _ranks(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (" …" if len(ranks) > 8 else "")
    return f"rank{'s' * (len(ranks) > 1)} {shown}"


def _name(op: MPI.Op) -> str:
    return _NAMES.get(MPI._handleof(op), "a user-defined one")


def _spell(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _short(counts: int | Sequence[int]) -> str:
    if isinstance(counts, int):
        return str(counts)
    text = ", ".join(map(str, counts))
    return text if len(text) < 100 else f"{text[:80]} … ({_hash(text.encode())})"


def _describe(torus: Torus) -> str:
    coords = torus.coords.tobytes()
    row_major = Torus(torus.dims).coords.tobytes()
    placement = "" if coords == row_major else f", coordinates {_hash(coords)}"
    wrap = "" if all(torus.wrap) else f", wrap {torus.wrap}"
    return f"{torus}{wrap}{placement}"


def _digest(schedule: Schedule) -> str:
    """Return a schedule's name and a hash of all its messages."""
    return f"{schedule!r} {_hash(schedule.table().encode())}"


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=6).hexdigest()
