"""numba's decorators, with what they compile kept on disk where a folder can be written.

numba keeps compiled code beside the source file, or where NUMBA_CACHE_DIR says, or in the user's
cache folder, and refuses to decorate a function if it may write to none of them: in read-only
images, and for users without a home. There every process compiles for itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class UncachedWarning(RuntimeWarning):
    """Compiled code is not kept, so every process compiles it again."""


_warned = False


def quiet() -> None:
    """Give no `UncachedWarning` in this process: another one has given it."""
    global _warned
    _warned = True


def njit(**options: Any) -> Callable[[F], F]:
    """As ``numba.njit(cache=True, **options)``."""
    import numba  # takes half a second: nobody waits for it who compiles nothing

    def decorate(function: F) -> F:
        compiled: F = _cached(lambda cache: numba.njit(cache=cache, **options)(function))
        return compiled

    return decorate


def cfunc(signature: Any, function: Callable[..., Any]) -> Any:
    """As ``numba.cfunc(signature, cache=True)(function)``."""
    import numba

    return _cached(lambda cache: numba.cfunc(signature, cache=cache)(function))


def _cached(make: Callable[[bool], Any]) -> Any:
    try:
        return make(True)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    if not _warned:
        quiet()
        warnings.warn(
            "numba finds no folder for its cache, so every process compiles anew, which takes "
            "seconds: set NUMBA_CACHE_DIR to a folder that you may write to",
            UncachedWarning,
            stacklevel=2,
        )
    return make(False)
