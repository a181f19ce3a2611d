"""``python -m netsim report``: schedules on a network as one web page."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import click

from netsim.cli.options import MODEL, PLACE, MachineOptions, machine_options
from netsim.report.data import check_ranks, describe
from netsim.report.page import page
from netsim.run import row, simulate
from netsim.search.case import asked_collective
from netsim.topologies.topology import Topology
from swing.algorithms import ALGORITHMS, make
from swing.algorithms.spelling import parse
from swing.cli import (
    EAGER_LIMIT,
    JSON,
    check_eager_limit,
    collective_options,
    command,
    is_auto,
    named_schedule,
)
from swing.formats.files import check_writable, store
from swing.parameters import ALGORITHM, SIZE, SIZES
from swing.progress import Progress, in_background
from swing.schedules.collectives import ALLREDUCE
from swing.schedules.schedule import Schedule

DEFAULTS = ("swing", "mirrored_recursive_doubling")
"""Two algorithms that differ in nothing but who sends to whom: both use all ports."""


@command("report", short_help="Write a web page of schedules, step by step.")
@click.option(
    "--topology", "topology", type=PLACE, required=True, help="The topology, such as torus:8x8."
)
@click.option("--algorithm", "names", type=ALGORITHM, multiple=True, help="An algorithm, with "
              "options as in swing,variant=latency,ports=1; may be repeated.  "
              f"[default: {', '.join(DEFAULTS)}]")  # fmt: skip
@click.option("--from", "sources", multiple=True, type=click.Path(dir_okay=False),
              help="Read a schedule from this file; may be repeated.")  # fmt: skip
@EAGER_LIMIT
@click.option("--size", type=SIZE, help="Size of the vector.  [default: 2MiB; a trace's own]")
@click.option("--sizes", type=SIZES, default="32B:128MiB:x4", show_default=True,
              help="Sizes in the curves of time against size.")  # fmt: skip
@collective_options
@machine_options()
@click.option("--model", type=MODEL, default="packet", show_default=True,
              help="The network model that times the steps.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False), default="report.html", show_default=True,
              help="Output file.")  # fmt: skip
@JSON
def report_command(
    topology: Topology, names: tuple[str, ...], sources: tuple[str, ...],
    eager_limit: int | None, size: int | None, sizes: list[int], collective: str, root: int | None,
    machines: MachineOptions, model: str, out: str, as_json: bool,
) -> None:  # fmt: skip
    """Write a web page that shows schedules side by side, step by step."""
    check_ranks(topology)
    network = machines.network(topology)
    torus = network.topology.torus
    check_writable(out)
    check_eager_limit(eager_limit, bool(sources))
    if not names and not sources:
        names = DEFAULTS
    chooses: dict[str, Any] = {"nbytes": size or 2**21, "machine": network}
    asked = asked_collective(torus, collective, root)
    named = [
        named_schedule(torus, name, **asked, **(chooses if is_auto(name) else {})) for name in names
    ]
    read = [named_schedule(torus, source=source, eager_limit=eager_limit) for source in sources]
    schedules = named + read
    if size is None:
        # A trace has a size of its own, and all runs of a report have the same size.
        own = {s.nblocks for s in schedules if s.is_traffic}
        if len(own) > 1:
            raise ValueError("the traces have different sizes: give --size, or report them apart")
        size = own.pop() if own else 2**21
    with Progress() as progress:
        todo = progress.count("simulating", schedules, len(schedules))
        runs = [in_background(partial(simulate, each, network, size, model)) for each in todo]
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
