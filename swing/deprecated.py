"""Deprecated import paths: they work for one release and warn with the new path."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def moved(old: str, new: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module that has moved from ``old`` to ``new``.

    Every attribute is looked up in the new module, with a DeprecationWarning.
    """

    def attribute(name: str) -> Any:
        # Tools such as doctest and inspect look up names like __wrapped__ in every module.
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        value = getattr(import_module(new), name)
        warnings.warn(f"{old} is now {new}: import that", DeprecationWarning, stacklevel=2)
        return value

    return attribute
