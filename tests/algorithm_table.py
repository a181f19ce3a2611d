"""The table of docs/algorithms.md; ``python -m tests.algorithm_table --write`` renews it there."""

from __future__ import annotations

import sys
from pathlib import Path

from swing.algorithms import ALGORITHMS, SHIPPED
from swing.algorithms.facts import facts

PAGE = Path(__file__).parent.parent / "docs" / "algorithms.md"
MARK = "<!-- Written by `python -m tests.algorithm_table --write`. -->\n\n"


def table():
    """The facts of the algorithms of this library, in Markdown."""
    rows = [facts(ALGORITHMS[name]) for name in SHIPPED]
    lines = [rows[0], dict.fromkeys(rows[0], "---")]
    yield from ("| " + " | ".join(line) + " |" for line in (lines[0], lines[1].values()))
    for row in rows:
        options = row["options"].replace("|", "\\|").split(", ")
        cells = row | {
            "name": f"`{row['name']}`",
            "options": ", ".join(f"`{option}`" for option in options if option),
        }
        yield "| " + " | ".join(cells.values()) + " |"


def page():
    """The text of the page with the table as it is now."""
    before, _, after = PAGE.read_text().partition(MARK)
    _, _, after = after.partition("\n\n")
    return before + MARK + "\n".join(table()) + "\n\n" + after


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    print(*table(), sep="\n")
