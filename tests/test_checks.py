"""Wrong arguments of public functions are one short line that says what to pass."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netsim
import swing
from swing import formats, sizes
from swing.algorithms import spelling

TORUS = swing.Torus((2, 2))
MISSPELT = {
    "swing": lambda: swing.schedule("swng", TORUS),
    "auto": lambda: swing.schedule("auot", TORUS),
    "ring": lambda: swing.schedule("RING", TORUS),
    "recursive_doubling": lambda: swing.schedule("recursive-doubling", TORUS),
    "variant": lambda: swing.schedule("swing", TORUS, varant="latency"),
    "allreduce": lambda: swing.schedule("swing", TORUS, collective="all_reduce"),
    "torus": lambda: netsim.topology("trous:4x4"),
    "hyperx": lambda: netsim.topology("HyperX:4x4"),
    "flow": lambda: netsim.simulate(RING, netsim.paper_network("torus:2x2"), 8, "flwo"),
    "goal": lambda: formats.text(RING, "gaol"),
    "TPU v4": lambda: netsim.tpu_network("tpu v4", "torus:2x2"),
}


def schedule_of(step):
    return swing.Schedule("one", TORUS, 1, 1, lambda s: step)


RING = swing.schedule("ring", TORUS)


@pytest.mark.parametrize("name", MISSPELT)
def test_the_closest_name_is_offered_for_an_unknown_one(name):
    with pytest.raises(ValueError, match=re.escape(f"(did you mean {name!r}?)")):
        MISSPELT[name]()


@pytest.mark.parametrize("name", ["bucket,segments=6", "swing,variant=hybrid,k=2", "auto,x"])
def test_options_within_a_name_are_for_commands(name):
    rule = "each option as an argument of its own|no algorithm 'auto,x'.*: choose from"
    with pytest.raises(ValueError, match=rule):
        swing.schedule(name, TORUS)


def test_no_name_is_offered_for_one_that_is_like_none_of_them():
    with pytest.raises(ValueError, match=r"no algorithm 'rabenseifner': choose from .*, auto$"):
        swing.schedule("rabenseifner", TORUS)


@pytest.mark.parametrize(
    "call",
    [
        lambda: swing.verify(3),
        lambda: swing.verify([1, 2]),
        lambda: swing.deadlock("x"),
        lambda: swing.deadlock([[1]]),
        lambda: swing.deadlock(RING),
        lambda: swing.choose(TORUS, 8, machine={}),
        lambda: swing.choose(TORUS, 8, machine=None),
        lambda: swing.choose("4x4", 8),
        lambda: swing.choose(TORUS, "8"),
        lambda: swing.choose(TORUS, -1),
        lambda: swing.ALGORITHMS["bucket"](1024),
        lambda: swing.ALGORITHMS["swing"]((4, 4)),
        lambda: swing.schedule("ring", "x" * 10**6),
        lambda: swing.schedule("y" * 10**6, TORUS),
        lambda: swing.schedule("swing", TORUS, ports="z" * 10**6),
        lambda: netsim.lower_bound("x", 1),
        lambda: netsim.lower_bound(None, 1),
        lambda: netsim.graph("torus:8x8"),
        lambda: netsim.without("torus:8x8", [(0, 1)]),
        lambda: netsim.topology(TORUS),
        lambda: netsim.topology("x" * 5000),
        lambda: netsim.paper_network("x" * 5000),
        lambda: netsim.Network("x" * 5000, 1e9),
        lambda: netsim.Network(netsim.topology("torus:2x2"), "x" * 5000),
        lambda: netsim.simulate(RING, netsim.paper_network("torus:2x2"), "x" * 5000),
        lambda: netsim.simulate(RING, netsim.paper_network("torus:2x2"), 8, "x" * 5000),
        lambda: RING.rank("x" * 5000),
        lambda: RING.for_rank(RING),
        lambda: swing.Torus("x" * 5000),
        lambda: swing.Torus((2, 2), wrap="x" * 5000),
        lambda: formats.text(RING, "x" * 5000),
        lambda: formats.text(RING, "goal", "x" * 5000),
        lambda: formats.text(RING, "goal", 2.5),
        lambda: formats.read(RING),
        lambda: netsim.topology("mesh:4x4:wrap=1,1"),
        lambda: swing.schedule("bucket", TORUS, segments="x" * 5000),
        lambda: swing.schedule("bucket", TORUS, segments=np.zeros(1000, int)),
        lambda: swing.schedule("bucket", TORUS, segments=True),
        lambda: swing.schedule("swing", TORUS, variant="x" * 5000),
        lambda: swing.schedule("swing", TORUS, k="x" * 5000),
        lambda: swing.schedule("swing", TORUS, blocks="x" * 5000),
        lambda: swing.schedule("swing", TORUS, collective="x" * 5000),
        lambda: swing.schedule("recursive_multiplying", TORUS, radices=((3, 1),) * 5000),
        lambda: swing.schedule("recursive_multiplying", TORUS, radices="x" * 5000),
        lambda: swing.ALGORITHMS["ring"](TORUS, **{"x" * 5000: 1}),
        lambda: swing.Schedule("x", TORUS, 1, 0, RING.step, collective="x" * 5000),
        lambda: list(formats.table([formats.Rule(0, "x" * 5000)], "nccl", 16)),
        lambda: spelling.parse("swing," + "x" * 5000),
        lambda: spelling.parse("swing,ports=" + "x" * 5000),
        lambda: sizes.parse_size("x" * 5000),
        lambda: swing.Schedule(
            "x", TORUS, 2, 0, None, origin=np.zeros((2, 1), int), home=swing.ALL
        ),
        lambda: swing.Step(np.array(["x" * 5000]), [0], [1], [[0]]),
        lambda: swing.verify(schedule_of(swing.Step(True, [0.0], [1], [[0]]))),
        lambda: swing.verify(schedule_of(swing.Step(True, [[0]], [[1]], [[0]]))),
        lambda: formats.read("some.json", torus=np.zeros(3)),
        lambda: formats.read("some.msccl", torus=4),
    ],
)
def test_a_wrong_argument_is_one_short_line(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert 10 < len(text) <= 300


@pytest.mark.parametrize("wrong", [8, 8.5, None])
def test_dimensions_as_several_arguments_are_explained(wrong):
    with pytest.raises(TypeError, match=r"such as Torus\(\(8, 8\)\)"):
        swing.Torus(8, wrong)
