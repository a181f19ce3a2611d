"""Old import paths, which work for one release and say what has replaced them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def moved(old: str, new: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that has moved."""

    def attribute(name: str) -> Any:
        if name.startswith("__"):  # tools ask any module for these
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        value = getattr(import_module(new), name)
        warnings.warn(f"{old} is now {new}: import that", DeprecationWarning, stacklevel=2)
        return value

    return attribute
