"""Wrong command lines, at random: ``python -m tests.wrong_lines SEED COUNT``.

Each is a right one in which a few words are replaced, added, repeated or left out. It may work. If
it does not, its exit status is 2 and it prints one line of at most 300 characters to standard
error; an exit status of 1 means that `verify` found an error, or `mpi_bench` a wrong answer.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shlex
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import click

from netsim.__main__ import main as netsim
from swing.__main__ import main as swing
from swing.cli import invoke
from tests.wrong_calls import MAX_MESSAGE, MAX_SECONDS, Fault, report

SMALL = "--sizes 32B,1KiB"
LINES = [
    "swing show --topology torus:2x3 --algorithm swing --rank 1 --json",
    "swing show --topology torus:4 --algorithm ring --ports 1",
    "swing show --from ring.json",
    "swing verify --topology torus:2x3 --algorithm bucket,segments=2 --collective allgather",
    "swing export --topology torus:2x2 --algorithm ring --format goal --nbytes 64 --out out.goal",
    "swing export --topology torus:2x2 --format json --out out.json",
    "swing settings --json",
    "netsim simulate --topology torus:2x3 --algorithm swing --size 1KiB --model flow --ties split",
    "netsim simulate --from ring.json --topology torus:4 --sync local --parts free --seed 3",
    "netsim simulate --topology mesh:4 --links links.csv --step 1 --bandwidth 100 --json",
    f"netsim sweep --topology torus:4 --algorithm ring {SMALL} --jobs 1 --csv rows.csv --resume",
    f"netsim sweep --topology torus:2x2 --algorithm swing,ports=1 {SMALL} --prune 2 --jobs 1",
    f"netsim sweep --topology torus:2x3 --algorithm auto --wrap 1,0 --bandwidth 400,100 {SMALL}",
    "netsim simulate --topology torus:3x3 --slow 0-1=0.25 --fail 1-2 --latency 0.5us --json",
    f"netsim compare --topology torus:4 --latency 200 --fail 0-1 {SMALL} --most 1 --jobs 1",
    f"netsim compare --topology torus:4 {SMALL} --packets 64 --most 2 --keep 1.5 --jobs 1",
    f"netsim tune --topology torus:4 {SMALL} --most 1 --jobs 1 --out table.json",
    f"netsim report --topology torus:4 --algorithm ring {SMALL} --model analytic --out out.html",
    "netsim report --topology torus:4 --from ring.json --size 1KiB --sizes 32B --out out.html",
    "netsim plot given.csv --out figures --kind goodput",
]
"""Right command lines, in a folder with the files ring.json and given.csv."""

WORDS = [
    "", " ", "x", "-1", "0", "1", "7", "1e9", "nan", "inf", "-inf", "1" * 400, "x" * 10_000,
    "é☃", "a\nb", "torus:4", "torus:2x2", "torus:2x3", "torus:", "torus:0x4", "torus:4x",
    "torus:99999999999", "torus:1", "torus:2x2:wrap=1", "torus:2x2:wrap=1,0", "mesh:3",
    "hx2mesh:2x2", "hyperx:3", "ring", "swing", "all", "auto", "auto,ports=1", "swing,ports=9",
    "swing,variant=x", "bucket,", "bucket,segments=x", "ring,=", "ring,ports=1,ports=2",
    "swing,variant=hybrid,k=99", "recursive_multiplying,radices=2-x", "32B", "1KiB",
    "32B:1KiB:x2", "32B:1KiB:x1", "5:1:x2", "2EiB", "1e3B", "-5B", ",", "32B,", "analytic",
    "packet", "json", "goal", "msccl", "chakra", "openmpi", "allreduce", "allgather",
    "alltoall", "broadcast", "no such file", ".", "/", "/dev/null", "ring.json", "given.csv",
    "no/folder/x", "x\0y", "--json", "--help", "--", "-", "--size", "--topology",
    "1,0", "1,1,0", "400,100", "0.5us", "5 parsecs", "0-1", "0-1=0.25", "0→1=0.5", "0-5",
    "0-1=0", "--wrap", "--bandwidth", "--latency", "--slow", "--fail", "--ties",
    "--algorithm", "--from", "--out", "--root", "--unknown", "show", "simulate",
]  # fmt: skip
"""Words to put into a command line."""


def wrong_lines(seed: int, count: int) -> list[Fault]:
    """Run some random command lines; return those that did not end as they should."""
    rng = random.Random(seed)
    before = os.getcwd()
    faults = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        os.chdir(folder)
        try:
            _prepare()
            for _ in range(count):
                words = _mutated(rng, shlex.split(rng.choice(LINES)))
                if what := _outcome(words):
                    faults.append(Fault(" ".join(words[:2]), what, shlex.join(words)[:200]))
                _prepare()
        finally:
            os.chdir(before)
    return faults


def _prepare() -> None:
    """Write the files that the command lines read, unless they are there."""
    if not Path("ring.json").exists():
        _run(shlex.split("swing export --topology torus:4 --algorithm ring --format json "
                         "--out ring.json"))  # fmt: skip
    if not Path("given.csv").exists():
        _run(shlex.split(f"netsim sweep --topology torus:4 --algorithm ring {SMALL} --jobs 1 "
                         "--csv given.csv"))  # fmt: skip


def _mutated(rng: random.Random, words: list[str]) -> list[str]:
    """Change some words behind the name of the program."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(1, len(words))
        change = rng.choice(["replace", "replace", "replace", "insert", "repeat", "remove"])
        if change == "replace":
            words[at] = rng.choice(WORDS)
        elif change == "insert":
            words.insert(at, rng.choice(WORDS))
        elif change == "repeat":
            words[at:at] = words[at : at + 2]
        elif len(words) > 2:
            del words[at]
    return words


def _run(words: list[str]) -> tuple[int, str]:
    """Run a command line in this process; return its exit status and standard error."""
    program, name = (swing, "python -m swing") if words[0] == "swing" else (netsim, "netsim")
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = invoke(program, name, words[1:])
    return status, errors.getvalue()


def _outcome(words: list[str]) -> str:
    """Run a command line; return what is wrong with the way it ended, or nothing."""
    start = time.process_time()
    try:
        status, errors = _run(words)
    except click.exceptions.Exit:
        return ""
    except BaseException as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {at.name} ({at.filename}:{at.lineno})"
    if (seconds := time.process_time() - start) > MAX_SECONDS:
        return f"took {seconds:.0f} s"
    lines = errors.splitlines()
    if status == 2 and not (len(lines) == 1 and 5 < len(lines[0]) <= MAX_MESSAGE):
        return f"status 2 with {len(lines)} lines: {errors[:60]!r}"
    return "" if status in (0, 2) or (status == 1 and words[1] == "verify") else f"status {status}"


if __name__ == "__main__":
    report(wrong_lines, "command lines")
