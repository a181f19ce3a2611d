"""Run a study on an emulated torus: calibrate, predict and measure; combine the results in rows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mpi_bench.emulate.calibrate import Calibration
from mpi_bench.emulate.launch import run
from mpi_bench.emulate.namespaces import Emulation
from mpi_bench.emulate.predict import predict
from mpi_bench.emulate.wiring import ports
from netsim import simulate
from netsim.network import Network
from netsim.rows import ResultRow
from netsim.topologies.topology import Topology
from swing import Torus
from swing.algorithms import ALGORITHMS, make
from swing.algorithms.spelling import parse, spell
from swing.schedules.schedule import Schedule
from swing.select.table import Entry, SelectionTable

NATIVE = (
    "auto", "recursive_doubling", "recursive_multiplying", "reduce_scatter_allgather",
    "k_reduce_scatter_allgather", "recexch", "ring", "tree",
)  # fmt: skip
"""Values of MPICH's MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM that do not need shared memory."""

FIGURES = ("predicted", "ratio", "links_least", "links_most", "idle_bytes")
"""Columns that only our own schedules have: predicted seconds; measured over predicted time; the
smallest and the largest ratio of counted over expected bytes of a used link; and the most bytes on
an unused link."""

ABOUT = 3.0
"""Rough time of MPICH's own algorithms, in units of the time of the vector over one link."""

Tell = Callable[[str], None]


class Case(NamedTuple):
    """A method to run; most are schedules.

    Args:
        algorithm: a key of `swing.ALGORITHMS`, or one with all its options, as
            `swing.algorithms.spelling` writes them.
        variant: the variant of the algorithm; empty if it has only one, or comes with its options.
        ports: number of parts that run in parallel.
        word: the algorithm with all its options, by which `mpi_bench.methods` knows it.
    """

    algorithm: str
    variant: str
    ports: int
    word: str

    def schedule(self, torus: Torus) -> Schedule:
        """Build the schedule."""
        name, options = parse(self.word)
        return make(name, torus, **options)


@dataclass(frozen=True)
class Study:
    """The measurements of a study.

    Args:
        cases: our schedules.
        sizes: sizes of the vector on each rank, in bytes.
        native: members of `NATIVE`.
        auto: the schedules that "auto" chooses from by their predictions; if empty, "auto" is not
            measured.
        longest: cases predicted to take more seconds than this are left out.
        most: the maximum number of rounds per size.
        seconds: approximate time for the rounds of a size.
    """

    cases: tuple[Case, ...]
    sizes: tuple[int, ...]
    native: tuple[str, ...] = NATIVE
    auto: tuple[Case, ...] = ()
    longest: float = 10.0
    most: int = 7
    seconds: float = 3.0


def cases(names: Iterable[str], torus: Torus) -> list[Case]:
    """List the variants of the named algorithms, with one port and with their default ports.

    Variants that cannot serve the torus are left out.
    """
    listed = []
    for word in names:
        name, spelled = parse(word)
        if spelled:
            listed.append(Case(word, "", len(make(name, torus, **spelled).parts), word))
            continue
        for variant in ALGORITHMS[name].variants:
            options: dict[str, Any] = {"variant": variant} if variant else {}
            for one in ({"ports": 1}, {}):
                try:
                    parts = len(make(name, torus, **options, **one).parts)
                except ValueError:
                    continue
                # Some algorithms have a fixed number of ports and no such option.
                asked = {"ports": parts} if "ports" in ALGORITHMS[name].options else {}
                listed.append(Case(name, variant, parts, spell(name, options | asked)))
    return list(dict.fromkeys(listed))  # the default number of ports may be one as well


