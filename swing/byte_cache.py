"""Cache of values that can be made again, bounded by their size in bytes.

Every process evicts on its own, which is safe because making a value again sends no messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

OVERHEAD = 2048
"""Bytes to count for the key and the objects of an entry, in addition to the value's arrays."""


class ByteCache(Generic[T]):
    """The most recently used values whose sizes add up to at most ``limit`` bytes.

    Args:
        limit: bytes of all values together. One value alone may be larger.
        size: returns the bytes of a value.
        drop: called with each value that is evicted or replaced.
    """

    def __init__(
        self,
        limit: int,
        size: Callable[[T], int],
        drop: Callable[[T], object] = lambda value: None,
    ) -> None:
        self.limit, self.nbytes = limit, 0
        self._size, self._drop = size, drop
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made by ``make`` if the cache does not have it."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][0]
        value = make()  # not under the lock: it may take long, or ask the cache for other values
        self.put(key, value)
        return value

    def put(self, key: Hashable, value: T) -> None:
        """Add a value, or replace the one of this key."""
        nbytes, dropped = OVERHEAD + self._size(value), []
        with self._lock:
            if key in self._entries:
                dropped.append(self._remove(key))
            self._entries[key] = value, nbytes
            self.nbytes += nbytes
            while self.nbytes > self.limit and len(self._entries) > 1:
                dropped.append(self._remove(next(iter(self._entries))))
        for old in dropped:
            self._drop(old)

    def peek(self, key: Hashable) -> T | None:
        """Return the value of a key, or None; this does not count as a use."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def pop(self, key: Hashable) -> T | None:
        """Remove and return the value of a key; None if there is none."""
        with self._lock:
            return self._remove(key) if key in self._entries else None

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0

    def _remove(self, key: Hashable) -> T:
        value, nbytes = self._entries.pop(key)
        self.nbytes -= nbytes
        return value

    def __len__(self) -> int:
        return len(self._entries)
