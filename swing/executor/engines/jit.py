"""Native: what numba compiles. Memory and functions are reached by address, as in C.

``like`` is a number as wide as MPI's handles are: int32 or int64.
"""

# numba looks at values, not at annotations: those say no more than that all are integers.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import int32, int64, types
from numba.extending import intrinsic

from swing.compilation import cfunc, njit
from swing.executor.engines.abi_layout import (
    ALGORITHM,
    ARRAY,
    BYTE,
    CODE,
    COMM,
    CONSISTENT,
    COUNT,
    DATATYPE,
    DTYPE,
    FAILED,
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
    NBYTES,
    NONE,
    NUMBER,
    OF_COMM,
    OP,
    OPERATION,
    REDUCE_LOCAL,
    REQUESTS,
    RESTORE,
    ROW,
    ROWS,
    RUNS,
    SAVE,
    SCRATCH,
    SENDRECV,
    TAG,
    TORUS,
    WAITALL,
    WORK,
)
from swing.executor.plan.instruction import Opcode

MAX_REDUCED = 2**30  # elements that MPI reduces in one call
HEAD = object.__basicsize__  # bytes in front of an object's own
DO_ISEND, DO_IRECV, DO_SWAP, DO_WAIT, DO_COPY = map(
    int, (Opcode.ISEND, Opcode.IRECV, Opcode.SENDRECV, Opcode.WAIT, Opcode.COPY)
)

# To a type checker it would be a function of Python, with its typing context.
inline: Callable[[Any], Any] = intrinsic


@inline
def load(typingctx: Any, address: Any) -> Any:
    """The 64-bit word at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.int64(types.int64), codegen


@inline
def load32(typingctx: Any, address: Any) -> Any:
    """The signed 32-bit word at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = builder.load(builder.inttoptr(args[0], ir.IntType(32).as_pointer()))
        return builder.sext(word, ir.IntType(64))

    return types.int64(types.int64), codegen


@inline
def store(typingctx: Any, address: Any, word: Any) -> Any:
    """Write a 64-bit word to an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@inline
def call(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the function at an address with a tuple of integers as wide as it takes them; an int."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in arguments.types]
        function = ir.FunctionType(ir.IntType(32), kinds).as_pointer()
        values = [builder.extract_value(args[1], i) for i in range(len(kinds))]
        return builder.call(builder.inttoptr(args[0], function), values)

    return types.int32(types.int64, arguments), codegen


@inline
def call64(typingctx: Any, address: Any, arguments: Any) -> Any:
    """The same for a function that returns a 64-bit word."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in arguments.types]
        function = ir.FunctionType(ir.IntType(64), kinds).as_pointer()
        values = [builder.extract_value(args[1], i) for i in range(len(kinds))]
        return builder.call(builder.inttoptr(args[0], function), values)

    return types.int64(types.int64, arguments), codegen


@inline
def cast(typingctx: Any, word: Any, like: Any) -> Any:
    """The low bits of a word, in the type of ``like``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], word, like)

    return like(word, like), codegen


@inline
def size_of(typingctx: Any, like: Any) -> Any:
    """Bytes of a number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.int64, like.bitwidth // 8)

    return types.int64(like), codegen


