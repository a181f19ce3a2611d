"""Packet: discrete events; messages are cut into packets that queue for links.

A packet visits the links of its way in order. A link serves one packet at a time, in the order
in which their heads arrive (ties: by message, then by packet), as virtual cut-through does:

    start   = max(arrival of its head, end of the packet before it)
    end     = start + max(bytes, flit_bytes) / bandwidth_l
    arrival at the next link = start + hop_latency_l; after the last link: its head is out
    a packet is out of the last link at start + hop_latency_l + its service there

so an idle network adds up the hop latencies of the way, and a packet's bytes count once.

- A message of n bytes has max(1, ⌈n / packet_bytes⌉) packets, the last one shorter; it has
  arrived when all of them are out, and counts for its groups ``cost`` seconds later.
- Injection and ejection are links like all others, the first and the last one of a way. A message
  puts its next packet into the queue of its first link when the one before has been served there:
  messages of a node take turns, packet by packet.
- Messages of a node that wait for the same group start ``message_overhead`` apart, by number,
  the first one ``message_overhead`` after it.
- Of several ways each packet takes one, chosen as it is queued for its first link. Dealt: the
  way that is furthest behind its share. Adaptive: where the ways part, the link that is free
  earliest if all packets waiting there are full ones. Ties take turns, way 0 first.

Left out: buffers are unlimited, so nothing is ever blocked by a full one; virtual channels and
arbiters (a queue is first come, first served over all inputs); headers; errors. Queues further
along the way than the fork, and packets on their way to it, do not count for the choice.

Use it where time and place decide: vectors of a few KiB per rank on long dimensions, whose
messages pass the same link one after the other, adaptive ties, ranks out of step. It costs an
event for every packet and link.

How: links are handled in the order of their next start. What happens at time t reaches another
link no sooner than t + the smallest hop latency, so that a link can serve all that starts before
that at once; the order of events is that of a single queue of all of them, byte for byte.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from netsim.messages import Messages
from swing.torus import Array

_LINK = np.dtype(
    [
        ("bandwidth", "f8"),
        ("latency", "f8"),
        ("ahead", "f8"),  # what happens elsewhere reaches it no sooner
        ("free", "f8"),
        ("waiting", "i8"),
    ]
)
_PACKET = np.dtype(
    [
        ("time", "f8"),  # its head arrives at the link
        ("nbytes", "f8"),
        ("message", "i4"),
        ("number", "i4"),
        ("way", "i4"),
        ("hop", "i4"),  # index into hops
        ("next", "i4"),
        ("previous", "i4"),
    ]
)
_MESSAGE = np.dtype(
    [
        ("nbytes", "f8"),
        ("ready", "f8"),
        ("overhead", "f8"),
        ("cost", "f8"),
        ("arrival", "f8"),
        ("feeds", "i4", 2),
        ("way", "i4"),  # the first one
        ("ways", "i4"),
        ("fork", "i4"),  # the hop at which ways part
        ("packets", "i4"),
        ("sent", "i4"),
        ("left", "i4"),
    ]
)
_WAY = np.dtype([("share", "f8"), ("first", "i8"), ("last", "i8"), ("dealt", "i8")])
_GROUP = np.dtype(
    [("done", "f8"), ("waits", "i8"), ("follows", "i8"), ("first", "i8"), ("last", "i8")]
)


class _Net(NamedTuple):
    """The tables of the simulation, and its parameters."""

    links: np.ndarray
    tree: np.ndarray
    packets: np.ndarray
    messages: np.ndarray
    ways: np.ndarray
    hops: Array
    groups: np.ndarray
    gated: Array
    packet_bytes: float
    flit_bytes: float
    adaptive: bool


def packet_times(
    messages: Messages,
    bandwidth: np.ndarray,
    hop_latency: np.ndarray,
    *,
    packet_bytes: float,
    flit_bytes: float = 0.0,
    message_overhead: float = 0.0,
    adaptive: bool = False,
) -> np.ndarray:
    """When every message has arrived.

    Args:
        messages: what is sent over which links, and what waits for what.
        bandwidth: (nlinks,) bytes per second.
        hop_latency: (nlinks,) seconds from the start of service until the head is at the next
            link: wire, router, a flit.
        packet_bytes: what messages are cut into.
        flit_bytes: a shorter packet takes as long as one flit.
        message_overhead: seconds that a node spends on each message it sends.
        adaptive: whether packets choose among the ways of a message by the queues; else they
            are dealt in proportion to their shares.

    Returns:
        (m,) seconds.

    Raises:
        ValueError: a packet size or bandwidth that is not above 0, a negative latency, a way
            without links, messages that wait for each other.
    """
    if not packet_bytes > 0:
        raise ValueError(f"packet_bytes must be above 0, not {packet_bytes}")
    if not (bandwidth > 0).all() or not (hop_latency >= 0).all():
        raise ValueError("links need a bandwidth above 0 and a latency of 0 or above")
    if not np.diff(messages.link_ptr).all():
        raise ValueError("every way needs a link: a node sends nothing to itself")
    m, nlinks = len(messages), len(bandwidth)
    groups, gated, turn = _groups(messages)
    table = np.zeros(m, dtype=_MESSAGE)
    for name in ("nbytes", "ready", "cost", "feeds"):
        table[name] = getattr(messages, name)
    table["overhead"] = message_overhead * turn
    table["way"], table["ways"] = messages.way_ptr[:-1], np.diff(messages.way_ptr)
    # Fractions of a byte that do not quite add up are no packet.
    count = np.maximum(np.ceil(messages.nbytes / packet_bytes - 1e-9), 1)
    table["packets"] = table["left"] = count
    ways = np.zeros(len(messages.share), dtype=_WAY)
    ways["share"] = messages.share
    ways["first"], ways["last"] = messages.link_ptr[:-1], messages.link_ptr[1:] - 1
    links = np.zeros(nlinks, dtype=_LINK)
    links["bandwidth"], links["latency"] = bandwidth, hop_latency
    if adaptive and (table["ways"] > 1).any():
        _find_forks(table, ways, messages.links)  # and look at queues as they are: ahead = 0
    else:
        links["ahead"] = _ahead(ways, messages.links, hop_latency)
    net = _Net(
        links=links,
        tree=np.full(2 << (nlinks - 1).bit_length(), np.inf),
        packets=_pool(nlinks),
        messages=table,
        ways=ways,
        hops=messages.links,
        groups=groups,
        gated=gated,
        packet_bytes=float(packet_bytes),
        flit_bytes=float(flit_bytes),
        adaptive=adaptive,
    )
    for group in np.flatnonzero(groups["waits"] == 0):
        groups["waits"][group] = 1
        net = _with_room(net)
        _settle(net, group, 0.0)
    net = _with_room(net)
    while not _run(net):
        net = _with_room(net)
    if table["left"].any():
        step = int(messages.step[table["left"] > 0].min())
        raise ValueError(f"messages of step {step} never start: they wait for each other")
    arrival: np.ndarray = table["arrival"].copy()
    return arrival


def _groups(messages: Messages) -> tuple[np.ndarray, Array, Array]:
    """The table of groups, the messages that each one gates, and whose turn it is of a node.

    There is one more group, done at time 0, for messages that wait for none.
    """
    n = len(messages.need)
    gate = np.where(messages.gate < 0, n, messages.gate)
    order = np.lexsort((messages.src, gate))
    groups = np.zeros(n + 1, dtype=_GROUP)
    groups["waits"], groups["follows"] = np.append(messages.need, 0), np.append(messages.follows, -1)
    ends = np.searchsorted(gate[order], np.arange(n + 2))
    groups["first"], groups["last"] = ends[:-1], ends[1:]
    key = gate[order] * (1 + messages.src.max(initial=0)) + messages.src[order]
    turn = np.empty_like(order)
    turn[order] = np.arange(len(order)) - np.searchsorted(key, key) + 1
    return groups, order, turn


def _ahead(ways: np.ndarray, hops: Array, latency: np.ndarray) -> np.ndarray:
    """(nlinks,) the least time from a start elsewhere until it can reach a link."""
    ahead = np.full(len(latency), np.inf)
    first, last = ways["first"], ways["last"]
    ahead[hops[first]] = latency[hops[last]].min(initial=np.inf)
    inner = np.delete(np.arange(len(hops)), first)
    np.minimum.at(ahead, hops[inner], latency[hops[inner - 1]])
    return ahead


def _find_forks(table: np.ndarray, ways: np.ndarray, hops: Array) -> None:
    for message in table[table["ways"] > 1]:
        pass


def _pool(nlinks: int) -> np.ndarray:
    """No packets, empty queues."""
    packets = np.zeros(nlinks + 1, dtype=_PACKET)
    packets["time"] = -np.inf
    packets["next"][:-1] = packets["previous"][:-1] = np.arange(nlinks)
    return packets


def _with_room(net: _Net) -> _Net:
    """The same with half as many packets more, and at least one more for each message and one."""
    old, more = len(net.packets), max(len(net.packets) // 2, 2 * len(net.messages) + 2)
    packets = np.concatenate([net.packets, np.zeros(more, dtype=_PACKET)])
    unused = packets[len(net.links)]
    packets["next"][old:] = np.arange(old + 1, old + more + 1)
    packets["next"][-1] = unused["next"]
    unused["next"] = old
    unused["number"] += more
    return net._replace(packets=packets)


@njit(cache=True, error_model="numpy")
def _run(net: _Net) -> bool:
    """Handle link after link, in order of what starts next; false: more packets are needed.

    The queue of link l is a circle through ``packets[l]``, which stands for its two ends; unused
    packets hang on the one behind these, which has their number.
    """
    links, packets, tree, messages, ways = net.links, net.packets, net.tree, net.messages, net.ways
    unused, hops, flit_bytes = packets[len(links)], net.hops, net.flit_bytes
    leaves = len(tree) // 2
    while tree[1] < np.inf:
        now, l = tree[1], 1
        while l < leaves:
            l = 2 * l + (tree[2 * l] != now)
        l -= leaves
        link, queue = links[l], packets[l]
        while queue.next != l:
            p = queue.next
            packet = packets[p]
            start = max(link.free, packet.time)
            if start > now and start >= now + link.ahead:
                break
            if unused.number <= len(messages):
                return False
            queue.next = packet.next
            packets[packet.next].previous = l
            link.waiting -= 1
            service = max(packet.nbytes, flit_bytes) / link.bandwidth
            link.free = start + service
            i, hop, way = packet.message, packet.hop, ways[packet.way]
            message = messages[i]
            if hop < way.last:
                packet.time = start + link.latency
                packet.hop = hop + 1
                _enqueue(links, packets, tree, p, hops[hop + 1])
            else:
                packet.next = unused.next
                unused.next = p
                unused.number += 1
                message.arrival = max(message.arrival, start + link.latency + service)
                message.left -= 1
                if message.left == 0:
                    for k in range(2):
                        _settle(net, message.feeds[k], message.arrival + message.cost)
            if hop == way.first and message.sent < message.packets:
                _launch(net, i, link.free)
        due = np.inf if queue.next == l else max(link.free, packets[queue.next].time)
        _due(tree, l, due)
    return True


@njit(cache=True, error_model="numpy")
def _settle(net, g, time):
    """One of the things that group g waits for happens; what waits for the group starts."""
    while g >= 0:
        group = net.groups[g]
        group.done = max(group.done, time)
        group.waits -= 1
        if group.waits:
            return
        time = group.done
        for k in range(group.first, group.last):
            i = net.gated[k]
            message = net.messages[i]
            _launch(net, i, max(time, message.ready) + message.overhead)
        g = group.follows


@njit(cache=True, error_model="numpy")
def _launch(net, i, time):
    """Queue the next packet of message i for its first link."""
    packets, message = net.packets, net.messages[i]
    unused = packets[len(net.links)]
    p = unused.next
    packet = packets[p]
    unused.next = packet.next
    unused.number -= 1
    packet.time, packet.message, packet.number = time, i, message.sent
    packet.nbytes = min(net.packet_bytes, message.nbytes - message.sent * net.packet_bytes)
    packet.way = message.way if message.ways == 1 else _choose(net, message, time)
    packet.hop = net.ways[packet.way].first
    message.sent += 1
    _enqueue(net.links, packets, net.tree, p, net.hops[packet.hop])


@njit(cache=True, error_model="numpy")
def _choose(net, message, time):
    """The way that the next packet of a message takes."""
    best, least = message.way, np.inf
    for k in range(message.ways):
        w = message.way + (message.sent + k) % message.ways
        way = net.ways[w]
        if net.adaptive:
            link = net.links[net.hops[way.first + message.fork]]
            merit = max(link.free, time) + link.waiting * net.packet_bytes / link.bandwidth
        else:
            merit = way.dealt - way.share * (message.sent + 1)
        if merit < least:
            best, least = w, merit
    net.ways[best].dealt += 1
    return best


@njit(cache=True, error_model="numpy")
def _enqueue(links, packets, tree, p, l):
    """Put a packet into the queue of a link, behind all that come no later."""
    packet, link = packets[p], links[l]
    behind = packets[l].previous
    while _later(packets[behind], packet):
        behind = packets[behind].previous
    packet.previous, packet.next = behind, packets[behind].next
    packets[packet.next].previous = p
    packets[behind].next = p
    link.waiting += 1
    if behind == l:
        start = max(link.free, packet.time)
        if start < tree[len(tree) // 2 + l]:
            _due(tree, l, start)


@njit(cache=True, error_model="numpy")
def _due(tree, l, time):
    """Link l has something to start at a time; ``tree[k]`` is the sooner of those below it."""
    k = len(tree) // 2 + l
    tree[k] = time
    while k > 1:
        k //= 2
        least = min(tree[2 * k], tree[2 * k + 1])
        if tree[k] == least:
            return
        tree[k] = least


@njit(cache=True, error_model="numpy")
def _later(a, b):
    if a.time != b.time:
        return a.time > b.time
    if a.message != b.message:
        return a.message > b.message
    return a.number > b.number
