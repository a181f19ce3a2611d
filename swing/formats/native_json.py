"""Our own JSON format, which stores a schedule completely.

``schema.json`` in the same folder describes it. A step is an object with the columns of
`swing.Step`, where ``op`` is ``+`` for messages that the receiver reduces and ``=`` for those that
it copies. If each message carries one range of blocks, the step has the columns ``start`` and
``count``; otherwise it has ``blocks``: for each message, the starts and lengths of its ranges in
one list. ``origin`` and ``home`` (see `swing.schedules.collectives`) are one number if all blocks
have the same origin or home, and a list with an entry per block otherwise.

Version 1 had ``collective``, a name, and ``owner`` instead of ``origin`` and ``home``. It can still
be read; the owners in an allreduce are checked, but not used.

Loses: only the compact form of large schedules (steps as functions, `Schedule.lines`). Messages are
listed one by one, at most `limits.MAX_ROWS` of them per file. Signatures (the key ``pattern``) and
phases become numbers in the order in which they occur.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np

from swing.formats import limits
from swing.schedules.blocks import Blocks
from swing.schedules.collectives import ALL, UNKNOWN, RankColumn
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Array, Torus

FORMAT = "torus-swing schedule"
VERSION = 2
VERSION_1 = {
    "allreduce": (ALL, ALL),
    "reduce_scatter": (ALL, "owner"),
    "allgather": ("owner", ALL),
    "traffic": (UNKNOWN, UNKNOWN),
}
"""Origin and home of the collectives of version 1; "owner" stands for that field's value."""
_OPS = {op.value: op is Op.REDUCE for op in Op}
_HEAD = ("format", "version", "name", "variant", "torus", "nblocks", "parts", "steps")
_COLLECTIVE = {1: {"collective": True, "owner": False}, 2: {"origin": True, "home": True}}
_TORUS = {"dims": True, "wrap": True, "coords": False}
_STEP = dict.fromkeys(("op", "src", "dst", "part", "phase", "pattern"), True)
_STEP |= dict.fromkeys(("start", "count", "blocks"), False)


def write(schedule: Schedule) -> Iterator[str]:
    """Yield the JSON document, one line per step.

    Raises:
        ValueError: the schedule has more than `limits.MAX_ROWS` messages, or a name that is not
            printable ASCII.
    """
    torus = schedule.torus
    described: dict[str, Any] = {"dims": torus.dims, "wrap": torus.wrap}
    if (torus.node_of != torus.ranks).any():  # row-major order is the default when reading
        described["coords"] = torus.coords.tolist()
    head = {
        "format": FORMAT,
        "version": VERSION,
        "name": limits.name(schedule.name, "the name"),
        "origin": _described(schedule.origin),
        "home": _described(schedule.home),
        "variant": limits.name(schedule.variant, "the variant"),
        "torus": described,
        "nblocks": schedule.nblocks,
        "parts": schedule.parts,
    }
    if schedule.shares is not None:
        head["shares"] = schedule.shares.tolist()
    # The closing brace is cut off, so that the steps can follow one at a time.
    yield json.dumps(head)[:-1] + ',\n"steps": ['
    phase, pattern = Numbers(schedule.sync_phase), Numbers(schedule.signature)
    rows = 0
    for s, step in enumerate(schedule):
        rows += len(step)
        if rows > limits.MAX_ROWS:
            raise ValueError(f"{schedule!r} has more than {limits.MAX_ROWS} messages: too many")
        row = _columns(step) | {"phase": phase(s), "pattern": pattern(s)}
        yield (",\n" if s else "\n") + json.dumps(row, separators=(",", ":"))
    yield "\n]}\n"


