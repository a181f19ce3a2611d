"""Print measured rows in the formats of the OSU micro-benchmarks and nccl-tests.

Each method gets its own table.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mpi_bench.report import MeasuredRow, spelled

STYLES = ("table", "osu", "nccl")


def osu(rows: Iterable[MeasuredRow]) -> str:
    """Format rows like ``osu_allreduce -f -c``: microseconds per size, and validation."""
    lines = []
    for name, table in _tables(rows):
        lines += [
            f"# OSU MPI Allreduce Latency Test style: {name}",
            f"# {'Size':<8}{'Avg Latency(us)':>18}{'Min Latency(us)':>18}{'Max Latency(us)':>18}"
            f"{'Iterations':>12}{'Validation':>12}",
        ]
        lines += [
            f"{row.nbytes:<10}{row.time_us_median:18.2f}{row.time_us_min:18.2f}"
            f"{row.time_us_max:18.2f}{row.iterations:12}{_verdict(row, 'Pass', 'Fail'):>12}"
            for row in table
        ]
        lines.append("# Avg is the median of the iterations, each that of the slowest rank")
    return "\n".join(lines)


def nccl(rows: Iterable[MeasuredRow]) -> str:
    """Format rows like ``all_reduce_perf``: microseconds, bandwidths in GB/s, wrong elements."""
    lines = []
    for name, table in _tables(rows):
        lines += [
            f"# nccl-tests style: {name}",
            f"#{'size':>12}{'count':>13}{'type':>10}{'redop':>8}{'root':>6}"
            f"{'time':>10}{'algbw':>9}{'busbw':>9}{'#wrong':>8}",
            f"#{'(B)':>12}{'(elements)':>13}{'':24}{'(us)':>10}{'(GB/s)':>9}{'(GB/s)':>9}",
        ]
        lines += [
            f"{row.nbytes:13}{row.nbytes // np.dtype(row.dtype).itemsize:13}{row.dtype:>10}"
            f"{row.op:>8}{-1:6}{row.time_us_median:10.2f}{row.algbw:9.2f}{row.busbw:9.2f}"
            f"{'N/A' if row.wrong is None else row.wrong:>8}"
            for row in table
        ]
        wrong = sum(row.wrong or 0 for row in table)
        lines += [
            f"# Out of bounds values : {wrong} {'FAILED' if wrong else 'OK'}",
            f"# Avg bus bandwidth    : {np.mean([row.busbw for row in table]):g}",
        ]
    return "\n".join(lines)


def _tables(rows: Iterable[MeasuredRow]) -> list[tuple[str, list[MeasuredRow]]]:
    """Group rows by method, in the order in which the methods first occur."""
    tables: dict[str, list[MeasuredRow]] = {}
    for row in rows:
        ports = f"{row.ports} ports" if row.ports else ""
        words = [spelled(row), "" if "ports=" in spelled(row) else ports]
        tables.setdefault(" ".join(filter(None, words)), []).append(row)
    return list(tables.items())


def _verdict(row: MeasuredRow, good: str, bad: str) -> str:
    return "-" if row.wrong is None else bad if row.wrong else good
