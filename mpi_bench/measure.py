"""Time several methods side by side and check their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

import swing
from mpi_bench.methods import Method
from mpi_bench.problem import Problem
from swing.executor.gpu import device

# Rounds, where their number is not given: for so many seconds, within these limits.
SECONDS, MIN_ROUNDS, MAX_ROUNDS = 1.0, 3, 200


class Sample(NamedTuple):
    """What one method took.

    Args:
        seconds: (iterations,) each the longest of all ranks.
        wrong: elements that were wrong, over all ranks and checked rounds; None if not checked.
    """

    seconds: np.ndarray
    wrong: int | None


def after_barrier(comm: MPI.Intracomm) -> float:
    """Wait for all ranks; the time at which this one goes on."""
    comm.Barrier()
    return MPI.Wtime()


def measure(
    comm: MPI.Intracomm,
    methods: Sequence[Method],
    problem: Problem,
    count: int,
    *,
    iterations: int | None = None,
    warmup: int = 2,
    inplace: bool = False,
    check: bool = True,
    cuda: bool = False,
    alloc: bool = False,
    begin: Callable[[MPI.Intracomm], float] = after_barrier,
) -> list[Sample]:
    """A sample of each method on vectors of ``count`` elements.

    A round runs every method once, each time beginning with the next one, so that whatever else
    the machine does meets all of them alike. Answers are checked in the rounds before and one
    round after the timed ones: to look at an answer in between would leave other caches behind.
    With ``cuda`` the vectors are a GPU's, with ``alloc`` they come from `swing.alloc`. ``begin``
    brings the ranks together before each call and returns the time from which it counts.
    """
    here = partial(swing.alloc, comm) if alloc and not cuda else np.empty
    there = partial(swing.alloc, comm, gpu=True) if alloc else device.empty
    send, recv = (here(count, dtype=problem.dtype) for _ in range(2))
    send[:] = problem.vector(count)
    source, target = (there(count, dtype=problem.dtype) for _ in range(2)) if cuda else (send, recv)
    device.put(send, source)
    seconds: list[list[float]] = [[] for _ in methods]
    wrong = np.zeros(len(methods), np.int64)
    for k, timed in enumerate(_rounds(comm, warmup, iterations, check)):
        for i in range(len(methods)):
            m = (i + k) % len(methods)
            if inplace:
                np.copyto(recv, send)
            elif not timed:
                problem.spoil(recv)
            device.put(recv, target)
            start = begin(comm)
            methods[m].run(comm, None if inplace else source, target, problem.op)
            if cuda:
                device.synchronize()  # nothing else waits for the last kernel
            took = MPI.Wtime() - start
            if timed:
                seconds[m].append(took)
            elif check:
                device.fetch(target, recv)
                wrong[m] += problem.wrong(recv)
    longest = np.array(seconds)
    comm.Allreduce(MPI.IN_PLACE, longest, MPI.MAX)
    comm.Allreduce(MPI.IN_PLACE, wrong, MPI.SUM)
    return [Sample(s, int(w) if check else None) for s, w in zip(longest, wrong, strict=True)]


def _rounds(
    comm: MPI.Intracomm, warmup: int, iterations: int | None, check: bool
) -> Iterator[bool]:
    """Whether to time each round, the same on all ranks: rank 0's clock decides."""
    yield from [False] * warmup
    fewest, most = (iterations, iterations) if iterations else (MIN_ROUNDS, MAX_ROUNDS)
    start = MPI.Wtime()
    for k in range(most):
        if not comm.bcast(k < fewest or MPI.Wtime() - start < SECONDS):
            break
        yield True
    if check:
        yield False
