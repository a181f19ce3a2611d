"""The layers of the code (rooms), from the top down, and which file imports which.

A room is a package or a group of modules. A file imports only from its own room or from lower ones.
Each entry of `ROOMS` is a line of the list in docs/architecture.md.
``python -m tests.architecture`` prints figures; with ``--write`` it renews the list of files there.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("swing", "netsim", "mpi_bench")
PAGE = ROOT / "docs" / "architecture.md"
MARK = "from the first line of each file. -->"

ROOMS: dict[str, tuple[str, ...]] = {
    "mpi_bench/emulate": ("mpi_bench/emulate",),
    "mpi_bench": ("mpi_bench",),
    "netsim": ("netsim/__init__", "netsim/__main__"),
    "netsim/cli": ("netsim/cli",),
    "netsim/report": ("netsim/report",),
    "netsim/search": ("netsim/search",),
    "netsim/display": ("netsim/display", "netsim/plot"),
    "netsim/run": ("netsim/run",),
    "netsim/models": ("netsim/models",),
    "netsim/traffic": ("netsim/traffic",),
    "netsim/network": (
        "netsim/bounds", "netsim/machine", "netsim/machine_words",
        "netsim/network", "netsim/presets",
    ),
    "netsim/topologies": ("netsim/topologies",),
    "netsim/rows": ("netsim/rows", "netsim/checks"),
    "swing": (
        "swing/__init__", "swing/__main__", "swing/compose", "swing/export", "swing/line",
        "swing/machines",
    ),
    "swing/cli": (
        "swing/cli", "swing/display", "swing/integrations", "swing/parameters", "swing/progress",
        "swing/text_table",
    ),
    "swing/executor": (
        "swing/executor/__init__", "swing/executor/comm", "swing/executor/communicator",
        "swing/executor/requests",
    ),
    "swing/executor/dispatch": (
        "swing/executor/dispatch", "swing/executor/collectives", "swing/executor/tasks",
        "swing/executor/explanation",
    ),
    "swing/executor/session": ("swing/executor/session",),
    "swing/executor/engines": ("swing/executor/engines",),
    "swing/executor/gpu": ("swing/executor/gpu",),
    "swing/executor/plan": ("swing/executor/plan",),
    "swing/executor/buffers": ("swing/executor/buffers",),
    "swing/executor/mpi_abi": ("swing/executor/mpi_abi",),
    "swing/formats": ("swing/formats",),
    "swing/select": ("swing/select",),
    "swing/algorithms": ("swing/algorithms",),
    "swing/verification": ("swing/verification",),
    "swing/build": ("swing/build",),
    "swing/schedules": ("swing/schedules",),
    "swing/torus": (
        "swing/torus", "swing/ring", "swing/placement", "swing/sizes", "swing/settings",
        "swing/svg", "swing/byte_cache", "swing/checks", "swing/waiting", "swing/compilation",
        "swing/deprecated",
    ),
}  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module, by dotted name; that of a package is its ``__init__``."""
    paths = chain.from_iterable(sorted((ROOT / p).rglob("*.py")) for p in PACKAGES)
    found = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(path: Path) -> str:
    """Return the room of a file: the one whose place is the longest prefix of its path."""
    name = path.relative_to(ROOT).with_suffix("").as_posix()
    fits = [
        (len(place), room)
        for room, places in ROOMS.items()
        for place in places
        if name == place or name.startswith(place + "/")
    ]
    return max(fits)[1]


@cache
def imports(module: str) -> frozenset[str]:
    """Return our modules that a module imports, also inside functions and for types only."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules() else node.module)
    return frozenset(found & modules().keys())


def circles() -> list[list[str]]:
    """Return the groups of modules that import each other, directly or indirectly."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph((a, b) for a in modules() for b in imports(a))
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def arrows() -> set[tuple[str, str]]:
    """Return the pairs of rooms of which the first imports from the second."""
    pairs = {(room_of(modules()[a]), room_of(modules()[b])) for a in modules() for b in imports(a)}
    return {(a, b) for a, b in pairs if a != b}


CLASSES = (
    "Step", "Block", "Body", "Schedule", "Topology", "Grid", "Graph", "Ring", "Row", "LookupTable",
    "WithoutLinks",
)  # fmt: skip
"""Words in the names of classes whose values answer questions, so that none needs a type test.

"Block" and "WithoutLinks" find the earlier classes BlockRange, BlockSets and WithoutLinks too.
"""
COLLECTIVES = {"allreduce", "reduce_scatter", "allgather"}


def type_tests(tree: ast.AST) -> Iterator[str]:
    """Yield the first word of `CLASSES` in each isinstance test that has one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            types = ast.unparse(node.args[1])
            yield from [word for word in CLASSES if word in types][:1]


def name_tests(tree: ast.AST) -> int:
    """Count the names of collectives that are compared, or are keys of a dict."""
    names: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            names += chain.from_iterable(map(ast.walk, [node.left, *node.comparators]))
        elif isinstance(node, ast.Dict):
            names += filter(None, node.keys)
    return sum(isinstance(n, ast.Constant) and n.value in COLLECTIVES for n in names)


def figures() -> Iterator[tuple[str, object]]:
    """Yield the name and value of each figure about the code."""
    texts = {path: path.read_text() for path in modules().values()}
    tests = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    lines = sum(len(text.splitlines()) for text in texts.values())
    yield "lines of product", lines
    yield "lines of tests", sum(len(text.splitlines()) for text in tests)
    yield "files", len(texts)
    rooms: dict[str, int] = {}
    for path in texts:
        rooms[room_of(path)] = rooms.get(room_of(path), 0) + 1
    yield "rooms", len(rooms)
    yield "largest rooms", ", ".join(f"{room} {n}" for room, n in sorted(
        rooms.items(), key=lambda pair: -pair[1])[:4])  # fmt: skip
    yield "arrows between rooms", len(arrows())
    yield "circles", len(circles())
    long, comments, named = 0, 0, 0
    tested: Counter[str] = Counter()
    for path, text in texts.items():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                long += node.end_lineno - node.lineno >= 60
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith("mpi_bench"):
            tested.update(type_tests(tree))
        if place != "swing/schedules/collectives.py":
            named += name_tests(tree)
        comments += sum(
            token.type == tokenize.COMMENT and "fmt:" not in token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
        )
    yield "functions over 60 lines", long
    yield "lines with a comment", f"{comments} ({100 * comments / lines:.1f} %)"
    by_word = ", ".join(f"{word} {n}" for word, n in tested.most_common())
    yield "isinstance tests of our classes", f"{tested.total()} ({by_word})"
    yield "collectives compared by name", named


def file_map() -> str:
    """Return the list for docs/architecture.md: each room's files, with their first lines."""
    lines = []
    for room in ROOMS:
        lines += [f"### {room}", ""]
        for path in sorted(modules().values()):
            docstring = ast.get_docstring(ast.parse(path.read_text()))
            if room_of(path) == room:
                title = docstring.splitlines()[0] if docstring else "(empty)"
                lines.append(f"- `{path.relative_to(ROOT).as_posix()}`: {title}")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Print the figures, or with ``--write`` renew the list of files in docs/architecture.md."""
    if sys.argv[1:] == ["--write"]:
        text = PAGE.read_text()
        start = text.index(MARK) + len(MARK)
        PAGE.write_text(text[:start] + "\n\n" + file_map())
        return
    for name, value in figures():
        print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
