"""Rows of measured results: the columns of simulated rows, then those of OSU and nccl-tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
    ``algbw`` times 2(p - 1)/p, both in GB/s, as in nccl-tests. ``algorithm`` is the one that was
    asked for. ``ran`` is the one that was run, with its options: for "auto", the one that it chose.
    ``variant``, ``ports`` and ``options``, which are those of `swing.schedule` as JSON, belong to
    ``ran``.
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
    time_us_mean: float
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
    ran: str

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
        ran = sample.ran or method
        return cls.timed(
            sample.seconds,
            nbytes,
            machine.ranks,
            algorithm=method.algorithm,
            variant=ran.variant,
            ports=ran.ports or None,
            wrong=sample.wrong,
            mpi=machine.mpi,
            cores=machine.cores,
            options=json.dumps(dict(ran.options)),
            software=machine.software,
            ran=ran.name,
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
            time_us_mean=float(seconds.mean()) * 1e6,
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


def asked(row: MeasuredRow) -> str:
    """Return the algorithm that was asked for, in the notation that every command accepts."""
    return "auto" if row.algorithm == "auto" else row.ran


def spelled(row: MeasuredRow) -> str:
    """Return the algorithm that was asked for and, in parentheses, the one that "auto" chose.

    The latter is in the notation that every command accepts, too.
    """
    return f"auto ({row.ran})" if row.algorithm == "auto" else row.ran
