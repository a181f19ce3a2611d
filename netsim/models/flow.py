"""Flow: every message is a fluid; those on a link at the same time share it, max-min fairly.

A message starts when the group that gates it is done, at time t_0, and goes its way w (t_0 is
``message_overhead`` later, and as much after the message before it, where a node works for each):

    until t_0 + latency_w   its first byte travels; it takes no bandwidth yet
    then                    d(left)/dt = -rate_w,  left = share_w·nbytes at first
    left = 0                it has arrived; `cost` seconds later it counts for its groups

``local``: its bytes leave at once and the last one travels,

    from t_0 on             d(left)/dt = -rate_w
    left = 0                it has left its node, which counts for the sender's group
    latency_w later         it has arrived, which counts for the receiver's

A message with several ways has arrived when the last of its shares has. The rates are the only
ones for which every flow f crosses a full link on which no other is faster:

    Σ over flows on link l of rate ≤ B_l for every l
    for every f some l on its way:  Σ rate on l = B_l  and  rate_f = max rate on l

They are found by progressive filling: the link with the smallest share B_l / n_l gives it to
its flows, these take it from all other links, and so on. That is done at every moment at which
flows start or end, but only for the flows that a chain of shared links connects to them: a moment
costs O(links they pass), plus a logarithm. Events closer than 1e-12 of the time are one moment,
so that thousands of equal flows of a symmetric schedule cost one, and in whatever order they come.

Left out: queues and packets (a fluid is on all links of its way at once, a short message on one
after the other), headers, protocols that are not fair. What limits the ends of a way, such as
injection bandwidth, counts if it is a link of the way.

Use it where the analytic model's lockstep is wrong: ranks that do not wait for each other, skewed
starts, slow links, irregular patterns. For symmetric schedules both agree. It takes a second or
two for 10^6 messages that tie, some 30 µs for one that ties with no other and is connected to a
hundred; where all flows are connected and none tie its cost is quadratic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsim.traffic.messages import Messages
from swing.compilation import njit
from swing.torus import Array

_TIE = 1 + 1e-12
_WAITS, _FLOWS, _UNSET, _LEFT, _REDUCED = range(5)  # a way; unset: its rate is being found


def flow_times(
    messages: Messages,
    bandwidth: np.ndarray,
    message_overhead: float = 0.0,
    local: bool = False,
) -> np.ndarray:
    """When every message has arrived.

    Args:
        messages: what is sent over which links, and what waits for what.
        bandwidth: (nlinks,) bytes per second.
        message_overhead: seconds that a node spends on each message it sends.
        local: whether a message counts for the second group that it feeds as soon as it has left.

    Returns:
        (m,) seconds.

    Raises:
        ValueError: a link on some way without bandwidth, messages that wait for each other.
    """
    uses = np.bincount(messages.links, minlength=len(bandwidth))
    dead = np.flatnonzero((uses > 0) & ~((bandwidth > 0) & np.isfinite(bandwidth)))
    if len(dead):
        raise ValueError(f"link {dead[0]} is used: its bandwidth must be above 0 and finite")
    ways = np.diff(messages.way_ptr)
    nways, nlinks = len(messages.share), len(bandwidth)
    net = _Net(
        link_ptr=messages.link_ptr,
        links=messages.links,
        nbytes=messages.share * np.repeat(messages.nbytes, ways) * (np.diff(messages.link_ptr) > 0),
        rate=np.zeros(nways),
        stage=np.full(nways, _WAITS, np.uint8),
        bandwidth=bandwidth.astype(float),
        slot=_starts(uses),
        users=np.zeros(nlinks, np.int64),
        flows=np.empty(len(messages.links), np.int64),
        room=np.empty(nlinks),
        open=np.empty(nlinks, np.int64),
        changed=np.zeros(nlinks, np.bool_),
        queue=np.empty(nlinks, np.int64),
        queued=np.zeros(1, np.int64),
    )
    # Messages that nothing gates are gated by one more group, to which none belongs.
    pending_count, successor = (
        np.append(messages.pending_count, 0),
        np.append(messages.successor, -1),
    )
    waits_for = messages.waits_for % len(pending_count)
    message = np.repeat(np.arange(len(messages)), ways)
    order = _Order(
        waiting=np.argsort(waits_for, kind="stable"),
        waiting_ptr=_starts(np.bincount(waits_for, minlength=len(pending_count))),
        ready=messages.ready,
        signals=messages.signals,
        pending_count=pending_count,
        successor=successor,
        begin=np.flatnonzero(pending_count == 0),
        way_ptr=messages.way_ptr,
        src=messages.src,
        free=np.zeros(1 + int(messages.src.max(initial=0))),
        overhead=np.array([float(message_overhead)]),
        before=np.zeros(nways) if local else messages.latency,
        after=messages.latency if local else np.zeros(nways),
        unsent=ways.copy(),
        missing=ways,
        cost=messages.cost,
    )
    times = np.full(len(messages), np.nan)
    _run(order, net, _heap(nways), _heap(nlinks), message, times, local)
    stuck = np.isnan(times)
    if stuck.any():
        step = messages.step[stuck].min()
        raise ValueError(f"messages wait for each other: some of step {step} never arrive")
    return times


def _starts(count: Array) -> Array:
    return np.concatenate([[0], np.cumsum(count)])


class _Heap(NamedTuple):
    """Items 0, 1, … with a key each; the smallest key is on top.

    ``where`` tells the place of an item in ``items``, -1 if it is not in; ``size`` has one entry.
    """

    key: np.ndarray
    items: Array
    where: Array
    size: Array


def _heap(n: int) -> _Heap:
    return _Heap(np.empty(n), np.empty(n, np.int64), np.full(n, -1), np.zeros(1, np.int64))


@njit()
def _put(heap: _Heap, item: int, key: float) -> None:
    """Put an item in, or give it another key."""
    items, where = heap.items, heap.where
    at = where[item]
    if at < 0:
        at = heap.size[0]
        heap.size[0] += 1
    heap.key[item] = key
    while at > 0 and key < heap.key[items[(at - 1) // 2]]:
        items[at] = items[(at - 1) // 2]
        where[items[at]] = at
        at = (at - 1) // 2
    while True:
        below = 2 * at + 1
        if below + 1 < heap.size[0] and heap.key[items[below + 1]] < heap.key[items[below]]:
            below += 1
        if below >= heap.size[0] or key <= heap.key[items[below]]:
            break
        items[at] = items[below]
        where[items[at]] = at
        at = below
    items[at] = item
    where[item] = at


@njit()
def _pop(heap: _Heap) -> int:
    """Take out the item with the smallest key."""
    item = int(heap.items[0])
    heap.where[item] = -1
    heap.size[0] -= 1
    if heap.size[0]:
        last = heap.items[heap.size[0]]
        heap.where[last] = 0
        _put(heap, last, heap.key[last])
    return item


class _Net(NamedTuple):
    """Ways, links, and the flows that are on them now.

    Those on link l are among ``flows[slot[l]] … flows[slot[l] + users[l] - 1]``; ways that are
    through leave the list when `_connected` comes by.
    """

    link_ptr: Array  # of every way, like nbytes, rate and stage
    links: Array
    nbytes: np.ndarray
    rate: np.ndarray  # 0 before it flows
    stage: np.ndarray
    bandwidth: np.ndarray  # of every link, like slot, users, room, open and changed
    slot: Array
    users: Array
    flows: Array
    room: np.ndarray  # bandwidth that is not given away yet
    open: Array  # flows that wait for their part of it
    changed: np.ndarray  # whether it is in queue
    queue: Array  # links whose flows have changed
    queued: Array  # (1,) how many


@njit()
def _change(net: _Net, way: int) -> None:
    """A way begins or ends to flow: the flows of its links have changed."""
    for link in net.links[net.link_ptr[way] : net.link_ptr[way + 1]]:
        if net.stage[way] == _FLOWS:
            net.flows[net.slot[link] + net.users[link]] = way
            net.users[link] += 1
        if not net.changed[link]:
            net.changed[link] = True
            net.queue[net.queued[0]] = link
            net.queued[0] += 1


@njit()
def _connected(net: _Net) -> int:
    """Queue all links that flows connect to those in the queue, and unset the flows' rates."""
    link_ptr, links, _, _, stage = net[:5]  # once: numba counts references to arrays
    _, slot, users, flows, _, _, changed, queue, queued = net[5:]
    at = 0
    while at < queued[0]:
        link = queue[at]
        at += 1
        first = last = slot[link]
        for way in flows[first : first + users[link]]:
            if stage[way] == _FLOWS:
                stage[way] = _UNSET
                for other in links[link_ptr[way] : link_ptr[way + 1]]:
                    if not changed[other]:
                        changed[other] = True
                        queue[queued[0]] = other
                        queued[0] += 1
            if stage[way] == _UNSET:
                flows[last] = way
                last += 1
        users[link] = last - first
    return at


