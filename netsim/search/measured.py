"""Build selection tables from times that mpi_bench measured, instead of from simulations.

The command line is ``python -m netsim tune --measured rows.csv --out table.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import median

from netsim.rows import ResultRow, read_csv
from swing.algorithms import make
from swing.select.table import Entry, Options, SelectionTable, frozen
from swing.torus import Torus

NEEDS = ("topology", "algorithm", "nbytes", "seconds", "options", "wrong", "dtype", "op", "mpi",
         "cores")  # fmt: skip
NO_SCHEDULE = ("mpi", "auto")
"""Methods that choose an algorithm themselves, so that a table cannot name them."""


def measured_table(paths: Sequence[str]) -> SelectionTable:
    """Return a table of all measured times; repeated measurements count with their median.

    Args:
        paths: CSV files written by mpi_bench.

    Raises:
        ValueError: a row is not mpi_bench's or has wrong answers, or no row is of a schedule.
        OSError: a file cannot be read.
    """
    rows = [r | {"from": path} for path in paths for r in read_csv(path, NEEDS)]
    times: dict[str, dict[tuple[str, Options], dict[int, list[float]]]] = {}
    for r in rows:
        if r["algorithm"] not in NO_SCHEDULE:
            torus, named, nbytes, seconds = _read(r)
            case_times = times.setdefault(torus, {}).setdefault(named, {})
            case_times.setdefault(nbytes, []).append(seconds)
    if not times:
        raise ValueError(
            f"{', '.join(paths)}: no schedule was measured: "
            "run mpi_bench with --algorithm all, or family"
        )
    values = {key: ", ".join(sorted({str(r[key]) for r in rows})) for key in NEEDS[-4:]}
    made = {
        "machine": f"{values['mpi']}, {values['cores']} cores",
        "model": f"measured, {values['dtype']} {values['op']}",
        "command": "python -m netsim tune --measured",
    }
    return SelectionTable(made, {torus: _entry(cases) for torus, cases in times.items()})


def _read(r: ResultRow) -> tuple[str, tuple[str, Options], int, float]:
    """Return torus, algorithm and options, size and seconds of a row."""
    what = f"{r['from']}: {r['algorithm']} on {r['topology']}"
    if r["wrong"] not in ("", "0"):
        raise ValueError(f"{what} has {r['wrong']} wrong answers: leave this row out")
    try:
        options = json.loads(r["options"])
        named = r["algorithm"], tuple((k, frozen(v)) for k, v in options.items())
        torus, nbytes, seconds = Torus.parse(r["topology"]), int(r["nbytes"]), float(r["seconds"])
        # Building the schedule refuses unknown algorithms and options now, not when they are used.
        make(named[0], torus, **dict(named[1]))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} is no row of mpi_bench: {error}") from None
    if nbytes < 1 or not 0 < seconds < math.inf:
        raise ValueError(f"{what} is no row of mpi_bench: {nbytes} bytes in {seconds} s")
    return torus.name, named, nbytes, seconds


def _entry(cases: dict[tuple[str, Options], dict[int, list[float]]]) -> Entry:
    sizes = sorted({n for times in cases.values() for n in times})
    rows = sorted(cases.items(), key=str)
    return Entry.of(sizes, ((*who, {n: median(t) for n, t in at.items()}) for who, at in rows))
