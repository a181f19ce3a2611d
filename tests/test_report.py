"""The report: numbers of netsim and nothing else, in a page that asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache

import networkx as nx
import numpy as np
import pytest

import netsim
import swing
from netsim.report.data import describe
from netsim.report.page import page
from netsim.traffic.load import link_load
from swing.ring import distance
from swing.schedules.collectives import UNKNOWN
from tests.reports import SIZES, contrast, luminance, told, turn_to

CASES = {
    "4x4": ("torus:4x4", [("swing", {}), ("recursive_doubling", {})]),
    "8x8": ("torus:8x8", [("swing", {}), ("hamiltonian", {})]),
    "4x4x4": ("torus:4x4x4", [("swing", {}), ("recursive_doubling", {})]),
    "3x5": ("torus:3x5", [("swing", {}), ("bucket", {}), ("ring", {})]),
    "ring": ("torus:16", [("swing", {}), ("recursive_doubling", {"variant": "latency"})]),
    "hx2mesh": ("hx2mesh:8x8", [("swing", {}), ("recursive_doubling", {})]),
    "hyperx": ("hyperx:4x6", [("swing", {"variant": "hybrid", "k": 2}), ("bucket", {})]),
    "mesh": ("mesh:4x6", [("swing", {}), ("bucket", {})]),
    "two": ("torus:2x2x2x2", [("swing", {}), ("bucket", {})]),
    "sliced": ("torus:6x8x4", [("swing", {}), ("recursive_doubling", {})]),
    "window": ("torus:140", [("swing", {"variant": "latency"})]),
    "pair": ("torus:2", [("swing", {}), ("ring", {})]),
    "alone": ("torus:1", [("swing", {})]),
}


@cache
def case_of(name):
    """What `told` says of a case."""
    return told(*CASES[name])


def messages(run, s, shape):
    """The messages of a step, as the page makes them from the data."""
    pattern = run["patterns"][run["steps"][s]["pattern"]]
    if "src" in pattern:
        columns = (np.array(pattern[k]) for k in ("src", "dst", "part", "share"))
        return np.broadcast_arrays(*columns)
    found = []
    for line in pattern["lines"]:
        dim, src, dst = line["dim"], np.array(line["src"]), np.array(line["dst"])
        dims = [len(src) if j == dim else d for j, d in enumerate(shape)]
        at = np.indices(dims).reshape(len(dims), -1)
        count = np.broadcast_to(line["sent"], len(src))[at[dim]].astype(float)
        for j, held in enumerate(line["held"]):
            count *= np.broadcast_to(held, dims[j])[at[j]]
        ends = []
        for coordinates in (src, dst):
            x = at.copy()
            x[dim] = coordinates[at[dim]]
            ends.append(np.ravel_multi_index(tuple(x), shape))
        parts = np.full(len(count), line["part"])
        found.append(np.stack([*ends, parts, count * line["unit"]])[:, count > 0])
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("case", CASES)
def test_the_messages_are_those_of_the_schedule(case):
    runs, data = case_of(case)
    assert json.loads(json.dumps(data)) == data
    for run, shown in zip(runs, data["runs"], strict=True):
        schedule = run.schedule
        assert len(shown["steps"]) == schedule.nsteps
        for s, step in enumerate(schedule):
            src, dst, part, share = messages(shown, s, data["place"]["dims"])
            assert (src == step.src).all()
            assert (dst == step.dst).all()
            assert (part == step.part).all()
            np.testing.assert_allclose(share, schedule.share(step), rtol=1e-12)
            about = shown["steps"][s]
            rows = [step.message(i) for i in range(len(step))]
            assert set(about["op"]) == {row.op.value for row in rows}
            if "blocks" in about:
                every = np.arange(schedule.nblocks)
                blocks = [every[row.blocks].tolist() for row in rows]
                assert [*map(expanded, about["blocks"].split(";"))] == blocks


def expanded(text):
    """0-2,5 as 0, 1, 2, 5."""
    ends = [[int(x) for x in item.split("-")] for item in text.split(",")]
    return [x for end in ends for x in range(end[0], end[-1] + 1)]


@pytest.mark.parametrize("model", ["analytic", "packet"])
@pytest.mark.parametrize("case", ["3x5", "hx2mesh"])
def test_the_numbers_are_those_of_the_simulator(case, model):
    runs, data = told(*CASES[case], model=model)
    network = runs[0].network
    assert data["lower_bound"] == netsim.lower_bound(network, 2**21)
    assert data["model"] == model
    for i, (run, shown) in enumerate(zip(runs, data["runs"], strict=True)):
        assert shown["seconds"] == run.seconds
        assert shown["congestion"] == run.congestion
        assert shown["ends"] == pytest.approx(np.cumsum(run.step_seconds))
        for s, step in enumerate(shown["steps"]):
            load = 2**21 * link_load(run.schedule, s, network)
            assert step["bytes"] == load[step["busiest"]] == load.max()
        assert data["curves"]["seconds"][i] == [
            netsim.simulate(run.schedule, network, n).seconds for n in SIZES
        ]
    assert data["curves"]["lower_bound"] == [netsim.lower_bound(network, n) for n in SIZES]


def test_ranks_may_sit_anywhere():
    network = netsim.paper_network("torus:4")
    torus = swing.Torus(4, coords=[[2], [0], [3], [1]])
    data = describe([netsim.simulate(swing.schedule("ring", torus), network, 64)], SIZES)
    (run,) = data["runs"]
    assert [run["ranks"][x] for x in (2, 0, 3, 1)] == [0, 1, 2, 3]
    pattern = run["patterns"][0]
    assert [run["ranks"][x] for x in pattern["src"]] == [0, 1, 2, 3]


def test_large_tori_stay_small():
    _, data = told("torus:16x16x16", CASES["4x4x4"][1])
    assert len(page(data)) < 300_000
    assert "blocks" not in data["runs"][0]["steps"][0]
    _, data = told("torus:8x8", [("hamiltonian", {}), ("ring", {})])
    assert len(page(data)) < 2_000_000


def test_what_no_report_can_show_is_refused():
    runs, _ = told("torus:4", [("ring", {})])
    with pytest.raises(ValueError, match="at least one"):
        describe([], SIZES)
    with pytest.raises(ValueError, match="one size"):
        describe([runs[0], replace(runs[0], nbytes=1)], SIZES)
    with pytest.raises(ValueError, match="ties"):
        told("torus:4", [("ring", {})], ties="random")
    with pytest.raises(ValueError, match="65536 ranks"):
        told("torus:512x512", [("swing", {})])


class Elements(html.parser.HTMLParser):
    """Counts elements; keeps the text of script and style, and every attribute."""

    def __init__(self, text):
        super().__init__()
        self.count, self.texts, self.attributes, self.inside = Counter(), {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.count[tag] += 1
        self.attributes += attrs
        self.inside = f"{tag} {dict(attrs).get('type', '')}".strip()

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data


def test_the_page_runs_only_what_its_policy_names():
    _, data = case_of("4x4")
    found = Elements(page(data))
    policy = next(v for _, v in found.attributes if v and "default-src" in v)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script module"):
        digest = hashlib.sha256(found.texts[kind].encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
    names = {name for name, _ in found.attributes}
    assert not names & {"src", "href", "srcset", "style"}
    assert not any(name.startswith("on") for name in names)


def test_names_cannot_become_markup():
    runs, _ = case_of("4x4")
    evil = '</script><script>alert(1)</script><img src=x onerror=alert(1)>"&'
    schedule = replace(runs[0].schedule, name=evil, variant=evil)
    text = page(describe([replace(runs[0], schedule=schedule)], SIZES))
    found = Elements(text)
    plain = Elements(page(describe([runs[0]], SIZES)))
    assert found.count == plain.count
    assert json.loads(found.texts["script application/json"])["runs"][0]["name"] == evil


def graph_run():
    """A ring of eight with a chord and a switch, as a graph."""
    links = nx.cycle_graph(8)
    links.add_edge(0, 4)
    links.add_node("hub", switch=True)
    links.add_edges_from([(2, "hub"), (5, "hub"), (7, "hub")])
    network = netsim.Network(netsim.graph(links, (2, 4)), 1e9)
    return netsim.simulate(swing.schedule("swing", swing.Torus((2, 4))), network, 2**20)


def loads_agree(page, runs):
    """Bytes on all links in all steps, of the page and of netsim."""
    for i, run in enumerate(runs):
        for s in range(run.schedule.nsteps):
            shown = page.run(f"[...RUNS[{i}].load({s}, -1)]")
            np.testing.assert_allclose(shown, run.step_bytes(s), rtol=1e-9, atol=1e-6)
    assert page.run("PLACE.links.map(({tail, head}) => [tail, head])") == [
        *map(list, run.network.topology.ends.tolist())
    ]


@pytest.mark.parametrize("case", CASES)
def test_the_page_sums_up_to_the_simulators_loads(case, opened):
    runs, data = case_of(case)
    page = opened(data)
    loads_agree(page, runs)
    page.run("APP.go(0)")
    for run, i in zip(runs, range(2), strict=False):
        busiest = page.run(f"APP.panels[{i}].busiest.textContent")
        steps = data["runs"][i]["steps"]
        link = steps[0]["busiest"] if steps else -1
        if link < 0:
            assert busiest == "No link is busy."
            continue
        assert busiest.startswith(
            f"Busiest link {page.run(f'APP.panels[{i}].schedule.linkName({link})')}"
        )
        assert run.schedule.name.replace("_", " ") in page.run("document.body.innerText")


@pytest.mark.parametrize("ties", ["split", "positive", "simgrid"])
def test_ties_are_the_simulators(ties, opened):
    runs, data = told("torus:4x6", [("recursive_doubling", {}), ("swing", {})], ties=ties)
    loads_agree(opened(data), runs)


def test_a_graph_is_drawn_too(opened):
    run = graph_run()
    loads_agree(opened(describe([run], SIZES)), [run])


@pytest.mark.parametrize("ties", ["split", "positive"])
def test_routes_that_tie_share_a_message_where_a_link_has_failed(ties, opened):
    broken = netsim.without(netsim.topology("torus:4x4"), [(0, 1), (5, 9)])
    network = netsim.paper_network(broken, ties=ties)
    schedule = swing.schedule("recursive_doubling", broken.torus)
    run = netsim.simulate(schedule, network, 2**20)
    loads_agree(opened(describe([run], SIZES)), [run])


def slow_run(name, slow):
    """A run on a torus in which some links are slow."""
    network = replace(netsim.paper_network(name), slow=slow)
    return netsim.simulate(swing.schedule("ring", network.topology.torus, ports=1), network, 2**20)


def test_slow_links_are_listed_with_their_rates():
    run = slow_run("torus:4x4", {(0, 1): 0.25, (5, 4): 0.5})
    place = describe([run], SIZES)["place"]
    ends = run.network.topology.ends
    assert place["gbps"] == 400
    assert [(ends[i].tolist(), gbps) for i, gbps in place["rates"]] == [
        ([0, 1], 100),
        ([5, 4], 200),
    ]
    assert describe([slow_run("torus:4x4", {})], SIZES)["place"]["rates"] == []
    edges = nx.cycle_graph(4)
    nx.set_edge_attributes(edges, 450e9 / 8, "bandwidth")
    network = netsim.Network(netsim.graph(edges), 1e9)  # most links have a rate of their own
    run = netsim.simulate(swing.schedule("ring", swing.Torus(4)), network, 2**20)
    place = describe([run], SIZES)["place"]
    assert (place["gbps"], place["rates"]) == (450, [])


@pytest.mark.parametrize(
    ("name", "slow", "words"),
    [
        ("torus:4x4", {(0, 1): 0.25}, "0 → 1, 100 Gb/s: 64 KiB in 1 message, 5.24 µs."),
        (
            "torus:8",
            {(0, 1): 0.5, (1, 2): 0.5},
            "0 → 1, 200 Gb/s: 128 KiB in 1 message, 5.24 µs; 1 ",
        ),
    ],
)
def test_a_slow_link_is_the_busiest_and_has_its_rate(name, slow, words, opened):
    run = slow_run(name, slow)
    page = opened(describe([run], SIZES))
    assert page.run("APP.panels[0].busiest.textContent").startswith(f"Busiest link {words}")
    told = page.run("document.getElementById('network').textContent")
    for (tail, head), fraction in slow.items():
        assert f"{tail} → {head} has {400 * fraction:.0f}" in told
    marked = page.run("[...document.querySelectorAll('.slow path')].map((p) => +p.dataset.link)")
    rates = page.run("[...document.querySelectorAll('.rates text')].map((t) => t.textContent)")
    assert rates == [f"{400 * fraction:.0f} Gb/s" for fraction in slow.values()]
    assert len(marked) == len(rates)
    assert not page.run("document.getElementById('sign-slow').hidden")
    # Links are coloured by the time that their bytes take: all carry the same here.
    times = {1.0} | {1 / slow.get(tuple(end), 1.0) for end in run.network.topology.ends.tolist()}
    for link, end in enumerate(run.network.topology.ends.tolist()):
        if page.run(f"APP.panels[0].load[{link}]"):
            shade = page.run(f"APP.panels[0].picture.byLink.get({link})[0].getAttribute('class')")
            expected = np.ceil(12 / max(times) / slow.get(tuple(end), 1.0))
            assert shade == f"link q{expected:.0f}"
    loads_agree(page, [run])


@pytest.mark.parametrize(
    ("collectives", "words"),
    [
        (["reduce_scatter"], "A reduce-scatter of 1 MiB takes"),
        (["allgather", "allgather"], "An allgather of 1 MiB takes"),
        (["allreduce", "allgather"], "A vector of 1 MiB takes"),
        (["traffic"], "Traffic of 1 MiB takes"),
    ],
)
def test_the_bound_is_that_of_the_collective(collectives, words, opened):
    network = netsim.paper_network("torus:4x4")
    runs = []
    for name, collective in zip(("swing", "ring"), collectives, strict=False):
        schedule = swing.schedule(name, network.topology.torus)
        if collective == "traffic":
            schedule = replace(schedule, origin=UNKNOWN, home=UNKNOWN)
        else:
            schedule = swing.schedule(name, network.topology.torus, collective=collective)
        runs.append(netsim.simulate(schedule, network, 2**20))
    data = describe(runs, SIZES)
    page = opened(data)
    lead, axis = (
        page.run(f"document.querySelector('{at}').textContent") for at in ("#lead", "#time")
    )
    assert lead.startswith(words)
    header = page.run("document.querySelector('#sizes').textContent")
    if len(set(collectives)) > 1 or collectives == ["traffic"]:
        assert data["lower_bound"] is None
        assert data["curves"]["lower_bound"] is None
        assert "none can take less" not in lead
        assert "nothing ends before" not in axis
        assert "lower bound" not in header
        return
    bound = netsim.lower_bound(network, 2**20, collectives[0])
    assert data["lower_bound"] == pytest.approx(bound)
    assert f"none can take less than {bound * 1e6:.3g} µs." in lead
    assert "nothing ends before" in axis
    assert "lower bound" in header


def test_hops_are_the_ring_distance(opened):
    _, data = told("torus:7", [("ring", {})])
    page = opened(data)
    for a in range(7):
        for b in range(7):
            hops = page.run(f"PLACE.ways({a}, {b})[0].links.length")
            assert hops == distance(7, True, np.array([a]), np.array([b]))[0]


def test_controls(opened):
    runs, data = case_of("8x8")
    page = opened(data)
    where = "document.getElementById('where').textContent"
    page.run("APP.go(0)")
    assert page.run(where).startswith("step 1 of 126")
    page.click("#next")
    assert page.run(where).startswith("step 2 of 126")
    page.click("#back")
    assert page.run(where).startswith("step 1 of 126")
    page.run("document.getElementById('speed').value = '4'")
    page.click("#play")
    page.wait(f"!{where}.startsWith('step 1 ')")
    page.click("#play")
    assert page.run("APP.playing") is False
    page.run("APP.go(0)")
    arcs = "document.querySelectorAll('.panel .arcs')[0].children.length"
    every = page.run(arcs)
    page.run(
        "(s => { s.value = '1'; s.dispatchEvent(new Event('change')) })"
        "(document.getElementById('part'))"
    )
    assert 0 < page.run(arcs) < every
    assert "64 messages" in page.run("APP.panels[0].facts.textContent")
    turn_to(page, "time")
    page.run("APP.go(999)")
    assert page.run("APP.panels[0].done")
    page.click("#whole")
    whole = page.run("[...RUNS[0].whole(-1)]")
    np.testing.assert_allclose(whole, runs[0].link_bytes, rtol=1e-9)


def test_pointing_tells(opened):
    runs, data = case_of("4x4")
    page = opened(data)
    page.hover(".panel .node[data-rank='5']")
    words = page.run("[...document.querySelectorAll('.details')].map((e) => e.innerText)")
    turn = runs[0].schedule.for_rank(5)[0]
    for sent in turn.sends:
        assert re.search(rf"sends to {sent.dst}: 256 KiB, 1 hop, part", words[0])
    assert words[1].startswith("Rank 5 at (1, 1)")
    page.run("APP.point(null)")
    page.run("APP.point({kind: 'link', id: 0})")
    tail, head = runs[0].network.topology.ends[0]
    words = page.run("document.querySelector('.details').innerText")
    said = f"Link {tail} → {head}, dimension 0 +: 256 KiB in 1 message, busy for 5.24 µs"
    assert words.startswith(said)


def test_keys(opened):
    _, data = case_of("4x4")
    page = opened(data)
    page.run("APP.go(0)")
    order = []
    for _ in range(4):
        page.press("Tab")
        order.append(page.run("document.activeElement.id"))
    assert order == ["back", "play", "next", "step"]
    page.run("document.activeElement.blur()")
    page.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert page.run("APP.now") == 1
    page.press("End")
    assert page.run("APP.now") == 7
    page.press("Home", " ")
    assert page.run("APP.playing") is True
    page.press(" ")
    assert page.run("APP.playing") is False
    page.run("document.querySelector('.panel .node[tabindex=\"0\"]').focus()")
    page.press("ArrowRight", "ArrowDown")
    assert page.run("document.activeElement.dataset.rank") == "5"
    assert page.run("document.activeElement.getAttribute('aria-label')").startswith("Rank 5")
    page.press("Enter")
    assert page.run("APP.held") == {"kind": "rank", "id": 5}
    page.press("l")
    assert page.run("document.activeElement.getAttribute('aria-label')").startswith("Link 5 →")
    page.press("Escape")
    assert page.run("APP.held") is None


def test_slices(opened):
    _, data = case_of("sliced")
    page = opened(data)
    assert page.run("document.querySelectorAll('.panel')[0].querySelectorAll('.node').length") == 32
    page.run(
        "(s => { s.value = '3'; s.dispatchEvent(new Event('input')) })"
        "(document.querySelector('[data-axis=\"0\"]'))"
    )
    first = page.run("document.querySelector('.node').dataset.rank")
    assert first == str(3 * 32)
    assert "1 x 8 x 4 of 6 x 8 x 4 ranks" in page.run("document.getElementById('left').textContent")


def test_a_node_has_as_many_lanes_as_links(opened):
    _, data = case_of("4x4x4")
    page = opened(data)
    drawn = page.run("[...document.querySelector('.links').children].map((p) => +p.dataset.link)")
    assert set(drawn) == set(range(384))
    # A link that wraps around, or leads from one of the four slices to the next, is drawn twice.
    assert len(drawn) == 384 + 4 * 16 + 128


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_both_schemes(scheme, opened):
    _, data = case_of("4x4")
    page = opened(data)
    page.media(prefers_color_scheme=scheme)
    card, *texts = page.run(
        "['.panel', '.facts', '.busiest', '.hint', '.about', '#lead', '.legend', 'th', 'td']"
        ".map((s) => getComputedStyle(document.querySelector(s)))"
        ".map((c, i) => i ? c.color : c.backgroundColor)"
    )
    light = page.run("matchMedia('(prefers-color-scheme: light)').matches")
    assert light == (scheme == "light")
    for color in texts:
        assert contrast(color, card) >= 4.5
    ramp = page.run(
        "[...document.querySelectorAll('.ramp i')].map((e) => getComputedStyle(e).backgroundColor)"
    )
    bright = np.array([luminance(color) for color in ramp])
    # Colour-blind or in grey: more bytes are always darker on light paper, lighter on dark.
    assert (np.diff(bright) * (-1 if light else 1) > 0)[1:].all()
    assert len(page.picture()) > 20_000


def test_print_and_narrow_screens(opened):
    _, data = case_of("4x4")
    page = opened(data)
    page.media("print", prefers_color_scheme="dark")
    assert not page.run("document.getElementById('play').checkVisibility()")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.print().startswith(b"%PDF")
    page.media()
    page.resize(380, 800)
    wide = page.run("document.documentElement.scrollWidth")
    page.resize(1360, 900)
    assert wide <= 380