@njit()
def _share(net: _Net, events: _Heap, fair: _Heap, now: float) -> None:
    """Share the links anew among the flows that are connected to those that have changed."""
    connected = _connected(net)
    link_ptr, links, nbytes, rate, stage = net[:5]
    bandwidth, slot, users, flows, room, open_, changed, queue, queued = net[5:]
    queued[0] = 0
    for link in queue[:connected]:
        changed[link] = False
        if users[link]:
            room[link], open_[link] = bandwidth[link], users[link]
            _put(fair, link, bandwidth[link] / users[link])
    level = 0.0
    while fair.size[0]:
        link = _pop(fair)
        if open_[link] == 0:
            continue
        part = room[link] / open_[link]
        if part > fair.key[link] * _TIE:  # some of its flows have taken less since
            _put(fair, link, part)
            continue
        if part > level * _TIE:
            level = part
        for way in flows[slot[link] : slot[link] + users[link]]:
            if stage[way] == _UNSET:
                stage[way] = _FLOWS
                for other in links[link_ptr[way] : link_ptr[way + 1]]:
                    room[other] -= level
                    open_[other] -= 1
                before = rate[way]
                if level != before:
                    left = (events.key[way] - now) * before if before else nbytes[way]
                    rate[way] = level
                    _put(events, way, now + left / level)


