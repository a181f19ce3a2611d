"""``make results``: make every figure and table of the paper comparison.

Each figure comes from a few commands of ``python -m netsim``, which README.md lists. Rows that are
in ``data/`` already are not simulated again: delete a file to renew it.

``python results/make.py --time MODEL …`` simulates every row of a model from the start, keeps none,
and prints the wall seconds that they take and their sum.
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
from functools import cache
from itertools import groupby, product
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from netsim.plot import swing_gain  # noqa: E402  needs the path above
from netsim.rows import fastest  # noqa: E402
from swing.sizes import parse_size  # noqa: E402

TOPOLOGIES = [
    "torus:64x64", "torus:8x8", "torus:16x16", "torus:32x32", "torus:64x16",
    "torus:128x8", "torus:256x4", "torus:8x8x8", "torus:8x8x8x8", "hx2mesh:64x64", "hx4mesh:64x64",
    "hyperx:64x64", "torus:128x128",
]  # fmt: skip
RATES = [100, 200, 400, 800, 1600, 3200]
LIMIT = "8MiB"  # packet model up to this size, flow model above
# Above it, the packet model is used at some of the paper's points: of rings, which take minutes; on
# the torus of fig. 6, where the flow model is worst; and elsewhere up to MOST bytes of all ranks
# together. On tori all nodes of bucket are equivalent, so it has the packet model everywhere.
RINGS = ("bucket", "hamiltonian")
LONGEST = "torus:64x64"
MOST = 2**37
LARGE = [2**25, 2**27, 2**29, 2**31]  # bytes, above LIMIT
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
CHAOS = "data/recursive-doubling-spread.csv"
CHAOTIC = 2**19
"""One-port recursive doubling above so many bytes depends on the order of single packets."""
SQUARES = ["torus:8x8", "torus:16x16", "torus:32x32", "torus:64x64", "torus:128x128"]


def file(topology: str) -> str:
    """The CSV file with the rows of a topology."""
    return f"data/{topology.replace(':', '-')}.csv"


def algorithms(topology: str) -> list[str]:
    """The paper's algorithms that can run on a topology."""
    dims = topology.partition(":")[2].split("x")
    # The paper has Hamiltonian cycles where the first side is a multiple of the second. On 128x128
    # the packets of 32,766 steps of 16,384 nodes would need 20 GB.
    two_cycles = len(dims) == 2 and int(dims[0]) % int(dims[1]) == 0 and topology != "torus:128x128"
    return ALGORITHMS[: 5 if two_cycles else 4]


def sweep(
    topologies: Sequence[str],
    out: str,
    model: str,
    sizes: str,
    extra: str = "",
    among: Sequence[str] = ALGORITHMS,
) -> str:
    """The command that simulates, on all topologies, those ``among`` that run on the first one."""
    where = " ".join(f"--topology {topology}" for topology in topologies)
    wanted = [name for name in algorithms(topologies[0]) if name in among]
    names = "".join(f" --algorithm {name}" for name in wanted)
    return (
        f"sweep {where}{names} --model {model} --sizes {sizes}{extra} "
        f"--prune 5 --csv {out} --resume"
    )


def sweeps(topology: str, out: str, extra: str = "") -> list[str]:
    """The commands that simulate all sizes, each under its model."""
    large = defaultdict(list)
    for name, n in product(ALGORITHMS, LARGE):
        if name in algorithms(topology):
            large[name, model_of(topology, name, n)].append(n)
    return [
        sweep([topology], out, "packet", f"32B:{LIMIT}:x4", extra),
        *(
            sweep([topology], out, model, ",".join(map(str, sizes)), extra, [name])
            for (name, model), sizes in large.items()
        ),
    ]


