"""A study: calibrate an emulated torus, predict, measure, and put the figures side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi_bench.emulate.calibrate import Calibration
from mpi_bench.emulate.launch import run
from mpi_bench.emulate.namespaces import Emulation
from mpi_bench.emulate.predict import predict
from mpi_bench.emulate.wiring import ports
from netsim import simulate
from netsim.network import Network
from netsim.topologies.grid import Grid
from swing import Torus
from swing.algorithms import make, variants
from swing.schedules.schedule import Schedule
from swing.select.table import Candidate, Entry, SelectionTable

NATIVE = (
    "auto", "recursive_doubling", "recursive_multiplying", "reduce_scatter_allgather",
    "k_reduce_scatter_allgather", "recexch", "ring", "tree",
)  # fmt: skip
"""What MPICH's MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM takes, but for those that need shared memory."""

FIGURES = ("predicted", "ratio", "links_least", "links_most", "idle_bytes")
"""Columns of our own schedules: seconds predicted, measured over predicted; the least and the most
counted over expected bytes of a link that is used, and the most on one that is not."""

ABOUT = 3.0
"""Seconds that MPICH's own takes, about, for one that the vector takes over a link."""

ResultRow = dict[str, Any]
Measured = tuple[str, str, int | None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """A schedule to run: an algorithm, a variant where it has several, its number of parts."""

    algorithm: str
    variant: str
    ports: int

    def options(self) -> dict[str, Any]:
        """What `swing.schedule` takes."""
        given = {"variant": self.variant} if self.variant else {}
        fixed = self.algorithm in ("hamiltonian", "mirrored_recursive_doubling")
        return given if fixed else given | {"ports": self.ports}

    @property
    def wanted(self) -> Measured:
        """Algorithm, variant and ports; None where the algorithm has but one number of them."""
        return self.algorithm, self.variant, self.options().get("ports")

    def schedule(self, torus: Torus) -> Schedule:
        """The schedule."""
        return make(self.algorithm, torus, **self.options())


@dataclass(frozen=True)
class Study:
    """What to measure.

    Args:
        cases: our schedules.
        sizes: of the vector on each rank, bytes.
        native: names of `NATIVE`.
        auto: schedules that `swing.allreduce` may choose from, told the predictions; none: it is
            not measured.
        longest: seconds; what is predicted to take longer is left out.
        most: rounds of a size, at most.
        seconds: for the rounds of a size, about.
    """

    cases: tuple[Case, ...]
    sizes: tuple[int, ...]
    native: tuple[str, ...] = NATIVE
    auto: tuple[Case, ...] = ()
    longest: float = 10.0
    most: int = 7
    seconds: float = 3.0


def cases(names: Iterable[str], torus: Torus) -> list[Case]:
    """All variants of the named algorithms on one port and on their own number of ports.

    Those that can not serve the torus are left out.
    """
    found = []
    for name in names:
        for variant in variants(name):
            for one in (True, False):
                given: dict[str, Any] = {"variant": variant} if variant else {}
                try:
                    parts = make(name, torus, **given | ({"ports": 1} if one else {})).parts
                except ValueError:
                    continue
                found.append(Case(name, variant, len(parts)))
    return list(dict.fromkeys(found))


def measure(emulation: Emulation, study: Study, tell: Tell) -> Iterator[ResultRow]:
    """The rows of a study, one a method and size; ``tell`` is called with what happens."""
    place, rate = emulation.place, emulation.rate
    tell("calibrating")
    calibration = _calibrate(emulation)
    network = calibration.network(place, rate)
    tell(str(calibration))
    tell(f"{calibration.bandwidth / network.bandwidth:.3f} of the bandwidth expected")
    tell("predicting")
    times = predictions(study, network, calibration.start)
    seconds = {"start_us": calibration.start, "step_us": calibration.near,
               "overhead_us": calibration.overhead, "hop_us": calibration.hop}  # fmt: skip
    base = {"rate_mbps": rate / 1e6} | {k: round(t * 1e6, 1) for k, t in seconds.items()}
    auto: list[Measured] = [("auto", "", None)] if study.auto else []
    spec = {"calibrate": False, "most": study.most, "seconds": study.seconds}
    points: list[tuple[int, list[Measured]]] = [
        (n, [c.wanted for c in study.cases if times[c][n] <= study.longest] + auto)
        for n in study.sizes
    ]
    if study.cases or auto:
        with _table(times, place.torus, study.sizes) as path:
            ours = {"points": [(n, some) for n, some in points if some]}
            for found in run(emulation, spec | ours, {"SWING_MACHINE": path}):
                yield base | _judged(found, times, network)
    for name in study.native:
        sizes = [n for n in study.sizes if ABOUT * n / network.bandwidth <= study.longest]
        theirs = {"points": [(n, [("mpi", "", None)]) for n in sizes]}
        for found in run(emulation, spec | theirs, {"MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM": name}):
            yield base | _judged(found | {"variant": name}, times, network)


def predictions(study: Study, network: Network, start: float) -> dict[Case, dict[int, float]]:
    """Seconds of every case at every size; ``start`` of them before the first step."""
    found = {}
    for case in dict.fromkeys([*study.cases, *study.auto]):
        schedule = case.schedule(network.topology.torus)
        found[case] = {n: start + predict(schedule, network, n) for n in study.sizes}
    return found


def counted(place: Grid, sent: Sequence[dict[str, int]]) -> list[int]:
    """(nlinks,) bytes over every directed link, from what the devices of all nodes have sent."""
    total = [0] * place.nlinks
    for node, wires in enumerate(ports(place)):
        for port in wires:
            total[port.link] = sent[node][port.device]
    return total


def _calibrate(emulation: Emulation) -> Calibration:
    (found,) = run(emulation, {"calibrate": True})
    return Calibration(**found)


def _judged(found: ResultRow, times: dict[Case, dict[int, float]], network: Network) -> ResultRow:
    """A measured row with the prediction and the extremes of counted over expected bytes."""
    sent = found.pop("sent")
    place, n = network.topology, found["nbytes"]
    assert isinstance(place, Grid)
    # Ranks believe that each has a machine of its own.
    row: ResultRow = found | {"cores": len(os.sched_getaffinity(0))} | dict.fromkeys(FIGURES)
    case = Case(found["algorithm"], found["variant"], found["ports"])
    if case in times:
        row["predicted"] = times[case][n]
        row["ratio"] = found["seconds"] / times[case][n]
        load = simulate(case.schedule(place.torus), network, n).link_bytes
        pairs = list(zip(counted(place, sent), load.tolist(), strict=True))
        used = [count / expected for count, expected in pairs if expected > 0]
        row["links_least"], row["links_most"] = min(used), max(used)
        row["idle_bytes"] = max((count for count, expected in pairs if expected <= 0), default=0)
    return row


@contextmanager
def _table(
    times: dict[Case, dict[int, float]], torus: Torus, sizes: Sequence[int]
) -> Iterator[str]:
    """The predictions as a selection table, for "auto"; the path of a file."""
    rows = [
        Candidate(c.algorithm, tuple(c.options().items()), tuple(found[n] for n in sizes))
        for c, found in times.items()
    ]
    table = SelectionTable(
        {"machine": "emulated torus"}, {torus.name: Entry(tuple(sizes), tuple(rows))}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        path.write_text(str(table))
        yield str(path)
