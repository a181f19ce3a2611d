"""The packet model: closed forms, theorems, and a slow simulator that must agree bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace
from heapq import heappop, heappush
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netsim
import swing
from netsim.models.packet import packet_times
from netsim.traffic.messages import Messages

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
    )


def times(messages, bandwidth=1.0, latency=1.0, packet_bytes=4, **more):
    """Arrivals where links are alike unless given one by one."""
    n = int(messages.links.max()) + 1
    bandwidth, latency = (
        np.full(n, float(x)) if np.ndim(x) == 0 else np.array(x, float)
        for x in (bandwidth, latency)
    )
    return packet_times(messages, bandwidth, latency, packet_bytes=packet_bytes, **more).tolist()


def slow_times(
    m, bandwidth, latency, packet_bytes, flit_bytes, message_overhead, adaptive, local,
    buffer_bytes, credit_latency, bucket,
):  # fmt: skip
    """A queue of all events in their order; those of a moment by kind."""
    room_again, comes, may_go, draws, asks = range(5)
    inside = np.maximum(1, np.ceil(m.nbytes / packet_bytes)).astype(int)
    before, sent, arrival = inside.copy(), np.zeros(len(m)), np.zeros(len(m))
    works = np.zeros(1 + m.src.max())
    free, queues = np.zeros(len(bandwidth)), [[] for _ in bandwidth]
    room = [np.inf if buffer_bytes is None else buffer_bytes // flit_bytes for _ in bandwidth]
    waits, done, events, stock = m.pending_count.copy(), np.zeros(len(m.pending_count)), [], {}
    for i, n in enumerate(inside):
        routes = range(m.route_ptr[i], m.route_ptr[i + 1])
        sizes = [packet_bytes] * (n - 1) + [m.nbytes[i] - (n - 1) * packet_bytes]
        dealt = {w: int(m.share[w] * n + 1e-9) for w in routes}
        for w in sorted(routes, key=lambda w: dealt[w] - m.share[w] * n)[: n - sum(dealt.values())]:
            dealt[w] += 1
        stock |= {w: sizes if adaptive else [packet_bytes] * dealt[w] for w in routes}
        if not adaptive:
            stock[max(routes, key=lambda w: dealt[w])][-1] = sizes[-1]

    def draw(time, w, i):
        if stock[w]:
            rank, size = -len(stock[w]), max(stock[w].pop(0), flit_bytes)
            heappush(events, (time, comes, 0, w, rank, 0, size, i))

    def start(group, time):
        for i in np.flatnonzero(m.waits_for == group):
            if message_overhead:
                heappush(events, (max(time, m.ready[i]), asks, i))
            else:
                begin(max(time, m.ready[i]), i)

    def begin(time, i):
        for w in range(m.route_ptr[i], m.route_ptr[i + 1]):
            draw(time, w, i)

    def count_down(group, time):
        if group < 0:
            return
        done[group] = max(done[group], time)
        waits[group] -= 1
        if waits[group] <= 0:
            start(group, done[group])
            count_down(m.successor[group], done[group])

    def links_of(w):
        return m.links[m.link_ptr[w] : m.link_ptr[w + 1]].tolist()

    after = {pair for w in range(len(m.share)) for pair in pairwise(links_of(w))}
    reach = nx.transitive_closure(nx.DiGraph(after), reflexive=False)

    def flits(size):
        return max(1, math.ceil(size / flit_bytes))

    def needs(w, hop, size):
        links = links_of(w)
        here = links[hop]
        if hop + 1 == len(links):
            return 0
        stays = hop and reach.has_edge(here, links[hop - 1])
        return flits(size) + (reach.has_edge(here, here) and not stays) * flits(packet_bytes)

    def serve(here, time):
        able = [q for q in queues[here] if room[here] >= needs(q[2], q[4], q[5])]
        if time < free[here] or not able:
            return
        queues[here].remove(able[0])
        _, _, w, _, hop, size, i = packet = able[0]
        links, service = links_of(w), size / bandwidth[here]
        free[here] = end = time + service
        heappush(events, (end, may_go, here))
        if hop:
            back = links[hop - 1]
            heappush(events, (time + credit_latency[back], room_again, back, flits(size)))
        else:
            heappush(events, (time, draws, here, end, w, i))
            sent[i] = max(sent[i], end)
            before[i] -= 1
            if local and not before[i]:
                count_down(m.signals[i, 1], sent[i])
        if hop + 1 < len(links):
            room[here] -= flits(size)
            slack = max(0.0, service - size / bandwidth[links[hop + 1]])
            slack = slack if bucket is None else 0.0
            on = (time + latency[here] + slack, comes, -hop - 1, w, packet[3], hop + 1, size, i)
            heappush(events, on)
            return
        out = time + latency[here] + (service if bucket is None else 0.0)
        arrival[i] = max(arrival[i], out)
        inside[i] -= 1
        if not inside[i]:
            for group in m.signals[i, : 1 if local else 2]:
                count_down(group, arrival[i] + m.cost[i])

    start(-1, 0.0)
    for group in np.flatnonzero(m.pending_count == 0):
        waits[group] = 1
        count_down(group, 0.0)
    while events:
        time, kind, *what = heappop(events)
        if kind == asks:
            node = m.src[what[0]]
            works[node] = max(time, works[node]) + message_overhead
            begin(works[node], what[0])
        elif kind == draws:
            draw(*what[1:])
        elif kind == comes:
            here = links_of(what[1])[what[3]]
            queues[here].append((time, *what))
            serve(here, time)
        elif kind == room_again:
            room[what[0]] += what[1]
            heappush(events, (time, may_go, what[0]))
        else:
            serve(what[0], time)
    return None if inside.any() else arrival


def crowd(rng, groups=4, nlinks=6, most=2):
    """Random messages on few links, in whole numbers so that much happens at the same time."""
    rows = []
    for _ in range(rng.integers(1, 25)):
        waits_for = int(rng.integers(-1, groups))
        rows.append(
            {
                "src": rng.integers(3),
                "nbytes": float(rng.integers(0, 20)),
                "waits_for": waits_for,
                "ready": float(rng.integers(0, 5)),
                "cost": float(rng.integers(0, 2)),
                "signals": rng.permutation(np.arange(waits_for + 1, groups))[: rng.integers(0, 3)],
                "routes": [
                    rng.permutation(nlinks)[: rng.integers(1, nlinks)]
                    for _ in range(rng.integers(1, most + 1))
                ],
            }
        )
    successor = [int(rng.choice([-1, *range(g + 1, groups)])) for g in range(groups)]
    bandwidth, latency = rng.integers(1, 3, nlinks), rng.integers(1, 4, nlinks)
    return table(*rows, successor=successor), bandwidth.astype(float), latency.astype(float)


@settings(max_examples=100)
@given(
    seeds,
    st.fixed_dictionaries(
        {
            "packet_bytes": st.integers(1, 6),
            "flit_bytes": st.just(2),
            "message_overhead": st.integers(0, 1),
            "adaptive": st.booleans(),
            "local": st.booleans(),
            "buffer_bytes": st.sampled_from([None, None, 12, 24]),
            "bucket": st.sampled_from([None, 0.0]),
        }
    ),
)
def test_links_that_run_ahead_do_as_a_single_queue_of_events(seed, options):
    rng = np.random.default_rng(seed)
    messages, bandwidth, latency = crowd(rng)
    options |= {"credit_latency": rng.integers(1, 4, len(latency)).astype(float)}
    slow = slow_times(messages, bandwidth, latency, **options)
    if slow is None:
        with pytest.raises(ValueError, match="full buffers"):
            packet_times(messages, bandwidth, latency, **options)
    else:
        for _ in range(2):
            fast = packet_times(messages, bandwidth, latency, **options)
            assert fast.tobytes() == slow.tobytes()


@given(seeds, st.booleans())
def test_nothing_beats_latency_and_bandwidth(seed, adaptive):
    messages, bandwidth, latency = crowd(np.random.default_rng(seed), most=2 if adaptive else 1)
    got = np.array(times(messages, bandwidth, latency, adaptive=adaptive))
    for i, arrival in enumerate(got):
        routes = range(messages.route_ptr[i], messages.route_ptr[i + 1])
        routes = [messages.links[messages.link_ptr[w] : messages.link_ptr[w + 1]] for w in routes]
        least = min(latency[w].sum() for w in routes) if messages.nbytes[i] else 0
        rate = sum(bandwidth[w].min() for w in routes)
        assert arrival >= messages.ready[i] + max(least, messages.nbytes[i] / rate) - 1e-9
        if len(routes) == 1:
            alone = latency[routes[0]].sum() + messages.nbytes[i] / rate
            assert arrival >= messages.ready[i] + alone - 1e-9
    if not adaptive:
        carried = np.bincount(
            messages.links,
            np.repeat(messages.nbytes, np.diff(messages.link_ptr)),
            minlength=len(bandwidth),
        )
        assert got.max() >= (carried / bandwidth).max() - 1e-9


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


def test_messages_of_a_node_take_turns():
    a = {"nbytes": 12.0, "routes": [[0]]}
    assert times(table(a, a, a)) == [29, 33, 37]
    short = {"nbytes": 4.0, "ready": 1.0, "routes": [[0]]}
    assert times(table(a, short)) == [17, 9]


@pytest.mark.parametrize(("nbytes", "collide"), [(1, False), (3, False), (5, True)])
def test_messages_shorter_than_a_hop_do_not_meet(nbytes, collide):
    hops = 5
    got = times(ring_shift(16, hops, float(nbytes)), latency=4.0, packet_bytes=8)
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
    assert times(table(both), adaptive=True) == [201]


def test_adaptive_packets_take_the_emptier_route():
    both = {"nbytes": 400.0, "routes": [[0, 2], [1, 3]]}
    rates = [1, 0.25, 1, 1]
    (dealt,), (chosen,) = (times(table(both), rates, adaptive=choice) for choice in (False, True))
    assert dealt == 802
    assert 2 + 400 / 1.25 <= chosen <= 2 + 400 / 1.25 + 16
    busy = {"nbytes": 100.0, "routes": [[1]]}
    assert times(table(both, busy)) == [302, 201]
    got = times(table(both, busy), adaptive=True)
    assert max(got) <= 2 + 500 / 2 + 4


def ring_shift(d, hops, nbytes):
    """Every node of a ring sends as far."""
    routes = (np.arange(i, i + hops) % d for i in range(d))
    return table(
        *({"src": i, "nbytes": nbytes, "routes": [route]} for i, route in enumerate(routes))
    )


@pytest.mark.parametrize("hops", [2, 5, 9])
@pytest.mark.parametrize("buffers", [2, 3, 10])
def test_full_rings_go_on(hops, buffers):
    messages = ring_shift(12, hops, 400.0)
    bound = times(messages, latency=0.5)
    for got in (bound, times(messages, latency=0.5, buffer_bytes=4 * buffers)):
        assert 400 * hops <= max(got) <= 3 * 400 * hops
    assert bound == times(messages, latency=0.5, buffer_bytes=4e6)


def test_routes_that_turn_onto_rings_go_on():
    d = 4
    routes = [[d + i, *(np.arange(i // 2, i // 2 + 3) % d), 3 * d + i % 3] for i in range(2 * d)]
    rows = [{"nbytes": 400.0, "routes": [route]} for route in routes]
    for buffer_bytes in (None, 8, 12):
        got = times(table(*rows), latency=0.5, buffer_bytes=buffer_bytes)
        assert 400 * 6 < max(got) < 400 * 8


def test_tangled_routes_may_block_each_other():
    rng = np.random.default_rng(0)
    rows = [{"nbytes": 400.0, "routes": [rng.permutation(6)]} for _ in range(20)]
    with pytest.raises(ValueError, match="full buffers wait for each other"):
        times(table(*rows), latency=0.5, buffer_bytes=8)
    assert max(times(table(*rows), latency=0.5)) < 400 * 20 * 2


def test_the_next_step_may_wait_for_the_first_link_only():
    first = {"nbytes": 8.0, "routes": [[0, 1, 2]], "signals": [-1, 0]}
    after = {"nbytes": 4.0, "routes": [[3]], "waits_for": 0}
    assert times(table(first, after)) == [11, 16]
    assert times(table(first, after), local=True) == [11, 13]


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
    with pytest.raises(ValueError, match="wait for each other"):
        times(table(one | {"waits_for": 0, "signals": [0]}))
    assert times(table(one), bandwidth=np.array([1.0])) == [5]
