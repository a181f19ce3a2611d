"""What notebooks show: small, well-formed, true; and the tutorial, which prints what it says."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import escape
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import netsim
import swing
from swing.display import MAX_MESSAGES, MAX_STEPS
from swing.select.table import shipped
from tests import notebook
from tests.reports import contrast

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"
SVG = "{http://www.w3.org/2000/svg}"
HEX = re.compile(r"#(\w+)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def parsed(text):
    return ET.fromstring(f"<body>{text}</body>".replace("<br>", "<br/>"))


def decimal(colour):
    """``1b0`` or ``11bb00`` as ``17 187 0``."""
    long = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    return " ".join(map(str, bytes.fromhex(long)))


@pytest.mark.parametrize("dims", [(4, 4), (16,), (3, 5), (4, 4, 4), (2, 2, 2, 2), (1,), (2,)])
@pytest.mark.parametrize("name", ["swing", "bucket", "ring"])
def test_a_schedule_shows_its_ranks_step_by_step(dims, name):
    schedule = swing.schedule(name, swing.Torus(dims))
    text = schedule._repr_html_()
    found = parsed(text)
    assert len(text) < 100_000
    steps = len(found.findall(f".//{SVG}svg/{SVG}svg/{SVG}svg"))
    first = np.cumsum([len(step) for step in schedule[:MAX_STEPS]])
    assert steps == np.count_nonzero(first <= MAX_MESSAGES)
    left = re.search(r"; (\d+) more steps", text)
    assert steps + (int(left[1]) if left else 0) == schedule.nsteps
    assert len(found.findall(f".//{SVG}circle")) == steps * schedule.torus.size
    assert "nan" not in text


@pytest.mark.parametrize(("name", "dims"), [("swing", (4, 4)), ("ring", (9,)), ("bucket", (3, 5))])
def test_coloured_words_have_a_background_that_makes_them_legible_on_any_page(name, dims):
    text = parsed(swing.schedule(name, swing.Torus(dims))._repr_html_())
    (small,) = text.iter("small")
    (key,) = small
    paper, words = HEX.findall(key.get("style"))
    colours = [HEX.findall(span.get("style"))[0] for span in key]
    assert len(set(colours)) == 2
    assert min(contrast(decimal(colour), decimal(paper)) for colour in (words, *colours)) >= 4.5


def test_a_step_has_an_arc_for_every_message():
    step = swing.schedule("swing", swing.Torus(16), ports=1).step(1)
    drawn = "".join(path.get("d") for path in parsed(step._repr_svg_()).iter(f"{SVG}path"))
    assert drawn.count("M") == len(step) == 16


@pytest.mark.parametrize("place", ["torus:4x4", "torus:16", "mesh:3x5", "torus:2x3x4"])
def test_a_network_has_a_lane_for_every_link(place):
    topology = netsim.topology(place)
    closing = sum(
        2 * topology.size // d for d, wrap in zip(topology.dims, topology.torus.wrap, strict=True)
        if wrap and "mesh" not in place and topology.ndim > 1
    )  # fmt: skip
    found = parsed(topology._repr_svg_())
    assert len(found.findall(f".//{SVG}path")) == topology.nlinks + closing
    shown = parsed(netsim.paper_network(place)._repr_html_())
    assert len(shown.findall(f".//{SVG}path")) == topology.nlinks + closing


@pytest.mark.parametrize("place", ["torus:4x4", "hx2mesh:4x4", "hyperx:3x3", "torus:32x32"])
def test_a_run_shows_its_figures(place):
    network = netsim.paper_network(place)
    schedule = swing.schedule("swing", network.topology.torus)
    run = netsim.simulate(schedule, network, 2**21)
    text = run._repr_html_()
    parsed(text)
    assert len(text) < 100_000
    assert f"{run.seconds * 1e6:.4g} us" in text
    assert f"{run.congestion:.4f}" in text
    assert "0x" not in repr(run)


def test_graphs_and_empty_schedules_show_themselves():
    graph = netsim.graph(nx.petersen_graph(), (2, 5))
    assert len(parsed(graph._repr_svg_()).findall(f".//{SVG}path")) == 30
    one = swing.schedule("ring", swing.Torus(1))
    network = netsim.Network(netsim.topology("torus:1"), 1e9)
    text = netsim.simulate(one, network, 8)._repr_html_()
    parsed(text)
    assert "0 us" in text


def test_large_values_are_short_where_they_are_printed():
    network = netsim.paper_network("torus:64x64")
    star = swing.schedule("linear", swing.Torus((64, 64)))
    values = [
        swing.schedule("swing", swing.Torus((64, 64))), star, star.step(0), star.rank(0),
        star.rank(0)[0], netsim.topology("hx2mesh:64x64"),
        netsim.graph(nx.circulant_graph(1024, [1, 2, 3]), (1024,), "circulant"),
        netsim.without(network.topology, [(0, 1)]),
        replace(network, slow={(rank, rank + 1): 0.5 for rank in range(0, 4096, 2)}),
    ]  # fmt: skip
    for value in values:
        assert len(repr(value)) <= 1000
        assert len(str(value)) <= 4000
    assert len(repr(shipped())) <= 1000  # its str is the file


def test_names_do_not_become_markup():
    evil = "<img src=x onerror=alert(1)>"
    schedule = replace(swing.schedule("ring", swing.Torus(4)), name=evil)
    network = netsim.Network(netsim.topology("torus:4"), 1e9)
    for text in (schedule._repr_html_(), netsim.simulate(schedule, network, 8)._repr_html_()):
        assert evil not in text
        assert escape(evil) in text


@pytest.fixture(scope="module")
def tutorial():
    return json.loads(TUTORIAL.read_text(encoding="utf-8"))


def test_the_tutorial_prints_what_it_says(tutorial):
    cells = [cell for cell in tutorial["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 10
    assert TUTORIAL.stat().st_size < 250_000
    for cell, found in zip(cells, notebook.outputs(tutorial), strict=True):
        said, does = (json.dumps(x, sort_keys=True) for x in (cell["outputs"], found))
        assert NUMBER.sub("#", said) == NUMBER.sub("#", does)
        # The last digit of a coordinate may differ from one machine's sine to another's.
        np.testing.assert_allclose(
            *([float(x) for x in NUMBER.findall(text)] for text in (said, does)),
            rtol=1e-3, atol=1.01,
        )  # fmt: skip


def test_what_the_tutorial_says_of_the_table_is_so(tutorial):
    (table,) = (
        "".join(cell["outputs"][0]["text"])
        for cell in tutorial["cells"]
        if cell["cell_type"] == "code" and "variants" in "".join(cell["source"])
    )
    head, *rows = table.splitlines()
    names = re.split(r"  +", head.strip())
    best = [names[1 + row[8:].index("*") // 13] for row in rows]
    assert best[0] == "latency"
    assert best[-1] == "bandwidth"
    assert any(name.startswith("hybrid") for name in best)
