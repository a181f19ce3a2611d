"""``make collectives``: the fastest schedule of every collective, and the bound.

``python results/collectives.py`` writes COLLECTIVES.md, its figures and the pictures of
docs/collectives.md from the selection tables that ship with the library; with ``--tune`` it first
fills these with ``python -m netsim tune --collective``, which takes hours.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import fugaku  # noqa: E402  the imports below need the path above
import matplotlib  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

import netsim  # noqa: E402
import swing  # noqa: E402
from netsim import lower_bound, paper_network  # noqa: E402
from netsim.plot.style import size_axis, styles  # noqa: E402
from swing.display import schedule_html  # noqa: E402
from swing.schedules.collectives import COLLECTIVES  # noqa: E402
from swing.select.candidates import published, spelled  # noqa: E402
from swing.select.table import Entry, shipped, tuned  # noqa: E402
from swing.sizes import format_size  # noqa: E402

TABLES = HERE.parent / "swing" / "select" / "tables"
PICTURES = HERE.parent / "docs" / "collectives"
TORI = ["torus:8x8", "torus:4x4x4", "torus:16x16", "torus:8x8x8", "torus:16x4", "torus:4x4"]
SIZES = "32B,8KiB,256KiB,1MiB,8MiB,128MiB"
SHOWN = [c for c in COLLECTIVES if c not in ("allreduce", "barrier")]
ON_4X4 = {"broadcast": {"chunks": 1}, "reduce": {"chunks": 1}}


def tune() -> None:
    """Fill the tables, one for each collective and its reverse."""
    for topology in TORI:
        for collective in dict.fromkeys(map(tuned, SHOWN)):
            command = [sys.executable, "-m", "netsim", "tune", "--collective", collective]
            command += ["--topology", topology, "--sizes", SIZES, "--most", "4", "--keep", "1.3"]
            out = TABLES / f"paper-{collective}.json"
            subprocess.run([*command, "--out", str(out)], check=True)


def target(network: netsim.Network, nbytes: int, collective: str) -> float:
    """Return the seconds of the joint bound: the latency to the farthest rank, then the bytes."""
    farthest = lower_bound(network, 0, collective)
    return farthest + network_seconds(network, nbytes, collective)


def network_seconds(network: netsim.Network, nbytes: int, collective: str) -> float:
    """Return the seconds that the bytes of a collective take on the links at least."""
    dims = [d for d in network.topology.torus.dims if d > 1]
    p, ports = math.prod(dims), 2 * len(dims)
    if collective in ("broadcast", "reduce"):
        fraction = 1 / ports
    elif collective == "alltoall":
        fraction = max(d / 8 if d % 2 == 0 else (d * d - 1) / (8 * d) for d in dims)
    else:
        fraction = (p - 1) / p / ports
    return nbytes * fraction / network.bandwidth


def rows(topology: str, collective: str, entry: Entry) -> Iterator[str]:
    """Yield the lines of a table in Markdown: one for each size."""
    network = paper_network(topology)
    rivals = {*published(network.topology.torus, collective, later=True)}
    for n in entry.sizes:
        ranked = entry.ranked(n)
        seconds, best = ranked[0]
        old = next(((t, c) for t, c in ranked if (c.algorithm, c.options) in rivals), None)
        ratio = seconds / target(network, n, collective)
        rival = f"`{old[1].name}` {old[0] * 1e6:.4g}" if old else ""
        yield (
            f"| {format_size(n)} | `{best.name}` | {seconds * 1e6:.4g} | {rival} | {ratio:.2f} |"
        )


def figure(topology: str, collective: str, entry: Entry) -> None:
    """Draw the time against the size: the fastest, the published ones and the bound."""
    network = paper_network(topology)
    rivals = {*published(network.topology.torus, collective, later=True)}
    drawn = Figure(figsize=(6, 4), layout="constrained")
    axes = drawn.add_subplot()
    times = {
        c.name: [(n, t * 1e6) for n, t in zip(entry.sizes, c.seconds, strict=True) if t is not None]
        for c in entry.candidates
        if (c.algorithm, c.options) in rivals
    }
    for name, (color, marker) in styles(times).items():
        if len(times[name]) > 1:
            axes.plot(*zip(*times[name], strict=True), color=color, marker=marker, ms=4, label=name)
    ours = [entry.ranked(n)[0][0] * 1e6 for n in entry.sizes]
    axes.plot(entry.sizes, ours, "k-", lw=2, label="auto")
    bound = [target(network, n, collective) * 1e6 for n in entry.sizes]
    axes.plot(entry.sizes, bound, "k:", label="latency + bytes")
    axes.set(yscale="log", ylabel="time, us", title=f"{collective} on {topology}")
    size_axis(axes, entry.sizes)
    axes.legend(fontsize=8, frameon=False)
    drawn.savefig(HERE / "figures" / f"collective-{collective}.svg", metadata={"Date": None})


def pictures() -> None:
    """Draw the steps of each collective on a 4x4 torus for docs/collectives.md."""
    PICTURES.mkdir(exist_ok=True)
    for collective in COLLECTIVES:
        options = spelled(collective, 5) | ON_4X4.get(collective, {})
        drawn = schedule_html(swing.schedule("swing", swing.Torus((4, 4)), ports=1, **options))
        svg = re.search(r"<svg.*</svg>", drawn, re.DOTALL)
        assert svg is not None
        (PICTURES / f"{collective}.svg").write_text(svg[0] + "\n")


def page() -> Iterator[str]:
    """Yield COLLECTIVES.md."""
    yield (HERE / "collectives-intro.md").read_text()
    for collective in SHOWN:
        entries = shipped(collective).entries
        yield f"\n## {collective}\n\n"
        if "torus:8x8" in entries:
            figure("torus:8x8", collective, entries["torus:8x8"])
            yield f"![{collective} on 8x8](figures/collective-{collective}.svg)\n\n"
        if not entries:
            yield "There are no tables: `swing.choose` compares estimates.\n\n"
        elif tuned(collective) != collective:
            yield f"The times are those of {tuned(collective)}, its reverse.\n\n"
        for topology in TORI:
            if topology in entries:
                yield f"### {collective} on {topology}\n\n"
                yield "| size | fastest | µs | best published, µs | ÷ (latency + bytes) |\n"
                yield "| ---: | --- | ---: | --- | ---: |\n"
                for line in rows(topology, collective, entries[topology]):
                    yield line + "\n"
                yield "\n"
    yield (HERE / "collectives-fugaku.md").read_text()
    for line in fugaku.table():
        yield line + "\n"


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "torus-swing"
    if "--tune" in sys.argv[1:]:
        tune()
    pictures()
    (HERE / "COLLECTIVES.md").write_text("".join(page()))
