"""The code that numba compiles: the loop over a plan's instructions, and the lookup of calls.

It accesses memory and calls functions by address, as C does. All arguments are integers: values, or
addresses of memory that is laid out as `swing.executor.engines.abi_layout` says. The argument
``like`` is a number as wide as an MPI handle, int32 (MPICH) or int64 (Open MPI): its type selects
the version of a function that numba compiles; its value is not used.

Nothing here is checked: a wrong address crashes the process.
"""

# numba infers types from values and does not look at annotations, so ``Any`` stands for integers.
from __future__ import annotations

from time import CLOCK_MONOTONIC
from typing import Any

from numba import int32, int64

from swing.compilation import cfunc, njit
from swing.executor.engines.abi_layout import (
    ALGORITHM,
    ARRAY,
    BYTE,
    CLOCK,
    CODE,
    COMM,
    CONSISTENT,
    COUNT,
    DATATYPE,
    DTYPE,
    FAILED,
    FLAG,
    HEADER,
    IGNORE,
    IN_PLACE,
    INSITU,
    IRECV,
    ISEND,
    LOOP,
    LOOP_DATA,
    MASK,
    MISS,
    MOVE,
    NANOSECONDS,
    NAP,
    NBYTES,
    NONE,
    NUMBER,
    OF_COMM,
    OP,
    OPERATION,
    PAUSE,
    REDUCE_LOCAL,
    REQUESTS,
    RESTORE,
    ROW,
    ROWS,
    RUNS,
    SAVE,
    SCRATCH,
    SECONDS,
    SENDRECV,
    SPIN,
    SPREAD,
    SPREAD_SHIFT,
    TAG,
    TESTALL,
    TORUS,
    WAITALL,
    WORK,
)
from swing.executor.engines.intrinsics import call, call64, cast, load, load32, size_of, store
from swing.executor.plan.instruction import ROW as INSTRUCTION
from swing.executor.plan.instruction import Opcode

MAX_REDUCED = 2**30  # elements per call of MPI_Reduce_local, whose count is an int
HEAD = object.__basicsize__  # bytes of the header of a Python object, in front of its own fields
# The bytes of an instruction, and the offset of each of its fields.
ROW_BYTES = INSTRUCTION.itemsize
DO, _, PEER, SLOT, LENGTH, A, A_AT, B, B_AT, OUT, OUT_AT = (
    field[1] for field in (INSTRUCTION.fields or {}).values()
)
DO_ISEND, DO_IRECV, DO_SENDRECV, DO_WAIT, DO_COPY = map(
    int, (Opcode.ISEND, Opcode.IRECV, Opcode.SENDRECV, Opcode.WAIT, Opcode.COPY)
)


