"""``make emulate``: measure an emulated torus and make every figure and table of this folder.

It needs Linux and root, and takes about an hour on a machine that does nothing else. Portions that
are in ``data/`` already are not measured again: delete a file to renew it. ``--plan`` only prints
the commands. ``--predict`` measures nothing: it predicts the times of the rows anew, from the
calibrations that they record, as after a change of the packet model.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import netsim  # noqa: E402
from mpi_bench.emulate.calibrate import Calibration  # noqa: E402  needs the path above
from mpi_bench.emulate.compare import BANDS, LINKS, agreement  # noqa: E402
from mpi_bench.emulate.predict import predict  # noqa: E402
from netsim.rows import ResultRow, read_csv, write_csv  # noqa: E402
from swing.algorithms import make  # noqa: E402
from swing.sizes import format_size  # noqa: E402

SMALL = "--sizes 4KiB:1MiB:x4 --longest 2.5 --seconds 3"
MANY = "--sizes 64KiB:1MiB:x16 --longest 3 --seconds 1"
HALVES = {
    "pairs": "--algorithm swing --algorithm recursive_doubling --native none",
    "rings": "--algorithm ring --algorithm bucket --algorithm auto",
}
WIDE = "--algorithm swing --algorithm bucket --native none"
NATIVES = "--sizes 1MiB --algorithm auto --longest 20 --most 1 --native auto"
LARGE = "--sizes 4MiB:16MiB:x4 --longest 4 --native none"


def portion(topology: str, rate: float, name: str, options: str) -> tuple[str, str]:
    """The file of a portion and the options that make it."""
    file = f"data/{topology.replace(':', '-')}-{rate:g}-{name}.csv"
    return file, f"--topology {topology} --rate {rate:g} {options}"


PORTIONS = dict(
    [
        *(portion("torus:4x4", rate, "small", SMALL) for rate in (6.25, 12.5, 25, 50, 100)),
        portion("torus:4x4", 50, "large", LARGE),
        portion("torus:4x4", 25, "native", "--sizes 64KiB:1MiB:x16 --algorithm auto --native all"),
        *(portion("torus:2x8", rate, "small", SMALL) for rate in (6.25, 12.5, 25)),
        *(
            portion(topology, rate, name, f"{MANY} {algorithms}")
            for topology, rates in (("torus:4x4x2", (5, 10, 20)), ("torus:8x8", (2.5, 5, 10)))
            for rate in rates
            for name, algorithms in HALVES.items()
        ),
        portion("torus:8x8", 10, "large", f"{WIDE} --sizes 4MiB --longest 4 --seconds 1"),
        portion("torus:4x4x4", 5, "wide", f"{WIDE} {MANY}"),
        portion("torus:8x8", 2.5, "natives", f"{NATIVES} --native recursive_doubling"),
        *(portion("torus:8x8", rate, "ring", f"{NATIVES} --native ring") for rate in (2.5, 10)),
    ]
)


def main() -> None:
    """Measure what is missing, or predict anew; then write README.md."""
    for path in sorted(HERE.glob("data/*.csv")) if sys.argv[1:] == ["--predict"] else ():
        write_csv(path, [predicted(row) for row in read_csv(path, ["predicted"])])
    for number, (file, options) in enumerate(PORTIONS.items(), start=1):
        command = f"-m mpi_bench.emulate {options} --csv {file}"
        if sys.argv[1:] == ["--plan"]:
            print(f"python {command}")
        elif not (HERE / file).exists():
            print(f"[{number}/{len(PORTIONS)}] {file}", flush=True)
            run(command)
    if sys.argv[1:] != ["--plan"]:
        write()


def predicted(row: ResultRow) -> ResultRow:
    """The row with the time that is predicted for it today, if it has a prediction."""
    if not row["predicted"]:
        return row
    grid, rate = netsim.topology(row["topology"]), float(row["rate_mbps"]) * 1e6
    start, near, overhead, hop = (
        float(row[name]) * 1e-6 for name in ("start_us", "step_us", "overhead_us", "hop_us")
    )
    nports = grid.most_ports[0]
    ports, far = near + overhead * (nports - 1), hop
    calibration = Calibration(0.0, start, near, ports, far, nports, 2, 0.0)
    schedule = make(row["algorithm"], grid.torus, **json.loads(row["options"]))
    seconds = start + predict(schedule, calibration.network(grid, rate), int(row["nbytes"]))
    return row | {"predicted": seconds, "ratio": float(row["seconds"]) / seconds}


def run(command: str) -> None:
    """Run one command in this folder."""
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, *command.split()], cwd=HERE, check=True,
                   stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": path})  # fmt: skip


def write() -> None:
    """Draw the figures and write README.md: text.md, then the tables."""
    files = sorted(str(path.relative_to(HERE)) for path in HERE.glob("data/*.csv"))
    run(f"-m mpi_bench.emulate compare {' '.join(files)} --out figures")
    rows = []
    for file in files:
        with open(HERE / file, newline="") as table:
            rows += list(csv.DictReader(table))
    text = (HERE / "text.md").read_text()
    text += "\n## Agreement\n\n" + _agreement(rows)
    text += "\n## Bytes on links\n\n" + _links(rows)
    text += "\n## Who wins\n\n" + _winners(rows)
    topologies = sorted({r["topology"] for r in rows})
    text += "\n## Figures\n\n" + "".join(
        f"![{topology}, {what}](figures/{topology.replace(':', '-')}-{what}.svg)\n\n"
        for topology in topologies for what in ("times", "agreement")
    )  # fmt: skip
    lines = [f"python -m mpi_bench.emulate {o} --csv {f}\n" for f, o in PORTIONS.items()]
    text += "## Commands\n\n```\n" + "".join(lines) + "```\n"
    (HERE / "README.md").write_text(text)


def _agreement(rows: list[dict[str, str]]) -> str:
    bands = "; ".join(f"{ports} {low:g}-{high:g}" for ports, (low, high) in BANDS.items())
    text = "A ratio is the measured time over the predicted one. A point is inside if its ratio is "
    text += f"within these limits: {bands}.\n\n"
    text += "Points inside, of those with at least the given share of link time (from "
    text += f"{LINKS:.0%} on a point counts as bound by links):\n\n"
    text += "| share of link time | one port | several ports |\n|---|---|---|\n"
    for share in (LINKS, 0.85, 0.9, 0.95):
        bound = [r for r in agreement(rows, share) if r["bound"] == "links"]
        text += f"| {share:.0%} |"
        for ports in BANDS:
            groups = [r for r in bound if r["ports"] == ports]
            points, inside = (sum(r[key] for r in groups) for key in ("points", "agree"))
            text += f" {inside} of {points} ({inside / points:.0%}) |"
        text += "\n"
    text += "\nRatios by topology, rate and number of ports:\n\n"
    text += "| topology | Mbit/s | ports | bound by | points | inside | least | median | most |\n"
    text += "|---|---|---|---|---|---|---|---|---|\n"
    for r in agreement(rows):
        text += (
            f"| {r['topology']} | {r['rate_mbps']:g} | {r['ports']} | {r['bound']} | {r['points']} "
            f"| {r['agree']} ({r['agree'] / r['points']:.0%}) | {r['least']:.3f} "
            f"| {r['median']:.3f} | {r['most']:.3f} |\n"
        )
    return text


def _links(rows: list[dict[str, str]]) -> str:
    text = (
        "Bytes counted by the kernel over bytes expected by `netsim`, for vectors of 1 MiB at all "
    )
    text += (
        "rates: the least and the largest ratio of the links that are used, and the most bytes on "
    )
    text += "a link that is not used.\n\n"
    text += "| topology | algorithm | ports | ratio | bytes on an unused link |\n"
    text += "|---|---|---|---|---|\n"
    groups = defaultdict(list)
    for r in rows:
        if r["links_least"] and int(r["nbytes"]) == 2**20:
            groups[r["topology"], f"{r['algorithm']} {r['variant']}".strip(), r["ports"]].append(r)
    for (topology, name, ports), group in sorted(groups.items()):
        least = min(float(r["links_least"]) for r in group)
        most = max(float(r["links_most"]) for r in group)
        idle = max(int(r["idle_bytes"]) for r in group)
        text += f"| {topology} | {name.replace('_', ' ')} | {ports} | {least:.3f}-{most:.3f} "
        text += f"| {idle or ''} |\n"
    return text


def _winners(rows: list[dict[str, str]]) -> str:
    text = (
        "Times in milliseconds. `auto` is `swing.allreduce` with the predictions as its selection "
    )
    text += "table (`SWING_MACHINE`).\n\n"
    text += "| topology | Mbit/s | size | best of ours | auto | MPICH's default | MPICH's best "
    text += "| default / auto | best / auto |\n|---|---|---|---|---|---|---|---|---|\n"
    points = defaultdict(list)
    for r in rows:
        points[r["topology"], float(r["rate_mbps"]), int(r["nbytes"])].append(r)
    for (topology, rate, n), group in sorted(points.items()):
        times = {
            kind: [(1e3 * float(r["seconds"]), r) for r in group if belongs(r)]
            for kind, belongs in {
                "ours": lambda r: r["algorithm"] not in ("mpi", "auto"),
                "auto": lambda r: r["algorithm"] == "auto",
                "default": lambda r: (r["algorithm"], r["variant"]) == ("mpi", "auto"),
                "native": lambda r: r["algorithm"] == "mpi",
            }.items()
        }
        best = {k: min(v, key=lambda pair: pair[0]) for k, v in times.items() if v}
        # MPICH's best is a choice only where more than its default was measured.
        several = len({r["variant"] for _, r in times["native"]}) > 1
        ours = best.get("ours")
        cells = [f"{topology} | {rate:g} | {format_size(n)}"]
        cells.append(f"{_name(ours[1])} {ours[0]:.1f}" if ours else "")
        cells.append(f"{best['auto'][0]:.1f}" if "auto" in best else "")
        cells.append(f"{best['default'][0]:.1f}" if "default" in best else "")
        cells.append(
            f"{best['native'][1]['variant'].replace('_', ' ')} {best['native'][0]:.1f}"
            if several else ""
        )  # fmt: skip
        both = "auto" in best and "default" in best
        cells.append(f"{best['default'][0] / best['auto'][0]:.2f}" if both else "")
        cells.append(f"{best['native'][0] / best['auto'][0]:.2f}" if both and several else "")
        text += "| " + " | ".join(cells) + " |\n"
    return text


def _name(row: dict[str, str]) -> str:
    words = f"{row['algorithm']} {row['variant']}".strip().replace("_", " ")
    return f"{words}, {row['ports']} port{'s' * (row['ports'] != '1')},"


if __name__ == "__main__":
    main()
