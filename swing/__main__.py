"""``python -m swing``: look at schedules and prove them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click
import numpy as np

from swing.cli import Parsed, invoke, named_schedule, schedule_options
from swing.correctness import ScheduleError
from swing.correctness import verify as prove
from swing.schedule import spell
from swing.torus import Torus

TORUS = click.option("--topology", "torus", type=Parsed("torus", Torus.parse), required=True,
                     help="Such as torus:4x4.")  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


@click.group()
def main() -> None:
    """Allreduce schedules for torus networks."""


@main.command()
@TORUS
@schedule_options
@click.option("--rank", type=int, help="Only what this rank sends and receives.")
@JSON
def show(torus: Torus, rank: int | None, as_json: bool, **options: Any) -> None:
    """Print a schedule, one line a step: source→destination:blocks.

    + marks messages that are reduced into the receiver's blocks, = those that replace them.
    """
    schedule = named_schedule(torus, **options)
    if rank is not None and not 0 <= rank < torus.size:
        raise ValueError(
            f"rank {rank} is not on the torus {torus}: it has ranks 0 to {torus.size - 1}"
        )
    if not as_json:
        click.echo(repr(schedule).strip("<>"))
    for s, step in enumerate(schedule):
        rows = np.arange(len(step))
        if rank is not None:
            rows = np.flatnonzero((step.src == rank) | (step.dst == rank))
        messages = [step.message(i) for i in rows.tolist()]
        if not as_json:
            click.echo(f"{s:>3} {spell(messages)}")
            continue
        for m in messages:
            blocks = np.arange(schedule.nblocks)[m.blocks].tolist()
            row = {"step": s, "src": m.src, "dst": m.dst, "op": m.op.value, "part": m.part}
            click.echo(json.dumps(row | {"blocks": blocks}))


@main.command()
@TORUS
@schedule_options
@JSON
def verify(torus: Torus, as_json: bool, **options: Any) -> int:
    """Prove a schedule: complete, nothing twice, the same bits on every rank.

    Exit status 1 if it is wrong.
    """
    schedule = named_schedule(torus, **options)
    about = {"topology": torus.name, "algorithm": schedule.name, "variant": schedule.variant}
    try:
        report = prove(schedule)
    except ScheduleError as error:
        click.echo(json.dumps(about | {"wrong": str(error)}) if as_json else f"wrong: {error}")
        return 1
    row = about | asdict(report) | {"blocks_sent": report.blocks_sent.tolist()}
    text = f"{repr(schedule).strip('<>')}\n{report}"
    click.echo(json.dumps(row) if as_json else text)
    return 0


if __name__ == "__main__":
    sys.exit(invoke(main, "python -m swing"))
