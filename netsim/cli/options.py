"""Options that the commands of netsim share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from itertools import product
from typing import Any

import click

from netsim import machine, machine_words
from netsim.machine import Machine
from netsim.machine_words import Link
from netsim.models import MEANINGS
from netsim.network import Network
from netsim.search.sweep import MAX_JOBS
from netsim.topologies import names
from netsim.topologies.ties import TIES
from netsim.topologies.topology import Topology
from netsim.traffic.message_graph import PARTS, SYNC
from swing.cli import joined
from swing.parameters import HOW_TORI_ARE_WRITTEN, Grammar, Parsed, Rules

PLACE = Parsed(
    "topology",
    names.topology,
    Grammar("Topologies", HOW_TORI_ARE_WRITTEN, names.MEANINGS.items),
    lambda: [f"{kind}:" for kind in names.KINDS],
)
LINKS = Grammar(
    "Links",
    "0-1 is the cable between nodes 0 and 1, with its links in both directions; 0→1, also written "
    "0->1 in quotes, is the link from 0 to 1 alone. Commands print the nodes of links: see the "
    "bottleneck of simulate, and simulate --links.",
)
MODEL = Rules("Models", MEANINGS)
RUN_OPTIONS = joined(
    click.option("--model", type=MODEL, default="analytic", show_default=True,
                 help="The network model."),
    click.option("--sync", type=Rules("--sync: a rank begins its next step when", SYNC),
                 default=None, help="When a rank begins its next step; by default, the model's own "
                 "rule."),
    click.option("--parts", type=Rules("--parts: parts wait for each other", PARTS),
                 default="schedule", show_default=True, help="When parts wait for each other."),
    click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the random ties."),
)  # fmt: skip
"""The model, and the options of a run that all models have."""
JOBS = click.option("--jobs", type=click.IntRange(1, MAX_JOBS), help="Number of processes; by "
                    "default one for the analytic model, one per core for others.")  # fmt: skip


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number; infinity and NaN are refused."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number", param, ctx)
        return found


class MachineOptions:
    """The machines that a command line describes, apart from their topologies.

    Args:
        wrap: whether each dimension of a torus closes to a ring; None to leave it as it is.
        machines: one for each combination of the options that may be repeated.
    """

    def __init__(self, wrap: tuple[bool, ...] | None, machines: list[Machine]) -> None:
        self._wrap, self._machines = wrap, machines

    def networks(self, topology: Topology) -> list[Network]:
        """Make the networks of all machines on a topology.

        Raises:
            ValueError: the topology does not suit the options.
        """
        if self._wrap is not None:
            topology = machine.wrapped(topology, self._wrap)
        return [each.network(topology) for each in self._machines]

    @property
    def machine(self) -> Machine:
        """The only machine."""
        (only,) = self._machines
        return only

    def network(self, topology: Topology) -> Network:
        """Make the network of the only machine.

        Raises:
            ValueError: the topology does not suit the options.
        """
        (only,) = self.networks(topology)
        return only


def machine_options(repeated: bool = False) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of a machine; the command gets `MachineOptions`.

    Args:
        repeated: whether ``--bandwidth`` and ``--latency`` may be repeated, for one machine each.
    """
    more = "; may be repeated" if repeated else ""
    options = joined(
        click.option("--wrap", type=Parsed("wrap", machine_words.parse_wrap),
                     help="Which dimensions of a torus close to rings, as in 1,1,0."),
        click.option("--bandwidth", "bandwidth", type=Parsed("gbps", machine_words.parse_bandwidth),
                     default=["400"] if repeated else "400", show_default=True, multiple=repeated,
                     help=f"Bandwidth of a link in Gb/s, or of each dimension's links, as in "
                     f"400,400,100{more}."),
        click.option("--latency", "latency", type=Parsed("latency", machine_words.parse_latency),
                     default=["100"] if repeated else "100", show_default=True, multiple=repeated,
                     help="Latency of a link in ns or with a unit, as in 0.5us, or of each "
                     f"dimension's links, as in 100,100,500{more}."),
        click.option("--slow", type=Parsed("link=fraction", machine_words.parse_slow, LINKS),
                     multiple=True, help="A slow link and the fraction of the bandwidth that it "
                     "has left, as in 0-1=0.25; may be repeated."),
        click.option("--fail", type=Parsed("link", machine_words.parse_links, LINKS), multiple=True,
                     help="A failed link, as in 0-1; may be repeated."),
        click.option("--ties", type=Rules("--ties: at a peer exactly half a ring away", TIES),
                     default="adaptive", show_default=True,
                     help="How to route to a peer exactly half a ring away."),
    )  # fmt: skip

    def decorate(command: Any) -> Any:
        @wraps(command)
        def call(
            *,
            wrap: tuple[bool, ...] | None,
            bandwidth: Any,
            latency: Any,
            slow: tuple[dict[Link, float], ...],
            fail: tuple[tuple[Link, ...], ...],
            ties: str,
            **others: Any,
        ) -> Any:
            plain = Machine(ties=ties)
            for links in slow:
                plain = plain.slowed(links)
            for failed in fail:
                plain = plain.failing(failed)
            rates, times = (bandwidth, latency) if repeated else ([bandwidth], [latency])
            machines = [plain.with_links(*each) for each in product(rates, times)]
            return command(machines=MachineOptions(wrap, list(dict.fromkeys(machines))), **others)

        return options(call)

    return decorate
