"""SWING_CHECK=1: ranks tell each other what they are about to do, and all say it if they differ.

Ranks that call with different counts, types, operations, algorithms or tori would wait for messages
that never come. With the environment variable ``SWING_CHECK=1`` every call begins with an exchange
of what each rank was asked for, and ends with an error on every rank that names the ranks and what
they differ in: also where some pass memory that all have open (`swing.alloc`) and others do not, or
other parts of it. So does a call that one rank has refused. A rank that does not come is named
after ``SWING_CHECK_TIMEOUT`` seconds (30). Both are read when MPI is first used.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.specs import type_name
from swing.executor.engines.plain import Deadline, abandon
from swing.executor.session.context import Context
from swing.executor.session.planner import AlgorithmSpec
from swing.schedules.schedule import Schedule
from swing.torus import Torus

ON = os.environ.get("SWING_CHECK", "") not in ("", "0")
_SECONDS = float(os.environ.get("SWING_CHECK_TIMEOUT", "30"))
_NBYTES = 2048  # of what each rank tells

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


class Disagreement(ValueError):
    """Ranks that are about to do different things."""


def context(
    comm: MPI.Intracomm,
    call: str,
    counts: int | Sequence[int],
    dtype: np.dtype[Any],
    datatype: MPI.Datatype | None,
    op: MPI.Op | None,
    spec: AlgorithmSpec,
    deadline: Deadline | None = None,
    memory: str = "",
) -> Context:
    """The context of a communicator, once all ranks agree on a call if they are to.

    Raises:
        Disagreement: ranks differ, or one has refused the call.
        TimeoutError: ranks have not come.
        RuntimeError: an earlier call has failed half-way.
    """
    if not ON:
        return Context.of(comm, deadline)
    algorithm, torus, consistent, options = spec
    facts = {
        "call": call,
        "count": _short(counts),
        "type": type_name(dtype, datatype),
        "op": "none" if op is None else _name(op),
        "algorithm": algorithm if isinstance(algorithm, str) else _digest(algorithm),
        "torus": "the communicator's" if torus is None else _place(torus),
        "options": ", ".join(f"{name}={value}" for name, value in options) or "none",
        "consistent": str(consistent),
        "memory": memory,
    }
    return _agree(comm, facts, deadline)


def leave(
    comm: MPI.Comm, call: str, why: str, op: MPI.Op | None, deadline: Deadline | None = None
) -> None:
    """Make sure that all ranks leave a call to MPI."""
    if ON and isinstance(comm, MPI.Intracomm):
        name = "none" if op is None else _name(op)
        _agree(comm, {"call": f"MPI's own {call}, because {why}", "op": name}, deadline)


def refuse(comm: MPI.Comm, error: Exception) -> None:
    """Tell the others that this rank does not take part in a call, and why."""
    if isinstance(error, Disagreement):
        return  # they know
    if ON and isinstance(comm, MPI.Intracomm) and comm:
        with suppress(ValueError, TimeoutError, RuntimeError):  # this rank says what is wrong here
            _agree(comm, {"call": f"refused ({error})"})


def _agree(comm: MPI.Intracomm, facts: Facts, deadline: Deadline | None = None) -> Context:
    deadline = deadline or Deadline(_SECONDS)
    context = Context.of(comm, deadline)
    told = _exchange(context, facts, deadline)
    if any(each != told[0] for each in told):
        raise Disagreement(_difference(told))
    return context


def _exchange(context: Context, facts: Facts, deadline: Deadline) -> list[Facts]:
    """What each rank tells."""
    comm = context.comm
    tag = int(comm.Get_attr(MPI.TAG_UB) or 2**15 - 1)
    mine = np.zeros(_NBYTES, np.uint8)
    text = json.dumps(facts).encode()
    if len(text) > _NBYTES:
        text = json.dumps({name: value[:200] for name, value in facts.items()}).encode()[:_NBYTES]
    mine[: len(text)] = np.frombuffer(text, np.uint8)
    table = np.zeros((comm.size, _NBYTES), np.uint8)
    others = [r for r in range(comm.size) if r != comm.rank]
    table[comm.rank] = mine
    requests = [comm.Irecv(table[r], r, tag) for r in others]
    requests += [comm.Isend(mine, r, tag) for r in others]
    while not MPI.Request.Testall(requests):
        if deadline.passed:
            late = [r for r, request in zip(others, requests, strict=False) if not request.Test()]
            abandon(requests, len(others))
            error = TimeoutError(
                f"{_ranks(late)} made no call within {deadline}; this one did: {_spell(facts)}"
            )
            context.fail(error, mine)
            raise error
        time.sleep(0)
    return [json.loads(bytes(row).rstrip(b"\0")) for row in table]


def _difference(told: list[Facts]) -> str:
    """In what the ranks differ, all of it."""
    names = [name for name in told[0] if name == "call" or all(name in each for each in told)]
    lines = []
    for name in names:
        by_value: dict[str, list[int]] = {}
        for rank, facts in enumerate(told):
            by_value.setdefault(facts[name], []).append(rank)
        if len(by_value) > 1:
            said = " but ".join(f"{v} on {_ranks(r)}" for v, r in by_value.items())
            lines.append(f"{name} is {said}")
    return f"ranks do not agree: {'; '.join(lines)}: pass the same on all ranks"


def _ranks(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (" …" if len(ranks) > 8 else "")
    return f"rank{'s' * (len(ranks) > 1)} {shown}"


def _name(op: MPI.Op) -> str:
    return _NAMES.get(MPI._handleof(op), "one of the user's")


def _spell(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _short(counts: int | Sequence[int]) -> str:
    if isinstance(counts, int):
        return str(counts)
    text = ", ".join(map(str, counts))
    return text if len(text) < 100 else f"{text[:80]} … ({_hash(text.encode())})"


def _place(torus: Torus) -> str:
    given = torus.coords.tobytes()
    plain = Torus(torus.dims).coords.tobytes()
    order = "" if given == plain else f", coordinates {_hash(given)}"
    wrap = "" if all(torus.wrap) else f", wrap {torus.wrap}"
    return f"{torus}{wrap}{order}"


def _digest(schedule: Schedule) -> str:
    """A schedule's name and a number that tells it from others."""
    return f"{schedule!r} {_hash(str(schedule).encode())}"


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=6).hexdigest()
