"""The words of a machine: bandwidths, latencies and links as command lines and rows write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from swing.checks import shown

Link = tuple[int, int]
GBPS = 1e9 / 8
"""Bytes per second in a Gb/s."""
PER_SECOND = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}
LINKS = "0-1 (both directions) or 0→1 (one, also written 0->1)"
_TIME = re.compile(r"(.+?)\s*(ns|us|ms|s)?")
_A_TIME = "a time must be a number of ns from 0 up, or have a unit as in 0.5us"
_LINK = re.compile(r"([0-9]{1,18})\s*(-|->|→)\s*([0-9]{1,18})")


def parse_wrap(text: str) -> tuple[bool, ...]:
    """Read which dimensions close to rings, such as ``1,1,0``.

    Raises:
        ValueError: another form.
    """
    if not re.fullmatch("[01](,[01])*", text):
        raise ValueError(
            f"write 1 for each dimension that closes to a ring and 0 for the others, as in 1,1,0, "
            f"not {shown(text)}"
        )
    return tuple(digit == "1" for digit in text.split(","))


def parse_bandwidth(text: str) -> tuple[float, ...]:
    """Read bandwidths in Gb/s, such as ``400`` or ``400,100``; return bytes per second.

    Raises:
        ValueError: a bandwidth is not above 0.
    """
    rates = tuple(number_or_nan(item) * GBPS for item in text.split(","))
    if not all(1e-100 <= rate < math.inf for rate in rates):
        raise ValueError(
            f"a bandwidth must be a number of Gb/s above 0, as in 400, not {shown(text)}; write "
            "one per dimension as in 400,100"
        )
    return one_if_equal(rates)


def parse_latency(text: str) -> tuple[float, ...]:
    """Read latencies in ns or with a unit, such as ``100``, ``0.5us`` or ``100,500``, as seconds.

    Raises:
        ValueError: a latency is not 0 or above.
    """
    times = tuple(map(_seconds, text.split(",")))
    if not all(0 <= seconds < math.inf for seconds in times):
        raise ValueError(f"{_A_TIME}, not {shown(text)}; write one per dimension as in 100,500")
    return one_if_equal(times)


def parse_seconds(text: str) -> float:
    """Read one time in ns or with a unit, such as ``0.5us``, as seconds.

    Raises:
        ValueError: it is not 0 or above.
    """
    seconds = _seconds(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{_A_TIME}, not {shown(text)}")
    return seconds


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    # 100 / 1e9 is the number nearest to 100 ns, which 100 * 1e-9 is not.
    return number_or_nan(match[1]) / PER_SECOND[match[2] or "ns"] if match else math.nan


def parse_links(text: str) -> tuple[Link, ...]:
    """Read a cable such as ``0-1``, which is two links, or one link such as ``0→1`` or ``0->1``.

    Raises:
        ValueError: another form.
    """
    match = _LINK.fullmatch(text.strip())
    if not match:
        raise ValueError(f"a link is written {LINKS}, not {shown(text)}")
    ends = int(match[1]), int(match[3])
    return (ends, ends[::-1]) if match[2] == "-" else (ends,)


def parse_slow(text: str) -> dict[Link, float]:
    """Read a slow link and the fraction of the bandwidth that it has left: ``0-1=0.25``.

    Raises:
        ValueError: another form, or a fraction that is not above 0.
    """
    link, _, value = text.partition("=")
    fraction = number_or_nan(value)
    if not 1e-100 <= fraction < math.inf:
        raise ValueError(
            f"a slow link is written with the fraction of its bandwidth that is left, as in "
            f"0-1=0.25, not {shown(text)}"
        )
    return dict.fromkeys(parse_links(link), fraction)


def number_or_nan(text: str) -> float:
    """Return a number; NaN, which no range contains, if the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_value(text: str) -> str | float | None:
    """Read the value of any other field of a network."""
    if text == "None":
        return None
    number = number_or_nan(text)
    return text if math.isnan(number) else int(number) if number.is_integer() else number


def one_if_equal(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return one value for all dimensions if theirs are equal."""
    return values[:1] if len(set(values)) == 1 else values


def spell_numbers(values: tuple[float, ...], per_unit: float, unit: str = "") -> str:
    """Write values, times ``per_unit``, with a unit."""
    return ",".join(f"{value * per_unit:.12g}{unit}" for value in values)


def spell_links(links: Mapping[Link, Any]) -> list[tuple[Link, str]]:
    """Spell links: both directions together if what is said of them is the same."""
    words = []
    for (tail, head), said in links.items():
        both = (head, tail) in links and links[head, tail] == said
        if not both:
            words.append(((tail, head), f"{tail}→{head}"))
        elif tail < head:
            words.append(((tail, head), f"{tail}-{head}"))
    return words
