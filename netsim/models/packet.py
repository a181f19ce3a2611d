"""Packet model: discrete events; messages are cut into packets that queue at links.

A packet crosses the links of its route in order. A link serves one packet at a time, first come,
first served; of packets that come at the same time, the one that has crossed more links goes
first, then the one with the lower message and route number. Switching is virtual cut-through:

    start_l  = max(comes_l, end of the packet before it)
    end_l    = start_l + time_l,   time_l = max(bytes, flit_bytes) / bandwidth_l
    comes_l' = start_l + hop_latency_l + max(0, time_l - time_l')     at the next link l'
    arrival  = end_l + hop_latency_l                                  behind the last link

On an idle network this adds up the latencies of the route and the packet's time on its slowest
link. The last term of ``comes`` delays a packet before a faster link, so that it need not wait
there for its own tail.

- A message of n bytes has max(1, ⌈n / packet_bytes⌉) packets, the last one shorter. It has arrived
  when all its packets have, and signals its groups ``cost`` seconds later. With ``local`` it
  signals the second group (the sender's) as soon as all packets have passed their first link.
- A message queues its next packet at the first link of its route when that link has served the one
  before. So messages of a node take turns, packet by packet, with each other and with transit
  traffic. Injection and ejection are ordinary links, if routes begin and end with them.
- A node spends ``message_overhead`` on each message that it sends, one after the other: first come,
  first served, ties by message number. This work is modelled as one more link that only the node
  itself uses.
- If a message has several routes, each queues one packet at a time. Normally the packets are dealt
  to the routes beforehand, whole and in proportion to the shares. With ``adaptive`` the routes
  draw from one common stock: each takes the next packet when its first link begins to serve the
  one before, so the route that waits less carries more.

Buffers are unbounded unless ``buffer_bytes`` is given. Then the buffer behind each link holds that
many bytes, in whole flits. A packet starts on a link only if the buffer behind it has room, except
on its last link. The link learns of freed room ``credit_latency_l`` after the packet has started
on the next link. A packet that enters a ring must find room for one full packet besides its own
(the bubble rule: with packets of one size a ring never fills up). A packet that fits overtakes
those that do not. Rings are the cycles in the graph of links that follow each other on routes.
Where these cycles are more tangled than rings, full buffers may block each other; that deadlock is
reported as an error.

With ``bucket`` links are token buckets, like the rate limits of operating systems. A packet leaves
as soon as its service begins, and keeps the link busy all the same; an idle link saves up tokens
for up to ``bucket`` seconds of service:

    start_l  = max(comes_l, end of the packet before it)
    end_l    = max(end of the packet before it, comes_l - bucket) + time_l
    comes_l' = start_l + hop_latency_l, and the same for arrival behind the last link

A bucket of 0 is ``Network(arrival="head")``: a packet moves on, and counts as arrived, with its
head, as in SST. The last packet of a message then adds no time of its own.

Headers (`Network.header_bytes`, one per message) are part of a message's bytes, and the latency of
its ends (`Network.end_latency`) is part of its ``cost``; `netsim.models.by_packet` adds both. The
work of its receiver is in ``cost`` already, from `netsim.traffic.message_graph`.

Left out: arbitration among the inputs of a router, virtual channels, and, in the adaptive choice,
queues beyond the first link.

Use it where the order and place of packets decide: vectors of a few KiB per rank on long
dimensions, whose messages cross a link one after the other and never meet; adaptive ties; ranks out
of step. It costs one event per packet and link; 10^7 events take a few seconds.
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from netsim.checks import DeadlockError
from netsim.models import events
from netsim.traffic.messages import Messages
from swing.torus import Array

MAX_VISITS = 10**10
"""Limit on packets times links crossed; ten million take a few seconds."""


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
    """Arrival time of every message.

    Args:
        messages: the messages, their routes and their dependencies.
        bandwidth: (nlinks,) bytes per second.
        hop_latency: (nlinks,) seconds from the start of service until the head is at the next
            link: wire, router and one flit.
        packet_bytes: size of a full packet.
        flit_bytes: size of a flit; a shorter packet takes as long as one flit.
        message_overhead: seconds that a node spends on each message it sends.
        adaptive: whether the routes of a message draw from one stock of packets; otherwise the
            packets are dealt beforehand.
        local: whether a message signals its second group as soon as it has passed the first link
            of its routes, rather than when it has arrived.
        buffer_bytes: capacity of the buffer behind each link; None for no bound.
        bucket: seconds of service that an idle link saves up, if links are token buckets; None if
            they are not.
        credit_latency: (nlinks,) seconds from when a packet leaves the buffer behind a link until
            the link learns of the room; ``hop_latency`` if None.

    Returns:
        (m,) seconds.

    Raises:
        ValueError: a packet size or bandwidth that is not above 0, a negative latency, a route
            without links, a buffer smaller than two packets, more than `MAX_VISITS` events, or
            messages that wait for each other.
        DeadlockError: full buffers that wait for each other.
    """
    if not packet_bytes > 0:
        raise ValueError(f"packet_bytes must be above 0, not {packet_bytes}")
    flit = float(flit_bytes) or 1.0
    room = np.inf if buffer_bytes is None else buffer_bytes // flit
    if room < 2 * events.flits(packet_bytes, flit):
        raise ValueError(f"buffer_bytes must be two packets or more, not {buffer_bytes}")
    used = np.bincount(messages.links, minlength=len(bandwidth)) > 0
    bad = np.flatnonzero(used & ~((bandwidth > 0) & (hop_latency >= 0)))
    if len(bad):
        raise ValueError(
            f"link {bad[0]} is used: it needs a bandwidth above 0 and a latency of 0 or above"
        )
    if not np.diff(messages.link_ptr).all():
        raise ValueError("every route needs a link: a node sends nothing to itself")
    _check_visits(messages, packet_bytes)
    groups, waiting = _groups(messages)
    table, routes, stocks = _stocks(messages, packet_bytes, adaptive)
    # Behind the real links comes one pseudo-link per node, which serializes its work on sends.
    table["sender_link"] = len(bandwidth) + messages.src
    nlinks = len(bandwidth) + (1 + int(messages.src.max(initial=0)) if message_overhead else 0)
    links = np.zeros(nlinks, dtype=events.LINK)
    links["bandwidth"][: len(bandwidth)] = bandwidth
    links["latency"][: len(bandwidth)] = hop_latency
    links["room"] = room
    links["free"] = 0.0 - (bucket or 0.0)  # token buckets are full at the start
    if buffer_bytes is not None:
        credit = hop_latency if credit_latency is None else credit_latency
        links["credit"][: len(credit)] = credit
        links["ring"] = _rings(routes, messages.links, nlinks)
    net = events.Net(
        links=links,
        tree=np.full(2 << (nlinks - 1).bit_length(), np.inf),
        packets=events.new_pool(nlinks),
        messages=table,
        routes=routes,
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
    links["lookahead"] = _lookahead(net)
    net = events.grow_pool(net)
    for group in np.flatnonzero(groups["pending_count"] == 0):
        groups["pending_count"][group] = 1  # the one event that `signal` counts
        events.signal(net, int(group), 0.0)
    while not events.run(net):
        net = events.grow_pool(net)
    if (net.packets["next"][:nlinks] != np.arange(nlinks)).any():
        raise DeadlockError(
            "deadlock: full buffers wait for each other; raise buffer_bytes, or use another model"
        )
    if table["not_arrived"].any():
        step = int(messages.step[table["not_arrived"] > 0].min())
        raise ValueError(f"messages of step {step} never start: they wait for each other")
    arrival: np.ndarray = table["arrival"].copy()
    return arrival


def _check_visits(messages: Messages, packet_bytes: float) -> None:
    """Refuse simulations that would take hours."""
    packets = np.repeat(np.maximum(messages.nbytes / packet_bytes, 1), np.diff(messages.route_ptr))
    visits = float((packets * messages.share) @ np.diff(messages.link_ptr))
    if visits > MAX_VISITS:
        raise ValueError(
            f"packets would pass about {visits:.0e} links, more than {MAX_VISITS:.0e}: raise "
            "packet_bytes or use model='flow'"
        )


def _groups(messages: Messages) -> tuple[np.ndarray, Array]:
    """The table of groups, and the messages sorted by the group that they wait for.

    One more group, done at time 0, is added for the messages that wait for none.
    """
    n = len(messages.pending_count)
    waits_for = np.where(messages.waits_for < 0, n, messages.waits_for)
    ends = np.append(0, np.cumsum(np.bincount(waits_for, minlength=n + 1)))
    groups = np.zeros(n + 1, dtype=events.GROUP)
    groups["pending_count"][:n] = messages.pending_count
    groups["successor"] = np.append(messages.successor, -1)
    groups["first"], groups["last"] = ends[:-1], ends[1:]
    return groups, np.argsort(waits_for, kind="stable")


def _stocks(
    messages: Messages, packet_bytes: float, adaptive: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables of messages and routes, and the stocks of packets that the routes draw from.

    Adaptive routes share one stock per message. Otherwise each route gets its share of the packets,
    rounded down; the packets that remain go to the routes that rounding has cost the most, and the
    short last packet goes to a route that has the most packets.
    """
    m, start = len(messages), messages.route_ptr[:-1]
    # The tolerance keeps sums of fractional bytes, a little too large, from costing a packet.
    count = np.maximum(np.ceil(messages.nbytes / packet_bytes - 1e-9), 1).astype(np.int64)
    last_nbytes = messages.nbytes - (count - 1) * packet_bytes
    table = np.zeros(m, dtype=events.MESSAGE)
    for name in ("ready", "cost", "signals"):
        table[name] = getattr(messages, name)
    table["not_arrived"] = table["not_sent"] = count
    table["first_route"], table["nroutes"] = start, np.diff(messages.route_ptr)
    message = np.repeat(np.arange(m), table["nroutes"])
    routes = np.zeros(len(message), dtype=events.ROUTE)
    routes["message"], routes["stock"] = message, message if adaptive else np.arange(len(routes))
    routes["first"], routes["last"] = messages.link_ptr[:-1], messages.link_ptr[1:] - 1
    stocks = np.zeros(m if adaptive else len(routes), dtype=events.STOCK)
    if adaptive:
        stocks["packets"], stocks["last_nbytes"] = count, last_nbytes
        return table, routes, stocks
    exact = messages.share * count[message]
    packets = np.floor(exact + 1e-9).astype(np.int64)
    undealt = count - np.bincount(message, packets, m).astype(np.int64)
    by_loss = np.lexsort((packets - exact, message))
    packets[by_loss] += np.arange(len(routes)) - start[message] < undealt[message]
    stocks["packets"], stocks["last_nbytes"] = packets, packet_bytes
    stocks["last_nbytes"][np.lexsort((-packets, message))[start]] = last_nbytes
    return table, routes, stocks


