"""Logical torus: the rank-to-coordinate map and wraparound. Links are modelled in netsim."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swing.checks import shown

Array = NDArray[np.int64]
MAX_RANKS = 2**31 - 1
"""Largest number of ranks: MPI numbers ranks with a C int."""
MAX_DIMS = 60
"""Largest number of dimensions, a little below numpy's limit of 64 array axes."""

_NAME = re.compile(
    r"(?:(?P<kind>torus|mesh):)?(?P<dims>[1-9][0-9]*(?:x[1-9][0-9]*)*)"
    r"(?::wrap=(?P<wrap>[01](?:,[01])*))?"
)


@dataclass(frozen=True)
class Torus:
    """A grid of ranks with any number of dimensions, each of any size.

    Args:
        dims: number of ranks along each dimension, such as ``(8, 8)``; an integer makes one
            dimension. Every size is 1 or more, even or odd.
        wrap: whether each dimension closes to a ring; one value applies to all dimensions.
        coords: (size, len(dims)) coordinates of each rank; row-major (last dimension
            fastest) if None. Pass them to describe a machine's own rank placement.

    Raises:
        ValueError: a size below 1, too many ranks or dimensions, a ``wrap`` of another length
            than ``dims``, or ``coords`` that do not map the ranks one-to-one onto the grid.

    >>> torus = Torus((2, 3))
    >>> torus.size, torus.coords[4].tolist(), int(torus.rank_at((1, 1)))
    (6, [1, 1], 4)
    """

    dims: tuple[int, ...]
    wrap: tuple[bool, ...]
    # A tuple rather than an array, so that equal tori compare equal and can be hashed.
    _nodes: tuple[int, ...] | None = field(repr=False)

    def __init__(
        self,
        dims: Sequence[int] | int,
        wrap: Sequence[bool] | bool = True,
        coords: ArrayLike | None = None,
    ) -> None:
        sizes = (dims,) if isinstance(dims, (int, np.integer)) else tuple(dims)
        if len(sizes) > MAX_DIMS:
            raise ValueError(f"a torus has at most {MAX_DIMS} dimensions, not {len(sizes)}")
        if not sizes or not all(isinstance(d, (int, np.integer)) and d >= 1 for d in sizes):
            raise ValueError(f"torus dimensions must be whole numbers from 1 up, not {shown(dims)}")
        if isinstance(wrap, (bool, np.bool_)):
            wrap = (bool(wrap),) * len(sizes)
        if not isinstance(wrap, (Sequence, np.ndarray)):
            raise TypeError(
                f"wrap is a bool, or one for each dimension, not {shown(wrap)}: write several "
                "dimensions as one argument, such as Torus((8, 8))"
            )
        if len(wrap) != len(sizes):
            raise ValueError(
                f"wrap needs {len(sizes)} values, one per dimension, not {shown(wrap)}"
            )
        object.__setattr__(self, "dims", tuple(int(d) for d in sizes))
        if self.size > MAX_RANKS:
            raise ValueError(f"a torus has at most {MAX_RANKS} ranks, not {self.size}")
        object.__setattr__(self, "wrap", tuple(bool(w) for w in wrap))
        object.__setattr__(self, "_nodes", None if coords is None else self._read(coords))

    def _read(self, coords: ArrayLike) -> tuple[int, ...] | None:
        """Check coordinates; return each rank's row-major position, or None if it is the rank."""
        table = np.asarray(coords)
        shape = (self.size, len(self.dims))
        if table.shape != shape or table.dtype.kind not in "iu":
            raise ValueError(f"coords must be a table of {shape[0]} x {shape[1]} whole numbers")
        if (table < 0).any() or (table >= self.dims).any():
            raise ValueError(f"coords must lie inside the torus {self}")
        nodes = np.ravel_multi_index(tuple(table.T), self.dims)
        if len(np.unique(nodes)) != self.size:
            raise ValueError("coords must name every node of the torus exactly once")
        # Row-major coordinates mean the same torus as none, so the two must compare equal.
        return None if (nodes == np.arange(self.size)).all() else tuple(nodes.tolist())

    @classmethod
    def parse(cls, text: str) -> Torus:
        """Read a name: ``torus:8x8`` or ``8x8``, ``mesh:4x4x4``, ``torus:4x4x8:wrap=1,1,0``.

        A mesh wraps in no dimension; ``wrap=`` has a 1 for each dimension that does.

        Raises:
            ValueError: a name of another form.

        >>> Torus.parse("torus:4x8:wrap=1,0").wrap
        (True, False)
        """
        match = _NAME.fullmatch(text)
        if not match or (match["kind"] == "mesh" and match["wrap"]):
            raise ValueError(f"a torus is written like torus:8x8, not {shown(text)}")
        wrap: bool | list[bool] = match["kind"] != "mesh"
        if match["wrap"]:
            wrap = [digit == "1" for digit in match["wrap"].split(",")]
        return cls(tuple(int(d) for d in match["dims"].split("x")), wrap)

    def __str__(self) -> str:
        return "x".join(map(str, self.dims))

    @property
    def name(self) -> str:
        """The torus as `parse` and command lines take it, such as ``torus:8x8``."""
        if not any(self.wrap):
            return f"mesh:{self}"
        wrap = "" if all(self.wrap) else ":wrap=" + ",".join("01"[w] for w in self.wrap)
        return f"torus:{self}{wrap}"

    @property
    def size(self) -> int:
        """Number of ranks p."""
        return math.prod(self.dims)

    @property
    def sides(self) -> list[tuple[int, bool]]:
        """The length of each dimension, and whether it closes to a ring."""
        return list(zip(self.dims, self.wrap, strict=True))

    @property
    def active(self) -> tuple[int, ...]:
        """The dimensions longer than 1; the others have no links."""
        return tuple(j for j, d in enumerate(self.dims) if d > 1)

    @property
    def ports(self) -> int:
        """Number of ports of a node: 2D, where D counts the dimensions longer than 1."""
        return 2 * len(self.active)

    @cached_property
    def ranks(self) -> Array:
        """(p,) all ranks in order."""
        return _frozen(np.arange(self.size))

    @cached_property
    def node_of(self) -> Array:
        """(p,) row-major position of every rank."""
        return self.ranks if self._nodes is None else _frozen(np.array(self._nodes))

    @cached_property
    def rank_of(self) -> Array:
        """(p,) rank at every row-major position."""
        return self.ranks if self._nodes is None else _frozen(np.argsort(self.node_of))

    @cached_property
    def grid(self) -> Array:
        """The ranks as an array of shape ``dims``, indexed by coordinates."""
        return self.rank_of.reshape(self.dims)

    @cached_property
    def coords(self) -> Array:
        """(p, len(dims)) coordinates of every rank."""
        return _frozen(np.stack(np.unravel_index(self.node_of, self.dims), axis=1))

    def rank_at(self, coords: ArrayLike) -> Array:
        """(...) ranks at the coordinates (..., len(dims)), each taken modulo its dimension.

        Raises:
            ValueError: coordinates that are not whole numbers, or not one per dimension.
        """
        table = np.asarray(coords)
        if table.dtype.kind not in "iu" or table.shape[-1:] != (len(self.dims),):
            raise ValueError(
                f"coords must be {len(self.dims)} whole numbers for each rank, not {shown(coords)}"
            )
        wrapped = np.moveaxis(table % np.array(self.dims), -1, 0)
        ranks: Array = self.rank_of[np.ravel_multi_index(tuple(wrapped), self.dims)]
        return ranks


def _frozen(values: Array) -> Array:
    # Cached arrays are handed to every caller, so none may write to them.
    values.setflags(write=False)
    return values
