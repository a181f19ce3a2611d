"""The packet model: closed forms, theorems, and a slow simulator that must agree bit for bit."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netsim
import swing
from netsim.models.packet import PacketRules, packet_times
from netsim.models.packet_net import net_of
from netsim.traffic.message_graph import messages_of
from netsim.traffic.messages import Links, Messages

seeds = st.integers(0, 2**32)


def table(*rows, successor=(), shares=None):
    """Messages from rows of keywords: the routes, and what is not as usual."""
    routes = [route for row in rows for route in row["routes"]]
    number = np.array([len(row["routes"]) for row in rows])
    signals = np.array([(*row.get("signals", ()), -1, -1)[:2] for row in rows])
    groups = 1 + max(signals.max(), len(successor) - 1, *(row.get("waits_for", -1) for row in rows))
    after = np.array([*successor, *[-1] * (groups - len(successor))], dtype=np.int64)
    numbers = {
        "src": 0,
        "dst": 0,
        "nbytes": 0.0,
        "step": 0,
        "waits_for": -1,
        "ready": 0.0,
        "cost": 0.0,
    }
    return Messages(
        **{k: np.array([row.get(k, usual) for row in rows]) for k, usual in numbers.items()},
        signals=signals,
        pending_count=sum(np.bincount(x[x >= 0], minlength=groups) for x in (signals, after)),
        successor=after,
        route_ptr=np.append(0, np.cumsum(number)),
        share=np.repeat(1 / number, number) if shares is None else np.array(shares),
        link_ptr=np.append(0, np.cumsum([len(route) for route in routes])),
        links=np.concatenate(routes).astype(int),
        latency=np.zeros(len(routes)),
        peer=np.array([row.get("peer", i) for i, row in enumerate(rows)]),
    )


def wires(bandwidth, latency, ends=None, nodes=None, dateline=None):
    """Links; all of them at one router that is also the only node, unless ends are given."""
    n = len(bandwidth)
    tail, head = np.zeros((2, n), dtype=int) if ends is None else np.array(ends).T
    return Links(
        nodes=1 if nodes is None else nodes,
        bandwidth=np.array(bandwidth, float),
        latency=np.array(latency, float),
        delay=np.array(latency, float),
        credit=np.array(latency, float),
        tail=tail,
        head=head,
        port=np.arange(n),
        dateline=np.zeros(n, bool) if dateline is None else dateline,
    )


def times(messages, bandwidth=1.0, latency=1.0, packet_bytes=4, **rules):
    """Arrivals where links are alike unless given one by one, and senders are one node."""
    n = int(messages.links.max()) + 1
    columns = (
        np.full(n, float(x)) if np.ndim(x) == 0 else np.array(x, float)
        for x in (bandwidth, latency)
    )
    links = wires(*columns, nodes=1 + int(max(messages.src.max(), messages.dst.max())))
    return packet_times(messages, links, PacketRules(packet_bytes, **rules)).tolist()


class Slow:
    """Does at every moment whatever can be done, at one router after the other.

    It keeps no list of future events: the next moment is the earliest one at which anything that
    is under way ends.
    """

    def __init__(self, m, links, rules):
        self.m, self.rules, self.now = m, rules, 0.0
        n, nodes = len(links.bandwidth), links.nodes
        limit = [rules.injection_bandwidth] * nodes + [rules.ejection_bandwidth] * nodes
        self.rate = [*links.bandwidth, *(r or math.inf for r in limit)]
        self.latency = [*links.delay, *[rules.injection_latency] * nodes]
        self.latency += [rules.ejection_latency] * nodes
        self.tail = [*links.tail, *range(nodes), *range(nodes)]
        self.head = [*links.head, *range(nodes), *range(nodes)]
        self.door, self.eject, self.nodes, self.dateline = n, n + nodes, nodes, links.dateline
        total = n + 2 * nodes
        self.free, self.ready = [-(rules.bucket or 0.0)] * total, [0.0] * total
        self.channel, self.in_busy, self.out_busy = [0] * total, [0.0] * total, [0.0] * total
        channels = range(rules.virtual_channels)
        size = math.inf if rules.buffer_bytes is None else rules.buffer_bytes
        self.inputs = {(k, c): deque() for k in range(self.eject) for c in channels}
        self.outputs = {(k, c): deque() for k in range(total) for c in channels}
        self.in_room, self.out_room = (
            dict.fromkeys(self.inputs, size),
            dict.fromkeys(self.outputs, size),
        )
        self.served = {key: i - 10**9 for i, key in enumerate(sorted(self.inputs))}
        self.moved, self.credits = 0, []
        self.posts, self.at_door = [[] for _ in range(nodes)], [[] for _ in range(nodes)]
        self.node_free, self.sender_free = [0.0] * nodes, {}
        self.count = [max(1, math.ceil(b / rules.packet_bytes)) for b in m.nbytes]
        self.left, self.missing, self.arrival = [*self.count], [*self.count], np.zeros(len(m))
        self.waits, self.done = [*m.pending_count], [0.0] * len(m.pending_count)
        self.dealt = {}
        for i, packets in enumerate(self.count):
            routes = range(m.route_ptr[i], m.route_ptr[i + 1])
            dealt = {w: int(m.share[w] * packets + 1e-9) for w in routes}
            by_loss = sorted(routes, key=lambda w: dealt[w] - m.share[w] * packets)
            for w in by_loss[: packets - sum(dealt.values())]:
                dealt[w] += 1
            self.dealt |= dealt

    def links_of(self, w):
        m = self.m
        i = np.searchsorted(m.route_ptr, w, side="right") - 1
        inner = m.links[m.link_ptr[w] : m.link_ptr[w + 1]].tolist()
        return [self.door + m.src[i], *inner, self.eject + m.dst[i]]

    def channel_of(self, w, hop):
        links = self.links_of(w)
        turns = sum(bool(self.dateline[k]) for k in links[2 : min(hop, len(links) - 2) + 1])
        return turns % 2 if self.rules.virtual_channels > 1 else 0

    def size(self, i, packet):
        full = self.rules.packet_bytes
        nbytes = full if packet < self.count[i] - 1 else self.m.nbytes[i] - packet * full
        flit = self.rules.flit_bytes
        return max(1, math.ceil(nbytes / flit)) * flit if flit else nbytes

    def run(self):
        self.start(-1, 0.0)
        for group in np.flatnonzero(self.m.pending_count == 0):
            self.waits[group] = 1
            self.signal(group, 0.0)
        while True:
            routers = range(1 + max(*self.tail, *self.head))
            while any([self.act(v) for v in routers]):
                pass
            moments = [x for x in self.moments() if x > self.now]
            if not moments:
                return None if any(self.missing) else self.arrival
            self.now = min(moments)

    def moments(self):
        for x in (self.free, self.ready, self.in_busy, self.out_busy, self.node_free):
            yield from x
        for queue in self.inputs.values():
            yield from (packet["time"] for packet in queue)
        for messages in (*self.posts, *self.at_door):
            yield from (time for time, _ in messages)
        yield from (time for time, *_ in self.credits)

    def act(self, v):
        """Do the first thing that can be done at a router; whether there was one."""
        for credit in [c for c in self.credits if c[0] <= self.now]:
            self.credits.remove(credit)
            self.in_room[credit[1]] += credit[2]
        if any(self.transmit(k) for k in range(len(self.tail)) if self.tail[k] == v):
            return True
        if v < self.nodes and self.post(v):
            return True
        inputs = [key for key in self.inputs if self.head[key[0]] == v and self.inputs[key]]
        inputs = [key for key in inputs if self.inputs[key][0]["time"] <= self.now]
        if self.rules.arbitration == "oldest":
            inputs.sort(key=lambda key: (self.inputs[key][0]["time"], key))
        else:
            inputs.sort(key=lambda key: self.served[key])
        return any(self.cross(v, key) for key in inputs)

    def turn(self, message):
        """At the same time, messages of earlier steps come first, then those of earlier parts."""
        time, i = message
        return time, self.m.step[i], i

    def post(self, v):
        self.posts[v].sort(key=self.turn)
        if not self.posts[v] or max(self.posts[v][0][0], self.node_free[v]) > self.now:
            return False
        _, i = self.posts[v].pop(0)
        self.node_free[v] = self.now + self.rules.message_overhead
        pair = v, self.m.peer[i]
        time = max(self.node_free[v], self.sender_free.get(pair, 0.0))
        gap = self.rules.packet_gap
        # Without a gap, messages to a peer wait until the last packet of the one before has left.
        self.sender_free[pair] = time + self.count[i] * gap if gap else math.inf
        self.at_door[v].append((time, i))
        return True

    def transmit(self, k):
        if max(self.free[k], self.ready[k]) > self.now:
            return False
        packet = self.from_door(k) if self.door <= k < self.eject else self.from_output(k)
        if not packet:
            return False
        i, service = packet["message"], packet["size"] / self.rate[k]
        bucket = self.rules.bucket
        self.free[k] = max(self.free[k], self.now - (bucket or 0.0)) + service
        if k >= self.eject:
            out = self.now + self.latency[k] + (service if bucket is None else 0.0)
            self.arrival[i] = max(self.arrival[i], out)
            self.missing[i] -= 1
            if not self.missing[i]:
                for group in self.m.signals[i, : 1 if self.rules.local else 2]:
                    self.signal(group, self.arrival[i] + self.m.cost[i])
            return True
        if k >= self.door and self.rules.local and not self.left[i]:
            self.signal(self.m.signals[i, 1], max(self.free[k], self.now))
        onward = self.links_of(packet["route"])[packet["hop"] + 1]
        packet["time"] = self.now + self.latency[k]
        if bucket is None:
            packet["time"] += max(0.0, service - packet["size"] / self.rate[onward])
        key = k, self.channel_of(packet["route"], packet["hop"])
        self.in_room[key] -= packet["size"]
        self.inputs[key].append(packet)
        return True

    def from_door(self, k):
        waiting = self.at_door[k - self.door]
        waiting.sort(key=self.turn)
        if not waiting or waiting[0][0] > self.now:
            return None
        time, i = waiting[0]
        size = self.size(i, self.count[i] - self.left[i])
        if self.in_room[k, 0] < size:
            return None
        routes = range(self.m.route_ptr[i], self.m.route_ptr[i + 1])
        w = routes[0] if self.rules.adaptive else max(routes, key=lambda w: self.dealt[w])
        self.dealt[w] -= 1
        self.left[i] -= 1
        waiting.pop(0)
        gap = self.rules.packet_gap
        if self.left[i]:
            waiting.append((time + gap if gap else self.now, i))
        elif not gap:
            pair = k - self.door, self.m.peer[i]
            held = [m for t, m in waiting if t == math.inf and self.m.peer[m] == pair[1]]
            self.sender_free[pair] = math.inf if held else self.now
            for m in held[:1]:
                waiting[waiting.index((math.inf, m))] = (self.now, m)
        return {"message": i, "size": size, "route": w, "hop": 0, "chosen": False}

    def from_output(self, k):
        n = self.rules.virtual_channels
        for c in ((self.channel[k] + j) % n for j in range(1, n + 1)):
            queue = self.outputs[k, c]
            if queue and (k >= self.eject or self.in_room[k, c] >= queue[0]["size"]):
                self.channel[k] = c
                self.out_room[k, c] += queue[0]["size"]
                return queue.popleft()
        return None

    def cross(self, v, key):
        packet = self.inputs[key][0]
        self.choose(packet)
        links, hop = self.links_of(packet["route"]), packet["hop"] + 1
        out = links[hop], self.channel_of(packet["route"], hop)
        if max(self.in_busy[key[0]], self.out_busy[out[0]]) > self.now:
            return False
        if self.out_room[out] < packet["size"]:
            return False
        rate = self.rules.crossbar_bandwidth if v < self.nodes else None
        service = packet["size"] / (rate or math.inf)
        self.in_busy[key[0]] = self.out_busy[out[0]] = self.now + service
        self.moved += 1
        self.served[key] = self.moved
        self.inputs[key].popleft()
        if self.inputs[key] and self.inputs[key][0]["time"] <= self.now:
            self.choose(self.inputs[key][0])
        if self.rules.buffer_bytes is not None:
            self.credits.append((self.now + self.latency[key[0]], key, packet["size"]))
        packet |= {"hop": hop, "chosen": False}
        self.out_room[out] -= packet["size"]
        channels = range(self.rules.virtual_channels)
        idle = not any(self.outputs[out[0], c] for c in channels)
        if idle and self.free[out[0]] <= self.now:
            self.ready[out[0]] = self.now + self.rules.flit_bytes / self.rate[out[0]]
        self.outputs[out].append(packet)
        return True

    def choose(self, packet):
        if packet["chosen"] or not self.rules.adaptive:
            return
        i, hop, packet["chosen"] = packet["message"], packet["hop"], True
        path = self.links_of(packet["route"])[: hop + 1]
        ways = [
            w
            for w in range(self.m.route_ptr[i], self.m.route_ptr[i + 1])
            if self.links_of(w)[: hop + 1] == path
        ]

        def queued(w):
            queue = self.outputs[self.links_of(w)[hop + 1], self.channel_of(w, hop + 1)]
            return sum(other["size"] for other in queue)

        packet["route"] = min(ways, key=queued)

    def start(self, group, time):
        for i in np.flatnonzero(self.m.waits_for == group):
            self.posts[self.m.src[i]].append((max(time, self.m.ready[i]), i))

    def signal(self, group, time):
        if group < 0:
            return
        self.done[group] = max(self.done[group], time)
        self.waits[group] -= 1
        if self.waits[group] <= 0:
            self.start(group, self.done[group])
            self.signal(self.m.successor[group], self.done[group])


def crowd(rng, groups=4, most=2):
    """Random messages on random walks, in whole numbers so that much happens at the same time."""
    nodes, vertices, nlinks = 3, 4, 10
    ends = np.array([[v, (v + 1) % vertices] for v in range(vertices)])
    ends = np.concatenate([ends, rng.integers(vertices, size=(nlinks - vertices, 2))])

    def walk(src):
        route, at = [], src
        while not route or at >= nodes or rng.random() < 0.6:
            route.append(int(rng.choice(np.flatnonzero(ends[:, 0] == at))))
            at = ends[route[-1], 1]
        return route, int(at)

    rows = []
    for _ in range(rng.integers(1, 9)):
        waits_for, src = int(rng.integers(-1, groups)), int(rng.integers(nodes))
        walks = [walk(src) for _ in range(6)]
        dst = walks[0][1]
        rows.append(
            {
                "src": src,
                "dst": dst,
                "peer": dst,
                "step": int(rng.integers(3)),
                "nbytes": float(rng.integers(0, 14)),
                "waits_for": waits_for,
                "ready": float(rng.integers(0, 5)),
                "cost": float(rng.integers(0, 2)),
                "signals": rng.permutation(np.arange(waits_for + 1, groups))[: rng.integers(0, 3)],
                "routes": [route for route, to in walks if to == dst][: rng.integers(1, most + 1)],
            }
        )
    successor = [int(rng.choice([-1, *range(g + 1, groups)])) for g in range(groups)]
    bandwidth, latency = rng.integers(1, 3, nlinks), rng.integers(1, 4, nlinks)
    dateline = rng.random(nlinks) < 0.3
    return table(*rows, successor=successor), wires(bandwidth, latency, ends, nodes, dateline)


RULES = st.fixed_dictionaries(
    {
        "packet_bytes": st.integers(1, 6),
        "flit_bytes": st.sampled_from([0, 2]),
        "message_overhead": st.integers(0, 1),
        "packet_gap": st.sampled_from([0.0, 0.5]),
        "injection_bandwidth": st.sampled_from([None, 4.0]),
        "ejection_bandwidth": st.sampled_from([None, 4.0]),
        "injection_latency": st.integers(1, 2),
        "ejection_latency": st.integers(1, 2),
        "crossbar_bandwidth": st.sampled_from([None, 2.0]),
        "arbitration": st.sampled_from(["least_recent", "oldest"]),
        "virtual_channels": st.sampled_from([1, 2]),
        "adaptive": st.booleans(),
        "local": st.booleans(),
        "buffer_bytes": st.sampled_from([None, None, 8, 12]),
        "bucket": st.sampled_from([None, 0.0, 3.0]),
    }
)


@settings(max_examples=30)
@given(seeds, RULES)
def test_routers_that_run_ahead_do_as_one_clock_for_all(seed, rules):
    messages, links = crowd(np.random.default_rng(seed))
    slow = Slow(messages, links, PacketRules(**rules)).run()
    if slow is None:
        with pytest.raises(ValueError, match="full buffers"):
            packet_times(messages, links, PacketRules(**rules))
    else:
        fast = packet_times(messages, links, PacketRules(**rules))
        assert fast.tobytes() == slow.tobytes()


@given(seeds, st.booleans())
def test_nothing_beats_latency_and_bandwidth(seed, adaptive):
    messages, links = crowd(np.random.default_rng(seed), most=2 if adaptive else 1)
    got = packet_times(messages, links, PacketRules(4, adaptive=adaptive))
    for i, arrival in enumerate(got):
        ways = range(messages.route_ptr[i], messages.route_ptr[i + 1])
        ways = [messages.links[messages.link_ptr[w] : messages.link_ptr[w + 1]] for w in ways]
        least = min(links.delay[way].sum() for way in ways)
        rate = sum(links.bandwidth[way].min() for way in ways)
        assert arrival >= messages.ready[i] + max(least, messages.nbytes[i] / rate) - 1e-9
        if len(ways) == 1:
            alone = links.delay[ways[0]].sum() + messages.nbytes[i] / rate
            assert arrival >= messages.ready[i] + alone - 1e-9
    if not adaptive:
        weight = np.repeat(messages.nbytes, np.diff(messages.link_ptr))
        carried = np.bincount(messages.links, weight, len(links.bandwidth))
        assert got.max() >= (carried / links.bandwidth).max() - 1e-9


@given(seeds)
def test_a_message_alone_takes_its_latency_and_its_slowest_link(seed):
    rng = np.random.default_rng(seed)
    hops, nbytes = rng.integers(1, 10), float(rng.integers(0, 100))
    latency, bandwidth = rng.random((2, hops)) + 0.1
    messages = table({"nbytes": nbytes, "routes": [range(hops)]})
    for packet_bytes in (1000, 7):
        (same,) = times(messages, 1.0, latency, packet_bytes)
        assert same == pytest.approx(latency.sum() + nbytes)
        for rates in (np.sort(bandwidth), np.sort(bandwidth)[::-1]):
            (got,) = times(messages, rates, latency, packet_bytes)
            alone = latency.sum() + nbytes / rates.min()
            assert alone - 1e-9 <= got <= alone + 7 * hops / rates.min()
            assert got == pytest.approx(alone) or packet_bytes == 7


def test_links_serve_in_the_order_of_arrival():
    late = {"nbytes": 4.0, "ready": 1.0, "routes": [[0, 2]]}
    early = {"nbytes": 4.0, "routes": [[1, 2]]}
    assert times(table(late, early)) == [10, 6]
    same = {"nbytes": 4.0, "routes": [[0, 2]]}
    assert times(table(same, early)) == [6, 10]


def test_an_idle_link_notices_a_packet_after_a_flit():
    one = {"nbytes": 4.0, "routes": [[0, 1]]}
    assert times(table(one), flit_bytes=1.0) == [2 + 2 + 4]  # two latencies, two flits, its time
    # The second packet does not wait for a flit: the link is busy when it comes.
    assert times(table(one, one), flit_bytes=1.0) == [8, 12]


def test_packets_of_messages_that_are_posted_closely_interleave():
    long = {"nbytes": 12.0, "routes": [[0]]}
    # Without a gap a message is at the door at once: whole messages follow each other.
    assert times(table(long, long, long)) == [13, 25, 37]
    # With a gap, the packets of all three come in turn.
    assert times(table(long, long, long), packet_gap=0.5) == [29, 33, 37]
    assert times(table(long, long), packet_gap=0.5, message_overhead=4.0) == [17, 29]
    # Messages to one peer share a sender.
    same = long | {"peer": 0}
    assert times(table(same, same, same), packet_gap=0.5) == [13, 25, 37]


def test_messages_of_earlier_steps_are_posted_first():
    first, second, third = ({"nbytes": 4.0, "step": s, "routes": [[0]]} for s in range(3))
    assert times(table(third, first, second)) == [13, 5, 9]
    assert times(table(second, third, first), packet_gap=0.5) == [9, 13, 5]
    # Messages of one step follow each other in the order of the parts.
    assert times(table(first, first, second)) == [5, 9, 13]


@pytest.mark.parametrize("dims", [(4, 4), (6, 3), (3, 3, 3)])
def test_a_root_that_may_send_everything_at_once_sends_the_chunks_of_all_trees_in_turn(dims):
    """So all trees begin at once, and a pipeline takes about as long as in the flow model."""
    network = netsim.paper_network("torus:" + "x".join(map(str, dims)))
    schedule = swing.schedule(
        "disjoint_trees", swing.Torus(dims), collective="broadcast", chunks=24
    )
    nbytes = 24 * 2 * len(schedule.parts) * (network.packet_bytes - network.header_bytes)
    packet, flow = (
        netsim.simulate(schedule, network, nbytes, model).seconds for model in ("packet", "flow")
    )
    assert packet == pytest.approx(flow, rel=0.1)


def test_parts_that_drift_apart_lose_most_of_a_message_at_the_door():
    """The paper's bucket: (2D - 1)/(4D) of a message in every phase."""
    ports, nbytes = 4, 64.0  # D = 2: the door is twice as fast as all links together
    rows = [{"nbytes": nbytes, "peer": i, "routes": [[i]]} for i in range(ports)]
    rules = {"injection_bandwidth": 2.0 * ports, "arrival": None}
    del rules["arrival"]
    together = times(table(*rows), packet_gap=1e-6, **rules)
    drifted = times(table(*rows), packet_gap=1e-6, message_overhead=1e-3, **rules)
    assert max(together) == pytest.approx(nbytes + 1, rel=0.05)
    assert max(drifted) - 1 == pytest.approx(nbytes * (1 + (ports - 1) / (2 * ports)), rel=0.05)


