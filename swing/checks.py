"""Checks of arguments of public functions: a wrong one is refused in one line before any work."""

from __future__ import annotations

SHOWN = 60
"""Most characters of a value that a message shows."""


def shown(value: object) -> str:
    """Return a value as a message shows it: cut if it is long.

    >>> shown("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def counted(n: int, noun: str) -> str:
    """Return a number of things in words, such as "1 step" and "2 steps"."""
    return f"{n} {noun}{'s' * (n != 1)}"


def shown_path(path: object) -> str:
    """Return a path as a message shows it: of a long one the end, which has the file's name.

    >>> shown_path("folder/" * 100 + "ring.json")[-16:]
    'folder/ring.json'
    """
    text = " ".join(str(path).split())
    return text if len(text) <= 2 * SHOWN else "…" + text[1 - 2 * SHOWN :]


def expect(value: object, kind: type | tuple[type, ...], example: str) -> None:
    """Check the type of an argument.

    Args:
        value: the argument.
        kind: the type that it must have.
        example: what to pass instead, for the message.

    Raises:
        TypeError: it has another type.
    """
    if not isinstance(value, kind):
        raise TypeError(f"pass {example}, not {shown(value)}")
