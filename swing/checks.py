"""Checks of arguments of public functions: a wrong one is refused in one line before any work."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

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


def suggestion(name: object, names: Iterable[str]) -> str:
    """Return the question whether the closest of the names was meant; "" if none is close.

    >>> suggestion("Swng", ["ring", "swing"])
    " (did you mean 'swing'?)"
    """
    lowered = {n.lower(): n for n in names}
    closest = get_close_matches(str(name)[:SHOWN].lower(), lowered, 1)
    return f" (did you mean {lowered[closest[0]]!r}?)" if closest else ""


def unknown(what: str, name: object, names: Iterable[str]) -> ValueError:
    """Return the error for a name that is not one of ``names``.

    Args:
        what: what the names are of, such as "algorithm".
        name: the unknown name.
        names: those to choose from.

    >>> unknown("algorithm", "swng", ["ring", "swing"])
    ValueError("no algorithm 'swng' (did you mean 'swing'?): choose from ring, swing")
    """
    names = list(names)
    asked = suggestion(name, names)
    return ValueError(f"no {what} {shown(name)}{asked}: choose from {', '.join(names)}")


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
