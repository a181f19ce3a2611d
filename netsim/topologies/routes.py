"""Routes: the links that messages cross, stored as ragged arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swing.torus import Array

Seed = tuple[int, ...]
"""Seed of `numpy.random.default_rng`, which draws the direction of ties under ``ties="random"``."""


class Routes(NamedTuple):
    """The routes of m messages, ordered by message; every message has at least one.

    Route j carries the fraction ``share[j]`` of message ``message[j]`` over the links
    ``links[ptr[j]] … links[ptr[j + 1] - 1]``, in this order.
    """

    message: Array
    share: np.ndarray
    ptr: Array
    links: Array

    @classmethod
    def single(cls, hops: Array, links: Array) -> Routes:
        """One route per message.

        Args:
            hops: (m,) number of links of each route.
            links: (sum of hops,) the links of all routes, one route after the other.
        """
        m = len(hops)
        return cls(np.arange(m), np.ones(m), np.append(0, np.cumsum(hops)), links)

    def per_link(self) -> Array:
        """(len(links),) the route that each entry of links belongs to."""
        return np.repeat(np.arange(len(self.share)), np.diff(self.ptr))

    def paths(self, wire: np.ndarray, router: np.ndarray) -> np.ndarray:
        """(routes, 3) the `netsim.topologies.row.Path` of every route.

        Args:
            wire: (nlinks,) length of every link.
            router: (nlinks,) delay of the router that each link leads to.
        """
        route, columns = self.per_link(), (np.ones(len(wire)), wire, router)
        sums = [np.bincount(route, each[self.links], len(self.share)) for each in columns]
        return np.stack(sums, axis=1)

    @classmethod
    def join(cls, tables: Sequence[Routes]) -> Routes:
        """Concatenate tables; messages of later tables are renumbered to follow the earlier ones.

        The number of messages in a table is read off its routes, so every message needs one.
        """
        # One entry more than tables, hence strict=False below.
        first = np.cumsum([0] + [1 + int(t.message.max(initial=-1)) for t in tables])
        renumbered = zip(tables, first, strict=False)
        return cls.concatenate([t._replace(message=t.message + k) for t, k in renumbered])

    @classmethod
    def concatenate(cls, tables: Sequence[Routes]) -> Routes:
        """Concatenate tables; messages keep their numbers."""
        message, share, ptr, links = zip(*tables, strict=True)
        hops = np.concatenate(list(map(np.diff, ptr)))
        ends = np.append(0, np.cumsum(hops))
        return cls(np.concatenate(message), np.concatenate(share), ends, np.concatenate(links))

    def select(self, routes: Array) -> Routes:
        """Some of the routes, by their numbers; messages keep theirs."""
        hops = np.diff(self.ptr)[routes]
        ptr, links = np.append(0, np.cumsum(hops)), _links_of(self, routes, hops)
        return Routes(self.message[routes], self.share[routes], ptr, links)

    def take(self, index: Array) -> Routes:
        """The routes of the messages ``index``, renumbered 0, 1, …; repeats are allowed."""
        choices = np.bincount(self.message, minlength=1 + int(index.max(initial=-1)))
        times = choices[index]
        route = np.repeat((np.cumsum(choices) - choices)[index], times) + count_up(times)
        return self.select(route)._replace(message=np.repeat(np.arange(len(index)), times))

    def then(self, continuation: Routes) -> Routes:
        """Extend every route of a message by every route of that message in ``continuation``.

        Shares multiply: a message that splits in two here and again there ends up on four routes.
        """
        choices = np.bincount(continuation.message, minlength=1 + int(self.message.max(initial=-1)))
        first = np.cumsum(choices) - choices
        times = choices[self.message]
        head = np.repeat(np.arange(len(self.share)), times)
        tail = first[self.message[head]] + count_up(times)
        a, b = np.diff(self.ptr)[head], np.diff(continuation.ptr)[tail]
        ptr = np.append(0, np.cumsum(a + b))
        links = np.empty(ptr[-1], dtype=np.int64)
        links[np.repeat(ptr[:-1], a) + count_up(a)] = _links_of(self, head, a)
        links[np.repeat(ptr[:-1] + a, b) + count_up(b)] = _links_of(continuation, tail, b)
        return Routes(self.message[head], self.share[head] * continuation.share[tail], ptr, links)


def _links_of(routes: Routes, index: Array, hops: Array) -> Array:
    """The links of the routes ``index``, which have ``hops`` links each, concatenated."""
    links: Array = routes.links[np.repeat(routes.ptr[index], hops) + count_up(hops)]
    return links


def count_up(lengths: Array) -> Array:
    """For each length the numbers 0, 1, …, length - 1; all concatenated."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
