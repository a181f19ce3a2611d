"""A line with several peers a step: one of each other class, the nearest.

A chain of partitions of a ring: the digits of a node, in a base that changes from digit to digit,
put it into smaller and smaller classes. In step s of the reduce-scatter a node sends each other
class that digit s splits off from its own class that class' blocks, all to the nearest member. So
a class' blocks arrive at all of its members, each adding up what lies around it; the last classes
are single nodes.

Sent the other way round the same messages exchange whole vectors, long hops first: a node that
hears from one member of each other class hears all there is to know, because the steps before
have given all members of a class the same sum. It does not matter which member, so the nearest
will do: d nodes in two steps need the distance d/2 and then half a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from swing.build.pattern import PatternStep, RingPattern, Sets
from swing.torus import Array


def digits_of(d: int, radices: Sequence[int]) -> list[Array]:
    """(d,) digits of the coordinates, lowest first: neighbours differ in the first one.

    >>> [digit.tolist() for digit in digits_of(5, (2, 3))]
    [[0, 1, 0, 1, 0], [0, 0, 1, 1, 2]]
    """
    place = np.cumprod([1, *radices])[:-1]
    return [np.arange(d) // low % radix for low, radix in zip(place, radices, strict=True)]


def bits_of(labels: Array, nbits: int) -> list[Array]:
    """(d,) digits of the nodes that carry these labels, highest first.

    >>> [bit.tolist() for bit in bits_of(np.array([0, 2, 3, 1]), 2)]
    [[0, 1, 1, 0], [0, 0, 1, 1]]
    """
    return [labels >> bit & 1 for bit in reversed(range(nbits))]


def partition_pattern(
    digits: Sequence[Array], wrap: bool = True, mirrored: bool = False
) -> RingPattern:
    """The line of a chain of partitions.

    Args:
        digits: one (d,) array a step; no two nodes have the same digits.
        wrap: whether the nodes close to a ring.
        mirrored: of two members at the same distance, even nodes take the one below them and not
            the one above; odd nodes the other one.

    >>> line = partition_pattern(digits_of(9, (3, 3)))
    >>> [[(int(x), int(y)) for x, y in zip(*line.step(s)[:2]) if x == 4] for s in (0, 1)]
    [[(4, 3), (4, 5)], [(4, 1), (4, 7)]]
    """
    d = len(digits[0]) if len(digits) else 1
    nodes = np.arange(d)
    classes = [np.zeros(d, dtype=np.int64)]  # the number of every node's class before each step
    for digit in digits:
        key = classes[-1] * (1 + int(digit.max(initial=0))) + digit
        classes.append(np.unique(key, return_inverse=True)[1].astype(np.int64))
    owner = np.argsort(classes[-1])
    size = [np.bincount(of) for of in classes]
    first = [np.cumsum(n) - n for n in size]  # classes are ranges of labels
    even = [len(n) * int(n[0]) == d and np.ptp(n) == 0 for n in size]
    radices = [len(b) // len(a) for a, b in pairwise(size)]

    def blocks(s: int, of: Array) -> Sets:
        return Sets.ranges(first[s][of], size[s][of])

    def step(s: int) -> PatternStep:
        mine, below = classes[s], classes[s + 1]
        parent = mine[owner[first[s + 1]]]  # of every class after this step
        count = np.bincount(parent)[mine]
        src = np.repeat(nodes, count)
        start = np.searchsorted(parent, mine)
        to = np.arange(len(src)) - np.repeat(np.cumsum(count) - count - start, count)
        other = to != below[src]
        src, to = src[other], to[other]
        dst, hops = _nearest(below, src, to, wrap, mirrored)
        far = np.argsort(-hops, kind="stable")  # injected in this order
        return PatternStep(src[far], dst[far], blocks(s + 1, to[far]))

    return RingPattern(
        d,
        tuple(radices) if all(even) else (d,) + (1,) * (len(digits) - 1),
        owner,
        step,
        lambda s: blocks(s, classes[s]),
    )


def _nearest(
    classes: Array, x: Array, wanted: Array, wrap: bool, mirrored: bool
) -> tuple[Array, Array]:
    """The member of class ``wanted[i]`` nearest to node ``x[i]``, and how far it is."""
    d = len(classes)
    key = np.sort(classes * d + np.arange(d))
    size = np.bincount(classes)[wanted]
    start = np.searchsorted(key, wanted * d)
    at = np.searchsorted(key, wanted * d + x) - start  # members below x
    if wrap:
        above, below = (key[start + i % size] % d for i in (at, at - 1))
        up, down = (above - x) % d, (x - below) % d
    else:
        above, below = (key[start + np.clip(i, 0, size - 1)] % d for i in (at, at - 1))
        up, down = np.abs(above - x), np.abs(x - below)
    upward = np.where(up == down, x % 2 == mirrored, up < down)
    return np.where(upward, above, below), np.minimum(up, down)
