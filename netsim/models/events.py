"""Event loop of the packet model, compiled: doors, crossbars and links of every router in turn.

This is a conservative discrete-event simulation without one global queue. Whatever happens at a
router at time t cannot reach another one before t plus a known latency, the *lookahead* of the
other. So the loop takes the router with the earliest next event, handles everything at it that
happens within its lookahead, and goes on to the next router. The result equals that of a single
queue of all events, bit for bit.

Every router has *slots*, each with the time of its next event, ``wake``: first one slot per link
that leaves the router (the door of its node is one of them), then one in which the node posts its
messages, then one per link that enters it and virtual channel. Of slots with one time the first
goes first, but inputs go in the order of arbitration. No order depends on the numbers of routers.
Each queue is a linked list of packets.

numba's cache of a compiled function does not notice changes in functions of other files that it
calls. So all compiled functions of the model are in this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from netsim.models.packet_tables import DOOR, EJECTION, ROUTED, Net
from swing.compilation import njit

# Counting references to the tables would take two thirds of the time; no table is made or freed
# here, so it is turned off. To pass the tables to another function would take another third of it,
# so what `run` calls becomes a part of it. Other threads, such as one that reports progress, may
# run meanwhile.
_compiled = njit(error_model="numpy", _nrt=False, nogil=True)
_inlined = njit(error_model="numpy", _nrt=False, inline="always")

# A type checker would see the decorated function with its first argument, the typing context.
_instruction: Callable[[Any], Any] = intrinsic


@_instruction
def _prefetch(typingctx: Any, table: Any, index: Any) -> Any:
    """Begin to load a row of a table into the cache, because it is needed soon.

    Packets lie far apart in memory, so half of the time would be spent waiting for them. No row is
    read, and so any index will do.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = context.make_array(signature.args[0])(context, builder, args[0])
        row = builder.gep(rows.data, [args[1]])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(fetch, [builder.bitcast(row, byte), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(table, types.int64), codegen


@_compiled
def run(net: Net) -> bool:
    """Handle the events of all routers, the router with the earliest next event first.

    Returns:
        Whether all is done; if not, the pool has run short: grow it and call `run` again.
    """
    tree, wake = net.tree, net.wake
    leaves = len(tree) // 2
    while tree[1] < np.inf:
        now, v = tree[1], 1
        while v < leaves:
            v = 2 * v + (tree[2 * v] != now)
        v -= leaves
        router = net.routers[v]
        for slot in range(router.post_slot + 1, router.last_slot):
            _prefetch(net.packets, net.inputs[net.slots[slot].queue].first)
        while True:
            slot, time = router.first_slot, wake[router.first_slot]
            for k in range(router.first_slot + 1, router.last_slot):
                if wake[k] < time:
                    slot, time = k, wake[k]
            # The first condition makes progress where the lookahead is 0.
            if time != now and not time < now + router.lookahead:
                _schedule(tree, v, time)
                break
            if net.unused[1] < 2:  # a packet and a credit
                _schedule(tree, v, time)
                return False
            if slot < router.post_slot:
                _transmit(net, slot, time)
            elif slot == router.post_slot:
                _post(net, router, time)
            else:
                _arbitrate(net, router, _first_served(net, router, slot, time), time)
    return True


@_inlined
def _schedule(tree: np.ndarray, v: int, time: float) -> None:
    """Set the next event of router v; ``tree[k]`` is the earlier one of its two children."""
    k = len(tree) // 2 + v
    if tree[k] == time:
        return
    tree[k] = time
    while k > 1:
        k //= 2
        earliest = min(tree[2 * k], tree[2 * k + 1])
        if tree[k] == earliest:
            return
        tree[k] = earliest


@_inlined
def _wake(net: Net, v: int, slot: int, time: float) -> None:
    """Make sure that something happens at a slot of router v no later than at a time."""
    if time < net.wake[slot]:
        net.wake[slot] = time
        if time < net.tree[len(net.tree) // 2 + v]:
            _schedule(net.tree, v, time)


@_compiled
def signal(net: Net, g: int, time: float) -> None:
    """Count one event that group g waits for; after the last, its messages are to be posted.

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
            message = net.messages[net.waiting[k]]
            message.time = max(time, message.ready)
            router = net.routers[message.src]
            router.posting = _insert(net.messages, router.posting, net.waiting[k])
            soonest = max(net.messages[router.posting].time, router.free)
            _wake(net, message.src, router.post_slot, soonest)
        g = group.successor


@_inlined
def _insert(messages: np.ndarray, first: int, i: int) -> int:
    """Insert message i into a list in order of time, step and number; return the first one."""
    time, step, before, behind = messages[i].time, messages[i].step, -1, first
    while behind >= 0:
        other = messages[behind]
        if other.time > time or (other.time == time and (other.step, behind) > (step, i)):
            break
        before, behind = behind, other.next
    messages[i].next = behind
    if before < 0:
        return i
    messages[before].next = i
    return first


@_inlined
def _post(net: Net, router: np.record, time: float) -> None:
    """A node posts its next message, whose packets then come to the door one by one."""
    i = router.posting
    message = net.messages[i]
    following: int = message.next
    router.posting, router.free = following, time + net.overhead
    net.wake[router.post_slot] = np.inf
    if following >= 0:
        net.wake[router.post_slot] = max(router.free, net.messages[following].time)
    # Messages from one node to another follow each other through one sender.
    message.time = max(router.free, net.sender_free[message.pair])
    net.sender_free[message.pair] = (
        message.time + message.not_sent * net.gap if net.gap else np.inf  # until the last is sent
    )
    _come_to_door(net, router, i)


@_inlined
def _come_to_door(net: Net, router: np.record, i: int) -> None:
    """Queue the next packet of message i at the door.

    Packets come at times that are known beforehand, so it is enough to keep the messages in the
    order of their next packets.
    """
    router.door = _insert(net.messages, router.door, i)
    link = net.links[router.door_link]
    net.wake[link.output_slot] = max(net.messages[router.door].time, link.free)


@_inlined
def _transmit(net: Net, slot: int, time: float) -> None:
    """A link begins with the next packet that has room behind it, if there is one."""
    number = net.slots[slot].link
    link = net.links[number]
    while link.first_credit >= 0 and net.packets[link.first_credit].time <= time:
        credit = net.packets[link.first_credit]
        net.inputs[credit.hop].room += credit.length
        link.first_credit = _release(net, link.first_credit)
    start = max(link.free, link.ready)
    if start > time:  # woken by a credit that it need not wait for
        net.wake[slot] = start
        return
    door = link.kind == DOOR
    p = _take_from_door(net, number, time) if door else _take_from_output(net, number, time)
    if p < 0:  # nothing has come, or there is no room
        return
    packet = net.packets[p]
    service = packet.length / link.bandwidth
    link.free = max(link.free, time - net.bucket) + service
    net.wake[slot] = _next_start(net, number, max(link.free, time))
    if door and net.local:
        message = net.messages[net.routes[packet.route].message]
        if message.not_sent == 0:
            signal(net, message.signals[1], max(link.free, time))
    packet.time = time + link.latency
    if link.kind == EJECTION:
        _arrive(net, p, packet.time if net.shaped else packet.time + service)
        return
    if not net.shaped:
        # Cut-through onto a faster link: start late enough that the tail keeps up.
        onward = net.links[net.hops[packet.hop + 1].link]
        packet.time += max(0.0, service - packet.length / onward.bandwidth)
    q = net.hops[packet.hop].queue
    queue = net.inputs[q]
    queue.room -= packet.length
    if _append(net, queue, p):
        _wake(net, link.head, link.input_slot + q - number * net.channels, packet.time)


@_inlined
def _next_start(net: Net, number: int, soonest: float) -> float:
    """When a link can begin with what has come for it by now; never if there is nothing."""
    link = net.links[number]
    if link.kind == DOOR:
        i = net.routers[link.tail].door
        return max(soonest, net.messages[i].time) if i >= 0 else np.inf
    for q in range(number * net.channels, (number + 1) * net.channels):
        if net.outputs[q].first >= 0:
            return soonest
    return np.inf


@_inlined
def _wait_for_room(net: Net, slot: int, link: np.record) -> None:
    """Wake a link with its next credit."""
    first = link.first_credit
    net.wake[slot] = net.packets[first].time if first >= 0 else np.inf


@_inlined
def _take_from_door(net: Net, number: int, time: float) -> int:
    """Make the packet that is first at a door; -1 if none has come or there is no room for it."""
    link = net.links[number]
    router = net.routers[link.tail]
    i = router.door
    message = net.messages[i]
    if i < 0 or message.time > time:
        net.wake[link.output_slot] = message.time if i >= 0 else np.inf
        return -1
    nbytes = net.packet_bytes if message.not_sent > 1 else message.last_nbytes
    if net.inputs[number * net.channels].room < nbytes:
        _wait_for_room(net, link.output_slot, link)
        return -1
    # Routes that have packets dealt to them take turns; adaptive packets begin on the first one.
    r = message.first_route
    for k in range(r + 1, r + message.nroutes):
        if net.routes[k].packets > net.routes[r].packets:
            r = k
    net.routes[r].packets -= 1
    p = _allocate(net)
    packet = net.packets[p]
    packet.length, packet.route, packet.hop, packet.chosen = nbytes, r, net.routes[r].first, 0
    message.not_sent -= 1
    router.door = message.next
    if message.not_sent:
        message.time = message.time + net.gap if net.gap else time
        router.door = _insert(net.messages, router.door, i)
    elif not net.gap:
        _free_sender(net, router, message.pair, time)
    return p


@_inlined
def _free_sender(net: Net, router: np.record, pair: int, time: float) -> None:
    """Let the next message to a peer come to the door, if one waits for the last one to it."""
    net.sender_free[pair] = time
    before, i = -1, router.door
    while i >= 0 and not (net.messages[i].pair == pair and net.messages[i].time == np.inf):
        before, i = i, net.messages[i].next
    if i < 0:
        return
    if before < 0:
        router.door = net.messages[i].next
    else:
        net.messages[before].next = net.messages[i].next
    net.messages[i].time, net.sender_free[pair] = time, np.inf
    router.door = _insert(net.messages, router.door, i)


@_inlined
def _take_from_output(net: Net, number: int, time: float) -> int:
    """Take the first packet of the next channel that has one with room behind; -1 if none has."""
    link = net.links[number]
    for k in range(1, net.channels + 1):
        channel = (link.channel + k) % net.channels
        q = number * net.channels + channel
        queue, p = net.outputs[q], net.outputs[q].first
        if p < 0 or (link.kind == ROUTED and net.inputs[q].room < net.packets[p].length):
            continue
        link.channel = channel
        _remove_first(net, queue)
        if queue.room < np.inf:
            queue.room += net.packets[p].length
            _wake_blocked_inputs(net, net.routers[link.tail], time)
        return int(p)
    _wait_for_room(net, link.output_slot, link)
    return -1


@_inlined
def _wake_blocked_inputs(net: Net, router: np.record, time: float) -> None:
    for slot in range(router.post_slot + 1, router.last_slot):
        if net.inputs[net.slots[slot].queue].first >= 0 and net.wake[slot] == np.inf:
            net.wake[slot] = time


@_inlined
def _arrive(net: Net, p: int, time: float) -> None:
    """A packet is at its node; with the last one, its message is."""
    message = net.messages[net.routes[net.packets[p].route].message]
    _release(net, p)
    message.arrival = max(message.arrival, time)
    message.not_arrived -= 1
    if message.not_arrived == 0:
        signal(net, message.signals[0], message.arrival + message.cost)
        if not net.local:
            signal(net, message.signals[1], message.arrival + message.cost)


@_inlined
def _first_served(net: Net, router: np.record, slot: int, time: float) -> int:
    """Of the inputs whose turn it is, the one to serve first."""
    first, best = slot, np.inf
    for k in range(slot, router.last_slot):
        if net.wake[k] == time:
            queue = net.inputs[net.slots[k].queue]
            rank = net.packets[queue.first].time if net.oldest else float(queue.served)
            if rank < best:
                first, best = k, rank
    return first


@_inlined
def _arbitrate(net: Net, router: np.record, slot: int, time: float) -> None:
    """The crossbar moves the first packet of an input to its output, if both are free."""
    link, queue = net.links[net.slots[slot].link], net.inputs[net.slots[slot].queue]
    p = queue.first
    packet = net.packets[p]
    if not packet.chosen:
        _choose(net, packet)
    hop = net.hops[packet.hop + 1]
    onward, output = net.links[hop.link], net.outputs[hop.queue]
    busy = max(link.input_busy, onward.output_busy)
    if busy > time or output.room < packet.length:
        net.wake[slot] = busy if busy > time else np.inf
        return
    link.input_busy = onward.output_busy = time + packet.length / router.crossbar
    router.served += 1
    queue.served = router.served
    _remove_first(net, queue)
    net.wake[slot] = np.inf
    if queue.first >= 0:
        behind = net.packets[queue.first]
        _prefetch(net.packets, behind.next)
        net.wake[slot] = behind.time
        if behind.time <= time:  # it is first now, and so chooses now
            _choose(net, behind)
            net.wake[slot] = link.input_busy
    if queue.room < np.inf:
        _return_credit(net, link, net.slots[slot].queue, packet.length, time)
    packet.hop, packet.chosen = packet.hop + 1, 0
    output.room -= packet.length
    idle = _next_start(net, hop.link, 0.0) == np.inf
    _append(net, output, p)
    if idle and onward.free <= time:  # an idle link notices a packet after the time of a flit
        onward.ready = time + net.flit_bytes / onward.bandwidth
    # Also where packets are queued: those of the other channel may have no room behind the link.
    start = max(time, onward.free, onward.ready)
    net.wake[onward.output_slot] = min(net.wake[onward.output_slot], start)


@_inlined
def _choose(net: Net, packet: np.record) -> None:
    """Choose the way of a packet: of its routes, the one whose output has least in its queue."""
    packet.chosen = 1
    message = net.messages[net.routes[packet.route].message]
    if not net.adaptive or message.nroutes == 1:
        return
    begin = net.routes[packet.route].first
    crossed, least = packet.hop - begin, np.inf
    for r in range(message.first_route, message.first_route + message.nroutes):
        first = net.routes[r].first
        same = True
        for k in range(crossed + 1):
            same &= net.hops[first + k].link == net.hops[begin + k].link
        if same:
            hop = first + crossed
            queued = net.outputs[net.hops[hop + 1].queue].stored
            if queued < least:
                packet.route, packet.hop, least = r, hop, queued


@_inlined
def _return_credit(net: Net, link: np.record, queue: int, nbytes: float, time: float) -> None:
    """Tell a link of room in the buffer behind it."""
    p = _allocate(net)
    credit = net.packets[p]
    credit.time, credit.hop, credit.length, credit.next = time + link.credit, queue, nbytes, -1
    if link.first_credit >= 0:
        net.packets[link.last_credit].next = p
    else:
        link.first_credit = p
    link.last_credit = p
    _wake(net, link.tail, link.output_slot, credit.time)


@_inlined
def _append(net: Net, queue: np.record, p: int) -> bool:
    """Put a packet at the end of a queue; whether it is the only one there."""
    net.packets[p].next = -1
    queue.stored += net.packets[p].length
    alone = queue.first < 0
    if alone:
        queue.first = p
    else:
        net.packets[queue.last].next = p
    queue.last = p
    return bool(alone)


@_inlined
def _remove_first(net: Net, queue: np.record) -> None:
    length = net.packets[queue.first].length
    behind: int = net.packets[queue.first].next
    queue.first = behind
    _prefetch(net.packets, behind)
    # An empty queue has exactly 0 bytes, whatever was rounded.
    queue.stored = queue.stored - length if behind >= 0 else 0.0


@_inlined
def _allocate(net: Net) -> int:
    p = net.unused[0]
    net.unused[0] = net.packets[p].next
    _prefetch(net.packets, net.unused[0])
    net.unused[1] -= 1
    return int(p)


@_inlined
def _release(net: Net, p: int) -> int:
    """Give back a packet; return the one that was behind it in its list."""
    behind = net.packets[p].next
    net.packets[p].next = net.unused[0]
    net.unused[0] = p
    net.unused[1] += 1
    return int(behind)
