"""The tables of docs/algorithms.md; ``python -m tests.algorithm_table --write`` renews them."""

from __future__ import annotations

import sys
from pathlib import Path

from swing.algorithms import ALGORITHMS, SHIPPED
from swing.algorithms.facts import facts

PAGE = Path(__file__).parent.parent / "docs" / "algorithms.md"
MARK = "<!-- Written by `python -m tests.algorithm_table --write`. -->\n\n"
COLUMNS = (("name", "idea", "source"), ("name", "options", "collectives", "tori"))
"""The columns of each table: all of them side by side are wider than a page."""


def table(columns):
    """Some facts of the algorithms of this library, in Markdown."""
    yield columns
    yield ["---"] * len(columns)
    for row in (facts(ALGORITHMS[name]) for name in SHIPPED):
        options = row["options"].replace("|", "\\|").split(", ")
        cells = row | {
            "name": f"`{row['name']}`",
            "options": ", ".join(f"`{option}`" for option in options if option),
        }
        yield [cells[column] for column in columns]


def tables():
    """The tables, each with an empty line behind it."""
    for columns in COLUMNS:
        yield "".join(f"| {' | '.join(cells)} |\n" for cells in table(columns)) + "\n"


def page():
    """The text of the page with the tables as they are now."""
    before, _, after = PAGE.read_text().partition(MARK)
    return before + MARK + "".join(tables()) + after.split("\n\n", len(COLUMNS))[-1]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    print(*tables(), sep="", end="")
