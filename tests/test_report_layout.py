"""How a report looks and what it shows first: what a reader sees on screens, phones and paper."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import networkx as nx
import numpy as np
import pytest
from click.testing import CliRunner

import netsim
import swing
from netsim.cli.report_command import DEFAULTS, report_command
from netsim.report.data import describe
from tests.reports import SIZES, contrast, told, turn_to

ALIKE = [(name, {}) for name in DEFAULTS]
UNLIKE = [("swing", {}), ("recursive_doubling", {})]
LONG = [("mirrored_recursive_doubling", {"variant": v}) for v in ("bandwidth", "latency")]
"""The same algorithm twice, so that its variants are in the names."""
NAMES = ("swing", "ring", "bucket", "trivance", "mirrored_recursive_doubling", "hamiltonian")
MANY = [(name, {}) for name in NAMES]


def reported(*options):
    """The data in the page that the command writes."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "report.html"
        CliRunner().invoke(report_command, [*options, "--out", out], catch_exceptions=False)
        text = out.read_text()
    text = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    return json.loads(text)


def text_of(page, selector):
    return page.run(f"document.querySelector({json.dumps(selector)}).textContent")


@pytest.mark.parametrize("dims", [(8, 8), (16,), (3, 5), (4, 4, 4), (2, 2), (7, 3)])
def test_the_command_compares_like_with_like(dims):
    a, b = (swing.schedule(name, swing.Torus(dims)) for name in DEFAULTS)
    assert len(a.parts) == len(b.parts)
    assert (a.variant, a.collective) == (b.variant, b.collective)


@pytest.mark.parametrize(
    ("algorithms", "says"),
    [
        (ALIKE, None),
        (UNLIKE, "these differ: the number of ports (swing: 4, recursive doubling: 1)."),
        # A ring has no variants.
        ([("swing", {"variant": "latency", "ports": 1}), ("ring", {})], None),
        (
            [("swing", {"variant": "latency", "ports": 1}), ("recursive_doubling", {})],
            "these differ: the variant (swing: latency, recursive doubling: bandwidth).",
        ),
        (LONG, None),  # the names of the panels say it
    ],
)
def test_the_page_says_what_differs(algorithms, says, opened):
    _, data = told("torus:4x4", algorithms)
    lead = text_of(opened(data), "#lead")
    assert ("Besides the algorithms" in lead) == (says is not None)
    assert says is None or says in lead


@pytest.mark.parametrize("slow", [{}, {(9, 10): 0.25, (10, 9): 0.25}])
@pytest.mark.parametrize("algorithms", [ALIKE, UNLIKE, ALIKE[:1]])
def test_a_page_opens_at_the_step_where_the_busiest_links_differ_most(algorithms, slow, opened):
    """With a slow link, another step is the one that ends at the most different times."""
    runs, data = told("torus:8x8", algorithms, "packet", slow=slow)
    a, b = (
        np.array(
            [max(run.step_bytes(s) / run.network.bandwidths) for s in range(run.schedule.nsteps)]
        )
        for run in (*runs, runs[0])[:2]
    )
    apart = abs(a - b) if len(runs) > 1 else a
    page = opened(data)
    assert apart[page.run("APP.now")] == pytest.approx(apart.max())
    if algorithms is ALIKE:
        words = "opens at step 3, in which their busiest links differ most"
        assert words in text_of(page, "#lead")


@pytest.mark.parametrize("place", ["torus:8x8", "torus:3x5"])
@pytest.mark.parametrize("names", [("ring", "swing"), ("swing", "hamiltonian"), ("bucket", "ring")])
def test_schedules_of_other_lengths_open_each_at_its_busiest_step(place, names, opened):
    """Step 1 of 126 and step 1 of 12 are not alike; the steps with the busiest links are."""
    runs, data = told(place, [(name, {}) for name in names])
    page = opened(data)
    counts = [run.schedule.nsteps for run in runs]
    assert len(set(counts)) == 2
    for i, run in enumerate(runs):
        most = [run.step_bytes(s).max() for s in range(run.schedule.nsteps)]
        busiest = most.index(pytest.approx(max(most)))
        assert page.run(f"APP.panels[{i}].step") == busiest
        facts = page.run(f"APP.panels[{i}].facts.textContent")
        assert facts.startswith(f"Step {busiest + 1} of {counts[i]}:")
    assert f"{names[0]} has {counts[0]} steps" in text_of(page, "#lead")
    assert text_of(page, "#where") == "the busiest steps"
    first = page.run("APP.state.steps[0]")
    page.click("#next")  # which leads on from there, step by step
    assert page.run("[APP.pace, APP.now]") == ["step", first + 1]
    turn_to(page, "busiest")
    assert text_of(page, "#where") == "the busiest steps"
    turn_to(page, "time")
    assert page.run("APP.state.steps.every((s, i) => s < RUNS[i].steps.length)")


