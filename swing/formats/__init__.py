"""Read and write schedules as files, in our own JSON and in the formats of other tools.

Each module holds one format; `read` and `write` choose it by name. Only "json" keeps all of a
schedule: the docstring of every other module lists what its format loses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from numbers import Integral
from pathlib import Path

from swing.checks import expect, shown, shown_path, unknown
from swing.formats import (
    chakra,
    goal,
    limits,
    mpich,
    msccl,
    msccl_reader,
    native_json,
    nccl,
    openmpi,
    simgrid,
    smpi,
    steps,
)
from swing.formats.files import store
from swing.formats.rules import Rule
from swing.schedules.schedule import Schedule, expect_schedule
from swing.torus import Torus

FORMATS = {
    "json": "this library's own, which holds everything",
    "msccl": "XML for MSCCL and RCCL",
    "steps": "plain text, step src dst bytes",
    "goal": "programs for LogGOPSim",
    "smpi": "a time-independent trace for SimGrid",
    "chakra": "execution traces for ASTRA-sim, one file per rank",
    "simgrid-platform": "the torus for SimGrid",
    "simgrid-hosts": "the host of each rank, for SimGrid",
}
TABLES = {
    "mpich": "selection JSON for MPICH",
    "openmpi": "selection rules for Open MPI",
    "nccl": "selection CSV for NCCL's tuner",
}
SUFFIXES = {
    ".json": "json", ".xml": "msccl", ".txt": "steps", ".goal": "goal", ".ti": "smpi",
    ".et": "chakra",
}  # fmt: skip
"""The format that each file name suffix stands for."""

__all__ = ["FORMATS", "SUFFIXES", "TABLES", "Rule", "format_of", "read", "table", "text", "write"]


def text(schedule: Schedule, format: str, nbytes: int | None = None) -> Iterator[str]:
    """Yield a schedule as text, piece by piece.

    Args:
        schedule: the schedule to write.
        format: a key of `FORMATS` other than "chakra", which needs one file per rank.
        nbytes: size of the vector that one rank holds in bytes, for the formats with message
            sizes: steps, goal, smpi. What was read from a trace has a size of its own.

    Raises:
        ValueError: the format is unknown or cannot express the schedule, or ``nbytes`` is missing.
    """
    if format == "json":
        return native_json.write(schedule)
    if format == "msccl":
        return msccl.write(schedule)
    if format == "simgrid-platform":
        return simgrid.platform(schedule.torus)
    if format == "simgrid-hosts":
        return simgrid.hosts(schedule.torus)
    writers = {"steps": steps.write, "goal": goal.write, "smpi": smpi.write}
    if format not in writers:
        raise unknown("text format", format, FORMATS)
    return writers[format](schedule, _size(schedule, nbytes))


def table(
    rules: Sequence[Rule], format: str, ranks: int, base: bytes | None = None
) -> Iterator[str]:
    """Yield a selection table for another library, piece by piece.

    Args:
        rules: the algorithm for each range of sizes, as `swing.formats.rules.chosen` returns them.
        format: a key of `TABLES`.
        ranks: size of the communicators that the table applies to.
        base: for "mpich", the contents of its own table or of its libmpi.so: see
            `swing.formats.mpich`.

    Raises:
        ValueError: the rules do not ascend from 0 bytes, name an unknown algorithm, or ``base``
            is missing, or ``ranks`` is not a whole number from 1 up.
    """
    if not isinstance(ranks, Integral) or ranks < 1:
        raise ValueError(f"ranks is the size of a communicator, 1 or more, not {shown(ranks)}")
    if format == "mpich":
        if base is None:
            raise ValueError(
                "the file replaces MPICH's whole table: pass base, its own table or its libmpi.so"
            )
        return mpich.write(rules, ranks, base)
    if format not in TABLES:
        raise unknown("table format", format, TABLES)
    return openmpi.write(rules, ranks) if format == "openmpi" else nccl.write(rules, ranks)


def write(
    schedule: Schedule, path: str | Path, format: str = "", nbytes: int | None = None
) -> list[Path]:
    """Write a schedule to a file, or for "chakra" to ``path.0.et``, ``path.1.et`` and so on.

    Args:
        schedule: the schedule to write.
        path: the file, which is written whole or not at all.
        format: a key of `FORMATS`; by default the one that the path's suffix stands for.
        nbytes: size of the vector that one rank holds in bytes, for formats with message sizes.
            What was read from a trace has a size of its own.

    Returns:
        The paths of the files written.

    Raises:
        ValueError: the format cannot express the schedule, or the folder has a Chakra file of a
            rank beyond the last one.
        OSError: a file cannot be written; then no file is.
    """
    if (format or format_of(path)) != "chakra":
        return store([(path, text(schedule, format or format_of(path), nbytes))])
    files = list(chakra.write(schedule, _size(schedule, nbytes)))
    names = [f"{_prefix(path, '.et')}.{rank}.et" for rank in range(len(files) + 1)]
    if Path(names[-1]).exists():  # `read` takes files until a number is missing
        raise ValueError(f"{names[-1]} belongs to a schedule with more ranks: remove it first")
    return store([(name, [data]) for name, data in zip(names, files, strict=False)])


def read(
    path: str | Path,
    format: str = "",
    torus: Torus | None = None,
    eager_limit: int | None = None,
) -> Schedule:
    """Read a schedule from a file.

    Args:
        path: the file; for "chakra" the prefix of its files, or one of them; for "smpi" these too,
            or a list of the files of all ranks.
        format: json, msccl, steps, goal, smpi or chakra; by default the one that the suffix
            stands for.
        torus: the torus of the ranks; it replaces the one in the file, except for json, where the
            two must have the same dimensions.
        eager_limit: for goal, smpi and chakra: a send of more bytes is done when its receive is.
            By default, and up to this limit, it is done when it is handed over.

    Returns:
        From json and msccl, a schedule to verify, simulate and run. From the other formats, which
        have no blocks, a schedule of the collective "traffic", which can only be simulated.

    Raises:
        ValueError: the file is not of this format; the message is one line and begins with the
            path. Or ``eager_limit`` is negative.
        OSError: the file does not exist or cannot be read.
        TypeError: ``path`` is no path, ``torus`` no torus, or ``eager_limit`` no whole number.
    """
    expect(path, (str, Path), "a path")
    if torus is not None:
        expect(torus, Torus, "a torus, such as swing.Torus((4, 4))")
    expect(eager_limit, (Integral, type(None)), "a whole number of bytes")
    if eager_limit is not None and eager_limit < 0:
        raise ValueError(f"the eager limit is 0 bytes or more, not {shown(eager_limit)}")
    kind = format or format_of(path)
    try:
        if kind == "json":
            schedule = native_json.read(limits.contents(path))
            if torus is not None and torus.dims != schedule.torus.dims:
                raise ValueError(f"the schedule is for the torus {schedule.torus}, not {torus}")
            return schedule
        if kind == "msccl":
            return msccl_reader.read(limits.contents(path), torus)
        if kind == "steps":
            return steps.read(limits.contents(path), torus)
        if kind == "goal":
            return goal.read(limits.contents(path), torus, eager_limit)
        if kind == "smpi":
            return smpi.read(_smpi_files(path), torus, eager_limit)
        if kind == "chakra":
            return chakra.read(_numbered(path, ".et"), torus, eager_limit)
    # The nesting of JSON is bounded, but a caller may already be deep in the stack.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{shown_path(path)}: {error}") from None
    except OSError as error:
        missing = shown_path(error.filename or path)  # it may be the file of one rank
        raise type(error)(error.errno, error.strerror, missing) from None
    raise ValueError(
        f"format {shown(kind)} cannot be read: choose from {', '.join(SUFFIXES.values())}"
    )


def _size(schedule: Schedule, nbytes: int | None) -> int:
    expect_schedule(schedule)
    expect(nbytes, (Integral, type(None)), "a whole number of bytes")
    if nbytes is None and schedule.is_traffic:
        return schedule.nblocks
    if nbytes is None or not 0 < nbytes <= limits.MAX_INTEGER // schedule.vectors:
        raise ValueError("this format has message sizes: pass the vector's, as in nbytes=2**20")
    if schedule.shares is not None and not schedule.shares.any():
        raise ValueError(
            "this format has no messages of 0 bytes, and those of a barrier have no others: "
            "write it as json"
        )
    return int(nbytes)


def format_of(path: str | Path) -> str:
    """Return the format that a path's suffix stands for.

    Raises:
        ValueError: the suffix is not a key of `SUFFIXES`.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        suffixes = ", ".join(SUFFIXES)
        raise ValueError(f"{shown_path(path)}: the suffix names no format: use one of {suffixes}")
    return SUFFIXES[suffix]


