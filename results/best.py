"""``make best``: find the fastest schedule for every torus and size, and compare it with the bound.

``python -m netsim tune`` fills the selection tables of allreduces that ship with the library
(`swing/select/tables/`), one for the Swing paper's network and one for the same network with
messages that cost their sender time; BEST.md and its figures are made from them. A torus that a
table has already is not searched again: delete it from the table, or the file, to start over.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
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
from swing.select.choose import OVERHEAD  # noqa: E402
from swing.select.table import SelectionTable  # noqa: E402
from swing.sizes import format_size  # noqa: E402

TABLES = HERE.parent / "swing" / "select" / "tables"
MACHINES = {"paper": [], "messages": ["--message-overhead", f"{OVERHEAD * 1e6:g}us"]}
"""The machines of the tables, and the options of ``tune`` that make them."""
PAPER = ["8x8", "16x16", "32x32", "8x8x8", "64x16", "128x8", "256x4", "64x64", "8x8x8x8",
         "128x128"]  # fmt: skip
MORE = ["16x16x16", "10x10", "12x20", "5x5x5", "32x8x4", "4x4", "2x4", "4x8", "2x2x2", "4x4x4",
        "4x4x8", "16x8"]  # fmt: skip
SMALL = 2**23  # bytes; the means of the first table are over sizes up to here
Rows = list[dict[str, Any]]
LINES = {"Swing": ("#0072B2", "o"), "published": ("#009E73", "^"), "ours": ("#D55E00", "s")}


def main() -> None:
    """Tune the tori that the tables lack, then write BEST.md."""
    for machine, options in MACHINES.items():
        table = shipped_for(machine)
        for dims in [*PAPER, *MORE]:
            if known(table, dims):
                continue
            words = ["tune", "--topology", f"torus:{dims}", *options]
            words += ["--out", str(TABLES / f"{machine}.json")]
            print("python -m netsim", *words, flush=True)
            subprocess.run([sys.executable, "-m", "netsim", *words], check=True)
    overhead.main()
    (HERE / "BEST.md").write_text(page(*map(shipped_for, MACHINES)))


def shipped_for(machine: str) -> SelectionTable:
    """The table of a machine; an empty one if there is none."""
    file = TABLES / f"{machine}.json"
    return SelectionTable.read(file.read_text()) if file.is_file() else SelectionTable({}, {})


def page(table: SelectionTable, with_cost: SelectionTable) -> str:
    """The text of BEST.md; also draws the figures.

    Args:
        table: of the paper's network.
        with_cost: of the same network with messages that cost.
    """
    rows = {dims: rows_of(table, dims, 0.0) for dims in [*PAPER, *MORE] if known(table, dims)}
    costly = {d: rows_of(with_cost, d, OVERHEAD) for d in [*PAPER, *MORE] if known(with_cost, d)}
    return "\n".join([
        (HERE / "best.txt").read_text(),
        *gains(rows), "",
        "## How far from the bound", "",
        "The time of the fastest schedule, divided by the lower bound. A star marks the sizes at "
        "which it is cut into segments.", "",
        *near_bound(rows), "",
        *(f"- {key}: {value}" for key, value in table.made.items()), "",
        "## When messages cost their sender time", "",
        (HERE / "best-messages.txt").read_text(),
        *gains(costly), "",
        *near_bound(costly), "",
        *overheads(),
        *(section(dims, rows[dims]) for dims in rows),
    ])  # fmt: skip


def known(table: SelectionTable, dims: str) -> bool:
    """Whether a table has times for a torus."""
    return f"torus:{dims}" in table.entries


def gains(tori: dict[str, Rows]) -> list[str]:
    """A table of the best published time, divided by ours."""
    lines = ["| torus | published ÷ ours | with Trivance | worst |", "|---|---|---|---|"]
    means: list[tuple[float, float]] = []
    for dims, rows in tori.items():
        small = [r for r in rows if r["nbytes"] <= SMALL]
        gain = mean([r["published"] / r["ours"] for r in small])
        trivance = mean([r["with_trivance"] / r["ours"] for r in small])
        means += [(gain, trivance)] if dims in PAPER else []
        worst = min(r["published"] / r["ours"] for r in rows)
        lines.append(f"| {dims} | {gain:.2f} | {trivance:.2f} | {worst:.3f} |")
    if means:
        gain, trivance = (mean([m[i] for m in means]) for i in (0, 1))
        which = "the paper's tori" + (f" ({len(means)})" if len(means) < len(PAPER) else "")
        lines.append(f"| **{which}** | **{gain:.2f}** | **{trivance:.2f}** | |")
    return lines


def near_bound(tori: dict[str, Rows]) -> list[str]:
    """A table of our time, divided by the lower bound, at every size."""
    if not tori:
        return []
    sizes = [r["nbytes"] for r in next(iter(tori.values()))]
    lines = [f"| torus | {' | '.join(map(format_size, sizes))} |", "|---" * (len(sizes) + 1) + "|"]
    for dims, rows in tori.items():
        cells = [f"{r['ours'] / r['bound']:.2f}{'*' * r['cut']}" for r in rows]
        lines.append(f"| {dims} | {' | '.join(cells)} |")
    return lines


def overheads() -> list[str]:
    """The table of message overheads, from overhead.csv."""
    lines = [
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


def rows_of(table: SelectionTable, dims: str, overhead: float) -> Rows:
    """For each size, seconds of ours, Swing's faster variant, the best published and the bound."""
    name = f"torus:{dims}"
    entry, rivals = table.entries[name], published(Torus.parse(name))
    network = replace(paper_network(name), message_overhead=overhead)
    rows = []
    for n in entry.sizes:
        ranked = entry.ranked(n)
        old = [(t, c.algorithm) for t, c in ranked if (c.algorithm, c.options) in rivals]
        rows.append({
            "nbytes": n,
            "ours": ranked[0][0],
            "winner": ranked[0][1].name,
            "cut": dict(ranked[0][1].options).get("segments", 1) != 1,
            # The table has no time where Swing was too slow to be simulated.
            "Swing": next((t for t, name in old if name == "swing"), math.nan),
            "published": old[0][0],
            "with_trivance": min([old[0][0], *(t for t, c in ranked if c.algorithm == "trivance")]),
            "bound": lower_bound(network, n),
        })  # fmt: skip
    return rows


def section(dims: str, rows: Rows) -> str:
    """The section of one torus: a table and a figure."""
    name, figure = f"torus:{dims}", f"figures/best-{dims}.svg"
    draw(name, rows).savefig(HERE / figure, metadata={"Date": None})
    text = [f"## {name}", "", f"![{name}]({figure})", "",
            "| size | fastest | us | Swing | best published | bound |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for r in rows:
        times = [f"{r[k] * 1e6:.4g}" for k in ("ours", "Swing", "published", "bound")]
        times = ["" if cell == "nan" else cell for cell in times]
        text.append(f"| {format_size(r['nbytes'])} | `{r['winner']}` | {' | '.join(times)} |")
    return "\n".join([*text, ""])


def draw(name: str, rows: Rows) -> Figure:
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
