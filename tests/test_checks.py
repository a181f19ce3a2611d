"""Wrong arguments of public functions are one short line that says what to pass."""

from __future__ import annotations

import numpy as np
import pytest

import netsim
import swing
from swing import formats

TORUS = swing.Torus((2, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: swing.verify(3),
        lambda: swing.verify([1, 2]),
        lambda: swing.deadlock("x"),
        lambda: swing.deadlock([[1]]),
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
