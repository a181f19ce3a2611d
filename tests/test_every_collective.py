"""Every collective on every torus: proven, counted independently, and simulated."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

import netsim
import swing
from swing.algorithms.disjoint_trees import depths, one_way, shallow
from swing.build.combine import chain
from swing.build.derive import derive
from swing.build.parallel import parallel
from swing.build.reversal import reverse
from swing.build.segments import segmented
from swing.schedules.body import Body
from swing.schedules.collectives import ALL, BARRIER, COLLECTIVES, has_root
from swing.select.candidates import shortlist
from swing.select.choose import PAPER
from swing.select.estimate import figures, seconds
from swing.torus import Torus

SHAPES = [
    (1,), (2,), (3,), (7,), (8,), (12,), (1, 5), (2, 2), (2, 3), (3, 3), (4, 4), (5, 3), (6, 2),
    (4, 1, 3), (2, 2, 2), (2, 3, 2), (3, 3, 2), (2, 2, 2, 2), (1, 2, 1, 3), (2, 1, 3, 2),
]  # fmt: skip


def count(schedule):
    """Follow every contribution; say what is wrong in words, or nothing.

    A value is the set of the ranks whose contributions to a block it has.
    """
    p = schedule.torus.size
    origin, home = schedule.origin.tolist(), schedule.home.tolist()
    value = {(r, b): {r} for b, o in enumerate(origin) for r in (range(p) if o == ALL else [o])}
    for s, step in enumerate(schedule):
        sent = [
            (m.dst, b, frozenset(value.get((m.src, b), ())), m.op)
            for m in map(step.message, range(len(step)))
            for b in np.r_[m.blocks].tolist()
        ]
        for dst, b, what, op in sent:
            if not what:
                return f"step {s} sends block {b}, which its sender does not have"
            if op is swing.Op.COPY:
                value[dst, b] = set(what)
            elif value[dst, b] & what:
                return f"step {s} adds a contribution to block {b} twice"
            else:
                value[dst, b] |= what
    for b, (o, h) in enumerate(zip(origin, home, strict=True)):
        full = set(range(p)) if o == ALL else {o}
        for r in range(p) if h == ALL else [h]:
            if value.get((r, b)) != full:
                return f"rank {r} ends without block {b}"
    return ""


def random_case(rng: random.Random):
    """A torus, the name of an algorithm that serves a collective on it, and all its options."""
    while True:
        dims = [rng.randint(1, 6) for _ in range(rng.randint(1, 4))]
        if math.prod(dims) > 24:
            continue
        wrap = [rng.random() < 0.8 for _ in dims]
        torus = Torus(dims, wrap)
        name = rng.choice(list(swing.ALGORITHMS))
        algorithm = swing.ALGORITHMS[name]
        collective = rng.choice(algorithm.collectives)
        options = {"collective": collective}
        if has_root(collective) and rng.random() < 0.9:
            options["root"] = rng.randrange(torus.size)
        if collective in ("broadcast", "reduce") and rng.random() < 0.7:
            options["chunks"] = rng.randint(1, 5)
        if "ports" in algorithm.options and rng.random() < 0.5:
            options["ports"] = rng.randint(1, 2 if name == "ring" else max(1, torus.ports))
        if name == "bucket":
            options["ways"] = rng.choice([1, 2])
        if "segments" in algorithm.options and collective != BARRIER and rng.random() < 0.3:
            options["segments"] = rng.randint(1, 3)
        try:
            return torus, name, options, swing.schedule(name, torus, **options)
        except ValueError:  # no Hamiltonian cycles on this torus
            continue


def check(torus, name, options, schedule):
    swing.verify(schedule)
    assert count(schedule) == "", (torus, name, options)
    if options["collective"] not in (BARRIER, "allreduce") and torus.size > 1:
        assert schedule.collective == options["collective"]
        assert reverse(reverse(schedule)).table() == schedule.table()
        assert count(reverse(schedule)) == "", (torus, name, options)
    held = Counter()
    unit = np.ones(schedule.nblocks) / schedule.nblocks * schedule.vectors
    shares = unit if schedule.shares is None else schedule.shares
    for o, share in zip(schedule.origin.tolist(), shares.tolist(), strict=True):
        held[o] += share
    if options["collective"] == "alltoall":
        assert set(held) == set(range(torus.size))
        assert held.most_common()[0][1] == pytest.approx(1)
    elif options["collective"] != BARRIER:
        assert sum(held.values()) == pytest.approx(1)
    for column in (schedule.origin, schedule.home):
        if column.constant is None:
            assert len(set(Counter(column.tolist()).values())) == 1  # as many blocks on each rank


@pytest.mark.parametrize("seed", range(4))
def test_random_cases_are_proven_and_counted(seed):
    rng = random.Random(seed)
    for _ in range(12):
        check(*random_case(rng))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_ten_thousand_random_cases(seed):
    rng = random.Random(f"many {seed}")
    for _ in range(500):
        check(*random_case(rng))


def test_the_count_finds_errors():
    """A schedule that lacks a message, or has one twice, is wrong."""
    ring = swing.schedule("ring", Torus(4), collective="broadcast", chunks=2)
    steps = [ring[s] for s in range(len(ring))]

    def made(steps):
        return swing.Schedule("made", ring.torus, 2, len(steps), steps.__getitem__, origin=0)

    assert count(made(steps)) == ""
    assert "ends without" in count(made(steps[:-1]))
    assert "does not have" in count(made(steps[1:]))
    reduce = swing.schedule("ring", Torus(4), collective="reduce", chunks=1)
    twice = [reduce[0], *reduce]
    again = swing.Schedule("made", ring.torus, 1, len(twice), twice.__getitem__, home=0)
    assert "does not have" in count(again) or "twice" in count(again)


@pytest.mark.nightly
@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_every_collective_has_an_algorithm_for_every_shape_and_every_root(dims):
    serves_every_collective(Torus(dims), range(math.prod(dims)))


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_every_collective_has_an_algorithm_for_every_shape(dims):
    serves_every_collective(Torus(dims), [math.prod(dims) // 2])


def serves_every_collective(torus, roots):
    for collective in COLLECTIVES:
        for root in roots if has_root(collective) else [None]:
            schedule = swing.schedule("swing", torus, collective=collective, root=root)
            assert swing.verify(schedule).same_bits
    for collective in ("broadcast", "reduce"):
        for root in roots:
            trees = swing.schedule("disjoint_trees", torus, collective=collective, root=root)
            assert swing.verify(trees).messages == len(trees.parts) * (torus.size - 1)


@pytest.mark.parametrize("name", list(swing.ALGORITHMS))
def test_algorithms_say_which_collectives_they_serve(name):
    algorithm, torus = swing.ALGORITHMS[name], Torus((3, 4))
    for collective in COLLECTIVES:
        if collective in algorithm.collectives:
            assert len(swing.schedule(name, torus, collective=collective)) > 0
        else:
            with pytest.raises(ValueError, match=f"{name} does not serve {collective}: it serves"):
                swing.schedule(name, torus, collective=collective)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"collective": "scan"}, "choose from allreduce, reduce_scatter"),
        ({"collective": ["gather"]}, "no collective"),
        ({"collective": "alltoall", "root": 1}, "alltoall has no root"),
        ({"root": 1}, "allreduce has no root"),
        ({"collective": "gather", "root": 12}, "from 0 to 11, not 12"),
        ({"collective": "gather", "root": -1}, "from 0 to 11, not -1"),
        ({"collective": "gather", "chunks": 2}, "gather is not made in chunks"),
        ({"collective": "broadcast", "chunks": 0}, "from 1 up, not 0"),
        ({"collective": "broadcast", "variant": "latency"}, "use chunks=1"),
        ({"collective": "scatter", "variant": "hybrid", "k": 1}, "use variant='bandwidth'"),
        ({"collective": "barrier", "ports": 99}, "ports"),
        ({"collective": "barrier", "variant": "nonsense"}, "nonsense"),
        ({"collective": "barrier", "variant": "hybrid", "k": 1}, "use variant='bandwidth'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, rule):
    with pytest.raises(ValueError, match=rule) as caught:
        swing.schedule("swing", Torus((3, 4)), **options)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("p", [2, 4, 8, 16, 32, 64])
def test_the_tree_of_swing_is_a_bine_tree_and_that_of_recursive_doubling_binomial(p):
    """In step i of s, Bine's ranks differ in the last s - i digits of base -2, binomial in one."""
    steps = p.bit_length() - 1
    mask = 0xAAAA

    def negabinary(rank):
        return ((rank + mask) ^ mask) % p

    for name in ("swing", "recursive_doubling"):
        options = {"collective": "broadcast", "chunks": 1, "ports": 1}
        tree = swing.schedule(name, Torus(p), **options)
        assert len(tree) == steps
        for i, step in enumerate(tree):
            assert len(step) == 2**i
            for src, dst in zip(step.src.tolist(), step.dst.tolist(), strict=True):
                if name == "swing":
                    assert negabinary(src) ^ negabinary(dst) == 2 ** (steps - i) - 1
                else:
                    assert src ^ dst == 2 ** (steps - i - 1)