@pytest.mark.parametrize("name", ["torus:4x4", "torus:3x5", "hx2mesh:4x4", "hyperx:3x3"])
def test_a_router_first_serves_its_inputs_in_their_order_wherever_they_come_from(name):
    network = netsim.paper_network(name)
    schedule = swing.schedule("swing", network.topology.torus)
    messages, links = messages_of(schedule, network, 2**10)
    net = net_of(messages, links, PacketRules(8192, virtual_channels=2))
    inputs = np.flatnonzero(net.slots["queue"] >= 0)
    router = np.searchsorted(net.routers["last_slot"], inputs, side="right")
    turns = net.inputs["served"][net.slots["queue"][inputs]]
    assert (turns < 0).all()
    assert (np.diff(turns) > 0)[np.diff(router) == 0].all()


def test_a_crossbar_serves_inputs_in_turn():
    # Inputs 0 and 1 want output 2; input 0 has come first with three packets, input 1 with one.
    ends = [(0, 1), (2, 1), (1, 3)]
    rows = [
        {"src": 0, "dst": 3, "nbytes": 12.0, "routes": [[0, 2]]},
        {"src": 2, "dst": 3, "nbytes": 4.0, "ready": 6.0, "routes": [[1, 2]]},
    ]
    links = wires([4.0, 4.0, 4.0], [1.0, 1.0, 1.0], ends, nodes=4)

    def arrivals(**rules):
        return packet_times(table(*rows), links, PacketRules(4, **rules)).tolist()

    fast = arrivals()
    slow = arrivals(crossbar_bandwidth=0.5)
    assert slow[0] > fast[0]
    assert slow[1] > fast[1]
    assert arrivals(crossbar_bandwidth=0.5, arbitration="oldest")[1] >= slow[1]


