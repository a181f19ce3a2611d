"""Message sizes as people write them: ``2MiB``, and lists such as ``32B:128MiB:x4``."""

from __future__ import annotations

import re

from swing.checks import shown

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MAX_BYTES = 2**50
_SIZE = re.compile(r"([0-9]{1,18})\s*(?:([KMGT])i)?B?", re.IGNORECASE)
_FACTOR = re.compile(r"x([0-9]{1,18})", re.IGNORECASE)


def parse_size(text: str, least: int = 1) -> int:
    """Return the bytes in a size such as ``32B``, ``2 KiB``, ``2Ki`` or ``512``.

    Upper and lower case are the same.

    Raises:
        ValueError: not a size, below ``least``, or above 1024 TiB.

    >>> parse_size("2KiB"), parse_size("2Ki"), parse_size("512")
    (2048, 2048, 512)
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(
            f"{shown(text)} is not a size: write a whole number and B, KiB, MiB, GiB or TiB, "
            "as in 2MiB"
        )
    nbytes = int(match[1]) << 10 * " KMGT".index((match[2] or " ").upper())
    if not least <= nbytes <= MAX_BYTES:
        raise ValueError(
            f"{shown(text)} is out of range: sizes go from {least}B to {MAX_BYTES >> 40}TiB"
        )
    return nbytes


def parse_sizes(text: str) -> list[int]:
    """Return the sizes in a list of sizes and ranges: in bytes, ascending, without duplicates.

    A range ``first:last:xF`` holds first, first·F, first·F² and so on, up to last. Without ``:xF``,
    F is 2.

    Raises:
        ValueError: `parse_size` refuses a size, or a range falls or does not grow.

    >>> parse_sizes("32B:2KiB:x4, 3MiB")
    [32, 128, 512, 2048, 3145728]
    """
    return sorted({size for item in text.split(",") for size in _expand(item.strip())})


def _expand(item: str) -> list[int]:
    ends = item.split(":")
    if len(ends) == 1:
        return [parse_size(item)]
    factor = _FACTOR.fullmatch(ends[2].strip() if len(ends) == 3 else "x2")
    if len(ends) > 3 or not factor:
        raise ValueError(f"{shown(item)} is not a range of sizes: write one as in 32B:128MiB:x4")
    first, last, times = parse_size(ends[0]), parse_size(ends[1]), int(factor[1])
    if first > last:
        raise ValueError(f"the range {shown(item)} falls: put the smaller size first")
    if times < 2:
        raise ValueError(f"the range {shown(item)} does not grow: multiply by x2 or more")
    sizes = [first]
    while sizes[-1] * times <= last:
        sizes.append(sizes[-1] * times)
    return sizes


def format_size(nbytes: int) -> str:
    """Write a size in the largest unit that divides it; `parse_size` reads it back.

    >>> format_size(2**21), format_size(1500)
    ('2 MiB', '1500 B')
    """
    unit = max((u for u in UNITS if nbytes % UNITS[u] == 0), key=UNITS.__getitem__)
    return f"{nbytes // UNITS[unit]} {unit}"