@pytest.mark.parametrize("p", [2, 3, 5, 8, 13])
def test_chunks_follow_each_other_along_a_chain(p):
    for chunks in (1, 2, 7):
        chain = swing.schedule("ring", Torus(p), collective="broadcast", root=1, chunks=chunks)
        assert len(chain) == p - 2 + chunks
        assert swing.verify(chain).ports == (1, 1)


@pytest.mark.parametrize("dims", [(4,), (3, 4), (4, 4), (5, 7), (8, 8), (3, 3, 3), (2, 3, 4)])
def test_disjoint_trees_use_every_link_once(dims):
    nodes, ndim = math.prod(dims), len(dims)
    links = Counter()
    for j, d in enumerate(dims):
        for way in (1, -1):
            step = np.arange(ndim) == j
            coords = np.stack(np.unravel_index(np.arange(nodes), dims), axis=1) + way * step
            ends = np.ravel_multi_index(tuple(coords.T), dims, mode="wrap")
            assert d > 1
            links.update(zip(range(nodes), ends.tolist(), strict=True))
    for trees in (one_way(dims), shallow(dims)):
        used = Counter(
            (int(up), node) for tree in trees for node, up in enumerate(tree) if node != up
        )
        assert used == Counter({link: n for link, n in links.items() if link[1] != 0})
        for tree in trees:
            assert (depths(tree, 0) >= 0).all()
    assert max(depths(t, 0).max() for t in one_way(dims)) <= sum(d - 1 for d in dims) + 1