@pytest.mark.parametrize(("nbytes", "collide"), [(1, False), (3, False), (5, True)])
def test_messages_shorter_than_a_hop_do_not_meet(nbytes, collide):
    hops = 5
    messages, ends = ring_shift(16, hops, float(nbytes))
    links = wires(np.ones(16), np.full(16, 4.0), ends, nodes=16)
    got = packet_times(messages, links, PacketRules(8)).tolist()
    assert (max(got) > 4 * hops + nbytes) == collide
    assert max(got) <= 4 * hops + nbytes * hops  # what the analytic model says


def test_a_token_bucket_lets_a_packet_go_before_its_time_is_over():
    long, short = ({"nbytes": n, "routes": [[0, 1]]} for n in (11.0, 3.0))
    assert times(table(long)) == [13]
    assert times(table(long), bucket=0.0) == [10]  # its last 3 bytes leave when their time begins
    assert times(table(long), bucket=5.0) == [5]  # and a link at rest is 5 seconds ahead
    assert times(table(short, short), bucket=0.0) == [2, 5]
    assert times(table(short, short), bucket=1.0) == [2, 4]
    later = short | {"ready": 20.0}
    assert times(table(long, later), bucket=5.0) == [5, 22]  # it has saved up again


def test_what_is_waited_for():
    routes = [[0]]
    first = {"nbytes": 4.0, "cost": 2.0, "signals": [0], "routes": routes}
    other = {"nbytes": 1.0, "ready": 20.0, "signals": [1], "routes": [[1]]}
    after = {"nbytes": 4.0, "waits_for": 0, "routes": routes}
    last = {"nbytes": 4.0, "waits_for": 1, "routes": routes}
    assert times(table(first, other, after, last, successor=[1])) == [5, 22, 12, 27]
    assert times(table(first, after)) == [5, 12]
    twice = [{"nbytes": 1.0, "routes": [[k]]} for k in range(3)]
    assert times(table(*twice), message_overhead=0.5) == [2.5, 3, 3.5]


