"""``make best``: find the fastest schedule for every torus and size, and compare it with the bound.

``python -m netsim tune`` fills the selection table that ships with the library
(`swing/select/tables/paper.json`); BEST.md and its figures are made from the table. Times that the
table has already are not simulated again: delete a torus from it, or the file, to start over.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import matplotlib  # noqa: E402  the imports below need the path above
import overhead  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from netsim import lower_bound, paper_network  # noqa: E402
from netsim.rows import read_csv  # noqa: E402
from swing import Torus  # noqa: E402
from swing.select.candidates import published  # noqa: E402
from swing.select.table import Entry, SelectionTable  # noqa: E402
from swing.sizes import format_size  # noqa: E402

TABLE = HERE.parent / "swing" / "select" / "tables" / "paper.json"
PAPER = ["8x8", "16x16", "32x32", "8x8x8", "64x16", "128x8", "256x4", "64x64", "8x8x8x8",
         "128x128"]  # fmt: skip
MORE = ["16x16x16", "10x10", "12x20", "5x5x5", "32x8x4", "4x4", "2x4", "4x8", "2x2x2", "4x4x4",
        "4x4x8", "16x8"]  # fmt: skip
SMALL = 2**23  # bytes; the means of the first table are over sizes up to here
LINES = {"Swing": ("#0072B2", "o"), "published": ("#009E73", "^"), "ours": ("#D55E00", "s")}


def main() -> None:
    """Tune the tori that the table lacks, then write BEST.md."""
    for dims in [*PAPER, *MORE]:
        line = f"tune --topology torus:{dims} --out {TABLE}"
        print(f"python -m netsim {line}", flush=True)
        subprocess.run([sys.executable, "-m", "netsim", *line.split()], check=True)
    overhead.main()
    table = SelectionTable.read(TABLE.read_text())
    (HERE / "BEST.md").write_text(page(table))


def page(table: SelectionTable) -> str:
    """The text of BEST.md; also draws the figures."""
    text = (HERE / "best.txt").read_text()
    lines = ["| torus | published ÷ ours | with Trivance | worst | ours ÷ bound, 32 B | 512 B "
             "| 128 MiB | 512 MiB |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    curves = []
    means: list[tuple[float, float]] = []
    for dims in [*PAPER, *MORE]:
        name = f"torus:{dims}"
        if name not in table.entries:
            continue
        rows = rows_of(table.entries[name], name)
        small = [r for r in rows if r["nbytes"] <= SMALL]
        gain = mean([r["published"] / r["ours"] for r in small])
        trivance = mean([r["with_trivance"] / r["ours"] for r in small])
        if dims in PAPER:
            means.append((gain, trivance))
        worst = min(r["published"] / r["ours"] for r in rows)
        near = {r["nbytes"]: f"{r['ours'] / r['bound']:.3f}" for r in rows}
        cells = [near.get(n, "") for n in (32, 512, 2**27, 2**29)]
        lines.append(
            f"| {dims} | {gain:.2f} | {trivance:.2f} | {worst:.2f} | {' | '.join(cells)} |"
        )
        curves.append(section(name, rows))
    gain, trivance = (mean([m[i] for m in means]) for i in (0, 1))
    lines.append(f"| **the paper's tori** | **{gain:.2f}** | **{trivance:.2f}** | | | | | |")
    origin = "\n".join(f"- {key}: {value}" for key, value in table.made.items())
    return "\n".join([text, *lines, "", origin, "", *overheads(), *curves])


def overheads() -> list[str]:
    """The section on message overheads, from overhead.csv."""
    lines = [
        "## When messages cost their sender time", "",
        "Times in microseconds for 512 B under the packet model. Each message keeps its sender "
        "busy for the time in the second column before the next one can leave. `radices` are those "
        "of the fastest recursive multiplying, one per step; \"ours\" is its time.", "",
        "| torus | us per message | radices | ours | Swing | Swing ÷ ours |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in read_csv(overhead.OUT, ["swing_s"]):
        ours, swing = (float(r[k]) * 1e6 for k in ("seconds", "swing_s"))
        lines.append(
            f"| {r['topology']} | {r['message_overhead_us']} | {r['radices']} | {ours:.4g} | "
            f"{swing:.4g} | {swing / ours:.2f} |"
        )
    return [*lines, ""]


def rows_of(entry: Entry, name: str) -> list[dict[str, Any]]:
    """For each size, seconds of ours, Swing's faster variant, the best published and the bound."""
    network, rivals = paper_network(name), published(Torus.parse(name))
    rows = []
    for n in entry.sizes:
        ranked = entry.ranked(n)
        old = [(t, c.algorithm) for t, c in ranked if (c.algorithm, c.options) in rivals]
        rows.append({
            "nbytes": n,
            "ours": ranked[0][0],
            "winner": ranked[0][1].name,
            # The table has no time where Swing was too slow to be simulated.
            "Swing": next((t for t, name in old if name == "swing"), math.nan),
            "published": old[0][0],
            "with_trivance": min([old[0][0], *(t for t, c in ranked if c.algorithm == "trivance")]),
            "bound": lower_bound(network, n),
        })  # fmt: skip
    return rows


def section(name: str, rows: list[dict[str, Any]]) -> str:
    """The section of one torus: a table and a figure."""
    figure = f"figures/best-{name.partition(':')[2]}.svg"
    draw(name, rows).savefig(HERE / figure, metadata={"Date": None})
    text = [f"## {name}", "", f"![{name}]({figure})", "",
            "| size | fastest | us | Swing | best published | bound |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for r in rows:
        times = [f"{r[k] * 1e6:.4g}" for k in ("ours", "Swing", "published", "bound")]
        times = ["" if cell == "nan" else cell for cell in times]
        text.append(f"| {format_size(r['nbytes'])} | `{r['winner']}` | {' | '.join(times)} |")
    return "\n".join([*text, ""])


def draw(name: str, rows: list[dict[str, Any]]) -> Figure:
    """Draw the time over the lower bound against the size."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    sizes = [r["nbytes"] for r in rows]
    for key, (colour, marker) in LINES.items():
        label = "best published" if key == "published" else key
        ratios = [r[key] / r["bound"] for r in rows]
        axes.plot(sizes, ratios, label=label, color=colour, marker=marker, ms=4)
    axes.axhline(1, color="#555555", lw=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes[::2])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: format_size(int(n))))
    axes.set_ylabel("time ÷ lower bound")
    axes.set_ylim(bottom=0.9)
    axes.set_title(name)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def mean(ratios: list[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "torus-swing"
    main()
