"""Simulate a grid of networks, algorithms and sizes in parallel: `netsim.sweep`.

The cases (`netsim.search.case`) are sent to other processes: with `concurrent.futures` on one
machine, with `mpi4py.futures` on a cluster
(``mpiexec -n N python -m mpi4py.futures -m netsim sweep …``).
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import product, starmap
from signal import SIG_IGN, SIGINT, signal
from typing import Any

from netsim.checks import DeadlockError, check_choice, check_factor, check_size, whole_number
from netsim.machine import columns
from netsim.models import MODELS, load, own_sync
from netsim.network import Network
from netsim.rows import ResultRow, in_order
from netsim.search.case import Case, Where, algorithm_cases, networks_of
from netsim.traffic.message_graph import RunOptions
from swing.algorithms import SHIPPED
from swing.checks import expect
from swing.compilation import quiet
from swing.schedules.collectives import ALLREDUCE, check_collective
from swing.sizes import parse_sizes

DEFAULT_SIZES = "32B:128MiB:x4"
ENDED = "a process ended abruptly, as when memory runs out (fewer --jobs need less)"


def sweep(
    networks: Where | Sequence[Where],
    algorithms: str | Sequence[str] = "all",
    sizes: str | Sequence[int] = DEFAULT_SIZES,
    *,
    collective: str = ALLREDUCE,
    root: int | None = None,
    model: str = "analytic",
    prune: float | None = None,
    jobs: int | None = None,
    seed: int = 0,
    sync: str | None = None,
    parts: str = "schedule",
    tell: Callable[[str], object] = warnings.warn,
) -> list[ResultRow]:
    """Simulate many schedules and sizes.

    Args:
        networks: the networks; a topology or its name stands for the Swing paper's network.
        algorithms: as ``--algorithm`` takes them: "swing", "bucket,segments=6", "auto", or "all".
        sizes: of the vector on each rank, in bytes, or as in ``32B:128MiB:x4``.
        collective: the collective.
        root: the root of a broadcast, reduce, gather or scatter; 0 if None.
        model: a key of `netsim.MODELS`.
        prune: leave out variants that are more than this many times slower than another variant in
            the analytic model.
        jobs: number of processes; one for the analytic model and one per core for others if None.
        seed: for random ties.
        sync: when a rank begins its next step, as in `netsim.simulate`; None for the model's own
            rule.
        parts: when parts wait for each other, as in `netsim.simulate`.
        tell: called with a line of text for each case that has no rows, because it deadlocks or its
            algorithm does not run on the network.

    Returns:
        A row per case and size, with the columns of ``netsim sweep --csv``.

    Raises:
        ValueError: an unknown algorithm, collective, model or rule, an algorithm that runs on none
            of the networks, a wrong size, or two networks that rows cannot tell apart.
        TypeError: ``networks`` has something else in it, or an argument has the wrong type.

    >>> rows = sweep(["torus:4x4", "mesh:4x4"], "swing", [2**20])
    >>> [(row["topology"], row["variant"]) for row in rows][:2]
    [('mesh:4x4', 'bandwidth'), ('mesh:4x4', 'latency')]
    """
    check_collective(collective)
    expect(algorithms, Iterable, "algorithms, such as ['swing', 'bucket,segments=6']")
    names = [algorithms] if isinstance(algorithms, str) else list(algorithms)
    for name in names:
        expect(name, str, "an algorithm's name, such as 'bucket,segments=6'")
    if prune is not None:
        check_factor("prune", prune)
    run_options = {"seed": seed, "sync": sync or own_sync(model), "parts": parts}
    listed = told_apart(networks_of(networks))
    cases = cases_of(listed, names, collective, root, model, run_options, tell)
    wanted = listed_sizes(sizes)
    todo = pruned(cases, wanted, prune) if prune else dict.fromkeys(cases, wanted)
    return in_order(simulate_cases(todo, processes(jobs, model), tell))


def cases_of(
    networks: Sequence[Network],
    names: Sequence[str],
    collective: str,
    root: int | None,
    model: str,
    run_options: Mapping[str, Any],
    tell: Callable[[str], object],
) -> list[Case]:
    """Return the cases of a sweep, network by network; the arguments are those of `sweep`.

    An algorithm that runs on some of the networks only is left out on the others.

    Raises:
        ValueError: as `sweep` raises it.
    """
    check_choice("model", model, tuple(MODELS))
    RunOptions(**run_options)  # checks the rules
    options = tuple(run_options.items())
    cases: dict[Case, None] = {}  # each once, also if "all" stands beside names
    reasons: dict[str, list[tuple[Network, ValueError]]] = defaultdict(list)
    for network, text in product(networks, dict.fromkeys(names)):
        try:
            chosen = algorithm_cases([text], network.topology.torus, collective, root)
        except ValueError as error:
            reasons[text].append((network, error))
            continue
        cases |= {Case(network, name, tuple(o.items()), model, options): None for name, o in chosen}
    for refused in reasons.values():
        if len(refused) == len(networks):
            raise refused[0][1]
    for text, refused in reasons.items():
        lines = (f"{text} on {network.topology.whole.name}: {error}" for network, error in refused)
        for line in dict.fromkeys(lines):  # a topology may have several machines
            tell(line)
    return list(cases)


def told_apart(networks: Sequence[Network]) -> list[Network]:
    """Return networks, if rows can tell them apart.

    Raises:
        ValueError: two of them have the same name and the same costs as far as rows state them.
    """
    seen: dict[tuple[object, ...], Network] = {}
    for network in networks:
        key = tuple(columns(network).values())
        if seen.setdefault(key, network) is not network:
            raise ValueError(
                f"two networks are {network.topology.name} with the same costs: name each once, "
                "and graphs by netsim.graph(…, name=)"
            )
    return list(networks)


def listed_sizes(sizes: str | Sequence[int]) -> list[int]:
    """Return sizes in bytes, ascending and each once.

    Raises:
        ValueError: a size is not a whole number of bytes, or there is none.
    """
    if isinstance(sizes, str):
        return parse_sizes(sizes)
    expect(sizes, Iterable, "sizes, such as [2**10, 2**20] or '1KiB:1MiB:x4'")
    listed = list(sizes)
    for nbytes in listed:
        check_size(nbytes)
    if not listed:
        raise ValueError("name a size, such as 2**20")
    return sorted(set(map(int, listed)))


MAX_JOBS = 4096
"""Limit on local processes, far above the cores of a machine."""


def processes(jobs: int | None, model: str) -> int:
    """Return the number of processes: as asked for, else one per core if the model takes long.

    Raises:
        ValueError: it is not a whole number from 1 to `MAX_JOBS`.
    """
    if jobs is not None:
        return whole_number("jobs", jobs, 1, MAX_JOBS)
    return 1 if model == "analytic" else os.cpu_count() or 1


def pruned(cases: Sequence[Case], sizes: Sequence[int], most: float) -> dict[Case, list[int]]:
    """Return the sizes at which each case is worth simulating.

    A size is left out if another variant of the same algorithm is more than ``most`` times faster
    under the analytic model. Only the fastest variant at each size is reported in the end, and slow
    variants take longest to simulate.

    Args:
        cases: the cases.
        sizes: sizes of the vector, in bytes.
        most: the ratio of estimated times up to which a variant is kept.
    """
    guess: dict[Case, dict[int, float]] = {}
    best: dict[tuple[Network, str, int], float] = defaultdict(lambda: math.inf)
    for case in cases:
        for n in sizes:
            found = _run(case, n, "analytic")
            # A case that fails is kept: its simulation says what is wrong.
            seconds = 0.0 if isinstance(found, str) else float(found["seconds"])
            guess.setdefault(case, {})[n] = seconds
            if not isinstance(found, str):
                rivals = case.network, case.algorithm, n
                best[rivals] = min(best[rivals], seconds)
    return {
        case: [n for n in sizes if seconds[n] <= most * best[case.network, case.algorithm, n]]
        for case, seconds in guess.items()
    }


def simulate_cases(
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


def _run(case: Case, nbytes: int, model: str | None = None) -> ResultRow | str:
    """Return the row of a case at one size, or a line of text that says why there is none."""
    try:
        return case.run(nbytes, model)
    except DeadlockError as error:
        return f"{case.name} on {case.topology}, {nbytes} bytes: {error}"
    except Exception as error:
        if case.algorithm in SHIPPED:
            raise
        # An algorithm of another package may fail in any way: only its own rows are lost.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return f"{case.name} on {case.topology}: {reason}"


@contextmanager
def executor(jobs: int, models: Iterable[str]) -> Iterator[Executor]:
    """Provide a pool of processes; under ``python -m mpi4py.futures``, its other ranks.

    An exception in the block, such as Ctrl-C, terminates the local processes at once. If one of
    these has ended by itself, the exception becomes a ChildProcessError.

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
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        # The caller's own child processes are not ours to terminate.
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ChildProcessError(ENDED) from None
        raise
    finally:
        pool.shutdown()


def _worker() -> None:
    """Ignore Ctrl-C and warnings, which the parent process handles for all workers."""
    signal(SIGINT, SIG_IGN)
    quiet()