def read(data: bytes) -> Schedule:
    """Read the schedule from a document.

    Raises:
        ValueError: the document does not follow ``schema.json``, is too large, or has an unknown
            version.
    """
    document = limits.parse_json(data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'the file is not a schedule: "format" is not "{FORMAT}"')
    version = document.get("version")
    if type(version) is not int or version not in _COLLECTIVE:
        raise ValueError(
            f"the file has version {limits.short(version)}, "
            f"but this library reads versions up to {VERSION}"
        )
    known = dict.fromkeys(_HEAD, True) | {"shares": False} | _COLLECTIVE[version]
    head = limits.fields(document, "the schedule", known)
    if version == 1:
        head |= _columns_of_version_1(head)
    torus = _torus(head["torus"])
    nblocks = limits.number(head["nblocks"], "nblocks", 1)
    # In traffic a block is a byte. As nothing is stored per byte, nblocks may exceed the limits.
    real_blocks = head["origin"] != UNKNOWN
    if real_blocks:
        limits.check_ranks(torus.size, nblocks)
    parts = [limits.number(n, "a part", 0, nblocks) for n in limits.array(head["parts"], "parts")]
    if sum(parts) != nblocks:
        raise ValueError(f"the parts have {sum(parts)} blocks in total, but nblocks is {nblocks}")
    if version == 1 and "owner" in head:
        _column(head["owner"], "owner", nblocks, torus.size)
    if (head["origin"] == UNKNOWN) != (head["home"] == UNKNOWN):
        raise ValueError(f"origin and home must both be {UNKNOWN}, or neither")
    origin, home = (_ranks(head[key], key, nblocks, torus.size) for key in ("origin", "home"))
    # In an all-to-all, whose blocks have an origin and a home each, every rank has a vector.
    vectors = torus.size if origin.constant is None and home.constant is None else 1
    shares = _shares(head["shares"], nblocks, vectors) if "shares" in head else None
    steps, phases, patterns = [], [], []
    rows = 0
    for s, row in enumerate(limits.array(head["steps"], "steps")):
        sizes = torus.size, nblocks, len(parts)
        step, phase, pattern = _step(row, f"step {s}", *sizes, least=int(real_blocks))
        rows += len(step)
        if rows > limits.MAX_ROWS:
            raise ValueError(f"the file has more than {limits.MAX_ROWS} messages: too many")
        # Ranges take a few bytes in the file, but expand to an index per block.
        listed = step.blocks.starts is None
        most = limits.MAX_BLOCKS if listed else limits.MAX_SENT_BLOCKS
        if (real_blocks or listed) and sum(step.blocks.counts.tolist()) > most:
            raise ValueError(f"step {s}: its messages carry more than {most} blocks: too many")
        steps.append(step)
        phases.append(phase)
        patterns.append(pattern)
    return Schedule(
        limits.name(head["name"], "name"),
        torus,
        nblocks,
        len(steps),
        steps.__getitem__,
        origin=origin,
        home=home,
        variant=limits.name(head["variant"], "variant"),
        parts=tuple(parts),
        shares=shares,
        signature=patterns.__getitem__,
        sync_phase=phases.__getitem__,
    )


class Numbers:
    """Number the values of a function from 0 on, in the order in which they first occur."""

    def __init__(self, value: Callable[[int], Hashable]) -> None:
        self.value = value
        self.known: dict[Hashable, int] = {}

    def __call__(self, s: int) -> int:
        """Return the number of the function's value at ``s``."""
        return self.known.setdefault(self.value(s), len(self.known))


def _described(column: RankColumn) -> Any:
    return column.tolist() if column.constant is None else column.constant


def _columns_of_version_1(head: dict[str, Any]) -> dict[str, Any]:
    """Return the fields origin and home of a file of version 1."""
    collective = head["collective"]
    if not isinstance(collective, str) or collective not in VERSION_1:
        raise ValueError(f"collective must be one of {', '.join(VERSION_1)}")
    columns = VERSION_1[collective]
    if "owner" in columns and "owner" not in head:
        raise ValueError(f"{collective} needs the field owner, with a rank for each block")
    values = (head["owner"] if column == "owner" else column for column in columns)
    return dict(zip(("origin", "home"), values, strict=True))


def _ranks(value: Any, key: str, nblocks: int, p: int) -> RankColumn:
    """Read the field origin or home: one number for all blocks, or a list."""
    if type(value) is int and UNKNOWN <= value < p:
        return RankColumn.of(value, nblocks)
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a number from {UNKNOWN} to {p - 1}, or a list")
    return RankColumn.of(_column(value, key, nblocks, p, ALL), nblocks)


def _columns(step: Step) -> dict[str, Any]:
    ops = [(Op.REDUCE if reduces else Op.COPY).value for reduces in step.reduces.tolist()]
    row: dict[str, Any] = {"op": ops if len(set(ops)) > 1 else (ops or [Op.REDUCE.value])[0]}
    row |= {"src": step.src.tolist(), "dst": step.dst.tolist(), "part": step.part.tolist()}
    blocks = step.blocks
    if blocks.starts is not None:
        return row | {"start": blocks.starts.tolist(), "count": blocks.counts.tolist()}
    return row | {"blocks": [ranges(blocks[i]) for i in range(len(blocks))]}


def ranges(blocks: slice | Array) -> list[int]:
    """Return the start and length of each range of consecutive blocks, in one flat list.

    >>> ranges(np.array([1, 2, 3, 7]))
    [1, 3, 7, 1]
    """
    if isinstance(blocks, slice):
        return [blocks.start, blocks.stop - blocks.start]
    cut = np.flatnonzero(np.diff(blocks) != 1) + 1
    first, end = np.append(0, cut), np.append(cut, len(blocks))
    return np.stack([blocks[first], end - first], axis=1).ravel().tolist()


