"""The program of each rank in its namespace: ``python -m mpi_bench.emulate.rank JSON``.

Rank 0 prints one JSON object per line: either the calibration, or one row per method and size, with
the bytes that each device of each node has sent during the call.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from mpi_bench.emulate.patterns import calibrate, together
from mpi_bench.machine import machine
from mpi_bench.measure import measure
from mpi_bench.methods import Method, methods
from mpi_bench.problem import Problem
from mpi_bench.report import MeasuredRow
from swing import Torus, explain

SETTLE = 0.06
"""Seconds until the last acknowledgement has been sent: TCP delays it by 40 ms."""

MIN_ROUNDS = 3
"""The fewest timed rounds, unless fewer are asked for: in a single one a rank may be late."""


def main(spec: dict[str, Any]) -> None:
    """Calibrate, or measure the methods of a task at its sizes.

    Args:
        spec: the task, as `mpi_bench.emulate.launch.run` passes it.
    """
    comm = MPI.COMM_WORLD
    torus = Torus.parse(spec["topology"])
    if spec["calibrate"]:
        _print(comm, **asdict(calibrate(comm, torus, spec["rate"])))
        return
    problem, info = Problem(comm.rank, comm.size, "float32", "sum"), machine(comm)
    for nbytes, cases in spec["points"]:
        # The MPI library's own method comes first, and the one that is asked for last.
        todo = [methods([word], torus, None)[-1] for *_, word in cases]
        count = nbytes // problem.dtype.itemsize
        firsts = [_once(comm, torus, method, problem, count) for method in todo]
        # The first run of each method is checked, and its time limits the number of timed rounds.
        spent = comm.bcast(sum(seconds for seconds, _, _ in firsts))
        k = min(spec["most"], max(MIN_ROUNDS, math.ceil(spec["seconds"] / spent)))
        samples = measure(comm, todo, problem, count, iterations=k, warmup=0,
                          check=False, begin=together)  # fmt: skip
        every = zip(cases, todo, samples, firsts, strict=True)
        for case, method, sample, (_, wrong, sent) in every:
            row = MeasuredRow.of(method, sample._replace(wrong=wrong), info, nbytes,
                         topology=spec["topology"], dtype="float32", op="sum")  # fmt: skip
            _print(comm, case=case, sent=sent, **asdict(row))


def _once(
    comm: MPI.Intracomm, torus: Torus, method: Method, problem: Problem, count: int
) -> tuple[float, int, list[dict[str, int]] | None]:
    """Run a method once; returns seconds, wrong elements, and bytes sent.

    The bytes are those of each device of each node, on rank 0 only.
    """
    send, recv = problem.vector(count), np.empty(count, problem.dtype)
    if method.algorithm != "mpi":  # explain makes the plan, so that the timed call finds it
        explain(comm, send, recv, problem.op, algorithm=method.algorithm, torus=torus,
                **dict(method.options))  # fmt: skip
    problem.spoil(recv)
    comm.Barrier()
    time.sleep(SETTLE)
    before = _sent()
    comm.Barrier()
    start = MPI.Wtime()
    method.run(comm, send, recv, problem.op)
    seconds = comm.allreduce(MPI.Wtime() - start, MPI.MAX)
    time.sleep(SETTLE)
    after = _sent()
    wrong = comm.allreduce(problem.wrong(recv))
    return seconds, wrong, comm.gather({k: after[k] - before[k] for k in after})


def _sent() -> dict[str, int]:
    """Return the bytes that each device of this namespace has sent, from the kernel's counters."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    rows = [line.replace(":", " ").split() for line in lines]
    # Field 9 counts transmitted bytes, after the name and eight counters of received packets.
    return {row[0]: int(row[9]) for row in rows if row[0] != "lo"}


def _print(comm: MPI.Intracomm, **fields: Any) -> None:
    if comm.rank == 0:
        print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
