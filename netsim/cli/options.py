"""Options that the commands of netsim share."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import track

from netsim.models import MODELS
from netsim.network import Network, paper_network
from netsim.topologies import names
from netsim.topologies.ties import TIES
from netsim.topologies.topology import Topology
from netsim.traffic.message_graph import PARTS, SYNC
from swing.cli import Parsed, joined

T = TypeVar("T")

BANDWIDTH = click.option("--bandwidth", type=float, default=400.0, show_default=True,
                         help="Bandwidth of each link, in Gb/s.")  # fmt: skip
TIE_RULE = click.option("--ties", type=click.Choice(TIES), default="adaptive", show_default=True,
                        help="How to route to a peer exactly half a ring away.")  # fmt: skip
RUN_OPTIONS = joined(
    click.option("--model", type=click.Choice(list(MODELS)), default="analytic", show_default=True,
                 help="The network model."),
    TIE_RULE,
    click.option("--sync", type=click.Choice(SYNC), default=None,
                 help="When a rank begins its next step; the model's own rule by default."),
    click.option("--parts", type=click.Choice(PARTS), default="schedule", show_default=True,
                 help="When parts wait for each other."),
    click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the random ties."),
)  # fmt: skip
"""The model, and the options of a run that all models have."""
JOBS = click.option("--jobs", type=click.IntRange(1), help="Number of processes; by default one "
                    "for the analytic model, and one per core for the others.")  # fmt: skip
PLACE = Parsed("topology", names.topology)


def network_of(topology: Topology, gbps: float, ties: str) -> Network:
    """Return the paper's network, with the given bandwidth in Gb/s and rule for ties."""
    if not 0 < gbps < float("inf"):
        raise ValueError(f"--bandwidth must be above 0 Gb/s, not {gbps:g}")
    return paper_network(topology, gbps * 1e9 / 8, ties)


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number; infinity and NaN are refused."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number", param, ctx)
        return found


def with_progress(ways: Iterable[T], total: int) -> Iterable[T]:
    """Iterate over ``ways`` with a progress bar on standard error, if that is a terminal."""
    shown = Console(stderr=True, quiet=not sys.stderr.isatty())
    return track(ways, "simulating", total, console=shown)


def processes(jobs: int | None) -> int:
    """Return the number of processes: ``--jobs``, or one per core."""
    return jobs or os.cpu_count() or 1
