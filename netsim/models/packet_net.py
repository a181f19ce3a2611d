"""Build the tables of the packet model from messages, links and the rules of nodes and routers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsim.models import packet_tables as tables
from netsim.traffic.messages import Links, Messages
from swing.torus import Array


@dataclass(frozen=True)
class PacketRules:
    """The costs of nodes and routers, see the module; those of links are in `Links`.

    Args:
        packet_bytes: size of a full packet.
        flit_bytes: unit in which packets occupy links, crossbars and buffers; 0 for bytes.
        message_overhead: seconds that a node spends on each message it posts.
        packet_gap: seconds between the packets of a message at the door.
        injection_bandwidth: bytes per second of every door; None for no limit.
        ejection_bandwidth: bytes per second from a router to its node; None for no limit.
        injection_latency: seconds from a door until the head is at the router's crossbar.
        ejection_latency: seconds from a router to its node.
        crossbar_bandwidth: bytes per second of an input or output of a crossbar; None for no limit.
        arbitration: a rule of `netsim.network.ARBITRATIONS`.
        virtual_channels: 1, or 2 with a change of channel at coordinate 0 of every ring.
        buffer_bytes: capacity of a buffer, per virtual channel; None for no bound.
        adaptive: whether packets choose between the routes of their message.
        local: whether a message signals its second group when it has passed the door.
        bucket: seconds of service that an idle link saves up, if links are token buckets; None if
            they are not.
    """

    packet_bytes: float
    flit_bytes: float = 0.0
    message_overhead: float = 0.0
    packet_gap: float = 0.0
    injection_bandwidth: float | None = None
    ejection_bandwidth: float | None = None
    injection_latency: float = 0.0
    ejection_latency: float = 0.0
    crossbar_bandwidth: float | None = None
    arbitration: str = "least_recent"
    virtual_channels: int = 1
    buffer_bytes: float | None = None
    adaptive: bool = False
    local: bool = False
    bucket: float | None = None

    def in_flits(self, nbytes: np.ndarray) -> np.ndarray:
        """Sizes rounded up to whole flits, at least one."""
        if not self.flit_bytes:
            return nbytes
        # The tolerance keeps rounding errors of a division from costing a flit.
        return np.maximum(np.ceil(nbytes / self.flit_bytes - 1e-9), 1.0) * self.flit_bytes


def net_of(messages: Messages, links: Links, rules: PacketRules) -> tables.Net:
    """The tables of `netsim.models.events` before anything has happened."""
    groups, waiting = _groups(messages)
    table, routes, hops = _messages(messages, links, rules)
    records = _links(links, rules)
    routers, slots = _routers(records, links, rules)
    slowest = records["latency"][records["kind"] == tables.EJECTION].min(initial=np.inf)
    routers["lookahead"] = np.minimum(
        routers["lookahead"], slowest + messages.cost.min(initial=np.inf)
    )
    queues = np.zeros((2, len(records) * rules.virtual_channels), dtype=tables.QUEUE)
    queues["first"] = queues["last"] = -1
    queues["room"] = np.inf if rules.buffer_bytes is None else rules.buffer_bytes
    # At first, the inputs of a router are served in the order of their slots.
    entering = np.flatnonzero(slots["queue"] >= 0)
    queues[1]["served"][slots["queue"][entering]] = entering - len(slots)
    packets, unused = tables.new_pool()
    return tables.Net(
        links=records,
        outputs=queues[0],
        inputs=queues[1],
        routers=routers,
        slots=slots,
        wake=np.full(len(slots), np.inf),
        tree=np.full(2 << (len(routers) - 1).bit_length(), np.inf),
        packets=packets,
        unused=unused,
        messages=table,
        routes=routes,
        hops=hops,
        sender_free=np.zeros(1 + int(table["pair"].max(initial=0))),
        groups=groups,
        waiting=waiting,
        channels=rules.virtual_channels,
        packet_bytes=float(rules.in_flits(np.array(rules.packet_bytes))),
        flit_bytes=float(rules.flit_bytes),
        overhead=float(rules.message_overhead),
        gap=float(rules.packet_gap),
        adaptive=rules.adaptive,
        local=rules.local,
        oldest=rules.arbitration == "oldest",
        shaped=rules.bucket is not None,
        bucket=rules.bucket or 0.0,
    )


def _groups(messages: Messages) -> tuple[np.ndarray, Array]:
    """The table of groups, and the messages sorted by the group that they wait for.

    One more group, done at time 0, is added for the messages that wait for none.
    """
    n = len(messages.pending_count)
    waits_for = np.where(messages.waits_for < 0, n, messages.waits_for)
    ends = np.append(0, np.cumsum(np.bincount(waits_for, minlength=n + 1)))
    groups = np.zeros(n + 1, dtype=tables.GROUP)
    groups["pending_count"][:n] = messages.pending_count
    groups["successor"] = np.append(messages.successor, -1)
    groups["first"], groups["last"] = ends[:-1], ends[1:]
    return groups, np.argsort(waits_for, kind="stable")


def _messages(
    messages: Messages, links: Links, rules: PacketRules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables of messages, of routes, and of the links of all routes with their channels.

    Every route begins with the door of its sender, and ends with the link to its receiver.
    """
    m = len(messages)
    # The tolerance keeps sums of fractional bytes, a little too large, from costing a packet.
    count = np.ceil(messages.nbytes / rules.packet_bytes - 1e-9)
    count = np.maximum(count, 1).astype(np.int64)
    table = np.zeros(m, dtype=tables.MESSAGE)
    for name in ("ready", "cost", "signals", "src", "step"):
        table[name] = getattr(messages, name)
    table["not_arrived"] = table["not_sent"] = count
    table["last_nbytes"] = rules.in_flits(messages.nbytes - (count - 1) * rules.packet_bytes)
    table["first_route"] = messages.route_ptr[:-1]
    table["nroutes"] = np.diff(messages.route_ptr)
    pairs = messages.src * (1 + messages.peer.max(initial=0)) + messages.peer
    table["pair"] = np.unique(pairs, return_inverse=True)[1].reshape(m)
    message = np.repeat(np.arange(m), table["nroutes"])
    routes = np.zeros(len(message), dtype=tables.ROUTE)
    routes["message"] = message
    if rules.adaptive:
        routes["packets"][table["first_route"]] = count
    else:
        routes["packets"] = _dealt(messages, message, count)
    ptr = messages.link_ptr + 2 * np.arange(len(messages.link_ptr))
    routes["first"] = ptr[:-1]
    nhops = np.diff(messages.link_ptr)
    hops = np.empty(ptr[-1], dtype=tables.HOP)
    inner = np.arange(len(messages.links)) + 2 * np.repeat(np.arange(len(nhops)), nhops) + 1
    hops["link"][inner] = messages.links
    hops["link"][ptr[:-1]] = len(links.bandwidth) + messages.src[message]
    hops["link"][ptr[1:] - 1] = len(links.bandwidth) + links.nodes + messages.dst[message]
    changes = np.zeros(len(hops), dtype=np.int64)
    if rules.virtual_channels > 1:
        changes[inner] = links.dateline[messages.links]
        changes[ptr[:-1] + 1] = 0  # only packets from a neighbour change their channel
    total = np.cumsum(changes)
    channel = (total - np.repeat(total[ptr[:-1]], nhops + 2)) % 2
    hops["queue"] = hops["link"] * rules.virtual_channels + channel
    return table, routes, hops