class _Order(NamedTuple):
    """What waits for what: messages ``waiting[gated_ptr[g]] …`` start when group g is done."""

    waiting: Array
    waiting_ptr: Array
    pending_count: Array  # of every group, like follows: what it still waits for
    successor: Array
    begin: Array  # the groups that wait for nothing
    ready: np.ndarray  # of every message, like feeds, way_ptr, unsent, missing and cost
    signals: Array
    way_ptr: Array
    unsent: Array  # ways that it has not left on
    missing: Array  # ways on which it has not arrived
    cost: np.ndarray
    src: Array
    free: np.ndarray  # of every node: when it has worked for all messages it has sent so far
    overhead: np.ndarray  # (1,) seconds of work for a message
    before: np.ndarray  # of every way: seconds before and after it flows
    after: np.ndarray


@njit()
def _count(order: _Order, events: _Heap, group: int, now: float) -> None:
    """A group waits for one thing less; when it is done its messages start."""
    while group >= 0:
        order.pending_count[group] -= 1
        if order.pending_count[group] > 0:
            break
        for message in order.waiting[order.waiting_ptr[group] : order.waiting_ptr[group + 1]]:
            start = max(now, order.ready[message])
            if order.overhead[0]:
                start = max(start, order.free[order.src[message]]) + order.overhead[0]
                order.free[order.src[message]] = start
            for way in range(order.way_ptr[message], order.way_ptr[message + 1]):
                _put(events, way, start + order.before[way])
        group = order.successor[group]


@njit()
def _run(
    order: _Order, net: _Net, events: _Heap, fair: _Heap, message_of: Array, times: np.ndarray,
    local: bool,
) -> None:  # fmt: skip
    """Fill in the time of every message's arrival; every way has one event ahead at most."""
    stage = net.stage
    for group in order.begin:
        _count(order, events, group, 0.0)
    while events.size[0]:
        now = events.key[events.items[0]]
        while events.size[0] and events.key[events.items[0]] <= now * _TIE:
            way = _pop(events)
            message = message_of[way]
            if stage[way] == _WAITS and net.nbytes[way]:
                stage[way] = _FLOWS
                _change(net, way)
                continue
            if stage[way] <= _FLOWS:
                flowed = stage[way] == _FLOWS
                stage[way] = _LEFT
                if flowed:
                    _change(net, way)
                order.unsent[message] -= 1
                if local and order.unsent[message] == 0:
                    _count(order, events, order.signals[message, 1], now)
                if order.after[way]:
                    _put(events, way, now + order.after[way])
                    continue
            if stage[way] == _LEFT:
                order.missing[message] -= 1
                if order.missing[message]:
                    continue
                times[message] = now
                if order.cost[message]:
                    stage[way] = _REDUCED
                    _put(events, way, now + order.cost[message])
                    continue
            for k in range(1 if local else 2):
                _count(order, events, order.signals[message, k], now)
        _share(net, events, fair, now)
