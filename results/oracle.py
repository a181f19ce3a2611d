"""``python results/oracle.py``: compare the packet model with the Swing paper's simulator.

The paper's simulator, SST with the authors' changes, was rebuilt and run on schedules of this
library; ``paper/sst.csv`` has its times. This script simulates the same runs with
`netsim.paper_network`, and writes SST.md. The rows whose column ``changed`` is not ``base`` have
some parameters of SST changed; `CHANGES` has the parameters of `netsim.Network` that are the same.
"""

from __future__ import annotations

import csv
import re
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from netsim import Network, paper_network, simulate  # noqa: E402  needs the path above
from swing import Torus, schedule  # noqa: E402

POST_GAPS = [1.0e-9, 1.2e-9, 1.4e-9, 1.6e-9, 1.75e-9, 2.25e-9, 2.6e-9, 3.1e-9]
CHAOS = 2**19
"""One-port recursive doubling above this size depends on the order of single packets."""


def door(bandwidth: str) -> dict[str, object]:
    """A node's two links at a rate in Gb/s."""
    return dict.fromkeys(("injection_bandwidth", "ejection_bandwidth"), number(bandwidth) * 1e9 / 8)


def number(text: str) -> float:
    """The number that a text begins with; ``k`` and ``M`` behind it count."""
    digits, unit = re.match(r"([\d.]+)([kM]?)", text).groups()  # type: ignore[union-attr]
    return float(digits) * {"": 1, "k": 10**3, "M": 10**6}[unit]


CHANGES: dict[str, Callable[[str], dict[str, object]]] = {
    "NICBW": door,
    "nic400": lambda _: door("400"),
    "XBAR": lambda value: {"crossbar_bandwidth": number(value) * 1e9 / 8},
    "BUF": lambda value: {"buffer_bytes": int(number(value))},
    "NICBUF": lambda _: {},  # its buffers never bound in these runs
    "TIE": lambda value: {"ties": "adaptive" if value == "1" else "positive"},
    "call=0": lambda _: {"post_gap": 0.0},
    "enter=0": lambda _: {"post_gap": 0.0},
    # All packets of a message are there at once. A gap of 0 stands for something else.
    "pdelay=0": lambda _: {"packet_gap": 1e-15},
}
"""By the words of the column ``changed``: the same change of a `netsim.Network`."""


class Case(NamedTuple):
    """A run of the paper's simulator.

    Args:
        algorithm: as it is printed.
        dims: of the torus.
        nbytes: size of the vector.
        changed: "base", or what is not as in the paper.
        us: microseconds that it took.
    """

    algorithm: str
    dims: str
    nbytes: int
    changed: str
    us: float

    @property
    def chaotic(self) -> bool:
        """Whether the time depends on the order of single packets."""
        return self.algorithm.startswith("recursive_doubling") and self.nbytes > CHAOS

    def seconds(self, change: Callable[[Network], Network] = lambda network: network) -> float:
        """The simulated seconds on the paper's network, or on one made from it."""
        name, *words = self.algorithm.split()
        options: dict[str, Any] = {}
        for word in words:
            key, _, value = word.partition("=")
            options |= {key: int(value)} if value else {"variant": word}
        network = change(paper_network(f"torus:{self.dims}"))
        # The rings of the simulator's Hamiltonian run waited for each other; the paper's did not.
        parts = "steps" if name == "hamiltonian" else "schedule"
        plan = schedule(name, Torus.parse(self.dims), **options)
        return simulate(plan, network, self.nbytes, "packet", parts=parts).seconds

    def deviation(self, change: Callable[[Network], Network] = lambda network: network) -> float:
        """The relative deviation of the simulated time, positive if it is too long."""
        return self.seconds(change) * 1e6 / self.us - 1


def runs() -> list[Case]:
    """All runs."""
    with open(HERE / "paper" / "sst.csv", newline="") as table:
        return [
            Case(r["algorithm"], r["dims"], int(r["bytes"]), r["changed"], float(r["us"]))
            for r in csv.DictReader(table)
        ]


def cases() -> list[Case]:
    """The runs with the paper's parameters."""
    return [case for case in runs() if case.changed == "base"]


def changes(case: Case) -> dict[str, object] | None:
    """The parameters of the network that are changed in a run; None if there is no such one."""
    changed: dict[str, object] = {}
    for word in case.changed.split("+"):
        key, _, value = word.partition("=")
        change = CHANGES.get(word) or CHANGES.get(key)
        if change is None:
            return None
        changed |= change(value)
    return changed


def gap(seconds: float) -> Callable[[Network], Network]:
    """The change of a network that sets its ``post_gap``."""
    return lambda network: replace(network, post_gap=seconds)


def spread(values: Iterable[float]) -> str:
    """Median, 90th percentile and worst of absolute deviations."""
    ordered = sorted(map(abs, values))
    ninth = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return f"{statistics.median(ordered):.2%} | {ninth:.2%} | {ordered[-1]:.2%}"


