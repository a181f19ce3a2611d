"""Every collective from a reduce-scatter: its messages reversed, restricted or not reduced.

A reduce-scatter takes the contribution of each rank s to a block along a path to the block's home.
The paths to one home form an in-tree. Each other collective uses the same messages:

    allgather   the reduce-scatter, reversed
    allreduce   the reduce-scatter, then the allgather
    alltoall    each message carries the contributions themselves, not their sum
    scatter     each message carries only what comes from the root
    gather      the scatter, reversed
    broadcast   the scatter, then the allgather; or whole chunks along the tree of the root's block
    reduce      the broadcast, reversed
    barrier     a reduce and a broadcast of no bytes along the tree of one block

So the trees of a root are known by the names of the algorithms: a binomial tree is recursive
doubling's, a Bine tree is Swing's, and a chain is the ring's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import ArrayLike

from swing.build.combine import COLLECT, chain
from swing.build.parallel import in_lockstep, parallel, parts_of, relative
from swing.build.paths import Paths
from swing.build.reversal import reverse
from swing.build.tree import reduce_along
from swing.checks import shown
from swing.schedules.blocks import Blocks
from swing.schedules.body import Body
from swing.schedules.collectives import BARRIER, RankColumn
from swing.schedules.schedule import Schedule
from swing.schedules.step import LineRows, Step
from swing.schedules.translates import Translates, coords_of, node_at
from swing.torus import Array

IN_CHUNKS = ("broadcast", "reduce")
"""The collectives whose vector may be cut into chunks that follow each other along a tree."""


@dataclass(frozen=True, eq=False)
class Unreduced(Body):
    """The all-to-all in which contributions take the paths of a reduce-scatter, but are not summed.

    Block s·B + b of the all-to-all is the contribution of rank s to the block b of the
    reduce-scatter, which has B blocks.

    Args:
        forward: the reduce-scatter.
    """

    forward: Schedule

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.forward.nsteps

    @cached_property
    def paths(self) -> Paths:
        """The paths of all contributions."""
        return Paths.of(self.forward)

    def translates(self, s: int) -> tuple[Translates, ...] | None:
        return self._followed[s] if self._followed is not None else None

    @cached_property
    def _followed(self) -> list[tuple[Translates, ...]] | None:
        """The messages of all steps as translates; None if those of the reduce-scatter are not.

        The block with offset o from its origin to its home is followed on its way. A message
        carries it if the message of the reduce-scatter carries the block of the home.
        """
        torus = self.forward.torus
        steps = [self.forward.body.translates(s) for s in range(self.nsteps)]
        known = [rows for rows in steps if rows is not None]
        if len(known) < len(steps):
            return None
        torus = next((row.torus for rows in known for row in rows), torus)
        offset = coords_of(torus, np.arange(torus.size))
        left = offset.copy()  # from the rank that has the block to its home
        found = []
        for rows in known:
            carried = []
            for row in rows:
                assert row.home is not None
                sent = np.zeros(torus.size, dtype=bool)
                sent[node_at(torus, row.home)] = True
                carried.append(np.flatnonzero(sent[node_at(torus, left)]))
            found.append(tuple(
                row._replace(reduces=False, origin=left[own] - offset[own], home=left[own])
                for row, own in zip(rows, carried, strict=True)
            ))  # fmt: skip
            for row, own in zip(rows, carried, strict=True):
                left[own] -= row.shift
        return found

    def step(self, s: int) -> Step:
        rows = self.translates(s)
        step = self.forward.step(s)
        return self._listed(step) if rows is None else self._translated(step, rows)

    def _translated(self, step: Step, rows: tuple[Translates, ...]) -> Step:
        """Make a step of the messages that are translates of each other."""
        if not rows:
            return step
        torus, nblocks, label = rows[0].torus, self.forward.nblocks, self._label
        at = torus.coords[step.src]
        shifts = node_at(torus, torus.coords[step.dst] - at)
        each = node_at(torus, np.stack([row.shift for row in rows]))
        order = np.argsort(each)
        index = order[np.searchsorted(each, shifts, sorter=order)]

        strides = np.cumprod([1, *torus.dims[:0:-1]])[::-1]
        around = [np.arange(2 * d) % d * n for d, n in zip(torus.dims, strides, strict=True)]
        ends = [
            [(column % torus.dims).T for column in (row.origin, row.home) if column is not None]
            for row in rows
        ]

        def find(i: int) -> Array:
            # Add coordinates by a look-up, since a message is listed for every rank and step.
            x = at[i].tolist()
            origin, home = (
                torus.rank_of[
                    sum(table[c:][o] for table, c, o in zip(around, x, offsets, strict=True))
                ]
                for offsets in ends[index[i]]
            )
            return np.sort(origin * nblocks + label[home])

        blocks = Blocks.sets(np.array([row.nblocks for row in rows])[index], find)
        return Step(False, step.src, step.dst, blocks, step.part)

    @cached_property
    def _label(self) -> Array:
        """(p,) the block of the reduce-scatter that each rank gets, if each gets one."""
        return np.argsort(np.asarray(self.forward.home))

    def _listed(self, step: Step) -> Step:
        """Make a step of messages that carry what the paths of all contributions bring them."""
        nblocks = self.forward.nblocks
        row, block = step.blocks.flat()
        held = self.paths.size[block, step.src[row]]
        counts = np.bincount(row, held, len(step)).astype(np.int64)
        first = np.cumsum(counts) - counts

        @cache  # models need only the counts, so list the blocks when they are asked for
        def listed() -> Array:
            each, origin = self.paths.behind(block, step.src[row])
            # Sort by row, then by block, as one number.
            total = self.forward.torus.size * nblocks
            return np.sort(row[each] * total + origin * nblocks + block[each]) % total

        blocks = Blocks.sets(counts, lambda i: listed()[first[i] : first[i] + counts[i]])
        return Step(False, step.src, step.dst, blocks, step.part)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        return self.forward.body.unreduced_lines(s)

    def signature(self, s: int) -> tuple[str, object]:
        # Equal messages of the reduce-scatter may carry different numbers of contributions.
        return "unreduced", s

    def sync_phase(self, s: int) -> object:
        return self.forward.sync_phase(s)


@dataclass(frozen=True, eq=False)
class FromRoot(Body):
    """The scatter in which blocks take the root's paths of a reduce-scatter.

    Args:
        forward: the reduce-scatter.
        root: the rank whose contributions are kept.
    """

    forward: Schedule
    root: int

    @property
    def nsteps(self) -> int:  # type: ignore[override]
        return self.forward.nsteps

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps: the root's contribution to each block is followed on its way."""
        at = np.full(self.forward.nblocks, self.root)
        return tuple(_move(step, at) for step in self.forward)

    def step(self, s: int) -> Step:
        return self.steps[s]

    def sync_phase(self, s: int) -> object:
        return self.forward.sync_phase(s)


