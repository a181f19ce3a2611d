"""Rules for NCCL's tuner plugin, CSV: ``NCCL_TUNER_CONFIG_FILE=FILE`` with its example plugin.

Loses: Swing itself. NCCL can not be given a new algorithm this way, so a table names the best of
its own of the same kind: trees for small vectors, rings for large ones; low-latency protocol with
trees, the simple one with rings, and the number of channels is left to NCCL.

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
from swing.formats.rules import HALVES, MAX_RULES, RING, WHOLE, Rule, built_in, check, spans

COLLECTIVES = ("broadcast", "reduce", "allgather", "reducescatter", "allreduce")
ALGORITHMS = ("tree", "ring", "collnet_direct", "collnet_chain", "nvls", "nvls_tree", "pat")
PROTOCOLS = ("ll", "ll128", "simple")
KINDS = {WHOLE: "tree", HALVES: "ring", RING: "ring"}
LAST = 2**64 - 1
MAX_LINE = 255  # its reader cuts longer lines


def write(rules: Sequence[Rule], ranks: int) -> Iterator[str]:
    """The rules for communicators of some ranks; names are ours, or those of `ALGORITHMS`."""
    yield f"# Allreduce on {ranks} ranks, by torus-swing: the best of NCCL's own\n"
    yield "# collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks\n"
    for first, last, algorithm in spans(built_in(rules, KINDS, ALGORITHMS)):
        protocol = "ll" if algorithm == "tree" else "simple"
        end = LAST if last is None else last
        yield f"allreduce,{first},{end},{algorithm},{protocol},-1,-1,{ranks}\n"


def read(data: bytes, ranks: int) -> list[Rule]:
    """The rules for an allreduce on some ranks and any number of nodes.

    Raises:
        ValueError: what is no such file; NCCL itself takes nearly anything.
    """
    rules: list[Rule] = []
    end = -1
    for count, (number, line) in enumerate(limits.lines(limits.text(data))):
        if not line or line.startswith("#"):
            continue
        where, words = f"line {number}", [word.strip() for word in line.split(",")]
        if not 8 <= len(words) <= 10 or len(line) > MAX_LINE or count > MAX_RULES:
            raise ValueError(f"{where}: 8 to 10 fields, {MAX_LINE} characters, {MAX_RULES} lines")
        for word, known in zip(
            (words[0], *words[3:5]), (COLLECTIVES, ALGORITHMS, PROTOCOLS), strict=True
        ):
            if word not in known:
                raise ValueError(f"{where}: {limits.short(word)} is none of {', '.join(known)}")
        first = limits.whole(words[1], f"{where}: min_bytes")
        last = (
            LAST if words[2] == str(LAST) else limits.whole(words[2], f"{where}: max_bytes", first)
        )
        numbers = [limits.whole(w, f"{where}: a number", -1) for w in words[5:]]
        if words[0] != "allreduce" or numbers[2] not in (-1, ranks):
            continue
        if first != end + 1:
            raise ValueError(f"{where}: sizes from {end + 1} on come next, without gap or overlap")
        rules.append(Rule(first, words[3]))
        end = last
    if rules:
        check(rules)
    return rules
