"""Grids of (topology, algorithm, size) to rows of results, on all cores; part of the command line.

A case is named, not built, so that any process can run it: with `concurrent.futures` here, with
`mpi4py.futures` on a cluster (``mpiexec -n N python -m mpi4py.futures -m netsim sweep …``).
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap
from signal import SIG_IGN, SIGINT, signal
from typing import Any

from netsim.checks import DeadlockError
from netsim.models import load
from netsim.network import Network, paper_network
from netsim.rows import ResultRow
from netsim.run import row, simulate
from netsim.traffic.message_graph import RunOptions
from swing.algorithms import make
from swing.compilation import quiet
from swing.schedules.schedule import Schedule


@dataclass(frozen=True)
class Case:
    """A schedule and the network it runs on, by their names.

    Args:
        topology: as `netsim.topology` takes it.
        algorithm: a key of `swing.ALGORITHMS`.
        options: its options.
        bandwidth: of a link, Gb/s; the rest is the paper's network.
        ties: a rule of `netsim.topologies.ties.TIES`.
        model: a key of `netsim.models.MODELS`.
        conditions: what else `netsim.simulate` takes by keyword.
    """

    topology: str
    algorithm: str
    options: tuple[tuple[str, Any], ...]
    bandwidth: float = 400.0
    ties: str = "adaptive"
    model: str = "analytic"
    run_options: tuple[tuple[str, Any], ...] = ()

    def key(self, nbytes: int) -> tuple[str, ...]:
        """What the columns `netsim.rows.KEY` of the row of one size say."""
        more = RunOptions(**dict(self.run_options))
        variant = dict(self.options).get("variant", "")
        cells = (self.topology, self.algorithm, variant, nbytes, self.model, self.bandwidth)
        return tuple(map(str, (*cells, self.ties, more.sync, more.parts, more.seed)))

    @property
    def network(self) -> Network:
        """The network it runs on."""
        return _build(self)[1]

    def run(self, nbytes: int, model: str | None = None) -> ResultRow:
        """The row of one size."""
        schedule, network = _build(self)
        how = model or self.model
        return row(simulate(schedule, network, nbytes, how, **dict(self.run_options)))


@lru_cache(maxsize=4)  # its tables of ways serve all algorithms
def _network(topology: str, gbps: float, ties: str) -> Network:
    return paper_network(topology, gbps * 1e9 / 8, ties)


@lru_cache(maxsize=8)
def _build(case: Case) -> tuple[Schedule, Network]:
    network = _network(case.topology, case.bandwidth, case.ties)
    return make(case.algorithm, network.topology.torus, **dict(case.options)), network


def prune(cases: Sequence[Case], sizes: Sequence[int], most: float) -> dict[Case, list[int]]:
    """The sizes to run each case at.

    Left out are those at which another variant of the same algorithm is ``most`` times faster
    under the analytic model: variants are merged in the end, and those are the slow ones to run.
    """
    guess = {case: {n: case.run(n, "analytic")["seconds"] for n in sizes} for case in cases}
    found = {}
    for case, seconds in guess.items():
        rivals = [
            other
            for that, other in guess.items()
            if (that.topology, that.algorithm, that.bandwidth)
            == (case.topology, case.algorithm, case.bandwidth)
        ]
        found[case] = [n for n in sizes if seconds[n] <= most * min(r[n] for r in rivals)]
    return found


def sweep(
    todo: dict[Case, list[int]], jobs: int, tell: Callable[[str], object]
) -> Generator[ResultRow]:
    """The rows of every case and size, as they come.

    Args:
        todo: the sizes of each case, in bytes.
        jobs: processes; 1 is this one alone.
        tell: called with what can not be simulated, and why; there is no row of it.
    """
    for found in _rows(todo, jobs):
        if isinstance(found, str):
            tell(found)
        else:
            yield found


def _rows(todo: dict[Case, list[int]], jobs: int) -> Iterator[ResultRow | str]:
    pairs = [(case, n) for case, sizes in todo.items() for n in sizes]
    compiled = {case.model for case in todo} - {"analytic"}
    if jobs == 1 and not compiled:
        yield from starmap(_run, pairs)
        return
    # A task for each row, so that what is finished is here when the sweep is interrupted; and
    # other processes even for one job, because compiled code hears no Ctrl-C.
    with executor(jobs, compiled) as pool:
        for done in as_completed([pool.submit(_run, *pair) for pair in pairs]):
            yield done.result()


def _run(case: Case, nbytes: int) -> ResultRow | str:
    try:
        return case.run(nbytes)
    except DeadlockError as error:
        options = " ".join(str(v) for _, v in case.options)
        name = f"{case.algorithm} {options}".strip()
        return f"{name} on {case.topology}, {nbytes} bytes: {error}"


@contextmanager
def executor(jobs: int, models: Iterable[str]) -> Iterator[Executor]:
    """Processes of this machine, or the ranks of ``python -m mpi4py.futures``.

    An exception, such as Ctrl-C, ends the processes of this machine at once.

    Args:
        jobs: how many processes.
        models: what they will run; compiled code is loaded here, before they are forked.
    """
    # Loaded already by ``python -m mpi4py.futures``; then its workers are the other ranks.
    futures = sys.modules.get("mpi4py.futures")
    if futures is not None:
        with futures.MPIPoolExecutor() as pool:
            yield pool
        return
    for model in models:
        load(model)
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(jobs, initializer=_worker)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        pool.shutdown()


def _worker() -> None:
    """Ctrl-C and warnings are for the first process, which ends the others."""
    signal(SIGINT, SIG_IGN)
    quiet()
