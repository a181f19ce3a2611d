"""Print measured rows as they come: as a table or JSON, or as OSU's benchmarks or nccl-tests do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from mpi_bench.report import IN_PLACE, OUT_OF_PLACE, MeasuredRow, asked, spelled
from swing.sizes import format_size
from swing.text_table import Column, TextTable, comment, line_width, number

AUTO_WIDEST = "auto (swing,variant=bandwidth,ports=1)"
"""The longest choice of "auto" for which a table has room in one line."""

DIGITS = 3
"""Significant digits of bandwidths."""


class Style:
    """How rows are printed: lines above them, the lines of each size, and lines below.

    Args:
        names: the algorithms with their options, for which there must be room.
        ratio: the head of a column with the time as a multiple of the first method's; empty for
            none.

    Attributes:
        placements: the placements that are shown beside each other; empty for the one asked for.
        default: the methods that are measured unless others are asked for.
    """

    placements: tuple[str, ...] = ()
    default: tuple[str, ...] = ("all",)

    def __init__(self, names: Sequence[str], ratio: str = "") -> None:
        self._names, self._ratio = names, ratio

    def head(self) -> Iterable[str]:
        """Return the lines above the rows."""
        return ()

    def rows(self, rows: Sequence[MeasuredRow]) -> Iterable[str]:
        """Return the lines of all methods at one size."""
        raise NotImplementedError

    def foot(self, rows: Sequence[MeasuredRow]) -> Iterable[str]:
        """Return the lines below all rows."""
        return ()


class Table(Style):
    """A table as wide as the terminal."""

    def __init__(self, names: Sequence[str], ratio: str = "") -> None:
        super().__init__(names, ratio)
        columns = [
            Column("size"), Column("algorithm", is_text=True), Column("min us", 4),
            Column("median us"), Column("p90 us", 6), Column("p99 us", 7), Column("max us", 5),
            Column("algbw GB/s", 8), Column("busbw GB/s", 3), Column("#wrong", 1),
            *([Column(ratio, 2)] if ratio else []),
        ]  # fmt: skip
        widest = ["1024 KiB", "", *["1.234e-04"] * 7, "123456", *["100.00"] * bool(ratio)]
        # What "auto" chooses differs from size to size and is known only when it has run.
        names = [AUTO_WIDEST if name == "auto" else name for name in names]
        cells = [[*widest[:1], name, *widest[2:]] for name in names]
        self._table = TextTable(columns, cells, line_width())

    def head(self) -> Iterator[str]:
        """Yield the lines above the rows."""
        if self._table.left_out:
            yield from comment(f"no room for: {', '.join(self._table.left_out)}")
        yield from self._table.head()

    def rows(self, rows: Sequence[MeasuredRow]) -> Iterator[str]:
        """Yield the lines of all methods at one size."""
        for row in rows:
            ratio = f"{row.seconds / rows[0].seconds:.2f}"
            times = (row.time_us_min, row.time_us_median, row.time_us_p90, row.time_us_p99,
                     row.time_us_max)  # fmt: skip
            rates = (number(rate, DIGITS) for rate in (row.algbw, row.busbw))
            yield from self._table.row([
                format_size(row.nbytes), spelled(row), *map(number, times), *rates, _wrong(row),
                *[ratio] * bool(self._ratio),
            ])  # fmt: skip


class Json(Style):
    """JSON, one object per line."""

    def rows(self, rows: Sequence[MeasuredRow]) -> Iterator[str]:
        """Yield a line per row."""
        yield from (json.dumps(asdict(row)) for row in rows)


class Osu(Style):
    """Lines like those of ``osu_allreduce -f -z -c``: microseconds per size, and validation."""

    default = ("auto",)

    def head(self) -> Iterator[str]:
        """Yield the lines above the rows."""
        yield "# OSU MPI Allreduce Latency Test style"
        yield (
            f"{'# Size':<10}{'Avg Latency(us)':>17}{'Min Latency(us)':>17}{'Max Latency(us)':>17}"
            f"{'Median(us)':>13}{'P90 Lat(us)':>13}{'P99 Lat(us)':>13}"
            f"{'Iterations':>12}{'Validation':>12}  Algorithm"
        )

    def rows(self, rows: Sequence[MeasuredRow]) -> Iterator[str]:
        """Yield a line per method."""
        for row in rows:
            verdict = "-" if row.wrong is None else "Fail" if row.wrong else "Pass"
            yield (
                f"{row.nbytes:<10} {row.time_us_mean:16.2f} {row.time_us_min:16.2f}"
                f" {row.time_us_max:16.2f} {row.time_us_median:12.2f} {row.time_us_p90:12.2f}"
                f" {row.time_us_p99:12.2f} {row.iterations:11}{verdict:>12}  {spelled(row)}"
            )


class Nccl(Style):
    """Lines like those of ``all_reduce_perf``: both placements, with bandwidths in GB/s."""

    placements = (OUT_OF_PLACE, IN_PLACE)
    default = ("auto",)

    def head(self) -> Iterator[str]:
        """Yield the lines above the rows."""
        each = f"{'time':>10}{'algbw':>10}{'busbw':>10}{'#wrong':>8}"
        units = f"{'(us)':>10}{'(GB/s)':>10}{'(GB/s)':>10}{'':8}"
        yield "# nccl-tests style"
        yield f"#{'':50}{'out-of-place':^38}{'in-place':^38}"
        names = f"{'size':>12}{'count':>13}{'type':>10}{'redop':>8}{'root':>7}"
        yield f"#{names}{each}{each}  algorithm"
        yield f"#{'(B)':>12}{'(elements)':>13}{'':25}{units}{units}".rstrip()

    def rows(self, rows: Sequence[MeasuredRow]) -> Iterator[str]:
        """Yield a line per method, which has both its placements."""
        for name in dict.fromkeys(map(asked, rows)):
            placed = [row for row in rows if asked(row) == name]
            row = placed[0]
            rates = [(number(r.algbw, DIGITS), number(r.busbw, DIGITS)) for r in placed]
            results = "".join(
                f" {number(r.time_us_median):>9} {algbw:>9} {busbw:>9} {_wrong(r):>7}"
                for r, (algbw, busbw) in zip(placed, rates, strict=True)
            )
            yield (
                f"{row.nbytes:13} {row.nbytes // np.dtype(row.dtype).itemsize:12} {row.dtype:>9}"
                f" {row.op:>7}{-1:7}{results}  {spelled(row)}"
            )

    def foot(self, rows: Sequence[MeasuredRow]) -> Iterator[str]:
        """Yield the verdict, and each method's mean bus bandwidth."""
        wrong = sum(row.wrong or 0 for row in rows)
        yield f"# Out of bounds values : {wrong} {'FAILED' if wrong else 'OK'}"
        for name in dict.fromkeys(map(asked, rows)):
            mean = np.mean([row.busbw for row in rows if asked(row) == name])
            yield f"# Avg bus bandwidth    : {number(float(mean))} ({name})"


STYLES: dict[str, type[Style]] = {"table": Table, "osu": Osu, "nccl": Nccl}
"""The styles by name."""


def _wrong(row: MeasuredRow) -> str:
    return "N/A" if row.wrong is None else str(row.wrong)