def members(pairs: list[int]) -> Array:
    """Return the blocks in a flat list of starts and lengths: the inverse of `ranges`.

    >>> members([1, 3, 7, 1]).tolist()
    [1, 2, 3, 7]
    """
    starts, counts = pairs[::2], pairs[1::2]
    return np.concatenate([np.arange(a, a + n) for a, n in zip(starts, counts, strict=True)])


def _torus(value: Any) -> Torus:
    described = limits.fields(value, "torus", _TORUS)
    dims = [limits.number(d, "a dimension", 1) for d in limits.array(described["dims"], "dims")]
    wrap = limits.array(described["wrap"], "wrap", len(dims))
    if len(dims) > 32 or not all(isinstance(w, bool) for w in wrap):
        raise ValueError("a torus has up to 32 dimensions, and wrap is true or false for each")
    size = 1
    for d in dims:
        size *= d
        limits.check_ranks(size)
    coords = None
    if described.get("coords") is not None:
        rows = limits.array(described["coords"], "coords", size)
        coords = np.array(
            [_column(row, "coords", len(dims), limits.MAX_RANKS) for row in rows], dtype=np.int64
        )
    return Torus(dims, wrap, coords)


def _shares(value: Any, nblocks: int, vectors: int) -> np.ndarray:
    values = limits.array(value, "shares", nblocks)
    if not all(type(v) in (int, float) and 0 <= v <= 1 for v in values):
        raise ValueError("shares must be fractions from 0 to 1")
    shares = np.array(values, dtype=float)
    if (
        shares.any() and abs(shares.sum() - vectors) > 1e-9 * vectors
    ):  # those of a barrier are all 0
        raise ValueError(f"shares add up to {shares.sum()} instead of {vectors}")
    return shares


def _column(value: Any, what: str, length: int | None, end: int, least: int = 0) -> Array:
    values = limits.array(value, what, length)
    if not all(type(v) is int and least <= v < end for v in values):
        raise ValueError(f"{what} may only have whole numbers from {least} to {end - 1}")
    return np.array(values, dtype=np.int64)


def _step(
    row: Any, where: str, p: int, nblocks: int, nparts: int, least: int
) -> tuple[Step, int, int]:
    fields = limits.fields(row, where, _STEP)
    src = _column(fields["src"], f"{where}: src", None, p)
    m = len(src)
    dst = _column(fields["dst"], f"{where}: dst", m, p)
    part = _column(fields["part"], f"{where}: part", m, nparts)
    reduces: bool | np.ndarray
    if isinstance(fields["op"], list):
        names = limits.array(fields["op"], f"{where}: op", m)
        if not all(isinstance(n, str) and n in _OPS for n in names):
            raise ValueError(f'{where}: op must be "+" or "="')
        reduces = np.array([_OPS[n] for n in names], dtype=bool)
    elif isinstance(fields["op"], str) and fields["op"] in _OPS:
        reduces = _OPS[fields["op"]]
    else:
        raise ValueError(f'{where}: op must be "+" or "="')
    phase, pattern = (limits.number(fields[k], f"{where}: {k}") for k in ("phase", "pattern"))
    return Step(reduces, src, dst, _blocks(fields, where, m, nblocks, least), part), phase, pattern


def _blocks(fields: dict[str, Any], where: str, m: int, nblocks: int, least: int) -> Blocks:
    if "blocks" not in fields:
        if "start" not in fields or "count" not in fields:
            raise ValueError(f"{where} needs either start and count, or blocks")
        start = _column(fields["start"], f"{where}: start", m, nblocks + 1)
        count = _column(fields["count"], f"{where}: count", m, nblocks + 1, least)
        if (start + count > nblocks).any():
            raise ValueError(f"{where}: a range of blocks ends above {nblocks - 1}")
        return Blocks(count, start)
    if "start" in fields or "count" in fields:
        raise ValueError(f"{where} has both blocks and start or count: leave one out")
    counts, pairs = [], []
    for value in limits.array(fields["blocks"], f"{where}: blocks", m):
        row = _column(value, f"{where}: blocks", None, nblocks + 1)
        first, count = row[::2], row[1::2]
        if not len(row) or len(row) % 2 or (count < 1).any() or first[-1] + count[-1] > nblocks:
            raise ValueError(f"{where}: blocks are pairs of the start and length of a range")
        # Adjacent ranges are refused, so that a set of blocks has only one notation.
        if (first[1:] <= first[:-1] + count[:-1]).any():
            raise ValueError(f"{where}: ranges of a message must ascend, with gaps between them")
        counts.append(int(count.sum()))
        pairs.append(row.tolist())
    # The ranges are expanded when a message is looked at; all at once could fill the memory.
    return Blocks.sets(np.array(counts, dtype=np.int64), lambda i: members(pairs[i]))
