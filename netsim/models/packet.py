"""Packet: discrete events; messages are cut into packets that queue for links.

A packet visits the links of its way in order. A link serves one packet at a time, first come,
first served (ties: first those that have passed more links, then by message and way), as virtual
cut-through does:

    start_l  = max(comes_l, end of the packet before it)
    end_l    = start_l + time_l,   time_l = max(bytes, flit_bytes) / bandwidth_l
    comes_l' = start_l + hop_latency_l + max(0, time_l - time_l')     at the next link l'
    out      = end_l + hop_latency_l                                  behind the last link

so an idle network adds up the latencies of the way and the packet's time on its slowest link.
(The last term: on a faster link it starts so late that it need not wait for its own tail.)

- A message of n bytes has max(1, ⌈n / packet_bytes⌉) packets, the last one shorter. It has
  arrived when all are out, and counts for its groups ``cost`` seconds later; ``local``: for the
  second one as soon as all have passed the first link of their ways.
- A message queues its next packet for the first link of its way when that has served the one
  before: messages of a node take turns, packet by packet, with each other and with those that
  pass. Injection and ejection are links like all others, if ways begin and end with them.
- A node spends ``message_overhead`` on each message that it sends, on one after the other: first
  come, first served, by number at the same time. It works as a link does that only it can use.
- Several ways each do so. Dealt: the packets are shared out among them beforehand, in proportion
  and in whole packets. Adaptive: all draw from what is left of the message, each the next packet
  when its first link begins with the one before; the one that waits less carries more.

Buffers have no bounds unless ``buffer_bytes`` is given. Then the buffer behind a link holds so many
bytes, in whole flits, and a packet starts on the link only if there is room for it, except on its
last one; the link knows of the room again ``credit_latency_l`` after the packet's start on the next
link. A packet that comes onto a ring must find room for a full one besides (the bubble rule:
packets of one size never fill a ring up); what has room overtakes what has not. Rings are all
circles of links that follow each other on ways. Where they are more tangled than rings, full
buffers may wait for each other for ever: an error says so.

Links may be token buckets, as rate limits of operating systems are, if ``bucket`` is given: a
packet leaves when its time on the link begins, and a link at rest saves up so many seconds:

    start_l  = max(comes_l, end of the packet before it)
    end_l    = max(end of the packet before it, comes_l - bucket) + time_l
    comes_l' = start_l + hop_latency_l, and behind the last link out

Left out: arbitration among inputs, virtual channels; headers; what a node spends on receiving;
queues beyond the first link in the adaptive choice.

Use it where time and place decide: vectors of a few KiB a rank on long dimensions, whose messages
pass a link one after the other and never meet; adaptive ties; ranks out of step. It costs an event
for every packet and link, 10^7 of them a few seconds.

How: what starts at time t reaches another link no sooner than t + some hop latency. So links are
handled in the order of what they start next, and each serves at once all that starts before
anything else can reach it. The result is that of a single queue of all events, bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import networkx as nx
import numpy as np
from numba import njit

from netsim.messages import Messages
from swing.torus import Array

MOST = 10**10
"""Links that packets pass, all together; ten million take a few seconds."""

_LINK = np.dtype(
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
_PACKET = np.dtype(
    [
        ("time", "f8"),  # it comes to the link
        ("nbytes", "f8"),
        ("way", "i4"),
        ("hop", "i4"),  # index into hops; -1 while its message waits for its sender
        ("next", "i4"),
        ("previous", "i4"),
    ]
)
_MESSAGE = np.dtype(
    [
        ("ready", "f8"),
        ("cost", "f8"),
        ("arrival", "f8"),
        ("sent", "f8"),
        ("inside", "i8"),  # packets that are not out yet
        ("before", "i8"),  # packets that have not passed their first link
        ("feeds", "i4", 2),
        ("way", "i4"),  # the first one
        ("ways", "i4"),
        ("node", "i8"),  # the link that stands for its sender's work
    ]
)
_WAY = np.dtype([("message", "i4"), ("first", "i4"), ("last", "i4"), ("stock", "i4")])
_STOCK = np.dtype([("packets", "i8"), ("rest", "f8")])  # not sent yet; bytes of the last one
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
    stocks: np.ndarray
    groups: np.ndarray
    gated: Array
    packet_bytes: float
    flit_bytes: float
    flit: float  # what buffers count in, in bytes
    overhead: float
    adaptive: bool
    local: bool
    shaped: bool
    bucket: float


def packet_times(
    messages: Messages,
    bandwidth: np.ndarray,
    hop_latency: np.ndarray,
    *,
    packet_bytes: float,
    flit_bytes: float = 0.0,
    message_overhead: float = 0.0,
    adaptive: bool = False,
    local: bool = False,
    buffer_bytes: float | None = None,
    bucket: float | None = None,
    credit_latency: np.ndarray | None = None,
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
        adaptive: whether the ways of a message draw from all its packets; else these are dealt.
        local: whether a message counts for the second group that it feeds as soon as it has passed
            the first link of its way.
        buffer_bytes: what the buffer behind a link holds; None for no bound.
        bucket: seconds that a link at rest saves up, where links are token buckets; else None.
        credit_latency: (nlinks,) seconds from when a packet leaves that buffer until the link
            knows; ``hop_latency`` if None.

    Returns:
        (m,) seconds.

    Raises:
        ValueError: a packet size or bandwidth that is not above 0, a negative latency, a way
            without links, a buffer for less than two packets, more than `MOST` packets on links,
            messages or full buffers that wait for each other.
    """
    if not packet_bytes > 0:
        raise ValueError(f"packet_bytes must be above 0, not {packet_bytes}")
    flit = float(flit_bytes) or 1.0
    room = np.inf if buffer_bytes is None else buffer_bytes // flit
    if room < 2 * _flits(packet_bytes, flit):
        raise ValueError(f"buffer_bytes must be two packets or more, not {buffer_bytes}")
    used = np.bincount(messages.links, minlength=len(bandwidth)) > 0
    bad = np.flatnonzero(used & ~((bandwidth > 0) & (hop_latency >= 0)))
    if len(bad):
        raise ValueError(
            f"link {bad[0]} is used: it needs a bandwidth above 0, a latency from 0 up"
        )
    if not np.diff(messages.link_ptr).all():
        raise ValueError("every way needs a link: a node sends nothing to itself")
    _check_visits(messages, packet_bytes)
    groups, gated = _groups(messages)
    table, ways, stocks = _stocks(messages, packet_bytes, adaptive)
    table["node"] = len(bandwidth) + messages.src
    nlinks = len(bandwidth) + (1 + int(messages.src.max(initial=0)) if message_overhead else 0)
    links = np.zeros(nlinks, dtype=_LINK)
    links["bandwidth"][: len(bandwidth)], links["latency"][: len(bandwidth)] = (
        bandwidth, hop_latency,
    )  # fmt: skip
    links["room"] = room
    links["free"] = 0.0 - (bucket or 0.0)
    if buffer_bytes is not None:
        credit = hop_latency if credit_latency is None else credit_latency
        links["credit"][: len(credit)] = credit
        links["ring"] = _rings(ways, messages.links, nlinks)
    net = _Net(
        links=links,
        tree=np.full(2 << (nlinks - 1).bit_length(), np.inf),
        packets=_pool(nlinks),
        messages=table,
        ways=ways,
        hops=messages.links,
        stocks=stocks,
        groups=groups,
        gated=gated,
        packet_bytes=float(packet_bytes),
        flit_bytes=float(flit_bytes),
        flit=flit,
        overhead=float(message_overhead),
        adaptive=adaptive,
        local=local,
        shaped=bucket is not None,
        bucket=bucket or 0.0,
    )
    links["ahead"] = _ahead(net)
    net = _with_room(net)
    for group in np.flatnonzero(groups["waits"] == 0):
        groups["waits"][group] = 1
        _settle(net, int(group), 0.0)
    while not _run(net):
        net = _with_room(net)
    if (net.packets["next"][:nlinks] != np.arange(nlinks)).any():
        raise ValueError("full buffers wait for each other for ever: raise buffer_bytes")
    if table["inside"].any():
        step = int(messages.step[table["inside"] > 0].min())
        raise ValueError(f"messages of step {step} never start: they wait for each other")
    arrival: np.ndarray = table["arrival"].copy()
    return arrival


