"""Tables of text that fit the width of the terminal: nothing in them is cut.

Where a table is too wide, long texts are broken into several lines, and the columns that matter
least are left out.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

GAP = 2
"""Spaces between two columns."""
MAX_DECIMALS = 6
"""Most decimals of a number; smaller ones have an exponent."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its head, which is broken at spaces.
        rank: columns of the highest rank are left out first; those of rank 0 never are.
        is_text: whether the cells are texts, which are left-aligned and broken behind commas,
            instead of numbers.
    """

    name: str
    rank: int = 0
    is_text: bool = False

    def least(self, cells: Sequence[str]) -> int:
        """Return the smallest width at which nothing has to be broken inside a word."""
        words = [word for cell in cells for word in (_words(cell) if self.is_text else [cell])]
        return max(map(len, [*self.name.split(), *words]), default=1)

    def most(self, cells: Sequence[str]) -> int:
        """Return the width at which no cell has to be broken."""
        return max(map(len, [*self.name.split(), *cells]), default=1)


class TextTable:
    """The layout of a table.

    Args:
        columns: the columns.
        cells: rows of cells that the table must have room for.
        width: characters of a line; None if there is no limit.

    Attributes:
        left_out: the names of the columns that there is no room for.

    >>> row = ["32 B", "ring,k=1"]
    >>> table = TextTable([Column("size"), Column("best", is_text=True)], [row], 12)
    >>> for line in [*table.head(), *table.row(row)]:
    ...     print(line)
    size  best
    ----  ------
    32 B  ring,
          k=1
    """

    def __init__(
        self, columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None
    ) -> None:
        self._columns = columns
        each = [[row[i] for row in cells] for i in range(len(columns))]
        least = [column.least(cell) for column, cell in zip(columns, each, strict=True)]
        most = [column.most(cell) for column, cell in zip(columns, each, strict=True)]
        shown = list(range(len(columns)))
        limit = math.inf if width is None else width
        while _width(shown, least) > limit and any(columns[i].rank for i in shown):
            # Of equal ranks the last one goes first.
            shown.remove(max(shown, key=lambda i: (columns[i].rank, i)))
        spare = limit - _width(shown, least)
        self._widths: dict[int, int] = {}
        for i in shown:
            room = max(min(most[i] - least[i], spare), 0)
            if spare < 0 and columns[i].is_text:  # too narrow even so: words have to be broken
                room = max(spare, 1 - least[i])
            self._widths[i] = least[i] + int(room)
            spare -= room
        self.left_out = [column.name for i, column in enumerate(columns) if i not in shown]

    def head(self) -> Iterator[str]:
        """Yield the lines of the head."""
        cells = {i: _filled(self._columns[i].name.split(), n, " ") for i, n in self._widths.items()}
        height = max(map(len, cells.values()), default=0)
        yield from self._lines({i: [""] * (height - len(x)) + x for i, x in cells.items()})
        yield from self._lines({i: ["-" * n] for i, n in self._widths.items()})

    def row(self, cells: Sequence[str]) -> Iterator[str]:
        """Yield the lines of a row."""
        yield from self._lines({
            i: _filled(_words(cells[i]), n, "") if self._columns[i].is_text else [cells[i]]
            for i, n in self._widths.items()
        })  # fmt: skip

    def _lines(self, cells: dict[int, list[str]]) -> Iterator[str]:
        for line in zip_longest(*cells.values(), fillvalue=""):
            aligned = [
                f"{text:{'<' if self._columns[i].is_text else '>'}{self._widths[i]}}"
                for i, text in zip(cells, line, strict=True)
            ]
            yield (" " * GAP).join(aligned).rstrip()


def rendered(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    title: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return a table as text, as wide as `line_width` allows.

    Below it stand the columns that were left out, and the notes, each of which begins a line.
    """
    width = line_width()
    table = TextTable(columns, rows, width)
    lines = _filled(title.split(), width or len(title) + 1, " ") if title else []
    lines += [*table.head(), *(line for cells in rows for line in table.row(cells))]
    left_out = [f"no room for: {', '.join(table.left_out)}"] if table.left_out else []
    for note in [*left_out, *notes]:
        lines += _filled(note.split(), width or len(note), " ")
    return "\n".join(lines)


def comment(text: str) -> list[str]:
    """Return a text as lines that begin with #, as wide as `line_width` allows.

    >>> comment("2 ranks")
    ['# 2 ranks']
    """
    width = (line_width() or len(text) + 2) - 2
    return [f"# {line}" for line in _filled(text.split(), max(width, 1), " ")]


def line_width() -> int | None:
    """Return the width of a line of standard output.

    It is COLUMNS in the environment if that is set, otherwise the width of the terminal; None for
    a pipe or a file, whose lines have no limit.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    # Python has no standard output if the shell has closed it.
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if on_terminal else None


def complain(line: str) -> None:
    """Print a line on standard error, if the shell has not closed it."""
    if sys.stderr is not None:  # print would take None for standard output
        print(line, file=sys.stderr, flush=True)


def number(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, however small it is.

    >>> number(0.0000323), number(0.5), number(123456.7), number(0)
    ('3.230e-05', '0.5000', '123457', '0')
    """
    if not value or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}" if decimals <= MAX_DECIMALS else f"{value:.{digits - 1}e}"


def _width(shown: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[i] for i in shown) + GAP * (len(shown) - 1)


def _words(text: str) -> list[str]:
    """Divide a text behind commas."""
    return re.findall("[^,]*,|[^,]+", text)


def _filled(words: Sequence[str], width: int, between: str) -> list[str]:
    """Fill lines with words; a word that is longer than a line is broken."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1] + between + word) <= width:
            lines[-1] += between + word
        else:
            lines += [word[i : i + width] for i in range(0, len(word), width)]
    return lines or [""]
