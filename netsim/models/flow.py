"""Flow model: every message is a fluid; messages on a link share its bandwidth max-min fairly.

A message starts at t_0, when the group that it waits for is done and its sender has then spent
``message_overhead`` on it; a node works on one message after the other. On each of its routes w

    until t_0 + latency_w   the first byte travels and takes no bandwidth yet
    then                    d(left)/dt = -rate_w,  where left = share_w·nbytes at first
    left = 0                it has arrived; `cost` seconds later it signals its groups

With ``local`` its bytes leave at once, and the last byte travels:

    from t_0 on             d(left)/dt = -rate_w
    left = 0                it has left its node, which signals the sender's group
    latency_w later         it has arrived, which signals the receiver's group

A message with several routes has arrived when its last share has. The max-min fair rates are the
only ones for which every flow f crosses a saturated link on which no other flow is faster:

    Σ over flows on link l of rate ≤ B_l for every l
    for every f some l on its route:  Σ rate on l = B_l  and  rate_f = max rate on l

They are found by progressive filling: the link with the smallest fair share B_l / n_l gives it to
its n_l flows, these take the same rate from all other links that they cross, and so on. This
happens whenever flows start or end, but only for the flows that a chain of shared links connects to
them; up to a logarithm, its cost is proportional to the number of links that these cross. Events
whose times differ by less than a factor of 1 + 1e-12 are simultaneous. So thousands of equal flows
of a symmetric schedule cost one such update, and the result does not depend on their order.

Left out: queues and packets (a fluid is on all links of its route at once, a short message on one
after the other), headers, and protocols that are not fair. A limit at the ends of a route, such as
injection bandwidth, counts if it is a link of the route.

Use it where the analytic model's lockstep is wrong: ranks that do not wait for each other, skewed
starts, slow links, irregular patterns. For symmetric schedules both agree. It takes a second or
two for 10^6 messages whose events coincide, and about 30 µs for one whose events coincide with
no other and that is connected to a hundred others. If all flows are connected and no events
coincide, the cost is quadratic in the number of messages.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsim.traffic.messages import Messages
from swing.compilation import njit
from swing.torus import Array

_TIE = 1 + 1e-12
"""Times and rates within this factor are equal."""
_WAITS, _FLOWS, _UNSET, _LEFT, _REDUCED = range(5)
"""Stages of a route. _UNSET: it flows, and `_share` is computing its rate. _LEFT: all is sent."""


def flow_times(
    messages: Messages, bandwidth: np.ndarray, message_overhead: float = 0.0, local: bool = False
) -> np.ndarray:
    """Arrival time of every message.

    Args:
        messages: the messages, their routes and their dependencies.
        bandwidth: (nlinks,) bytes per second.
        message_overhead: seconds that a node spends on each message it sends.
        local: whether a message signals its second group as soon as it has left its sender, rather
            than when it has arrived.

    Returns:
        (m,) seconds.

    Raises:
        ValueError: a link on some route has no bandwidth, or messages wait for each other.
    """
    uses = np.bincount(messages.links, minlength=len(bandwidth))
    dead = np.flatnonzero((uses > 0) & ~((bandwidth > 0) & np.isfinite(bandwidth)))
    if len(dead):
        raise ValueError(f"link {dead[0]} is used: its bandwidth must be above 0 and finite")
    routes_per_message = np.diff(messages.route_ptr)
    nroutes, nlinks = len(messages.share), len(bandwidth)
    nbytes = messages.share * np.repeat(messages.nbytes, routes_per_message)
    nbytes[np.diff(messages.link_ptr) == 0] = 0.0  # without links nothing limits the rate
    net = _Net(
        link_ptr=messages.link_ptr,
        links=messages.links,
        nbytes=nbytes,
        rate=np.zeros(nroutes),
        stage=np.full(nroutes, _WAITS, np.uint8),
        bandwidth=bandwidth.astype(float),
        slot=np.append(0, np.cumsum(uses)),
        users=np.zeros(nlinks, np.int64),
        flows=np.empty(len(messages.links), np.int64),
        room=np.empty(nlinks),
        open=np.empty(nlinks, np.int64),
        changed=np.zeros(nlinks, np.bool_),
        queue=np.empty(nlinks, np.int64),
        queued=np.zeros(1, np.int64),
    )
    # One more group, done at once, is added for the messages that wait for none. The modulo turns
    # their -1 into its number.
    pending_count = np.append(messages.pending_count, 0)
    successor = np.append(messages.successor, -1)
    waits_for = messages.waits_for % len(pending_count)
    waiting = np.bincount(waits_for, minlength=len(pending_count))
    message = np.repeat(np.arange(len(messages)), routes_per_message)
    order = _Order(
        waiting=np.argsort(waits_for, kind="stable"),
        waiting_ptr=np.append(0, np.cumsum(waiting)),
        ready=messages.ready,
        signals=messages.signals,
        pending_count=pending_count,
        successor=successor,
        begin=np.flatnonzero(pending_count == 0),
        route_ptr=messages.route_ptr,
        src=messages.src,
        free=np.zeros(1 + int(messages.src.max(initial=0))),
        overhead=np.array([float(message_overhead)]),
        before=np.zeros(nroutes) if local else messages.latency,
        after=messages.latency if local else np.zeros(nroutes),
        unsent=routes_per_message.copy(),
        missing=routes_per_message,
        cost=messages.cost,
    )
    times = np.full(len(messages), np.nan)
    _run(order, net, _heap(nroutes), _heap(nlinks), message, times, local)
    stuck = np.isnan(times)
    if stuck.any():
        step = messages.step[stuck].min()
        raise ValueError(f"messages wait for each other: some of step {step} never arrive")
    return times


class _Heap(NamedTuple):
    """Binary heap of the items 0, 1, …, each with a key; the smallest key is on top.

    A key can change while its item is in the heap, so each item's index is kept.
    """

    key: np.ndarray  # by item
    items: Array  # in heap order; only the first size[0] count
    where: Array  # by item: its index in items, -1 if it is not in the heap
    size: Array  # (1,) so that compiled code can change it


def _heap(n: int) -> _Heap:
    return _Heap(np.empty(n), np.empty(n, np.int64), np.full(n, -1), np.zeros(1, np.int64))


@njit()
def _put(heap: _Heap, item: int, key: float) -> None:
    """Insert an item, or change its key."""
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
    """Remove and return the item with the smallest key."""
    item = int(heap.items[0])
    heap.where[item] = -1
    heap.size[0] -= 1
    if heap.size[0]:
        last = heap.items[heap.size[0]]
        heap.where[last] = 0
        _put(heap, last, heap.key[last])
    return item


class _Net(NamedTuple):
    """Routes, links, and the flows that are on the links now.

    The flows on link l are among ``flows[slot[l]] … flows[slot[l] + users[l] - 1]``. Routes that
    are done stay there until `_connected` visits the link.
    """

    link_ptr: Array  # by route, like nbytes, rate and stage
    links: Array
    nbytes: np.ndarray
    rate: np.ndarray  # 0 before it flows
    stage: np.ndarray
    bandwidth: np.ndarray  # by link, like slot, users, room, open and changed
    slot: Array
    users: Array
    flows: Array
    room: np.ndarray  # bandwidth that is not allocated yet
    open: Array  # number of flows whose rate is not set yet
    changed: np.ndarray  # whether the link is in queue
    queue: Array  # links whose flows have changed
    queued: Array  # (1,) length of queue


@njit()
def _change(net: _Net, route: int) -> None:
    """Queue the links of a route that starts or stops flowing."""
    for link in net.links[net.link_ptr[route] : net.link_ptr[route + 1]]:
        if net.stage[route] == _FLOWS:
            net.flows[net.slot[link] + net.users[link]] = route
            net.users[link] += 1
        if not net.changed[link]:
            net.changed[link] = True
            net.queue[net.queued[0]] = link
            net.queued[0] += 1


@njit()
def _connected(net: _Net) -> int:
    """Queue all links that flows connect to the queued ones, and unset the rates of these flows.

    Returns:
        The number of links in the queue.
    """
    # Unpacked once: in the loops numba would count references to the arrays at every access.
    link_ptr, links, _, _, stage = net[:5]
    _, slot, users, flows, _, _, changed, queue, queued = net[5:]
    at = 0
    while at < queued[0]:
        link = queue[at]
        at += 1
        first = last = slot[link]
        for route in flows[first : first + users[link]]:
            if stage[route] == _FLOWS:
                stage[route] = _UNSET
                for other in links[link_ptr[route] : link_ptr[route + 1]]:
                    if not changed[other]:
                        changed[other] = True
                        queue[queued[0]] = other
                        queued[0] += 1
            # Routes in any other stage are done, and drop out of the link's list.
            if stage[route] == _UNSET:
                flows[last] = route
                last += 1
        users[link] = last - first
    return at


@njit()
def _share(net: _Net, events: _Heap, fair: _Heap, now: float) -> None:
    """Set the rates of all flows connected to the changed ones, by progressive filling."""
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
        # The key is out of date if flows that are limited elsewhere have left more for the others.
        if part > fair.key[link] * _TIE:
            _put(fair, link, part)
            continue
        # Levels within rounding count as one, so that equal flows get equal rates and tie.
        if part > level * _TIE:
            level = part
        for route in flows[slot[link] : slot[link] + users[link]]:
            if stage[route] == _UNSET:
                stage[route] = _FLOWS
                for other in links[link_ptr[route] : link_ptr[route + 1]]:
                    room[other] -= level
                    open_[other] -= 1
                before = rate[route]
                if level != before:
                    left = (events.key[route] - now) * before if before else nbytes[route]
                    rate[route] = level
                    _put(events, route, now + left / level)


class _Order(NamedTuple):
    """Dependencies, and how far they are satisfied.

    The messages ``waiting[waiting_ptr[g]] … waiting[waiting_ptr[g + 1] - 1]`` start when group g
    is done.
    """

    waiting: Array
    waiting_ptr: Array
    pending_count: Array  # by group, like successor: events that it still waits for
    successor: Array
    begin: Array  # the groups that wait for nothing
    ready: np.ndarray  # by message, like signals, route_ptr, unsent, missing, cost and src
    signals: Array
    route_ptr: Array
    unsent: Array  # routes on which it has not left its sender
    missing: Array  # routes on which it has not arrived
    cost: np.ndarray
    src: Array
    free: np.ndarray  # by node: when it has worked on all messages sent so far
    overhead: np.ndarray  # (1,) seconds of work per message
    before: np.ndarray  # by route: seconds before it flows
    after: np.ndarray  # by route: seconds after it has flowed


@njit()
def _count(order: _Order, events: _Heap, group: int, now: float) -> None:
    """Count one event that a group waits for; when it was the last, start the waiting messages."""
    while group >= 0:
        order.pending_count[group] -= 1
        if order.pending_count[group] > 0:
            break
        for message in order.waiting[order.waiting_ptr[group] : order.waiting_ptr[group + 1]]:
            start = max(now, order.ready[message])
            if order.overhead[0]:
                start = max(start, order.free[order.src[message]]) + order.overhead[0]
                order.free[order.src[message]] = start
            for route in range(order.route_ptr[message], order.route_ptr[message + 1]):
                _put(events, route, start + order.before[route])
        group = order.successor[group]


@njit(nogil=True)
def _run(
    order: _Order, net: _Net, events: _Heap, fair: _Heap, message_of: Array, times: np.ndarray,
    local: bool,
) -> None:  # fmt: skip
    """Fill in the arrival time of every message.

    A route never has more than one event in the heap, so its number is the heap item; its stage
    says which event it is.
    """
    stage = net.stage
    for group in order.begin:  # their count is 0 already; -1 also means done
        _count(order, events, group, 0.0)
    while events.size[0]:
        now = events.key[events.items[0]]
        # Handle all events of one moment before the rates are computed again.
        while events.size[0] and events.key[events.items[0]] <= now * _TIE:
            route = _pop(events)
            message = message_of[route]
            if stage[route] == _WAITS and net.nbytes[route]:
                stage[route] = _FLOWS
                _change(net, route)
                continue
            if stage[route] <= _FLOWS:  # all bytes have left, or there were none
                flowed = stage[route] == _FLOWS
                stage[route] = _LEFT
                if flowed:
                    _change(net, route)
                order.unsent[message] -= 1
                if local and order.unsent[message] == 0:
                    _count(order, events, order.signals[message, 1], now)
                if order.after[route]:
                    _put(events, route, now + order.after[route])
                    continue
            if stage[route] == _LEFT:
                order.missing[message] -= 1
                if order.missing[message]:
                    continue
                times[message] = now
                if order.cost[message]:
                    stage[route] = _REDUCED
                    _put(events, route, now + order.cost[message])
                    continue
            for k in range(1 if local else 2):
                _count(order, events, order.signals[message, k], now)
        _share(net, events, fair, now)
