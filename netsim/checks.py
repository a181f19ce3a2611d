"""What numbers must be; said in words before any work."""

from __future__ import annotations

import numpy as np

from netsim.sizes import MAX_BYTES

TINY = 1e-100  # what is above 0 can be divided by


class DeadlockError(ValueError):
    """Packets that wait for each other for ever."""


def check_number(name: str, value: object, positive: bool = False) -> None:
    """Say so if a value is no finite number from 0 up, or above 0.

    Raises:
        ValueError: it is not.
    """
    least = TINY if positive else 0
    if not (isinstance(value, (int, float, np.integer, np.floating)) and least <= value < np.inf):
        what = "above 0" if positive else "0 or above"
        raise ValueError(f"{name} must be a number {what}, not {value}")


def check_size(nbytes: object) -> None:
    """Say so if a vector has no whole number of bytes, or more than `netsim.sizes.MAX_BYTES`.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(nbytes, (int, np.integer)) or isinstance(nbytes, bool) or nbytes < 0:
        raise ValueError(f"nbytes must be a whole number of bytes from 0 up, not {nbytes!r}")
    if nbytes > MAX_BYTES:
        raise ValueError(f"nbytes must be at most {MAX_BYTES} (1024 TiB), not {nbytes}")