def test_one_scale_is_that_of_the_busiest_step(opened):
    runs, data = told("torus:8x8", ALIKE)
    page = opened(data)
    page.click("#onescale")
    scales = set()
    for step in range(runs[0].schedule.nsteps):
        page.run(f"APP.go({step})")
        scales.add(text_of(page, "#scale span:last-child"))
    longest = max(max(run.step_bytes(s).max() for s in range(run.schedule.nsteps)) for run in runs)
    assert scales == {f"{longest / 50e9 * 1e6:.3g} µs ({longest / 1024:.3g} KiB)"}
    page.click("#onescale")
    page.run("APP.go(2)")
    assert text_of(page, "#scale span:last-child") not in scales


@pytest.mark.parametrize("name", ["swing", "swing,ports=1", "swing,variant=latency", "bucket"])
def test_a_curve_shows_the_fastest_variant(name):
    data = reported("--topology", "torus:4x4", "--algorithm", name, "--sizes", "32B,128KiB,32MiB")[
        "curves"
    ]
    options = {"ports": 1} if "ports" in name else {}
    variants = ["latency"] if "latency" in name else ["bandwidth", "latency"]
    if name == "bucket":
        variants = ["bandwidth"]
    network = netsim.paper_network("torus:4x4")
    schedules = [
        swing.schedule(name.split(",")[0], swing.Torus((4, 4)), **options, variant=variant)
        if name != "bucket" else swing.schedule("bucket", swing.Torus((4, 4)))
        for variant in variants
    ]  # fmt: skip
    for i, size in enumerate(data["sizes"]):
        times = [netsim.simulate(s, network, size).seconds for s in schedules]
        assert data["seconds"][0][i] == min(times)
        if len(times) > 1:
            assert data["variants"][0][i] == variants[int(np.argmin(times))]
    if len(variants) > 1:
        assert set(data["variants"][0]) == set(variants)
    else:
        assert data["variants"] == [None]


def test_as_many_lists_of_variants_as_runs():
    runs, _ = told("torus:4", [("ring", {})])
    with pytest.raises(ValueError, match="1 runs need as many lists"):
        describe(runs, SIZES, [])


def broken():
    """A torus of three dimensions without one of its links, which is a graph."""
    return netsim.paper_network(netsim.without(netsim.topology("torus:4x4x4"), [(0, 1)]))


def with_a_hub():
    """A graph of three dimensions with a switch between its slices."""
    links = nx.grid_graph((2, 2, 2))
    links = nx.convert_node_labels_to_integers(links, ordering="sorted")
    links.add_node("hub", switch=True)
    links.add_edges_from((node, "hub") for node in range(8))
    return netsim.Network(netsim.graph(links, (2, 2, 2)), 1e9)


@pytest.mark.parametrize(
    "place",
    ["torus:4x4x4", "torus:2x2x2x2", "mesh:3x3x3", "hyperx:4x4x4", "torus:16x4x4", broken,
     with_a_hub],
)  # fmt: skip
def test_no_link_of_more_dimensions_hides_another(place, opened):
    network = place() if callable(place) else netsim.paper_network(place)
    schedule = swing.schedule("ring", network.topology.torus, ports=1)
    page = opened(describe([netsim.simulate(schedule, network, 2**20)], SIZES))
    drawn = page.run(
        "[...document.querySelectorAll('.links path')].map((path) => {"
        "const p = path.getPointAtLength(path.getTotalLength() / 2);"
        "return [+path.dataset.link, p.x, p.y] })"
    )
    links, middles = np.array(drawn)[:, 0], np.array(drawn)[:, 1:]
    if place != "torus:16x4x4":  # of which one slice is drawn
        assert set(links) == set(range(network.topology.nlinks))
    far = np.linalg.norm(middles[:, None] - middles[None], axis=2)
    far[links[:, None] == links[None]] = np.inf
    assert far.min() >= 3