def _prefix(path: str | Path, suffix: str) -> str:
    """Return ``run`` for each of ``run``, ``run.et`` and ``run.0.et``, if the suffix is ``.et``.

    Only before the suffix is a number that of a rank: of ``run.2024``, nothing is removed.
    """
    prefix = str(path).removesuffix(suffix)
    if prefix == str(path):
        return prefix
    stem, _, rank = prefix.rpartition(".")
    return stem if stem and rank.isdecimal() else prefix


def _numbered(path: str | Path, suffix: str) -> list[bytes]:
    """Return the contents of ``prefix.0.et``, ``prefix.1.et`` and so on, for the suffix ``.et``."""

    def names() -> Iterator[str]:
        # File 0 is opened even if it is missing, so that the user sees an OSError with its name.
        for rank in count():
            name = f"{_prefix(path, suffix)}.{rank}{suffix}"
            if rank and not Path(name).exists():
                return
            yield name

    return _contents(names())


def _smpi_files(path: str | Path) -> list[bytes]:
    """Return the contents of a trace: one file, those of a list, or a numbered file per rank."""
    one_of_several = re.search(r"\.[0-9]+\.ti$", str(path)) or not Path(path).exists()
    if one_of_several and Path(f"{_prefix(path, '.ti')}.0.ti").exists():
        return _numbered(path, ".ti")
    data = limits.contents(path)
    names = [Path(name) for name in smpi.listed(data)]
    # As smpirun does, look in the current folder; and beside the list, where it was written.
    files = [name if name.exists() else Path(path).parent / name for name in names]
    for file in files:
        if file.exists() and not file.is_file():
            raise ValueError(f"its line {shown(str(file))} does not name a file")
    return _contents(files) or [data]


def _contents(paths: Iterable[str | Path]) -> list[bytes]:
    files: list[bytes] = []
    total = 0
    for path in paths:
        files.append(limits.contents(path))
        total += len(files[-1])
        if total > limits.MAX_BYTES:
            raise ValueError(f"all its files exceed {limits.MAX_BYTES >> 20} MiB: too large")
    return files
