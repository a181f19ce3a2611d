"""Layouts for reduce-scatter and allgather: the map from rank order to a schedule's block order.

A schedule numbers its blocks so that its messages are contiguous, whereas users pass the pieces in
rank order. So each rank's piece is cut into as many blocks as the schedule assigns to that rank,
and the vector is copied into the schedule's order before the collective, or out of it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from swing.byte_cache import ByteCache
from swing.executor.plan.order import RankOrder, rank_order
from swing.executor.plan.plan import Plan, compile_plan
from swing.executor.session.call import AlgorithmSpec
from swing.executor.session.planner import PIECE, Planner, ResolvedSpec
from swing.schedules.collectives import ALL
from swing.schedules.schedule import Schedule
from swing.select.choose import schedule
from swing.torus import Array
from swing.verification.proof import verify

Collective = str
"""The name "reduce_scatter" or "allgather"."""


class Move(NamedTuple):
    """A range of elements that is contiguous in the user's order and in the schedule's."""

    user: slice
    ours: slice


class Layout(NamedTuple):
    """The positions of a vector's pieces in a schedule's order of blocks, and this rank's plan.

    Args:
        schedule: the schedule.
        plan: this rank's plan, in place, for the vector in the schedule's order.
        pieces: for each rank, the moves between its piece and the vector in the schedule's order.
    """

    schedule: Schedule
    plan: Plan
    pieces: Sequence[Sequence[Move]]


_layouts = ByteCache[Layout](
    2**22, lambda layout: layout.plan.code.nbytes + 300 * sum(map(len, layout.pieces))
)
_orders = ByteCache[RankOrder](2**23, lambda order: order.nbytes)
"""Layouts and orders belong to a shape and a rank, so all communicators share them."""


class BlockLayouts:
    """Chooses schedules and lays out pieces for one communicator.

    Args:
        planner: the planner of the communicator.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def choose(
        self, collective: Collective, spec: AlgorithmSpec, nbytes: int
    ) -> tuple[ResolvedSpec, str]:
        """Resolve a specification for ``nbytes`` of all ranks' pieces; return it and the reason.

        The algorithm is the one that an allreduce of ``nbytes`` would use, in its bandwidth-optimal
        variant: the other variants exist for allreduce only. A `Schedule` of another collective is
        replaced by "auto" on its torus, unless ``torus=`` names one.

        Raises:
            ValueError: a torus, a schedule or options that do not fit.
        """
        algorithm, torus, consistent, _ = spec
        if isinstance(algorithm, Schedule) and algorithm.collective != collective:
            spec = AlgorithmSpec("auto", torus or algorithm.torus, consistent)
        resolved, why = self._planner.choose(spec, nbytes)
        # Without these two options every algorithm takes its bandwidth-optimal variant.
        options = tuple(o for o in resolved.options if o[0] not in ("variant", "k"))
        return resolved._replace(options=options), why

    def check(self, collective: Collective, spec: AlgorithmSpec) -> None:
        """Raise the errors that `choose` and `layout` would raise."""
        self.order(collective, self.choose(collective, spec, 0)[0])

    def layout(
        self,
        collective: Collective,
        resolved: ResolvedSpec,
        counts: tuple[int, ...],
        starts: tuple[int, ...],
        itemsize: int,
    ) -> Layout:
        """Return the layout of pieces whose lengths and starts are given in elements.

        Args:
            collective: the collective.
            resolved: the algorithm to run.
            counts: (size,) length of each rank's piece.
            starts: (size,) first element of each rank's piece.
            itemsize: bytes of an element.
        """
        key = self._planner.rank, collective, resolved, counts, starts, itemsize
        return _layouts.get(key, lambda: self._layout(*key[1:]))

    def order(self, collective: Collective, resolved: ResolvedSpec) -> RankOrder:
        """Return this rank's messages and their order."""
        rank = self._planner.rank
        return _orders.get(
            (rank, collective, resolved),
            lambda: rank_order(_schedule_of(collective, resolved), rank),
        )

    def _layout(
        self,
        collective: Collective,
        resolved: ResolvedSpec,
        counts: tuple[int, ...],
        starts: tuple[int, ...],
        itemsize: int,
    ) -> Layout:
        total, piece = sum(counts), max(1, PIECE // itemsize)
        order = self.order(collective, resolved)
        owner = _owner(order.schedule)
        size, start = _cut(owner, np.array(counts), np.array(starts))
        ends = np.append(0, np.cumsum(size))
        pieces = [_moves(start, size, ends, np.flatnonzero(owner == r)) for r in range(len(counts))]
        if total == 0:  # shares must not all be zero
            return Layout(order.schedule, compile_plan(order, 0, True), pieces)
        # The plan cuts the vector by the blocks' real sizes, and the layout keeps the schedule as
        # it was made, for `explain`.
        weighted = replace(order.schedule, shares=size.astype(float))
        plan = compile_plan(order._replace(schedule=weighted), total, True, piece)
        return Layout(order.schedule, plan, pieces)


def _schedule_of(collective: Collective, resolved: ResolvedSpec) -> Schedule:
    """Return the schedule of a resolved specification.

    Raises:
        ValueError: an algorithm or a schedule that cannot do this collective.
    """
    algorithm, torus, _, options = resolved
    if isinstance(algorithm, str):
        if "collective" in dict(options):
            raise ValueError("the method called names the collective: leave out collective=")
        return schedule(algorithm, torus, **dict(options), collective=collective)
    verify(algorithm)  # a user's schedule is proven before it runs
    if len(np.unique(_owner(algorithm))) < torus.size:
        raise ValueError(
            f"the schedule gives some rank no block of its own: pass a {collective} that does"
        )
    return algorithm


def _owner(schedule: Schedule) -> Array:
    """(nblocks,) the rank whose piece of the vector each block belongs to."""
    return np.asarray(schedule.home if schedule.origin.constant == ALL else schedule.origin)


def _cut(owner: Array, counts: Array, starts: Array) -> tuple[Array, Array]:
    """Cut every rank's piece into its blocks, as equally as possible.

    Args:
        owner: (nblocks,) the rank of each block.
        counts: (ranks,) elements of each rank's piece.
        starts: (ranks,) the first element of each piece in the user's order.

    Returns:
        (nblocks,) elements of each block, and (nblocks,) its first element in the user's order.
    """
    order = np.argsort(owner, kind="stable")
    nth = np.empty_like(owner)  # the index of each block among its owner's blocks
    nth[order] = np.arange(len(owner)) - np.searchsorted(owner[order], owner[order])
    nblocks = np.bincount(owner, minlength=len(counts))[owner]  # of the block's owner
    first = counts[owner] * nth // nblocks
    return counts[owner] * (nth + 1) // nblocks - first, starts[owner] + first


def _moves(start: Array, size: Array, ends: Array, blocks: Array) -> list[Move]:
    """Return the moves of a list of blocks, as few as possible.

    Args:
        start: (nblocks,) first element of each block in the user's order.
        size: (nblocks,) elements of each block.
        ends: (nblocks + 1,) boundaries of the blocks in the schedule's order.
        blocks: the blocks, by number.
    """
    moves: list[Move] = []
    for b in blocks[size[blocks] > 0].tolist():
        user = slice(int(start[b]), int(start[b] + size[b]))
        ours = slice(int(ends[b]), int(ends[b + 1]))
        # A block that continues the last move in both orders is joined to it.
        if moves and (moves[-1].user.stop, moves[-1].ours.stop) == (user.start, ours.start):
            user = slice(moves[-1].user.start, user.stop)
            ours = slice(moves.pop().ours.start, ours.stop)
        moves.append(Move(user, ours))
    return moves