def test_a_message_is_split_as_its_shares_say():
    both = {"nbytes": 400.0, "routes": [[0], [1]]}
    assert times(table(both)) == [201]
    assert times(table(both, shares=[0.75, 0.25])) == [301]
    assert times(table(both), [1, 0.25]) == [801]
    # The choice does not see the packet that a link is transmitting.
    assert times(table(both), adaptive=True) == pytest.approx([201], abs=4)


def test_adaptive_packets_take_the_emptier_route():
    both = {"nbytes": 400.0, "routes": [[0, 2], [1, 3]]}
    busy = {"nbytes": 100.0, "peer": 1, "routes": [[1]]}
    door = {"injection_bandwidth": 2.0, "packet_gap": 0.1}
    dealt = max(times(table(both, busy), **door))
    assert dealt == pytest.approx(302, abs=4)
    assert max(times(table(both, busy), adaptive=True, **door)) <= 2 + 500 / 2 + 12


def ring_shift(d, hops, nbytes):
    """Every node of a ring sends as far: the messages, and the ends of the links."""
    rows = [
        {"src": i, "dst": (i + hops) % d, "nbytes": nbytes, "routes": [np.arange(i, i + hops) % d]}
        for i in range(d)
    ]
    return table(*rows), [(i, (i + 1) % d) for i in range(d)]


