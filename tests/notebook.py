"""Runs a notebook: ``python tests/notebook.py docs/tutorial.ipynb`` writes what its cells print.

Enough of Jupyter for plain Python: what a cell prints, and the value of its last expression as
text, HTML or SVG. That takes no kernel, and no forty packages.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

FORMS = {"text/html": "_repr_html_", "image/svg+xml": "_repr_svg_"}


def outputs(notebook):
    """What every code cell puts out, run one after the other."""
    names = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [run("".join(cell["source"]), names, i) for i, cell in enumerate(cells, start=1)]


def run(source, names, number):
    """The outputs of one cell."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if last:
        tree.body.pop()
    printed, value = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last:
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    found = []
    if printed.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())})
    if value is not None:
        data = {
            form: lines(text)
            for form, method in FORMS.items()
            if (text := getattr(value, method, lambda: None)())
        }
        found.append(
            {
                "data": {**data, "text/plain": lines(repr(value))},
                "execution_count": number,
                "metadata": {},
                "output_type": "execute_result",
            }
        )
    return found


def lines(text):
    """As notebooks keep text."""
    return text.splitlines(keepends=True)


def main(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, found) in enumerate(zip(cells, outputs(notebook), strict=True), start=1):
        cell |= {"outputs": found, "execution_count": number}
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
