"""``python results/executor.py``: our allreduce over the MPI library's own, in the same runs.

Run it with the Python of an environment per MPI library (``.venv``, ``.venv-openmpi``), on a
machine that does nothing else; each takes about two minutes. Rows go to data/executor/, and
EXECUTOR.md is written from all that are there. ``--page`` only writes the page.
"""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from mpi_bench.launcher import command  # noqa: E402  found beside this folder
from netsim.sizes import format_size  # noqa: E402

DATA = HERE / "data" / "executor"
SMALL, LARGE = "32B,512B,4KiB,8KiB,16KiB,128KiB,1MiB", "4MiB,16MiB,64MiB --iterations 5"
KINDS = {
    "two buffers": "",
    "in place": "--inplace",
    "alloc": "--alloc",
    "plain engine": "",
}
TEXT = """# The executor beside MPI's own allreduce

Time of `swing.allreduce(..., algorithm="auto")` over that of the library's `Allreduce`, float32
sum, both called in turn in the same run; medians of at least five rounds (one second a size), each
round the longest of all ranks. Under 1 ours is faster. *In place* is against `MPI.IN_PLACE`;
*alloc* has the vectors in `swing.alloc`; *plain engine* is `SWING_ENGINE=plain`, without numba.
With more ranks than cores the times include waiting for a core, which both have to do.

"""


def main() -> None:
    """Measure under this environment's MPI library, then write the page."""
    if sys.argv[1:] != ["--page"]:
        for n in (2, 4, 8):
            for kind, options in KINDS.items():
                for part, sizes in enumerate((SMALL, LARGE)):
                    if kind == "alloc" and part == 0:
                        continue  # messages carry small vectors, wherever they lie
                    if kind == "plain engine" and part == 1:
                        continue  # where bytes count, engines do not
                    print(f"{n} ranks, {kind}, {sizes}", flush=True)
                    run(n, f"{options} --sizes {sizes}", kind, part)
    write()


def run(n: int, options: str, kind: str, part: int) -> None:
    """Measure on n ranks."""
    DATA.mkdir(parents=True, exist_ok=True)
    file = DATA / f"new-{n}-{kind.replace(' ', '-')}-{part}.csv"
    argv, needed = command(n, [sys.executable, *["-m", "mpi_bench", "--algorithm", "auto"],
                               *options.split(), "--csv", str(file)])  # fmt: skip
    paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    more = {"SWING_ENGINE": "plain"} if kind == "plain engine" else {}
    subprocess.run(argv, check=True, env=os.environ | needed | more | {"PYTHONPATH": paths},
                   stdout=subprocess.DEVNULL)  # fmt: skip
    with open(file, newline="") as table:
        library = next(csv.DictReader(table))["mpi"].split()[0].lower()
    file.rename(DATA / file.name.replace("new", library, 1))


def write() -> None:
    """EXECUTOR.md, from all rows."""
    ratios: dict[tuple[str, str, int], dict[int, float]] = defaultdict(dict)
    cores = set()
    for file in sorted(DATA.glob("*.csv")):
        _, n, *kind, _ = file.stem.split("-")
        with open(file, newline="") as table:
            rows = list(csv.DictReader(table))
        native = {int(r["nbytes"]): float(r["seconds"]) for r in rows if r["algorithm"] == "mpi"}
        for row in rows:
            cores.add(row["cores"])
            if row["wrong"] != "0":
                raise SystemExit(f"{file}: {row['wrong']} wrong elements")
            if row["algorithm"] == "auto":
                size = int(row["nbytes"])
                ratios[row["mpi"], " ".join(kind), int(n)][size] = (
                    float(row["seconds"]) / native[size]
                )
    text = TEXT + f"On {' or '.join(sorted(cores))} cores, {platform.machine()}.\n"
    for library in sorted({library for library, _, _ in ratios}):
        found = {key[1:]: value for key, value in ratios.items() if key[0] == library}
        order = sorted(found, key=lambda key: (key[1], list(KINDS).index(key[0])))
        sizes = sorted({size for each in found.values() for size in each})
        text += f"\n## {library}\n\n| ranks | |" + "".join(f" {format_size(s)} |" for s in sizes)
        text += "\n|" + "---|" * (len(sizes) + 2) + "\n"
        for kind, n in order:
            cells = [f"{found[kind, n][s]:.2f}" if s in found[kind, n] else "" for s in sizes]
            text += f"| {n} | {kind} | " + " | ".join(cells) + " |\n"
    (HERE / "EXECUTOR.md").write_text(text)


if __name__ == "__main__":
    main()
