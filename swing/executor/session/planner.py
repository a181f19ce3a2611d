"""From what a call asks for to a plan, for one communicator; plans are kept."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from mpi4py import MPI

from swing.algorithms import SHIPPED
from swing.executor.mpi_abi import EAGER
from swing.executor.plan.order import RankOrder, rank_order
from swing.executor.plan.plan import Plan, compile_plan
from swing.executor.session.infer_torus import check_size, shape_of
from swing.schedules.schedule import Schedule
from swing.select.choose import choose, schedule
from swing.torus import Torus
from swing.verification.proof import verify

Options: TypeAlias = tuple[tuple[str, Any], ...]
AlgorithmSpec: TypeAlias = tuple[str | Schedule, Torus | None, bool, Options]
"""What a call asks for: algorithm, torus, consistent and the algorithm's options."""

PIECE = 2**18
"""Bytes of a message that are sent at a time: what has come is reduced while it is in the cache."""

SHORT = 2**13
"""Vectors of so many bytes are sent in pieces that MPI sends without asking the receiver first."""

MACHINE = "SWING_MACHINE"
"""The environment variable that names the machine for "auto", the same on all ranks: "node", a key
of `swing.select.choose.MACHINES`, or the path of a selection table (``….json``)."""

_ORDERS, _PLANS = 32, 256  # kept; the least recently used one is dropped


def check_types(spec: AlgorithmSpec) -> None:
    """Raise TypeError, naming the mend, unless what a call asks for is of the right types."""
    algorithm, torus, _, options = spec
    if not isinstance(algorithm, (str, Schedule)):
        raise TypeError(
            f"algorithm must be a name, such as 'swing', or a swing.Schedule, not {algorithm!r}"
        )
    if not (torus is None or isinstance(torus, Torus)):
        raise TypeError(f"torus must be a swing.Torus, such as swing.Torus((2, 4)), not {torus!r}")
    for name, value in options:
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"{name} must be a number, a name or a tuple of these, not {value!r}"
            ) from None


class ResolvedSpec(NamedTuple):
    """What is run instead of what a call asks for: no "auto", no None."""

    algorithm: str | Schedule
    torus: Torus
    consistent: bool
    options: Options


class Planner:
    """Chooses, proves and compiles schedules for one communicator.

    Attributes:
        torus, origin: the torus of the communicator, and where it comes from.
        plan: of a `AlgorithmSpec`, a count, an item size in bytes, whether to reduce in place, and
            whether to send ``whole`` messages.
        order: of a `ResolvedSpec`.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self.torus, self.origin = shape_of(comm)
        self.plan = lru_cache(_PLANS)(self._plan)
        self.order = lru_cache(_ORDERS)(self._order)
        self._machine = ""
        self._one_node: bool | None = None

    def choose(self, spec: AlgorithmSpec, nbytes: int) -> tuple[ResolvedSpec, str]:
        """What to run for a vector of some bytes, and why.

        Raises:
            ValueError: a torus, a schedule or options that do not fit.
        """
        algorithm, torus, consistent, options = spec
        names = ", ".join(name for name, _ in options)
        if isinstance(algorithm, Schedule):
            if options:
                raise ValueError(f"a schedule takes no options: leave out {names}")
            if torus not in (None, algorithm.torus):
                raise ValueError(
                    f"the schedule is for torus {algorithm.torus}, not {torus}: leave out torus="
                )
            torus, why = algorithm.torus, "it was given as a schedule"
        else:
            torus, why = torus or self.torus, "it was asked for by name"
        check_size(torus, self._comm.size)
        if algorithm == "auto":
            if options:
                raise ValueError(f"'auto' chooses {names} itself: name an algorithm")
            choice = choose(torus, nbytes, machine=self.machine)
            algorithm, options, why = choice.algorithm, tuple(choice.options.items()), choice.why
        return ResolvedSpec(algorithm, torus, consistent, options), why

    def check(self, spec: AlgorithmSpec) -> None:
        """Raise what `plan` would."""
        self.plan(spec, 0, 1, True)

    def _plan(
        self, spec: AlgorithmSpec, count: int, itemsize: int, in_place: bool, whole: bool = False
    ) -> Plan:
        resolved, _ = self.choose(spec, count * itemsize)
        if whole:
            return compile_plan(self.order(resolved), count, in_place)
        piece = EAGER if count * itemsize <= SHORT else PIECE
        return compile_plan(self.order(resolved), count, in_place, max(1, piece // itemsize))

    def _order(self, resolved: ResolvedSpec) -> RankOrder:
        algorithm, torus, consistent, options = resolved
        if isinstance(algorithm, str):
            made = schedule(algorithm, torus, **dict(options))
            if made.collective != "allreduce":
                raise ValueError("allreduce runs whole allreduces: leave out collective=")
            if algorithm in SHIPPED:  # proven, and they give the same bits
                return rank_order(made, self._comm.rank)
            algorithm = made
        if algorithm.collective != "allreduce":
            raise ValueError(f"the schedule is a {algorithm.collective}: pass an allreduce")
        if not verify(algorithm).same_bits and consistent:
            raise ValueError(
                "under this schedule ranks add in different orders and can get different bits: "
                "pass another one, or consistent=False"
            )
        # Take no word for it: neither who owns a block nor what a rank's own messages are.
        return rank_order(
            replace(algorithm, find_owner=None, step=algorithm.__getitem__), self._comm.rank
        )

    # No `cached_property`: in Python 3.11 all instances share its lock, and a thread that holds it
    # while it waits for other ranks keeps them waiting who need it for another communicator.

    @property
    def machine(self) -> str:
        """What `choose` calls it: what the user says, else whether ranks share memory."""
        if not self._machine:
            said = os.environ.get(MACHINE)
            self._machine = said or ("node" if self.is_one_node else "cluster")
        return self._machine

    @property
    def is_one_node(self) -> bool:
        """Whether all ranks share memory; collective the first time."""
        if self._one_node is None:
            node = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
            self._one_node = node.size == self._comm.size
            node.Free()
        return self._one_node
