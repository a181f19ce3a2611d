"""Mutated files for every importer: ``python -m tests.fuzz [FORMAT …] [--count N] [--seed S]``.

Whatever comes, a reader gives a schedule (or rules), or raises ValueError in one line. Prints how
many of each, the longest time of one file, and the most memory that the process has used.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import signal
import time
from functools import partial

import swing
from swing.formats import (
    chakra,
    goal,
    mpich,
    msccl,
    msccl_reader,
    native_json,
    nccl,
    openmpi,
    smpi,
    steps,
)
from swing.formats.rules import Rule
from tests.test_formats import FOREIGN, GENERIC, PIPELINE, element
from tests.test_msccl import all_to_all_by_relay, one_pass, ring_allreduce, two_steps
from tests.test_tables import JSON, NCCL, VERSION_2
from tests.test_traces import EMPTY, EXCHANGES

LIMIT = 20  # seconds of processor time for one file, which needs milliseconds: else it hangs
TOKENS = [
    b"0", b"-1", b"1", b"2", b"9" * 9, b"9" * 25, b"1e999", b"NaN", b"null", b"true", b"[]", b"{}",
    b'"', b"\\", b"[" * 99, b"<", b"<!DOCTYPE a>", b"&b;", b"/*", b"//", b"#", b"\n", b"\r",
    b"\x00", b"\xff" * 9, b"\x80" * 9 + b"\x01", b" ", b",", b":", b"rank 0 {", b"requires",
    b"waitall", b"65536", b"2147483648", b"9007199254740993",
]  # fmt: skip
RULES = [Rule(0, "swing latency"), Rule(4096, "swing hybrid"), Rule(2**24, "bucket")]


def small():
    """Schedules with all that files can have."""
    torus = swing.Torus((2, 3), wrap=(True, False), coords=[[x % 2, x // 2] for x in range(6)])
    yield swing.schedule("swing", swing.Torus(4))
    yield swing.schedule("swing", torus)
    yield swing.schedule("swing", swing.Torus((2, 2)), variant="latency")
    yield swing.schedule("bucket", swing.Torus((2, 3)), collective="reduce_scatter")


def whole(pieces):
    return "".join(pieces).encode()


def chakra_files(schedule):
    """The files of all ranks as one, each after its length in decimal."""
    files = chakra.write(schedule, 99)
    return b"".join(b"%d\n%s" % (len(file), file) for file in files)


def read_chakra(data, eager_limit=None):
    files, at = [], 0
    while found := re.compile(rb"(\d{1,6})\n").match(data, at):
        at = found.end() + int(found[1])
        files.append(data[found.end() : at])
    return chakra.read(files, eager_limit=eager_limit)


def seeds(format):
    """Good files."""
    made = list(small())
    fused = PIPELINE.format(a=element(0, "s") + element(1, "r"), b=element(0, "rrcs")).encode()
    foreign = [fused, one_pass(3), two_steps(3), ring_allreduce(3, "rrs"), all_to_all_by_relay()]
    return {
        "json": lambda: [whole(native_json.write(s)) for s in made],
        "msccl": lambda: [whole(msccl.write(s)) for s in made[:3]] + foreign,
        "steps": lambda: [whole(steps.write(s, 99)) for s in made] + [FOREIGN["steps"]],
        "goal": lambda: [
            *(whole(goal.write(s, 99)) for s in made[:2]),
            *[FOREIGN["goal"], EMPTY["goal"]] * 2,
        ],
        "smpi": lambda: [
            *(whole(smpi.write(s, 99)) for s in made[:2]),
            *[FOREIGN["smpi"], EXCHANGES] * 2,
        ],
        "chakra": lambda: [chakra_files(s) for s in made[:3]],
        "mpich": lambda: [GENERIC, whole(mpich.write(RULES, 16, GENERIC))],
        "openmpi": lambda: [whole(openmpi.write(RULES, 16)), VERSION_2, JSON],
        "nccl": lambda: [whole(nccl.write(RULES, 16)), NCCL],
    }[format]()


def by_rendezvous(read, data):
    """Read a trace with an eager limit, or without one if its size is even."""
    return read(data, eager_limit=8 if len(data) % 2 else None)


READERS = {
    "json": native_json.read, "msccl": msccl_reader.read, "steps": steps.read,
    "goal": partial(by_rendezvous, goal.read), "smpi": partial(by_rendezvous, smpi.read),
    "chakra": partial(by_rendezvous, read_chakra), "mpich": partial(mpich.read, ranks=16),
    "openmpi": partial(openmpi.read, ranks=16, nodes=1),
    "nccl": partial(nccl.read, ranks=16, nodes=4),
}  # fmt: skip


def mutated(data, others, dice):
    """A file with one to four things wrong with it."""
    data = bytearray(data)
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.choice([1, 1, 2, 8, 64, 1000]))
        way = dice.randrange(7)
        if way == 0:
            data[at:end] = bytes(dice.randrange(256) for _ in data[at:end])
        elif way == 1:
            del data[at:end]
        elif way == 2:
            data[at:at] = data[at:end] * dice.choice([1, 2, 50])
        elif way == 3:
            data[at:at] = dice.choice(TOKENS)
        elif way == 4:  # another number
            numbers = list(re.finditer(rb"\d+", data))
            if numbers:
                found = dice.choice(numbers)
                new = dice.choice([b"%d" % dice.randrange(20), dice.choice(TOKENS)])
                data[found.start() : found.end()] = new
        elif way == 5:  # lines or fields change places
            cut = dice.choice([b"\n", b",", b" "])
            pieces = bytes(data).split(cut)
            a, b = dice.randrange(len(pieces)), dice.randrange(len(pieces))
            pieces[a], pieces[b] = pieces[b], pieces[a]
            data = bytearray(cut.join(pieces))
        else:
            other = dice.choice(others)
            start = dice.randrange(len(other) + 1)
            data[at:end] = other[start : start + dice.choice([1, 10, 300])]
    return bytes(data)


def use(found):
    """What a reader gives has to be of use, if only to be found wrong."""
    if isinstance(found, list):
        assert all(isinstance(rule, Rule) for rule in found)
        return
    assert sum(len(step) for step in found) < 10**7
    if found.collective != "traffic" and found.torus.size * found.nblocks < 10**5:
        try:
            swing.verify(found)
        except swing.ScheduleError:
            return
    elif found.is_traffic:
        assert whole(steps.write(found, found.nblocks))


def hangs(number, frame):
    """What happens after `LIMIT` seconds."""
    raise TimeoutError(f"no end after {LIMIT} s")


def fuzz(format, count, seed=0):
    """Read mutated files: how many were taken, how many refused, the longest seconds of one."""
    good, dice, read = seeds(format), random.Random(f"{format} {seed}"), READERS[format]
    taken = refused = 0
    longest = 0.0
    signal.signal(signal.SIGPROF, hangs)
    for data in good:
        use(read(data))
    for _ in range(count):
        data = mutated(dice.choice(good), good, dice)
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        start, what = time.process_time(), ""
        try:
            use(read(data))
            taken += 1
        except ValueError as error:
            refused += 1
            what = str(error)
        except BaseException:
            print(f"{format}: {data!r}")
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        assert "\n" not in what, (format, data, what)
        assert len(what) <= 300, (format, data, what)
        longest = max(longest, time.process_time() - start)
    return {"format": format, "taken": taken, "refused": refused, "longest_s": round(longest, 3)}


def main():
    """Print a line of JSON a format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("formats", nargs="*", default=list(READERS))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    for format in words.formats:
        found = fuzz(format, words.count, words.seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps(found | {"peak_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
