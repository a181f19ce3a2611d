"""numba's decorators with caching on disk, which fall back to no cache if no folder is writable.

numba caches compiled code beside the source file, in NUMBA_CACHE_DIR, or in the user's cache
folder. If it may write to none of them, as in read-only images and for users without a home folder,
it refuses to decorate a function with ``cache=True``. The decorators here then leave the cache out,
and every process compiles for itself.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class UncachedWarning(RuntimeWarning):
    """Warns that compiled code is not cached, so every process compiles it again."""


_warned = False


def quiet() -> None:
    """Suppress `UncachedWarning` in this process, because another process has already given it."""
    global _warned
    _warned = True


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector while modules and compiled code are loaded.

    Loading numba and compiled code makes a hundred thousand objects, which all stay. The collector
    would search them for garbage several times, which takes a tenth of the time of a first call.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()  # this and the next line move all objects to the oldest generation
            gc.unfreeze()
        gc.enable()


def njit(**options: Any) -> Callable[[F], F]:
    """Wrap ``numba.njit(cache=True, **options)``."""
    with collector_paused():
        import numba  # takes half a second, so import it only when something is compiled

    def decorate(function: F) -> F:
        compiled: F = _cached(lambda cache: numba.njit(cache=cache, **options)(function))
        return compiled

    return decorate


def cfunc(signature: Any, function: Callable[..., Any]) -> Any:
    """Wrap ``numba.cfunc(signature, cache=True)(function)``."""
    import numba

    return _cached(lambda cache: numba.cfunc(signature, cache=cache)(function))


def _cached(make: Callable[[bool], Any]) -> Any:
    try:
        return make(True)
    except RuntimeError as error:
        # numba has no error class of its own for this.
        if "no locator available" not in str(error):
            raise
    if not _warned:
        quiet()
        warnings.warn(
            "numba finds no writable cache folder, so every process compiles again, which takes "
            "seconds: set NUMBA_CACHE_DIR to a folder that you may write to",
            UncachedWarning,
            stacklevel=2,
        )
    return make(False)
