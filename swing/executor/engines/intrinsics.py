"""Instructions that numba lacks: read and write memory, and call C functions, by address.

All addresses are integers. Nothing is checked: a wrong address crashes the process.
"""

# numba infers types from values and does not look at annotations, so ``Any`` stands for integers.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# A type checker would see the decorated function with its first argument, the typing context, which
# compiled callers do not pass.
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
    """Call a C function that returns an int, by its address.

    ``arguments`` is a tuple of integers, each as wide as the function's parameter: their types
    determine the function's signature.
    """
    return types.int32(types.int64, arguments), _call


@inline
def call64(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call a C function that returns a 64-bit word, by its address; see `call`."""
    return types.int64(types.int64, arguments), _call


def _call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    result, parameters = signature.return_type, signature.args[1].types
    kinds = [context.get_value_type(kind) for kind in parameters]
    function = ir.FunctionType(context.get_value_type(result), kinds).as_pointer()
    values = [builder.extract_value(args[1], i) for i in range(len(kinds))]
    return builder.call(builder.inttoptr(args[0], function), values)


@inline
def cast(typingctx: Any, word: Any, like: Any) -> Any:
    """A 64-bit word converted to the type of ``like``: handles are stored in such words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], word, like)

    return like(word, like), codegen


@inline
def size_of(typingctx: Any, like: Any) -> Any:
    """The number of bytes of the type of ``like``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.int64, like.bitwidth // 8)

    return types.int64(like), codegen
