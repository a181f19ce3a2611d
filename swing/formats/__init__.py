"""Schedules as files, in our own format and in those of other tools; one file a format.

`read` and `write` choose by name. What a format loses is said where it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

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
from swing.schedules.schedule import Schedule
from swing.torus import Torus

FORMATS = {
    "json": "our own, for all that a schedule is",
    "msccl": "XML for MSCCL and RCCL",
    "steps": "plain text, step src dst bytes",
    "goal": "programs for LogGOPSim",
    "smpi": "a time-independent trace for SimGrid",
    "chakra": "execution traces for ASTRA-sim, a file a rank",
    "simgrid-platform": "the torus for SimGrid",
    "simgrid-hosts": "where the ranks sit, for SimGrid",
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
"""What the end of a file's name says."""

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "TABLES",
    "Rule",
    "format_of",
    "read",
    "table",
    "text",
    "write",
]


def text(schedule: Schedule, format: str, nbytes: int | None = None) -> Iterator[str]:
    """A schedule in a format that is one text, piece by piece.

    Args:
        schedule: what to write.
        format: a key of `FORMATS`, but not "chakra", which is many files.
        nbytes: size of the vector, for formats that have bytes: steps, goal and smpi.

    Raises:
        ValueError: something the format has no room for.
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
        raise ValueError(f"no text format {format!r}: choose from {', '.join(FORMATS)}")
    return writers[format](schedule, _size(nbytes))


def table(
    rules: Sequence[Rule], format: str, ranks: int, base: bytes | None = None
) -> Iterator[str]:
    """A selection table, piece by piece.

    Args:
        rules: such as `swing.formats.rules.chosen` makes.
        format: a key of `TABLES`.
        ranks: of the communicators that it is for.
        base: for "mpich", its own table or the library with it: see `swing.formats.mpich`.

    Raises:
        ValueError: rules that make no sense, or no ``base``.
    """
    if format == "mpich":
        if base is None:
            raise ValueError("this replaces all of MPICH's own table: name that, or its libmpi.so")
        return mpich.write(rules, ranks, base)
    if format not in TABLES:
        raise ValueError(f"no table format {format!r}: choose from {', '.join(TABLES)}")
    return openmpi.write(rules, ranks) if format == "openmpi" else nccl.write(rules, ranks)


def write(
    schedule: Schedule, path: str | Path, format: str = "", nbytes: int | None = None
) -> list[Path]:
    """Write a schedule to a file, or for "chakra" to ``path.0.et``, ``path.1.et`` and so on.

    Args:
        schedule: what to write.
        path: where to; it is there whole or not at all.
        format: a key of `FORMATS`; by default what the path's suffix says.
        nbytes: size of the vector, for formats that have bytes.

    Returns:
        The files.

    Raises:
        ValueError: something the format has no room for; files of more ranks are in the way.
        OSError: a file can not be written; nothing is then.
    """
    if (format or format_of(path)) != "chakra":
        return store([(path, text(schedule, format or format_of(path), nbytes))])
    files = list(chakra.write(schedule, _size(nbytes)))
    names = [f"{_prefix(path)}.{rank}.et" for rank in range(len(files) + 1)]
    if Path(names[-1]).exists():  # it would be read with these
        raise ValueError(f"{names[-1]} is there already, of more ranks: remove it first")
    return store([(name, [data]) for name, data in zip(names, files, strict=False)])


def read(path: str | Path, format: str = "", torus: Torus | None = None) -> Schedule:
    """The schedule in a file.

    Args:
        path: a file; for "chakra" the prefix of its files, or one of them.
        format: json, msccl, steps, goal, smpi or chakra; by default what the suffix says.
        torus: where the ranks sit, for formats that do not say.

    Raises:
        ValueError: what is no such file, in one line that begins with the path.
        OSError: no such file.

    Returns:
        Of json and msccl a schedule to verify, simulate and run. Of the others one of the
        collective "traffic", to simulate.
    """
    kind = format or format_of(path)
    readers = {
        "msccl": msccl_reader.read, "steps": steps.read, "goal": goal.read, "smpi": smpi.read,
    }  # fmt: skip
    try:
        if kind == "json":
            schedule = native_json.read(limits.contents(path))
            if torus is not None and torus.dims != schedule.torus.dims:
                raise ValueError(f"it is for the torus {schedule.torus}, not {torus}")
            return schedule
        if kind == "chakra":
            return chakra.read(_rank_files(path), torus)
        if kind not in readers:
            raise ValueError(
                f"{kind!r} can not be read: choose from {', '.join(SUFFIXES.values())}"
            )
        return readers[kind](limits.contents(path), torus)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _size(nbytes: int | None) -> int:
    if nbytes is None or not 0 < nbytes <= limits.MAX_INTEGER:
        raise ValueError("this format has bytes: say how many, as in nbytes=2**20")
    return int(nbytes)


def format_of(path: str | Path) -> str:
    """The format that the end of a file's name says."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ValueError(f"{path}: its name does not say the format: end it in one of {known}")
    return SUFFIXES[suffix]


def _prefix(path: str | Path) -> str:
    """``run`` of ``run``, ``run.et`` and ``run.0.et``."""
    prefix = str(path).removesuffix(".et")
    stem, _, rank = prefix.rpartition(".")
    return stem if stem and rank.isdecimal() else prefix


def _rank_files(path: str | Path) -> list[bytes]:
    files: list[bytes] = []
    total = 0
    while Path(name := f"{_prefix(path)}.{len(files)}.et").exists() or not files:
        files.append(limits.contents(name))
        total += len(files[-1])
        if total > limits.MAX_BYTES:
            raise ValueError(f"its files have more than {limits.MAX_BYTES >> 20} MiB: too large")
    return files
