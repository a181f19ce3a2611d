"""Selection table for Open MPI's ``tuned`` collectives, in the format that all its versions read.

    mpirun --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_dynamic_rules_filename FILE

Open MPI uses the rules of the largest communicator size in the file that does not exceed the actual
one, so the file has a second size, one larger, that restores the defaults for larger communicators.
On a single node another component of Open MPI may take precedence over ``tuned``.

Loses: Swing itself. Open MPI selects only among its own algorithms, so each rule names the one of
the same kind, by number.

>>> from swing.formats.rules import Rule
>>> print("".join(write([Rule(0, "swing latency"), Rule(4096, "bucket")], 16)), end="")
# Allreduce on 16 ranks, by torus-swing: bytes, algorithm, fanout, segment size
1 # collective
2 # allreduce
2 # communicator sizes
16
2 # rules
0 3 0 0 # recursive_doubling
4096 4 0 0 # ring
17
1 # rules
0 0 0 0 # default

Source: Open MPI, docs/tuning-apps/collectives/tuned.rst and coll_tuned_dynamic_file.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from swing.formats import limits
from swing.formats.rules import (
    DEFAULT,
    HALVES,
    MAX_RULES,
    RING,
    WHOLE,
    Rule,
    built_in,
    check,
    first_matches,
)

ALGORITHMS = (
    DEFAULT, "basic_linear", "nonoverlapping", "recursive_doubling", "ring", "segmented_ring",
    "rabenseifner", "allgather_reduce",
)  # fmt: skip
KINDS = {WHOLE: "recursive_doubling", HALVES: "rabenseifner", RING: "ring"}
COLLECTIVES = (
    "allgather", "allgatherv", "allreduce", "alltoall", "alltoallv", "alltoallw", "barrier",
    "bcast", "exscan", "gather", "gatherv", "reduce", "reducescatter", "reducescatterblock",
    "scan", "scatter", "scatterv", "neighbor_allgather", "neighbor_allgatherv",
    "neighbor_alltoall", "neighbor_alltoallv", "neighbor_alltoallw",
)  # fmt: skip
ALLREDUCE = COLLECTIVES.index("allreduce")
_VERSION = re.compile(r"rule-file-version-([0-9]{1,9})")
_LAST_COMMA = re.compile(rb'("(?:[^"\\]++|\\.)*+"?)|,(?=\s*[}\]])', re.DOTALL)
_DISTRIBUTIONS = ("any", "one-per-node", "single-node")
# The fields of the objects in JSON, and whether they are required.
_HEAD = {"$schema": False, "rule_file_version": False, "module": False, "collectives": True}
_COMMUNICATOR = dict.fromkeys(("comm_size_min", "comm_size_max", "comm_rank_distribution"), False)
_COMMUNICATOR |= {"rules": True}
_MESSAGE = dict.fromkeys(("msg_size_min", "msg_size_max", "faninout", "seg_size", "reqs"), False)
_MESSAGE |= {"alg": True, "segsize": False}  # Open MPI's converter of older files writes segsize


def write(rules: Sequence[Rule], ranks: int) -> Iterator[str]:
    """Yield the table for communicators of ``ranks`` ranks.

    Args:
        rules: the algorithm from each size on, named as in `swing.ALGORITHMS` or `ALGORITHMS`.
        ranks: size of the communicators that the rules apply to.

    Raises:
        ValueError: the rules are invalid.
    """
    rows = built_in(rules, KINDS, ALGORITHMS)
    yield (
        f"# Allreduce on {ranks} ranks, by torus-swing: bytes, algorithm, fanout, segment size\n"
        f"1 # collective\n{ALLREDUCE} # allreduce\n2 # communicator sizes\n"
    )
    for size, size_rules in ((ranks, rows), (ranks + 1, [Rule(0, "default")])):
        yield f"{size}\n{len(size_rules)} # rules\n"
        yield "".join(
            f"{r.first} {ALGORITHMS.index(r.algorithm)} 0 0 # {r.algorithm}\n" for r in size_rules
        )


def read(data: bytes, ranks: int, nodes: int | None = None) -> list[Rule]:
    """Read the rules for an allreduce on ``ranks`` ranks; an empty list if the file has none.

    Three formats are read: the one that `write` writes, the same with ``rule-file-version-2`` in
    its first line, where a rule may end with a maximum number of requests, and the JSON of
    Open MPI 6.0. In JSON, sizes that no rule covers have the algorithm ``default``.

    Args:
        data: the table.
        ranks: size of the communicator.
        nodes: number of nodes. Without it, rules that are only for some distribution of the ranks
            over nodes do not apply.

    Raises:
        ValueError: the file is not such a table.
    """
    if data.lstrip()[:1] == b"{":
        return _read_json(data, ranks, nodes)
    numbers = _Numbers(data)
    allreduce: dict[int, list[Rule]] = {}
    for _ in range(numbers.next("the number of collectives", 100)):
        collective = numbers.next("a collective", 100)
        sizes: dict[int, list[Rule]] = {}
        largest = -1
        for _ in range(numbers.next("the number of communicator sizes", MAX_RULES)):
            size = numbers.next("a communicator size", least=largest + 1)
            sizes[size], largest = [], size
            for _ in range(numbers.next("the number of rules", MAX_RULES)):
                first = numbers.next("bytes")
                algorithm = numbers.next("an algorithm", 100)
                for what in ("a fanout", "a segment size"):
                    numbers.next(what)
                if numbers.version > 1 and numbers.on_this_line():
                    numbers.next("a maximum number of requests")
                named = collective == ALLREDUCE  # other collectives number their own algorithms
                if named and algorithm >= len(ALGORITHMS):
                    raise ValueError(f"allreduce has no algorithm {algorithm}")
                sizes[size].append(Rule(first, ALGORITHMS[algorithm] if named else str(algorithm)))
            if sizes[size]:
                check(sizes[size])
        if collective == ALLREDUCE:
            allreduce = sizes
    if numbers.left:
        raise ValueError("the file has text after its last rule")
    return allreduce.get(max((s for s in allreduce if s <= ranks), default=-1), [])


class _Numbers:
    """The numbers of a file, read one after the other; comments begin with #.

    Attributes:
        version: the version that the first line names, else 1.
        left: the numbers that have not been read, the next one last, each after its line.
        line: where the last number was read.
    """

    def __init__(self, data: bytes) -> None:
        text = limits.text(data)
        head = _VERSION.match(text)
        self.version = limits.whole(head[1], "the version", 1, 2) if head else 1
        lines = limits.lines(text[head.end() :] if head else text)
        words = [(where, w) for where, line in lines for w in line.partition("#")[0].split()]
        self.left, self.line = words[::-1], ""

    def next(self, what: str, most: int = limits.MAX_INTEGER, least: int = 0) -> int:
        """Return the next number, which is ``what``."""
        if not self.left:
            raise ValueError(f"the file ends before {what}")
        self.line, word = self.left.pop()
        return limits.whole(word, f"{self.line}: {what}", least, most)

    def on_this_line(self) -> bool:
        """Return whether the next number is on the line of the last one."""
        return bool(self.left) and self.left[-1][0] == self.line


def _read_json(data: bytes, ranks: int, nodes: int | None) -> list[Rule]:
    """Read the rules in JSON: the first communicator rule that applies, then its message rules."""
    # Open MPI allows a comma after the last entry, and its manual has some.
    document = limits.parse_json(_LAST_COMMA.sub(lambda match: match[1] or b"", data))
    head = limits.fields(document, "the file", _HEAD)
    for key, right in (("rule_file_version", 3), ("module", "tuned")):
        if head.get(key, right) != right:
            raise ValueError(f"{key} must be {right!r}, not {limits.short(head[key])}")
    known = dict.fromkeys(COLLECTIVES, False)
    collectives = limits.fields(head["collectives"], "collectives", known)
    values = limits.array(collectives.get("allreduce", []), "allreduce")
    rules = [_communicator_rule(v, f"communicator rule {i + 1}") for i, v in enumerate(values)]
    for low, high, distribution, entries in rules:
        needed = {"any": nodes, "one-per-node": ranks, "single-node": 1}[distribution]
        if low <= ranks <= high and needed == nodes:
            return first_matches(entries)
    return []


def _communicator_rule(value: Any, where: str) -> tuple[int, int, str, list[tuple[int, int, str]]]:
    """Return the sizes and the distribution that a rule is for, and its message rules."""
    rule = limits.fields(value, where, _COMMUNICATOR)
    low, high = (_size(rule, f"comm_size_{end}", where) for end in ("min", "max"))
    distribution = rule.get("comm_rank_distribution", "any")
    if not isinstance(distribution, str) or distribution not in _DISTRIBUTIONS:
        raise ValueError(f"{where}: a distribution is one of {', '.join(_DISTRIBUTIONS)}")
    rows = limits.array(rule["rules"], f"{where}: rules")
    entries = [_message_rule(row, f"{where}, rule {j + 1}") for j, row in enumerate(rows)]
    return low, high, distribution, [entry for entry in entries if entry]


def _message_rule(value: Any, where: str) -> tuple[int, int, str] | None:
    """Return the sizes and the algorithm of a message rule; None if Open MPI ignores it."""
    rule = limits.fields(value, where, _MESSAGE)
    first, last = (_size(rule, f"msg_size_{end}", where) for end in ("min", "max"))
    algorithm = rule["alg"]
    if type(algorithm) not in (int, str):
        raise ValueError(f"{where}: alg is a number or a name, not {limits.short(algorithm)}")
    names = ["ignore", *ALGORITHMS[1:]]
    number = names.index(algorithm) if algorithm in names else algorithm
    # Other versions of Open MPI may have other algorithms.
    if first > last or number not in range(len(ALGORITHMS)):
        return None
    return first, last, ALGORITHMS[int(number)]


def _size(rule: dict[str, Any], key: str, where: str) -> int:
    """Return a bound on the size of a communicator or a message."""
    value = rule.get(key, 0 if key.endswith("min") else "inf")
    if isinstance(value, str) and value[:3] in ("inf", "Inf", "INF"):
        return limits.MAX_INTEGER
    return limits.number(value, f"{where}: {key}")
