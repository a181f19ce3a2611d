"""``make collectives``: the schedule that is chosen for every collective, its time and the bound.

``python results/collectives.py`` writes COLLECTIVES.md, its figures and the pictures of
docs/collectives.md from ``data/collectives.csv``. ``python results/collectives.py --simulate``
first simulates what that file lacks: with names of tori and collectives, such as ``torus:8x8
broadcast``, only these; without any, everything, which takes hours.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import fugaku  # noqa: E402  the imports below need the path above
import matplotlib  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

import netsim  # noqa: E402
import swing  # noqa: E402
from netsim import lower_bound, paper_network  # noqa: E402
from swing.algorithms.spelling import spell  # noqa: E402
from swing.build.derive import IN_CHUNKS  # noqa: E402
from swing.display import schedule_html  # noqa: E402
from swing.schedules.collectives import COLLECTIVES  # noqa: E402
from swing.select.candidates import Named, published, spelled  # noqa: E402
from swing.sizes import format_size, parse_sizes  # noqa: E402

DATA = HERE / "data" / "collectives.csv"
COLUMNS = ["topology", "collective", "nbytes", "algorithm", "seconds", "model", "published"]
PICTURES = HERE.parent / "docs" / "collectives"
TORI = [
    "2x4", "2x2x2", "4x4", "4x8", "4x4x4", "8x8", "10x10", "5x5x5", "4x4x8", "16x8", "12x20",
    "16x16", "8x8x8", "32x32", "64x16", "128x8", "256x4", "32x8x4", "64x64", "8x8x8x8", "16x16x16",
]  # fmt: skip
SIZES = parse_sizes("32B,8KiB,256KiB,1MiB,8MiB,128MiB")
SHOWN = [c for c in COLLECTIVES if c not in ("allreduce", "barrier")]
ON_4X4 = {"broadcast": {"chunks": 1}, "reduce": {"chunks": 1}}
DRAWN = "8x8"
MOST_PACKETS = 128
"""Ranks up to which the packet model is used, for sizes of up to 8 MiB.

Broadcasts and reduces have it on any number of ranks.
"""
MOST_COMPARED = 128
"""Ranks up to which published broadcasts and reduces are simulated; on more they take hours."""
MOST_STEPS = 63
"""Steps of a published schedule that is simulated; longer ones take minutes, and never win."""

Row = dict[str, str]


def simulate(tori: Sequence[str], collectives: Sequence[str]) -> None:
    """Add the rows of some tori and collectives that the data lack, and renew changed choices."""
    known = {(r["topology"], r["collective"], int(r["nbytes"])): r for r in rows()}
    for topology in tori:
        for collective in collectives:
            for row in simulated(paper_network(f"torus:{topology}"), collective, known):
                key = row["topology"], row["collective"], int(row["nbytes"])
                if known.get(key) != row:
                    known[key] = row
                    print(*row.values(), flush=True)
            with DATA.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(known.values())


def simulated(
    network: netsim.Network, collective: str, known: dict[tuple[str, str, int], Row]
) -> Iterator[Row]:
    """Yield a row for each size: what is chosen, its time, and that of the fastest published.

    Args:
        network: the network.
        collective: the collective.
        known: the rows so far; of these only another choice is simulated.
    """
    torus, name = network.topology.torus, network.topology.name
    rivals = []
    compared = torus.size <= MOST_COMPARED or collective not in IN_CHUNKS
    if compared and any((name, collective, n) not in known for n in SIZES):
        rivals = [
            made(named, torus, collective) for named in published(torus, collective, later=True)
        ]
        rivals = [schedule for schedule in rivals if schedule.nsteps <= MOST_STEPS]
    for n in SIZES:
        packets = torus.size <= MOST_PACKETS or collective in IN_CHUNKS
        model = "packet" if n <= 2**23 and packets else "flow"

        def seconds(schedule: swing.Schedule, n: int = n, model: str = model) -> float:
            return netsim.simulate(schedule, network, n, model).seconds

        choice = swing.choose(torus, n, collective=collective)
        chosen = spell(choice.algorithm, choice.options)
        old = known.get((name, collective, n))
        if old and old["algorithm"] == chosen:
            yield old
            continue
        best = old["published"] if old else str(min(map(seconds, rivals), default=math.nan))
        yield {
            "topology": name, "collective": collective, "nbytes": str(n), "algorithm": chosen,
            "seconds": str(seconds(choice.schedule(torus))), "model": model, "published": best,
        }  # fmt: skip


def made(named: Named, torus: swing.Torus, collective: str) -> swing.Schedule:
    """Make a candidate."""
    name, options = named
    return swing.schedule(name, torus, **dict(options), **spelled(collective))


def rows() -> list[Row]:
    """Read the data."""
    with DATA.open(newline="") as file:
        return list(csv.DictReader(file))


def target(network: netsim.Network, nbytes: int, collective: str) -> float:
    """Return the seconds of the yardstick: the latency to the farthest rank, then the bytes."""
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


def ratio(row: Row, bound: bool = False) -> float:
    """Return a time as a multiple of the yardstick, or of the proven bound."""
    network, nbytes = paper_network(row["topology"]), int(row["nbytes"])
    least = lower_bound if bound else target
    return float(row["seconds"]) / least(network, nbytes, row["collective"])


def overview(collective: str, found: list[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown: all tori and sizes, as multiples of the yardstick."""
    sizes = [format_size(n) for n in SIZES]
    yield f"| torus | {' | '.join(sizes)} | ÷ bound, 128 MiB | published ÷ ours |"
    yield "| --- |" + " ---: |" * (len(sizes) + 2)
    for topology in TORI:
        own = [r for r in found if r["topology"] == f"torus:{topology}"]
        if own:
            cells = [f"{ratio(row):.2f}" for row in own]
            gains = [float(r["published"]) / float(r["seconds"]) for r in own]
            known = [gain for gain in gains if not math.isnan(gain)]
            gain = f"{min(known):.2f} … {max(known):.2f}" if known else ""
            bound = f"{ratio(own[-1], bound=True):.2f}"
            yield f"| {topology} | {' | '.join([*cells, bound, gain])} |"


