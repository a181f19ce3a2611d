"""Set our allgathers beside those that TACOS synthesizes, in results/TACOS.md.

TACOS (Won et al., MICRO 2024) makes an allgather for any network by matching chunks and links on a
time-expanded network. ``TIMES`` has the best times of its own program. Every candidate of the
library's search is simulated here by the flow model. ``python results/tacos.py`` takes some
minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import netsim
import swing
from netsim.search.case import Case
from netsim.search.explore import Search
from netsim.search.tune import find
from swing.ring import distance

HERE = Path(__file__).parent
SIZES = {"64 KiB": 2**16, "1 MiB": 2**20, "64 MiB": 2**26}
TIMES = {
    "torus:4x4": (2.88, 8.60, 316.5),
    "torus:8x8": (8.82, 13.69, 338.8),
    "torus:4x4x4": (5.71, 8.86, 220.3),
    "mesh:5x5": (6.59, 15.38, 606.0),
}
"""Microseconds of TACOS's best allgather at each size."""

INTRO = """\
# Allgathers beside those of TACOS

Written by `python results/tacos.py`.

TACOS (Won et al., "TACOS: Topology-Aware Collective Algorithm Synthesizer for Distributed Machine
Learning", MICRO 2024) synthesizes an allgather for any network. Here are the times of its program
and of the fastest schedule that `netsim tune`'s search finds, on links of 50 GiB/s and 0.5 us. The
size is that of all blocks together, and the bound is `netsim.lower_bound`.

TACOS sends every chunk from neighbour to neighbour. In our schedules a message may also cross
several links, 0.5 us each, without waiting in between until it is complete. To see how much of the
difference comes from that, the column "neighbours only" has the fastest of our schedules in which
every message crosses one link.

| network | size | TACOS | ours | TACOS ÷ ours | neighbours only | bound | schedule |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Write the page."""
    rows = [row for place in TIMES for row in rows_of(place)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    (HERE / "TACOS.md").write_text(INTRO + table)


def network(place: str) -> netsim.Network:
    """Return the network that the times of TACOS are for."""
    return netsim.Network(netsim.topology(place), bandwidth=50 * 2**30, link_latency=0.5e-6)


def rows_of(place: str) -> Iterator[list[str]]:
    """Search a network, and yield the cells of its rows."""
    found: dict[Case, dict[int, float]] = {}
    # The flow model, from the first byte on.
    limits = Search(keep=2.0, most=16, leaders=1, packets=1)
    machine = network(place)
    find(machine, list(SIZES.values()), {"collective": "allgather"}, limits, found)
    for (size, n), theirs in zip(SIZES.items(), TIMES[place], strict=True):
        times = {case: seconds[n] * 1e6 for case, seconds in found.items() if n in seconds}
        best = min(times, key=lambda case: times[case])
        near = min((t for case, t in times.items() if _to_neighbours(case)), default=None)
        bound = netsim.lower_bound(machine, n, "allgather") * 1e6
        name = best.name.removesuffix(",collective=allgather")
        print(f"{place} {size}: {name}", file=sys.stderr)
        yield [
            place, size, f"{theirs:.2f} us", f"{times[best]:.2f} us", f"{theirs / times[best]:.2f}",
            f"{near:.2f} us" if near else "", f"{bound:.2f} us", f"`{name}`",
        ]  # fmt: skip


def _to_neighbours(case: Case) -> bool:
    torus = case.network.topology.torus
    schedule = swing.schedule(case.algorithm, torus, **dict(case.options))
    for step in map(schedule.step, range(schedule.nsteps)):
        ends = zip(torus.sides, torus.coords[step.src].T, torus.coords[step.dst].T, strict=True)
        if (sum(distance(d, wrap, src, dst) for (d, wrap), src, dst in ends) > 1).any():
            return False
    return True


if __name__ == "__main__":
    main()