def labels(page):
    """The sizes in pixels of the figures in the pictures, without those that are hidden."""
    return page.run(
        "[...document.querySelectorAll('.torus text:not(.hidden)')].map((text) => {"
        "const svg = text.ownerSVGElement;"
        "const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;"
        "return scale * parseFloat(getComputedStyle(text).fontSize) })"
    )


@pytest.mark.parametrize("place", ["torus:8x8", "torus:16", "torus:4x4x4", "torus:16x16"])
@pytest.mark.parametrize("width", [375, 1280])
def test_figures_can_be_read_or_are_hidden(place, width, opened):
    _, data = told(place, ALIKE)
    page = opened(data)
    page.resize(width, 900)
    page.run("new Promise(done => requestAnimationFrame(() => setTimeout(() => done(1))))")
    sizes = labels(page)
    page.resize(1360, 900)
    assert min(sizes, default=9) >= 8.99
    if place == "torus:8x8" or width == 1280:
        assert len(sizes) >= 2 * data["place"]["dims"][0] ** len(data["place"]["dims"])


def test_many_ranks_show_the_arcs_of_the_rank_that_is_pointed_at(opened):
    visible = (
        "[...document.querySelectorAll('.panel .arc')].filter((a) => a.checkVisibility()).length"
    )
    for place, hides in {"torus:8x16": False, "torus:16x16": True}.items():
        _, data = told(place, ALIKE)
        page = opened(data)
        assert (page.run(visible) == 0) == hides
        assert ("that is pointed at" in text_of(page, "#arcs")) == hides
    page.run("APP.point({kind: 'rank', id: 5})")
    assert 0 < page.run(visible) <= 2 * 2 * 2 * 8


@pytest.mark.parametrize("width", [1360, 700])
def test_panels_stay_side_by_side_on_paper(width, opened):
    _, data = told("torus:4x4", ALIKE)
    page = opened(data)
    page.resize(width, 900)
    page.media("print")
    left, right = page.run(
        "[...document.querySelectorAll('.panel')].map((p) => p.getBoundingClientRect().toJSON())"
    )
    page.media()
    page.resize(1360, 900)
    assert left["top"] == right["top"]
    assert left["right"] < right["left"]


@pytest.mark.parametrize("place", ["torus:8x8", "torus:16", "torus:4x4x4", "hx2mesh:4x4"])
def test_every_image_has_a_name(place, opened):
    _, data = told(place, ALIKE)
    page = opened(data)
    page.press("ArrowRight")
    images = page.run(
        "[...document.querySelectorAll('[role=img]')].map((e) => e.getAttribute('aria-label'))"
    )
    assert len(images) >= 16
    assert all(images)


@pytest.mark.parametrize("algorithms", [ALIKE, UNLIKE, LONG])
def test_a_phone_cuts_nothing(algorithms, opened):
    _, data = told("torus:8x8", algorithms)
    page = opened(data)
    page.resize(375, 800)
    wide = page.run("document.documentElement.scrollWidth")
    cut = page.run(
        "[...document.querySelectorAll('.controls select')].filter((select) => {"
        "const style = getComputedStyle(select);"
        "const pen = document.createElement('canvas').getContext('2d');"
        "pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;"
        "const words = Math.max(...[...select.options].map((o) => pen.measureText(o.text).width));"
        "const room = select.clientWidth - parseFloat(style.paddingLeft) - 20;"
        "return words > room }).map((select) => select.textContent)"
    )
    names = page.run(
        "[...document.querySelectorAll('.choice .name')].map((e) => [e, e.closest('.heading')]"
        ".map((b) => b.getBoundingClientRect().right))"
    )
    overflow = page.run(
        "[...document.querySelectorAll('.chart text')].filter((text) => {"
        "const [t, c] = [text, text.ownerSVGElement].map((e) => e.getBoundingClientRect());"
        "return t.left < c.left - 1 || t.right > c.right + 1 }).map((text) => text.textContent)"
    )
    table = page.run(
        "(e => [e.scrollWidth, e.clientWidth])(document.querySelector('#figures').parentElement)"
    )
    page.resize(1360, 900)
    assert wide <= 375
    assert table[0] <= table[1]
    assert cut == []
    assert all(name <= panel for name, panel in names)
    assert overflow == []