def model_of(topology: str, algorithm: str, nbytes: int) -> str:
    """The model that `sweeps` simulates a size with."""
    if nbytes <= parse_size(LIMIT) or (algorithm == "bucket" and topology.startswith("torus:")):
        return "packet"
    # Large one-port recursive doubling is chaotic, so no model gives the paper's point.
    compared = (topology, algorithm, nbytes) in points() and algorithm != "recursive_doubling"
    ranks = math.prod(map(int, topology.partition(":")[2].split("x")))
    quick = algorithm in RINGS or topology == LONGEST or ranks * nbytes <= MOST
    return "packet" if compared and quick else "flow"


@cache
def points() -> set[tuple[str, str, int]]:
    """Topology, algorithm and size of every point that is read off the paper's figures."""
    with open(HERE / "paper" / "goodput.csv", newline="") as table:
        return {(r["topology"], r["algorithm"], int(r["nbytes"])) for r in csv.DictReader(table)}


def commands() -> dict[str, list[str]]:
    """The commands of netsim for every figure, in order, after those for the rows."""
    rates = "".join(f" --bandwidth {rate}" for rate in RATES)
    groups = {f"data of {topology}": sweeps(topology, file(topology)) for topology in TOPOLOGIES}
    groups["data of all bandwidths"] = sweeps("torus:8x8", BY_RATE, rates)
    spread = " ".join(f"--topology {topology}" for topology in MEASURED)
    rules = [("adaptive", 0), ("split", 0), ("positive", 0), *(("random", s) for s in range(3))]
    groups["data of the spread of recursive doubling"] = [
        f"sweep {spread} --algorithm recursive_doubling,ports=1,variant=bandwidth --model packet "
        f"--sizes 2MiB:8MiB:x4 --ties {ties} --seed {seed} --csv {CHAOS} --resume"
        for ties, seed in rules
    ]
    alone = [sweep([topology], FLOWS, "flow", "32B:2GiB:x4") for topology in MEASURED]
    groups["data of the flow model alone"] = alone
    for name, topologies in GOODPUT.items():
        files = " ".join(map(file, topologies))
        groups[name] = [
            f"plot {files} paper/goodput.csv --band {CHAOS} --name {name} --out figures"
        ]
    gains = {
        "fig07": list(map(file, SQUARES)),
        "fig08": [BY_RATE],
        "fig15": list(map(file, TOPOLOGIES)),
    }
    for name, files in gains.items():
        groups[name] = [
            f"plot {' '.join(files)} paper/gain.csv --kind gain --name {name} --out figures"
        ]
    for name in ("swing", "recursive_doubling"):
        out = f"data/links-{name}.csv"
        groups[f"links-{name}"] = [
            f"simulate --topology torus:8x8 --algorithm {name} --ports 1 --step 2 --links {out}",
            f"plot {out} --out figures",
        ]
    return groups


TIMED = {"analytic": "32B:2GiB:x4", "flow": "32B:2GiB:x4", "packet": "32B:8MiB:x4"}


def clock(models: list[str]) -> None:
    """Print how long the paper's whole evaluation takes under each model."""
    for model in models:
        if model not in TIMED:
            sys.exit(f"no model {model!r}: choose from {', '.join(TIMED)}")
    rates = "".join(f" --bandwidth {rate}" for rate in RATES)
    for model in models:
        total = 0.0
        groups = [list(g) for _, g in groupby(sorted(TOPOLOGIES, key=algorithms), key=algorithms)]
        for topologies, extra in [*((group, "") for group in groups), (["torus:8x8"], rates)]:
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                run(sweep(topologies, f"{folder}/rows.csv", model, TIMED[model], extra))
                seconds = time.perf_counter() - begin
            total += seconds
            print(f"{model:9}{seconds:8.1f} s  {' '.join(topologies)}{extra}", flush=True)
        print(f"{model:9}{total:8.1f} s  all", flush=True)


