"""Reduce-scatter and allgather: schedules whose blocks belong to ranks, in the order of ranks.

A schedule numbers its blocks so that its messages are contiguous; users have theirs in the order of
ranks. So the vector is copied into the schedule's order on the way in or out, piece by piece: the
piece of a rank is cut into as many blocks as the schedule gives to that rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from swing.executor.plan.order import RankOrder, rank_order
from swing.executor.plan.plan import Plan, compile_plan
from swing.executor.session.planner import PIECE, AlgorithmSpec, Planner, ResolvedSpec
from swing.schedules.schedule import Schedule
from swing.select.choose import schedule
from swing.torus import Array
from swing.verification.proof import verify

Collective = str  # "reduce_scatter" or "allgather"


class Move(NamedTuple):
    """Elements that lie together in the user's order and in the schedule's."""

    user: slice
    ours: slice


class Layout(NamedTuple):
    """How a vector lies in memory while a schedule works on it.

    Args:
        schedule: what works on it.
        plan: what this rank does with the vector in the schedule's order, in place.
        pieces: for each rank, where its piece is.
    """

    schedule: Schedule
    plan: Plan
    pieces: Sequence[Sequence[Move]]


class BlockLayouts:
    """Layouts for one communicator; they are kept.

    Attributes:
        layout: of a `Collective`, a `ResolvedSpec`, of each rank's piece the length and the start,
            and of the bytes of an element.
    """

    def __init__(self, planner: Planner, rank: int) -> None:
        self._planner, self._rank = planner, rank
        self.layout = lru_cache(64)(self._layout)
        self.order = lru_cache(32)(self._order)

    def choose(
        self, collective: Collective, spec: AlgorithmSpec, nbytes: int
    ) -> tuple[ResolvedSpec, str]:
        """What to run for a vector of some bytes, all ranks' pieces together, and why.

        It is the algorithm that an allreduce of as many bytes would take, in its bandwidth-optimal
        variant: the others are made for an allreduce only, and so is a schedule that is one.

        Raises:
            ValueError: a torus, a schedule or options that do not fit.
        """
        algorithm, torus, consistent, _ = spec
        if isinstance(algorithm, Schedule) and algorithm.collective != collective:
            spec = "auto", torus or algorithm.torus, consistent, ()
        resolved, why = self._planner.choose(spec, nbytes)
        options = tuple(o for o in resolved.options if o[0] not in ("variant", "k"))
        return resolved._replace(options=options), why

    def _layout(
        self,
        collective: Collective,
        resolved: ResolvedSpec,
        counts: tuple[int, ...],
        starts: tuple[int, ...],
        itemsize: int,
    ) -> Layout:
        total, piece = sum(counts), max(1, PIECE // itemsize)
        seen = self.order(collective, resolved)
        owner = seen.schedule.owner
        assert owner is not None
        size, start = _cut(owner, np.array(counts), np.array(starts))
        ours = np.append(0, np.cumsum(size))
        pieces = [_moves(start, size, ours, np.flatnonzero(owner == r)) for r in range(len(counts))]
        if total == 0:
            return Layout(seen.schedule, compile_plan(seen, 0, True), pieces)
        weighted = replace(seen.schedule, shares=size.astype(float))
        plan = compile_plan(seen._replace(schedule=weighted), total, True, piece)
        return Layout(seen.schedule, plan, pieces)

    def _order(self, collective: Collective, resolved: ResolvedSpec) -> RankOrder:
        return rank_order(_made(collective, resolved), self._rank)


def _made(collective: Collective, resolved: ResolvedSpec) -> Schedule:
    """The schedule that was chosen.

    Raises:
        ValueError: an algorithm or a schedule that can not do this collective.
    """
    algorithm, torus, _, options = resolved
    if isinstance(algorithm, str):  # the ones that ship are proven
        if "collective" in dict(options):
            raise ValueError("the call says what to do: leave out collective=")
        return schedule(algorithm, torus, **dict(options), collective=collective)
    verify(algorithm)
    if algorithm.owner is None or len(np.unique(algorithm.owner)) < torus.size:
        raise ValueError(f"a {collective} gives every rank a block: pass a schedule that does")
    return algorithm


def _cut(owner: Array, counts: Array, starts: Array) -> tuple[Array, Array]:
    """(nblocks,) the elements of each block, and where it starts in the user's order."""
    order = np.argsort(owner, kind="stable")
    nth = np.empty_like(owner)  # which of its owner's blocks each one is
    nth[order] = np.arange(len(owner)) - np.searchsorted(owner[order], owner[order])
    of = np.bincount(owner, minlength=len(counts))[owner]
    first = counts[owner] * nth // of
    return counts[owner] * (nth + 1) // of - first, starts[owner] + first


def _moves(start: Array, size: Array, ours: Array, blocks: Array) -> list[Move]:
    """Where some blocks lie, in as few moves as possible."""
    moves: list[Move] = []
    for b in blocks[size[blocks] > 0].tolist():
        user = slice(int(start[b]), int(start[b] + size[b]))
        here = slice(int(ours[b]), int(ours[b + 1]))
        if moves and (moves[-1].user.stop, moves[-1].ours.stop) == (user.start, here.start):
            user = slice(moves[-1].user.start, user.stop)
            here = slice(moves.pop().ours.start, here.stop)
        moves.append(Move(user, here))
    return moves
