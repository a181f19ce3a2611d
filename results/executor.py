"""``python results/executor.py``: time our allreduce beside the MPI library's own.

Run it once with the Python of each environment (``.venv`` has MPICH, ``.venv-openmpi`` Open MPI),
on a machine that does nothing else; each run takes about two minutes. Rows go to data/executor/,
and EXECUTOR.md is written from all rows there. ``--page`` only writes EXECUTOR.md.
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

from mpi_bench.launcher import command  # noqa: E402  needs the path above
from swing.sizes import format_size  # noqa: E402

DATA = HERE / "data" / "executor"
SMALL, LARGE = "32B,512B,4KiB,8KiB,16KiB,128KiB,1MiB", "4MiB,16MiB,64MiB --iterations 5"
KINDS = {
    "two buffers": "",
    "in place": "--inplace",
    "alloc": "--alloc",
    "plain engine": "",
}
TEXT = """# The executor beside MPI's own allreduce

The tables show the time of `swing.allreduce(..., algorithm="auto")` divided by the time of the MPI
library's own `Allreduce`. Below 1, ours is faster. Both add up float32 vectors, alternating in
one run. A time is the median of the rounds that fit into one second (at most 200), or of five
rounds from 4 MiB on. A round takes as long as its slowest rank.

*In place*: one buffer, with `MPI.IN_PLACE` for the MPI library. *Alloc*: the vectors are in memory
from `swing.alloc`. *Plain engine*: `SWING_ENGINE=plain`, which does not use numba. With more ranks
than cores, both times include waiting for a core.

"""


def main() -> None:
    """Measure under this environment's MPI library, then write EXECUTOR.md."""
    if sys.argv[1:] != ["--page"]:
        for n in (2, 4, 8):
            for kind, options in KINDS.items():
                for part, sizes in enumerate((SMALL, LARGE)):
                    if kind == "alloc" and part == 0:
                        continue  # small vectors go by messages even from shared memory
                    if kind == "plain engine" and part == 1:
                        continue  # for large vectors the engine makes no difference
                    print(f"{n} ranks, {kind}, {sizes}", flush=True)
                    run(n, f"{options} --sizes {sizes}", kind, part)
    write()


def run(n: int, options: str, kind: str, part: int) -> None:
    """Measure one part of the sizes on n ranks."""
    DATA.mkdir(parents=True, exist_ok=True)
    file = DATA / f"new-{n}-{kind.replace(' ', '-')}-{part}.csv"
    argv, mpi_env = command(n, [sys.executable, *["-m", "mpi_bench", "--algorithm", "auto"],
                               *options.split(), "--csv", str(file)])  # fmt: skip
    paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    engine = {"SWING_ENGINE": "plain"} if kind == "plain engine" else {}
    subprocess.run(argv, check=True, env=os.environ | mpi_env | engine | {"PYTHONPATH": paths},
                   stdout=subprocess.DEVNULL)  # fmt: skip
    with open(file, newline="") as table:
        library = next(csv.DictReader(table))["mpi"].split()[0].lower()
    # The rows themselves say which library they are from.
    file.rename(DATA / file.name.replace("new", library, 1))


def write() -> None:
    """Write EXECUTOR.md from all rows."""
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
        by_row = {key[1:]: value for key, value in ratios.items() if key[0] == library}
        order = sorted(by_row, key=lambda key: (key[1], list(KINDS).index(key[0])))
        sizes = sorted({size for row in by_row.values() for size in row})
        text += f"\n## {library}\n\n| ranks | |" + "".join(f" {format_size(s)} |" for s in sizes)
        text += "\n|" + "---|" * (len(sizes) + 2) + "\n"
        for kind, n in order:
            cells = [f"{by_row[kind, n][s]:.2f}" if s in by_row[kind, n] else "" for s in sizes]
            text += f"| {n} | {kind} | " + " | ".join(cells) + " |\n"
    (HERE / "EXECUTOR.md").write_text(text)


if __name__ == "__main__":
    main()
