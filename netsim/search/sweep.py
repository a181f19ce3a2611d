"""Simulate a grid of topologies, algorithms and sizes in parallel: ``python -m netsim sweep``.

A case has the names of its schedule and network, so it is cheap to send to another process, which
builds both: with `concurrent.futures` on one machine, with `mpi4py.futures` on a cluster
(``mpiexec -n N python -m mpi4py.futures -m netsim sweep …``).
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

from netsim.models import load
from netsim.network import Network, paper_network
from netsim.rows import ResultRow
from netsim.run import row, simulate
from netsim.traffic.message_graph import RunOptions
from swing.algorithms import SHIPPED, make
from swing.algorithms.spelling import spell
from swing.compilation import quiet
from swing.schedules.schedule import Schedule
from swing.select import estimate
from swing.select.estimate import Phase, figures


@dataclass(frozen=True)
class Case:
    """A schedule and the network that it runs on, by their names.

    Args:
        topology: a name as in `netsim.topology`.
        algorithm: a key of `swing.ALGORITHMS`.
        options: the algorithm's options.
        bandwidth: of a link, in Gb/s; everything else is as in `netsim.paper_network`.
        ties: a rule of `netsim.topologies.ties.TIES`.
        model: a key of `netsim.models.MODELS`.
        run_options: further keyword arguments of `netsim.simulate`.
    """

    topology: str
    algorithm: str
    options: tuple[tuple[str, Any], ...]
    bandwidth: float = 400.0
    ties: str = "adaptive"
    model: str = "analytic"
    run_options: tuple[tuple[str, Any], ...] = ()

    def key(self, nbytes: int) -> tuple[str, ...]:
        """Return the values of the columns `netsim.rows.KEY` in the row of one size."""
        run = RunOptions(**dict(self.run_options))
        variant = dict(self.options).get("variant", "")
        cells = (self.topology, self.label, variant, nbytes, self.model, self.bandwidth)
        return tuple(map(str, (*cells, self.ties, run.sync, run.parts, run.seed)))

    @property
    def label(self) -> str:
        """The algorithm and its options, without the variant, which has its own column."""
        return spell(self.algorithm, {k: v for k, v in self.options if k != "variant"})

    @property
    def network(self) -> Network:
        """The network that the schedule runs on."""
        return _build(self)[1]

    def estimate(self, nbytes: int) -> float:
        """Return the seconds that the case takes, estimated without a simulation of messages.

        Args:
            nbytes: size of the vector on each rank, in bytes.
        """
        if "collective" in dict(self.options):
            return estimate.seconds(_figures(self), self.network, nbytes)
        return float(self.run(nbytes, "analytic")["seconds"])

    def run(self, nbytes: int, model: str | None = None) -> ResultRow:
        """Simulate one size and return its row.

        Args:
            nbytes: size of the vector on each rank, in bytes.
            model: replaces the case's own model.
        """
        schedule, network = _build(self)
        used = model or self.model
        result = row(simulate(schedule, network, nbytes, used, **dict(self.run_options)))
        if self.label != self.algorithm:
            result |= {"algorithm": self.label, "variant": dict(self.options).get("variant", "")}
        return result


@lru_cache(maxsize=8)
def _figures(case: Case) -> tuple[Phase, ...]:
    return figures(_build(case)[0])


@lru_cache(maxsize=4)  # all algorithms on a network share its tables of routes
def _network(topology: str, gbps: float, ties: str) -> Network:
    return paper_network(topology, gbps * 1e9 / 8, ties)


@lru_cache(maxsize=8)
def _build(case: Case) -> tuple[Schedule, Network]:
    network = _network(case.topology, case.bandwidth, case.ties)
    return make(case.algorithm, network.topology.torus, **dict(case.options)), network


def prune(cases: Sequence[Case], sizes: Sequence[int], most: float) -> dict[Case, list[int]]:
    """Return the sizes at which each case is worth simulating.

    A size is left out if another variant of the same algorithm is more than ``most`` times faster
    under the analytic model. Only the fastest variant at each size is reported in the end, and slow
    variants take longest to simulate.

    Args:
        cases: the cases.
        sizes: sizes of the vector, in bytes.
        most: the ratio of estimated times up to which a variant is kept.
    """
    guess = {case: {n: case.run(n, "analytic")["seconds"] for n in sizes} for case in cases}
    kept = {}
    for case, seconds in guess.items():
        rivals = [
            rival_seconds
            for rival, rival_seconds in guess.items()
            if (rival.topology, rival.algorithm, rival.bandwidth)
            == (case.topology, case.algorithm, case.bandwidth)
        ]
        kept[case] = [n for n in sizes if seconds[n] <= most * min(r[n] for r in rivals)]
    return kept


def sweep(
    todo: dict[Case, list[int]], jobs: int, tell: Callable[[str], object]
) -> Generator[ResultRow]:
    """Simulate all cases at their sizes; yields each row as soon as it is finished.

    Args:
        todo: the sizes of each case, in bytes.
        jobs: number of processes.
        tell: called with a line of text for each case and size that has no row, because an
            algorithm of another package failed.
    """
    for result in _results(todo, jobs):
        if isinstance(result, str):
            tell(result)
        else:
            yield result


def _results(todo: dict[Case, list[int]], jobs: int) -> Iterator[ResultRow | str]:
    """Yield the row of each case and size, or a line of text where an algorithm failed."""
    pairs = [(case, n) for case, sizes in todo.items() for n in sizes]
    compiled = {case.model for case in todo} - {"analytic"}
    if jobs == 1 and not compiled:
        yield from starmap(_run, pairs)
        return
    # One task per row, so that no finished row is lost when the sweep is interrupted. Even one job
    # gets its own process, because Ctrl-C does not interrupt compiled code.
    with executor(jobs, compiled) as pool:
        for done in as_completed([pool.submit(_run, *pair) for pair in pairs]):
            yield done.result()


def _run(case: Case, nbytes: int) -> ResultRow | str:
    try:
        return case.run(nbytes)
    except Exception as error:
        if case.algorithm in SHIPPED:
            raise
        # An algorithm of another package may fail in any way: only its own rows are lost.
        name = spell(case.algorithm, dict(case.options))
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return f"{name} on {case.topology}: {reason}"


@contextmanager
def executor(jobs: int, models: Iterable[str]) -> Iterator[Executor]:
    """Provide a pool of processes; under ``python -m mpi4py.futures``, its other ranks.

    An exception in the block, such as Ctrl-C, terminates the local processes at once.

    Args:
        jobs: number of local processes.
        models: the models they will run; their compiled code is loaded once, before the fork.
    """
    # If ``python -m mpi4py.futures`` has loaded it, its other ranks are waiting for tasks.
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
        # The caller's own child processes are not ours to terminate.
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        pool.shutdown()


def _worker() -> None:
    """Ignore Ctrl-C and warnings, which the parent process handles for all workers."""
    signal(SIGINT, SIG_IGN)
    quiet()