def _dealt(messages: Messages, message: Array, count: Array) -> Array:
    """(w,) packets of each route: its share, and no route more than one packet off.

    Shares are rounded down; the packets that remain go to the routes that this has cost the most.
    """
    exact = messages.share * count[message]
    packets: Array = np.floor(exact + 1e-9).astype(np.int64)
    undealt = count - np.bincount(message, packets, len(count)).astype(np.int64)
    by_loss = np.lexsort((packets - exact, message))
    place = np.arange(len(message)) - messages.route_ptr[:-1][message]
    packets[by_loss] += place < undealt[message]
    return packets


def _links(links: Links, rules: PacketRules) -> np.ndarray:
    """The table of links: those between routers, the doors, and the links from routers to nodes."""
    n, first = links.nodes, len(links.bandwidth)
    records = np.zeros(first + 2 * n, dtype=tables.LINK)
    doors, ejections = records[first : first + n], records[first + n :]
    for column, name in (("bandwidth", "bandwidth"), ("delay", "latency"), ("credit", "credit"),
                         ("tail", "tail"), ("head", "head")):  # fmt: skip
        records[name][:first] = getattr(links, column)
    for end, kind, rate, latency in (
        (doors, tables.DOOR, rules.injection_bandwidth, rules.injection_latency),
        (ejections, tables.EJECTION, rules.ejection_bandwidth, rules.ejection_latency),
    ):
        end["kind"], end["bandwidth"] = kind, np.inf if rate is None else rate
        end["latency"] = end["credit"] = latency
        end["tail"] = end["head"] = np.arange(n)
    records["free"] = 0.0 - (rules.bucket or 0.0)  # token buckets are full at the start
    records["first_credit"] = -1
    return records


def _routers(
    records: np.ndarray, links: Links, rules: PacketRules
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of routers and of their slots; see `events`."""
    count = 1 + int(max(records["tail"].max(initial=0), records["head"].max(initial=0)))
    number, nchannels = np.arange(len(records)), rules.virtual_channels
    port = np.concatenate([links.port, np.full(2 * links.nodes, np.iinfo(np.int64).max)])
    entering = np.repeat(number[records["kind"] != tables.EJECTION], nchannels)
    link = np.concatenate([number, np.full(count, -1), entering])
    router = np.concatenate([records["tail"], np.arange(count), records["head"][entering]])
    kind = np.repeat([0, 1, 2], [len(number), count, len(entering)])
    queue = np.full(len(link), -1)
    queue[len(number) + count :] = entering * nchannels
    queue[len(number) + count :] += np.tile(np.arange(nchannels), len(entering) // nchannels)
    order = np.lexsort((queue, link, np.where(link < 0, 0, port[link]), kind, router))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    records["output_slot"] = place[: len(number)]
    records["input_slot"][entering[::nchannels]] = place[len(number) + count :: nchannels]
    routers = np.zeros(count, dtype=tables.ROUTER)
    routers["post_slot"] = place[len(number) : len(number) + count]
    ends = np.cumsum(np.bincount(router, minlength=count))
    routers["first_slot"], routers["last_slot"] = np.append(0, ends[:-1]), ends
    routers["crossbar"] = np.inf
    if rules.crossbar_bandwidth is not None:
        routers["crossbar"][: links.nodes] = rules.crossbar_bandwidth
    routers["posting"] = routers["door"] = -1
    routers["door_link"][: links.nodes] = len(links.bandwidth) + np.arange(links.nodes)
    routers["lookahead"] = np.inf
    between = records[records["kind"] == tables.ROUTED]
    np.minimum.at(routers["lookahead"], between["head"], between["latency"])
    if rules.buffer_bytes is not None:
        np.minimum.at(routers["lookahead"], between["tail"], between["credit"])
    slots = np.empty(len(order), dtype=tables.SLOT)
    slots["link"], slots["queue"] = link[order], queue[order]
    return routers, slots