@pytest.mark.parametrize("hops", [2, 5, 9])
@pytest.mark.parametrize("packets", [1, 2, 10])
def test_full_rings_go_on_with_a_dateline(hops, packets):
    messages, ends = ring_shift(12, hops, 400.0)
    links = wires(np.ones(12), np.full(12, 0.5), ends, nodes=12, dateline=np.arange(12) == 0)
    rules = PacketRules(4, virtual_channels=2)
    for buffer_bytes in (None, 4.0 * packets):
        got = packet_times(messages, links, replace(rules, buffer_bytes=buffer_bytes)).tolist()
        assert 400 * hops <= max(got) <= 3.5 * 400 * hops


def test_without_channels_a_full_ring_blocks_itself():
    messages, ends = ring_shift(6, 4, 400.0)
    links = wires(np.ones(6), np.full(6, 0.5), ends, nodes=6, dateline=np.arange(6) == 0)
    with pytest.raises(ValueError, match="full buffers wait for each other"):
        packet_times(messages, links, PacketRules(4, buffer_bytes=4.0))
    assert max(packet_times(messages, links, PacketRules(4))) < 400 * 6 * 2


def test_the_next_step_may_wait_for_the_door_only():
    first = {"nbytes": 8.0, "routes": [[0, 1, 2]], "signals": [-1, 0]}
    after = {"nbytes": 4.0, "routes": [[3]], "waits_for": 0}
    assert times(table(first, after)) == [11, 16]
    assert times(table(first, after), local=True) == [11, 5]
    assert times(table(first, after), local=True, injection_bandwidth=2.0) == [11, 9]


