"""Selection table for NCCL's example tuner plugin, in CSV: ``NCCL_TUNER_CONFIG_FILE=FILE``.

Loses: Swing itself. The plugin selects only among NCCL's own algorithms, so each rule names the one
of the same kind: trees for small vectors, rings for large ones. Trees get the low-latency protocol,
rings the simple one, and NCCL chooses the number of channels.

>>> from swing.formats.rules import Rule
>>> print("".join(write([Rule(0, "swing latency"), Rule(4096, "bucket")], 16)), end="")
# Allreduce on 16 ranks, by torus-swing: the best of NCCL's own
# collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks
allreduce,0,4095,tree,ll,-1,-1,16
allreduce,4096,18446744073709551615,ring,simple,-1,-1,16

Source: NCCL, plugins/tuner/example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swing.formats import limits
from swing.formats.rules import (
    DEFAULT,
    HALVES,
    MAX_RULES,
    RING,
    WHOLE,
    Rule,
    built_in,
    first_matches,
    spans,
)

COLLECTIVES = ("broadcast", "reduce", "allgather", "reducescatter", "allreduce")
ALGORITHMS = ("tree", "ring", "collnet_direct", "collnet_chain", "nvls", "nvls_tree", "pat")
PROTOCOLS = ("ll", "ll128", "simple")
KINDS = {WHOLE: "tree", HALVES: "ring", RING: "ring"}
LAST = 2**64 - 1  # the plugin's sizes are unsigned 64-bit integers
MAX_LINE = 255  # the plugin truncates longer lines


def write(rules: Sequence[Rule], ranks: int) -> Iterator[str]:
    """Yield the table for communicators of ``ranks`` ranks.

    Args:
        rules: the algorithm from each size on, named as in `swing.ALGORITHMS` or `ALGORITHMS`;
            `DEFAULT` leaves the choice to NCCL.
        ranks: size of the communicators that the rules apply to.

    Raises:
        ValueError: the rules are invalid.
    """
    yield f"# Allreduce on {ranks} ranks, by torus-swing: the best of NCCL's own\n"
    yield "# collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks\n"
    for first, last, algorithm in spans(built_in(rules, KINDS, (*ALGORITHMS, DEFAULT))):
        if algorithm == DEFAULT:  # NCCL chooses where no line applies
            continue
        protocol = "ll" if algorithm == "tree" else "simple"
        end = LAST if last is None else last
        yield f"allreduce,{first},{end},{algorithm},{protocol},-1,-1,{ranks}\n"


def read(
    data: bytes,
    ranks: int,
    nodes: int | None = None,
    pipe_ops: int | None = None,
    registered: bool | None = None,
) -> list[Rule]:
    """Read the rules for an allreduce.

    The first line that applies decides; where none does, NCCL chooses (`DEFAULT`). A line that is
    only for some number of nodes applies if ``nodes`` is that number, and likewise for the next
    two arguments. So without these, the rules are those that hold whatever they are.

    Args:
        data: the table.
        ranks: number of ranks.
        nodes: number of nodes.
        pipe_ops: number of operations in a pipeline.
        registered: whether the user's buffers are registered.

    Returns:
        The rules; an empty list if no line applies to any size.

    Raises:
        ValueError: the file is not such a table. This check is stricter than NCCL's reader.
    """
    actual = nodes, ranks, pipe_ops, None if registered is None else int(registered)
    entries = []
    for count, (where, line) in enumerate(limits.lines(limits.text(data))):
        words = [word.strip() for word in line.split(",")]
        # A spreadsheet may have written the names of the columns into the first line.
        if not line or line.startswith("#") or words[0] == "collective_type":
            continue
        if not 8 <= len(words) <= 10 or len(line) > MAX_LINE or count > MAX_RULES:
            raise ValueError(
                f"{where}: a line has 8 to 10 fields and up to {MAX_LINE} characters, "
                f"a file up to {MAX_RULES} lines"
            )
        for word, names in zip(
            (words[0], *words[3:5]), (COLLECTIVES, ALGORITHMS, PROTOCOLS), strict=True
        ):
            if word not in names:
                raise ValueError(f"{where}: {limits.short(word)} is not in {', '.join(names)}")
        first = limits.whole(words[1], f"{where}: min_bytes")
        last = (
            LAST
            if words[2] == str(LAST)
            else limits.whole(words[2], f"{where}: max_bytes", first, LAST)
        )
        _, *only = (limits.whole(w, f"{where}: a number", -1) for w in words[5:])
        applies = all(n in (-1, a) for n, a in zip(only, actual, strict=False))
        if words[0] == "allreduce" and applies:
            entries.append((first, last, words[3]))
    return first_matches(entries)
