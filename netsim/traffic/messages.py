"""All messages of a schedule as flat arrays, for the flow and packet models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from swing.torus import Array


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages, the links that they cross, and the messages that they wait for.

    Dependencies go through *groups*. A group is done when all its messages have arrived and the
    group before it is done. A message starts when the group that it waits for is done, and signals
    the groups that it belongs to when it has arrived. With ``sync="rank"`` there is one group per
    rank and step, with ``sync="step"`` one per step.

    Args:
        src, dst: (m,) nodes.
        nbytes: (m,) sizes in bytes; fractions are allowed.
        step: (m,) step of the schedule.
        waits_for: (m,) the group that must be done before the message starts; -1 for none.
        ready: (m,) seconds, the earliest start.
        signals: (m, 2) the groups that the message belongs to; -1 for none. The second one is the
            sender's, which ``sync="local"`` signals when the message has left.
        pending_count: (g,) events that a group waits for: its messages, and one more if it is the
            successor of a group.
        successor: (g,) the group that the group signals when it is done; -1 for none.
        route_ptr: (m + 1,) message i has the routes route_ptr[i] … route_ptr[i + 1] - 1, at least
            one; each tie at half a ring that is split or adaptive doubles their number.
        share: (w,) the fraction of its message that each route carries. Under adaptive ties the
            packet model decides for each packet instead.
        link_ptr: (w + 1,) route j has the links links[link_ptr[j]] … links[link_ptr[j + 1] - 1],
            in order.
        links: numbers of the links that the routes cross.
        latency: (w,) seconds from the start until the first byte arrives on an idle network: all
            links and routers, injection and ejection.
        peer: (m,) the receiver as its sender sees it, see `netsim.traffic.symmetry.Rows`.
        cost: (m,) seconds from the arrival until the message signals its groups: reductions, work
            on receives, slow ranks.
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
    route_ptr: Array
    share: np.ndarray
    link_ptr: Array
    links: Array
    latency: np.ndarray
    peer: Array
    cost: np.ndarray

    def __len__(self) -> int:
        return len(self.src)


class Links(NamedTuple):
    """The links that messages cross.

    Args:
        nodes: number of nodes that the links join.
        bandwidth: (nlinks,) bytes per second.
        latency: (nlinks,) seconds until the first byte is at the next link.
        delay: (nlinks,) the same without the time of a flit: wire and router.
        credit: (nlinks,) seconds until the link learns of room in the buffer behind it.
        tail, head: (nlinks,) the nodes or switches that each link leaves and reaches; switches are
            numbered from ``nodes`` up.
        port: (nlinks,) the order in which the routers at its ends consider their links.
        dateline: (nlinks,) whether packets from a neighbour change their virtual channel onto it.
    """

    nodes: int
    bandwidth: np.ndarray
    latency: np.ndarray
    delay: np.ndarray
    credit: np.ndarray
    tail: Array
    head: Array
    port: Array
    dateline: np.ndarray
