"""Checks of user input: numbers and sizes, refused in plain words before any work."""

from __future__ import annotations

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


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check that a value is one of a few names.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {shown(value)}")


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
