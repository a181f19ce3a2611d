"""A communication schedule as a table of messages: one row is ``src → dst : blocks``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, overload

import numpy as np

from swing.checks import counted, expect, shown
from swing.schedules.body import Body, Function, run_lengths
from swing.schedules.collectives import ALL, BARRIER, UNKNOWN, RankColumn, constants, name_of
from swing.schedules.rank import RankMessages, Turn
from swing.schedules.step import LineRows, Step, abridge
from swing.torus import Array, Torus


@dataclass(frozen=True, eq=False, init=False)
class Schedule(Sequence[Step]):
    """A sequence of steps, each computed from its index when it is read and never stored.

    A schedule is made from a function that maps an index to a step, or from a `Body`.
    `dataclasses.replace` changes any field except the steps.

    Args:
        name: name of the algorithm.
        torus: the ranks and their coordinates.
        nblocks: number of blocks that the vector is cut into, in all parts together.
        nsteps: number of steps.
        step: maps an index in ``range(nsteps)`` to a Step.
        body: the messages in two views, instead of ``nsteps``, ``step`` and ``signature``.
        origin: the rank that starts with each block: one rank for all blocks, `ALL` (every rank
            contributes; the default), an (nblocks,) array, or a function from an array of block
            numbers to their ranks.
        home: the rank that must end with each block complete, in the same forms; `ALL` by default.
        collective: "allreduce" or "traffic", instead of origin and home, which it overrides. In
            traffic only the sizes of messages are known.
        variant: variant of the algorithm, empty if there is only one.
        parts: number of blocks of each part. A part is a range of blocks with messages of its own,
            such as one part per port of a node; part j has the j-th range. If empty, all blocks
            are one part.
        shares: (nblocks,) bytes of each block, as a fraction of the vector that one rank holds;
            equal if None. They add up to `vectors`.
        signature: maps a step index to a key. Steps with equal keys move the same number of bytes
            between the same ranks. By default every step has its own key.
        sync_phase: maps a step index to a key. The parts synchronise where the key changes. By
            default the body decides; with a function ``step``, every step has its own key, so the
            parts run in lockstep.
        phases: the field that stores ``sync_phase``; used by `dataclasses.replace`.

    Raises:
        TypeError: neither ``nsteps`` with ``step`` nor a body, or both; so `dataclasses.replace`
            cannot change the steps.
        ValueError: an origin or home of another form, or another collective.

    >>> import swing
    >>> copy = lambda s: swing.Step(swing.Op.COPY, src=[1, 1], dst=[0, 2], blocks=[[0], [0]])
    >>> broadcast = swing.Schedule("star", swing.Torus(3), 1, 1, copy, origin=1, home=swing.ALL)
    >>> broadcast, swing.verify(broadcast).messages
    (<broadcast star on 3: 1 step, 1 block, 1 part>, 2)
    """

    name: str
    torus: Torus
    nblocks: int
    body: Body
    origin: RankColumn
    home: RankColumn
    variant: str
    parts: tuple[int, ...]
    shares: np.ndarray | None
    phases: Callable[[int], Hashable] | None

    def __init__(
        self,
        name: str,
        torus: Torus,
        nblocks: int,
        nsteps: int | None = None,
        step: Callable[[int], Step] | None = None,
        *,
        body: Body | None = None,
        origin: Any = ALL,
        home: Any = ALL,
        collective: str = "",
        variant: str = "",
        parts: tuple[int, ...] = (),
        shares: np.ndarray | None = None,
        signature: Callable[[int], Hashable] | None = None,
        sync_phase: Callable[[int], Hashable] | None = None,
        phases: Callable[[int], Hashable] | None = None,
    ) -> None:
        expect(torus, Torus, "a torus, such as swing.Torus((8, 8))")
        expect(nblocks, (int, np.integer), "nblocks as a whole number")
        if body is None:
            if nsteps is None or step is None:
                raise TypeError("a schedule needs nsteps and step, or a body")
            expect(nsteps, (int, np.integer), "nsteps as a whole number")
            if not callable(step):
                raise TypeError(
                    f"pass step as a function from an index to a swing.Step, not {shown(step)}"
                )
            body = Function(nsteps, step, signature)
        elif nsteps is not None or step is not None or signature is not None:
            raise TypeError(
                "the steps of a schedule cannot be replaced, because each rank's messages would "
                "no longer be those of the steps: make a new swing.Schedule of the new steps"
            )
        expect(body, Body, "body as a swing.schedules.body.Body")
        if collective:
            origin, home = constants(collective)
        origin, home = RankColumn.of(origin, nblocks), RankColumn.of(home, nblocks)
        parts, phases = tuple(parts) or (nblocks,), sync_phase or phases
        vars(self).update(
            name=name, torus=torus, nblocks=nblocks, body=body, origin=origin, home=home,
            variant=variant, parts=parts, shares=shares, phases=phases,
        )  # fmt: skip

    @property
    def nsteps(self) -> int:
        """Number of steps."""
        return self.body.nsteps

    @property
    def collective(self) -> str:
        """Name of the collective, such as "allreduce"; that of one without bytes is "barrier"."""
        is_barrier = self.is_allreduce and self.shares is not None and not self.shares.any()
        return BARRIER if is_barrier else name_of(self.origin, self.home)

    @property
    def is_allreduce(self) -> bool:
        """Whether every rank contributes to every block and must end with it."""
        return self.origin.constant == self.home.constant == ALL

    @property
    def is_traffic(self) -> bool:
        """Whether only the sizes of messages are known; a block is then a byte."""
        return self.origin.constant == UNKNOWN

    @property
    def vectors(self) -> int:
        """The number of vectors that the blocks make up: p in an all-to-all, and 1 otherwise.

        In an all-to-all every rank holds a vector of its own, in blocks that no other rank has.
        """
        each = self.origin.constant is None and self.home.constant is None
        return self.torus.size if each else 1

    def step(self, s: int) -> Step:
        """Return the step with index ``s``: the messages of all ranks in it."""
        return self.body.step(s)

    def rank(self, rank: int) -> RankMessages:
        """Return the messages of one rank in all steps.

        Raises:
            ValueError: a rank that is not on the torus.
        """
        if rank not in range(self.torus.size):
            raise ValueError(f"rank {shown(rank)} is not on the torus {self.torus}")
        return self._last_rank(int(rank))

    def for_rank(self, rank: int) -> list[Turn]:
        """List the messages of one rank step by step: `rank` as a list of its turns."""
        return list(self.rank(rank))

    @cached_property
    def _last_rank(self) -> Callable[[int], RankMessages]:
        # An allreduce asks its reduce-scatter for the same messages twice: as they are, then
        # reversed.
        return lru_cache(maxsize=1)(self.body.rank)

    def lines(self, s: int) -> tuple[LineRows, ...] | None:
        """Return the traffic of a step in compact form; None if it has no such form."""
        return self.body.lines(s)

    def signature(self, s: int) -> Hashable:
        """Return a key that steps share if they move the same bytes between the same ranks."""
        return self.body.signature(s)

    def sync_phase(self, s: int) -> Hashable:
        """Return the key of a step. The parts synchronise where the key changes."""
        return self.phases(s) if self.phases else self.body.sync_phase(s)

    def phase_lengths(self) -> list[int]:
        """Return the number of steps of each synchronisation phase."""
        if self.phases is None:
            return self.body.phase_lengths()
        return run_lengths(map(self.phases, range(self.nsteps)))

    def part(self, j: int) -> Body:
        """Return the messages of part ``j``."""
        return self.body.part(j) if len(self.parts) > 1 else self.body

    def __len__(self) -> int:
        return self.nsteps

    @overload
    def __getitem__(self, s: int) -> Step: ...
    @overload
    def __getitem__(self, s: slice) -> Sequence[Step]: ...
    def __getitem__(self, s: int | slice) -> Step | Sequence[Step]:
        if isinstance(s, slice):
            return [self.step(i) for i in range(*s.indices(self.nsteps))]
        if not -self.nsteps <= s < self.nsteps:
            raise IndexError(f"step {s} of a schedule of {self.nsteps} steps")
        return self.step(s % self.nsteps)

    def __iter__(self) -> Iterator[Step]:
        return (self.step(s) for s in range(self.nsteps))

    def share(self, step: Step) -> np.ndarray:
        """Return the (m,) fraction of the vector in each message of a step.

        Raises:
            TypeError: ``step`` is not a step.
        """
        expect(step, Step, "a step, such as schedule.step(0)")
        if self.shares is None:
            return step.blocks.counts * (self.vectors / self.nblocks)
        return step.blocks.sums(self.shares)

    def ends(self, count: int) -> Array:
        """Return the (nblocks + 1,) boundaries of the blocks in ``count`` elements.

        Block b has the elements ``ends[b] … ends[b + 1] - 1``. These are the elements of one
        vector; in an all-to-all, those of all vectors, one after the other.

        Raises:
            ValueError: ``count`` is not a whole number from 0 to 2^62.
        """
        if not isinstance(count, (int, np.integer)) or not 0 <= count <= 2**62:
            raise ValueError(f"count must be a whole number from 0 to 2^62, not {shown(count)}")
        if self.shares is None:
            # This equals b * count // nblocks, but that product may not fit into 64 bits.
            quotient, remainder = divmod(count, self.nblocks)
            block = np.arange(self.nblocks + 1)
            return block * quotient + block * remainder // self.nblocks
        fractions = np.append(0.0, np.cumsum(self.shares))
        # The blocks of a barrier have no bytes.
        ends: Array = np.rint(fractions / (fractions[-1] or 1.0) * count).astype(np.int64)
        return ends

    @property
    def part_shares(self) -> np.ndarray:
        """(parts,) fraction of the vectors in each part."""
        if self.shares is None:
            return np.array(self.parts) / self.nblocks
        sums: np.ndarray = np.add.reduceat(self.shares, np.cumsum([0, *self.parts[:-1]]))
        return sums / self.vectors

    def unit(self, part: int) -> float | None:
        """Return the fraction of the vector in a block of a part; None if blocks differ in size."""
        if self.shares is None:
            return self.vectors / self.nblocks
        first = sum(self.parts[:part])
        shares = self.shares[first : first + self.parts[part]]
        return float(shares[0]) if np.ptp(shares) == 0 else None

    def __repr__(self) -> str:
        numbers = {"step": self.nsteps, "block": self.nblocks, "part": len(self.parts)}
        size = ", ".join(counted(n, noun) for noun, n in numbers.items())
        return f"<{self.collective} {self.name} on {self.torus}: {size}>"

    def table(self) -> str:
        """Write all messages, one step per line; ``str`` and ``print`` abridge a long table."""
        width = len(str(self.nsteps - 1))
        return "\n".join(f"{s:{width}} {step.table()}" for s, step in enumerate(self))

    def __str__(self) -> str:
        width = len(str(self.nsteps - 1))
        return "\n".join(abridge(range(self.nsteps), lambda s: f"{s:{width}} {self.step(s)}"))


def expect_schedule(value: object) -> None:
    """Raise TypeError unless a caller passed a schedule."""
    expect(value, Schedule, "a schedule, such as swing.schedule('ring', torus)")