def test_latency_may_be_zero():
    rows = [{"nbytes": 8.0, "routes": [[i, i + 1]]} for i in range(3)]
    assert times(table(rows[0]), latency=0.0) == [8]
    assert max(times(table(*rows), latency=0.0)) <= 20


@pytest.mark.parametrize("dims", [(8,), (4, 4), (4, 2, 3)], ids=str)
def test_long_vectors_take_as_long_as_the_analytic_model_says(dims):
    torus, nbytes = swing.Torus(dims), 2**22
    network = replace(
        netsim.paper_network("torus:" + "x".join(map(str, dims)), ties="split"), packet_bytes=1024
    )
    for name in ("swing", "recursive_doubling", "ring"):
        try:
            schedule = swing.schedule(name, torus)
        except ValueError:
            continue
        exact = netsim.simulate(schedule, network, nbytes).seconds
        packet = netsim.simulate(schedule, network, nbytes, model="packet", sync="step").seconds
        assert packet == pytest.approx(exact, rel=0.05), name


def test_what_cannot_be_simulated_says_why():
    one = {"nbytes": 4.0, "routes": [[0]]}
    with pytest.raises(ValueError, match="packet_bytes must be above 0"):
        times(table(one), packet_bytes=0)
    with pytest.raises(ValueError, match="link 0 is used"):
        times(table(one), bandwidth=0.0)
    with pytest.raises(ValueError, match="route needs a link"):
        times(table(one, {"routes": [[]]}))
    with pytest.raises(ValueError, match="buffer_bytes must be a packet or more"):
        times(table(one), buffer_bytes=3)
    with pytest.raises(ValueError, match="wait for each other"):
        times(table(one | {"waits_for": 0, "signals": [0]}))
    assert times(table(one), bandwidth=np.array([1.0])) == [5]


