"""Selection table for MPICH, in JSON: ``MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE=FILE``.

The file replaces MPICH's whole table, and MPICH aborts at a collective that the file lacks. So the
new table is a copy of MPICH's own (``maint/tuning/coll/mpir/generic.json`` in its sources, or
the one built into libmpi.so) with new rules for one case: an allreduce with a built-in operation on
communicators of exactly the given size. In that case, vectors with fewer elements than the largest
power of two up to the number of ranks use recursive doubling, and sizes above 2 GiB - 1 follow the
rule for 2 GiB - 1. The format is internal to MPICH and may change; this module follows versions 4
and 5.

Loses: Swing itself. MPICH selects only among its built-in algorithms, so each rule names the one of
the same kind.

Source: MPICH, src/mpi/coll/src/csel.c.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from swing.formats import limits
from swing.formats.rules import HALVES, RING, WHOLE, Rule, built_in, check, merged, spans

_PREFIX = "MPIR_Allreduce_intra_"
ALGORITHMS = (
    "smp", "recursive_doubling", "recursive_multiplying", "reduce_scatter_allgather", "tree",
    "recexch", "ring", "k_reduce_scatter_allgather", "ccl",
)  # fmt: skip
KINDS = {WHOLE: "recursive_doubling", HALVES: "reduce_scatter_allgather", RING: "ring"}
MAX_BYTES = 2**31 - 1  # MPICH parses bounds as C ints
MAX_NODES = 100_000
_BOUND = re.compile(
    r"(comm_size|avg_msg_size|total_msg_size|per_proc_msg_size|comm_avg_ppn|count)(<=|<)([0-9]+)"
)
_COLLECTIVES = (
    "bcast", "allreduce", "reduce", "reduce_scatter", "reduce_scatter_block", "allgather",
    "allgatherv", "gather", "gatherv", "scatter", "scatterv", "alltoall", "alltoallv", "alltoallw",
    "scan", "exscan", "barrier",
)  # fmt: skip
_NEIGHBORS = tuple(
    f"neighbor_{name}" for name in ("allgather", "allgatherv", "alltoall", "alltoallv", "alltoallw")
)
_TRUE = (
    "comm_type=intra", "is_commutative=yes", "is_op_built_in=yes", "is_sendbuf_inplace=no",
    "is_multi_threaded=no", "comm_hierarchy=flat", "is_block_regular=yes",
    "is_node_consecutive=yes",
)  # fmt: skip
"""The conditions that hold for the allreduce that `read` asks about: one rank per node, a large
vector, separate send and receive buffers, a built-in operation."""
_FALSE = (
    "comm_type=inter", "is_commutative=no", "is_op_built_in=no", "is_sendbuf_inplace=yes",
    "is_multi_threaded=yes", "comm_hierarchy=parent", "comm_hierarchy=node",
    "comm_hierarchy=node_roots", "comm_size=node_comm_size", "count<pow2", "is_block_regular=no",
    "is_node_consecutive=no",
)  # fmt: skip
"""The conditions that do not hold for it."""


def write(rules: Sequence[Rule], ranks: int, base: bytes) -> Iterator[str]:
    """Yield the table as JSON.

    Args:
        rules: the algorithm from each size on, named as in `swing.ALGORITHMS` or `ALGORITHMS`.
        ranks: size of the communicators that the rules apply to.
        base: the contents of MPICH's own table, or of its libmpi.so.

    Raises:
        ValueError: the rules are invalid, or ``base`` contains no table of MPICH.
    """
    table = _table(base)
    _check_generic(table)
    default = table["collective=allreduce"].get("comm_type=intra")
    if not isinstance(default, dict):
        raise ValueError("MPICH's own table has no allreduce for intracommunicators")
    sizes: dict[str, Any] = {}
    for first, last, algorithm in spans(built_in(rules, KINDS, ALGORITHMS)):
        end = last is None or last >= MAX_BYTES
        if first <= MAX_BYTES:
            sizes["avg_msg_size=any" if end else f"avg_msg_size<={last}"] = _leaf(algorithm)
    ours = {
        "is_op_built_in=no": default,
        "is_op_built_in=yes": {"count<pow2": _leaf("recursive_doubling"), "count=any": sizes},
    }
    # MPICH takes the first key that holds, so only communicators of exactly `ranks` reach `ours`.
    intra = {f"comm_size<{ranks}": default, f"comm_size<={ranks}": ours, "comm_size=any": default}
    allreduce = table["collective=allreduce"] | {"comm_type=intra": intra}
    yield json.dumps(table | {"collective=allreduce": allreduce}, indent=1) + "\n"


def read(data: bytes, ranks: int) -> list[Rule]:
    """Read the rules for an allreduce on ``ranks`` ranks, each on its own node.

    Raises:
        ValueError: the file is not a table of MPICH, or has a key unknown for an allreduce.
    """
    tree = _table(data)["collective=allreduce"]
    found = [bound for word in _keys(tree) if (bound := _BOUND.fullmatch(word))]
    bounds = [(bound[1], int(bound[3]) + (bound[2] == "<=")) for bound in found]
    # The choice can only change at a bound, so it is enough to look it up at those sizes.
    each = {
        "avg_msg_size": 1,
        "per_proc_msg_size": 1,
        "total_msg_size": ranks,
    }  # the bound is for so many ranks
    firsts = {0, *(-(-bound // each[word]) for word, bound in bounds if word in each)}
    rules = merged(Rule(first, _search(tree, ranks, first)) for first in sorted(firsts))
    check(rules)
    return rules


def inside(library: bytes) -> bytes:
    """Find the table that is compiled into a libmpi.so, as a JSON string.

    Raises:
        ValueError: the library contains no such table.
    """
    for match in re.finditer(rb'\{"collective=[ -~]{1000,1000000}', library):
        if b'"algorithm=MPIR_Allreduce_intra_' in match[0]:
            return match[0]
    raise ValueError("the library contains no selection table of MPICH: pass generic.json instead")


def _table(data: bytes) -> dict[str, Any]:
    """Parse a table of all collectives, and check that it has an allreduce."""
    table = limits.parse_json(inside(data) if data[:4] == b"\x7fELF" else data)
    if not isinstance(table, dict) or not isinstance(table.get("collective=allreduce"), dict):
        raise ValueError('the file is not a table of MPICH: it has no "collective=allreduce"')
    return table


def _check_generic(table: dict[str, Any]) -> None:
    """Refuse MPICH's other tables: with one of them in place of generic.json, MPI_Init aborts."""
    for name in _COLLECTIVES:
        if f"collective={name}" not in table:
            raise ValueError(
                f"the base has no collective={name}: pass MPICH's generic.json or its libmpi.so"
            )
    for key, tree in table.items():
        name = key.replace(" ", "").removeprefix("collective=")
        if name.removeprefix("i") not in (*_COLLECTIVES, *_NEIGHBORS):
            raise ValueError(f"the base has an unknown collective {limits.short(key)}")
        for word in _keys(tree):
            if _is_leaf(word) and not word.lower().startswith(f"algorithm=mpir_{name}_"):
                raise ValueError(
                    f"the base has {limits.short(word)} for {name}, an algorithm of another "
                    "collective or of another layer of MPICH: pass generic.json"
                )


