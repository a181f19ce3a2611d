"""The flow model: theorems of max-min fairness, a slow exact simulator, SimGrid's answers."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.models.flow import flow_times
from netsim.traffic.messages import Messages

with open(Path(__file__).parent / "data" / "simgrid.csv", newline="") as file:
    SIMGRID = list(csv.DictReader(file))


class Route(NamedTuple):
    links: list[int]
    latency: float = 0
    share: float = 1


class Sent(NamedTuple):
    nbytes: float
    routes: list[Route]
    ready: float = 0
    cost: float = 0
    waits_for: int = -1
    signals: tuple[int, int] = (-1, -1)


def table(sent: list[Sent], successor: list[int] = ()) -> Messages:
    """Messages with their groups; group g comes before group follows[g]."""
    routes = [route for message in sent for route in message.routes]
    signals = np.array([m.signals for m in sent], dtype=np.int64)
    ngroups = max([len(successor), *(signals.ravel() + 1), *(m.waits_for + 1 for m in sent)])
    after = np.array([*successor, *[-1] * (ngroups - len(successor))], dtype=np.int64)
    pending_count = np.bincount(signals[signals >= 0], minlength=ngroups)
    pending_count[after[after >= 0]] += 1
    none = np.zeros(len(sent), dtype=np.int64)
    return Messages(
        src=none,
        dst=none,
        nbytes=np.array([m.nbytes for m in sent], dtype=float),
        step=none,
        waits_for=np.array([m.waits_for for m in sent], dtype=np.int64),
        ready=np.array([m.ready for m in sent], dtype=float),
        signals=signals,
        pending_count=pending_count,
        successor=after,
        route_ptr=np.cumsum([0, *(len(m.routes) for m in sent)]),
        share=np.array([w.share for w in routes], dtype=float),
        link_ptr=np.cumsum([0, *(len(w.links) for w in routes)]),
        links=np.array([link for w in routes for link in w.links], dtype=np.int64),
        latency=np.array([w.latency for w in routes], dtype=float),
        peer=none,
        cost=np.array([m.cost for m in sent], dtype=float),
    )


def times(sent: list[Sent], bandwidth: list[float], successor: list[int] = ()) -> list[float]:
    return flow_times(table(sent, successor), np.array(bandwidth, dtype=float)).tolist()


def close(expected):
    return pytest.approx(expected, rel=1e-12)


def test_alone_a_message_takes_its_latency_and_its_slowest_link():
    assert times([Sent(12, [Route([0, 1, 2], 0.5)])], [4, 3, 6]) == close([4.5])


@pytest.mark.parametrize("k", [1, 2, 7, 100])
def test_k_messages_on_a_link_take_k_times_as_long(k):
    assert times([Sent(10, [Route([0])])] * k, [5]) == close([2 * k] * k)


def test_shorter_messages_leave_their_share_to_the_others():
    # Both 1 B/s until 2 s; then the other 2 B/s for the 4 B that it has left.
    assert times([Sent(2, [Route([0])]), Sent(6, [Route([0])])], [2]) == close([2, 4])


def test_a_message_that_comes_later_takes_its_share_then():
    assert times([Sent(6, [Route([0])]), Sent(2, [Route([0])], ready=2)], [2]) == close([4, 4])


def test_what_travels_takes_no_bandwidth():
    assert times([Sent(6, [Route([0])]), Sent(2, [Route([0], 5)])], [2]) == close([3, 6])


def test_unequal_rates_on_three_links():
    # One flow over links of 10, 4 and 9 B/s, another one on each. The second link gives 2 to each
    # of its flows, which leaves 8 and 7 to the others; from 1 s on the long one has 4 alone.
    long, short = (
        Sent(4, [Route([0, 1, 2])]),
        [Sent(n, [Route([i])]) for i, n in enumerate([8, 2, 7])],
    )
    assert times([long, *short], [10, 4, 9]) == close([1.5, 1, 1, 1])


def test_a_part_that_is_given_back_is_found_links_away():
    sent = [Sent(1, [Route([0])]), Sent(4, [Route([0, 1])]), Sent(9, [Route([1])])]
    # 1, 1 and 5 B/s; from 1 s the second one has 2, so that the third one has 4 for its last 4 B.
    assert times(sent, [2, 6]) == close([1, 2.5, 2])


def test_a_chain_adds_up():
    chain = [
        Sent(6, [Route([i], 0.25)], cost=0.5, waits_for=i - 1, signals=(i, -1)) for i in range(4)
    ]
    assert times(chain, [2, 3, 6, 1]) == close([3.25, 6, 7.75, 14.5])


def test_a_group_waits_for_the_one_before():
    sent = [
        Sent(8, [Route([0])], signals=(0, -1)),
        Sent(1, [Route([1])], signals=(1, -1)),
        Sent(1, [Route([2])], waits_for=1),
    ]
    assert times(sent, [1, 1, 1], successor=[1]) == close([8, 1, 9])
    assert times(sent, [1, 1, 1]) == close([8, 1, 2])


def test_a_message_counts_for_both_of_its_groups_and_empty_groups_are_done():
    sent = [
        Sent(3, [Route([0])], waits_for=0, signals=(1, 2)),
        *(Sent(1, [Route([0])], waits_for=g) for g in (1, 2)),
    ]
    assert times(sent, [1]) == close([3, 5, 5])


def test_nothing_to_carry_arrives_after_its_latency():
    sent = [
        Sent(0, [Route([0], 2)], signals=(0, -1)),
        Sent(5, [Route([], 1)], waits_for=0, signals=(1, -1)),
        Sent(0, [Route([0])], waits_for=1),
    ]
    assert times(sent, [1]) == close([2, 3, 3])


def test_the_last_of_several_routes_decides():
    sent = [Sent(8, [Route([0], 1, 0.25), Route([1, 2], 3, 0.75)]), Sent(4, [Route([0])])]
    assert times(sent, [2, 3, 2]) == close([6, 3])


def test_what_can_never_be_sent_is_an_error():
    with pytest.raises(ValueError, match="link 1 is used"):
        times([Sent(1, [Route([0, 1])])], [1, 0])
    assert times([Sent(1, [Route([0])])], [1, 0]) == [1]
    circle = [Sent(1, [Route([0])], waits_for=i, signals=(1 - i, -1)) for i in (0, 1)]
    with pytest.raises(ValueError, match="wait for each other"):
        times(circle, [1])


@st.composite
def networks(draw, most=12):
    """Small numbers, so that many events tie; gates name earlier groups only."""
    nlinks, ngroups = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    route = st.lists(st.integers(0, nlinks - 1), max_size=4, unique=True)
    latency = st.sampled_from([0, 0, 1, 2, 0.5])
    message = st.builds(
        Sent,
        st.integers(0, 8),
        st.one_of(
            st.builds(lambda *args: [Route(*args)], route, latency),
            st.lists(st.builds(Route, route, latency, st.just(0.5)), min_size=2, max_size=2),
        ),
        ready=latency,
        cost=latency,
        waits_for=st.integers(-1, ngroups - 1),
    )
    sent = [
        m._replace(signals=tuple(draw(st.integers(m.waits_for + 1, ngroups)) for _ in range(2)))
        for m in draw(st.lists(message, min_size=1, max_size=most))
    ]
    stride = draw(st.integers(1, ngroups + 1))
    successor = [g + stride if g + stride <= ngroups else -1 for g in range(ngroups + 1)]
    return sent, draw(st.lists(st.integers(1, 5), min_size=nlinks, max_size=nlinks)), successor


def fair(routes: dict[object, list[int]], bandwidth: list[float]) -> dict[object, Fraction]:
    """Progressive filling as textbooks have it: all grow alike until a link is full."""
    rates, growing, level = {}, dict(routes), Fraction(0)
    while growing:
        grow = {}
        for link, capacity in enumerate(bandwidth):
            given = sum(rates[f] for f in rates if link in routes[f])
            n = sum(link in route for route in growing.values())
            if n:
                grow[link] = (capacity - given) / n
        level = min(grow.values())
        full = {link for link, rate in grow.items() if rate == level}
        for f in [f for f, route in growing.items() if full & set(route)]:
            rates[f] = level
            del growing[f]
    return rates


def slow_times(sent: list[Sent], bandwidth: list[float], successor: list[int]) -> list[float]:
    """The same model written for reading only, in exact fractions."""
    bandwidth = [Fraction(b) for b in bandwidth]
    routes = [[(i, j) for j in range(len(m.routes))] for i, m in enumerate(sent)]
    flows, left = {}, {}  # of every route: when it begins to flow, bytes still to flow
    arrived, counted = {}, {}  # of every message

    def done(group: int, now: Fraction) -> bool:
        mine = [i for i, m in enumerate(sent) if group in m.signals]
        before = [g for g, after in enumerate(successor) if after == group]
        return all(counted.get(i, math.inf) <= now for i in mine) and all(
            done(g, now) for g in before
        )

    now = Fraction(0)
    while len(arrived) < len(sent):
        more = False  # may happen at this moment
        for i, m in enumerate(sent):
            if not flows.keys() & routes[i] and (m.waits_for < 0 or done(m.waits_for, now)):
                more = True
                for f, route in zip(routes[i], m.routes, strict=True):
                    flows[f] = max(now, Fraction(m.ready)) + Fraction(route.latency)
                    left[f] = m.nbytes * Fraction(route.share) if route.links else Fraction(0)
            through = all(flows.get(f, math.inf) <= now and not left[f] for f in routes[i])
            if through and i not in arrived:
                more = True
                arrived[i], counted[i] = now, now + Fraction(m.cost)
        if more:
            continue
        on_links = [f for f in flows if flows[f] <= now and left[f]]
        rates = fair({(i, j): sent[i].routes[j].links for i, j in on_links}, bandwidth)
        events = [now + left[f] / rate for f, rate in rates.items()]
        then = min(events + [t for t in [*flows.values(), *counted.values()] if t > now])
        for f, rate in rates.items():
            left[f] -= rate * (then - now)
        now = then
    return [float(arrived[i]) for i in range(len(sent))]


@given(networks())
def test_a_slow_simulator_in_fractions_agrees(network):
    assert times(*network) == pytest.approx(slow_times(*network), rel=1e-9)


@given(networks(), st.randoms())
def test_the_order_of_messages_and_links_does_not_matter(network, random):
    sent, bandwidth, successor = network
    order, name = list(range(len(sent))), list(range(len(bandwidth)))
    random.shuffle(order)
    random.shuffle(name)
    other = [
        sent[i]._replace(
            routes=[w._replace(links=[name[k] for k in w.links]) for w in sent[i].routes]
        )
        for i in order
    ]
    again = [bandwidth[name.index(k)] for k in range(len(bandwidth))]
    found = times(sent, bandwidth, successor)
    assert times(other, again, successor) == close([found[i] for i in order])


@given(networks(), st.floats(1e-3, 1e12))
def test_only_the_ratio_of_bytes_and_bandwidth_matters(network, k):
    sent, bandwidth, successor = network
    scaled = times(
        [m._replace(nbytes=k * m.nbytes) for m in sent], [k * b for b in bandwidth], successor
    )
    assert scaled == close(times(sent, bandwidth, successor))


@given(networks(), st.floats(1e-3, 1e3))
def test_if_nothing_else_takes_time_it_is_inverse_to_bandwidth(network, k):
    sent, bandwidth, successor = network
    sent = [
        m._replace(ready=0, cost=0, routes=[w._replace(latency=0) for w in m.routes]) for m in sent
    ]
    found = times(sent, bandwidth, successor)
    assert times(sent, [k * b for b in bandwidth], successor) == close([t / k for t in found])


@given(networks())
def test_no_message_beats_itself_alone_and_no_link_its_bandwidth(network):
    sent, bandwidth, successor = network
    found = times(sent, bandwidth, successor)
    carried = np.zeros(len(bandwidth))
    for m, t in zip(sent, found, strict=True):
        for route in m.routes:
            np.add.at(carried, route.links, m.nbytes * route.share)
            slowest = min((bandwidth[link] for link in route.links), default=math.inf)
            assert t >= (m.ready + route.latency + m.nbytes * route.share / slowest) * (1 - 1e-12)
    assert max(found) >= (carried / bandwidth).max() * (1 - 1e-12)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1), st.floats(1, 9))
def test_a_link_never_idles_and_more_bandwidth_makes_nobody_slower(jobs, more):
    found, faster = (
        times([Sent(n, [Route([0])], ready=t) for n, t in jobs], [b]) for b in (2, 2 * more)
    )
    end = 0.0
    for n, start in sorted(jobs, key=lambda job: job[1]):
        end = max(end, start) + n / 2
    assert max(found) == close(end)
    assert all(b <= a * (1 + 1e-12) for a, b in zip(found, faster, strict=True))


def peers(pattern: str, args: list[int], x: np.ndarray, dims: tuple[int, ...]) -> list[np.ndarray]:
    """The coordinates that those at x (p, D) send to: one array or several."""
    unit, d = np.eye(len(dims), dtype=np.int64), np.array(dims)
    j = args[0] if args else 0
    if pattern in ("nbr", "nbr2"):
        return [(x + side * unit[j]) % d for side in ((1,) if pattern == "nbr" else (1, -1))]
    if pattern == "nbrall":
        return [(x + side * e) % d for e in unit for side in (1, -1)]
    if pattern == "shift":
        return [(x + args[1] * unit[j]) % d]
    if pattern == "shiftall":
        return [(x + args[0]) % d]
    if pattern == "linshift":
        ranks = np.ravel_multi_index(tuple(x.T), dims, order="F") + args[0]
        return [np.stack(np.unravel_index(ranks % math.prod(dims), dims, order="F"), axis=1)]
    if pattern == "transpose":
        return [x[:, ::-1]]
    if pattern == "bitcomp":
        return [d - 1 - x]
    if pattern == "rdstep":
        return [x ^ (unit[j] << args[1])]
    if pattern == "swstep":
        rho = sum((-2) ** i for i in range(args[1] + 1))
        return [(x + np.where(x[:, [j]] % 2 == 0, rho, -rho) * unit[j]) % d]
    raise ValueError(pattern)


def route(x: tuple[int, ...], y: tuple[int, ...], dims: tuple[int, ...]) -> list[tuple]:
    """The links from x to y: dimension 0 first, the shorter way, ties as SimGrid has them."""
    links, here = [], list(x)
    for j, d in enumerate(dims):
        up = (y[j] - x[j]) % d
        side = 1 if 2 * up < d or (2 * up == d and x[j] != d // 2) else -1
        while here[j] != y[j]:
            links.append((*here, j, side))
            here[j] = (here[j] + side) % d
    return links


@pytest.mark.parametrize(
    "row",
    [row for row in SIMGRID if row["steps"] == "1"],
    ids=lambda row: "-".join(row[k] for k in ("dims", "pattern", "args", "bytes")).replace(
        " ", "."
    ),
)
def test_simgrid_agrees_on_a_step(row):
    dims = tuple(map(int, row["dims"].split("x")))
    x = np.indices(dims).reshape(len(dims), -1).T
    number: dict[tuple, int] = {}
    sent = []
    for y in peers(row["pattern"], [int(a) for a in row["args"].split()], x, dims):
        for a, b in zip(x.tolist(), y.tolist(), strict=True):
            if links := [number.setdefault(link, len(number)) for link in route(a, b, dims)]:
                latency = len(links) * float(row["link_latency_s"])
                sent.append(Sent(float(row["bytes"]), [Route(links, latency)]))
    assert len(sent) == int(row["messages"])
    found = times(sent, [float(row["link_bytes_per_s"])] * len(number))
    assert max(found) == pytest.approx(float(row["simulated_s"]), rel=1e-9)


def test_what_has_left_may_count_before_it_arrives():
    first = Sent(4, [Route([0], 3)], signals=[-1, 0])
    after = Sent(2, [Route([1], 1)], waits_for=0)
    rows = table([first, after]), np.array([2.0, 1.0])
    assert flow_times(*rows).tolist() == close([5, 8])
    assert flow_times(*rows, local=True).tolist() == close([5, 5])
    both = table([first, first]), np.array([2.0])
    assert flow_times(*both, message_overhead=0.5, local=True).tolist() == close([7, 7.5])
