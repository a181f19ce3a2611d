"""Rows of results: reading and writing them as CSV files, and picking the fastest."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from swing.formats.files import is_stream, store

ResultRow = dict[str, Any]

KEY = (
    "topology", "algorithm", "variant", "nbytes", "model", "bandwidth_gbps", "ties", "sync",
    "parts", "seed", "machine",
)  # fmt: skip
"""The columns that identify a simulated row."""


def identity(r: ResultRow) -> tuple[str, ...]:
    """Return the values of `KEY` in a row."""
    return tuple(str(r[column]) for column in KEY)


def in_order(rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Sort rows by topology, algorithm, variant, machine, bandwidth and size."""
    by = ("topology", "algorithm", "variant", "machine")
    return sorted(
        rows, key=lambda r: (*(r[k] for k in by), float(r["bandwidth_gbps"]), int(r["nbytes"]))
    )


def fastest(rows: Iterable[ResultRow]) -> dict[tuple[str, int], float]:
    """Seconds of the best variant of each algorithm, by (algorithm, bytes)."""
    best: dict[tuple[str, int], float] = {}
    for r in rows:
        key = r["algorithm"], int(r["nbytes"])
        best[key] = min(float(r["seconds"]), best.get(key, float("inf")))
    return best


def winners(rows: Iterable[ResultRow]) -> dict[int, ResultRow]:
    """The fastest row of each size, by bytes in ascending order.

    Where "auto" is as fast as the algorithm that it has chosen, the algorithm wins.
    """
    best: dict[int, ResultRow] = {}
    for r in sorted(rows, key=lambda r: (float(r["seconds"]), r["algorithm"] == "auto")):
        best.setdefault(int(r["nbytes"]), r)
    return dict(sorted(best.items()))


def write_csv(path: str | Path, rows: Sequence[ResultRow]) -> None:
    """Write rows as CSV, all or nothing.

    Raises:
        OSError: the file cannot be written; its old content is then still there.
    """
    store([(path, [_csv_text(rows)])])


class CsvFile:
    """A CSV file to which rows are added, and which is complete at any time.

    Args:
        path: of the file. The first rows replace it, and each addition rewrites it as a whole. To a
            device or a pipe, such as ``/dev/stdout``, only the new rows are written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._rows: list[ResultRow] = []

    def add(self, rows: Sequence[ResultRow]) -> None:
        """Add rows with the columns of the first ones.

        Raises:
            OSError: the file cannot be written; its old content is then still there.
        """
        is_first = not self._rows
        self._rows += rows
        if is_first or not is_stream(self._path):
            write_csv(self._path, self._rows)
        else:
            store([(self._path, [_csv_text(rows).partition("\n")[2]])])


def _csv_text(rows: Sequence[ResultRow]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def read_csv(path: str | Path, needs: Iterable[str]) -> list[ResultRow]:
    """Read the rows of a CSV file, with all values as strings.

    Args:
        path: of the file.
        needs: columns that must be there.

    Raises:
        ValueError: the file is no CSV file or has no rows, a column of ``needs`` is missing, or a
            row has too few or too many values.
        OSError: the file cannot be read.
    """
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path} is no CSV file") from None
    for column in needs:
        if not rows or column not in rows[0]:
            raise ValueError(f"{path} has no column {column!r}: it was not written by netsim")
    for number, r in enumerate(rows, start=1):
        if None in r or None in r.values():
            raise ValueError(f"{path}: row {number} is not whole")
    return rows


def typed(r: ResultRow) -> ResultRow:
    """Convert the numbers in a row of strings, so that the row equals one of `netsim.run.row`."""
    texts = (
        "topology", "algorithm", "variant", "collective", "model", "ties", "sync", "parts",
        "machine",
    )  # fmt: skip
    return {k: v if k in texts else json.loads(v) if v else None for k, v in r.items()}


def known_rows(path: str | Path) -> list[ResultRow]:
    """Read the rows that a sweep has written; those of older versions are of the plain machine.

    Raises:
        ValueError: as `read_csv` raises it.
        OSError: the file cannot be read.
    """
    rows = read_csv(path, [column for column in KEY if column != "machine"])
    return [typed(r | {"machine": r.get("machine", "")}) for r in rows]