def details(found: list[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown: what is chosen on one torus, and its times."""
    yield "| size | chosen | µs | best published, µs | model |"
    yield "| ---: | --- | ---: | ---: | --- |"
    for row in found:
        ours, old = (f"{float(row[key]) * 1e6:.4g}" for key in ("seconds", "published"))
        size = format_size(int(row["nbytes"]))
        yield f"| {size} | `{row['algorithm']}` | {ours} | {old} | {row['model']} |"


def figure(collective: str, found: list[Row]) -> None:
    """Draw the time against the size: what is chosen, the best published and the yardstick."""
    network, sizes = paper_network(f"torus:{DRAWN}"), [int(row["nbytes"]) for row in found]
    drawn = Figure(figsize=(6, 4))
    axes = drawn.add_subplot()
    for key, style, label in (("seconds", "k-o", "auto"), ("published", "C1-s", "best published")):
        axes.plot(sizes, [float(row[key]) for row in found], style, lw=1.5, ms=4, label=label)
    bound = [target(network, n, collective) for n in sizes]
    axes.plot(sizes, bound, "k:", label="latency + bytes")
    axes.set(xscale="log", yscale="log", xlabel="bytes", ylabel="seconds")
    axes.set_title(f"{collective} on {DRAWN}")
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda n, _: format_size(int(n)) if n >= 1 else "")
    )
    axes.legend(fontsize=8)
    drawn.savefig(
        HERE / "figures" / f"collective-{collective}.svg",
        metadata={"Date": None}, bbox_inches="tight",
    )  # fmt: skip


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
    every = rows()
    for collective in SHOWN:
        found = [row for row in every if row["collective"] == collective]
        drawn = [row for row in found if row["topology"] == f"torus:{DRAWN}"]
        figure(collective, drawn)
        yield f"\n## {collective}\n\n![{collective} on {DRAWN}]"
        yield f"(figures/collective-{collective}.svg)\n\nOn {DRAWN}:\n\n"
        for lines in (details(drawn), ["", "Time ÷ (latency + bytes):", ""]):
            yield from (line + "\n" for line in lines)
        yield from (line + "\n" for line in overview(collective, found))
    yield "\n" + (HERE / "collectives-fugaku.md").read_text()
    for line in fugaku.table():
        yield line + "\n"


def main(words: list[str]) -> None:
    """Simulate what the words ask for, or write the page and its pictures."""
    if words[:1] == ["--simulate"]:
        tori = [word.removeprefix("torus:") for word in words[1:] if word not in COLLECTIVES]
        simulate(tori or TORI, [word for word in words[1:] if word in COLLECTIVES] or SHOWN)
        return
    matplotlib.rcParams["svg.hashsalt"] = "torus-swing"
    pictures()
    (HERE / "COLLECTIVES.md").write_text("".join(page()))


if __name__ == "__main__":
    main(sys.argv[1:])
