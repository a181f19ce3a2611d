"""``make results``: every figure and table of this folder, each from one command.

Rows that are in ``data/`` already are not simulated again: delete a file to renew it.

``python results/make.py --time MODEL …`` simulates every row of a model anew, keeps none, and
prints the wall seconds they take, and their sum.
"""

from __future__ import annotations

import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from netsim.rows import fastest, swing_gain  # noqa: E402  found beside this folder

PLACES = [
    "torus:64x64", "torus:8x8", "torus:16x16", "torus:32x32", "torus:64x16",
    "torus:128x8", "torus:256x4", "torus:8x8x8", "torus:8x8x8x8", "hx2mesh:64x64", "hx4mesh:64x64",
    "hyperx:64x64", "torus:128x128",
]  # fmt: skip
RATES = [100, 200, 400, 800, 1600, 3200]
LIMIT = "32MiB"  # packets up to here, flows above
ALGORITHMS = [
    "swing", "recursive_doubling", "mirrored_recursive_doubling", "bucket", "hamiltonian",
]  # fmt: skip
GOODPUT = {
    "fig06": ["torus:64x64"],
    "fig10": ["torus:64x16", "torus:128x8", "torus:256x4"],
    "fig11": ["torus:8x8", "torus:8x8x8", "torus:8x8x8x8"],
    "fig12": ["hx2mesh:64x64"],
    "fig13": ["hx4mesh:64x64"],
    "fig14": ["hyperx:64x64"],
}
MEASURED = ["torus:64x64", "torus:64x16", "torus:8x8", "torus:8x8x8", "hx2mesh:64x64"]
FLOWS = "data/flow.csv"
BY_RATE = "data/torus-8x8-bandwidths.csv"
SQUARES = ["torus:8x8", "torus:16x16", "torus:32x32", "torus:64x64", "torus:128x128"]
RULES = "--parts free --sync local"


def file(place: str) -> str:
    """The rows of a topology, or of one of its tables."""
    return f"data/{place.replace(':', '-')}.csv"


def algorithms(place: str) -> list[str]:
    """The paper's, as far as they go there."""
    dims = place.partition(":")[2].split("x")
    # The paper's cycles; the packets of 32,766 steps of 16,384 nodes would need 20 GB.
    two_cycles = len(dims) == 2 and int(dims[0]) % int(dims[1]) == 0 and place != "torus:128x128"
    return ALGORITHMS[: 5 if two_cycles else 4]


def sweep(places: Sequence[str], out: str, model: str, sizes: str, more: str = "") -> str:
    """The command that simulates the algorithms of the first of some topologies on all of them."""
    where = " ".join(f"--topology {place}" for place in places)
    names = "".join(f" --algorithm {name}" for name in algorithms(places[0]))
    return (
        f"sweep {where}{names} --model {model} --sizes {sizes} {RULES}{more} "
        f"--prune 5 --csv {out} --resume"
    )


def sweeps(place: str, out: str, more: str = "") -> list[str]:
    """The commands for all sizes."""
    return [
        sweep([place], out, "packet", f"32B:{LIMIT}:x4", more),
        sweep([place], out, "flow", "128MiB:2GiB:x4", more),
    ]


def commands() -> dict[str, list[str]]:
    """The commands of every figure, in order."""
    rates = "".join(f" --bandwidth {rate}" for rate in RATES)
    found = {f"data of {place}": sweeps(place, file(place)) for place in PLACES}
    found["data of all bandwidths"] = sweeps("torus:8x8", BY_RATE, rates)
    alone = [sweep([place], FLOWS, "flow", "32B:2GiB:x4") for place in MEASURED]
    found["data of the flow model alone"] = alone
    for name, places in GOODPUT.items():
        files = " ".join(map(file, places))
        found[name] = [f"plot {files} paper/goodput.csv --name {name} --out figures"]
    gains = {
        "fig07": list(map(file, SQUARES)),
        "fig08": [BY_RATE],
        "fig15": list(map(file, PLACES)),
    }
    for name, files in gains.items():
        found[name] = [
            f"plot {' '.join(files)} paper/gain.csv --kind gain --name {name} --out figures"
        ]
    for name in ("swing", "recursive_doubling"):
        out = f"data/links-{name}.csv"
        found[f"links-{name}"] = [
            f"simulate --topology torus:8x8 --algorithm {name} --ports 1 --step 4 --links {out}",
            f"plot {out} --out figures",
        ]
    return found


TIMED = {"analytic": "32B:2GiB:x4", "flow": "32B:2GiB:x4", "packet": "32B:8MiB:x4"}


def clock(models: list[str]) -> None:
    """Print how long the paper's whole evaluation takes under some models."""
    for model in models:
        if model not in TIMED:
            sys.exit(f"no model {model!r}: choose from {', '.join(TIMED)}")
    rates = "".join(f" --bandwidth {rate}" for rate in RATES)
    for model in models:
        total = 0.0
        groups = [list(g) for _, g in groupby(sorted(PLACES, key=algorithms), key=algorithms)]
        for places, more in [*((places, "") for places in groups), (["torus:8x8"], rates)]:
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                run(sweep(places, f"{folder}/rows.csv", model, TIMED[model], more))
                seconds = time.perf_counter() - begin
            total += seconds
            print(f"{model:9}{seconds:8.1f} s  {' '.join(places)}{more}", flush=True)
        print(f"{model:9}{total:8.1f} s  all", flush=True)