def _move(step: Step, at: Array) -> Step:
    """Return the messages of a step that carry blocks from where they are, and move the blocks.

    Args:
        step: the step.
        at: (nblocks,) the rank that has each block. It is changed.
    """
    step = step.take(np.flatnonzero(np.isin(step.src, at)))
    row, block = step.blocks.flat()
    kept = np.flatnonzero(at[block] == step.src[row])
    row, block = row[kept], block[kept]
    at[block] = step.dst[row]
    rows, first, count = np.unique(row, return_index=True, return_counts=True)
    blocks = Blocks.sets(count, lambda i: block[first[i] : first[i] + count[i]])
    return Step(False, step.src[rows], step.dst[rows], blocks, step.part[rows])


def alltoall(reduce_scatter: Schedule) -> Schedule:
    """Make the all-to-all along the paths of a reduce-scatter."""
    torus, nblocks, home = reduce_scatter.torus, reduce_scatter.nblocks, reduce_scatter.home
    return replace(
        reduce_scatter,
        nblocks=torus.size * nblocks,
        parts=(torus.size * nblocks,),
        body=Unreduced(reduce_scatter),
        origin=RankColumn.of(lambda blocks: blocks // nblocks, torus.size * nblocks),
        home=RankColumn.of(lambda blocks: home.find(blocks % nblocks), torus.size * nblocks),
    )


def scatter(reduce_scatter: Schedule, root: int) -> Schedule:
    """Make the scatter along the root's paths of a reduce-scatter."""
    origin = RankColumn.of(root, reduce_scatter.nblocks)
    return replace(reduce_scatter, body=FromRoot(reduce_scatter, root), origin=origin)


def broadcast(reduce_scatter: Schedule, root: int, chunks: int | None) -> Schedule:
    """Make a broadcast: a scatter and an allgather, or a tree along which chunks follow each other.

    Args:
        reduce_scatter: the messages.
        root: the rank that has the vector.
        chunks: number of chunks; None for the scatter and the allgather.
    """
    if chunks is None:
        return chain(scatter(reduce_scatter, root), reverse(reduce_scatter))
    block = int(np.flatnonzero(np.asarray(reduce_scatter.home) == root)[0])
    return reverse(reduce_along(reduce_scatter, block, chunks))


def barrier(reduce_scatter: Schedule, root: int) -> Schedule:
    """Make a barrier: the allreduce of one block of 0 bytes, to the root and back."""
    out = broadcast(reduce_scatter, root, 1)
    return replace(chain(reverse(out), out), shares=np.zeros(1))


def check_chunks(collective: str, chunks: int | None) -> None:
    """Check a number of chunks.

    Raises:
        ValueError: it is below 1, or the collective does not go along a tree.
    """
    if chunks is None:
        return
    if collective not in IN_CHUNKS:
        raise ValueError(f"{collective} is not made in chunks: leave out chunks=")
    if chunks < 1:
        raise ValueError(f"chunks must be a whole number from 1 up, not {chunks}")


def derive(
    reduce_scatter: Schedule, collective: str, root: int = 0, chunks: int | None = None
) -> Schedule:
    """Make the schedule of a collective from a reduce-scatter, each part by itself.

    Args:
        reduce_scatter: the messages.
        collective: one of the names in this module's docstring.
        root: the rank that has the vector, or gets it.
        chunks: for a broadcast or reduce, the number of chunks that follow each other along a tree;
            None to combine it with an allgather or a reduce-scatter.

    >>> import swing
    >>> ring = swing.schedule("ring", swing.Torus(3), collective="reduce_scatter")
    >>> print(derive(ring, "scatter", root=1), derive(ring, "broadcast", 1, chunks=2), sep=chr(10))
    0 =  1→2:0
    1 =  1→2:2  2→0:0
    0 =  1→0:1
    1 =  0→2:1  1→0:0
    2 =  0→2:0
    """
    makers: dict[str, Callable[[Schedule], Schedule]] = {
        "alltoall": alltoall,
        "scatter": lambda part: scatter(part, root),
        "gather": lambda part: reverse(scatter(part, root)),
        "broadcast": lambda part: broadcast(part, root, chunks),
        "reduce": lambda part: reverse(broadcast(part, root, chunks)),
        "barrier": lambda part: barrier(part, root),
    }
    parts = parts_of(reduce_scatter)
    if collective == BARRIER:
        parts = parts[:1]
    # The segments of a part are the same schedule, which is turned into the collective once.
    make = cache(makers.get(collective) or COLLECT[collective])
    weights = None if reduce_scatter.shares is None else reduce_scatter.part_shares
    # Chunks of different parts never wait for each other.
    lockstep = chunks is None and in_lockstep(reduce_scatter)
    whole = parallel([make(part) for part in parts], weights, lockstep=lockstep)
    return replace(whole, name=reduce_scatter.name, variant=reduce_scatter.variant)


def with_counts(schedule: Schedule, counts: ArrayLike) -> Schedule:
    """Give the blocks of an all-to-all the sizes of an MPI_Alltoallv.

    Args:
        schedule: the all-to-all.
        counts: (p, p) the bytes, or elements, from each rank to each rank. The vector of one rank
            has their mean, Σ counts / p.

    Raises:
        ValueError: another shape, entries that are no finite numbers from 0 up, or only zeros.

    >>> import swing
    >>> torus, counts = swing.Torus(2), [[0, 6], [2, 0]]
    >>> schedule = swing.schedule("pairwise", torus, collective="alltoall", counts=counts)
    >>> schedule.share(schedule[0]) * 8 / torus.size    # of 8 bytes in all
    array([6., 2.])
    """
    p = schedule.torus.size
    table = relative(counts, (p, p))
    if table is None:
        raise ValueError(
            f"counts must be {p} rows of {p} finite numbers from 0 up that are not all 0, "
            f"not {shown(counts)}"
        )
    equal = schedule.shares
    if equal is None:
        equal = np.full(schedule.nblocks, p / schedule.nblocks)
    weights = (table / table.mean()).ravel()
    return replace(schedule, shares=equal * weights[schedule.origin[:] * p + schedule.home[:]])
