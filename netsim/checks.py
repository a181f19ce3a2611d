"""Checks of user input: numbers and sizes, refused in plain words before any work."""

from __future__ import annotations

import operator
from collections.abc import Collection

import numpy as np

from swing.checks import shown
from swing.sizes import MAX_BYTES

TINY = 1e-100  # least value that counts as above 0: dividing by it does not overflow


class DeadlockError(ValueError):
    """Full buffers wait for each other, so that no packet can move again."""


def check_number(name: str, value: object, positive: bool = False) -> None:
    """Check that a value is a finite number.

    Args:
        name: of the value, for the message.
        value: to check.
        positive: whether it must be above 0; otherwise 0 is allowed.

    Raises:
        ValueError: it is not such a number.
    """
    least = TINY if positive else 0
    if not (isinstance(value, (int, float, np.integer, np.floating)) and least <= value < np.inf):
        bound = "above 0" if positive else "0 or above"
        raise ValueError(f"{name} must be a number {bound}, not {shown(value)}")


def check_factor(name: str, value: object) -> None:
    """Check a factor by which a time may exceed the best one.

    Raises:
        ValueError: it is not a finite number from 1 up.
    """
    check_number(name, value)
    if value < 1:  # type: ignore[operator]  # check_number knows that it is a number
        raise ValueError(f"{name} must be a number from 1 up, not {shown(value)}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check that a value is one of a few names.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {shown(value)}")


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number of any kind, such as numpy's, as an int.

    Args:
        name: of the value, for the message.
        value: to check; True and False are no numbers.
        least: the smallest number allowed.
        most: the largest number allowed.

    Raises:
        ValueError: it is not a whole number from ``least`` to ``most``.
    """
    is_whole = hasattr(value, "__index__") and not isinstance(value, (bool, np.bool_))
    if not is_whole or not least <= operator.index(value) <= most:  # type: ignore[arg-type]
        raise ValueError(
            f"{name} must be a whole number from {least} to {most}, not {shown(value)}"
        )
    return operator.index(value)  # type: ignore[arg-type]


def check_size(nbytes: object) -> None:
    """Check that the size of a vector is a whole number of bytes up to `swing.sizes.MAX_BYTES`.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(nbytes, (int, np.integer)) or isinstance(nbytes, bool) or nbytes < 0:
        raise ValueError(f"nbytes must be a whole number of bytes from 0 up, not {shown(nbytes)}")
    if nbytes > MAX_BYTES:
        raise ValueError(f"nbytes must be at most {MAX_BYTES} (1024 TiB), not {shown(nbytes)}")


def link_name(pair: object) -> str:
    """Return a link as a message shows it, such as 0→1.

    >>> link_name((0, 1))
    '0→1'
    """
    return "→".join(map(shown, pair)) if isinstance(pair, tuple) else shown(pair)
