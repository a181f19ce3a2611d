"""Compare the ranking of algorithms on Fugaku with the ranking that the library estimates.

The measured times are those of HLC-Lab/pico (results/fugaku, MIT licence, De Sensi and Pasqualoni),
in ``data/fugaku.csv``: the median over iterations of the slowest rank. The estimates are those of
`swing.select.estimate` for the published figures of Tofu-D. One entry stands for an algorithm: its
fastest variant at each size. ``python results/fugaku.py`` writes the numbers of pairs to
``data/fugaku-ranking.csv``, which `table` reads. With names of tori and collectives, such as
``python results/fugaku.py 4x4x4 alltoall``, it renews only their rows; all of it takes a minute and
2 GB.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import swing
from swing.schedules.schedule import Schedule
from swing.select.choose import MachineModel
from swing.select.estimate import figures, seconds

DATA = Path(__file__).parent / "data" / "fugaku.csv"
RANKING = DATA.with_name("fugaku-ranking.csv")
TOFU = MachineModel(step=0.49e-6, hop=0.1e-6, bandwidth=6.8e9)
"""Tofu-D: 6.8 GB/s for each link and direction, 0.49 µs for a put (Ajima et al., CLUSTER 2018); a
hop is estimated at 0.1 µs."""
APART = 1.2
"""Pairs of algorithms count whose measured times differ by more than this factor."""

Options = dict[str, Any]
KNOWN: dict[str, dict[str, tuple[str, list[Options]]]] = {
    "broadcast": {
        "BINE-BINOMIAL_TREE": ("swing", [{"chunks": 1}, {"chunks": 1, "ports": 1}]),
        "BINE-SCATTER_ALLGATHER": ("swing", [{}, {"ports": 1}]),
        "default-binomial": ("recursive_doubling", [{"chunks": 1}]),
        "default-basic-linear": ("linear", [{"chunks": 1}]),
        "default-trinaryx6": ("disjoint_trees", [{"chunks": c} for c in (1, 4, 16, 64, 256)]),
    },
    "reduce": {
        "BINE-BINOMIAL_TREE": ("swing", [{"chunks": 1}, {"chunks": 1, "ports": 1}]),
        "BINE-REDUCE_SCATTER_GATHER": ("swing", [{}, {"ports": 1}]),
        "default-binomial": ("recursive_doubling", [{"chunks": 1}]),
        "default-trinaryx6": ("disjoint_trees", [{"chunks": c} for c in (1, 4, 16, 64, 256)]),
    },
    "reduce_scatter": {
        "BINE-VEC_HALVING": ("swing", [{}, {"ports": 1}]),
        "RING-VEC_HALVING": ("bucket", [{}]),
        "default-recursive-halving": ("recursive_doubling", [{}]),
        "default-ring": ("ring", [{}]),
    },
    "allgather": {
        "BINE-VEC_DOUBLING": ("swing", [{}, {"ports": 1}]),
        "RING-VEC_DOUBLING": ("bucket", [{}]),
        "default-3dtorus": ("bucket", [{"segments": 1}]),
        "default-bruck": ("bruck", [{}]),
        "default-recursive-doubling": ("recursive_doubling", [{}]),
    },
    "alltoall": {
        "BINE-LOG": ("swing", [{"ports": 1}]),
        "BRUCK-LOG": ("bruck", [{}]),
        "default-pairwise": ("pairwise", [{}]),
        "default-blacc3d": ("recursive_multiplying", [{}]),
    },
}
"""By collective and the beginning of a measured name: our algorithm, and its variants.

trinaryx3 and x6, pipelines on 3 and 6 disjoint trees, are one entry, as are blacc3d and blacc6d.
``collectives-fugaku.md`` lists what is left out.
"""

BY_RANGE = {"BINE-SCATTER_ALLGATHER"}
"""Entries in which each range of adjacent blocks is a put of its own.

We infer this from the times: 128 KiB takes 1.9 ms on 64x64, as long as thousands of puts of a few
bytes at 0.49 µs each. Of the other entries at least one variant is faster than that.
"""
REPLACED = {("64x64", "default-basic-linear")}
"""Measured names under which the library ran something else.

