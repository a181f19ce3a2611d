"""Collectives as two columns: the rank that each block comes from, and the rank it must reach.

Every block has an *origin*, the rank that starts with it, and a *home*, the rank that must end with
it complete. The origin `ALL` means that every rank contributes to the block, and the home `ALL`
that every rank must end with it. The usual collectives are pairs of three kinds of columns:

    collective       origin     home
    allreduce        ALL        ALL
    reduce_scatter   ALL        each
    allgather        each       ALL
    reduce           ALL        root
    broadcast        root       ALL
    gather           each       root
    scatter          root       each
    alltoall         each       each

Here *root* means one rank for all blocks, and *each* means that every block has a rank of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from swing.checks import counted, shown, unknown
from swing.torus import Array

ALL = -1
"""As the origin or the home of a block: every rank."""
UNKNOWN = -2
"""Origin and home of the blocks of a message trace, which says nothing about the data."""


@dataclass(frozen=True, eq=False, repr=False)
class RankColumn(NDArrayOperatorsMixin):
    """(nblocks,) a rank for every block, or `ALL`: a read-only array that may be computed.

    A single index or a slice computes only the ranks that it selects. Everything else that an array
    can do first computes the whole column.

    Args:
        nblocks: number of blocks.
        find: maps an array of block numbers to their ranks.
        constant: the rank of all blocks if they share one, or `ALL`; None if blocks have ranks of
            their own.

    >>> import swing
    >>> home = swing.schedule("ring", swing.Torus(4), collective="reduce_scatter").home
    >>> len(home), home[1:3], home.tolist()
    (4, array([1, 2]), [0, 1, 2, 3])
    """

    nblocks: int
    find: Callable[[Array], Array]
    constant: int | None = None

    @classmethod
    def of(cls, value: Any, nblocks: int) -> RankColumn:
        """Make a column.

        Args:
            value: one rank or `ALL` for all blocks, an (nblocks,) array of ranks, a function from
                an array of block numbers to their ranks, or a column.
            nblocks: number of blocks, unless ``value`` has a length.

        Raises:
            ValueError: ``value`` is none of these. The ranks themselves are not checked here.
        """
        if isinstance(value, RankColumn):
            return value
        if callable(value):
            return cls(nblocks, value)
        array = np.asarray(value)
        if array.size and (array.ndim > 1 or array.dtype.kind not in "iu"):
            raise ValueError(
                "origin and home are a rank, swing.ALL or one of these for each block, "
                f"not {shown(value)}"
            )
        if array.size and (array.ndim == 0 or (len(array) > 1 and np.ptp(array) == 0)):
            rank = int(array.flat[0])
            length = nblocks if array.ndim == 0 else len(array)
            return cls(length, lambda blocks: np.full(len(blocks), rank), rank)
        return cls(len(array), array.__getitem__, ALL if (array == ALL).all() else None)

    @classmethod
    def join(cls, columns: Sequence[RankColumn]) -> RankColumn:
        """Concatenate columns."""
        nblocks = sum(column.nblocks for column in columns)
        constants = {column.constant for column in columns}
        if len(constants) == 1 and None not in constants:
            return cls.of(constants.pop(), nblocks)
        ends = np.cumsum([column.nblocks for column in columns])

        def find(blocks: Array) -> Array:
            span = blocks.min(initial=nblocks - 1), blocks.max(initial=0)
            first, last = np.searchsorted(ends, span, side="right").tolist()
            if first == last:  # saves most of the time
                found: Array = columns[first].find(blocks - (ends[first] - columns[first].nblocks))
                return found
            owner = np.searchsorted(ends, blocks, side="right")
            ranks = np.empty_like(blocks)
            for i in np.unique(owner).tolist():
                rows = np.flatnonzero(owner == i)
                ranks[rows] = columns[i].find(blocks[rows] - (ends[i] - columns[i].nblocks))
            return ranks

        return cls(nblocks, find)

    def __len__(self) -> int:
        return self.nblocks

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.find(np.arange(*key.indices(self.nblocks)))
        if np.ndim(key) == 0 and not isinstance(key, tuple):
            if not -self.nblocks <= key < self.nblocks:
                raise IndexError(f"block {key} of {self.nblocks}")
            return self.find(np.array([key % self.nblocks]))[0]
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole: Array = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(x) if isinstance(x, RankColumn) else x for x in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        ranks = "ALL" if self.constant == ALL else self.constant
        return f"<{counted(self.nblocks, 'block')}: {'a rank each' if ranks is None else ranks}>"


def _kind(column: RankColumn) -> str:
    names = {None: "each", ALL: "ALL", UNKNOWN: "unknown"}
    return names.get(column.constant, "root")


NAMES = {
    ("ALL", "ALL"): "allreduce",
    ("ALL", "each"): "reduce_scatter",
    ("each", "ALL"): "allgather",
    ("ALL", "root"): "reduce",
    ("root", "ALL"): "broadcast",
    ("each", "root"): "gather",
    ("root", "each"): "scatter",
    ("each", "each"): "alltoall",
    ("root", "root"): "transfer",
    ("unknown", "unknown"): "traffic",
}
"""The name of each collective, by the kinds of its origin and its home."""

KINDS = {name: kinds for kinds, name in NAMES.items()}
"""The kinds of origin and home, by the name of the collective."""

ALLREDUCE = "allreduce"
ALLTOALL = "alltoall"
BARRIER = "barrier"
"""The allreduce of one block of 0 bytes."""

COLLECTIVES = (
    *(name for name, kinds in KINDS.items() if {"ALL", "each"} & {*kinds}),
    BARRIER,
)
"""The collectives that schedules are made for."""


def has_root(collective: str) -> bool:
    """Return whether one rank has, or gets, the vector of a collective."""
    return "root" in KINDS.get(collective, ())


def check_collective(collective: object) -> None:
    """Check the name of a collective.

    Raises:
        ValueError: there is no such collective.
    """
    if collective not in COLLECTIVES:
        raise unknown("collective", collective, COLLECTIVES)


def checked_root(collective: str, root: object, p: int) -> int:
    """Check the root of a collective on p ranks, and return it; 0 if it is None.

    Raises:
        ValueError: there is no such rank, or the collective has no root.
    """
    if root is None:
        return 0
    if not has_root(collective):
        raise ValueError(f"{collective} has no root: leave out root=")
    if not isinstance(root, int | np.integer) or not 0 <= root < p:
        raise ValueError(f"root must be a rank from 0 to {p - 1}, not {shown(root)}")
    return int(root)


def name_of(origin: RankColumn, home: RankColumn) -> str:
    """Return the name of the collective with these two columns."""
    return NAMES.get((_kind(origin), _kind(home)), "traffic")


def constants(collective: str) -> tuple[int, int]:
    """Return the origin and the home of all blocks of a collective.

    Raises:
        ValueError: the name does not determine them, as that of a broadcast does not determine its
            root, or there is no such collective.
    """
    by_kind = {"ALL": ALL, "unknown": UNKNOWN}
    origin, home = (by_kind.get(kind) for kind in KINDS.get(collective, ("", "")))
    if origin is None or home is None:
        raise ValueError(
            f"collective={shown(collective)} does not say where blocks start and end, as "
            "'allreduce' and 'traffic' do: pass origin= and home="
        )
    return origin, home


def is_scattered(collective: str) -> bool:
    """Return whether a collective is not an allreduce: its blocks start or end on single ranks."""
    return KINDS.get(collective) != ("ALL", "ALL")
