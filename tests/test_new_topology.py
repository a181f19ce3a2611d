"""A topology takes one file and one line of a table: here a torus with a twist, in this file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from click.testing import CliRunner

import netsim
import swing
from netsim.__main__ import main
from netsim.models import MODELS
from netsim.topologies import names
from netsim.topologies.routes import Routes
from netsim.topologies.topology import Topology

DIMS = [(4, 4), (3, 5), (5, 4), (2, 6)]


@dataclass(frozen=True, eq=False)
class Twisted(Topology):
    """A 2-D torus whose links around dimension 0 also move some nodes along dimension 1."""

    offset: int = 1

    def node(self, x, y):
        """The node at coordinates that may lie beyond the ends of either dimension."""
        a, b = self.dims
        return x % a * b + (y + x // a * self.offset) % b

    @cached_property
    def ends(self):
        nodes = np.arange(self.size)
        x, y = np.divmod(nodes, self.dims[1])
        heads = self.node(x + 1, y), self.node(x - 1, y), self.node(x, y + 1), self.node(x, y - 1)
        return np.concatenate([np.stack([nodes, head], axis=1) for head in heads])

    @property
    def direction(self):
        return np.repeat([1, -1, 1, -1], self.size)

    @property
    def dim(self):
        return np.repeat([0, 0, 1, 1], self.size)

    def routes(self, src, dst, ties, seed=()):
        """Along dimension 0, then 1, over whichever number of turns takes the fewest hops."""
        (a, b), turns = self.dims, np.array([[-1], [0], [1]])
        (x, y), (u, v) = np.divmod(src, b), np.divmod(dst, b)
        dx = u + turns * a - x
        dy = (v - turns * self.offset - y + b // 2) % b - b // 2
        best = (abs(dx) + abs(dy)).argmin(axis=0)
        dx, dy = dx[best, np.arange(len(src))], dy[best, np.arange(len(src))]
        links = []
        for i in range(len(src)):
            side, sign = (0, 1) if dx[i] > 0 else (1, -1)
            links += [
                side * self.size + self.node(x[i] + sign * s, y[i]) for s in range(abs(dx[i]))
            ]
            side, sign = (2, 1) if dy[i] > 0 else (3, -1)
            at = x[i] + dx[i]
            links += [side * self.size + self.node(at, y[i] + sign * s) for s in range(abs(dy[i]))]
        return Routes.single(abs(dx) + abs(dy), np.array(links, dtype=np.int64))


def twisted(shape, offset=1):
    return Twisted(f"twisted:{shape}", shape, offset)


@pytest.fixture
def invoke(monkeypatch):
    """Runs a command of netsim, to which the topology is known by name."""
    monkeypatch.setitem(names.KINDS, "twisted", twisted)

    def call(*words):
        done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_routes_are_shortest_and_connect_their_ends(dims, offset):
    place = twisted(swing.Torus(dims), offset)
    src, dst = np.divmod(np.arange(place.size**2), place.size)
    routes = place.routes(src, dst, "split")
    far = dict(nx.all_pairs_shortest_path_length(place.to_networkx()))
    for a, b, (start, stop) in zip(src, dst, pairwise(routes.ptr), strict=True):
        path = place.ends[routes.links[start:stop]]
        assert len(path) == far[a][b]
        assert [a, *path[:, 1]] == [*path[:, 0], b]
    assert place.most_ports == (4, 4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("algorithm", ["swing", "ring", "bucket"])
def test_without_a_twist_it_is_a_torus(algorithm, model):
    torus = netsim.paper_network("torus:3x5")
    plain = netsim.paper_network(twisted(torus.topology.torus, 0))
    assert (plain.buffer_bytes, plain.node_rates) == (torus.buffer_bytes, torus.node_rates)
    assert plain.injection_bandwidth == torus.injection_bandwidth
    schedule = swing.schedule(algorithm, torus.topology.torus)
    for nbytes in (32, 2**20):
        a, b = (netsim.simulate(schedule, network, nbytes, model) for network in (plain, torus))
        assert a.seconds == pytest.approx(b.seconds)
        assert a.congestion == pytest.approx(b.congestion)
        assert netsim.lower_bound(plain, nbytes) == pytest.approx(netsim.lower_bound(torus, nbytes))


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("algorithm", ["swing", "ring"])
def test_every_model_runs_on_it_and_beats_no_bound(dims, algorithm):
    place = twisted(swing.Torus(dims))
    network = netsim.paper_network(place)
    broken = netsim.paper_network(netsim.without(place, [(0, 1), (1, 0)]))
    assert broken.buffer_bytes == network.buffer_bytes
    schedule = swing.schedule(algorithm, place.torus)
    for model in MODELS:
        run, slower = (netsim.simulate(schedule, net, 2**18, model) for net in (network, broken))
        assert slower.seconds >= run.seconds >= netsim.lower_bound(network, 2**18)
        assert run.link_bytes.sum() == pytest.approx(2**18 * crossed(schedule, place))
        assert run.bottleneck.link in set(map(tuple, place.ends.tolist()))


def crossed(schedule, place):
    """Vectors times hops of all messages."""
    return sum(schedule.share(step) @ place.paths(step.src, step.dst)[:, 0] for step in schedule)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("place", [twisted(swing.Torus((1, 1))), netsim.graph(nx.empty_graph(1))])
def test_a_single_node_has_nothing_to_do(place, model):
    network = netsim.paper_network(place)
    schedule = swing.schedule("ring", place.torus)
    assert netsim.simulate(schedule, network, 2**20, model).seconds == 0


def test_commands_know_it_by_its_name(invoke, tmp_path):
    on = "--topology", "twisted:4x4"
    for algorithm in ("swing", "ring"):
        for model in MODELS:
            words = "--algorithm", algorithm, "--model", model
            row = json.loads(invoke("simulate", *on, *words, "--json"))
            assert row["topology"] == "twisted:4x4"
            network = netsim.paper_network(twisted(swing.Torus((4, 4))))
            schedule = swing.schedule(algorithm, network.topology.torus)
            assert row["seconds"] == netsim.simulate(schedule, network, 2**21, model).seconds
    invoke("simulate", *on, "--links", tmp_path / "links.csv")
    invoke("plot", tmp_path / "links.csv", "--kind", "links", "--out", tmp_path)
    invoke("report", *on, "--algorithm", "swing", "--out", tmp_path / "report.html")
    found = invoke("compare", *on, "--sizes", "32B,1MiB", "--json").splitlines()
    assert {json.loads(line)["topology"] for line in found} == {"twisted:4x4"}
    invoke("sweep", *on, "--sizes", "32B", "--jobs", 1, "--csv", tmp_path / "rows.csv")
    assert "twisted:4x4" in (tmp_path / "rows.csv").read_text()