@pytest.mark.parametrize("kind", ["torus", "hyperx", "hx2mesh"])
@pytest.mark.parametrize("dims", [(4, 4), (6, 6), (8, 8), (8, 4, 2)], ids=str)
def test_folded_runs_equal_unfolded_ones_to_the_last_bit(dims, kind):
    network = netsim.paper_network(f"{kind}:{'x'.join(map(str, dims))}")
    for name in ("swing", "bucket", "mirrored_recursive_doubling", "recursive_multiplying"):
        schedule = swing.schedule(name, swing.Torus(dims))
        folded, whole = (
            netsim.simulate(schedule, network, 2**17, "packet", fold=fold) for fold in (True, False)
        )
        assert folded.step_seconds.tobytes() == whole.step_seconds.tobytes(), name


@pytest.mark.parametrize("variant", ["bandwidth", "latency"])
@pytest.mark.parametrize("dims", [(9, 9), (11,), (5, 5)], ids=str)
def test_nothing_blocks_itself_in_the_papers_network(dims, variant):
    network = netsim.paper_network(swing.Torus(dims).name)
    for name in ("trivance", "recursive_multiplying"):
        schedule = swing.schedule(name, swing.Torus(dims), variant=variant)
        run = netsim.simulate(schedule, network, 2**21, "packet")
        assert run.seconds > netsim.lower_bound(network, 2**21)
        assert run.bottleneck.kind == "link"


def test_a_million_ranks_are_folded_without_channels():
    torus = swing.Torus((64, 128, 128))
    network = netsim.paper_network("torus:64x128x128")
    run = netsim.simulate(swing.schedule("swing", torus), network, 2**13, "packet")
    assert 0 < run.seconds < 1e-3
