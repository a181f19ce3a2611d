"""``python results/oracle.py``: compare the packet model with the Swing paper's simulator.

The paper's simulator, SST with the authors' changes, was rebuilt and run on schedules of this
library; ``paper/sst.csv`` has its times. This script simulates the same runs with
`netsim.paper_network`, and writes SST.md. The rows whose column ``changed`` is not ``base`` have
some parameter of SST changed and are left out.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from netsim import Network, paper_network, simulate  # noqa: E402  needs the path above
from swing import Torus, schedule  # noqa: E402

POST_GAPS = [1.0e-9, 1.2e-9, 1.4e-9, 1.6e-9, 1.75e-9, 2.25e-9, 2.6e-9, 3.1e-9]
CHAOS = 2**19
"""One-port recursive doubling above this size depends on the order of single packets."""


class Case(NamedTuple):
    """A run of the paper's simulator: the algorithm as printed, the torus, bytes, microseconds."""

    algorithm: str
    dims: str
    nbytes: int
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


def cases() -> list[Case]:
    """The runs with the paper's parameters."""
    with open(HERE / "paper" / "sst.csv", newline="") as table:
        return [
            Case(r["algorithm"], r["dims"], int(r["bytes"]), float(r["us"]))
            for r in csv.DictReader(table)
            if r["changed"] == "base"
        ]


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
        "Two parameters are fitted, on runs on 8x8 (`netsim.paper_network`). Here the one that\n"
        "orders packets is fitted anew without each torus, and judged on that torus:\n\n"
        f"{left_out(judged)}\n"
        "One-port recursive doubling above 512 KiB is chaotic: every message of its long steps\n"
        "meets a tie, and which way its packets take depends on the order of single packets. Its\n"
        "time under the tie rules of `netsim.topologies.ties`, in us:\n\n"
        + "".join(band(case) for case in every if case.chaotic)
    )


if __name__ == "__main__":
    main()
