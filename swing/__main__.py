"""``python -m swing``: print schedules, verify them, and export them to other tools."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from swing import formats
from swing.algorithms import ALGORITHMS
from swing.algorithms.facts import facts
from swing.cli import JSON, group, invoke, is_auto, named_schedule, schedule_options
from swing.formats.files import store
from swing.formats.rules import chosen
from swing.parameters import SIZE, TORUS, Rules
from swing.progress import Progress
from swing.schedules.schedule import Schedule
from swing.schedules.step import spell
from swing.settings import SETTINGS, table
from swing.torus import Torus
from swing.verification.outcome import ScheduleError
from swing.verification.proof import verify as prove

ON_TORUS = click.option("--topology", "torus", type=TORUS, help="The torus, such as torus:4x4.")
SETTING_COLUMNS = ("name", "values", "default", "read", "purpose")
DEFAULT_NBYTES = 2**20
"""Size of the vector of an exported schedule."""
MAX_RANKS = 2**22
"""Ranks of a schedule whose messages a command lists one by one."""


def _listed(torus: Torus | None, **options: Any) -> Schedule:
    """Return the schedule that a command line names, if its messages can be listed.

    Raises:
        ValueError: the torus has too many ranks; nothing has been computed for it.
    """
    if torus is not None and torus.size > MAX_RANKS:
        raise ValueError(
            f"{torus.name} has {torus.size} ranks, too many to list their messages: choose a torus "
            f"of at most {MAX_RANKS}"
        )
    return named_schedule(torus, **options)


@group
def main() -> None:
    """Allreduce schedules for torus networks."""


@main.command()
@ON_TORUS
@schedule_options
@click.option("--rank", type=int, help="Print only the messages that this rank sends or receives.")
@JSON
def show(torus: Torus | None, rank: int | None, as_json: bool, **options: Any) -> None:
    """Print a schedule, one step per line.

    Messages are written source→destination:blocks. Those behind + are reduced into the receiver's
    blocks, those behind = replace them.
    """
    schedule = _listed(torus, **options)
    torus = schedule.torus
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
        for i, m in zip(rows.tolist(), messages, strict=True):
            row = {"step": s, "src": m.src, "dst": m.dst}
            if schedule.is_traffic:
                click.echo(json.dumps(row | {"bytes": int(step.blocks.counts[i])}))
                continue
            blocks = np.r_[m.blocks].tolist()
            click.echo(json.dumps(row | {"op": m.op.value, "part": m.part, "blocks": blocks}))


@main.command(short_help="Print every algorithm and what there is to know about it.")
@JSON
def algorithms(as_json: bool) -> None:
    """Print every algorithm with its idea, options, collectives, tori and source.

    Of options with several values, the first one is the default.
    """
    for each in ALGORITHMS:
        try:
            row = facts(ALGORITHMS[each])
        except ValueError as error:  # of a package that cannot be loaded
            click.echo(f"left out: {error}", err=True)
            continue
        if as_json:
            click.echo(json.dumps(row))
            continue
        name, *others = row.items()
        click.echo("\n".join([name[1], *(f"  {what}: {words}" for what, words in others if words)]))


@main.command(short_help="Print every environment variable of this library.")
@JSON
def settings(as_json: bool) -> None:
    """Print every environment variable of this library, and its value now if it is set."""
    for setting in SETTINGS:
        setting.get()  # raises if a value is not allowed
    if not as_json:
        click.echo(table())
    for setting in SETTINGS:
        value = os.environ.get(setting.name, "")
        if as_json:
            row = {field: getattr(setting, field) for field in SETTING_COLUMNS}
            click.echo(json.dumps(row | {"value": value or None}))
        elif value:
            click.echo(f"\n{setting.name} is {value} now")


@main.command()
@ON_TORUS
@schedule_options
@JSON
def verify(torus: Torus | None, as_json: bool, **options: Any) -> int:
    """Prove that a schedule adds every contribution exactly once.

    Prints the first error and exits with status 1 if it does not. Also prints whether all ranks get
    the same bits.
    """
    schedule = _listed(torus, **options)
    if schedule.is_traffic:
        raise ValueError("the file has bytes only, not which blocks: there is nothing to verify")
    name, variant = schedule.name, schedule.variant
    about = {"topology": schedule.torus.name, "algorithm": name, "variant": variant}
    try:
        with Progress() as progress:
            progress.show("checking messages")
            report = prove(schedule, progress.show)
    except ScheduleError as error:
        click.echo(json.dumps(about | {"wrong": str(error)}) if as_json else f"wrong: {error}")
        return 1
    row = about | asdict(report) | {"blocks_sent": report.blocks_sent.tolist()}
    text = f"{repr(schedule).strip('<>')}\n{report}"
    click.echo(json.dumps(row) if as_json else text)
    return 0


@main.command("export", short_help="Write a schedule, or a selection table, in a file format.")
@ON_TORUS
@schedule_options
@click.option("--format", "format", type=Rules("Formats", formats.FORMATS | formats.TABLES),
              metavar="FORMAT",
              help="By default, the format that the suffix of --out stands for.")  # fmt: skip
@click.option("--nbytes", type=SIZE, help="Size of the vector, for formats "
              "that contain bytes.  [default: 1MiB; a trace's own]")  # fmt: skip
@click.option("--machine", default="paper", show_default=True,
              help="For selection tables: a machine of swing.choose, or a table.json.")  # fmt: skip
@click.option("--base", type=click.Path(dir_okay=False),
              help="For mpich: MPICH's generic.json, or a libmpi.so that contains it.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False),
              help="Output file, or prefix for chakra; by default standard output.")  # fmt: skip
@JSON
def export_command(
    torus: Torus | None, format: str | None, nbytes: int | None, machine: str, base: str | None,
    out: str | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Write a schedule in a file format, or a selection table for another library.

    The documentation of each format says what it loses, for example python -m pydoc
    swing.formats.goal.
    """
    if not format and not out:
        raise ValueError(f"say which --format: {', '.join(formats.FORMATS | formats.TABLES)}")
    kind = format or formats.format_of(out or "")
    if kind == "chakra" and out is None:
        raise ValueError("chakra writes one file per rank: give --out PREFIX")
    if is_auto(options["algorithm"]):
        options["nbytes"] = nbytes or DEFAULT_NBYTES
    text: Iterator[str] | None = None
    if kind in formats.TABLES:
        if torus is None or any(value is not None for value in options.values()):
            raise ValueError("a selection table is for a topology: name that, and no schedule")
        library = Path(base).read_bytes() if base else None
        text = formats.table(chosen(torus, machine), kind, torus.size, library)
    else:
        schedule = _listed(torus, **options)
        nbytes = nbytes or (None if schedule.is_traffic else DEFAULT_NBYTES)
        if kind != "chakra":
            text = formats.text(schedule, kind, nbytes)
    row = {"format": kind, "what": (formats.FORMATS | formats.TABLES)[kind]}
    if out is None:
        whole = "".join(text or ())
        click.echo(json.dumps(row | {"text": whole}) if as_json else whole, nl=as_json)
        return
    files = store([(out, text)]) if text else formats.write(schedule, out, kind, nbytes)
    if as_json:
        click.echo(json.dumps(row | {"files": [str(file) for file in files]}))
    else:
        some = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
        click.echo(f"wrote {some}: {row['what']}")


def run() -> int:
    """Run the program ``swing`` that the package installs; return its exit status."""
    return invoke(main, "swing")


if __name__ == "__main__":
    sys.exit(invoke(main, "python -m swing"))
