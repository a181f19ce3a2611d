"""Parsing of untrusted files: size limits and strict checks that all readers share.

Every size is checked before memory is allocated for it, and nothing is guessed. For anything
unknown a reader raises ValueError, in one line that names the position in the file.
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
MAX_JSON_BYTES = 2**25  # of a JSON document, which takes twenty times its size in memory
MAX_ROWS = 2_000_000  # messages of a schedule
MAX_EVENTS = 1_500_000  # sends, receives and joins, on all ranks together
MAX_RANKS = 2**16
MAX_BLOCKS = 2**24
MAX_VALUES = 2**32  # ranks times blocks, the number of states that `verify` checks
MAX_SENT_BLOCKS = 2**26  # blocks in all messages of a step
MAX_INTEGER = 2**53  # JSON readers that use doubles keep whole numbers exact up to here
DEPTH = 64

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_BRACKETS = np.zeros(256, dtype=np.int8)  # change of the nesting depth at each byte value
_BRACKETS[list(b"[{")], _BRACKETS[list(b"]}")] = 1, -1
_NAME = re.compile(r"[\x20-\x7e]{0,100}")
# Possessive quantifiers never backtrack, so that matching takes linear time on hostile input.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def contents(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ValueError: the file is larger than `MAX_BYTES`.
        OSError: the file does not exist or cannot be read.
    """
    # Reading one byte more than allowed works for pipes as well, whose size is unknown.
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB: too large to read")
    return data


def text(data: bytes) -> str:
    """Decode UTF-8 text.

    Raises:
        ValueError: invalid UTF-8, or a control character other than a line end or a tab.
    """
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8 text") from None
    control = re.search(r"[\x00-\x08\x0b-\x1f\x7f]", decoded.replace("\r\n", "\n"))
    if control:
        raise ValueError(f"the text contains the control character {control[0]!r}")
    return decoded


def lines(decoded: str, most: int = MAX_BYTES) -> Iterator[tuple[str, str]]:
    """Yield where each line is, such as "line 1", and the line without surrounding blanks.

    Raises:
        ValueError: there are more than ``most`` lines, and one.
    """
    # Not str.splitlines, which would also split at form feeds and Unicode separators.
    for count, line in enumerate(StringIO(decoded)):
        if count > most:
            raise ValueError(f"the file has more than {count} lines: too many")
        yield f"line {count + 1}", line.strip()


def whole(word: str, what: str, least: int = 0, most: int = MAX_INTEGER) -> int:
    """Parse a whole number, written in decimal without a leading zero or plus.

    Args:
        word: the text of the number.
        what: the subject of the error message.
        least: the smallest number allowed.
        most: the largest number allowed.

    Raises:
        ValueError: the text is not such a number, or it is out of bounds.
    """
    if not _WHOLE.fullmatch(word) or not least <= int(word) <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}, not {word[:40]!r}")
    return int(word)


def number(value: Any, what: str, least: int = 0, most: int = MAX_INTEGER) -> int:
    """Return a JSON value that must be a whole number within bounds.

    Args:
        value: the parsed value.
        what: the subject of the error message.
        least: the smallest number allowed.
        most: the largest number allowed.

    Raises:
        ValueError: the value is not a whole number, or it is out of bounds.
    """
    # isinstance would accept true and false, which are ints in Python.
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}, not {short(value)}")
    return value


def name(value: Any, what: str) -> str:
    """Return a value that must be a string of up to 100 printable ASCII characters."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{what} is up to 100 printable characters, not {short(value)}")
    return value


def short(value: Any) -> str:
    """Return the repr of a value for an error message, in at most 40 characters."""
    shown = repr(value) if not isinstance(value, (list, dict)) else type(value).__name__
    return shown if len(shown) <= 40 else shown[:37] + "..."


def parse_json(data: bytes) -> Any:
    """Parse a JSON document with finite numbers, distinct keys and bounded nesting.

    Raises:
        ValueError: the document breaks one of these rules, is too large, or is not JSON.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"the document exceeds {MAX_JSON_BYTES >> 20} MiB: too large")
    decoded = text(data)
    # Brackets inside strings do not nest. The depth is checked first, because the parser recurses.
    outside_strings = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    depth = np.cumsum(_BRACKETS[outside_strings], dtype=np.int32)
    if len(depth) and depth.max() > DEPTH:
        raise ValueError(f"the document is nested more than {DEPTH} levels deep")
    try:
        return json.loads(
            decoded,
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_int=_bounded,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        reason = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise ValueError(f"the document is not JSON: {reason}") from None


def fields(value: Any, what: str, known: dict[str, bool]) -> dict[str, Any]:
    """Return a value that must be a JSON object with the expected keys.

    Args:
        value: the parsed value.
        what: the subject of the error message.
        known: every allowed key, and whether it is required.

    Raises:
        ValueError: the value is not an object, lacks a required key, or has an unknown one.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} is an object, not {short(value)}")
    for key in value:
        if key not in known:
            raise ValueError(f"{what} has an unknown field {short(key)}")
    for key, required in known.items():
        if required and key not in value:
            raise ValueError(f"{what} has no field {key!r}")
    return value


def array(value: Any, what: str, length: int | None = None) -> list[Any]:
    """Return a value that must be a JSON array, of ``length`` entries if that is given."""
    if not isinstance(value, list):
        raise ValueError(f"{what} is an array, not {short(value)}")
    if length is not None and len(value) != length:
        raise ValueError(f"{what} has {len(value)} entries instead of {length}")
    return value


def check_ranks(ranks: int, nblocks: int = 1) -> None:
    """Refuse a schedule with too many ranks or blocks.

    Raises:
        ValueError: above `MAX_RANKS`, `MAX_BLOCKS`, or `MAX_VALUES` for their product.
    """
    if ranks > MAX_RANKS or nblocks > MAX_BLOCKS or ranks * nblocks > MAX_VALUES:
        raise ValueError(
            f"{ranks} ranks and {nblocks} blocks are too many for a file: at most {MAX_RANKS} "
            f"ranks, {MAX_BLOCKS} blocks, and {MAX_VALUES} for ranks times blocks"
        )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json.loads alone would silently keep the last of several equal keys.
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field {short(repeated)} occurs twice")
    return unique


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _bounded(word: str) -> int:
    # Python takes quadratic time to convert long numbers, so the length is checked first.
    if len(word) > 20 or abs(int(word)) > MAX_INTEGER:
        raise ValueError(f"the number {word[:40]} is out of bounds")
    return int(word)


def _finite(word: str) -> float:
    if len(word) > 40 or not isfinite(float(word)):
        raise ValueError(f"the number {word[:40]} is out of bounds")
    return float(word)
