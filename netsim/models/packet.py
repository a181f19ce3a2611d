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

With ``arrival="head"`` a packet goes on, and counts, as soon as its head is there, as in SST; it
keeps links busy all the same. So a message takes no time for its last packet. ``header_bytes``
more are sent ahead of each: where they fill a packet of their own, this is the one.

Links may be token buckets, as rate limits of operating systems are, if ``bucket`` is given. Then,
too, a packet leaves when its time on the link begins, and a link at rest saves up so many seconds
(none: that is ``arrival="head"``):

    start_l  = max(comes_l, end of the packet before it)
    end_l    = max(end of the packet before it, comes_l - bucket) + time_l
    comes_l' = start_l + hop_latency_l, and behind the last link out

Left out: arbitration among inputs, virtual channels; headers; what a node spends on receiving;
queues beyond the first link in the adaptive choice.

Use it where time and place decide: vectors of a few KiB a rank on long dimensions, whose messages
pass a link one after the other and never meet; adaptive ties; ranks out of step. It costs an event
for every packet and link, 10^7 of them a few seconds.
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from netsim.checks import DeadlockError
from netsim.models.events import (
    GROUP,
    LINK,
    MESSAGE,
    STOCK,
    WAY,
    Net,
    flits,
    pool,
    run,
    settle,
    with_room,
)
from netsim.traffic.messages import Messages
from swing.torus import Array

MAX_VISITS = 10**10
"""Links that packets pass, all together; ten million take a few seconds."""


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
            without links, a buffer for less than two packets, more than `MAX_VISITS` packets on
            links, messages or full buffers that wait for each other.
    """
    if not packet_bytes > 0:
        raise ValueError(f"packet_bytes must be above 0, not {packet_bytes}")
    flit = float(flit_bytes) or 1.0
    room = np.inf if buffer_bytes is None else buffer_bytes // flit
    if room < 2 * flits(packet_bytes, flit):
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
    groups, waiting = _groups(messages)
    table, ways, stocks = _stocks(messages, packet_bytes, adaptive)
    table["node"] = len(bandwidth) + messages.src
    nlinks = len(bandwidth) + (1 + int(messages.src.max(initial=0)) if message_overhead else 0)
    links = np.zeros(nlinks, dtype=LINK)
    links["bandwidth"][: len(bandwidth)], links["latency"][: len(bandwidth)] = (
        bandwidth, hop_latency,
    )  # fmt: skip
    links["room"] = room
    links["free"] = 0.0 - (bucket or 0.0)
    if buffer_bytes is not None:
        credit = hop_latency if credit_latency is None else credit_latency
        links["credit"][: len(credit)] = credit
        links["ring"] = _rings(ways, messages.links, nlinks)
    net = Net(
        links=links,
        tree=np.full(2 << (nlinks - 1).bit_length(), np.inf),
        packets=pool(nlinks),
        messages=table,
        ways=ways,
        hops=messages.links,
        stocks=stocks,
        groups=groups,
        waiting=waiting,
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
    net = with_room(net)
    for group in np.flatnonzero(groups["waits"] == 0):
        groups["waits"][group] = 1
        settle(net, int(group), 0.0)
    while not run(net):
        net = with_room(net)
    if (net.packets["next"][:nlinks] != np.arange(nlinks)).any():
        raise DeadlockError(
            "full buffers wait for each other for ever: raise buffer_bytes, or use another model"
        )
    if table["inside"].any():
        step = int(messages.step[table["inside"] > 0].min())
        raise ValueError(f"messages of step {step} never start: they wait for each other")
    arrival: np.ndarray = table["arrival"].copy()
    return arrival


def _check_visits(messages: Messages, packet_bytes: float) -> None:
    """Refuse what would take hours."""
    packets = np.repeat(np.maximum(messages.nbytes / packet_bytes, 1), np.diff(messages.way_ptr))
    visits = float((packets * messages.share) @ np.diff(messages.link_ptr))
    if visits > MAX_VISITS:
        raise ValueError(
            f"packets would pass about {visits:.0e} links, more than {MAX_VISITS:.0e}: raise "
            "packet_bytes or use model='flow'"
        )


def _groups(messages: Messages) -> tuple[np.ndarray, Array]:
    """The table of groups, and the messages that they gate.

    There is one more group, done at time 0, for messages that wait for none.
    """
    n = len(messages.pending_count)
    waits_for = np.where(messages.waits_for < 0, n, messages.waits_for)
    ends = np.append(0, np.cumsum(np.bincount(waits_for, minlength=n + 1)))
    groups = np.zeros(n + 1, dtype=GROUP)
    groups["waits"][:n], groups["successor"] = (
        messages.pending_count,
        np.append(messages.successor, -1),
    )
    groups["first"], groups["last"] = ends[:-1], ends[1:]
    return groups, np.argsort(waits_for, kind="stable")


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
    table = np.zeros(m, dtype=MESSAGE)
    for name in ("ready", "cost", "signals"):
        table[name] = getattr(messages, name)
    table["inside"] = table["before"] = count
    table["way"], table["ways"] = start, np.diff(messages.way_ptr)
    message = np.repeat(np.arange(m), table["ways"])
    ways = np.zeros(len(message), dtype=WAY)
    ways["message"], ways["stock"] = message, message if adaptive else np.arange(len(ways))
    ways["first"], ways["last"] = messages.link_ptr[:-1], messages.link_ptr[1:] - 1
    stocks = np.zeros(m if adaptive else len(ways), dtype=STOCK)
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


def _ahead(net: Net) -> np.ndarray:
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
