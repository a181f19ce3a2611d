"""Read and write an algorithm with its options as one word: ``swing,variant=hybrid,k=2``.

Every command prints and reads algorithms in this form. The items of a list are joined by ``x``, and
lists inside a list by ``-``: ``recursive_multiplying,radices=8x1-1x8``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from swing.algorithms import ALGORITHMS
from swing.checks import shown

NO_OPTIONS = ("self", "name", "torus", "nbytes", "machine", "algorithm")
"""Arguments of the functions that options are passed to; no option can have such a name."""
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def spell(name: str, options: Mapping[str, Any]) -> str:
    """Return the word for an algorithm and its options.

    >>> spell("recursive_multiplying", {"radices": ((8, 1), (1, 8)), "ports": 1})
    'recursive_multiplying,radices=8x1-1x8,ports=1'
    """
    return ",".join([name, *(f"{key}={_spell(value)}" for key, value in options.items())])


def _spell(value: Any) -> str:
    if not isinstance(value, tuple | list):
        return str(value)
    has_lists = any(isinstance(item, tuple | list) for item in value)
    return ("-" if has_lists else "x").join(map(_spell, value))


def without_collective(text: str) -> str:
    """Return the word for an algorithm without its collective and root.

    >>> without_collective("bucket,collective=broadcast,root=5,segments=2")
    'bucket,segments=2'
    """
    asked = ("collective=", "root=")
    return ",".join(item for item in text.split(",") if not item.startswith(asked))


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and options of an algorithm, with the types that its function declares.

    Raises:
        ValueError: an option has no value, is given twice, is of another type, or has a name of
            `NO_OPTIONS`.

    >>> parse("bucket,segments=3x6")
    ('bucket', {'segments': (3, 6)})
    """
    name, *items = text.split(",")
    hints = ALGORITHMS[name].options if name in ALGORITHMS else {}
    options: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            rule = "options of an algorithm are written swing,ports=1"
            raise ValueError(f"{rule}, not {shown(text)}")
        if key in NO_OPTIONS:
            raise ValueError(
                f"algorithms have no option {shown(key)}: leave {shown(item)} out of --algorithm"
            )
        if key in options:
            raise ValueError(f"{shown(text)} gives {shown(key)} twice")
        options[key] = _value(key, value, str(hints.get(key) or "int | str"))
    return name, options


def _value(key: str, text: str, hint: str) -> Any:
    depth = hint.count("Sequence[") + hint.count("tuple[")
    if depth > 1:
        return tuple(tuple(_whole(key, n) for n in step.split("x")) for step in text.split("-"))
    if depth and "x" in text:
        return tuple(_whole(key, n) for n in text.split("x"))
    if "int" in hint and ("str" not in hint or _WHOLE.fullmatch(text)):
        return _whole(key, text)
    return text


def _whole(key: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{shown(key)} takes whole numbers, not {shown(text)}")
    return int(text)
