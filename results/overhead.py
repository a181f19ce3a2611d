"""The fastest allreduce of 512 B when each message costs its sender time.

The cheaper messages are, the more peers per step pay off. Part of ``make best``; writes
data/overhead.csv unless it exists.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from netsim import paper_network, simulate  # noqa: E402  the imports below need the path above
from netsim.rows import ResultRow, write_csv  # noqa: E402
from swing import Torus, schedule  # noqa: E402
from swing.select.candidates import Named, family  # noqa: E402

OUT = HERE / "data" / "overhead.csv"
TORI = [(16, 16), (64, 64)]
OVERHEADS = [0.0, 0.1e-6, 0.5e-6, 2e-6]
NBYTES = 512


def main() -> None:
    """Write the rows."""
    if not OUT.exists():
        write_csv(OUT, [row(Torus(dims), o) for dims in TORI for o in OVERHEADS])


def row(torus: Torus, overhead: float) -> ResultRow:
    """The best latency-optimal Swing and recursive multiplying along one dimension per step."""
    network = replace(paper_network(torus.name), message_overhead=overhead)
    swing: list[Named] = [("swing", (("variant", "latency"), ("ports", n))) for n in (1, 4)]
    others = [
        (name, options)
        for name, options in family(torus)
        if name == "recursive_multiplying"
        and dict(options)["variant"] == "latency"
        and all(sum(m > 1 for m in step) == 1 for step in dict(options)["radices"])
    ]

    def seconds(named: Named) -> float:
        candidate = schedule(named[0], torus, **dict(named[1]))
        return simulate(candidate, network, NBYTES, "packet").seconds

    times = {named: seconds(named) for named in [*swing, *others]}
    best = min(others, key=times.__getitem__)
    return {
        "topology": torus.name,
        "nbytes": NBYTES,
        "message_overhead_us": round(overhead * 1e6, 3),
        "radices": "-".join("x".join(map(str, step)) for step in dict(best[1])["radices"]),
        "seconds": times[best],
        "swing_s": min(times[named] for named in swing),
    }


if __name__ == "__main__":
    main()
