"""Reports to test, and the contrast of colours in them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

import netsim
import swing
from netsim.report.data import describe

SIZES = (32, 2**15, 2**21)


def told(place, algorithms, model="analytic", ties="adaptive", nbytes=2**21, slow=()):
    """The runs of some algorithms, and what a report says of them."""
    network = replace(netsim.paper_network(place, ties=ties), slow=dict(slow))
    torus = network.topology.torus
    schedules = [swing.schedule(name, torus, **options) for name, options in algorithms]
    runs = [netsim.simulate(schedule, network, nbytes, model) for schedule in schedules]
    return runs, describe(runs, SIZES)


def luminance(color):
    """Relative, after WCAG 2.2."""
    rgb = np.array([int(x) for x in re.findall(r"\d+", color)[:3]]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def turn_to(page, pace):
    """Chooses what moves on together: "step", "time" or "busiest"."""
    page.run(
        f"(s => {{ s.value = '{pace}'; s.dispatchEvent(new Event('change')) }})"
        "(document.getElementById('pace'))"
    )