def _lookahead(net: events.Net) -> np.ndarray:
    """(nlinks,) the least time from a start of service on another link to its effect on this one.

    Such an effect is a packet that arrives, a message that starts because another one has arrived
    or left its sender, or a credit that returns.
    """
    links, routes, hops = net.links, net.routes, net.hops
    message = net.messages[routes["message"]]
    first, last = hops[routes["first"]], hops[routes["last"]]
    inner = np.delete(np.arange(len(hops)), routes["first"])  # hops that have one before them
    lookahead = np.full(len(links), np.inf)
    np.minimum.at(lookahead, hops[inner], links["latency"][hops[inner - 1]])
    delays = [links["latency"][last] + message["cost"]]  # from the last link to the next message
    if net.local:
        smallest = np.minimum(net.stocks["last_nbytes"][routes["stock"]], net.packet_bytes)
        service = np.maximum(smallest, net.flit_bytes) / links["bandwidth"][first]
        delays += [np.maximum(service - net.bucket, 0)]
    soonest = np.min(delays, initial=np.inf)
    if net.overhead:
        lookahead[net.messages["sender_link"]] = soonest
        soonest = net.overhead
    lookahead[first] = np.minimum(lookahead[first], soonest)
    if (links["room"] < np.inf).any():
        lookahead = np.minimum(lookahead, links["credit"])
    if net.adaptive:
        # Routes of one message draw from one stock, which must happen in the order of events.
        lookahead[first[message["nroutes"] > 1]] = 0
    return lookahead


def _rings(routes: np.ndarray, hops: Array, nlinks: int) -> Array:
    """(nlinks,) the number of the ring that each link is on, -1 for none.

    A ring is a strongly connected component of the graph of links that follow each other on routes.
    """
    inner = np.delete(np.arange(len(hops)), routes["first"])
    pairs = np.unique(hops[inner - 1] * nlinks + hops[inner])
    graph: nx.DiGraph[int] = nx.DiGraph(np.stack(np.divmod(pairs, nlinks), axis=1).tolist())
    ring = np.full(nlinks, -1)
    for number, links in enumerate(nx.strongly_connected_components(graph)):
        if len(links) > 1:
            ring[list(links)] = number
    return ring
