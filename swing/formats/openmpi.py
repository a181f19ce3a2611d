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

Source: Open MPI, docs/tuning-apps/collectives/tuned.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swing.formats import limits
from swing.formats.rules import HALVES, MAX_RULES, RING, WHOLE, Rule, built_in, check

ALGORITHMS = (
    "default", "basic_linear", "nonoverlapping", "recursive_doubling", "ring", "segmented_ring",
    "rabenseifner", "allgather_reduce",
)  # fmt: skip
KINDS = {WHOLE: "recursive_doubling", HALVES: "rabenseifner", RING: "ring"}
ALLREDUCE = 2  # Open MPI's number of the collective


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


def read(data: bytes, ranks: int) -> list[Rule]:
    """Read the rules for an allreduce on ``ranks`` ranks; an empty list if the file has none.

    Raises:
        ValueError: the file is not such a table.
    """
    numbers = _numbers(data)

    def next_number(what: str, most: int = limits.MAX_INTEGER) -> int:
        where, word = next(numbers, ("", ""))
        if not word:
            raise ValueError(f"the file ends before {what}")
        return limits.whole(word, f"{where}: {what}", 0, most)

    allreduce: dict[int, list[Rule]] = {}
    for _ in range(next_number("the number of collectives", 100)):
        collective = next_number("a collective", 100)
        sizes: dict[int, list[Rule]] = {}
        for _ in range(next_number("the number of communicator sizes", MAX_RULES)):
            size = next_number("a communicator size")
            if size <= max(sizes, default=-1):
                raise ValueError(f"communicator sizes must ascend: {size} does not")
            sizes[size] = []
            for _ in range(next_number("the number of rules", MAX_RULES)):
                first = next_number("bytes")
                algorithm = next_number("an algorithm", 100)
                next_number("a fanout"), next_number("a segment size")
                named = collective == ALLREDUCE  # other collectives number their own algorithms
                if named and algorithm >= len(ALGORITHMS):
                    raise ValueError(f"allreduce has no algorithm {algorithm}")
                sizes[size].append(Rule(first, ALGORITHMS[algorithm] if named else str(algorithm)))
            if sizes[size]:
                check(sizes[size])
        if collective == ALLREDUCE:
            allreduce = sizes
    for _ in numbers:
        raise ValueError("the file has text after its last rule")
    return allreduce.get(max((s for s in allreduce if s <= ranks), default=-1), [])


def _numbers(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the line and text of each number; comments begin with #."""
    for where, line in limits.lines(limits.text(data)):
        for word in line.partition("#")[0].split():
            yield where, word
