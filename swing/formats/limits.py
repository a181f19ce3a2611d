"""Reading files from strangers: everything is bounded before it is built, nothing is guessed.

A reader raises ValueError, in one line that names the place, for whatever it does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 2**26  # of a file
MAX_JSON_BYTES = 2**25  # of a JSON document, which grows twenty-fold in memory
MAX_ROWS = 2_000_000  # messages of a schedule
MAX_EVENTS = 1_500_000  # sends, receives and what joins them, on all ranks together
MAX_RANKS = 2**16
MAX_BLOCKS = 2**24
MAX_VALUES = 2**32  # ranks times blocks, which is what `verify` looks at
MAX_SENT_BLOCKS = 2**26  # blocks in all messages of a step
MAX_INTEGER = 2**53  # whole numbers up to here survive every reader of JSON
DEPTH = 64

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_BRACKETS = np.zeros(256, dtype=np.int8)  # what a byte adds to the depth
_BRACKETS[list(b"[{")], _BRACKETS[list(b"]}")] = 1, -1
_NAME = re.compile(r"[\x20-\x7e]{0,100}")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # linear, whatever comes


def contents(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: more than `MAX_BYTES`.
        OSError: no such file, or no file.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB: too large to read")
    return data


def text(data: bytes) -> str:
    """Bytes as UTF-8 text without control characters other than line ends and tabs."""
    try:
        found = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8 text") from None
    strange = re.search(r"[\x00-\x08\x0b-\x1f\x7f]", found.replace("\r\n", "\n"))
    if strange:
        raise ValueError(f"there is a control character, {strange[0]!r}, in it")
    return found


def lines(found: str) -> Iterator[tuple[int, str]]:
    """The lines of a text and their numbers, from 1 on, without blanks around them."""
    for number, line in enumerate(StringIO(found), start=1):
        yield number, line.strip()


def whole(word: str, what: str, least: int = 0, most: int = MAX_INTEGER) -> int:
    """A whole number within bounds, written in decimal without a leading zero or plus."""
    if not _WHOLE.fullmatch(word) or not least <= int(word) <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}, not {word[:40]!r}")
    return int(word)


def number(value: Any, what: str, least: int = 0, most: int = MAX_INTEGER) -> int:
    """A whole number of JSON within bounds."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}, not {short(value)}")
    return value


def name(value: Any, what: str) -> str:
    """A string on one line, of printable ASCII."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{what} is up to 100 printable characters, not {short(value)}")
    return value


def short(value: Any) -> str:
    """The beginning of what a value looks like."""
    found = repr(value) if not isinstance(value, (list, dict)) else type(value).__name__
    return found if len(found) <= 40 else found[:37] + "..."


def parse_json(data: bytes) -> Any:
    """A JSON document; its numbers are finite, its keys distinct, its nesting bounded."""
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"it has more than {MAX_JSON_BYTES >> 20} MiB: too large")
    found = text(data)
    signs = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    depth = np.cumsum(_BRACKETS[signs], dtype=np.int32)
    if len(depth) and depth.max() > DEPTH:
        raise ValueError(f"it is nested more than {DEPTH} deep")
    try:
        return json.loads(
            found,
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_int=_bounded,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        what = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise ValueError(f"it is no JSON: {what}") from None


def fields(value: Any, what: str, known: dict[str, bool]) -> dict[str, Any]:
    """An object of JSON that has all keys that are needed (True), and no unknown ones."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is an object, not {short(value)}")
    for key in value:
        if key not in known:
            raise ValueError(f"{what} has an unknown field {short(key)}")
    for key, needed in known.items():
        if needed and key not in value:
            raise ValueError(f"{what} has no field {key!r}")
    return value


def array(value: Any, what: str, length: int | None = None) -> list[Any]:
    """An array of JSON, of some length."""
    if not isinstance(value, list):
        raise ValueError(f"{what} is an array, not {short(value)}")
    if length is not None and len(value) != length:
        raise ValueError(f"{what} has {len(value)} entries instead of {length}")
    return value


def check_ranks(ranks: int, nblocks: int = 1) -> None:
    """Refuse schedules that are too large to look at."""
    if ranks > MAX_RANKS or nblocks > MAX_BLOCKS or ranks * nblocks > MAX_VALUES:
        raise ValueError(
            f"{ranks} ranks and {nblocks} blocks are too many for a file: at most {MAX_RANKS} "
            f"ranks, {MAX_BLOCKS} blocks, and {MAX_VALUES} for ranks times blocks"
        )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field {short(twice)} is there twice")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _bounded(word: str) -> int:
    if len(word) > 20 or abs(int(word)) > MAX_INTEGER:
        raise ValueError(f"the number {word[:40]} is out of bounds")
    return int(word)


def _finite(word: str) -> float:
    if len(word) > 40 or not isfinite(float(word)):
        raise ValueError(f"the number {word[:40]} is out of bounds")
    return float(word)
