"""Time several allreduce methods side by side and check their results.

Methods take turns, see `measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

import swing
from mpi_bench.methods import Method
from mpi_bench.problem import Problem
from swing.executor.explanation import Explanation
from swing.executor.gpu import device

# If no number of iterations is given, rounds repeat for SECONDS; there are at least MIN_ROUNDS and
# at most MAX_ROUNDS of them.
SECONDS, MIN_ROUNDS, MAX_ROUNDS = 1.0, 3, 200


class Sample(NamedTuple):
    """The measurements of one method at one size.

    Args:
        seconds: (iterations,) the time of the slowest rank in each iteration.
        wrong: wrong elements, summed over all ranks and checked rounds; None if not checked.
        ran: which algorithm the method chose; None if it does not choose.
    """

    seconds: np.ndarray
    wrong: int | None
    ran: Explanation | None = None


def after_barrier(comm: MPI.Intracomm) -> float:
    """Wait for all ranks, and return the time at which this one continues."""
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
    """Measure each method on vectors of ``count`` elements; a collective call.

    A round runs every method once. Each round begins with the next method, so that other activity
    on the machine affects all methods alike. Results are checked in the warm-up rounds and in one
    more round after the timed ones: a check between timed calls would change the caches.

    Args:
        comm: the ranks.
        methods: the methods to measure.
        problem: the contribution of each rank, and the exact result.
        count: number of elements of the vector.
        iterations: number of timed rounds; by default they repeat for `SECONDS`.
        warmup: number of rounds before the timed ones.
        inplace: reduce in the receive buffer, without a send buffer.
        check: compare results with the exact ones.
        cuda: the vectors are in GPU memory.
        alloc: the vectors come from `swing.alloc`.
        begin: synchronises the ranks before each call, and returns the time at which the call
            starts.

    Returns:
        A sample per method.
    """
    host_empty = partial(swing.alloc, comm) if alloc and not cuda else np.empty
    gpu_empty = partial(swing.alloc, comm, gpu=True) if alloc else device.empty
    send, recv = (host_empty(count, dtype=problem.dtype) for _ in range(2))
    send[:] = problem.vector(count)
    source, target = send, recv
    if cuda:
        source, target = (gpu_empty(count, dtype=problem.dtype) for _ in range(2))
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
                device.synchronize()  # otherwise the clock stops before the last kernel ends
            elapsed = MPI.Wtime() - start
            if timed:
                seconds[m].append(elapsed)
            elif check:
                device.fetch(target, recv)
                wrong[m] += problem.wrong(recv)
    longest = np.array(seconds)
    comm.Allreduce(MPI.IN_PLACE, longest, MPI.MAX)
    comm.Allreduce(MPI.IN_PLACE, wrong, MPI.SUM)
    given = comm, None if inplace else source, target, problem.op
    ran = [method.explain(*given) if method.explain else None for method in methods]
    counts = [int(w) if check else None for w in wrong]
    return [Sample(*each) for each in zip(longest, counts, ran, strict=True)]


def _rounds(
    comm: MPI.Intracomm, warmup: int, iterations: int | None, check: bool
) -> Iterator[bool]:
    """Yield for each round whether to time it; all ranks agree, by rank 0's clock."""
    yield from [False] * warmup
    at_least, at_most = (iterations, iterations) if iterations else (MIN_ROUNDS, MAX_ROUNDS)
    start = MPI.Wtime()
    for k in range(at_most):
        if not comm.bcast(k < at_least or MPI.Wtime() - start < SECONDS):
            break
        yield True
    if check:
        yield False
