"""Print a constraint for each dependency, at the lower bound that pyproject.toml states.

``python tests/oldest.py > oldest.txt; pip install -c oldest.txt …``, as ``make test-oldest`` does.
CuPy is left out, because it needs a GPU; so are the tools for linting and documentation.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("mpi", "plot")


def constraints(text: str) -> list[str]:
    """Return the lower bounds in a pyproject.toml, as constraints for pip.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    data = tomllib.loads(text)
    extras = data["project"]["optional-dependencies"]
    wanted = [
        *data["build-system"]["requires"],
        *data["project"]["dependencies"],
        *(item for extra in EXTRAS for item in extras[extra]),
        *data["dependency-groups"]["test"],
    ]
    lines = []
    for item in wanted:
        found = re.match(r"([\w.-]+)>=([\w.]+)", item)
        if not found:
            raise ValueError(f"{item} has no lower bound in pyproject.toml")
        lines.append(f"{found[1]}=={found[2]}")
    return lines


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "pyproject.toml"
    print("\n".join(constraints(path.read_text())))
