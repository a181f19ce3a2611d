"""Selection tables: measured or simulated times of algorithms by torus and vector size, in JSON.

For each torus a table has a list of sizes and a list of candidates: an algorithm, its options, and
its seconds at each size. Times are interpolated linearly between sizes, extrapolated in proportion
to the size above the last one, and constant below the first one. So a table has an answer for every
size, and ranks all candidates. `tables/schema.json` defines the format, and `SelectionTable.read`
checks it strictly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from swing.algorithms.spelling import spell
from swing.schedules.collectives import ALLREDUCE
from swing.schedules.step import abridge

VERSION = 1
MAX_BYTES = 2**24  # of a file
PAPER, MESSAGES = SHIPPED = "paper", "messages"
"""The machines that tables are shipped for: see `swing.select.choose.MACHINES`."""

Options = tuple[tuple[str, Any], ...]


class Candidate(NamedTuple):
    """An algorithm, its options, and its seconds at each size; None where it has no time."""

    algorithm: str
    options: Options
    seconds: tuple[float | None, ...]

    @property
    def name(self) -> str:
        """The algorithm and its options, such as ``swing,variant=latency``."""
        return spell(self.algorithm, dict(self.options))


@dataclass(frozen=True)
class Entry:
    """The times on one torus: the sizes in bytes, ascending, and the candidates."""

    sizes: tuple[int, ...]
    candidates: tuple[Candidate, ...]

    @classmethod
    def of(
        cls, sizes: Iterable[int], times: Iterable[tuple[str, Options, Mapping[int, float | None]]]
    ) -> Entry:
        """Make the entry of algorithms, their options, and their seconds at some of the sizes."""
        columns = tuple(sizes)
        rows = (Candidate(name, o, tuple(map(t.get, columns))) for name, o, t in times)
        return cls(columns, tuple(rows))

    def ranked(self, nbytes: int) -> list[tuple[float, Candidate]]:
        """Return the candidates that have a time at a size, with seconds, fastest first.

        >>> quick = Candidate("swing", (), (1.0, 3.0, None))
        >>> steady = Candidate("bucket", (), (2.0, 2.0, 4.0))
        >>> entry = Entry((10, 20, 40), (quick, steady))
        >>> [(seconds, c.algorithm) for seconds, c in entry.ranked(14)]
        [(1.8, 'swing'), (2.0, 'bucket')]
        >>> entry.ranked(80)[0][0]
        8.0
        """
        times = [(self._at(c.seconds, nbytes), c) for c in self.candidates]
        # Only the time is compared: candidates with equal times keep the order of the table.
        return sorted(((t, c) for t, c in times if t is not None), key=lambda pair: pair[0])

    def _at(self, seconds: Sequence[float | None], nbytes: int) -> float | None:
        after = next((i for i, n in enumerate(self.sizes) if n >= nbytes), len(self.sizes))
        if after == 0:
            return seconds[0]
        low = seconds[after - 1]
        if after == len(self.sizes):  # latency no longer matters here, only bandwidth
            return None if low is None else low * nbytes / self.sizes[-1]
        high = seconds[after]
        if low is None or high is None:
            return high if self.sizes[after] == nbytes else None
        n0, n1 = self.sizes[after - 1 : after + 1]
        return low + (high - low) * (nbytes - n0) / (n1 - n0)


@dataclass(frozen=True)
class SelectionTable:
    """A selection table.

    Args:
        made: the origin of the times: machine, model, command.
        entries: the times by the name of the torus, such as ``torus:8x8``.
    """

    made: Mapping[str, str]
    entries: Mapping[str, Entry]

    def __repr__(self) -> str:
        names = ", ".join(abridge(list(self.entries), str))
        return f"<selection table of {self.collective} on {names or 'no torus'}>"

    @property
    def collective(self) -> str:
        """The collective that the times are of."""
        return self.made.get("collective", ALLREDUCE)

    @classmethod
    def read(cls, text: str) -> SelectionTable:
        """Parse a table from JSON.

        Raises:
            ValueError: the text is not a valid table; the message is one line.
        """
        if len(text) > MAX_BYTES:
            raise ValueError(f"a selection table has at most {MAX_BYTES} bytes")
        try:
            data = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
        except RecursionError:
            raise ValueError("no selection table: nested too deeply") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"no selection table: {error}") from None
        _need(isinstance(data, dict), "the document must be an object")
        _need(data.get("format") == "torus-swing selection table",
              'format must be "torus-swing selection table"')  # fmt: skip
        _need(data.get("version") == VERSION, f"version must be {VERSION}")
        _need(set(data) == {"format", "version", "made", "entries"},
              "its keys must be format, version, made and entries")  # fmt: skip
        made, entries = data["made"], data["entries"]
        _need(isinstance(made, dict) and all(isinstance(v, str) for v in made.values()),
              "made must be an object of strings")  # fmt: skip
        _need(isinstance(entries, dict), "entries must be an object")
        return cls(made, {name: _entry(name, entry) for name, entry in entries.items()})

    def __str__(self) -> str:
        """Return the table as JSON, one line per candidate."""
        rows = []
        for name, entry in self.entries.items():
            lines = [
                json.dumps({"algorithm": c.algorithm, "options": dict(c.options),
                            "seconds": c.seconds})
                for c in entry.candidates
            ]  # fmt: skip
            candidates = ",\n    ".join(lines)
            rows.append(
                f'  {json.dumps(name)}: {{"sizes": {json.dumps(entry.sizes)}, "candidates": [\n'
                f"    {candidates}\n  ]}}"
            )
        head = json.dumps({"format": "torus-swing selection table", "version": VERSION})[1:-1]
        body = ",\n".join(rows)
        return f'{{{head},\n"made": {json.dumps(dict(self.made))},\n"entries": {{\n{body}\n}}}}\n'


@cache
def shipped(collective: str = ALLREDUCE, machine: str = PAPER) -> SelectionTable:
    """Load a table that comes with the library.

    Args:
        collective: the collective. Its reverse has a table of its own: messages to a root come
            from many senders and queue at its links; those from a root leave one after the other.
        machine: a name in `SHIPPED`.

    Returns:
        The table; an empty one if no times are shipped.
    """
    name = machine if collective == ALLREDUCE else f"{machine}-{collective}"
    file = resources.files("swing.select") / "tables" / f"{name}.json"
    return SelectionTable.read(file.read_text()) if file.is_file() else SelectionTable({}, {})


def _entry(name: str, data: Any) -> Entry:
    _need(isinstance(data, dict) and set(data) == {"sizes", "candidates"},
          f"{name} must have sizes and candidates")  # fmt: skip
    sizes, rows = data["sizes"], data["candidates"]
    _need(isinstance(sizes, list) and len(sizes) > 0 and all(map(_is_size, sizes)),
          f"sizes of {name} must be whole numbers of bytes")  # fmt: skip
    _need(sizes == sorted(set(sizes)), f"sizes of {name} must ascend")
    _need(isinstance(rows, list) and len(rows) > 0, f"{name} must have a list of candidates")
    return Entry(tuple(sizes), tuple(_candidate(name, row, len(sizes)) for row in rows))


def _candidate(name: str, data: Any, nsizes: int) -> Candidate:
    _need(isinstance(data, dict) and set(data) == {"algorithm", "options", "seconds"},
          f"a candidate of {name} must have algorithm, options and seconds")  # fmt: skip
    algorithm, options, seconds = data["algorithm"], data["options"], data["seconds"]
    _need(isinstance(algorithm, str) and isinstance(options, dict),
          f"a candidate of {name} must have a name and an object of options")  # fmt: skip
    _need(isinstance(seconds, list) and len(seconds) == nsizes and all(map(_is_time, seconds)),
          f"a candidate of {name} must have a time or null for each size")  # fmt: skip
    return Candidate(algorithm, tuple((k, frozen(v)) for k, v in options.items()), tuple(seconds))


def frozen(value: Any) -> Any:
    """Turn lists into tuples at every depth, because options have to be hashable.

    Raises:
        ValueError: the value is an object or contains one.
    """
    _need(not isinstance(value, dict), "options may only be numbers, strings and lists")
    return tuple(map(frozen, value)) if isinstance(value, list) else value


# JSON's true and false are ints in Python, hence the checks for bool below.
def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 2**62


def _is_time(value: Any) -> bool:
    if value is None:
        return True
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < math.inf


def _need(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(f"no selection table: {rule}")


def _refuse(constant: str) -> Any:
    raise ValueError(f"no selection table: {constant} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json.loads alone would silently keep the last of several equal keys.
    unique = dict(pairs)
    _need(len(unique) == len(pairs), "a key occurs twice")
    return unique
