"""Ways: the links that messages take, as ragged arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swing.torus import Array

Seed = tuple[int, ...]


class Ways(NamedTuple):
    """The ways of m messages, in the order of the messages; each has one or more.

    Way j takes ``share[j]`` of message ``message[j]`` over the links
    ``links[ptr[j]] … links[ptr[j + 1] - 1]``.
    """

    message: Array
    share: np.ndarray
    ptr: Array
    links: Array

    @classmethod
    def single(cls, hops: Array, links: Array) -> Ways:
        """One way for each message, of so many hops."""
        m = len(hops)
        return cls(np.arange(m), np.ones(m), np.append(0, np.cumsum(hops)), links)

    def per_link(self) -> Array:
        """(len(links),) the way that each entry of links belongs to."""
        return np.repeat(np.arange(len(self.share)), np.diff(self.ptr))

    @classmethod
    def join(cls, tables: Sequence[Ways]) -> Ways:
        """The ways of several lots of messages, one below the other; no message without a way."""
        first = np.cumsum([0] + [1 + int(t.message.max(initial=-1)) for t in tables])
        hops = np.concatenate([np.diff(t.ptr) for t in tables])
        return cls(
            np.concatenate([t.message + k for t, k in zip(tables, first, strict=False)]),
            np.concatenate([t.share for t in tables]),
            np.append(0, np.cumsum(hops)),
            np.concatenate([t.links for t in tables]),
        )

    def take(self, index: Array) -> Ways:
        """The ways of some of the messages, in any order."""
        choices = np.bincount(self.message, minlength=1 + int(index.max(initial=-1)))
        times = choices[index]
        way = np.repeat((np.cumsum(choices) - choices)[index], times) + _count_up(times)
        hops = np.diff(self.ptr)[way]
        message = np.repeat(np.arange(len(index)), times)
        return Ways(message, self.share[way], np.append(0, np.cumsum(hops)), _pick(self, way, hops))

    def then(self, more: Ways) -> Ways:
        """Every way of a message, continued by every way of the same message in ``more``."""
        choices = np.bincount(more.message, minlength=1 + int(self.message.max(initial=-1)))
        first = np.cumsum(choices) - choices
        times = choices[self.message]
        mine = np.repeat(np.arange(len(self.share)), times)
        theirs = first[self.message[mine]] + _count_up(times)
        a, b = np.diff(self.ptr)[mine], np.diff(more.ptr)[theirs]
        ptr = np.append(0, np.cumsum(a + b))
        links = np.empty(ptr[-1], dtype=np.int64)
        links[np.repeat(ptr[:-1], a) + _count_up(a)] = _pick(self, mine, a)
        links[np.repeat(ptr[:-1] + a, b) + _count_up(b)] = _pick(more, theirs, b)
        return Ways(self.message[mine], self.share[mine] * more.share[theirs], ptr, links)


def _pick(ways: Ways, index: Array, lengths: Array) -> Array:
    found: Array = ways.links[np.repeat(ways.ptr[index], lengths) + _count_up(lengths)]
    return found


def _count_up(lengths: Array) -> Array:
    """0, 1, … up to each length, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
