"""Ring patterns with several peers per step: the nearest member of each other class of nodes.

The digits of a node in a mixed radix put it into smaller and smaller classes, down to single nodes.
Digit s splits each class into several. In step s of the reduce-scatter a node sends the blocks of
each new class of which it is no member to that class's nearest member. The contributions to these
blocks thus move into the class, and each member adds up those from the nodes around it.

In a latency-optimal allreduce the steps run in reverse order, long hops first, and the messages
carry whole vectors. All members of a class then have the same sum, because the earlier steps gave
it to all of them, so a node needs to hear from only one member of each other class, and the nearest
one costs least: with two digits on a ring of d nodes, the hops are up to d/2 in the first step and
up to half the radix of digit 0 in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from swing.build.pattern import PatternStep, RingPattern
from swing.schedules.blocks import Blocks
from swing.torus import Array


def digits_of(d: int, radices: Sequence[int]) -> list[Array]:
    """Return one (d,) array per digit of the coordinates, least significant digit first.

    Neighbours differ in the first digit.

    >>> [digit.tolist() for digit in digits_of(5, (2, 3))]
    [[0, 1, 0, 1, 0], [0, 0, 1, 1, 2]]
    """
    units = np.cumprod([1, *radices])[:-1]
    return [np.arange(d) // unit % radix for unit, radix in zip(units, radices, strict=True)]


def bits_of(labels: Array, nbits: int) -> list[Array]:
    """Return one (d,) array per bit of the nodes' labels, most significant bit first.

    >>> [bit.tolist() for bit in bits_of(np.array([0, 2, 3, 1]), 2)]
    [[0, 1, 1, 0], [0, 0, 1, 1]]
    """
    return [labels >> bit & 1 for bit in reversed(range(nbits))]


def partition_pattern(
    digits: Sequence[Array], wrap: bool = True, mirrored: bool = False
) -> RingPattern:
    """Make the pattern in which digit s of the nodes defines the classes of step s.

    Args:
        digits: one (d,) array per step; no two nodes have the same digits.
        wrap: whether the nodes close to a ring.
        mirrored: how to break ties between two members at the same distance. Even nodes take the
            one above them and odd nodes the one below, or the other way round if mirrored.

    >>> pattern = partition_pattern(digits_of(9, (3, 3)))
    >>> [[(int(x), int(y)) for x, y in zip(*pattern.step(s)[:2]) if x == 4] for s in (0, 1)]
    [[(4, 3), (4, 5)], [(4, 1), (4, 7)]]
    """
    d = len(digits[0]) if len(digits) else 1
    nodes = np.arange(d)
    classes = [np.zeros(d, dtype=np.int64)]  # before each step, the number of each node's class
    for digit in digits:
        key = classes[-1] * (1 + int(digit.max(initial=0))) + digit
        classes.append(np.unique(key, return_inverse=True)[1].astype(np.int64))
    owner = np.argsort(classes[-1])
    size = [np.bincount(numbers) for numbers in classes]
    first = [np.cumsum(n) - n for n in size]  # classes are ranges of labels
    even = [len(n) * int(n[0]) == d and np.ptp(n) == 0 for n in size]
    radices = [len(b) // len(a) for a, b in pairwise(size)]

    def blocks(s: int, numbers: Array) -> Blocks:
        return Blocks.ranges(first[s][numbers], size[s][numbers])

    @lru_cache(maxsize=32)  # hybrids of all k ask the same pattern for the same steps
    def step(s: int) -> PatternStep:
        before, after = classes[s], classes[s + 1]
        parent = before[owner[first[s + 1]]]  # for each class after this step, its class before it
        # Pair each node with every class that its own class splits into, except the one it is in.
        count = np.bincount(parent)[before]
        src = np.repeat(nodes, count)
        start = np.searchsorted(parent, before)
        target = np.arange(len(src)) - np.repeat(np.cumsum(count) - count - start, count)
        other = target != after[src]
        src, target = src[other], target[other]
        dst, hops = _nearest(after, src, target, wrap, mirrored)
        # A node sends its messages in the order of the rows, so put those that travel furthest
        # first.
        order = np.argsort(-hops, kind="stable")
        return PatternStep(src[order], dst[order], blocks(s + 1, target[order]))

    if not all(even):
        radices = [d] + [1] * (len(digits) - 1)
    return RingPattern(d, tuple(radices), owner, step, lambda s: blocks(s, classes[s]))


def _nearest(
    classes: Array, x: Array, target: Array, wrap: bool, mirrored: bool
) -> tuple[Array, Array]:
    """Return the member of class ``target[i]`` nearest to node ``x[i]``, and its distance."""
    d = len(classes)
    key = np.sort(classes * d + np.arange(d))  # the nodes by class, then by coordinate
    members = np.bincount(classes)
    size, start = members[target], (np.cumsum(members) - members)[target]
    nbelow = np.searchsorted(key, target * d + x) - start  # number of members below x
    if wrap:
        above, below = (key[start + i % size] % d for i in (nbelow, nbelow - 1))
        up, down = (above - x) % d, (x - below) % d
    else:
        # For a node beyond the outermost member, both neighbours are that member.
        above, below = (key[start + np.clip(i, 0, size - 1)] % d for i in (nbelow, nbelow - 1))
        up, down = np.abs(above - x), np.abs(x - below)
    upward = np.where(up == down, x % 2 == mirrored, up < down)
    return np.where(upward, above, below), np.minimum(up, down)
