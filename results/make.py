"""``make results``: every figure and table of this folder, each from one command."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
SHAPES = ["8x8", "64x64", "64x16", "8x8x8"]  # those of the paper that paper/ has points of

FIGURES = {
    f"torus-{shape}": [
        f"sweep --topology torus:{shape} --sizes 32B:2GiB:x4 --csv data/torus-{shape}.csv",
        f"plot data/torus-{shape}.csv paper/goodput.csv --out figures",
    ]
    for shape in SHAPES
} | {
    f"links-{name}": [
        f"simulate --topology torus:8x8 --algorithm {name} --ports 1 --size 2MiB --step 4 "
        f"--links data/links-{name}.csv",
        f"plot data/links-{name}.csv --out figures",
    ]
    for name in ("swing", "recursive_doubling")
}

HEAD = """# Results

Written by `make results`. Each figure is made by the commands beside it, run in this folder as
`python -m netsim …`; `data/` holds their rows, `paper/` the paper's points. Network: the paper's
(400 Gb/s, 100 ns links, 300 ns routers, adaptive ties), analytic model, no constant fitted.

"""


def main() -> None:
    """Run all commands and write README.md."""
    text = HEAD
    for i, (name, commands) in enumerate(FIGURES.items(), start=1):
        print(f"[{i}/{len(FIGURES)}] {name}", flush=True)
        for command in commands:
            run(command)
        lines = "\n".join(commands)
        text += f"## {name}\n\n![{name}](figures/{name}.svg)\n\n```\n{lines}\n```\n\n"
        if name.startswith("torus-"):
            text += deviations(name)
    (HERE / "README.md").write_text(text.rstrip() + "\n")


def run(command: str) -> None:
    """Run one command of netsim in this folder."""
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "netsim", *command.split()],
        cwd=HERE,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": path},
    )


def deviations(name: str) -> str:
    """How far the simulated times are from the paper's, as a table."""
    topology = name.replace("-", ":", 1)
    ours: dict[tuple[str, str], float] = {}
    for row in read(HERE / "data" / f"{name}.csv"):
        key = row["algorithm"], row["nbytes"]
        ours[key] = min(float(row["seconds"]), ours.get(key, float("inf")))
    found = defaultdict(list)
    for row in read(HERE / "paper" / "goodput.csv"):
        key = row["algorithm"], row["nbytes"]
        if row["topology"] == topology and key in ours:
            off = ours[key] / float(row["seconds"]) - 1
            found[row["algorithm"]].append((abs(off), off, int(row["nbytes"])))
    text = (
        "| time against the paper's | points | median | worst | at bytes |\n|---|---|---|---|---|\n"
    )
    for algorithm, points in found.items():
        _, worst, nbytes = max(points)
        median = statistics.median(size for size, _, _ in points)
        text += f"| {algorithm} | {len(points)} | {median:.1%} | {worst:+.1%} | {nbytes} |\n"
    return text + "\n"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