HEAD = """# Results

Written by `make results`. Each figure is made by the commands beside it, run in this folder as
`python -m netsim …`; `data/` holds their rows, `paper/` the paper's points. Network: the paper's
(400 Gb/s, 100 ns links, 300 ns routers, adaptive ties), packet model up to 32 MiB, flow model
above. Nodes that are alike are followed once (`netsim.traffic.symmetry`). Parts run free of each
other; a rank begins its next step when it has received what it should and has sent what it should.
Packets count with their heads, and messages have a header, as in the paper's simulator. Variants of
an algorithm are merged, the better one counts; of a run of equal steps the first 16 are followed
(`netsim.traffic.message_graph.FOLLOWED_STEPS`). No constant is fitted but the two of HammingMesh,
from three runtimes of 32 B (`netsim/topologies/hamming_mesh.py`). How long simulating takes:
SPEED.md. Real allreduces beside MPI's own: EXECUTOR.md.

"""


def main() -> None:
    """Run all commands and write README.md."""
    todo = commands()
    for i, (name, lines) in enumerate(todo.items(), start=1):
        print(f"[{i}/{len(todo)}] {name}", flush=True)
        for line in lines:
            run(line)
    text = HEAD + deviations() + (HERE / "why.md").read_text() + congestion()
    for name, lines in todo.items():
        if not name.startswith("data of"):
            block = "\n".join(lines)
            text += f"## {name}\n\n![{name}](figures/{name}.svg)\n\n```\n{block}\n```\n\n"
    block = "\n".join(
        line for name, lines in todo.items() if name.startswith("data of") for line in lines
    )
    text += f"## Rows\n\n```\n{block}\n```\n"
    (HERE / "README.md").write_text(text)


def run(line: str) -> str:
    """Run one command of netsim in this folder."""
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "netsim", *line.split()],
        cwd=HERE, check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    return done.stdout


def deviations() -> str:
    """How far the simulated times are from the paper's, as tables."""
    text = "## Against the paper's points\n\nPackets up to 32 MiB, flows above.\n\n"
    text += table({place: file(place) for place in MEASURED})
    text += "\nBy the flow model alone.\n\n" + table(dict.fromkeys(MEASURED, FLOWS))
    return text + "\n" + signs()


def table(files: dict[str, str]) -> str:
    """Median, 90th percentile and worst deviation of every topology and algorithm."""
    paper = read(HERE / "paper" / "goodput.csv")
    text = "| topology | algorithm | points | median | 90 % | worst | at bytes |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for place, name in files.items():
        ours = fastest([r for r in read(HERE / name) if r["topology"] == place])
        found = defaultdict(list)
        for r in paper:
            key = r["algorithm"], int(r["nbytes"])
            if r["topology"] == place and key in ours:
                off = ours[key] / float(r["seconds"]) - 1
                for which in ("all", r["algorithm"]):
                    found[which].append((abs(off), off, key[1]))
        for which, points in found.items():
            points.sort()
            sizes = [size for size, _, _ in points]
            worst, nbytes = points[-1][1:]
            text += (
                f"| {place} | {which} | {len(points)} | {statistics.median(sizes):.1%} | "
                f"{sizes[math.ceil(0.9 * len(sizes)) - 1]:.1%} | {worst:+.1%} | {nbytes} |\n"
            )
    return text


def signs() -> str:
    """Where the sign of Swing's gain is not the paper's.

    Figs. 7 and 8 tell whole percents: the sign of a 0 is that of the same point in another figure.
    """
    files = [file(place) for place in PLACES] + [BY_RATE]
    rows = [r for name in files for r in read(HERE / name)]
    paper = read(HERE / "paper" / "gain.csv")
    exact = {_point(r): float(r["gain_percent"]) for r in paper if float(r["gain_percent"])}
    wrong, count = [], 0
    for r in paper:
        place, rate, n = r["topology"], float(r["bandwidth_gbps"]), int(r["nbytes"])
        here = [q for q in rows if (q["topology"], float(q["bandwidth_gbps"])) == (place, rate)]
        ours, theirs = swing_gain(fastest(here)).get(n), float(r["gain_percent"])
        if ours is None:
            continue
        count += 1
        if (ours >= 0) != (exact.get(_point(r), theirs) >= 0):
            wrong.append(
                f"| {r['figure']} | {place} | {rate:g} | {n} | {theirs:+.1f} | {ours:+.1f} |"
            )
    lines = "\n".join(wrong)
    return (
        f"The gain's sign is the paper's at {count - len(wrong)} of {count} points, not at:"
        "\n\n"
        "| figure | topology | Gb/s | bytes | paper, % | here, % |\n|---|---|---|---|---|---|\n"
        f"{lines}\n\n"
    )


def _point(row: dict[str, str]) -> tuple[str, ...]:
    """What is simulated in one figure or several."""
    return row["topology"], row["bandwidth_gbps"], row["nbytes"]


def congestion() -> str:
    """Table 2: bytes on the busiest links against the best that 2D ports allow."""
    text = "## Congestion (Table 2)\n\nΣ over steps of the busiest link's bytes ÷ (n/D), Swing and "
    text += "its rivals.\n\n| topology | algorithm | Ψ·Ξ |\n|---|---|---|\n"
    for place in ("torus:128x128", "torus:16x16x16", "torus:8x8x8x8"):
        for name in ("swing", "recursive_doubling", "mirrored_recursive_doubling", "bucket"):
            row = json.loads(run(f"simulate --topology {place} --algorithm {name} --json"))
            text += f"| {place} | {name} | {row['congestion']:.4f} |\n"
    return text + "\n"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, newline="") as table:
        return list(csv.DictReader(table))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--time"]:
        clock(sys.argv[2:] or list(TIMED))
    else:
        main()
