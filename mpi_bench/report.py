"""Rows of measured results: the columns of simulated rows, then those of OSU and nccl-tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from swing.algorithms.spelling import spell

if TYPE_CHECKING:  # these import MPI, which rows measured without it do not need
    from mpi_bench.machine import MachineInfo
    from mpi_bench.measure import Sample
    from mpi_bench.methods import Method


OUT_OF_PLACE, IN_PLACE = "out-of-place", "in-place"
"""Placements: whether the result has a buffer of its own, or replaces the contribution."""


@dataclass(frozen=True)
class MeasuredRow:
    """The results of one method at one size.

    ``seconds`` is the median over the iterations, and ``time_us_p90`` the time that nine of ten
    iterations do not exceed. ``algbw`` is bytes per second and ``busbw`` is
    ``algbw`` times 2(p - 1)/p, both in GB/s, as in nccl-tests. ``options`` are those of
    `swing.schedule`, as JSON.
    """

    topology: str
    algorithm: str
    variant: str
    nbytes: int
    seconds: float
    goodput_gbps: float
    model: str
    ranks: int
    ports: int | None
    dtype: str
    op: str
    time_us_min: float
    time_us_median: float
    time_us_p90: float
    time_us_p99: float
    time_us_max: float
    algbw: float
    busbw: float
    wrong: int | None
    iterations: int
    mpi: str
    cores: int
    options: str
    software: str
    placement: str

    @classmethod
    def of(
        cls, method: Method, sample: Sample, machine: MachineInfo, nbytes: int, **given: str
    ) -> MeasuredRow:
        """Build the row of a sample.

        Args:
            method: the method.
            sample: its measurements.
            machine: the machine they were made on.
            nbytes: size of the vector in bytes.
            given: the columns topology, dtype, op and, unless it is out-of-place, placement.
        """
        return cls.timed(
            sample.seconds,
            nbytes,
            machine.ranks,
            algorithm=method.algorithm,
            variant=method.variant,
            ports=method.ports,
            wrong=sample.wrong,
            mpi=machine.mpi,
            cores=machine.cores,
            options=json.dumps(dict(method.options)),
            software=machine.software,
            **given,
        )

    @classmethod
    def timed(
        cls,
        seconds: np.ndarray,
        nbytes: int,
        ranks: int,
        *,
        placement: str = OUT_OF_PLACE,
        **columns: Any,
    ) -> MeasuredRow:
        """Build a row, and compute the columns that follow from times and sizes.

        Args:
            seconds: (iterations,) the time of the slowest rank in each iteration.
            nbytes: size of the vector in bytes.
            ranks: number of ranks.
            placement: `OUT_OF_PLACE` or `IN_PLACE`.
            columns: the other columns.
        """
        median, p90, p99 = np.percentile(seconds, [50, 90, 99]).tolist()
        algbw = nbytes / median / 1e9
        return cls(
            nbytes=nbytes,
            seconds=median,
            goodput_gbps=8 * algbw,
            model="measured",
            ranks=ranks,
            time_us_min=float(seconds.min()) * 1e6,
            time_us_median=median * 1e6,
            time_us_p90=p90 * 1e6,
            time_us_p99=p99 * 1e6,
            time_us_max=float(seconds.max()) * 1e6,
            algbw=algbw,
            busbw=algbw * 2 * (ranks - 1) / ranks,  # the bytes that each rank must send, per second
            iterations=len(seconds),
            placement=placement,
            **columns,
        )


def spelled(row: MeasuredRow) -> str:
    """Return the algorithm with its options, in the notation that every command accepts."""
    return spell(row.algorithm, json.loads(row.options))
