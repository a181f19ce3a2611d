"""Who sits where: ranks, coordinates, wraparound. No links."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.int64]
MAX_RANKS = 2**31 - 1
MAX_DIMS = 60  # numpy has room for 64
"""Ranks that MPI can number."""


@dataclass(frozen=True)
class Torus:
    """A grid of ranks of any number of dimensions and sizes.

    Args:
        dims: ranks along each dimension, ``(8, 8)``; every size from 1 up, even or odd.
        wrap: whether each dimension closes to a ring; one value stands for all.
        coords: (size, len(dims)) coordinates of each rank; row-major (last dimension
            fastest) if absent. This is where a machine's own rank placement goes in.

    Raises:
        ValueError: a size below 1, a ``wrap`` of another length, ``coords`` that are not
            a one-to-one map from ranks to the grid.

    >>> torus = Torus((2, 3))
    >>> torus.size, torus.coords[4].tolist(), int(torus.rank_at((1, 1)))
    (6, [1, 1], 4)
    """

    dims: tuple[int, ...]
    wrap: tuple[bool, ...]
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
            raise ValueError(f"torus dimensions must be whole numbers from 1 up, not {dims!r}")
        if isinstance(wrap, (bool, np.bool_)):
            wrap = (bool(wrap),) * len(sizes)
        if len(wrap) != len(sizes):
            raise ValueError(f"wrap needs {len(sizes)} values, one a dimension, not {wrap!r}")
        object.__setattr__(self, "dims", tuple(int(d) for d in sizes))
        if self.size > MAX_RANKS:
            raise ValueError(f"a torus of {self.size} ranks is too large: {MAX_RANKS} is the most")
        object.__setattr__(self, "wrap", tuple(bool(w) for w in wrap))
        object.__setattr__(self, "_nodes", None if coords is None else self._map(coords))

    def _map(self, coords: ArrayLike) -> tuple[int, ...] | None:
        table = np.asarray(coords)
        shape = (self.size, len(self.dims))
        if table.shape != shape or table.dtype.kind not in "iu":
            raise ValueError(f"coords must be a table of {shape[0]} x {shape[1]} whole numbers")
        if (table < 0).any() or (table >= self.dims).any():
            raise ValueError(f"coords must lie inside the torus {self}")
        nodes = np.ravel_multi_index(tuple(table.T), self.dims)
        if len(np.unique(nodes)) != self.size:
            raise ValueError("coords must name every node of the torus exactly once")
        return None if (nodes == np.arange(self.size)).all() else tuple(nodes.tolist())

    @classmethod
    def parse(cls, text: str) -> Torus:
        """The torus of a name such as ``torus:8x8``, ``mesh:4x4x4`` (no wraparound) or ``8x8``."""
        kind, _, dims = text.rpartition(":")
        if kind not in ("", "torus", "mesh") or not re.fullmatch(
            r"[1-9][0-9]*(x[1-9][0-9]*)*", dims
        ):
            raise ValueError(f"a torus is written like torus:8x8, not {text!r}")
        return cls(tuple(int(d) for d in dims.split("x")), wrap=kind != "mesh")

    def __str__(self) -> str:
        return "x".join(map(str, self.dims))

    @property
    def name(self) -> str:
        """As command lines take it: ``torus:8x8``, or ``mesh:8x8`` if nothing wraps around.

        ``partly-wrapped:8x8`` is for people: command lines do not take it.
        """
        kind = "torus" if all(self.wrap) else "partly-wrapped" if any(self.wrap) else "mesh"
        return f"{kind}:{self}"

    @property
    def size(self) -> int:
        """Number of ranks p."""
        return math.prod(self.dims)

    @property
    def active(self) -> tuple[int, ...]:
        """The dimensions longer than 1: those that have links."""
        return tuple(j for j, d in enumerate(self.dims) if d > 1)

    @property
    def ports(self) -> int:
        """Ports a node has: 2D, counting dimensions longer than 1."""
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
        """Ranks laid out as the torus: an array of shape ``dims``."""
        return self.rank_of.reshape(self.dims)

    @cached_property
    def coords(self) -> Array:
        """(p, len(dims)) coordinates of every rank."""
        return _frozen(np.stack(np.unravel_index(self.node_of, self.dims), axis=1))

    def rank_at(self, coords: ArrayLike) -> Array:
        """Ranks at the coordinates (..., len(dims)), each taken modulo its dimension."""
        wrapped = np.moveaxis(np.asarray(coords) % np.array(self.dims), -1, 0)
        ranks: Array = self.rank_of[np.ravel_multi_index(tuple(wrapped), self.dims)]
        return ranks


def _frozen(values: Array) -> Array:
    values.setflags(write=False)
    return values
