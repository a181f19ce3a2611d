"""Tables of the packet model: one numpy record array for each kind of object."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swing.torus import Array

ROUTED, DOOR, EJECTION = range(3)
"""Kinds of links: between routers, from a node into its router, and from a router to its node."""

LINK = np.dtype([
    ("bandwidth", "f8"),
    ("latency", "f8"),  # from the start of transmission until the head is at the next router
    ("credit", "f8"),  # until the link learns of room in the buffer behind it
    ("free", "f8"),  # when it has transmitted everything so far
    ("ready", "f8"),  # when it can begin with what came while it was idle
    ("input_busy", "f8"),  # until when the crossbar behind it works on a packet from it
    ("output_busy", "f8"),  # until when the crossbar before it works on a packet for it
    ("kind", "i4"),
    ("tail", "i4"),
    ("head", "i4"),
    ("output_slot", "i4"),
    ("input_slot", "i4"),  # that of channel 0; the other channels follow
    ("channel", "i4"),  # the one that it served last
    ("first_credit", "i4"),  # list of the credits on their way back
    ("last_credit", "i4"),
])  # fmt: skip
QUEUE = np.dtype([
    ("first", "i4"),
    ("last", "i4"),
    ("stored", "f8"),  # bytes in it
    ("room", "f8"),  # bytes that it can still take
    ("served", "i8"),  # when the crossbar served it last, counted in packets of its router
])  # fmt: skip
ROUTER = np.dtype([
    ("lookahead", "f8"),
    ("crossbar", "f8"),  # bytes per second of each of its inputs and outputs
    ("free", "f8"),  # when its node has posted everything so far
    ("posting", "i4"),  # list of the messages that its node is to post, in order of time
    ("door", "i4"),  # list of the messages with packets for the door, by that of the next one
    ("door_link", "i4"),
    ("first_slot", "i4"),
    ("post_slot", "i4"),
    ("last_slot", "i4"),
    ("served", "i8"),  # packets that the crossbar has moved
])  # fmt: skip
PACKET = np.dtype([
    ("time", "f8"),  # when its head is at the router
    ("length", "f8"),  # bytes
    ("route", "i4"),
    ("hop", "i4"),  # index into Net.hops of the link that it is on or was on last
    ("chosen", "i4"),  # whether its way out of the router is
    ("next", "i4"),
])  # fmt: skip
MESSAGE = np.dtype([
    ("ready", "f8"),
    ("cost", "f8"),
    ("arrival", "f8"),
    ("time", "f8"),  # when it is to be posted, later when its next packet is at the door
    ("not_arrived", "i8"),  # packets
    ("not_sent", "i8"),
    ("last_nbytes", "f8"),  # size of the last packet
    ("signals", "i4", 2),
    ("first_route", "i4"),
    ("nroutes", "i4"),
    ("src", "i4"),
    ("step", "i4"),
    ("pair", "i4"),  # number of its sender and receiver
    ("next", "i4"),
])  # fmt: skip
HOP = np.dtype([("link", "i4"), ("queue", "i4")])  # the queues are link·channels + channel
SLOT = HOP  # without a link where a node posts, and with a queue only for inputs
ROUTE = np.dtype([("message", "i4"), ("first", "i4"), ("packets", "i8")])
GROUP = np.dtype(
    [("done", "f8"), ("pending_count", "i8"), ("successor", "i8"), ("first", "i8"), ("last", "i8")]
)


class Net(NamedTuple):
    """The tables of the simulation, and its parameters."""

    links: np.ndarray
    outputs: np.ndarray  # QUEUE; channel c of link l is l·channels + c, and so in inputs
    inputs: np.ndarray  # behind the link
    routers: np.ndarray
    slots: np.ndarray
    wake: np.ndarray  # (slots,) time of the next event of each
    tree: np.ndarray  # tree[1] is the earliest, tree[len(tree) // 2 + v] that of router v
    packets: np.ndarray
    unused: Array  # (2,) first of the list of unused packets, and their number
    messages: np.ndarray
    routes: np.ndarray
    hops: np.ndarray  # the links of all routes, from the door to the ejection link
    sender_free: np.ndarray  # by pair: when its sender has passed on all packets so far
    groups: np.ndarray
    waiting: Array  # messages by group; waiting[first] … waiting[last - 1] start when it is done
    channels: int
    packet_bytes: float
    flit_bytes: float
    overhead: float
    gap: float
    adaptive: bool
    local: bool
    oldest: bool  # arbitration by time of arrival
    shaped: bool  # links are token buckets: a packet leaves when its service begins
    bucket: float


def new_pool() -> tuple[np.ndarray, Array]:
    """No packets yet, and no unused records."""
    return np.zeros(0, dtype=PACKET), np.array([-1, 0])


def grow_pool(net: Net) -> Net:
    """Double the pool of packets."""
    old, added = len(net.packets), max(len(net.packets), 4096)
    packets = np.concatenate([net.packets, np.zeros(added, dtype=PACKET)])
    packets["next"][old:] = np.arange(old + 1, old + added + 1)
    packets["next"][-1] = net.unused[0]
    net.unused[:] = old, net.unused[1] + added
    return net._replace(packets=packets)
