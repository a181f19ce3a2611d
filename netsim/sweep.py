"""Grids of (topology, algorithm, size) to rows of results."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from netsim.network import Network
from netsim.run import row, simulate
from swing.schedule import Schedule

Row = dict[str, Any]


def sweep(
    cases: Iterable[tuple[Schedule, Network]],
    sizes: Sequence[int],
    model: str = "analytic",
    seed: int = 0,
) -> Iterator[list[Row]]:
    """The rows of every case, one a size.

    Args:
        cases: schedules and the networks to run them on.
        sizes: of the vector on each rank, in bytes.
        model: as for `netsim.simulate`.
        seed: as for `netsim.simulate`.
    """
    for schedule, network in cases:
        yield [row(simulate(schedule, network, n, model, seed=seed)) for n in sizes]


def winners(rows: Iterable[Row]) -> dict[int, Row]:
    """For each size the fastest row."""
    best: dict[int, Row] = {}
    for r in rows:
        n = int(r["nbytes"])
        if n not in best or r["seconds"] < best[n]["seconds"]:
            best[n] = r
    return dict(sorted(best.items()))


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, all or nothing.

    Raises:
        OSError: the file can not be written; what was there is then still there.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    whole, part = Path(path), Path(f"{path}.part")
    whole.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(text.getvalue())
    os.replace(part, whole)


def read_csv(path: str | Path, needs: Iterable[str]) -> list[Row]:
    """Rows of a CSV file.

    Raises:
        ValueError: a column of ``needs`` is missing.
        OSError: the file can not be read.
    """
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for column in needs:
        if not rows or column not in rows[0]:
            raise ValueError(f"{path} has no column {column!r}: it was not written by netsim")
    return rows