HEAD = """# Results

Written by `make results`. Each figure is made by the commands below it, run in this folder as
`python -m netsim …`. The rows are in `data/`, the paper's points in `paper/`.

- The network is the paper's: 400 Gb/s, 100 ns links, 300 ns routers, adaptive ties.
- Sizes up to 8 MiB use the packet model. So do larger ones at those of the paper's points where the
  flow model is worst or the packet model quick: of bucket and Hamiltonian rings, of Swing and
  mirrored recursive doubling on 64x64 (up to 20 minutes each), and elsewhere up to 128 GiB of all
  ranks together; and bucket on tori, all of whose nodes are equivalent. Other times above 8 MiB are
  those of the flow model. A packet counts as arrived as soon as its head has, and every message has
  a header, as in the paper's simulator.
- A rank begins its next step when the messages that it receives in a step have arrived and, in the
  flow model, which keeps no order of messages, those that it sends have left. Where the parts of a
  schedule wait for each other follows from the schedule.
- Shaded is the range of one-port recursive doubling under all rules for ties and three seeds: its
  time is chaotic (see below).
- Variants of an algorithm are merged: the fastest one counts.
- Equivalent nodes are simulated once (`netsim.traffic.symmetry`). In a run of equal steps only
  the first 16 are simulated (`netsim.traffic.message_graph.FOLLOWED_STEPS`).
- Two constants of the packet model are fitted, on runs of the paper's simulator on 8x8
  (`netsim.paper_network`; SST.md has the check with each torus left out). No constant belongs to a
  figure. Where the boards of HammingMesh begin is inferred from three runtimes of 32 B
  (`netsim/topologies/hamming_mesh.py`).

SPEED.md says how long simulations take; EXECUTOR.md compares real allreduces with MPI's own.

"""


def main() -> None:
    """Run all commands and write README.md."""
    todo = commands()
    for i, (name, lines) in enumerate(todo.items(), start=1):
        print(f"[{i}/{len(todo)}] {name}", flush=True)
        for line in lines:
            run(line)
    text = HEAD + deviations() + (HERE / "why.md").read_text() + "\n" + congestion()
    for name, lines in todo.items():
        if not name.startswith("data of"):
            block = "\n".join(lines)
            text += f"## {name}\n\n![{name}](figures/{name}.svg)\n\n```\n{block}\n```\n\n"
    block = "\n".join(
        line for name, lines in todo.items() if name.startswith("data of") for line in lines
    )
    text += f"## Commands that make the rows\n\n```\n{block}\n```\n"
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
    text = (
        "## Deviation from the paper's points\n\n"
        "Deviation of the simulated time: positive if it is too long. The median and the 90th\n"
        "percentile are of its absolute value.\n\n"
    )
    text += figures() + "\nBy topology and algorithm, with the models as above.\n\n"
    text += table({topology: file(topology) for topology in MEASURED})
    text += "\nFlow model at all sizes.\n\n" + table(dict.fromkeys(MEASURED, FLOWS))
    return text + "\n" + signs()


def figures() -> str:
    """How far the simulated times are from the paper's by figure, and what to expect."""
    text = "By figure, without one-port recursive doubling above 512 KiB, which is chaotic:\n\n"
    text += "| figure | model | points | median | 90th percentile | worst |\n"
    text += "|---|---|---|---|---|---|\n"
    every: dict[tuple[str, str], list[float]] = {}
    for topology in MEASURED:
        for figure, name, nbytes, deviation in compared(topology, file(topology)):
            if name != "recursive_doubling" or nbytes <= CHAOTIC:
                every.setdefault((figure, model_of(topology, name, nbytes)), []).append(
                    abs(deviation)
                )
    for (figure, model), points in sorted(every.items()):
        text += f"| {figure} | {model} | {len(points)} | {spread(points)} |\n"
    together = [point for points in every.values() for point in points]
    return (
        f"{text}| all | | {len(together)} | {spread(together)} |\n\n"
        f"**Expect ± {ninth(together):.1%}**: nine of ten simulated times are this close to the "
        "paper's.\n"
    )


def spread(points: Sequence[float]) -> str:
    """The median, 90th percentile and maximum of absolute deviations, as cells of a table."""
    return f"{statistics.median(points):.2%} | {ninth(points):.2%} | {max(points):.2%}"