@pytest.mark.parametrize("collective", ["broadcast", "reduce", "allreduce"])
@pytest.mark.parametrize(("chunks", "window"), [(7, 3), (6, 2), (2, 5), (1, 1)])
def test_a_window_of_chunks_sends_the_same_messages(chunks, window, collective):
    """Each link carries each chunk once, as without a window, and chunks are equally large."""
    torus = Torus((3, 4))
    whole, windowed = (
        swing.schedule("disjoint_trees", torus, chunks=chunks, collective=collective, **more)
        for more in ({}, {"window": window})
    )
    assert swing.verify(windowed).same_bits
    assert len(windowed.parts) == min(window, chunks)
    sent = [
        Counter(
            (int(src), int(dst), bool(reduces))
            for step in schedule
            for src, dst, reduces in zip(step.src, step.dst, step.reduces, strict=True)
        )
        for schedule in (whole, windowed)
    ]
    assert sent[0] == sent[1]
    assert windowed.nblocks == whole.nblocks
    assert windowed.shares is None or np.ptp(windowed.shares) == 0


def test_a_window_is_a_whole_number_from_1_up():
    with pytest.raises(ValueError, match="window must be a whole number from 1 up, not 0"):
        swing.schedule("disjoint_trees", Torus(4), window=0, collective="reduce")


