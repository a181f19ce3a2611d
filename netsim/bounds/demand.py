"""Demand of a collective: the fractions of a vector that must leave and enter ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swing.checks import shown
from swing.schedules.collectives import ALL, ALLREDUCE, BARRIER, KINDS, check_collective
from swing.schedules.schedule import Schedule


class Demand(NamedTuple):
    """The fractions of a vector that a collective must move, from the origins of blocks to homes.

    Where the blocks of each rank must end is the same for all ranks, so the blocks that must go
    from some ranks to the others are the product of two sums.

    Args:
        origin: (p,) vectors that start on each rank; None if every rank contributes to every block
            of one vector.
        home: (p,) fraction of these vectors that must end on each rank; None if every block must
            end on every rank.
    """

    origin: np.ndarray | None
    home: np.ndarray | None

    def crossing(self, side: NDArray[np.bool_]) -> float:
        """Vectors that must go from the ranks on one side, a (p,) mask, to the others."""
        start = 1.0 if self.origin is None else float(self.origin[side].sum())
        return start * (1.0 if self.home is None else float(self.home[~side].sum()))

    def leaving(self, p: int) -> np.ndarray:
        """(p,) vectors that must leave each rank."""
        start = np.ones(p) if self.origin is None else self.origin
        return start * (1.0 if self.home is None else self.home.sum() - self.home)

    def entering(self, p: int) -> np.ndarray:
        """(p,) vectors that must reach each rank."""
        end = np.ones(p) if self.home is None else self.home
        return end * (1.0 if self.origin is None else self.origin.sum() - self.origin)

    @property
    def reversed(self) -> Demand:
        """The demand of the schedules that run backwards."""
        return Demand(self.home, self.origin)

    @property
    def root(self) -> int | None:
        """The rank that all blocks start on, if there is one."""
        if self.origin is None:
            return None
        starts = np.flatnonzero(self.origin)
        return int(starts[0]) if len(starts) == 1 else None

    def sent(self, p: int) -> float:
        """Vectors that the ranks send, all together.

        If every rank contributes, then every rank but one sends its contribution; if every rank
        needs the result, then it is sent to every rank but one.
        """
        everywhere = (self.origin is None) + (self.home is None)
        return everywhere * (p - 1.0) if everywhere else float(self.leaving(p).sum())


def named_demand(collective: str, p: int, root: int = 0) -> Demand:
    """Return the demand of a collective of equal blocks.

    Args:
        collective: its name, see `swing.schedules.collectives`.
        p: number of ranks.
        root: the root of a broadcast, reduce, gather or scatter.

    Raises:
        ValueError: an unknown collective, or a root that is not a rank.
    """
    check_collective(collective)
    if collective == BARRIER:  # the allreduce of no bytes
        collective = ALLREDUCE
    if not isinstance(root, (int, np.integer)) or not 0 <= root < p:
        raise ValueError(f"root must be a rank from 0 to {p - 1}, not {shown(root)}")
    columns = {
        "ALL": None,
        "each": np.full(p, 1 / p),
        "root": (np.arange(p) == root).astype(float),
    }
    kinds = KINDS[collective]
    origin, home = (columns[kind] for kind in kinds)
    # In an all-to-all each rank starts with a vector of its own.
    return Demand(np.ones(p) if kinds == ("each", "each") else origin, home)


def demand_of(schedule: Schedule) -> Demand | None:
    """Return the demand of a schedule's collective.

    None if it is unknown: in traffic, in an all-to-all of unequal blocks, and if some blocks have
    an origin or a home of their own while others have `ALL`.
    """
    p, nblocks = schedule.torus.size, schedule.nblocks
    if schedule.origin.constant is None and schedule.home.constant is None:
        return named_demand(schedule.collective, p) if _is_even_alltoall(schedule) else None
    shares = np.full(nblocks, 1 / nblocks) if schedule.shares is None else schedule.shares
    columns: list[np.ndarray | None] = []
    for column in (schedule.origin, schedule.home):
        ranks = column[:] if column.constant != ALL else None
        if ranks is not None and (ranks < 0).any():
            return None
        columns.append(None if ranks is None else np.bincount(ranks, shares, p))
    return Demand(*columns)


def _is_even_alltoall(schedule: Schedule) -> bool:
    """Return whether the same number of bytes goes from every rank to every rank."""
    p = schedule.torus.size
    if p == 1 or schedule.nblocks % p**2:
        return False
    pairs = schedule.origin[:] * p + schedule.home[:]
    bytes_of = np.bincount(pairs, schedule.shares, p**2)
    return bool(np.allclose(bytes_of, bytes_of[0]))
