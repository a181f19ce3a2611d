"""Protocol buffers as bytes: numbers, strings and messages, each with the number of its field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK = 2**64 - 1


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first; negative ones as 64 bits.

    >>> varint(300).hex()
    'ac02'
    """
    value &= _MASK
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def number(field: int, value: int) -> bytes:
    """A field that holds a number."""
    return varint(field << 3 | _VARINT) + varint(value)


def block(field: int, value: bytes) -> bytes:
    """A field that holds bytes: a string, a message, packed numbers."""
    return varint(field << 3 | _BYTES) + varint(len(value)) + value


def packed(field: int, values: Sequence[int]) -> bytes:
    """A field that holds many numbers; nothing if there are none."""
    return block(field, b"".join(map(varint, values))) if values else b""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it.

    Raises:
        ValueError: it does not end, or has more than 64 bits.
    """
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError(f"it ends in the midst of a number, at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _MASK:
                raise ValueError(f"a number has more than 64 bits, at byte {at}")
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number has more than 64 bits, at byte {at}")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: their numbers, and a number or bytes each.

    Raises:
        ValueError: it is cut off, or is no message.
    """
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if not key >> 3:
            raise ValueError("a field has the number 0")
        if kind == _VARINT:
            value, at = read_varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"field {key >> 3} is of an unknown kind, {kind}")
        if length > len(data) - at:
            raise ValueError(f"field {key >> 3} is cut off")
        yield key >> 3, data[at : at + length]
        at += length


def numbers(value: int | bytes) -> list[int]:
    """The numbers of a repeated field: one, or many that are packed."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        one, at = read_varint(value, at)
        found.append(one)
    return found


def signed(value: int) -> int:
    """A number of 64 bits that may be negative.

    >>> signed(2**64 - 1)
    -1
    """
    return value - 2**64 if value >= 2**63 else value