@pytest.mark.parametrize("dims", [(5, 5), (4, 6), (3, 4, 4)])
def test_a_window_keeps_the_card_free_for_what_a_reduce_passes_on(dims):
    """At 8 MiB the window is simulated and estimated faster, and is what is chosen."""
    torus, network = Torus(dims), netsim.paper_network("torus:" + "x".join(map(str, dims)))
    choice = swing.choose(torus, 2**23, collective="reduce")
    assert choice.options["window"] == 8
    made = [
        swing.schedule("disjoint_trees", torus, collective="reduce", **options)
        for options in (choice.options, {"chunks": choice.options["chunks"]})
    ]
    ours, at_once = (netsim.simulate(each, network, 2**23, "packet").seconds for each in made)
    assert ours < 0.95 * at_once
    for each, simulated in zip(made, (ours, at_once), strict=True):
        estimate = seconds(figures(each), PAPER, 2**23, in_order=1)
        assert estimate == pytest.approx(simulated, rel=0.12)


def test_disjoint_trees_are_shallow():
    for dims, depth in {(8, 8): 10, (16, 16): 18, (4, 4, 4): 7, (8, 8, 8): 13, (16, 4): 12}.items():
        assert max(depths(tree, 0).max() for tree in shallow(dims)) <= depth


@pytest.mark.parametrize("dims", [(6,), (4, 4), (3, 5), (2, 3, 4), (8, 2)])
def test_lines_of_an_alltoall_are_its_rows(dims):
    network = netsim.paper_network(Torus(dims).name, ties="split")
    for name in ("swing", "recursive_doubling", "bucket", "windows", "recursive_multiplying"):
        schedule = swing.schedule(name, network.topology.torus, collective="alltoall")
        assert all(schedule.lines(s) for s in range(schedule.nsteps))
        for s, step in enumerate(schedule):
            load = netsim.simulate(schedule, network, 2**20).step_bytes(s) / 2**20
            nodes = network.topology.torus.node_of
            rows = netsim.traffic.load.Traffic(
                nodes[step.src], nodes[step.dst], schedule.share(step)
            )
            assert load == pytest.approx(network.topology.load(rows, "split", (0, s)))


def test_a_barrier_is_the_allreduce_of_a_block_without_bytes():
    network = netsim.paper_network("torus:3x4")
    for name in swing.ALGORITHMS:
        if BARRIER in swing.ALGORITHMS[name].collectives:
            barrier = swing.schedule(name, network.topology.torus, collective=BARRIER)
            assert barrier.is_allreduce
            assert (barrier.nblocks, barrier.shares.tolist()) == (1, [0.0])
            for model in netsim.MODELS:
                times = [netsim.simulate(barrier, network, n, model).seconds for n in (8, 2**20)]
                assert times[0] == times[1] >= netsim.lower_bound(network, 2**20, BARRIER)


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_auto_serves_every_collective_and_no_time_is_below_the_bound(collective):
    network = netsim.paper_network("torus:2x3")
    torus = network.topology.torus
    root = 5 if has_root(collective) else None
    for nbytes in (32, 2**23):
        choice = swing.choose(torus, nbytes, collective=collective, root=root)
        schedule = choice.schedule(torus)
        auto = swing.schedule("auto", torus, nbytes=nbytes, collective=collective, root=root)
        assert schedule.table() == auto.table()
        if root is not None:
            assert root in (schedule.origin.constant, schedule.home.constant)
        bound = netsim.lower_bound(network, nbytes, collective, root or 0)
        for model in netsim.MODELS:
            assert netsim.simulate(schedule, network, nbytes, model).seconds >= bound * (1 - 1e-9)


