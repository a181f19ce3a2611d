"""All messages of a schedule as flat arrays, for the models that follow each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Messages:
    """What is sent over which links, and what waits for what.

    Messages belong to *groups*. A group is done when all its messages have arrived and the group
    before it is done; a message starts when its gate, a group, is done. With ``sync="rank"``
    there is a group for every rank and step, with ``sync="step"`` one for every step.

    Args:
        src, dst: (m,) nodes.
        nbytes: (m,) bytes, fractions allowed.
        step: (m,) step of the schedule.
        waits_for: (m,) the group that must be done before it starts; -1: it starts at ``ready``.
        ready: (m,) seconds, the earliest start.
        signals: (m, 2) the groups that it belongs to; -1 for none.
        pending_count: (g,) what a group waits for: its messages, and one more if a group is before
        it.
        successor: (g,) the group that comes after; -1 for none.
        way_ptr: (m + 1,) ways of message i are way_ptr[i] … way_ptr[i + 1] - 1; at least one.
            Two where a tie at half a ring is left open.
        share: (w,) the fraction that takes each way where ties are split.
        link_ptr: (w + 1,) links of way j are links[link_ptr[j]] … in order.
        links: link numbers.
        latency: (w,) seconds from start until the first byte arrives, if nothing is in the way:
            all links and routers, injection and ejection.
        cost: (m,) seconds from when it has arrived until it counts: reductions, slow ranks.
    """

    src: Array
    dst: Array
    nbytes: np.ndarray
    step: Array
    waits_for: Array
    ready: np.ndarray
    signals: Array
    pending_count: Array
    successor: Array
    way_ptr: Array
    share: np.ndarray
    link_ptr: Array
    links: Array
    latency: np.ndarray
    cost: np.ndarray

    def __len__(self) -> int:
        return len(self.src)


class Links(NamedTuple):
    """The links that messages take.

    Args:
        nodes: how many they join.
        bandwidth: (nlinks,) bytes per second.
        latency: (nlinks,) seconds until the first byte is at the next link.
        credit: (nlinks,) seconds until a link knows of room behind it.
    """

    nodes: int
    bandwidth: np.ndarray
    latency: np.ndarray
    credit: np.ndarray