def _leaf(algorithm: str) -> dict[str, Any]:
    return {f"algorithm={_PREFIX}{algorithm}": {}}


def _keys(tree: Any) -> Iterator[str]:
    """Yield the keys of a tree, without blanks, down to the algorithms.

    Raises:
        ValueError: a key that MPICH does not know, or a branch that does not cover all cases.
    """
    branches = [tree]
    nodes = 0
    while branches:
        branch = branches.pop()
        if not isinstance(branch, dict) or not branch:
            raise ValueError("a branch of the table has no key")
        words = [key.replace(" ", "") for key in branch]
        nodes += len(words)
        if nodes > MAX_NODES:
            raise ValueError(f"the table has more than {MAX_NODES} keys: too many")
        if _is_leaf(words[0]):
            yield words[0]
            continue
        for word in words:
            bound = _BOUND.fullmatch(word)
            if bound:
                limits.whole(bound[3], f"the bound in {limits.short(word)}", 0, MAX_BYTES)
            elif word not in (*_TRUE, *_FALSE, "comm_size=pow2") and not word.endswith("=any"):
                raise ValueError(f"the table has an unknown key {limits.short(word)}")
            # MPICH aborts unless a bound is followed by another key, and "any" is the last one.
            if (word is words[-1] and bound) or (word is not words[-1] and word.endswith("=any")):
                raise ValueError(
                    f"after {limits.short(word)} the table needs "
                    f"{'another key, such as' if bound else 'no further key: end with'} any"
                )
            yield word
        branches += branch.values()


def _is_leaf(word: str) -> bool:
    return word.startswith(("algorithm=", "composition="))


def _search(tree: dict[str, Any], ranks: int, nbytes: int) -> str:
    """Return the algorithm that MPICH selects: it descends into the first key that holds."""
    value = {"comm_size": ranks, "avg_msg_size": nbytes, "total_msg_size": nbytes * ranks}
    # A count above every possible bound, because `_FALSE` describes a large vector.
    value |= {"per_proc_msg_size": nbytes, "comm_avg_ppn": 1, "count": MAX_BYTES + 1}
    holds: dict[str, Callable[[int, int], bool]] = {"<": int.__lt__, "<=": int.__le__}
    for key, below in tree.items():
        word = key.replace(" ", "")
        if _is_leaf(word):
            return limits.name(word.partition("=")[2].removeprefix(_PREFIX), "an algorithm")
        if bound := _BOUND.fullmatch(word):
            condition = holds[bound[2]](value[bound[1]], int(bound[3]))
        else:
            pow2 = word == "comm_size=pow2" and ranks & (ranks - 1) == 0
            condition = pow2 or word in _TRUE or word.endswith("=any")
        if condition:
            return _search(below, ranks, nbytes)
    raise ValueError(f"the table has nothing for an allreduce of {nbytes} bytes on {ranks} ranks")