@njit(nogil=True)
def reduce(state: int, left: int, right: int, out: int, row: int, like: Any) -> Any:
    """Reduce ``out = left ⊕ right`` for the instruction at ``row``; returns MPI's error code."""
    work, nbytes = load(state + 8 * WORK), load(row + LENGTH)
    loop = load(state + 8 * LOOP)
    if loop:  # numpy's, or 0 if there is none; ``work`` holds its arguments, see `Compiled`
        size = load(work + 32)
        store(work, left)
        store(work + 8, right)
        store(work + 16, out)
        store(work + 24, nbytes // size)
        call(loop, (work, work + 24, work + 32, load(state + 8 * LOOP_DATA)))
        return int32(0)
    # MPI_Reduce_local overwrites its right operand. That is ``out``, unless ``out`` is the left
    # operand: then the right one is scratch memory, see `swing.executor.buffers.reductions`.
    move, local = load(state + 8 * MOVE), load(state + 8 * REDUCE_LOCAL)
    target = right if out == left else out
    if target != right:
        call(move, (target, right, nbytes))
    size, error = load(work + 32), int32(0)
    datatype = cast(load(state + 8 * DATATYPE), like)
    operation = cast(load(state + 8 * OPERATION), like)
    for at in range(0, nbytes, MAX_REDUCED * size):
        count = min(nbytes - at, MAX_REDUCED * size) // size
        if not error:  # the first error is returned
            error = call(local, (left + at, target + at, int32(count), datatype, operation))
    if out != target:
        call(move, (out, target, nbytes))
    return error


@njit(nogil=True)
def now(state: int) -> Any:
    """The time in nanoseconds."""
    call(load(state + 8 * CLOCK), (int32(CLOCK_MONOTONIC), state + 8 * SECONDS))
    return load(state + 8 * SECONDS) * 10**9 + load(state + 8 * NANOSECONDS)


@njit(nogil=True)
def wait(state: int, count: Any, requests: int) -> Any:
    """Wait for requests, which follow each other in memory; returns MPI's error code."""
    pause, ignore = load(state + 8 * PAUSE), load(state + 8 * IGNORE)
    if not pause:
        return call(load(state + 8 * WAITALL), (count, requests, ignore))
    flag, spin = state + 8 * FLAG, load(state + 8 * SPIN)
    spin_until = now(state) + spin if spin else 0
    store(flag, 0)
    while True:
        error = call(load(state + 8 * TESTALL), (count, requests, flag, ignore))
        if error or load(flag):
            return error
        if not spin or now(state) >= spin_until:
            call(pause, (int32(load(state + 8 * NAP)),))


@njit(nogil=True)
def run(state: int, send: int, recv: int, scratch: int, like: Any) -> Any:
    """Run a plan on the buffers at three addresses.

    Returns:
        0, or the error code of the MPI call that failed. Then FAILED in the state is the byte
        offset of the instruction (for a SENDRECV, that of its IRECV), and the requests that were
        begun are still pending.
    """
    base = (send, recv, scratch)
    row = load(state + 8 * CODE)
    end = row + ROW_BYTES * load(state + 8 * ROWS)
    comm, byte = cast(load(state + 8 * COMM), like), cast(load(state + 8 * BYTE), like)
    tag, requests = int32(load(load(state + 8 * TAG))), load(state + 8 * REQUESTS)
    width, error = size_of(like), int32(0)
    while row < end:
        do, nbytes = load(row + DO), load(row + LENGTH)
        a = base[load(row + A)] + load(row + A_AT)
        # Lengths of messages fit in an int: a message is sent in pieces of a bounded size.
        if do in (DO_ISEND, DO_IRECV):
            begin = load(state + 8 * (ISEND if do == DO_ISEND else IRECV))
            request = requests + width * load(row + SLOT)
            peer = int32(load(row + PEER))
            error = call(begin, (a, int32(nbytes), byte, peer, tag, comm, request))
        elif do == DO_SENDRECV:
            recv_row = row + ROW_BYTES  # the IRECV that belongs to it
            to = base[load(recv_row + A)] + load(recv_row + A_AT)
            dst, src = int32(load(row + PEER)), int32(load(recv_row + PEER))
            size = int32(load(recv_row + LENGTH))
            if load(state + 8 * PAUSE):
                error = call(load(state + 8 * IRECV), (to, size, byte, src, tag, comm, requests))
                if not error:
                    error = call(load(state + 8 * ISEND),
                                 (a, int32(nbytes), byte, dst, tag, comm,
                                  requests + width))  # fmt: skip
                if not error:
                    error = wait(state, int32(2), requests)
            else:
                error = call(load(state + 8 * SENDRECV),
                             (a, int32(nbytes), byte, dst, tag, to, size, byte, src, tag, comm,
                              load(state + 8 * IGNORE)))  # fmt: skip
            row = recv_row
        elif do == DO_WAIT:
            first = requests + width * load(row + SLOT)
            error = wait(state, int32(nbytes), first)
        else:
            out = base[load(row + OUT)] + load(row + OUT_AT)
            if do == DO_COPY:
                call(load(state + 8 * MOVE), (out, a, nbytes))
            else:
                right = base[load(row + B)] + load(row + B_AT)
                error = reduce(state, a, right, out, row, like)
        if error:
            store(state + 8 * FAILED, row - load(state + 8 * CODE))
            return error
        row += ROW_BYTES
    return error


@njit()
def look(table: int, arguments: int, like: Any) -> Any:
    """Look a call up in the table of `swing.executor.session.call_cache` and run its plan.

    Arrays are read as ``PyArrayObject`` [numpy/ndarraytypes.h]: after the header of the object,
    data 0, number of dimensions 8 (32 bits), dimensions 16, dtype 40, flags 48 (32 bits).

    Args:
        table: the address of the numpy array that holds the table.
        arguments: the address of the addresses of the call's seven arguments, which are Python
            objects; see `swing.executor.session.call_cache.LookupFunction`.
        like: see the module.

    Returns:
        The address of a new Python integer: MPI's error code, or MISS if nothing has been done.
    """
    rows = load(table + HEAD)  # an array's first field is the address of its elements
    to_python = load(rows + 8 * NUMBER)
    comm, send = load(arguments), load(arguments + 8)
    recv, op = load(arguments + 16), load(arguments + 24)
    none, insitu = load(rows + 8 * NONE), 0
    if recv == none:
        recv, insitu = send, 1
    elif send == load(rows + 8 * IN_PLACE):
        send, insitu = recv, 1
    # The last word of the header of an object is its type. Subclasses of ndarray are a miss.
    ndarray = load(rows + 8 * ARRAY)
    if load(send + HEAD - 8) != ndarray or load(recv + HEAD - 8) != ndarray:
        return call64(to_python, (int64(MISS),))
    count, dims = 1, load(send + HEAD + 16)
    for i in range(load32(send + HEAD + 8)):
        count *= load(dims + 8 * i)
    dtype = load(send + HEAD + 40)
    algorithm, torus = load(arguments + 32), load(arguments + 40)
    # The hash is that of `call_cache.rows_of`; objects are aligned to 16 bytes.
    number = (comm >> 4) + (op >> 4) + (dtype >> 4) + (algorithm >> 4) + (torus >> 4)
    slot = ((number + 31 * count + insitu) * SPREAD >> SPREAD_SHIFT) & load(rows + 8 * MASK)
    row, ways = rows + 8 * HEADER + slot * 8 * ROW, 2
    while (
        comm != load(row + 8 * OF_COMM)
        or op != load(row + 8 * OP)
        or algorithm != load(row + 8 * ALGORITHM)
        or torus != load(row + 8 * TORUS)
        or load(arguments + 48) != load(row + 8 * CONSISTENT)
        or dtype != load(row + 8 * DTYPE)
        or count != load(row + 8 * COUNT)
        or insitu != load(row + 8 * INSITU)
    ):
        ways -= 1
        if not ways:
            return call64(to_python, (int64(MISS),))
        row = rows + 8 * HEADER + (slot ^ 1) * 8 * ROW
    if load32(recv + HEAD + 48) & 0x501 != 0x501:  # C order, aligned, writable
        return call64(to_python, (int64(MISS),))
    source, target = load(send + HEAD), load(recv + HEAD)
    if not insitu:
        recv_count, dims = 1, load(recv + HEAD + 16)
        for i in range(load32(recv + HEAD + 8)):
            recv_count *= load(dims + 8 * i)
        if (
            load(recv + HEAD + 40) != dtype
            or recv_count != count
            or load32(send + HEAD + 48) & 0x101 != 0x101  # C order, aligned
            or abs(source - target) < load(row + 8 * NBYTES)  # they overlap
            or source == target  # the row's plan may be in place: empty arrays at one address
        ):
            return call64(to_python, (int64(MISS),))
    # Read the row before the GIL is released, after which another thread may replace it. The
    # context keeps the state and the scratch memory alive (`Context.noted`).
    state, scratch = load(row + 8 * RUNS), load(row + 8 * SCRATCH)
    thread = call64(load(rows + 8 * SAVE), ())
    error = run(state, source, target, scratch, like)
    call64(load(rows + 8 * RESTORE), (thread,))
    return call64(to_python, (int64(error),))


# The parameters of a ``METH_FASTCALL``: self, the array of arguments, and their number, which is
# not checked because `swing.executor.dispatch.run_cached` is the only caller.


def _look32(table: int, arguments: int, number: int) -> Any:
    return look(table, arguments, int32(0))


def _look64(table: int, arguments: int, number: int) -> Any:
    return look(table, arguments, int64(0))


def look_address(handle: int) -> int:
    """The address of `look` as a ``METH_FASTCALL`` function, for handles of 4 or 8 bytes."""
    function = _look32 if handle == 4 else _look64
    return cfunc(int64(int64, int64, int64), function).address or 0