def measure(emulation: Emulation, study: Study, tell: Tell) -> Iterator[ResultRow]:
    """Run a study; yields one row per method and size.

    Args:
        emulation: the running emulated torus.
        study: the measurements.
        tell: called with a line of text about the progress.
    """
    grid, rate = emulation.grid, emulation.rate
    tell("calibrating")
    (fields,) = run(emulation, {"calibrate": True})
    calibration = Calibration(**fields)
    network = calibration.network(grid, rate)
    tell(str(calibration))
    tell(f"{calibration.bandwidth / network.bandwidth:.3f} of the bandwidth expected")
    tell("predicting")
    times = predictions(study, network, calibration.start)
    seconds = {"start_us": calibration.start, "step_us": calibration.near,
               "overhead_us": calibration.overhead, "hop_us": calibration.hop}  # fmt: skip
    base = {"rate_mbps": rate / 1e6} | {k: round(t * 1e6, 1) for k, t in seconds.items()}
    auto = [Case("auto", "", 0, "auto")] if study.auto else []
    spec = {"calibrate": False, "most": study.most, "seconds": study.seconds}
    points = [
        (n, [c for c in study.cases if times[c][n] <= study.longest] + auto) for n in study.sizes
    ]
    if study.cases or auto:
        with _table(times, grid.torus, study.sizes) as path:
            ours = {"points": [(n, some) for n, some in points if some]}
            for measured in run(emulation, spec | ours, {"SWING_MACHINE": path}):
                variant = Case(*measured["case"]).variant  # rather than that of auto's choice
                yield base | _with_prediction(measured | {"variant": variant}, times, network)
    # MPICH reads the variable when it starts, so each of its algorithms needs its own run.
    for name in study.native:
        sizes = [n for n in study.sizes if ABOUT * n / network.bandwidth <= study.longest]
        theirs = {"points": [(n, [Case("mpi", "", 0, "mpi")]) for n in sizes]}
        variable = {"MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM": name}
        for measured in run(emulation, spec | theirs, variable):
            yield base | _with_prediction(measured | {"variant": name}, times, network)


def predictions(study: Study, network: Network, start: float) -> dict[Case, dict[int, float]]:
    """Return the predicted seconds of each case at each size.

    Args:
        study: the cases and sizes.
        network: the calibrated network.
        start: seconds from the start of a call to the first step.
    """
    seconds = {}
    for case in dict.fromkeys([*study.cases, *study.auto]):
        schedule = case.schedule(network.topology.torus)
        seconds[case] = {n: start + predict(schedule, network, n) for n in study.sizes}
    return seconds


def counted(grid: Topology, sent: Sequence[dict[str, int]]) -> list[int]:
    """Return (nlinks,) the bytes over each directed link.

    Args:
        grid: the topology.
        sent: for each node the bytes that each of its devices has sent.
    """
    total = [0] * grid.nlinks
    for node, wires in enumerate(ports(grid)):
        for port in wires:
            total[port.link] = sent[node][port.device]
    return total


def _with_prediction(
    measured: ResultRow, times: dict[Case, dict[int, float]], network: Network
) -> ResultRow:
    """Add the columns `FIGURES` to a measured row."""
    sent = measured.pop("sent")
    grid, n = network.topology, measured["nbytes"]
    # The ranks counted cores as if each were on its own machine, so the number is replaced.
    row: ResultRow = measured | {"cores": len(os.sched_getaffinity(0))} | dict.fromkeys(FIGURES)
    case = Case(*row.pop("case"))
    if case in times:
        row |= {"algorithm": case.algorithm, "variant": case.variant}
        row["predicted"] = times[case][n]
        row["ratio"] = measured["seconds"] / times[case][n]
        load = simulate(case.schedule(grid.torus), network, n).link_bytes
        pairs = list(zip(counted(grid, sent), load.tolist(), strict=True))
        used = [count / expected for count, expected in pairs if expected > 0]
        row["links_least"], row["links_most"] = min(used), max(used)
        row["idle_bytes"] = max((count for count, expected in pairs if expected <= 0), default=0)
    return row


@contextmanager
def _table(
    times: dict[Case, dict[int, float]], torus: Torus, sizes: Sequence[int]
) -> Iterator[str]:
    """Write the predictions as a selection table, for "auto"; yields the path of the file."""
    named = ((*parse(case.word), seconds) for case, seconds in times.items())
    entry = Entry.of(sizes, ((name, tuple(o.items()), seconds) for name, o, seconds in named))
    table = SelectionTable({"machine": "emulated torus"}, {torus.name: entry})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        path.write_text(str(table))
        yield str(path)
