"""Selection tables: how long algorithms take on a machine, by torus and size, as JSON.

A table holds, for every torus that was tuned, some sizes and some candidates: an algorithm, its
options and its seconds at each size, measured or simulated. Between two sizes a candidate's time
is taken to be linear, above the last one in proportion to the size, below the first one constant,
so that a table answers for every size and names the runner-up as well. `tables/schema.json` is the
format; `SelectionTable.read` checks it, and trusts no file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

VERSION = 1
MAX_BYTES = 2**24  # of a file
SHIPPED = "paper"

Options = tuple[tuple[str, Any], ...]


class Candidate(NamedTuple):
    """An algorithm, its options, and its seconds at every size; None where it was left out."""

    algorithm: str
    options: Options
    seconds: tuple[float | None, ...]

    @property
    def name(self) -> str:
        """The algorithm and its options, in words."""
        return " ".join([self.algorithm, *(f"{k}={v}" for k, v in self.options)])


@dataclass(frozen=True)
class Entry:
    """One torus: sizes in bytes, ascending, and the candidates."""

    sizes: tuple[int, ...]
    candidates: tuple[Candidate, ...]

    def ranked(self, nbytes: int) -> list[tuple[float, Candidate]]:
        """The candidates that have a time at a size, the fastest first, with seconds.

        >>> quick = Candidate("swing", (), (1.0, 3.0, None))
        >>> steady = Candidate("bucket", (), (2.0, 2.0, 4.0))
        >>> entry = Entry((10, 20, 40), (quick, steady))
        >>> [(seconds, c.algorithm) for seconds, c in entry.ranked(14)]
        [(1.8, 'swing'), (2.0, 'bucket')]
        >>> entry.ranked(80)[0][0]
        8.0
        """
        found = [(self._at(c.seconds, nbytes), c) for c in self.candidates]
        return sorted(((t, c) for t, c in found if t is not None), key=lambda pair: pair[0])

    def _at(self, seconds: Sequence[float | None], nbytes: int) -> float | None:
        after = next((i for i, n in enumerate(self.sizes) if n >= nbytes), len(self.sizes))
        if after == 0:
            return seconds[0]
        low = seconds[after - 1]
        if after == len(self.sizes):  # the last size tells the bandwidth
            return None if low is None else low * nbytes / self.sizes[-1]
        high = seconds[after]
        if low is None or high is None:
            return high if self.sizes[after] == nbytes else None
        n0, n1 = self.sizes[after - 1 : after + 1]
        return low + (high - low) * (nbytes - n0) / (n1 - n0)


@dataclass(frozen=True)
class SelectionTable:
    """Entries by the name of their torus, such as ``torus:8x8``, and how they were made."""

    made: Mapping[str, str]
    entries: Mapping[str, Entry]

    @classmethod
    def read(cls, text: str) -> SelectionTable:
        """The table in a JSON text.

        Raises:
            ValueError: what is wrong with it, in one line.
        """
        if len(text) > MAX_BYTES:
            raise ValueError(f"a selection table has at most {MAX_BYTES} bytes")
        try:
            data = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
        except RecursionError:
            raise ValueError("no selection table: nested too deeply") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"no selection table: {error}") from None
        _need(isinstance(data, dict), "the top is an object")
        _need(data.get("format") == "torus-swing selection table", "its format is not that of one")
        _need(data.get("version") == VERSION, f"only version {VERSION} is read")
        _need(set(data) == {"format", "version", "made", "entries"}, "unknown or missing keys")
        made, entries = data["made"], data["entries"]
        _need(isinstance(made, dict) and all(isinstance(v, str) for v in made.values()),
              "made holds texts")  # fmt: skip
        _need(isinstance(entries, dict), "entries is an object")
        return cls(made, {name: _entry(name, entry) for name, entry in entries.items()})

    def __str__(self) -> str:
        """The JSON text, a line a candidate."""
        places = []
        for name, entry in self.entries.items():
            lines = [
                json.dumps({"algorithm": c.algorithm, "options": dict(c.options),
                            "seconds": c.seconds})
                for c in entry.candidates
            ]  # fmt: skip
            inside = ",\n    ".join(lines)
            places.append(
                f'  {json.dumps(name)}: {{"sizes": {json.dumps(entry.sizes)}, "candidates": [\n'
                f"    {inside}\n  ]}}"
            )
        head = json.dumps({"format": "torus-swing selection table", "version": VERSION})[1:-1]
        body = ",\n".join(places)
        return f'{{{head},\n"made": {json.dumps(dict(self.made))},\n"entries": {{\n{body}\n}}}}\n'


@cache
def shipped() -> SelectionTable:
    """The table that comes with the library: the Swing paper's network."""
    return SelectionTable.read(
        (resources.files("swing.select") / "tables" / f"{SHIPPED}.json").read_text()
    )


def _entry(name: str, data: Any) -> Entry:
    _need(isinstance(data, dict) and set(data) == {"sizes", "candidates"},
          f"{name} has sizes and candidates")  # fmt: skip
    sizes, rows = data["sizes"], data["candidates"]
    _need(isinstance(sizes, list) and len(sizes) > 0 and all(map(_is_size, sizes)),
          f"sizes of {name} are whole numbers of bytes")  # fmt: skip
    _need(sizes == sorted(set(sizes)), f"sizes of {name} ascend")
    _need(isinstance(rows, list) and len(rows) > 0, f"{name} has candidates")
    return Entry(tuple(sizes), tuple(_candidate(name, row, len(sizes)) for row in rows))


def _candidate(name: str, data: Any, nsizes: int) -> Candidate:
    _need(isinstance(data, dict) and set(data) == {"algorithm", "options", "seconds"},
          f"a candidate of {name} has algorithm, options and seconds")  # fmt: skip
    algorithm, options, seconds = data["algorithm"], data["options"], data["seconds"]
    _need(isinstance(algorithm, str) and isinstance(options, dict),
          f"a candidate of {name} has a name and options")  # fmt: skip
    _need(isinstance(seconds, list) and len(seconds) == nsizes and all(map(_is_time, seconds)),
          f"a candidate of {name} has a time or null for each size")  # fmt: skip
    return Candidate(algorithm, tuple((k, frozen(v)) for k, v in options.items()), tuple(seconds))


def frozen(value: Any) -> Any:
    """Lists as tuples: options are hashable."""
    _need(not isinstance(value, dict), "options hold numbers, texts and lists")
    return tuple(map(frozen, value)) if isinstance(value, list) else value


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
    raise ValueError(f"no selection table: {constant} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _need(len(found) == len(pairs), "a key is there twice")
    return found
