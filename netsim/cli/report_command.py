"""``python -m netsim report``: schedules on a network as one web page."""

from __future__ import annotations

import json
from typing import Any

import click

from netsim.cli.options import BANDWIDTH, PLACE, TIE_RULE, network_of, with_progress
from netsim.models import MODELS
from netsim.report.data import check_ranks, describe
from netsim.report.page import page
from netsim.run import row, simulate
from netsim.topologies.topology import Topology
from swing.algorithms import ALGORITHMS, make
from swing.algorithms.spelling import parse
from swing.cli import (
    EAGER_LIMIT,
    JSON,
    Parsed,
    asked_collective,
    check_eager_limit,
    collective_options,
    is_auto,
    named_schedule,
)
from swing.formats.files import check_writable, store
from swing.schedules.collectives import ALLREDUCE
from swing.schedules.schedule import Schedule
from swing.sizes import parse_size, parse_sizes

DEFAULTS = ("swing", "mirrored_recursive_doubling")
"""Two algorithms that differ in nothing but who sends to whom: both use all ports."""


@click.command("report")
@click.option(
    "--topology", "topology", type=PLACE, required=True, help="The topology, such as torus:8x8."
)
@click.option("--algorithm", "names", multiple=True, help="An algorithm, with options as in "
              "swing,variant=latency,ports=1; may be repeated.  "
              f"[default: {', '.join(DEFAULTS)}]")  # fmt: skip
@click.option("--from", "sources", multiple=True, type=click.Path(dir_okay=False),
              help="Read a schedule from this file; may be repeated.")  # fmt: skip
@EAGER_LIMIT
@click.option("--size", type=Parsed("size", parse_size),
              help="Size of the vector.  [default: 2MiB; a trace's own]")  # fmt: skip
@click.option("--sizes", type=Parsed("sizes", parse_sizes), default="32B:128MiB:x4",
              show_default=True, help="Sizes in the curves of time against size.")  # fmt: skip
@collective_options
@BANDWIDTH
@click.option("--model", type=click.Choice(list(MODELS)), default="packet", show_default=True,
              help="The network model that times the steps.")  # fmt: skip
@TIE_RULE
@click.option("--out", type=click.Path(dir_okay=False), default="report.html", show_default=True,
              help="Output file.")  # fmt: skip
@JSON
def report_command(
    topology: Topology, names: tuple[str, ...], sources: tuple[str, ...],
    eager_limit: int | None, size: int | None, sizes: list[int], collective: str, root: int | None,
    bandwidth: float, model: str, ties: str, out: str, as_json: bool,
) -> None:  # fmt: skip
    """Write a web page that shows schedules side by side, step by step."""
    check_ranks(topology)
    network = network_of(topology, bandwidth, ties)
    check_writable(out)
    check_eager_limit(eager_limit, bool(sources))
    if not names and not sources:
        names = DEFAULTS
    chooses: dict[str, Any] = {"nbytes": size or 2**21, "machine": network}
    asked = asked_collective(topology.torus, collective, root)
    named = [
        named_schedule(topology.torus, name, **asked, **(chooses if is_auto(name) else {}))
        for name in names
    ]
    read = [
        named_schedule(topology.torus, source=source, eager_limit=eager_limit) for source in sources
    ]
    schedules = named + read
    if size is None:
        # A trace has a size of its own, and all runs of a report have the same size.
        own = {s.nblocks for s in schedules if s.is_traffic}
        if len(own) > 1:
            raise ValueError("the traces have different sizes: give --size, or report them apart")
        size = own.pop() if own else 2**21
    runs = [simulate(s, network, size, model) for s in with_progress(schedules, len(schedules))]
    variants = [_variants(name, own) for name, own in zip(names, named, strict=True)]
    variants += [[schedule] for schedule in read]
    store([(out, [page(describe(runs, sizes, variants))])])
    for run in runs if as_json else []:
        click.echo(json.dumps(row(run) | {"report": out}))
    if not as_json:
        click.echo(f"wrote {out}")


def _variants(text: str, own: Schedule) -> list[Schedule]:
    """Return the schedules of all variants of an algorithm, if its name leaves the variant open."""
    name, options = parse(text)
    variants = ALGORITHMS[name].variants if name in ALGORITHMS else ()
    if "variant" in options or own.variant not in variants or own.collective != ALLREDUCE:
        return [own]
    others = [variant for variant in variants if variant != own.variant]
    return [own, *(make(name, own.torus, **options, variant=variant) for variant in others)]
