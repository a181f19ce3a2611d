"""``python -m netsim simulate``: one schedule on one network."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import click

from netsim.bounds import ARGUMENTS, schedule_bounds, tightest
from netsim.cli.options import PLACE, RUN_OPTIONS, MachineOptions, machine_options
from netsim.machine import Machine, columns
from netsim.rows import ResultRow, write_csv
from netsim.run import Run, row, simulate
from netsim.topologies import names
from netsim.topologies.topology import Topology
from swing.checks import counted
from swing.cli import JSON, command, is_auto, named_schedule, schedule_options
from swing.formats.files import check_writable
from swing.parameters import SIZE
from swing.progress import Progress, in_background
from swing.schedules.collectives import BARRIER
from swing.sizes import format_size
from swing.text_table import number


@command("simulate", short_help="Simulate one schedule.")
@click.option("--topology", "topology", type=PLACE, help="The topology, such as torus:8x8.")
@schedule_options
@click.option("--size", type=SIZE, help="Size of the vector.  [default: 2MiB]")
@machine_options()
@RUN_OPTIONS
@click.option("--links", type=click.Path(dir_okay=False),
              help="Write the bytes on every link to this CSV file.")  # fmt: skip
@click.option("--step", type=int, help="With --links: write only the bytes of this step.")
@JSON
def simulate_command(
    topology: Topology | None, size: int | None, machines: MachineOptions, model: str,
    sync: str | None, parts: str, seed: int, links: str | None, step: int | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Simulate one schedule; print its time, goodput, congestion and bottleneck.

    The time has two parts. Its latency is what the same schedule takes with an empty vector: the
    delays of links and routers, and the work for each message. The rest is what the bytes add.
    """
    known = None
    if options["source"] is not None:
        known = named_schedule(None if topology is None else topology.torus, **options)
    if topology is None:
        known = known or named_schedule(None, **options)  # raises: says what is missing
        topology = names.topology(known.torus.name)
    if size is None:
        size = known.nblocks if known is not None and known.is_traffic else 2**21
    network = machines.network(topology)
    torus = network.topology.torus
    if is_auto(options["algorithm"]):
        options |= {"nbytes": size, "machine": network}
    if step is not None and not links:
        raise ValueError("--step goes with --links")
    if links:
        check_writable(links)
    schedule = named_schedule(torus, **options) if known is None else known
    is_barrier = schedule.collective == BARRIER
    size = 0 if is_barrier else size
    with Progress() as progress:
        progress.show("simulating")
        work = partial(simulate, schedule, network, size, model, seed=seed, sync=sync, parts=parts)
        run = in_background(work)
        latency = in_background(lambda: run.latency)
    if links:
        write_csv(links, _link_rows(run, step))
    bounds = schedule_bounds(network, size, run.schedule)
    argument, bound = (None, None) if bounds is None else tightest(bounds)
    if as_json:
        times = {"latency_s": latency, "bytes_s": run.seconds - latency}
        bounded = {"lower_bound_s": bound, "lower_bound_by": argument}
        click.echo(json.dumps(row(run) | times | bounded))
        return
    moved = "" if is_barrier else f"{format_size(size)}, "
    click.echo(f"{repr(run.schedule).strip('<>')}")
    where = columns(network)
    click.echo(
        f"{moved}{model} model, {where['topology']}, {Machine.of(network).title}, "
        f"ties {where['ties']}, seed {seed}"
    )
    least = ""
    if argument is not None and bound is not None:
        of = run.schedule.collective
        least = f" (no {of} under {bound * 1e6:.3f} us: {ARGUMENTS[argument]})"
    click.echo(f"time        {run.seconds * 1e6:.3f} us{least}")
    if not is_barrier:
        share = latency / run.seconds if run.seconds else 0.0
        click.echo(
            f"latency     {latency * 1e6:.3f} us, {100 * share:.0f} % of the time; "
            f"the bytes add {number((run.seconds - latency) * 1e6)} us"
        )
        click.echo(f"goodput     {run.goodput * 8 / 1e9:.2f} Gb/s")
    click.echo(f"congestion  {run.congestion:.4f}")
    if run.bottleneck:
        src, dst = run.bottleneck.link
        crossing = counted(len(run.bottleneck.messages), "message")
        click.echo(
            f"bottleneck  {run.bottleneck.kind}, step {run.bottleneck.step}, link {src}→{dst}, "
            f"{crossing}, {run.bottleneck.seconds * 1e6:.3f} us"
        )


def _link_rows(run: Run, step: int | None) -> list[ResultRow]:
    if step is not None and not 0 <= step < run.schedule.nsteps:
        raise ValueError(f"--step goes from 0 to {run.schedule.nsteps - 1}, not {step}")
    topology = run.network.topology
    load = run.link_bytes if step is None else run.step_bytes(step)
    named = {
        "topology": topology.name,
        "algorithm": run.schedule.name,
        "variant": run.schedule.variant,
        "nbytes": run.nbytes,
        "step": "all" if step is None else step,
    }
    signs = {1: "+", -1: "-", 0: ""}
    columns = (topology.dim, topology.direction, topology.ends, load)
    return [
        named | {"dim": dim, "direction": signs[way], "src": src, "dst": dst, "bytes": nbytes}
        for dim, way, (src, dst), nbytes in zip(*(c.tolist() for c in columns), strict=True)
    ]