The root's four links would take 20 ms for 4,095 messages of 128 KiB. The measured time is 0.36 ms,
and at all sizes that of trinaryx6 to one percent.
"""


def measured() -> dict[tuple[str, str], dict[str, dict[int, float]]]:
    """Read the seconds by torus and collective, then by entry of `KNOWN` and bytes."""
    times: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(dict)
    with DATA.open() as file:
        for row in csv.DictReader(file):
            names = KNOWN.get(row["collective"], {})
            entry = next((name for name in names if row["algorithm"].startswith(name)), None)
            for same, name in (("trinaryx3", "default-trinaryx6"), ("blacc6d", "default-blacc3d")):
                entry = name if same in row["algorithm"] else entry
            if entry in names and (row["torus"], entry) not in REPLACED:
                found = times[row["torus"], row["collective"]].setdefault(entry, {})
                nbytes, t = int(row["bytes"]), float(row["median_ns"]) / 1e9
                found[nbytes] = min(t, found.get(nbytes, t))
    return times


def estimated(torus: swing.Torus, collective: str, entry: str, sizes: list[int]) -> list[float]:
    """Return the seconds of our schedule for an entry at each size: its fastest variant's."""
    name, variants = KNOWN[collective][entry]
    made: list[Schedule] = []
    for options in variants:
        made.append(swing.schedule(name, torus, collective=collective, **options))
    phases = list(map(figures, made))
    extra = [0.0] * len(made)
    if entry in BY_RANGE:
        for i, options in enumerate(variants):
            scatter = swing.schedule(name, torus, collective="reduce_scatter", **options)
            extra[i] = TOFU.step * puts(made[i], np.asarray(scatter.home))
    return [
        min(seconds(each, TOFU, n) + more for each, more in zip(phases, extra, strict=True))
        for n in sizes
    ]


def puts(schedule: Schedule, home: np.ndarray) -> int:
    """Count the puts that ranges of adjacent blocks need beyond one for each message.

    Args:
        schedule: the schedule.
        home: the rank in whose order each block lies in the vector.

    Returns:
        The sum over all steps of what the busiest rank needs.
    """
    more = 0
    for s in range(schedule.nsteps):
        step = schedule.step(s)
        row, block = step.blocks.flat()
        place = home[block]
        row, place = (column[np.lexsort((place, row))] for column in (row, place))
        apart = (row[1:] == row[:-1]) & (place[1:] != place[:-1] + 1)
        more += int(np.bincount(step.src[row[1:][apart]], minlength=1).max())
    return more


def compare(only: Sequence[str] = ()) -> Iterator[tuple[str, str, int, int]]:
    """Yield torus, collective, the pairs that are ranked alike, and all pairs that count.

    Args:
        only: the tori and the collectives to compare; all of them if empty.

    Raises:
        ValueError: nothing of that name was measured.
    """
    found = measured()
    tori, collectives = map(set, zip(*found, strict=True))
    unknown = {*only} - tori - collectives
    if unknown:
        names = ", ".join(sorted(tori) + sorted(collectives))
        raise ValueError(f"nothing was measured for {min(unknown)}: choose from {names}")
    tori, collectives = tori & {*only} or tori, collectives & {*only} or collectives
    for (torus, collective), times in found.items():
        if torus not in tori or collective not in collectives:
            continue
        sizes = sorted({n for found in times.values() for n in found})
        ours = {
            entry: dict(
                zip(
                    sizes,
                    estimated(swing.Torus.parse(torus), collective, entry, sizes),
                    strict=True,
                )
            )
            for entry in times
        }
        agree = count = 0
        for a, b in combinations(times, 2):
            for n in times[a].keys() & times[b].keys():
                ratio = times[a][n] / times[b][n]
                if max(ratio, 1 / ratio) > APART:
                    count += 1
                    agree += (ratio > 1) == (ours[a][n] > ours[b][n])
        yield torus, collective, agree, count


def table() -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| torus | collective | pairs | ranked alike |"
    yield "| --- | --- | ---: | ---: |"
    total = [0, 0]
    with RANKING.open() as file:
        for row in csv.DictReader(file):
            agree, pairs = int(row["agree"]), int(row["pairs"])
            total = [total[0] + agree, total[1] + pairs]
            where = f"{row['torus']} | {row['collective']}"
            yield f"| {where} | {pairs} | {agree} ({agree / pairs:.0%}) |"
    yield f"| all | | {total[1]} | {total[0]} ({total[0] / total[1]:.0%}) |"


def renew(only: Sequence[str] = ()) -> None:
    """Write the ranking; rows that are not compared again stay."""
    with RANKING.open() as file:
        rows = {(row["torus"], row["collective"]): row for row in csv.DictReader(file)}
    for torus, collective, agree, pairs in compare(only):
        row = {"torus": torus, "collective": collective, "agree": agree, "pairs": pairs}
        rows[torus, collective] = row
        print(*row.values(), sep=",", flush=True)
    with RANKING.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["torus", "collective", "agree", "pairs"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows.values())


if __name__ == "__main__":
    try:
        renew(sys.argv[1:])
    except ValueError as wrong:
        print(f"fugaku.py: {wrong}", file=sys.stderr)
        sys.exit(2)