def test_on_a_phone_the_names_of_a_wide_table_stay_and_labels_cover_no_curve(opened):
    _, data = told("torus:4x4", MANY)
    page = opened(data)
    page.resize(375, 800)
    shift = page.run(
        "(e => (e.scrollLeft = 99, e.scrollLeft))(document.querySelector('#figures').parentElement)"
    )
    lefts = page.run(
        "[...document.querySelectorAll('.scroll:has(#figures), #figures th:first-child')]"
        ".map((e) => Math.round(e.getBoundingClientRect().left))"
    )
    low, high = page.run(
        "[Math.max(...[...document.querySelectorAll('#curves .label')]"
        ".map((e) => e.getBoundingClientRect().bottom)),"
        "Math.min(...[...document.querySelectorAll('#curves .grid, #curves .curve')]"
        ".map((e) => e.getBoundingClientRect().top))]"
    )
    page.resize(1360, 900)
    assert shift == 99
    assert len(set(lefts)) == 1
    assert low <= high


@pytest.mark.parametrize("algorithms", [ALIKE, MANY])
def test_the_numbers_stand_beside_the_curves(algorithms, opened):
    _, data = told("torus:4x4", algorithms)
    page = opened(data)
    curves, table = page.run(
        "[...document.querySelectorAll('#curves, #figures')]"
        ".map((e) => e.getBoundingClientRect().toJSON())"
    )
    heads = page.run("[...document.querySelectorAll('#figures thead th')].map((e) => e.innerText)")
    assert curves["right"] < table["left"]
    assert curves["top"] == table["top"]
    assert heads == ["schedule", *(name.replace("_", " ") for name, _ in algorithms)]


@pytest.mark.parametrize(
    ("place", "algorithms"),
    [("torus:8x8", ALIKE), ("torus:4x4x4", LONG), ("torus:16", UNLIKE), ("torus:4x4", MANY)],
)
def test_a_report_fills_two_sheets_of_paper(place, algorithms, opened):
    """The pictures are on one, the times and the numbers on the other."""
    _, data = told(place, algorithms)
    page = opened(data)
    page.resize(1280, 900)
    page.media("print")
    printed = page.print()
    page.media()
    page.resize(1360, 900)
    assert len(re.findall(rb"/Type /Page\b", printed)) == 2


@pytest.mark.parametrize("place", ["torus:8x8", "torus:16", "torus:4x4x4", "torus:16x16"])
def test_a_picture_is_as_wide_as_its_panel(place, opened):
    _, data = told(place, ALIKE)
    page = opened(data)
    inner, *drawn = page.run(
        "['.facts', '.slices', '.nodes', '.ghosts'].map((selector) =>"
        "document.querySelector(`.panel ${selector}`).getBoundingClientRect().width)"
    )
    assert max(drawn) >= 0.85 * inner


def test_the_legend_names_what_is_in_the_picture(opened):
    shown = (
        "[...document.querySelectorAll('.legend p')].filter((p) => !p.hidden)"
        ".map((p) => p.textContent.trim())"
    )
    basic = ["a link; each direction has its lane on the right", "a message"]
    edge, rail = "a rank of the opposite edge", "links to a switch"
    cases = {
        "torus:16": [], "torus:8x8": [edge], "mesh:4x4": [], "hx2mesh:4x4": [rail],
        "torus:4x4x4": [edge, "a link to another slice"],
    }  # fmt: skip
    for place, more in cases.items():
        _, data = told(place, ALIKE)
        assert opened(data).run(shown) == basic + more


def test_the_rate_of_a_slow_link_can_be_read_in_both_schemes(opened):
    network = replace(netsim.paper_network("torus:4x4"), slow={(0, 1): 0.25})
    schedule = swing.schedule("swing", network.topology.torus)
    page = opened(describe([netsim.simulate(schedule, network, 2**20)], SIZES))
    for scheme in ("light", "dark"):
        page.media(prefers_color_scheme=scheme)
        colours = page.run(
            "[getComputedStyle(document.querySelector('.rates text')).fill,"
            "getComputedStyle(document.querySelector('.panel')).backgroundColor]"
        )
        assert contrast(*colours) >= 4.5
