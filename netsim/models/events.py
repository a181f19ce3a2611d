"""Event loop of the packet model, compiled: packets in linked lists, links in a tournament tree.

This is a conservative discrete-event simulation without one global queue. Whatever starts on a
link at time t cannot reach another link before t plus a known latency, the *lookahead* of the
other link. So the loop takes the link with the earliest next start, serves everything on it that
starts within the lookahead, and goes on to the next link. The result equals that of a single queue
of all events, bit for bit. Each kind of object is one numpy record array.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swing.compilation import njit
from swing.torus import Array

LINK = np.dtype([
    ("bandwidth", "f8"),
    ("latency", "f8"),
    ("credit", "f8"),
    ("lookahead", "f8"),  # seconds until events elsewhere can affect this link
    ("free", "f8"),  # when it has served everything so far
    ("room", "f8"),  # flits that the buffer behind it can still take
    ("ring", "i8"),  # number of the cycle of links that it is on; -1 for none
])  # fmt: skip
PACKET = np.dtype([
    ("time", "f8"),  # when it reaches its link
    ("nbytes", "f8"),
    ("route", "i4"),
    ("hop", "i4"),  # index into Net.hops; -1: a whole message that waits for its sender's work
    ("next", "i4"),
    ("previous", "i4"),
])  # fmt: skip
MESSAGE = np.dtype([
    ("ready", "f8"),
    ("cost", "f8"),
    ("arrival", "f8"),
    ("sent", "f8"),
    ("not_arrived", "i8"),  # packets
    ("not_sent", "i8"),  # packets that have not passed the first link of their route
    ("signals", "i4", 2),
    ("first_route", "i4"),
    ("nroutes", "i4"),
    ("sender_link", "i8"),  # the pseudo-link that serializes the sender's work
])  # fmt: skip
ROUTE = np.dtype([("message", "i4"), ("first", "i4"), ("last", "i4"), ("stock", "i4")])
STOCK = np.dtype([
    ("packets", "i8"),  # not yet sent
    ("last_nbytes", "f8"),  # size of the last of them
])  # fmt: skip
GROUP = np.dtype(
    [("done", "f8"), ("pending_count", "i8"), ("successor", "i8"), ("first", "i8"), ("last", "i8")]
)


class Net(NamedTuple):
    """The tables of the simulation, and its parameters."""

    links: np.ndarray
    tree: np.ndarray  # tree[1] is the earliest next start, tree[len(tree) // 2 + j] that of link j
    packets: np.ndarray
    messages: np.ndarray
    routes: np.ndarray
    hops: Array  # the links of all routes; route r has hops[first] … hops[last]
    stocks: np.ndarray
    groups: np.ndarray
    waiting: Array  # messages by group; waiting[first] … waiting[last - 1] start when it is done
    packet_bytes: float
    flit_bytes: float
    flit: float  # unit in which buffers are counted, in bytes
    overhead: float
    adaptive: bool
    local: bool
    shaped: bool  # links are token buckets: a packet leaves when its service begins
    bucket: float


def new_pool(nlinks: int) -> np.ndarray:
    """The list heads of `run`, and no packets yet."""
    packets = np.zeros(2 * nlinks + 1, dtype=PACKET)
    packets["time"] = np.inf  # ends every search along a list
    packets["next"][:-1] = packets["previous"][:-1] = np.arange(2 * nlinks)
    return packets


def grow_pool(net: Net) -> Net:
    """Enlarge the pool of packets by half, and by more than one event can allocate."""
    old, added = len(net.packets), max(len(net.packets) // 2, 2 * len(net.routes) + 3)
    packets = np.concatenate([net.packets, np.zeros(added, dtype=PACKET)])
    unused = packets[2 * len(net.links)]
    packets["next"][old:] = np.arange(old + 1, old + added + 1)
    packets["next"][-1] = unused["next"]
    unused["next"] = old
    unused["nbytes"] += added
    return net._replace(packets=packets)


@njit(error_model="numpy", nogil=True)
def run(net: Net) -> bool:
    """Serve links in the order of their next start.

    Three kinds of lists live in ``net.packets``. The queue of link j is a circular list through
    ``packets[j]``. The circular list through ``packets[nlinks + j]`` holds the credits on their
    way back to link j: their ``time`` and the ``nbytes`` (flits) they return. Unused records form
    a singly linked list from ``packets[2·nlinks]``, whose ``nbytes`` is their number.

    Returns:
        Whether all is done; if not, the pool has run short: call `grow_pool`, then `run` again.
    """
    links, packets, tree = net.links, net.packets, net.tree
    messages, routes, hops = net.messages, net.routes, net.hops
    nlinks, leaves = len(links), len(tree) // 2
    unused = packets[2 * nlinks]
    while tree[1] < np.inf:
        now, j = tree[1], 1
        while j < leaves:
            j = 2 * j + (tree[2 * j] != now)
        j -= leaves
        link, queue, credits_ = links[j], packets[j], packets[nlinks + j]
        time = max(now, link.free, packets[queue.next].time)
        # The first condition serves at least one packet where the lookahead is 0.
        while time == now or time < now + link.lookahead:
            if unused.nbytes <= len(routes) + 1:
                return False
            while packets[credits_.next].time <= time:
                link.room += packets[credits_.next].nbytes
                _release(packets, 2 * nlinks, _unlink(packets, credits_.next))
            # A packet that fits overtakes those that have no room behind the link.
            p = queue.next
            while packets[p].time <= time and link.room < _required_room(net, packets[p]):
                p = packets[p].next
            packet = packets[p]
            if packet.time > time:  # nothing can start now: wait for a packet or for credits
                time = min(packet.time, packets[credits_.next].time)
                continue
            _unlink(packets, p)
            hop, r = packet.hop, packet.route
            route = routes[r]
            message = messages[route.message]
            if hop < 0:  # a message, not a packet: the sender works on it, then its packets start
                link.free = time + net.overhead
                _release(packets, 2 * nlinks, p)
                for own in range(message.first_route, message.first_route + message.nroutes):
                    _launch(net, own, link.free)
                time = max(link.free, packets[queue.next].time)
                continue
            size = max(packet.nbytes, net.flit_bytes)
            service = size / link.bandwidth
            link.free = max(link.free, time - net.bucket) + service
            if link.room < np.inf and hop > route.first:
                # The packet leaves the buffer that it was in, and the link before learns of it.
                back = hops[hop - 1]
                credit = _allocate(packets, 2 * nlinks)
                packets[credit].time = time + links[back].credit
                packets[credit].nbytes = flits(packet.nbytes, net.flit)
                _enqueue(net, credit, nlinks + back)
            if hop < route.last:
                onward = hops[hop + 1]
                link.room -= flits(packet.nbytes, net.flit)
                packet.time = time + link.latency
                if links[onward].bandwidth > link.bandwidth and not net.shaped:
                    # Cut-through onto a faster link: start late enough that the tail keeps up.
                    packet.time += service - size / links[onward].bandwidth
                packet.hop = hop + 1
                _enqueue(net, p, onward)
            else:
                _release(packets, 2 * nlinks, p)
                arrival = time + link.latency
                if not net.shaped:
                    arrival += service
                message.arrival = max(message.arrival, arrival)
                message.not_arrived -= 1
                if message.not_arrived == 0:
                    signal(net, message.signals[0], message.arrival + message.cost)
                    if not net.local:
                        signal(net, message.signals[1], message.arrival + message.cost)
            if hop == route.first:
                passed = max(link.free, time)
                _launch(net, r, passed)
                message.sent = max(message.sent, passed)
                message.not_sent -= 1
                if net.local and message.not_sent == 0:
                    signal(net, message.signals[1], message.sent)
            time = max(link.free, packets[queue.next].time)
        _schedule(tree, j, time)
    return True


@njit(error_model="numpy")
def _required_room(net: Net, packet: np.record) -> float:
    """Flits that the buffer behind a link must have free before a packet may start on it."""
    links, hops, hop, route = net.links, net.hops, packet.hop, net.routes[packet.route]
    if hop < 0 or hop == route.last:
        return 0.0
    ring = links[hops[hop]].ring
    enters = ring >= 0 and (hop == route.first or links[hops[hop - 1]].ring != ring)
    own = flits(packet.nbytes, net.flit)
    # Bubble rule: a packet that enters a ring leaves room for another one, so rings never fill up.
    return own + flits(net.packet_bytes, net.flit) if enters else own


@njit(error_model="numpy")
def flits(nbytes: float, flit: float) -> float:
    """Number of flits that a packet occupies in a buffer, at least one."""
    # The tolerance keeps rounding errors of a division from costing a flit.
    return float(max(np.ceil(nbytes / flit - 1e-9), 1.0))


@njit(error_model="numpy")
def signal(net: Net, g: int, time: float) -> None:
    """Count one event that group g waits for; if it was the last, start the waiting messages.

    A group that is done signals its successor in turn; g = -1 is no group.
    """
    while g >= 0:
        group = net.groups[g]
        group.done = max(group.done, time)
        group.pending_count -= 1
        if group.pending_count:
            return
        time = group.done
        for k in range(group.first, group.last):
            i = net.waiting[k]
            message = net.messages[i]
            begin = max(time, message.ready)
            if net.overhead:
                p = _allocate(net.packets, 2 * len(net.links))
                packet = net.packets[p]
                packet.time, packet.route, packet.hop = begin, message.first_route, -1
                _enqueue(net, p, message.sender_link)
                continue
            for r in range(message.first_route, message.first_route + message.nroutes):
                _launch(net, r, begin)
        g = group.successor


@njit(error_model="numpy")
def _launch(net: Net, r: int, time: float) -> None:
    """Queue the next packet of route r, if there is one, for its first link."""
    route = net.routes[r]
    stock = net.stocks[route.stock]
    if stock.packets == 0:
        return
    stock.packets -= 1
    p = _allocate(net.packets, 2 * len(net.links))
    packet = net.packets[p]
    packet.time, packet.route, packet.hop = time, r, route.first
    packet.nbytes = net.packet_bytes if stock.packets else stock.last_nbytes
    _enqueue(net, p, net.hops[route.first])


@njit(error_model="numpy")
def _allocate(packets: np.ndarray, unused: int) -> int:
    p = packets[unused].next
    packets[unused].next = packets[p].next
    packets[unused].nbytes -= 1
    return int(p)


@njit(error_model="numpy")
def _release(packets: np.ndarray, unused: int, p: int) -> None:
    packets[p].next = packets[unused].next
    packets[unused].next = p
    packets[unused].nbytes += 1


@njit(error_model="numpy")
def _unlink(packets: np.ndarray, p: int) -> int:
    """Take a packet out of its circular list."""
    before, behind = packets[p].previous, packets[p].next
    packets[before].next, packets[behind].previous = behind, before
    return p


@njit(error_model="numpy")
def _enqueue(net: Net, p: int, head: int) -> None:
    """Insert a packet into a list of a link, in order of time, and wake the link if need be."""
    links, tree, packets, routes = net.links, net.tree, net.packets, net.routes
    # From the end, because nearly all packets come last.
    packet, before = packets[p], packets[head].previous
    while before != head and _later(routes, packets[before], packet):
        before = packets[before].previous
    packet.previous, packet.next = before, packets[before].next
    packets[packet.next].previous = p
    packets[before].next = p
    j = head % len(links)
    # Behind others it changes nothing, unless these lack room and it can overtake them.
    if before == head or links[j].room < np.inf:
        start = max(links[j].free, packet.time)
        if start < tree[len(tree) // 2 + j]:
            _schedule(tree, j, start)


@njit(error_model="numpy")
def _schedule(tree: np.ndarray, j: int, time: float) -> None:
    """Set the next start of link j; ``tree[k]`` is the earlier one of its two children."""
    k = len(tree) // 2 + j
    tree[k] = time
    while k > 1:
        k //= 2
        earliest = min(tree[2 * k], tree[2 * k + 1])
        if tree[k] == earliest:
            return
        tree[k] = earliest


@njit(error_model="numpy")
def _later(routes: np.ndarray, a: np.record, b: np.record) -> bool:
    """Whether packet a queues behind b: by time, then more links passed first, then by route."""
    if a.time != b.time:
        return bool(a.time > b.time)
    passed_a, passed_b = a.hop - routes[a.route].first, b.hop - routes[b.route].first
    if passed_a != passed_b:
        return bool(passed_a < passed_b)
    return bool(a.route > b.route)