def _check_visits(messages: Messages, packet_bytes: float) -> None:
    """Refuse what would take hours."""
    packets = np.repeat(np.maximum(messages.nbytes / packet_bytes, 1), np.diff(messages.way_ptr))
    visits = float((packets * messages.share) @ np.diff(messages.link_ptr))
    if visits > MOST:
        raise ValueError(
            f"packets would pass about {visits:.0e} links, more than {MOST:.0e}: raise "
            "packet_bytes or use model='flow'"
        )


def _groups(messages: Messages) -> tuple[np.ndarray, Array]:
    """The table of groups, and the messages that they gate.

    There is one more group, done at time 0, for messages that wait for none.
    """
    n = len(messages.need)
    gate = np.where(messages.gate < 0, n, messages.gate)
    ends = np.append(0, np.cumsum(np.bincount(gate, minlength=n + 1)))
    groups = np.zeros(n + 1, dtype=_GROUP)
    groups["waits"][:n], groups["follows"] = messages.need, np.append(messages.follows, -1)
    groups["first"], groups["last"] = ends[:-1], ends[1:]
    return groups, np.argsort(gate, kind="stable")


def _stocks(
    messages: Messages, packet_bytes: float, adaptive: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables of messages and of ways, and the stocks of packets that ways draw from.

    Adaptive ways share the message's. Else a way gets its share, rounded down; what is left goes
    to those furthest behind, and the short packet to one that has the most.
    """
    m, start = len(messages), messages.way_ptr[:-1]
    # Fractions of a byte that do not quite add up are no packet.
    count = np.maximum(np.ceil(messages.nbytes / packet_bytes - 1e-9), 1).astype(np.int64)
    rest = messages.nbytes - (count - 1) * packet_bytes
    table = np.zeros(m, dtype=_MESSAGE)
    for name in ("ready", "cost", "feeds"):
        table[name] = getattr(messages, name)
    table["inside"] = table["before"] = count
    table["way"], table["ways"] = start, np.diff(messages.way_ptr)
    message = np.repeat(np.arange(m), table["ways"])
    ways = np.zeros(len(message), dtype=_WAY)
    ways["message"], ways["stock"] = message, message if adaptive else np.arange(len(ways))
    ways["first"], ways["last"] = messages.link_ptr[:-1], messages.link_ptr[1:] - 1
    stocks = np.zeros(m if adaptive else len(ways), dtype=_STOCK)
    if adaptive:
        stocks["packets"], stocks["rest"] = count, rest
        return table, ways, stocks
    due = messages.share * count[message]
    packets = np.floor(due + 1e-9).astype(np.int64)
    left = count - np.bincount(message, packets, m).astype(np.int64)
    behind = np.lexsort((packets - due, message))
    packets[behind] += np.arange(len(ways)) - start[message] < left[message]
    stocks["packets"], stocks["rest"] = packets, packet_bytes
    stocks["rest"][np.lexsort((-packets, message))[start]] = rest
    return table, ways, stocks


def _ahead(net: _Net) -> np.ndarray:
    """(nlinks,) the least time from a start of service elsewhere until it can reach a link."""
    links, ways, hops, message = net.links, net.ways, net.hops, net.messages[net.ways["message"]]
    first, last = hops[ways["first"]], hops[ways["last"]]
    inner = np.delete(np.arange(len(hops)), ways["first"])
    ahead = np.full(len(links), np.inf)
    np.minimum.at(ahead, hops[inner], links["latency"][hops[inner - 1]])
    begins = [links["latency"][last] + message["cost"]]  # a message has arrived
    if net.local:
        least = np.minimum(net.stocks["rest"][ways["stock"]], net.packet_bytes)
        spent = np.maximum(least, net.flit_bytes) / links["bandwidth"][first]
        begins += [np.maximum(spent - net.bucket, 0)]
    soonest = np.min(begins, initial=np.inf)
    if net.overhead:
        ahead[net.messages["node"]] = soonest
        soonest = net.overhead
    ahead[first] = np.minimum(ahead[first], soonest)
    if (links["room"] < np.inf).any():
        ahead = np.minimum(ahead, links["credit"])
    if net.adaptive:  # ways of a message draw in the order of events
        ahead[first[message["ways"] > 1]] = 0
    return ahead


def _rings(ways: np.ndarray, hops: Array, nlinks: int) -> Array:
    """(nlinks,) a number for all links on one circle of links that follow each other on ways."""
    inner = np.delete(np.arange(len(hops)), ways["first"])
    pairs = np.unique(hops[inner - 1] * nlinks + hops[inner])
    graph: nx.DiGraph[int] = nx.DiGraph(np.stack(np.divmod(pairs, nlinks), axis=1).tolist())
    ring = np.full(nlinks, -1)
    for number, links in enumerate(nx.strongly_connected_components(graph)):
        if len(links) > 1:
            ring[list(links)] = number
    return ring


def _pool(nlinks: int) -> np.ndarray:
    """No packets; the circles of `_run`."""
    packets = np.zeros(2 * nlinks + 1, dtype=_PACKET)
    packets["time"] = np.inf
    packets["next"][:-1] = packets["previous"][:-1] = np.arange(2 * nlinks)
    return packets


def _with_room(net: _Net) -> _Net:
    """The same with half as many packets more, and more than one event may need."""
    old, more = len(net.packets), max(len(net.packets) // 2, 2 * len(net.ways) + 3)
    packets = np.concatenate([net.packets, np.zeros(more, dtype=_PACKET)])
    unused = packets[2 * len(net.links)]
    packets["next"][old:] = np.arange(old + 1, old + more + 1)
    packets["next"][-1] = unused["next"]
    unused["next"] = old
    unused["nbytes"] += more
    return net._replace(packets=packets)


@njit(cache=True, error_model="numpy")
def _run(net: _Net) -> bool:
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
                packets[slot].nbytes = _flits(packet.nbytes, net.flit)
                _enqueue(net, slot, nlinks + back)
            if hop < way.last:
                onward = hops[hop + 1]
                link.room -= _flits(packet.nbytes, net.flit)
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
                    _settle(net, message.feeds[0], message.arrival + message.cost)
                    if not net.local:
                        _settle(net, message.feeds[1], message.arrival + message.cost)
            if hop == way.first:
                passed = max(link.free, time)
                _launch(net, w, passed)
                message.sent = max(message.sent, passed)
                message.before -= 1
                if net.local and message.before == 0:
                    _settle(net, message.feeds[1], message.sent)
            time = max(link.free, packets[queue.next].time)
        _due(tree, j, time)
    return True


@njit(cache=True, error_model="numpy")
def _need(net: _Net, packet: np.record) -> float:
    """For how many flits there must be room behind the link that a packet comes to."""
    links, hops, hop, way = net.links, net.hops, packet.hop, net.ways[packet.way]
    if hop < 0 or hop == way.last:
        return 0.0
    ring = links[hops[hop]].ring
    enters = ring >= 0 and (hop == way.first or links[hops[hop - 1]].ring != ring)
    own = _flits(packet.nbytes, net.flit)
    return own + _flits(net.packet_bytes, net.flit) if enters else own


@njit(cache=True, error_model="numpy")
def _flits(nbytes: float, flit: float) -> float:
    return float(max(np.ceil(nbytes / flit - 1e-9), 1.0))


@njit(cache=True, error_model="numpy")
def _settle(net: _Net, g: int, time: float) -> None:
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
            begin = max(time, message.ready)
            if net.overhead:
                p = _take(net.packets, 2 * len(net.links))
                packet = net.packets[p]
                packet.time, packet.way, packet.hop = begin, message.way, -1
                _enqueue(net, p, message.node)
                continue
            for w in range(message.way, message.way + message.ways):
                _launch(net, w, begin)
        g = group.follows


@njit(cache=True, error_model="numpy")
def _launch(net: _Net, w: int, time: float) -> None:
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


@njit(cache=True, error_model="numpy")
def _take(packets: np.ndarray, unused: int) -> int:
    p = packets[unused].next
    packets[unused].next = packets[p].next
    packets[unused].nbytes -= 1
    return int(p)


@njit(cache=True, error_model="numpy")
def _give(packets: np.ndarray, unused: int, p: int) -> None:
    packets[p].next = packets[unused].next
    packets[unused].next = p
    packets[unused].nbytes += 1


@njit(cache=True, error_model="numpy")
def _cut(packets: np.ndarray, p: int) -> int:
    """Take a packet out of its circle."""
    before, behind = packets[p].previous, packets[p].next
    packets[before].next, packets[behind].previous = behind, before
    return p


@njit(cache=True, error_model="numpy")
def _enqueue(net: _Net, p: int, circle: int) -> None:
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


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def _later(ways: np.ndarray, a: np.record, b: np.record) -> bool:
    if a.time != b.time:
        return bool(a.time > b.time)
    passed_a, passed_b = a.hop - ways[a.way].first, b.hop - ways[b.way].first
    if passed_a != passed_b:
        return bool(passed_a < passed_b)
    return bool(a.way > b.way)