@njit(nogil=True)
def reduce(state: int, left: int, right: int, out: int, row: int, like: Any) -> Any:
    """out = left ⊕ right, for an instruction; MPI's error code."""
    work, nbytes = load(state + 8 * WORK), load(row + 32)
    loop = load(state + 8 * LOOP)
    if loop:  # of numpy
        size = load(work + 32)
        store(work, left)
        store(work + 8, right)
        store(work + 16, out)
        store(work + 24, nbytes // size)
        call(loop, (work, work + 24, work + 32, load(state + 8 * LOOP_DATA)))
        return int32(0)
    # MPI puts the result into the right operand.
    move, local = load(state + 8 * MOVE), load(state + 8 * REDUCE_LOCAL)
    target = right if out == left else out
    if target != right:
        call(move, (target, right, nbytes))
    size, error = load(work + 32), int32(0)
    datatype = cast(load(state + 8 * DATATYPE), like)
    operation = cast(load(state + 8 * OPERATION), like)
    for at in range(0, nbytes, MAX_REDUCED * size):  # a count is an int
        count = min(nbytes - at, MAX_REDUCED * size) // size
        if not error:
            error = call(local, (left + at, target + at, int32(count), datatype, operation))
    if out != target:
        call(move, (out, target, nbytes))
    return error


@njit(nogil=True)
def run(state: int, send: int, recv: int, scratch: int, like: Any) -> Any:
    """Carry out a plan on memory at some addresses; MPI's error code."""
    base = (send, recv, scratch)
    row = load(state + 8 * CODE)
    end = row + 88 * load(state + 8 * ROWS)
    comm, byte = cast(load(state + 8 * COMM), like), cast(load(state + 8 * BYTE), like)
    tag, requests = int32(load(state + 8 * TAG)), load(state + 8 * REQUESTS)
    width, error = size_of(like), int32(0)
    while row < end:
        do, nbytes = load(row), load(row + 32)
        a = base[load(row + 40)] + load(row + 48)
        if do in (DO_ISEND, DO_IRECV):
            begin = load(state + 8 * (ISEND if do == DO_ISEND else IRECV))
            request = requests + width * load(row + 24)
            peer = int32(load(row + 16))
            error = call(begin, (a, int32(nbytes), byte, peer, tag, comm, request))
        elif do == DO_SWAP:
            to = base[load(row + 88 + 40)] + load(row + 88 + 48)
            error = call(load(state + 8 * SENDRECV),
                         (a, int32(nbytes), byte, int32(load(row + 16)), tag,
                          to, int32(load(row + 88 + 32)), byte, int32(load(row + 88 + 16)),
                          tag, comm, load(state + 8 * IGNORE)))  # fmt: skip
            row += 88
        elif do == DO_WAIT:
            first = requests + width * load(row + 24)
            error = call(load(state + 8 * WAITALL),
                         (int32(nbytes), first, load(state + 8 * IGNORE)))  # fmt: skip
        else:
            out = base[load(row + 72)] + load(row + 80)
            if do == DO_COPY:
                call(load(state + 8 * MOVE), (out, a, nbytes))
            else:
                right = base[load(row + 56)] + load(row + 64)
                error = reduce(state, a, right, out, row, like)
        if error:
            store(state + 8 * FAILED, row - load(state + 8 * CODE))
            return error
        row += 88
    return error


@njit()
def look(table: int, given: int, like: Any) -> Any:
    """The function of the table of `swing.executor.session.call_cache`; arguments come in a row."""
    rows = load(table + HEAD)  # the table is an array
    answer = load(rows + 8 * NUMBER)
    comm, send, recv, op = load(given), load(given + 8), load(given + 16), load(given + 24)
    none, insitu = load(rows + 8 * NONE), 0
    if recv in (none, send):
        recv, insitu = send, 1
    elif send == load(rows + 8 * IN_PLACE):
        send, insitu = recv, 1
    kind = load(rows + 8 * ARRAY)
    if load(send + HEAD - 8) != kind or load(recv + HEAD - 8) != kind:
        return call64(answer, (int64(MISS),))
    count, dims = 1, load(send + HEAD + 16)
    for i in range(load32(send + HEAD + 8)):
        count *= load(dims + 8 * i)
    dtype = load(send + HEAD + 40)
    place = (comm >> 4) + (op >> 4) + (dtype >> 4) + 31 * count + insitu
    row = rows + 8 * HEADER + (place & load(rows + 8 * MASK)) * 8 * ROW
    if (
        comm != load(row + 8 * OF_COMM)
        or op != load(row + 8 * OP)
        or load(given + 32) != load(row + 8 * ALGORITHM)
        or load(given + 40) != load(row + 8 * TORUS)
        or load(given + 48) != load(row + 8 * CONSISTENT)
        or dtype != load(row + 8 * DTYPE)
        or count != load(row + 8 * COUNT)
        or insitu != load(row + 8 * INSITU)
        or load32(recv + HEAD + 48) & 0x501 != 0x501  # C order, aligned, writable
    ):
        return call64(answer, (int64(MISS),))
    source, target = load(send + HEAD), load(recv + HEAD)
    if not insitu:
        several, dims = 1, load(recv + HEAD + 16)
        for i in range(load32(recv + HEAD + 8)):
            several *= load(dims + 8 * i)
        if (
            load(recv + HEAD + 40) != dtype
            or several != count
            or load32(send + HEAD + 48) & 0x101 != 0x101
            or abs(source - target) < load(row + 8 * NBYTES)
            or source == target
        ):
            return call64(answer, (int64(MISS),))
    state, scratch = load(row + 8 * RUNS), load(row + 8 * SCRATCH)
    thread = call64(load(rows + 8 * SAVE), ())
    error = run(state, source, target, scratch, like)
    call64(load(rows + 8 * RESTORE), (thread,))
    return call64(answer, (int64(error),))


def _look32(table: int, given: int, number: int) -> Any:
    return look(table, given, int32(0))


def _look64(table: int, given: int, number: int) -> Any:
    return look(table, given, int64(0))


def look_address(handle: int) -> int:
    """The address of `look`, as a ``METH_FASTCALL``, for handles of so many bytes."""
    function = _look32 if handle == 4 else _look64
    return cfunc(int64(int64, int64, int64), function).address or 0
