"""What the three models have in common, and what hurts a network in all of them."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netsim
import swing
from netsim.machine import Machine
from netsim.models import MODELS
from netsim.topologies.failures import without
from netsim.topologies.graph import graph
from netsim.topologies.grid import Grid
from netsim.topologies.lines import diameter
from netsim.topologies.topology import Topology
from netsim.traffic.message_graph import PARTS, SYNC, messages_of
from netsim.traffic.symmetry import fold

SYMMETRIC = [
    ("swing", "8x8"), ("swing", "16"), ("swing", "4x4x4"), ("bucket", "8x8"), ("bucket", "5x5"),
    ("bucket", "8x4"), ("hamiltonian", "4x4"), ("mirrored_recursive_doubling", "8x8"),
]  # fmt: skip


def on(name, algorithm, **options):
    network = netsim.paper_network(name)
    return swing.schedule(algorithm, network.topology.torus, **options), network


@pytest.mark.parametrize(("algorithm", "dims"), SYMMETRIC)
@pytest.mark.parametrize("nbytes", [32, 2**20, 2**26])
def test_models_agree_on_symmetric_schedules(algorithm, dims, nbytes):
    schedule, network = on(f"torus:{dims}", algorithm)
    analytic, flow, packet = (
        netsim.simulate(schedule, network, nbytes, model).seconds for model in MODELS
    )
    assert flow == pytest.approx(analytic, rel=1e-9)
    # What comes later finds the link free earlier. What a node sends in a step queues at its door,
    # which only the packet model has.
    sent = sum(
        np.bincount(step.src, schedule.share(step), schedule.torus.size).max() for step in schedule
    )
    door = sent * nbytes / network.injection_bandwidth
    assert 0.85 * analytic < packet < 1.02 * analytic + door


def test_messages_that_do_not_meet_in_time_collide_as_flows_but_not_as_packets():
    schedule, network = on("torus:64x64", "swing", variant="latency")
    analytic, flow, packet = (
        netsim.simulate(schedule, network, 2**15, model).seconds for model in MODELS
    )
    assert packet < 0.9 * analytic
    assert flow == pytest.approx(analytic, rel=1e-9)  # a flow is on all its links at once


@pytest.mark.parametrize("arrival", netsim.network.ARRIVALS)
@pytest.mark.parametrize("header", [0, 1, 3])
def test_a_message_takes_its_packets_or_all_but_the_last(arrival, header):
    network = netsim.Network(
        netsim.topology("torus:5"), 1.0, 20.0, packet_bytes=8, header_bytes=header, arrival=arrival
    )
    ring = swing.schedule("ring", network.topology.torus, ports=1)
    for nbytes in (1, 7, 8, 9, 16, 20):  # of a message: the vector has five blocks
        whole = nbytes + header
        busy = whole if arrival == "tail" else 8 * (-(-whole // 8) - 1)
        run = netsim.simulate(ring, network, 5 * nbytes, "packet")
        assert run.seconds == ring.nsteps * (20 + busy)
        assert run.link_bytes.sum() == 5 * ring.nsteps * nbytes  # the header is none of them


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 2**24))
def test_no_model_beats_the_lower_bound(dims, nbytes):
    name = "x".join(map(str, dims))
    for kind in ("torus", "hyperx"):
        schedule, network = on(f"{kind}:{name}", "swing")
        bound = netsim.lower_bound(network, nbytes) * (1 - 1e-9)
        for model in MODELS:
            assert netsim.simulate(schedule, network, nbytes, model).seconds >= bound


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("algorithm", ["swing", "bucket", "ring", "recursive_doubling"])
def test_more_bandwidth_is_never_slower(model, algorithm):
    schedule, network = on("torus:4x6", algorithm)
    times = [
        netsim.simulate(schedule, replace(network, bandwidth=rate), 2**20, model).seconds
        for rate in (1e9, 3e9, 10e9, 100e9)
    ]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("model", MODELS)
def test_the_latency_of_a_run_is_all_but_its_bytes(model):
    """A ring of five, in bytes and seconds: eight steps of 23 s and a fifth of the bytes."""
    network = netsim.Network(netsim.topology("torus:5"), 2.0, 20.0, message_overhead=3.0)
    ring = swing.schedule("ring", network.topology.torus, ports=1)
    for nbytes in (0, 40, 400):
        run = netsim.simulate(ring, network, nbytes, model)
        assert run.latency == 8 * 23
        assert run.seconds - run.latency == pytest.approx(8 * nbytes / 5 / 2, rel=1e-9)
    schedule, network = on("torus:4x6", "swing")
    run = netsim.simulate(schedule, network, 2**20, model)
    # But for flits, which take time on a link, it is what a boundless bandwidth leaves, where no
    # packet and no call costs time of its own.
    network = replace(network, post_gap=0.0, packet_gap=0.0, crossbar_bandwidth=None)
    fast = replace(network, bandwidth=1e20, injection_bandwidth=1e20, ejection_bandwidth=1e20)
    without_flits = replace(network, flit_bytes=0, header_bytes=0)
    assert netsim.simulate(schedule, without_flits, 0, model).seconds == pytest.approx(
        netsim.simulate(schedule, fast, 2**20, model).seconds, rel=1e-6
    )
    assert 0 < run.latency < run.seconds


MACHINES = [
    ("torus:4x6", "bandwidth=400,100"),
    ("torus:4x4x3", "bandwidth=100,400,200 latency=1us,2us,3us"),
    ("torus:4x1x6", "bandwidth=400,7,100"), ("mesh:3x5", "latency=1us,100ns"),
    ("hx2mesh:4x4", "bandwidth=100,400 latency=1us,3us"), ("hyperx:4x6", "bandwidth=300,100"),
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["swing", "bucket", "hamiltonian"])
@pytest.mark.parametrize(("place", "words"), MACHINES)
def test_links_that_differ_by_dimension_only_cost_no_accuracy(place, words, name, model):
    """One line of each dimension stands for all, with the times that all links one by one have."""
    topology = netsim.topology(place)
    quick, slow = (Machine.parse(words, ties="split").network(topology) for _ in range(2))
    vars(slow)["by_dimension"] = None  # as if it were not known
    assert len(quick.by_dimension) == len(topology.dims)
    schedule = swing.schedule(name, topology.torus)
    for nbytes in (64, 2**20):
        runs = [netsim.simulate(schedule, each, nbytes, model) for each in (quick, slow)]
        assert runs[0].seconds == pytest.approx(runs[1].seconds, rel=1e-9)
        np.testing.assert_allclose(runs[0].step_seconds, runs[1].step_seconds, 1e-9, 1e-15)


def test_links_of_one_dimension_that_differ_are_no_dimension():
    topology = netsim.topology("torus:4x4")
    rates = np.where(np.arange(topology.nlinks) == 5, 1e9, 2e9)
    own = netsim.Network(replace(topology, own_bandwidth=rates), 2e9)
    slow = netsim.Network(topology, 2e9, slow={(0, 1): 0.5})
    for network in (own, slow, netsim.Network(without(topology, [(0, 1)]), 2e9)):
        assert network.by_dimension is None
        with pytest.raises(ValueError, match="of one dimension that differ"):
            network.delay(0, (1, 1.0, 1.0))
    assert netsim.Network(topology, 2e9, 1e-6).by_dimension == ((2e9, 1e-6), (2e9, 1e-6))


@pytest.mark.parametrize("place", ["torus:4x6", "torus:3x4x5", "hx2mesh:4x4", "hyperx:4x3"])
@pytest.mark.parametrize("name", ["swing", "bucket", "recursive_doubling", "bruck"])
def test_the_bottleneck_is_found_among_the_messages_near_it(place, name, monkeypatch):
    schedule, network = on(place, name)
    quick = netsim.simulate(schedule, network, 2**20).bottleneck
    monkeypatch.setattr(Grid, "may_cross", Topology.may_cross)  # all messages
    whole = netsim.simulate(schedule, network, 2**20).bottleneck
    assert (quick.link, quick.step, quick.seconds) == (whole.link, whole.step, whole.seconds)
    assert list(map(str, quick.messages)) == list(map(str, whole.messages))
    assert quick.messages


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("place", ["torus:8x8", "torus:5", "hyperx:3x4"])
def test_messages_without_bytes_have_a_bottleneck_that_they_cross(place, model):
    network = netsim.paper_network(place)
    for collective in ("barrier", "allreduce"):
        schedule = swing.schedule("swing", network.topology.torus, collective=collective)
        run = netsim.simulate(schedule, network, 0, model)
        assert run.bottleneck.messages
        assert run.latency == run.seconds


def goes_over(run, message, link):
    """Whether a message (source and destination first) passes a link."""
    place = run.network.topology
    routes = place.routes(np.array(message[:1]), np.array(message[1:2]), run.network.ties)
    return link in map(tuple, place.ends[routes.links].tolist())


@pytest.mark.parametrize("model", MODELS)
def test_a_slow_link_is_the_bottleneck(model):
    schedule, network = on("torus:8x8", "swing")
    well = netsim.simulate(schedule, network, 2**24, model)
    sick = netsim.simulate(schedule, replace(network, slow={(3, 11): 0.5}), 2**24, model)
    assert 1.3 * well.seconds < sick.seconds < 2.3 * well.seconds
    found = sick.bottleneck
    assert found.link == (3, 11)
    assert all(goes_over(sick, message, (3, 11)) for message in found.messages)
    assert found.seconds == sick.step_seconds.max() == sick.step_seconds[found.step]
    assert found.seconds > 1.3 * well.step_seconds[found.step]


@pytest.mark.parametrize("model", MODELS)
def test_messages_go_round_a_failed_link(model):
    schedule, network = on("torus:4x4", "bucket")
    broken = replace(network, topology=without(network.topology, [(0, 1)]))
    well, sick = (netsim.simulate(schedule, net, 2**24, model) for net in (network, broken))
    assert sick.seconds > 1.3 * well.seconds
    assert not any((broken.topology.ends == (0, 1)).all(axis=1))
    assert sick.link_bytes.sum() > well.link_bytes.sum()
    # What went over it meets other messages on its way round.
    found = sick.bottleneck
    assert goes_over(sick, (0, 1), found.link)
    assert len(found.messages) > 1
    assert (0, 1) in [(m.src, m.dst) for m in found.messages]


@pytest.mark.parametrize("model", MODELS)
def test_a_slow_rank_and_a_late_start_are_felt(model):
    schedule, network = on("torus:4x4", "swing")
    well = netsim.simulate(schedule, network, 2**16, model).seconds
    slow = netsim.simulate(schedule, network, 2**16, model, delay={5: 1e-5})
    late = netsim.simulate(schedule, network, 2**16, model, skew=1e-5, seed=3).seconds
    assert slow.seconds >= well + 1e-5
    found = slow.bottleneck
    assert found.link[1] == 5
    assert 5 in [m.dst for m in found.messages]
    assert well < late <= well + 1.001e-5 + (0.2 * well)
    assert late == netsim.simulate(schedule, network, 2**16, model, skew=1e-5, seed=3).seconds
    assert late != netsim.simulate(schedule, network, 2**16, model, skew=1e-5, seed=4).seconds


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("ports", [1, 4])
@pytest.mark.parametrize("extra", ["message_overhead", "receive_overhead"])
def test_a_node_is_done_with_one_message_after_the_other(model, ports, extra):
    schedule, network = on("torus:4x4", "swing", ports=ports)
    well = netsim.simulate(schedule, network, 2**10, model, sync="step").seconds
    slow = replace(network, **{extra: 1e-6})
    busy = netsim.simulate(schedule, slow, 2**10, model, sync="step").seconds
    assert busy == pytest.approx(well + schedule.nsteps * ports * 1e-6, rel=0.02)
    # Parts that run free still share their node.
    free = netsim.simulate(schedule, slow, 2**10, model, sync="rank", parts="free").seconds
    assert free >= (schedule.nsteps * ports if extra == "message_overhead" else 1) * 1e-6


@pytest.mark.parametrize("model", MODELS)
def test_injection_and_reduction_take_their_time(model):
    schedule, network = on("torus:4x4", "swing")
    nbytes, well = 2**26, netsim.simulate(schedule, network, 2**26, model).seconds
    narrow = replace(network, injection_bandwidth=network.bandwidth)
    into = netsim.simulate(schedule, narrow, nbytes, model).seconds
    sent = 2 * nbytes * 15 / 16
    assert into == pytest.approx(sent / network.bandwidth, rel=0.02)
    reduced = netsim.simulate(schedule, replace(network, gamma=1e-10), nbytes, model).seconds
    assert reduced == pytest.approx(well + 1e-10 * sent / 2, rel=0.02)


@pytest.mark.parametrize("model", ["flow", "packet"])
@pytest.mark.parametrize("sync", SYNC)
@pytest.mark.parametrize("parts", PARTS)
def test_every_policy_runs_every_message(model, sync, parts):
    for name, dims in (("swing", "3x4"), ("bucket", "2x5"), ("recursive_doubling", "6")):
        schedule, network = on(f"torus:{dims}", name)
        run = netsim.simulate(schedule, network, 2**16, model, sync=sync, parts=parts)
        barrier = netsim.simulate(schedule, network, 2**16, model, sync="step").seconds
        assert 0 < run.seconds <= 1.05 * barrier
        options = replace(run.options, fold=False)
        followed, _ = messages_of(schedule, network, 2**16, options)
        columns = followed.step, followed.src, followed.dst, followed.nbytes
        assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == sorted(
            (s, src, dst, 2**16 * share)
            for s, step in enumerate(schedule)
            for src, dst, share in zip(
                step.src.tolist(), step.dst.tolist(), schedule.share(step).tolist(), strict=True
            )
        )


def test_what_waits_is_what_is_counted():
    for sync in SYNC:
        for parts in PARTS:
            schedule, network = on("torus:4x6", "bucket")
            run_options = netsim.traffic.message_graph.RunOptions(sync=sync, parts=parts)
            messages, _ = messages_of(schedule, network, 1000, run_options)
            fed = np.bincount(
                messages.signals[messages.signals >= 0], minlength=len(messages.pending_count)
            )
            after = messages.successor[messages.successor >= 0]
            assert (fed + np.bincount(after, minlength=len(fed)) == messages.pending_count).all()


def test_equal_steps_take_what_the_first_of_them_take():
    schedule, network = on("torus:40", "ring", ports=2)
    short = netsim.simulate(schedule, network, 2**20, "packet").seconds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netsim.traffic.message_graph.FOLLOWED_STEPS", 10**6)
        schedule, network = on("torus:40", "ring", ports=2)  # not what is remembered
        assert short == pytest.approx(netsim.simulate(schedule, network, 2**20, "packet").seconds)


@pytest.mark.parametrize("model", ["flow", "packet"])
@pytest.mark.parametrize(
    "place", ["torus:8x8", "torus:2x8", "torus:6x4", "hx2mesh:8x8", "hx4mesh:8x4", "hyperx:4x8"]
)
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("swing", {}), ("swing", {"variant": "latency"}), ("bucket", {}), ("recursive_doubling", {}),
     ("mirrored_recursive_doubling", {})],
)  # fmt: skip
def test_what_is_alike_happens_alike(model, place, algorithm, options):
    network = netsim.paper_network(place, ties="split")
    schedule = swing.schedule(algorithm, network.topology.torus, **options)
    for nbytes, how in ((2**15, {}), (2**20 + 12345, {"sync": "local", "parts": "free"})):
        one, all_ = (
            netsim.simulate(schedule, network, nbytes, model, fold=fold, **how).step_seconds
            for fold in (True, False)
        )
        assert one == pytest.approx(all_, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("place", ["torus:8x8", "torus:2x8", "torus:6x4", "torus:4x4x4"])
@pytest.mark.parametrize("algorithm", ["swing", "recursive_doubling"])
def test_adaptive_ties_fall_about_alike(place, algorithm):
    network = netsim.paper_network(place)
    schedule = swing.schedule(algorithm, network.topology.torus)
    for nbytes in (2**15, 2**21):
        one, all_ = (
            netsim.simulate(schedule, network, nbytes, "packet", fold=fold).seconds
            for fold in (True, False)
        )
        assert one == pytest.approx(all_, rel=0.02)


def test_few_nodes_stand_for_all():
    def nodes(place, algorithm, **more):
        network = replace(netsim.paper_network(place), **more)
        schedule = swing.schedule(algorithm, network.topology.torus)
        return fold(schedule, network, range(schedule.nsteps)).links.nodes

    assert nodes("torus:64x64", "swing") == nodes("hx2mesh:64x64", "swing") == 4
    assert nodes("torus:64x64", "bucket") == nodes("hyperx:8x8", "recursive_doubling") == 1
    assert nodes("torus:64x64", "recursive_doubling") == 16 * 16
    assert nodes("torus:5x8", "swing") == 5 * 2
    assert nodes("mesh:8x8", "swing") == 4 * 4
    assert nodes("torus:8x8", "hamiltonian") == 64
    assert nodes("torus:8x8", "swing", slow={(0, 1): 0.5}) == 64
    assert nodes("torus:8x8", "recursive_doubling", ties="random") == 64


@pytest.mark.parametrize("model", ["flow", "packet"])
def test_a_ring_goes_round_at_its_mean_pace(model):
    schedule, network = on("hx2mesh:16x16", "hamiltonian")
    place = network.topology
    step = schedule.step(0)
    latency = [network.latency(*path) for path in place.paths(step.src, step.dst).tolist()]
    run = netsim.simulate(schedule, network, 32, model, sync="local", parts="free")
    assert run.seconds < 0.8 * schedule.nsteps * max(latency)
    assert run.seconds > 0.9 * schedule.nsteps * np.mean(latency)


def test_hyperx_reaches_everyone_in_a_row_at_once():
    place = netsim.topology("hyperx:4x5")
    assert place.nlinks == 4 * 5 * (3 + 4)
    assert diameter(place.rows).hops == 2


def test_hamming_mesh_has_boards_and_trees():
    place = netsim.topology("hx2mesh:4x4")
    src = np.array([0, 0, 0, 0])
    hops = place.paths(src, np.array([1, 2, 3, 5]))[:, 0]
    assert hops.tolist() == [
        2,
        2,
        1,
        4,
    ]  # over the tree, on the board, over a tree in each dimension
    # Boards begin at coordinate 1: from the second place of one to the third of the other.
    assert netsim.topology("hx4mesh:8x8").paths(np.array([2]), np.array([7]))[0, 0] == 4
    with pytest.raises(ValueError, match="multiples of 4"):
        netsim.topology("hx4mesh:6x8")


def test_any_graph_is_a_topology():
    star = nx.star_graph(4)
    star.nodes[0]["switch"] = True
    star.edges[0, 1]["bandwidth"] = 1e9
    place = graph(star)
    assert (place.size, place.nlinks) == (4, 8)
    network = netsim.Network(place, bandwidth=10e9, link_latency=1e-6)
    schedule = swing.schedule("ring", swing.Torus(4))
    for model in MODELS:
        run = netsim.simulate(schedule, network, 4 * 10**6, model)
        assert run.seconds == pytest.approx(6 * (2e-6 + 1e6 / 1e9), rel=0.02)
        assert run.bottleneck.link in ((4, 0), (0, 4))
    torus = netsim.topology("torus:3x3")
    same = graph(nx.MultiDiGraph(torus.to_networkx()), (3, 3))
    for name in ("bucket", "hamiltonian"):
        schedule = swing.schedule(name, swing.Torus((3, 3)))
        a, b = (
            netsim.simulate(schedule, netsim.Network(net, 1e9, 1e-6), 10**6).seconds
            for net in (torus, same)
        )
        assert a == pytest.approx(b)


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: graph(nx.empty_graph(3)), "cannot be reached"),
        (lambda: netsim.simulate(*on("torus:1000x1000x1000", "swing"), 8, "packet"), "analytic"),
        (lambda: graph(nx.cycle_graph(3), (2, 2)), "3 nodes"),
        (lambda: without(netsim.topology("torus:4"), [(0, 2)]), "no link 0→2"),
        (lambda: without(netsim.topology("torus:4"), [3]), "no link 3"),
        (lambda: without(netsim.topology("mesh:4"), [(0, 1)]), "node 1 cannot be reached"),
        (lambda: graph(nx.path_graph(3), 4), "3 nodes"),
        (lambda: graph(nx.Graph([(0, 1, {"bandwidth": -1.0})])), "bandwidth of the link 0→1"),
        (lambda: graph(nx.Graph([(0, 1, {"latency": "far"})])), "latency of the link 0→1"),
        (lambda: netsim.topology("torus:0x4"), "torus:8x8"),
        (lambda: netsim.topology("ring:8"), "no topology 'ring:8'"),
        *(
            (lambda rate=rate: netsim.paper_network("torus:4", rate), "bandwidth must be a number")
            for rate in (-1, 0, np.nan, np.inf, "fast", None)
        ),
        (lambda: netsim.Network(netsim.topology("torus:4"), 1e9, -1e-9), "link_latency must be"),
        (lambda: netsim.Network(netsim.topology("torus:4"), None), "bandwidth must be"),
        (lambda: netsim.Network(netsim.topology("torus:4"), 1.0, arrival="foot"), "tail, head"),
        (lambda: netsim.simulate(*on("torus:4", "ring"), 2**51), "at most"),
        (lambda: netsim.simulate(*on("torus:4", "ring"), 2**50, "packet"), "model='flow'"),
        (lambda: netsim.Network(netsim.topology("torus:4"), 1e9, slow={(0, 2): 0.5}), "no link"),
        (lambda: netsim.Network(netsim.topology("torus:4"), 1e9, slow={(0, 1): 0}), "above 0"),
        (lambda: netsim.Network(netsim.topology("torus:4"), 1e9, slow={(0, 1): 4}), "at most 1"),
        (lambda: netsim.simulate(*on("torus:4", "ring"), 8, sync="never"), "sync must be"),
        (lambda: netsim.simulate(*on("torus:4", "ring"), 8, parts="never"), "parts must be"),
        (lambda: netsim.simulate(*on("torus:4", "ring"), 8, skew=-1), "skew must be"),
        (lambda: netsim.simulate(*on("torus:4", "ring"), 8, delay={9: 1}), "0 to 3"),
    ],
)
def test_bad_input_is_a_value_error_that_names_the_mend(call, remedy):
    with pytest.raises(ValueError, match=remedy):
        call()
