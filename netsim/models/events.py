"""Events: the compiled core of `netsim.models.packet`, one table of records for each kind of thing.

What starts at time t reaches another link no sooner than t + some hop latency. So links are
handled in the order of what they start next, and each serves at once all that starts before
anything else can reach it. The result is that of a single queue of all events, bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swing.compilation import njit
from swing.torus import Array

LINK = np.dtype(
    [
        ("bandwidth", "f8"),
        ("latency", "f8"),
        ("credit", "f8"),
        ("ahead", "f8"),  # what happens elsewhere reaches it no sooner
        ("free", "f8"),
        ("room", "f8"),  # flits that the buffer behind it can take
        ("ring", "i8"),  # of links that may wait for each other; -1 for none
    ]
)
PACKET = np.dtype(
    [
        ("time", "f8"),  # it comes to the link
        ("nbytes", "f8"),
        ("way", "i4"),
        ("hop", "i4"),  # index into hops; -1 while its message waits for its sender
        ("next", "i4"),
        ("previous", "i4"),
    ]
)
MESSAGE = np.dtype(
    [
        ("ready", "f8"),
        ("cost", "f8"),
        ("arrival", "f8"),
        ("sent", "f8"),
        ("inside", "i8"),  # packets that are not out yet
        ("before", "i8"),  # packets that have not passed their first link
        ("signals", "i4", 2),
        ("way", "i4"),  # the first one
        ("ways", "i4"),
        ("node", "i8"),  # the link that stands for its sender's work
    ]
)
WAY = np.dtype([("message", "i4"), ("first", "i4"), ("last", "i4"), ("stock", "i4")])
STOCK = np.dtype([("packets", "i8"), ("rest", "f8")])  # not sent yet; bytes of the last one
GROUP = np.dtype(
    [("done", "f8"), ("waits", "i8"), ("successor", "i8"), ("first", "i8"), ("last", "i8")]
)


class Net(NamedTuple):
    """The tables of the simulation, and its parameters."""

    links: np.ndarray
    tree: np.ndarray
    packets: np.ndarray
    messages: np.ndarray
    ways: np.ndarray
    hops: Array
    stocks: np.ndarray
    groups: np.ndarray
    waiting: Array
    packet_bytes: float
    flit_bytes: float
    flit: float  # what buffers count in, in bytes
    overhead: float
    adaptive: bool
    local: bool
    shaped: bool
    bucket: float


def pool(nlinks: int) -> np.ndarray:
    """No packets; the circles of `run`."""
    packets = np.zeros(2 * nlinks + 1, dtype=PACKET)
    packets["time"] = np.inf
    packets["next"][:-1] = packets["previous"][:-1] = np.arange(2 * nlinks)
    return packets


def with_room(net: Net) -> Net:
    """The same with half as many packets more, and more than one event may need."""
    old, more = len(net.packets), max(len(net.packets) // 2, 2 * len(net.ways) + 3)
    packets = np.concatenate([net.packets, np.zeros(more, dtype=PACKET)])
    unused = packets[2 * len(net.links)]
    packets["next"][old:] = np.arange(old + 1, old + more + 1)
    packets["next"][-1] = unused["next"]
    unused["next"] = old
    unused["nbytes"] += more
    return net._replace(packets=packets)


@njit(error_model="numpy")
def run(net: Net) -> bool:
    """Handle link after link, in order of what starts next; false: more packets are needed.

    The queue of link j is a circle through ``packets[j]``, which stands for its two ends. Another
    one, nlinks further on, has what leaves the buffer behind the link. Behind these hang the
    packets that are not used, and ``nbytes`` there is their number.
    """
    links, packets, tree, messages, ways = net.links, net.packets, net.tree, net.messages, net.ways
    hops, nlinks, leaves = net.hops, len(links), len(tree) // 2
    unused = packets[2 * nlinks]
    while tree[1] < np.inf:
        now, j = tree[1], 1
        while j < leaves:
            j = 2 * j + (tree[2 * j] != now)
        j -= leaves
        link, queue, leaving = links[j], packets[j], packets[nlinks + j]
        time = max(now, link.free, packets[queue.next].time)
        while time == now or time < now + link.ahead:
            if unused.nbytes <= len(ways) + 1:
                return False
            while packets[leaving.next].time <= time:
                link.room += packets[leaving.next].nbytes
                _give(packets, 2 * nlinks, _cut(packets, leaving.next))
            p = queue.next
            while packets[p].time <= time and link.room < _need(net, packets[p]):
                p = packets[p].next
            packet = packets[p]
            if packet.time > time:  # none of those that have come can go on
                time = min(packet.time, packets[leaving.next].time)
                continue
            _cut(packets, p)
            hop, w = packet.hop, packet.way
            way = ways[w]
            message = messages[way.message]
            if hop < 0:
                link.free = time + net.overhead
                _give(packets, 2 * nlinks, p)
                for mine in range(message.way, message.way + message.ways):
                    _launch(net, mine, link.free)
                time = max(link.free, packets[queue.next].time)
                continue
            size = max(packet.nbytes, net.flit_bytes)
            service = size / link.bandwidth
            link.free = max(link.free, time - net.bucket) + service
            if link.room < np.inf and hop > way.first:
                back = hops[hop - 1]
                slot = _take(packets, 2 * nlinks)
                packets[slot].time = time + links[back].credit
                packets[slot].nbytes = flits(packet.nbytes, net.flit)
                _enqueue(net, slot, nlinks + back)
            if hop < way.last:
                onward = hops[hop + 1]
                link.room -= flits(packet.nbytes, net.flit)
                packet.time = time + link.latency
                if links[onward].bandwidth > link.bandwidth and not net.shaped:
                    packet.time += service - size / links[onward].bandwidth
                packet.hop = hop + 1
                _enqueue(net, p, onward)
            else:
                _give(packets, 2 * nlinks, p)
                out = time + link.latency
                if not net.shaped:
                    out += service
                message.arrival = max(message.arrival, out)
                message.inside -= 1
                if message.inside == 0:
                    settle(net, message.signals[0], message.arrival + message.cost)
                    if not net.local:
                        settle(net, message.signals[1], message.arrival + message.cost)
            if hop == way.first:
                passed = max(link.free, time)
                _launch(net, w, passed)
                message.sent = max(message.sent, passed)
                message.before -= 1
                if net.local and message.before == 0:
                    settle(net, message.signals[1], message.sent)
            time = max(link.free, packets[queue.next].time)
        _due(tree, j, time)
    return True


@njit(error_model="numpy")
def _need(net: Net, packet: np.record) -> float:
    """For how many flits there must be room behind the link that a packet comes to."""
    links, hops, hop, way = net.links, net.hops, packet.hop, net.ways[packet.way]
    if hop < 0 or hop == way.last:
        return 0.0
    ring = links[hops[hop]].ring
    enters = ring >= 0 and (hop == way.first or links[hops[hop - 1]].ring != ring)
    own = flits(packet.nbytes, net.flit)
    return own + flits(net.packet_bytes, net.flit) if enters else own


@njit(error_model="numpy")
def flits(nbytes: float, flit: float) -> float:
    """What a packet takes of a buffer, at least one."""
    return float(max(np.ceil(nbytes / flit - 1e-9), 1.0))


@njit(error_model="numpy")
def settle(net: Net, g: int, time: float) -> None:
    """One of the things that group g waits for happens; what waits for the group starts."""
    while g >= 0:
        group = net.groups[g]
        group.done = max(group.done, time)
        group.waits -= 1
        if group.waits:
            return
        time = group.done
        for k in range(group.first, group.last):
            i = net.waiting[k]
            message = net.messages[i]
            begin = max(time, message.ready)
            if net.overhead:
                p = _take(net.packets, 2 * len(net.links))
                packet = net.packets[p]
                packet.time, packet.way, packet.hop = begin, message.way, -1
                _enqueue(net, p, message.node)
                continue
            for w in range(message.way, message.way + message.ways):
                _launch(net, w, begin)
        g = group.successor


@njit(error_model="numpy")
def _launch(net: Net, w: int, time: float) -> None:
    """Queue the next packet of way w, if there is one, for its first link."""
    way = net.ways[w]
    stock = net.stocks[way.stock]
    if stock.packets == 0:
        return
    stock.packets -= 1
    p = _take(net.packets, 2 * len(net.links))
    packet = net.packets[p]
    packet.time, packet.way, packet.hop = time, w, way.first
    packet.nbytes = net.packet_bytes if stock.packets else stock.rest
    _enqueue(net, p, net.hops[way.first])


@njit(error_model="numpy")
def _take(packets: np.ndarray, unused: int) -> int:
    p = packets[unused].next
    packets[unused].next = packets[p].next
    packets[unused].nbytes -= 1
    return int(p)


@njit(error_model="numpy")
def _give(packets: np.ndarray, unused: int, p: int) -> None:
    packets[p].next = packets[unused].next
    packets[unused].next = p
    packets[unused].nbytes += 1


@njit(error_model="numpy")
def _cut(packets: np.ndarray, p: int) -> int:
    """Take a packet out of its circle."""
    before, behind = packets[p].previous, packets[p].next
    packets[before].next, packets[behind].previous = behind, before
    return p


@njit(error_model="numpy")
def _enqueue(net: Net, p: int, circle: int) -> None:
    """Put a packet into a circle of a link, behind all that come no later, and wake the link."""
    links, tree, packets, ways = net.links, net.tree, net.packets, net.ways
    packet, before = packets[p], packets[circle].previous
    while before != circle and _later(ways, packets[before], packet):
        before = packets[before].previous
    packet.previous, packet.next = before, packets[before].next
    packets[packet.next].previous = p
    packets[before].next = p
    j = circle % len(links)
    if before == circle or links[j].room < np.inf:
        start = max(links[j].free, packet.time)
        if start < tree[len(tree) // 2 + j]:
            _due(tree, j, start)


@njit(error_model="numpy")
def _due(tree: np.ndarray, j: int, time: float) -> None:
    """Link j has something to start at a time; ``tree[k]`` is the sooner of those below it."""
    k = len(tree) // 2 + j
    tree[k] = time
    while k > 1:
        k //= 2
        least = min(tree[2 * k], tree[2 * k + 1])
        if tree[k] == least:
            return
        tree[k] = least


@njit(error_model="numpy")
def _later(ways: np.ndarray, a: np.record, b: np.record) -> bool:
    if a.time != b.time:
        return bool(a.time > b.time)
    passed_a, passed_b = a.hop - ways[a.way].first, b.hop - ways[b.way].first
    if passed_a != passed_b:
        return bool(passed_a < passed_b)
    return bool(a.way > b.way)