@pytest.mark.parametrize("name", ["swing", "pairwise", "bucket", "recursive_multiplying"])
def test_an_alltoallv_sends_its_counts(name):
    torus, rng = Torus((2, 3)), np.random.default_rng(1)
    counts = rng.integers(0, 1000, (6, 6))
    schedule = swing.schedule(name, torus, collective="alltoall", counts=counts)
    pair = schedule.origin[:] * 6 + schedule.home[:]
    total = np.bincount(pair, schedule.shares, 36).reshape(6, 6) * counts.sum() / 6
    assert total == pytest.approx(counts)
    assert count(schedule) == ""
    # A message's bytes are those of its blocks, in every model.
    step = schedule[0]
    bytes_of = [schedule.shares[np.r_[step.blocks[i]]].sum() for i in range(len(step))]
    assert schedule.share(step) == pytest.approx(bytes_of)
    network = netsim.paper_network("torus:2x3")
    for model in netsim.MODELS:
        assert netsim.simulate(schedule, network, int(counts.sum()) // 6, model).seconds > 0
    for wrong in (counts[:5], -counts, counts * np.nan, counts * 0, "many", [[1], [2, 3]]):
        with pytest.raises(ValueError, match="counts must"):
            swing.schedule(name, torus, collective="alltoall", counts=wrong)
    with pytest.raises(ValueError, match="allgather has no counts"):
        swing.schedule(name, torus, collective="allgather", counts=counts)


SEGMENTED = [
    ("bucket", {"segments": 4}),
    ("bucket", {"segments": (1, 4)}),
    ("bucket", {}),
    ("ring", {}),
    ("ring", {"segments": 3}),
    ("hamiltonian", {}),
    ("hamiltonian", {"segments": 2}),
    ("bucket", {"ways": 2, "segments": 2}),
    ("windows", {}),
    ("swing", {}),
]


@pytest.mark.parametrize("name", ["disjoint_trees", "swing", "ring"])
@pytest.mark.parametrize("collective", ["allreduce", "broadcast", "reduce"])
def test_none_is_the_default_of_root_and_chunks(name, collective):
    torus = Torus((2, 3))
    schedule = swing.schedule(name, torus, collective=collective, root=None, chunks=None)
    assert schedule.table() == swing.schedule(name, torus, collective=collective).table()


def test_a_barrier_may_say_its_ports_and_variant():
    torus = Torus((4, 4))
    barriers = [
        swing.schedule("swing", torus, collective=BARRIER, **options)
        for options in ({}, {"ports": 2}, {"variant": "latency"}, {"variant": "bandwidth"})
    ]
    assert [len(barrier) for barrier in barriers] == [4, 4, 4, 8]


@pytest.mark.parametrize("collective", ["alltoall", "gather", "scatter"])
def test_no_ring_of_very_many_ranks_is_estimated(collective):
    names = {name for name, _ in shortlist(Torus((32, 32)), collective)}
    assert {"swing", "recursive_multiplying", "bucket", "windows", "linear"} <= names
    everything = {name for name, _ in shortlist(Torus((8, 8)), collective)}
    assert everything == names | {"ring", "hamiltonian", "pairwise"}


def phase_lengths(schedule):
    return [
        len([*same])
        for _, same in itertools.groupby(map(schedule.sync_phase, range(len(schedule))))
    ]


@pytest.mark.parametrize(("name", "options"), SEGMENTED)
@pytest.mark.parametrize("collective", ["allgather", "allreduce", "reduce_scatter", "scatter"])
def test_the_reverse_has_the_phases_mirrored(name, options, collective):
    torus = Torus((4, 6) if name == "hamiltonian" else (3, 5))
    schedule = swing.schedule(name, torus, collective=collective, **options)
    phases, once = phase_lengths(schedule), reverse(schedule)
    assert phase_lengths(once) == phases[::-1]
    assert phase_lengths(reverse(once)) == phases
    if collective in ("allgather", "reduce_scatter") and schedule.phases is not None:
        other = {"allgather": "reduce_scatter", "reduce_scatter": "allgather"}[collective]
        made = swing.schedule(name, torus, collective=other, **options)
        assert phase_lengths(once) == phase_lengths(made)
        network = netsim.paper_network(torus.name)
        expected = netsim.simulate(made, network, 2**20).seconds
        assert netsim.simulate(once, network, 2**20).seconds == pytest.approx(expected)


@pytest.mark.parametrize("name", ["disjoint_trees"])
def test_the_reverse_of_pipelines_is_one_phase(name):
    broadcast = swing.schedule(name, Torus((3, 5)), collective="broadcast", chunks=4)
    assert phase_lengths(reverse(broadcast)) == [len(broadcast)]


@pytest.mark.parametrize("name", ["first", "row"])
def test_derived_collectives_have_the_phases_of_their_reduce_scatter(name):
    dims = (3, 3) if name == "first" else (5,)
    options = {"ports": 1} if name == "row" else {}
    made = swing.schedule("ring", Torus(dims), collective="reduce_scatter", **options)
    phases = [0] + [1] * (len(made) - 1)
    own = replace(made, phases=phases.__getitem__)
    there, back = [1, len(made) - 1], [len(made) - 1, 1]
    expected = {
        "scatter": there,
        "alltoall": there,
        "gather": back,
        "allgather": back,
        "broadcast": there + back,
        "reduce": there + back,
        "allreduce": there + back,
    }
    assert {c: phase_lengths(derive(own, c, 1)) for c in expected} == expected
    assert len(phase_lengths(derive(own, "barrier"))) > 0


@dataclass(frozen=True, eq=False)
class Rows(Body):
    """A body without compact lines."""

    body: Body

    @property
    def nsteps(self):
        return self.body.nsteps

    def step(self, s):
        return self.body.step(s)


def test_half_way_round_a_ring_half_of_the_bytes_go_either_way():
    schedule = swing.schedule("recursive_multiplying", Torus((8, 8)), collective="alltoall")
    network = netsim.paper_network("torus:8x8")
    simulated = netsim.simulate(schedule, network, 2**27).seconds
    rows = replace(schedule, body=Rows(schedule.body))
    for each in (schedule, rows):
        assert seconds(figures(each), network, 2**27) == pytest.approx(simulated, rel=0.01)


BOTH_WAYS = [(7,), (8,), (4, 4), (5, 3), (6, 2), (2, 2, 2), (4, 1, 3), (2, 3, 4)]


@pytest.mark.parametrize("dims", BOTH_WAYS)
@pytest.mark.parametrize("collective", ["reduce_scatter", "allgather", "alltoall", "allreduce"])
def test_rings_in_both_directions_take_half_of_the_steps(dims, collective):
    one, two = (
        swing.schedule("bucket", Torus(dims), ways=ways, collective=collective, segments=1)
        for ways in (1, 2)
    )
    swing.verify(two)
    rounds = 2 if collective == "allreduce" else 1
    assert len(one) == rounds * sum(d - 1 for d in dims)
    assert len(two) == rounds * sum(d // 2 for d in dims)


@pytest.mark.parametrize("dims", BOTH_WAYS)
def test_no_byte_of_an_alltoall_takes_a_detour_on_rings_in_both_directions(dims):
    """Every link of the longest dimension carries what must cross it, and no link more."""
    network = netsim.paper_network(Torus(dims).name)
    schedule = swing.schedule("bucket", Torus(dims), ways=2, collective="alltoall")
    run = netsim.simulate(schedule, network, 2**27)
    least = max(d / 8 if d % 2 == 0 else (d * d - 1) / (8 * d) for d in dims)
    # A dimension of two nodes has one link each way, which one part alone would not fill.
    assert run.link_bytes.max() == pytest.approx(2**27 * least)
    # In lockstep the phases of all parts together keep these links busy all the time.
    assert run.seconds == pytest.approx(2**27 * least / network.bandwidth, rel=0.01)


@pytest.mark.parametrize("dims", [(16, 4), (12, 20), (3, 7), (4, 4, 8)])
@pytest.mark.parametrize("collective", ["alltoall", "allgather", "reduce_scatter"])
@pytest.mark.parametrize("segments", [2, 4])
def test_parts_that_share_links_are_estimated_as_they_are_simulated(dims, collective, segments):
    torus = Torus(dims)
    network = netsim.paper_network(torus.name)
    schedule = swing.schedule("bucket", torus, ways=2, collective=collective, segments=segments)
    flow = netsim.simulate(schedule, network, 2**27, "flow").seconds
    assert seconds(figures(schedule), network, 2**27) == pytest.approx(flow, rel=0.02)
    # Messages in order never make it faster.
    assert seconds(figures(schedule), network, 2**27, in_order=1) > 0.98 * flow


@pytest.mark.parametrize("ways", [0, 3])
def test_there_are_two_ways_round_a_ring(ways):
    with pytest.raises(ValueError, match="1 or 2 ways"):
        swing.schedule("bucket", Torus((4, 4)), ways=ways)


@pytest.mark.parametrize(
    "counts",
    [
        [[0, 1j], [1, 0]],
        [[0, "1"], [1, 0]],
        [[0, np.inf], [1, 0]],
        [[0, np.nan], [1, 0]],
        [[0], []],
    ],
)
def test_counts_are_finite_numbers(counts):
    with pytest.raises(ValueError, match="finite numbers") as refused:
        swing.schedule("pairwise", Torus(2), collective="alltoall", counts=counts)
    assert len(str(refused.value)) <= 300


@pytest.mark.parametrize("size", [1e308, 5e-324, 1, True, np.uint8(255)])
def test_counts_may_be_huge_and_tiny(size):
    counts = np.full((2, 2), size)
    schedule = swing.schedule("pairwise", Torus(2), collective="alltoall", counts=counts)
    assert schedule.shares.tolist() == [0.5] * 4


@pytest.mark.parametrize(
    "weights",
    [[1], [1, -1], [3, -1], [1, np.inf], [np.nan, 1], [0, 0], [1, 1j], ["a", "b"], [[1], []]],
)
def test_weights_are_one_finite_number_for_each_part(weights):
    part = swing.schedule("ring", Torus(3))
    with pytest.raises(ValueError, match="pass one weight for each of the 2 parts"):
        parallel([part, part], weights)
    with pytest.raises(ValueError, match="pass one weight for each of the 2 parts"):
        segmented([part, part], 2, weights)


@pytest.mark.parametrize("weights", [np.array([1.0, 3.0]), (1, 3), [5e307, 1.5e308]])
def test_the_segments_of_a_part_share_its_weight(weights):
    part = swing.schedule("ring", Torus(3), ports=1)
    shares = segmented([part, part], [2, 3], weights).part_shares
    assert shares[:2].sum() == pytest.approx(0.25)
    assert shares[2:].sum() == pytest.approx(0.75)


def test_no_weights_is_not_equal_weights():
    part = swing.schedule("ring", Torus(3))
    with pytest.raises(ValueError, match="pass one weight for each of the 2 parts"):
        segmented([part, part], 1, [])


@pytest.mark.parametrize("segments", [0, 1025, 3000, 10**30, False, [1, 2, 3], 1.5])
def test_segments_are_whole_numbers_up_to_a_limit(segments):
    part = swing.schedule("ring", Torus(3))
    with pytest.raises(ValueError, match="from 1 to 1024") as refused:
        segmented([part, part], segments)
    assert len(str(refused.value)) <= 300
    assert np.isfinite(segmented([part], 1024).part_shares).all()


def test_a_chain_has_schedules():
    with pytest.raises(ValueError, match="at least one schedule"):
        chain()


def test_weights_may_be_huge():
    part = swing.schedule("ring", Torus(3), ports=1)
    assert parallel([part, part], [1e308, 1e308]).part_shares.tolist() == pytest.approx([0.5, 0.5])


def test_parts_side_by_side_need_one_torus():
    parts = [swing.schedule("ring", Torus(d)) for d in (3, 4)]
    with pytest.raises(ValueError, match="need one torus, not 3 and 4"):
        parallel(parts)


@pytest.mark.parametrize("dims", [(6, 6), (3, 7), (12,)])
@pytest.mark.parametrize("collective", ["allgather", "alltoall", "broadcast"])
@pytest.mark.parametrize("nbytes", [2**20, 2**27])
def test_auto_is_no_slower_than_the_usual_algorithms(dims, collective, nbytes):
    """Bine trees and butterflies, binomial trees, halving, doubling, Bruck, pairwise exchange."""
    torus = Torus(dims)
    network = netsim.paper_network(torus.name)
    ways = [{}, {"chunks": 1}] if collective == "broadcast" else [{}]
    rivals = [
        swing.schedule(name, torus, collective=collective, **options)
        for name in ("swing", "recursive_doubling", "bruck", "pairwise")
        for options in ways
    ]
    ours = swing.choose(torus, nbytes, collective=collective).schedule(torus)
    times = [netsim.simulate(each, network, nbytes, "flow").seconds for each in [ours, *rivals]]
    assert times[0] <= min(times[1:]) * 1.0001