def ninth(points: Sequence[float]) -> float:
    """The 90th percentile."""
    return sorted(points)[math.ceil(0.9 * len(points)) - 1]


def compared(topology: str, name: str) -> list[tuple[str, str, int, float]]:
    """Figure, algorithm, bytes and relative deviation of the paper's points on a topology."""
    ours = fastest([r for r in read(HERE / name) if r["topology"] == topology])
    points = []
    for r in read(HERE / "paper" / "goodput.csv"):
        key = r["algorithm"], int(r["nbytes"])
        if r["topology"] == topology and key in ours:
            points.append((r["figure"], *key, ours[key] / float(r["seconds"]) - 1))
    return points


def table(files: dict[str, str]) -> str:
    """Median, 90th percentile and worst deviation of every topology and algorithm."""
    text = "| topology | algorithm | points | median | 90th percentile | worst | worst at bytes |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for topology, name in files.items():
        deviations = defaultdict(list)
        for _, algorithm, nbytes, deviation in compared(topology, name):
            for group in ("all", algorithm):
                deviations[group].append((abs(deviation), deviation, nbytes))
        for group, points in deviations.items():
            sizes = [size for size, _, _ in points]
            worst, nbytes = max(points)[1:]
            text += (
                f"| {topology} | {group} | {len(points)} | {statistics.median(sizes):.1%} | "
                f"{ninth(sizes):.1%} | {worst:+.1%} | {nbytes} |\n"
            )
    return text


def signs() -> str:
    """A table of the points where the sign of Swing's gain differs from the paper's.

    Figs. 7 and 8 give whole percents: the sign of a 0 is taken from the same point in another
    figure, if there is one.
    """
    files = [file(topology) for topology in TOPOLOGIES] + [BY_RATE]
    rows = [r for name in files for r in read(HERE / name)]
    paper = read(HERE / "paper" / "gain.csv")
    exact = {_point(r): float(r["gain_percent"]) for r in paper if float(r["gain_percent"])}
    wrong, count = [], 0
    for r in paper:
        topology, rate, n = r["topology"], float(r["bandwidth_gbps"]), int(r["nbytes"])
        same = [q for q in rows if (q["topology"], float(q["bandwidth_gbps"])) == (topology, rate)]
        ours, theirs = swing_gain(fastest(same)).get(n), float(r["gain_percent"])
        if ours is None:
            continue
        count += 1
        if (ours >= 0) != (exact.get(_point(r), theirs) >= 0):
            wrong.append(
                f"| {r['figure']} | {topology} | {rate:g} | {n} | {theirs:+.1f} | {ours:+.1f} |"
            )
    lines = "\n".join(wrong)
    return (
        f"The sign of Swing's gain is the paper's at {count - len(wrong)} of {count} points. "
        "It differs at these:\n\n"
        "| figure | topology | Gb/s | bytes | paper, % | simulated, % |\n"
        "|---|---|---|---|---|---|\n"
        f"{lines}\n\n"
    )


def _point(row: dict[str, str]) -> tuple[str, ...]:
    """A key that is the same for one point in several figures."""
    return row["topology"], row["bandwidth_gbps"], row["nbytes"]


def congestion() -> str:
    """The paper's Table 2: the bytes on the busiest links, relative to n/D."""
    text = (
        "## Congestion (Table 2)\n\nThe sum over steps of the bytes on the busiest link, divided "
    )
    text += "by n/D (vector size over number of dimensions).\n\n"
    text += "| topology | algorithm | Ψ·Ξ |\n|---|---|---|\n"
    for topology in ("torus:128x128", "torus:16x16x16", "torus:8x8x8x8"):
        for name in ("swing", "recursive_doubling", "mirrored_recursive_doubling", "bucket"):
            row = json.loads(run(f"simulate --topology {topology} --algorithm {name} --json"))
            text += f"| {topology} | {name} | {row['congestion']:.4f} |\n"
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
