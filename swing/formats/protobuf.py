"""Encode and decode the protocol buffer wire format, without a schema or generated code.

A message is a sequence of fields: each has a number and a value, which is an integer or bytes (a
string, a nested message, or packed integers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK = 2**64 - 1


def varint(value: int) -> bytes:
    """Encode an integer in groups of seven bits, lowest first; negative ones as 64 bits.

    >>> varint(300).hex()
    'ac02'
    """
    value &= _MASK  # two's complement, as the format requires for negative numbers
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def number(field: int, value: int) -> bytes:
    """Encode a field with an integer."""
    return varint(field << 3 | _VARINT) + varint(value)


def block(field: int, value: bytes) -> bytes:
    """Encode a field with bytes: a string, a nested message, or packed integers."""
    return varint(field << 3 | _BYTES) + varint(len(value)) + value


def packed(field: int, values: Sequence[int]) -> bytes:
    """Encode a repeated field of integers; an empty one takes no bytes."""
    return block(field, b"".join(map(varint, values))) if values else b""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode the integer at position ``at``; return it and the position after it.

    Raises:
        ValueError: the data ends within the integer, or it has more than 64 bits.
    """
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise ValueError(f"the data ends within a number, at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value <= _MASK:  # the tenth byte has seven bits, but only one fits
            return value, at
    raise ValueError(f"a number has more than 64 bits, at byte {at}")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Decode a message: yield the number of each field, and its integer or bytes.

    Raises:
        ValueError: the data is cut off, or is not a message.
    """
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if not key >> 3:
            raise ValueError("a field has the number 0: numbers begin at 1")
        if kind == _VARINT:
            value, at = read_varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"field {key >> 3} has the unknown wire type {kind}")
        if length > len(data) - at:
            raise ValueError(f"field {key >> 3} is cut off")
        yield key >> 3, data[at : at + length]
        at += length


def numbers(value: int | bytes) -> list[int]:
    """Return the integers of one occurrence of a repeated field: one, or several if packed."""
    # Writers may choose either encoding, and readers have to accept both.
    if isinstance(value, int):
        return [value]
    decoded, at = [], 0
    while at < len(value):
        item, at = read_varint(value, at)
        decoded.append(item)
    return decoded


def signed(value: int) -> int:
    """Reinterpret an unsigned 64-bit integer as a signed one.

    >>> signed(2**64 - 1)
    -1
    """
    return value - 2**64 if value >= 2**63 else value
