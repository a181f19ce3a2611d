"""Selection tables from measured times: rows of mpi_bench instead of simulations.

Part of the command line: ``python -m netsim tune --measured rows.csv --out table.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import median

from netsim.rows import ResultRow, read_csv
from swing.algorithms import make
from swing.select.table import Candidate, Entry, Options, SelectionTable, frozen
from swing.torus import Torus

NEEDS = ("topology", "algorithm", "nbytes", "seconds", "options", "wrong", "dtype", "op", "mpi",
         "cores")  # fmt: skip
NO_SCHEDULE = ("mpi", "auto")
"""Methods that leave the choice to others: a table can not name them."""


def measured_table(paths: Sequence[str]) -> SelectionTable:
    """The table of all that was measured; the median where something was measured twice.

    Args:
        paths: CSV files that mpi_bench has written.

    Raises:
        ValueError: rows that are not mpi_bench's, with wrong answers, or of no schedule.
        OSError: a file can not be read.
    """
    rows = [r | {"from": path} for path in paths for r in read_csv(path, NEEDS)]
    times: dict[str, dict[tuple[str, Options], dict[int, list[float]]]] = {}
    for r in rows:
        if r["algorithm"] not in NO_SCHEDULE:
            place, named, nbytes, seconds = _read(r)
            of_case = times.setdefault(place, {}).setdefault(named, {})
            of_case.setdefault(nbytes, []).append(seconds)
    if not times:
        raise ValueError(
            f"{', '.join(paths)}: no schedule was measured; "
            "run mpi_bench with --algorithm all, or family"
        )
    said = {key: ", ".join(sorted({str(r[key]) for r in rows})) for key in NEEDS[-4:]}
    made = {
        "machine": f"{said['mpi']}, {said['cores']} cores",
        "model": f"measured, {said['dtype']} {said['op']}",
        "command": "python -m netsim tune --measured",
    }
    return SelectionTable(made, {place: _entry(cases) for place, cases in times.items()})


def _read(r: ResultRow) -> tuple[str, tuple[str, Options], int, float]:
    """Torus, algorithm and options, size and seconds of a row."""
    what = f"{r['from']}: {r['algorithm']} on {r['topology']}"
    if r["wrong"] not in ("", "0"):
        raise ValueError(f"{what} has wrong answers ({r['wrong']}): tables are for right ones")
    try:
        told = json.loads(r["options"])
        named = r["algorithm"], tuple((k, frozen(v)) for k, v in told.items())
        torus, nbytes, seconds = Torus.parse(r["topology"]), int(r["nbytes"]), float(r["seconds"])
        make(named[0], torus, **dict(named[1]))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} is no row of mpi_bench: {error}") from None
    if nbytes < 1 or not 0 < seconds < math.inf:
        raise ValueError(f"{what} is no row of mpi_bench: {nbytes} bytes in {seconds} s")
    return torus.name, named, nbytes, seconds


def _entry(cases: dict[tuple[str, Options], dict[int, list[float]]]) -> Entry:
    sizes = sorted({n for times in cases.values() for n in times})
    return Entry(
        tuple(sizes),
        tuple(
            Candidate(*named, tuple(median(times[n]) if n in times else None for n in sizes))
            for named, times in sorted(cases.items(), key=str)
        ),
    )