def comparison(every: list[Case]) -> str:
    """The table of all runs."""
    text = "| algorithm | torus | bytes | SST, us | packet model, us | deviation |\n"
    text += "|---|---|---|---|---|---|\n"
    for case in every:
        us = case.seconds() * 1e6
        text += f"| {case.algorithm} | {case.dims} | {case.nbytes} | {case.us:.3f} | {us:.3f} | "
        text += f"{us / case.us - 1:+.2%} |\n"
    return text


def changed_runs() -> str:
    """The table of the runs with changed parameters, which nothing was fitted on."""
    text = "| algorithm | torus | bytes | changed | SST, us | packet model, us | deviation |\n"
    text += "|---|---|---|---|---|---|---|\n"
    deviations = []
    for case in runs():
        changed = None if case.changed == "base" else changes(case)
        if changed is not None:
            deviation = case.deviation(partial(replace, **changed))
            deviations.append(deviation)
            text += (
                f"| {case.algorithm} | {case.dims} | {case.nbytes} | {case.changed} | "
                f"{case.us:.3f} | {case.us * (1 + deviation):.3f} | {deviation:+.2%} |\n"
            )
    head = "| | median | 90th percentile | worst |\n|---|---|---|---|\n"
    return f"{head}| all {len(deviations)} | {spread(deviations)} |\n\n{text}"


def left_out(every: list[Case]) -> str:
    """Fit ``post_gap`` on all tori but one, and judge that one."""
    deviation = {
        (case, seconds): case.deviation(gap(seconds)) for case in every for seconds in POST_GAPS
    }

    def fitted(fit: list[Case]) -> float:
        errors = {s: sum(abs(deviation[case, s]) for case in fit) for s in POST_GAPS}
        return min(errors, key=errors.__getitem__)

    text = "| left out | post_gap fitted on the rest, ns | median | 90th percentile | worst |\n"
    text += "|---|---|---|---|---|\n"
    for dims in dict.fromkeys(case.dims for case in every):
        rest, judged = ([c for c in every if (c.dims == dims) == own] for own in (False, True))
        best = fitted(rest)
        text += f"| {dims} | {best * 1e9:g} | {spread(deviation[c, best] for c in judged)} |\n"
    return text


def band(case: Case) -> str:
    """The times of a chaotic run under all tie rules, and under several seeds."""
    name, *words = case.algorithm.split()
    plan = schedule(name, Torus.parse(case.dims), variant=words[0], ports=1)
    text = f"{case.nbytes} bytes, {case.us:.1f} us in SST:"
    for ties, seeds in (("adaptive", 1), ("split", 1), ("positive", 1), ("random", 3)):
        network = replace(paper_network(f"torus:{case.dims}"), ties=ties)
        runs = [simulate(plan, network, case.nbytes, "packet", seed=s) for s in range(seeds)]
        text += f" {ties} {', '.join(f'{run.seconds * 1e6:.1f}' for run in runs)};"
    return f"- {text[:-1]}.\n"


def main() -> None:
    """Write SST.md."""
    every = cases()
    judged = [case for case in every if not case.chaotic]
    deviations = [case.deviation() for case in judged]
    (HERE / "SST.md").write_text(
        "# The packet model and the paper's simulator\n\n"
        "Written by `python results/oracle.py`. The simulator of the Swing paper, SST with the\n"
        "authors' changes, was rebuilt and run on schedules of this library.\n\n"
        f"{comparison(judged)}\n"
        "| | median | 90th percentile | worst |\n|---|---|---|---|\n"
        f"| all | {spread(deviations)} |\n\n"
        "Swing on 5x5 is the only run in which a rank has more peers in a step, six, than its\n"
        "card has senders, four, and two messages to one peer. Its time depends on how the card\n"
        "serves them, which one run cannot tell. Rules that agree on all other runs to 0.5% give:\n"
        "a sender for each peer, as the model has it, 27.6 us; the same with the messages of a\n"
        "part in the opposite order, 26.5 us; four senders, each with 10 ns between two messages,\n"
        "26.9 us; the packets of the messages to one peer in turn, 26.8 us. So nothing was fitted\n"
        "to this run.\n\n"
        "Two parameters are fitted, on runs on 8x8 (`netsim.paper_network`). Here the one that\n"
        "orders packets is fitted anew without each torus, and judged on that torus:\n\n"
        f"{left_out(judged)}\n"
        "One-port recursive doubling above 512 KiB is chaotic: every message of its long steps\n"
        "meets a tie, and which way its packets take depends on the order of single packets. Its\n"
        "time under the tie rules of `netsim.topologies.ties`, in us:\n\n"
        + "".join(band(case) for case in every if case.chaotic)
        + "\n## Other parameters\n\n"
        "The same, with parameters of SST changed: NICBW is the rate of a node's links, XBAR that\n"
        "of the crossbar, BUF the size of a buffer, TIE=0 means that all ties go one way, and\n"
        "call=0, enter=0 and pdelay=0 that posts and packets take no time. Nothing was fitted on\n"
        "these runs.\n\n" + changed_runs()
    )


if __name__ == "__main__":
    main()
