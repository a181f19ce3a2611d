"""Call cache: repeat an earlier allreduce without checking its arguments again.

For short vectors a call spends most of its time in Python code. So calls that passed all checks are
noted, and a call that is like an earlier one skips the checks. There are two tables:

- A table for compiled code, which runs a call without any Python code, see
  `swing.executor.session.call_table`. Calls with options are not in it.
- A dictionary by the identity of the arguments, which also serves calls with options and calls
  that the plain engine runs. The arrays must be the same objects at the same addresses. In place of
  the communicator it has the context, so it knows the first call on a communicator that has taken
  over the context of another one.
"""

from __future__ import annotations

import ctypes
from functools import cache
from threading import RLock
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.engines.compiled import Bound
from swing.executor.engines.plain import Program
from swing.executor.plan.shared import Shared
from swing.executor.session.call import AlgorithmSpec, CollectiveCall, Options
from swing.executor.session.call_table import HEAD, ArraySignature, CallTable, Entry

SIZE = 256
"""Entries of the dictionary. A new call replaces the oldest one in a full dictionary."""

CallKey = tuple[Any, tuple[int, ...], bool, Options]
"""The key of a call: its context, the addresses of its arguments, ``consistent`` and options."""

_ARRAYS = np.ndarray, Shared


class CallCache:
    """The calls that were noted in this process.

    Attributes:
        table: those that compiled code looks up.
    """

    def __init__(self) -> None:
        self.table = CallTable()
        self._by_arguments: dict[CallKey, Entry] = {}
        self._lock = RLock()  # for writers only: readers hold the GIL

    def find(
        self, context: Any, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
    ) -> Entry | None:
        """Find an earlier call with the same arguments on the same arrays.

        All checks of a call depend only on the facts compared here, so a call that is found needs
        no further check. It may have been made on a communicator whose context another one has
        taken over since.
        """
        try:
            entry = self._by_arguments.get(_key(context, sendbuf, recvbuf, op, spec))
        except TypeError:  # an option that cannot be hashed, which `check_types` refuses
            return None
        if entry is None:
            return None
        result = sendbuf if recvbuf is None else recvbuf
        # The earlier arrays may be gone, and other objects may have taken their ids. So the type is
        # tested first: only an array's memory is read.
        head, before, size = entry.result
        if type(result) not in _ARRAYS or head.tobytes() != before or result.size != size:
            return None
        if entry.source is not None:
            head, before, size = entry.source
            if type(sendbuf) not in _ARRAYS or head.tobytes() != before or sendbuf.size != size:
                return None
        return entry

    def note(self, call: CollectiveCall, program: Program, context: Any) -> None:
        """Note a call that passed all checks, and the program that runs it."""
        sendbuf, op = call.sendbuf, call.op
        arrays = [call.result] if call.in_place else [call.result, sendbuf]
        if not (_is_array_as_expected() and all(type(array) in _ARRAYS for array in arrays)):
            return
        signatures = (
            ArraySignature.of(call.result),
            None if call.in_place else ArraySignature.of(sendbuf),
        )
        key = _key(context, sendbuf, call.recvbuf, op, call.spec)
        # The arrays are not kept alive, so that the user can free their memory.
        kept = op, call.spec, call.result.dtype, getattr(sendbuf, "dtype", None)
        # Compiled code runs one plan, and accepts arrays of the exact type ndarray.
        plain = {type(b) for b in (sendbuf, call.result)} <= {np.ndarray, type(MPI.IN_PLACE)}
        may_be_row = _is_bound(program) and not call.spec.options and plain
        entry = Entry(context, program, *signatures, kept, may_be_row)
        with self._lock:
            while len(self._by_arguments) >= SIZE:  # the oldest one is first
                oldest = next(iter(self._by_arguments))
                self._by_arguments.pop(oldest).context.keys.discard(oldest)
            self._by_arguments[key] = entry
            context.keys.add(key)
        # Many a communicator is freed after a single call.
        if may_be_row and context.was_called:
            self.add_row(call, entry)

    def add_row(self, call: CollectiveCall, entry: Entry) -> None:
        """Let compiled code look a noted call up from now on."""
        with self._lock:
            self.table.add(call, entry)

    def retire(self, context: Any) -> None:
        """Keep only those calls of a context that another communicator can repeat."""
        with self._lock:
            self.table.forget(context)
            for key in [*context.keys]:
                *_, options = key
                entry = self._by_arguments[key]
                if _is_bound(entry.program):  # its tags are those of the context
                    entry.may_be_row = not options
                else:
                    del self._by_arguments[key]
                    context.keys.discard(key)

    def forget(self, context: Any) -> None:
        """Remove the calls of a context."""
        with self._lock:
            self.table.forget(context)
            for key in context.keys:
                self._by_arguments.pop(key, None)
            context.keys.clear()


known_calls = CallCache()
"""The cache of this process, shared by all communicators."""


def _key(
    context: Any, sendbuf: Any, recvbuf: Any, op: MPI.Op | None, spec: AlgorithmSpec
) -> CallKey:
    algorithm, torus, consistent, options = spec
    ids = id(sendbuf), id(recvbuf), id(op), id(algorithm), id(torus)
    return context, ids, consistent, options


def _is_bound(program: Program) -> bool:
    """Whether a program is a compiled plan, which takes its tags from the context."""
    return len(program) == 1 and isinstance(program[0], Bound)


@cache
def _is_array_as_expected() -> bool:
    """Whether this Python and numpy lay out array objects in memory as compiled code assumes."""
    array = np.zeros((3, 5))
    words = (ctypes.c_int64 * 9).from_address(id(array))
    first = HEAD // 8
    return (
        HEAD == 16
        and words[first - 1] == id(np.ndarray)
        and words[first] == MPI.Get_address(array)
        and words[first + 1] & 0xFFFFFFFF == 2
        and list((ctypes.c_int64 * 2).from_address(words[first + 2])) == [3, 5]
        and words[first + 5] == id(array.dtype)
        and words[first + 6] & 0xFFFFFFFF == array.flags.num
    )
